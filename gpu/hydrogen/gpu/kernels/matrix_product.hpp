#pragma once
// Matrix products (work.hpp says what they compute; operand.hpp what is refused).

#include <hydrogen/gpu/kernels/operand.hpp>

namespace hydrogen::gpu::kernels {

/// A factor: a matrix, or `transposed`.
struct factor {
  factor(matrix_of<const float> m, bool transposed = false) : matrix(std::move(m)), transposed(transposed) {}
  factor(const matrix_of<float>& m, bool transposed = false) : matrix(m), transposed(transposed) {}
  matrix_of<const float> matrix;
  bool transposed;
};

/// c = alpha * a * b + beta * c.
void matrix_product(stream&, float alpha, const factor& a, const factor& b, float beta, const matrix_of<float>& c);

/// The same for `batch` products of m x k by k x n, which lie one after the other; a factor that has the size of one
/// matrix is that one for all of them.
struct batch_of_products {
  std::size_t batch, m, n, k;
  bool a_transposed = false, b_transposed = false;
  float alpha = 1, beta = 0;
};
void matrix_products(stream&, const batch_of_products&, const buffer<const float>& a, const buffer<const float>& b,
                     const buffer<float>& c);

}  // namespace hydrogen::gpu::kernels
