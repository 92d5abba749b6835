#pragma once
// A step of training that enqueues the same work again and again: recorded when it comes the second time, replayed from
// then on. For one stream; its thread.

#include <hydrogen/gpu/stream.hpp>

#include <cstdint>
#include <functional>
#include <list>

namespace hydrogen::gpu {

class repeated_step {
 public:
  /// Does what `enqueue` enqueues to the stream. `key` must differ where anything differs that is not in device memory:
  /// sizes, scalars, which buffers. What is allocated inside belongs to the recording. A step that cannot be recorded
  /// (it uploads, waits, or makes events) is done as it is each time.
  void run(stream&, std::uint64_t key, const std::function<void()>& enqueue);

  std::uint64_t recorded() const { return recorded_; }
  std::uint64_t replayed() const { return replayed_; }

 private:
  struct known {
    std::uint64_t key = 0;
    graph_ptr recording;  // null: it cannot be recorded
  };
  std::list<known> known_;  // the last one used first
  std::uint64_t last_ = 0;
  bool has_last_ = false;
  std::uint64_t recorded_ = 0, replayed_ = 0;
};

}  // namespace hydrogen::gpu
