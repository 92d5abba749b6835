#pragma once
// A recorded list of work that is enqueued as one item: on a GPU a CUDA graph, which costs one launch. Scalars are as
// they were when it was recorded; what changes from step to step (a step number, a mask) is in device memory. Keeps the
// memory that it uses. Shared and never changed; any thread.

#include <hydrogen/gpu/memory_pool.hpp>
#include <hydrogen/gpu/work.hpp>

#include <memory>
#include <vector>

namespace hydrogen::gpu {

/// One item as it was recorded.
struct recorded {
  work::any what;
  void* scratch = nullptr;
};

/// What a backend has made of a recording.
struct prepared_graph {
  virtual ~prepared_graph() = default;
};

class graph {
 public:
  std::size_t size() const { return items; }

  std::shared_ptr<device> on;
  std::size_t items = 0;
  std::shared_ptr<prepared_graph> prepared;
  std::vector<memory_ptr> reads, writes;
};
using graph_ptr = std::shared_ptr<const graph>;

}  // namespace hydrogen::gpu
