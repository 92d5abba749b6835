#pragma once
// The kernels of learning on the host: dense float arithmetic on one thread. They allocate nothing and keep no state,
// so any number of slot threads may call them at once. Every element of an output is written, whatever was in it
// before, except where a kernel says that it adds. Shapes that do not fit throw `failure` (bad input) naming both
// shapes, and nothing has been written then. Outputs must not overlap inputs unless said.
//
// Results are the same bits for the same inputs on one CPU kernel family: sums have a fixed order (that of the OpenBLAS
// kernel in `matrix_product`, ascending index elsewhere). Against exact arithmetic each element is within a few float
// roundings of the sum of magnitudes that it adds up; tests hold them to that against double precision.

#include <hydrogen/gpu/matrix.hpp>

#include <cstdint>

namespace hydrogen::gpu {

/// How a factor is read: as it lies in memory, or transposed.
enum class read_as : std::uint8_t { stored, transposed };

/// c = alpha * a * b + beta * c. With beta = 0 the old content of c is not read (it may be NaN). An inner dimension of
/// 0 gives beta * c. OpenBLAS, one thread per call.
void matrix_product(float alpha, const_matrix a, read_as a_is, const_matrix b, read_as b_is, float beta, matrix c);

/// y += a * x, element by element. x may be y.
void axpy(float a, std::span<const float> x, std::span<float> y);

/// Adds bias[c] to every row's element c. bias has as many elements as the matrix has columns.
void add_bias(matrix rows, std::span<const float> bias);

/// bias[c] = sum over rows of element (r, c), rows ascending: the gradient of `add_bias`.
void sum_rows(const_matrix rows, std::span<float> sums);

/// Softmax with cross-entropy loss, forward and backward in one pass over the logits: returns the sum of
/// -log softmax(row)[label] over all rows, and writes softmax(row) - one_hot(label) into `gradient`, which may be the
/// logits themselves. Not divided by the number of rows. The row's maximum is subtracted first, so no finite logits
/// overflow. labels[r] must be below the number of columns, or `failure` names the row and the label.
double softmax_cross_entropy(const_matrix logits, std::span<const std::uint32_t> labels, matrix gradient);

/// index[r] = column of the largest element of row r; the first of equal ones; NaN counts as smaller than any number.
/// At least one column unless there are no rows.
void argmax(const_matrix rows, std::span<std::uint32_t> index);

}  // namespace hydrogen::gpu
