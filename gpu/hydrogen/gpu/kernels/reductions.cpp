#include <hydrogen/gpu/kernels/reductions.hpp>

#include <spdlog/fmt/fmt.h>

#include <limits>

namespace hydrogen::gpu::kernels {
namespace {

void reduce_to_scalar(stream& s, work::reduce_to_scalar::kind how, const buffer<const float>& x,
                      const buffer<float>& to) {
  const operand in{"x", x}, out{"to", to};
  checker("reduce_to_scalar", s).size(out, 1).here({in, out}).apart(out, {in});
  s.enqueue(work::reduce_to_scalar{how, x.data(), x.size(), to.data()}, {in.owner}, {out.owner});
}

bool can_be_reduced(element type) {
  return type != element::uint8 && type != element::uint32 && type != element::uint64;
}

}  // namespace

void reduce_ranks(stream& s, work::reduction how, std::span<const operand> from, std::span<const operand> to) {
  const checker check("reduce_ranks", s);
  constexpr auto most = work::reduce_ranks::most;
  if (from.empty() || from.size() > most || to.empty() || to.size() > most) {
    check.refuse(fmt::format("{} inputs and {} outputs, 1 to {} are possible", from.size(), to.size(), most));
  }
  work::reduce_ranks w{};
  w.type = from[0].type;
  w.how = how;
  w.n = from[0].n;
  if (!can_be_reduced(w.type)) check.refuse(fmt::format("an input is of {}", to_string(w.type)));
  std::vector<memory*> reads, writes;
  const auto add = [&](const operand& o, std::vector<memory*>& memories) {
    check.here({o}).same_size(from[0], o);
    if (o.type != w.type) {
      check.refuse(fmt::format("{} is of {}, {} is of {}", from[0].name, to_string(w.type), o.name, to_string(o.type)));
    }
    memories.push_back(o.owner);
  };
  for (const auto& o : from) {
    add(o, reads);
    w.from[w.inputs++] = o.at;
  }
  for (std::size_t i = 0; i < to.size(); ++i) {
    add(to[i], writes);
    for (const auto& o : from) check.apart(to[i], {o}, in_place::allowed);
    for (std::size_t other = 0; other < i; ++other) check.apart(to[i], {to[other]});
    w.to[w.outputs++] = to[i].at;
  }
  s.enqueue(w, std::span<memory* const>(reads), std::span<memory* const>(writes));
}

void sum(stream& s, const buffer<const float>& x, const buffer<float>& to) {
  reduce_to_scalar(s, work::reduce_to_scalar::kind::sum, x, to);
}

void max(stream& s, const buffer<const float>& x, const buffer<float>& to) {
  reduce_to_scalar(s, work::reduce_to_scalar::kind::max, x, to);
}

void argmax(stream& s, const matrix_of<const float>& x, const buffer<std::uint32_t>& index) {
  const operand in{"x", x.values}, out{"index", index};
  const checker check("argmax", s);
  if (x.rows != 0 && x.columns == 0) check.refuse(fmt::format("{} rows without a column", x.rows));
  if (x.columns > std::numeric_limits<std::uint32_t>::max()) check.refuse(fmt::format("{} columns", x.columns));
  check.size(out, x.rows).here({in, out}).apart(out, {in});
  s.enqueue(work::argmax{x.values.data(), x.rows, x.columns, index.data()}, {in.owner}, {out.owner});
}

void sum_rows(stream& s, const matrix_of<const float>& x, const buffer<float>& sums) {
  const operand in{"x", x.values}, out{"sums", sums};
  checker("sum_rows", s).size(out, x.columns).here({in, out}).apart(out, {in});
  s.enqueue(work::sum_rows{x.values.data(), sums.data(), x.rows, x.columns}, {in.owner}, {out.owner});
}

void clip_by_global_norm(stream& s, std::span<const buffer<float>> tensors, double most, const buffer<float>& norm) {
  const operand out{"norm", norm};
  const checker check("clip_by_global_norm", s);
  if (!(most > 0)) check.refuse(fmt::format("a norm of at most {}", most));
  check.size(out, 1).here({out});
  auto list = std::make_shared<std::vector<work::tensor>>();
  std::vector<memory*> writes{out.owner};
  for (const auto& t : tensors) {
    const operand o{"a tensor", t};
    check.here({o}).apart(out, {o});
    list->push_back({t.data(), t.size()});
    writes.push_back(o.owner);
  }
  s.enqueue(work::clip_by_global_norm{std::move(list), most, norm.data()}, {}, std::span<memory* const>(writes));
}

}  // namespace hydrogen::gpu::kernels
