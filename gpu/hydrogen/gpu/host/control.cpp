#include <hydrogen/gpu/host/run.hpp>
#include <hydrogen/gpu/peers/peer_member.hpp>

#include <cstring>

namespace hydrogen::gpu::host {

void run(const work::copy& w, run_context&) {
  if (w.bytes != 0) std::memcpy(w.to, w.from, w.bytes);
}

void run(const work::increment& w, run_context&) {
  ++*w.counter;
}

void run(const work::all_reduce& w, run_context&) {
  value_or_throw(w.among->ask(w, nullptr, 0)->wait());
}

void run(const work::custom& w, run_context&) {
  w.code->host(host_call(w.arguments, w.shape));
}

}  // namespace hydrogen::gpu::host
