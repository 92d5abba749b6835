#include <hydrogen/gpu/host/run.hpp>
#include <hydrogen/gpu/host/scratch.hpp>

#include <variant>

namespace hydrogen::gpu::host {
namespace {

template <class Work>
std::size_t scratch_of(const Work&) {
  return 0;
}

template <>
std::size_t scratch_of(const work::reduce_ranks& w) {
  const std::size_t each = std::max(size_of(w.type), sizeof(float));  // short numbers are combined as float
  return reduce_blocks * reduce_block(w.n, each) * each;
}

// Sums of one piece, by weight and by bias.
template <>
std::size_t scratch_of(const work::layer_norm_gradient& w) {
  return 2 * w.columns * sizeof(float);
}

// The centres in columns.
template <>
std::size_t scratch_of(const work::kmeans_assign& w) {
  return padded_centres(w.k) * w.dimensions * sizeof(float);
}

// Sums of one piece, and the last piece that had a point of each centre.
template <>
std::size_t scratch_of(const work::kmeans_accumulate& w) {
  return w.k * w.dimensions * sizeof(float) + w.k * sizeof(std::uint32_t);
}

}  // namespace

std::size_t scratch_for(const work::any& what) {
  return std::visit([](const auto& w) { return scratch_of(w); }, what);
}

}  // namespace hydrogen::gpu::host
