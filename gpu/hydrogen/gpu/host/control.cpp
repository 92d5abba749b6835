#include <hydrogen/gpu/host/run.hpp>

#include <cstring>

namespace hydrogen::gpu::host {

void run(const work::copy& w, run_context&) {
  if (w.bytes != 0) std::memcpy(w.to, w.from, w.bytes);
}

void run(const work::increment& w, run_context&) {
  ++*w.counter;
}

void run(const work::custom& w, run_context&) {
  w.code->host(host_call(w.arguments, w.shape));
}

}  // namespace hydrogen::gpu::host
