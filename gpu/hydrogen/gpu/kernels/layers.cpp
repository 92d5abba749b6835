#include <hydrogen/gpu/kernels/layers.hpp>

#include <spdlog/fmt/fmt.h>

namespace hydrogen::gpu::kernels {
namespace {

template <class A, class B>
void check_same_shape(const checker& check, const char* a_name, const matrix_of<A>& a, const char* b_name,
                      const matrix_of<B>& b) {
  if (a.rows == b.rows && a.columns == b.columns) return;
  check.refuse(fmt::format("{} is {} x {}, {} is {} x {}", a_name, a.rows, a.columns, b_name, b.rows, b.columns));
}

}  // namespace

void layer_norm(stream& s, const matrix_of<const float>& x, const buffer<const float>& weight,
                const buffer<const float>& bias, float epsilon, const matrix_of<float>& to, const buffer<float>& mean,
                const buffer<float>& inverse) {
  const checker check("layer_norm", s);
  const operand in{"x", x.values}, w{"weight", weight}, b{"bias", bias};
  const operand out{"to", to.values}, m{"mean", mean}, i{"inverse", inverse};
  check_same_shape(check, "x", x, "to", to);
  if (!(epsilon >= 0)) check.refuse(fmt::format("an epsilon of {}", epsilon));
  check.size(w, x.columns).size(b, x.columns).size(m, x.rows).size(i, x.rows).here({in, w, b, out, m, i});
  check.apart(out, {in}, in_place::allowed).apart(out, {w, b, m, i}).apart(m, {in, w, b, i}).apart(i, {in, w, b});
  s.enqueue(work::layer_norm{x.values.data(), weight.data(), bias.data(), epsilon, to.values.data(), mean.data(),
                             inverse.data(), x.rows, x.columns},
            {in.owner, w.owner, b.owner}, {out.owner, m.owner, i.owner});
}

void layer_norm_gradient(stream& s, const matrix_of<const float>& x, const matrix_of<const float>& gradient,
                         const buffer<const float>& weight, const buffer<const float>& mean,
                         const buffer<const float>& inverse, const matrix_of<float>& x_gradient,
                         const buffer<float>& weight_gradient, const buffer<float>& bias_gradient) {
  const checker check("layer_norm_gradient", s);
  const operand in{"x", x.values}, g{"gradient", gradient.values}, w{"weight", weight}, m{"mean", mean},
      i{"inverse", inverse};
  const operand out{"x_gradient", x_gradient.values}, w_out{"weight_gradient", weight_gradient},
      b_out{"bias_gradient", bias_gradient};
  check_same_shape(check, "x", x, "gradient", gradient);
  check_same_shape(check, "x", x, "x_gradient", x_gradient);
  check.size(w, x.columns).size(w_out, x.columns).size(b_out, x.columns).size(m, x.rows).size(i, x.rows);
  check.here({in, g, w, m, i, out, w_out, b_out});
  check.apart(out, {g}, in_place::allowed).apart(out, {in, w, m, i, w_out, b_out});
  check.apart(w_out, {in, g, w, m, i, b_out}).apart(b_out, {in, g, w, m, i});
  s.enqueue(work::layer_norm_gradient{x.values.data(), gradient.values.data(), weight.data(), mean.data(),
                                      inverse.data(), x_gradient.values.data(), weight_gradient.data(),
                                      bias_gradient.data(), x.rows, x.columns},
            {in.owner, g.owner, w.owner, m.owner, i.owner}, {out.owner, w_out.owner, b_out.owner});
}

void softmax_cross_entropy(stream& s, const matrix_of<const float>& logits, const buffer<const std::uint32_t>& labels,
                           float scale, const buffer<float>& loss, const buffer<float>& gradient) {
  const checker check("softmax_cross_entropy", s);
  const operand in{"logits", logits.values}, l{"labels", labels}, out{"loss", loss}, g{"gradient", gradient};
  if (logits.rows != 0 && logits.columns == 0) check.refuse(fmt::format("{} rows without a column", logits.rows));
  check.size(l, logits.rows);
  if (out.n != 0) check.size(out, logits.rows);
  if (g.n != 0) check.same_size(in, g);
  check.here({in, l, out, g});
  check.apart(g, {in}, in_place::allowed).apart(g, {l, out}).apart(out, {in, l});
  s.enqueue(work::softmax_cross_entropy{logits.values.data(), labels.data(), scale, out.n == 0 ? nullptr : loss.data(),
                                        g.n == 0 ? nullptr : gradient.data(), logits.rows, logits.columns},
            {in.owner, l.owner}, {out.owner, g.owner});
}

void gather_rows(stream& s, const matrix_of<const float>& table, const buffer<const std::uint32_t>& index,
                 const matrix_of<float>& to) {
  const checker check("gather_rows", s);
  const operand in{"table", table.values}, i{"index", index}, out{"to", to.values};
  if (to.rows != index.size() || to.columns != table.columns) {
    check.refuse(
        fmt::format("{} rows of {} columns do not fit into {} x {}", index.size(), table.columns, to.rows, to.columns));
  }
  check.here({in, i, out}).apart(out, {in, i});
  s.enqueue(work::gather_rows{table.values.data(), index.data(), to.values.data(), table.rows, table.columns, to.rows},
            {in.owner, i.owner}, {out.owner});
}

void scatter_add_rows(stream& s, const matrix_of<const float>& x, const buffer<const std::uint32_t>& index,
                      const matrix_of<float>& table) {
  const checker check("scatter_add_rows", s);
  const operand in{"x", x.values}, i{"index", index}, out{"table", table.values};
  if (x.rows != index.size() || x.columns != table.columns) {
    check.refuse(fmt::format("x is {} x {}, there are {} indices and {} columns", x.rows, x.columns, index.size(),
                             table.columns));
  }
  check.here({in, i, out}).apart(out, {in, i});
  s.enqueue(
      work::scatter_add_rows{x.values.data(), index.data(), table.values.data(), table.rows, table.columns, x.rows},
      {in.owner, i.owner}, {out.owner});
}

}  // namespace hydrogen::gpu::kernels
