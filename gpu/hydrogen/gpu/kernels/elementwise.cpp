#include <hydrogen/gpu/kernels/elementwise.hpp>

#include <spdlog/fmt/fmt.h>

namespace hydrogen::gpu::kernels {
namespace {

bool is_float(element type) {
  return type == element::float32 || type == element::float64 || type == element::half || type == element::bfloat16;
}

}  // namespace

void fill_bits(stream& s, std::uint64_t bits, const operand& to) {
  checker("fill", s).here({to});
  s.enqueue(work::fill{to.at, to.n, to.type, bits}, {}, {to.owner});
}

void copy_numbers(stream& s, const operand& from, const operand& to) {
  const checker check("copy", s);
  check.same_size(from, to);
  if (from.type != to.type) {
    check.refuse(fmt::format("from is of {}, to is of {}", to_string(from.type), to_string(to.type)));
  }
  check.here({from, to}).apart(to, {from});
  s.enqueue(work::copy{from.at, to.at, from.bytes()}, {from.owner}, {to.owner});
}

void cast_numbers(stream& s, const operand& from, const operand& to) {
  const checker check("cast", s);
  check.same_size(from, to);
  for (const auto& o : {from, to}) {
    if (!is_float(o.type)) check.refuse(fmt::format("{} is of {}", o.name, to_string(o.type)));
  }
  check.here({from, to}).apart(to, {from});
  s.enqueue(work::cast{from.at, from.type, to.at, to.type, from.n}, {from.owner}, {to.owner});
}

void axpy(stream& s, float a, const buffer<const float>& x, const buffer<float>& y) {
  const operand in{"x", x}, out{"y", y};
  checker("axpy", s).same_size(in, out).here({in, out}).apart(out, {in}, in_place::allowed);
  s.enqueue(work::axpy{a, x.data(), y.data(), x.size()}, {in.owner}, {out.owner});
}

void scale(stream& s, float a, const buffer<float>& x) {
  checker("scale", s).here({{"x", x}});
  s.enqueue(work::scale{a, x.data(), x.size()}, {}, {x.owner()});
}

void add_bias(stream& s, const matrix_of<const float>& x, const buffer<const float>& bias, const matrix_of<float>& to) {
  const operand in{"x", x.values}, row{"bias", bias}, out{"to", to.values};
  const checker check("add_bias", s);
  if (x.rows != to.rows || x.columns != to.columns) {
    check.refuse(fmt::format("x is {} x {}, to is {} x {}", x.rows, x.columns, to.rows, to.columns));
  }
  check.size(row, x.columns).here({in, row, out}).apart(out, {in}, in_place::allowed).apart(out, {row});
  s.enqueue(work::add_bias{x.values.data(), bias.data(), to.values.data(), x.rows, x.columns}, {in.owner, row.owner},
            {out.owner});
}

void activate(stream& s, work::function what, const buffer<const float>& x, const buffer<float>& to) {
  const operand in{"x", x}, out{"to", to};
  checker("activate", s).same_size(in, out).here({in, out}).apart(out, {in}, in_place::allowed);
  s.enqueue(work::activate{what, x.data(), to.data(), x.size()}, {in.owner}, {out.owner});
}

void activate_gradient(stream& s, work::function what, const buffer<const float>& x,
                       const buffer<const float>& gradient, const buffer<float>& to) {
  const operand in{"x", x}, slope{"gradient", gradient}, out{"to", to};
  checker("activate_gradient", s)
      .same_size(in, slope)
      .same_size(in, out)
      .here({in, slope, out})
      .apart(out, {in, slope}, in_place::allowed);
  s.enqueue(work::activate_gradient{what, x.data(), gradient.data(), to.data(), x.size()}, {in.owner, slope.owner},
            {out.owner});
}

void dropout(stream& s, float probability, std::uint64_t seed, const buffer<const std::uint64_t>& counter,
             const buffer<const float>& x, const buffer<float>& to) {
  const operand in{"x", x}, out{"to", to}, step{"counter", counter};
  const checker check("dropout", s);
  if (!(probability >= 0 && probability < 1)) check.refuse(fmt::format("a probability of {}", probability));
  if (!counter.empty()) check.size(step, 1);
  check.same_size(in, out).here({in, out, step}).apart(out, {in}, in_place::allowed).apart(out, {step});
  s.enqueue(work::dropout{x.data(), to.data(), x.size(), probability, seed, counter.empty() ? nullptr : counter.data()},
            {in.owner, step.owner}, {out.owner});
}

void increment(stream& s, const buffer<std::uint64_t>& counter) {
  const operand out{"counter", counter};
  checker("increment", s).size(out, 1).here({out});
  s.enqueue(work::increment{counter.data()}, {}, {out.owner});
}

}  // namespace hydrogen::gpu::kernels
