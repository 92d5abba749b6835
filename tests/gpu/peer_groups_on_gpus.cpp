#include <hydrogen/gpu/peer_group.hpp>

#include "stream_testing.hpp"

#include <algorithm>

using namespace hydrogen;
using namespace hydrogen::gpu;
using namespace hydrogen::gpu::testing;

namespace {

/// Without a failure, so that it can be called by any thread.
bool exchange_on(const device_info& info, const peer_id& id, std::uint32_t rank, gate& ended, std::string& why) {
  const auto deadline = now() + std::chrono::seconds(120);
  const auto dev = value_or_throw(device::open(info));
  auto s = value_or_throw(dev->make_stream("rank " + std::to_string(rank)));
  const auto joined = peer_group::join(s, id, rank, 2, deadline);
  if (!joined) {
    why = joined.error().message();
    return false;
  }
  auto& group = **joined;
  const auto x = s.upload(std::vector<float>(1000003, static_cast<float>(rank + 1)));
  for (int i = 0; i < 20; ++i) {
    s.enqueue(work::scale{0.5F, x.data(), x.size()}, {}, {x.owner()});
    group.all_reduce(s, i % 2 == 0 ? work::reduction::sum : work::reduction::mean, x);
  }
  std::vector<float> got(x.size());
  const auto done = s.download(x, std::span(got), deadline);
  if (!done) {
    why = done.error().message();
    return false;
  }
  // 1.5 is the sum of the halves of 1 and 2; from then on each mean halves it, each sum of two halves keeps it.
  bool right = std::all_of(got.begin(), got.end(), [](float v) { return v == 1.5F / 1024; });
  // A member that waits in vain is ended, and nothing hangs on its device then.
  if (rank == 0) {
    group.all_reduce(s, work::reduction::sum, x);
    right = right && !s.finish(now() + std::chrono::milliseconds(200));
    group.abort();
    const auto aborted = s.finish(deadline);
    right = right && !aborted && aborted.error().code == errc::aborted && s.drained(deadline);
    if (!aborted) why = aborted.error().message();
    ended.open();
  }
  ended.pass();
  group.abort();
  return right;
}

}  // namespace

TEST_CASE("GPUs exchange by NCCL, and one that waits in vain can be ended") {
  const auto found = find_devices();
  REQUIRE(found);
  if (found->size() < 2) {
    MESSAGE("skipped: no device, or only one");
    return;
  }
  if (const auto available = peer_group::available(); !available) {
    MESSAGE("skipped: ", available.error().message());
    return;
  }
  const auto id = value_or_throw(peer_group::make_id());
  gate ended;
  bool right[2] = {};
  std::string why[2];
  std::thread other([&] { right[1] = exchange_on((*found)[1], id, 1, ended, why[1]); });
  right[0] = exchange_on((*found)[0], id, 0, ended, why[0]);
  ended.open();
  other.join();
  CAPTURE(why[0]);
  CAPTURE(why[1]);
  CHECK(right[0]);
  CHECK(right[1]);
}

TEST_CASE("a GPU is a group of one by NCCL") {
  const auto found = find_devices();
  REQUIRE(found);
  if (found->empty()) {
    MESSAGE("skipped: no device");
    return;
  }
  if (const auto available = peer_group::available(); !available) {
    MESSAGE("skipped: ", available.error().message());
    return;
  }
  const auto deadline = now() + std::chrono::seconds(120);
  const auto dev = value_or_throw(device::open(found->front()));
  auto s = value_or_throw(dev->make_stream("rank 0"));
  const auto group = value_or_throw(peer_group::join(s, value_or_throw(peer_group::make_id()), 0, 1, deadline));
  const auto x = s.upload(std::vector<float>(1000, 3));
  for (int i = 0; i < 10; ++i) {
    group->all_reduce(s, work::reduction::sum, x);
    s.enqueue(work::scale{2, x.data(), x.size()}, {}, {x.owner()});
  }
  std::vector<float> got(x.size());
  value_or_throw(s.download(x, std::span(got), deadline));
  CHECK(got == std::vector<float>(1000, 3 * 1024));
}
