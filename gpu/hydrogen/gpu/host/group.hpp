#pragma once
// Arrays that are combined element by element.

#include <cstdint>

namespace hydrogen::gpu::host {

template <class A>
struct group {
  const A* at[4];
  std::uint32_t size;  // 2 or 4
};

}  // namespace hydrogen::gpu::host
