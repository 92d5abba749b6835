#pragma once
// What tests of groups of devices share: a library in NCCL's place, and members that are virtual devices.

#include <hydrogen/gpu/peer_group.hpp>
#include <hydrogen/gpu/peers/peer_library.hpp>

#include "fakes/fake_nccl.hpp"
#include "stream_testing.hpp"
#include <dlfcn.h>

namespace hydrogen::gpu::testing {

/// The fake's variable, as it was when it was loaded; NCCL is the fake while one lives.
class fake_library {
 public:
  fake_library() {
    peer_library::use_for_tests(HYDROGEN_FAKE_NCCL);
    void* library = dlopen(HYDROGEN_FAKE_NCCL, RTLD_NOW | RTLD_LOCAL);
    REQUIRE(library != nullptr);
    state_ = static_cast<fake_nccl_state*>(dlsym(library, "fake_nccl"));
    REQUIRE(state_ != nullptr);
    for (auto* each :
         {&state_->id_says, &state_->init_says, &state_->exchange_says, &state_->later_says, &state_->finalize_says,
          &state_->notices, &state_->on_gpu, &state_->aborted, &state_->destroyed}) {
      *each = 0;
    }
  }
  ~fake_library() {
    // Groups end behind those who had them.
    const auto end = soon();
    while (state_->living != 0 && now() < end) std::this_thread::yield();
    CHECK(state_->living == 0);
    CHECK(state_->wrong == 0);
    peer_library::use_for_tests(nullptr);
  }
  fake_nccl_state* operator->() const { return state_; }

 private:
  fake_nccl_state* state_ = nullptr;
};

/// A member of a group: a device of its own and a stream on it.
struct one_of_group {
  explicit one_of_group(std::uint32_t rank)
      : dev(virtual_device(64 * MiB, 2)), s(value_or_throw(dev->make_stream("rank " + std::to_string(rank)))) {}
  expected<void> join(const peer_id& id, std::uint32_t rank, std::uint32_t size, time_point deadline = soon(),
                      const abort_word* abort = nullptr) {
    auto joined = peer_group::join(s, id, rank, size, deadline, abort);
    if (!joined) return unexpected(std::move(joined.error()));
    group = std::move(*joined);
    return {};
  }
  std::shared_ptr<device> dev;
  stream s;
  std::unique_ptr<peer_group> group;
};

/// All of them, joined.
inline std::vector<std::unique_ptr<one_of_group>> whole_group(std::uint32_t size, const abort_word* abort = nullptr) {
  const auto id = value_or_throw(peer_group::make_id());
  std::vector<std::unique_ptr<one_of_group>> all;
  for (std::uint32_t r = 0; r < size; ++r) all.push_back(std::make_unique<one_of_group>(r));
  std::vector<std::thread> threads;
  std::atomic<std::uint32_t> joined{0};
  for (std::uint32_t r = 0; r < size; ++r) {
    threads.emplace_back([&, r] { joined += all[r]->join(id, r, size, soon(), abort) ? 1 : 0; });
  }
  for (auto& t : threads) t.join();
  REQUIRE(joined == size);
  return all;
}

template <class T>
std::vector<T> read_numbers(stream& s, const buffer<T>& x) {
  std::vector<T> out(x.size());
  value_or_throw(s.download(x, std::span(out), soon()));
  return out;
}

inline expected<void> outcome_of(one_of_group& m) {
  return m.s.finish(soon());
}

/// Looks until all communicators are gone: groups end behind those who had them.
inline void wait_for_the_end(const fake_library& fake) {
  const auto end = soon();
  while (fake->living != 0 && now() < end) std::this_thread::yield();
}

}  // namespace hydrogen::gpu::testing
