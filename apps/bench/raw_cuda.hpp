#pragma once
// The CUDA runtime with nothing of ours: what figures of a GPU stand beside. Names no CUDA type, and knows nothing of
// Hydrogen. Main thread. Throws std::runtime_error, which names the call that failed.

#include <cstddef>
#include <cstdint>
#include <memory>

namespace hydrogen::bench::raw_cuda {

/// Without it nothing else here may be called.
bool is_built();

/// Takes GPU `number`, as this process counts them, into use until the process ends.
void open(std::uint32_t number);

enum class way : std::uint8_t { to_device, to_host };

/// Pinned memory, memory of the GPU, and a stream that copies between them.
class pinned_copy {
 public:
  explicit pinned_copy(std::size_t bytes);
  ~pinned_copy();
  pinned_copy(const pinned_copy&) = delete;
  /// All of it, so many times one after another; waits for the last.
  void run(way, int times);

 private:
  struct state;
  std::unique_ptr<state> state_;
};

/// A kernel that does nothing, and a stream for it.
class empty_launch {
 public:
  empty_launch();
  ~empty_launch();
  empty_launch(const empty_launch&) = delete;
  void enqueue();
  void finish();

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace hydrogen::bench::raw_cuda
