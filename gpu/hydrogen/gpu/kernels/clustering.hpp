#pragma once
// Kernels of k-means and of trees (work.hpp says what they compute; operand.hpp what is refused).

#include <hydrogen/gpu/kernels/operand.hpp>

namespace hydrogen::gpu::kernels {

/// At least one centre, of as many dimensions as the points. index has an element for each point; distance, too, or
/// none.
void kmeans_assign(stream&, const matrix_of<const float>& points, const matrix_of<const float>& centres,
                   const buffer<std::uint32_t>& index, const buffer<float>& distance);

/// `counts` has an element for each row of `sums`, that is each centre.
void kmeans_accumulate(stream&, const matrix_of<const float>& points, const buffer<const std::uint32_t>& index,
                       const matrix_of<float>& sums, const buffer<std::uint32_t>& counts);

/// gradient and hessian have an element for each row of `bins`, `sums` has features x bin_count x 3. `rows_used` lists
/// rows; null: all of them.
void histogram(stream&, const buffer<const std::uint8_t>& bins, std::size_t rows, std::size_t features,
               const buffer<const float>& gradient, const buffer<const float>& hessian,
               const buffer<const std::uint32_t>* rows_used, float scale, std::size_t bin_count,
               const buffer<std::int64_t>& sums);

}  // namespace hydrogen::gpu::kernels
