#pragma once
// Kernels that make one number of many (work.hpp says what they compute; operand.hpp what is refused).

#include <hydrogen/gpu/kernels/operand.hpp>

#include <span>
#include <vector>

namespace hydrogen::gpu::kernels {

/// `from` and `to`: 1 to 16 buffers each, all of one size and of the same type: float, double, half, bfloat16, int32 or
/// int64. An output may be an input, not another output.
void reduce_ranks(stream&, work::reduction, std::span<const operand> from, std::span<const operand> to);

template <class From, number To>
void reduce_ranks(stream& s, work::reduction how, const std::vector<buffer<From>>& from,
                  const std::vector<buffer<To>>& to) {
  static_assert(std::is_same_v<std::remove_const_t<From>, To>);
  std::vector<operand> in, out;
  for (const auto& b : from) in.emplace_back("an input", b);
  for (const auto& b : to) out.emplace_back("an output", b);
  reduce_ranks(s, how, std::span<const operand>(in), std::span<const operand>(out));
}

/// `to` has one element.
void sum(stream&, const buffer<const float>& x, const buffer<float>& to);
void max(stream&, const buffer<const float>& x, const buffer<float>& to);

/// `index` has an element for each row.
void argmax(stream&, const matrix_of<const float>& x, const buffer<std::uint32_t>& index);

/// `sums` has an element for each column.
void sum_rows(stream&, const matrix_of<const float>& x, const buffer<float>& sums);

/// most > 0; `norm` has one element. The tensors must not overlap, which is not checked.
void clip_by_global_norm(stream&, std::span<const buffer<float>> tensors, double most, const buffer<float>& norm);

}  // namespace hydrogen::gpu::kernels
