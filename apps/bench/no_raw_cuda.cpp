// Stands in for raw_cuda.cu in a build without CUDA.

#include "raw_cuda.hpp"

#include <cstdlib>

namespace hydrogen::bench::raw_cuda {

bool is_built() {
  return false;
}

void open(std::uint32_t) {
  std::abort();
}

struct pinned_copy::state {};
pinned_copy::pinned_copy(std::size_t) {
  std::abort();
}
pinned_copy::~pinned_copy() = default;
void pinned_copy::run(way, int) {
  std::abort();
}

struct empty_launch::state {};
empty_launch::empty_launch() {
  std::abort();
}
empty_launch::~empty_launch() = default;
void empty_launch::enqueue() {
  std::abort();
}
void empty_launch::finish() {
  std::abort();
}

}  // namespace hydrogen::bench::raw_cuda
