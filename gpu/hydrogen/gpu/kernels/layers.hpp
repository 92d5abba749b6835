#pragma once
// Layer normalisation, the loss of classes, and tables of rows (work.hpp says what they compute; operand.hpp what is
// refused).

#include <hydrogen/gpu/kernels/operand.hpp>

namespace hydrogen::gpu::kernels {

/// weight and bias have an element for each column, mean and inverse for each row. epsilon >= 0. `to` may be x.
void layer_norm(stream&, const matrix_of<const float>& x, const buffer<const float>& weight,
                const buffer<const float>& bias, float epsilon, const matrix_of<float>& to, const buffer<float>& mean,
                const buffer<float>& inverse);

/// x_gradient may be the gradient.
void layer_norm_gradient(stream&, const matrix_of<const float>& x, const matrix_of<const float>& gradient,
                         const buffer<const float>& weight, const buffer<const float>& mean,
                         const buffer<const float>& inverse, const matrix_of<float>& x_gradient,
                         const buffer<float>& weight_gradient, const buffer<float>& bias_gradient);

/// labels and loss have an element for each row; an empty loss or gradient is not computed. The gradient may be the
/// logits.
void softmax_cross_entropy(stream&, const matrix_of<const float>& logits, const buffer<const std::uint32_t>& labels,
                           float scale, const buffer<float>& loss, const buffer<float>& gradient);

/// `to` has a row for each index.
void gather_rows(stream&, const matrix_of<const float>& table, const buffer<const std::uint32_t>& index,
                 const matrix_of<float>& to);
/// x has a row for each index.
void scatter_add_rows(stream&, const matrix_of<const float>& x, const buffer<const std::uint32_t>& index,
                      const matrix_of<float>& table);

}  // namespace hydrogen::gpu::kernels
