#include "bench_device.hpp"

#include "raw_cuda.hpp"

namespace hydrogen::bench {

std::optional<gpu::device_info> first_gpu(session& s) {
  const auto none = [&](const std::string& why) {
    s.remark("no GPU is measured: " + why);
    return std::nullopt;
  };
  if (!raw_cuda::is_built()) return none("this build has no CUDA");
  const auto found = gpu::find_devices();
  if (!found) return none(found.error().message());
  if (found->empty()) return none("none is found here");
  // Before any device: the last device of a process takes with it the context that its first one made.
  raw_cuda::open(found->front().number);
  return found->front();
}

}  // namespace hydrogen::bench
