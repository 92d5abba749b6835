#pragma once
// Kernels that treat each number by itself (work.hpp says what they compute; operand.hpp what is refused).

#include <hydrogen/gpu/kernels/operand.hpp>

#include <cstring>

namespace hydrogen::gpu::kernels {

void fill_bits(stream&, std::uint64_t bits, const operand& to);
void copy_numbers(stream&, const operand& from, const operand& to);
void cast_numbers(stream&, const operand& from, const operand& to);

/// Every element = value.
template <number T>
void fill(stream& s, std::type_identity_t<T> value, const buffer<T>& to) {
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  fill_bits(s, bits, {"to", to});
}

/// Of the same type and size.
template <class From, number To>
void copy(stream& s, const buffer<From>& from, const buffer<To>& to) {
  copy_numbers(s, {"from", from}, {"to", to});
}

/// Between float, double, half and bfloat16; others are refused.
template <class From, number To>
void cast(stream& s, const buffer<From>& from, const buffer<To>& to) {
  cast_numbers(s, {"from", from}, {"to", to});
}

/// y += a * x. x may be y.
void axpy(stream&, float a, const buffer<const float>& x, const buffer<float>& y);
/// x *= a.
void scale(stream&, float a, const buffer<float>& x);

/// `bias` has an element for each column. `to` may be x.
void add_bias(stream&, const matrix_of<const float>& x, const buffer<const float>& bias, const matrix_of<float>& to);

/// `to` may be x.
void activate(stream&, work::function, const buffer<const float>& x, const buffer<float>& to);
/// `to` may be the gradient or x.
void activate_gradient(stream&, work::function, const buffer<const float>& x, const buffer<const float>& gradient,
                       const buffer<float>& to);

/// 0 <= probability < 1. `counter` has one element, the step, or none for step 0. `to` may be x.
void dropout(stream&, float probability, std::uint64_t seed, const buffer<const std::uint64_t>& counter,
             const buffer<const float>& x, const buffer<float>& to);

/// *counter += 1. One element.
void increment(stream&, const buffer<std::uint64_t>& counter);

}  // namespace hydrogen::gpu::kernels
