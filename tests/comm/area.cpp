#include <hydrogen/comm/area.hpp>

#include <doctest/doctest.h>
#include <sys/mman.h>

#include <array>
#include <cstddef>
#include <memory>
#include <source_location>
#include <thread>
#include <vector>

using namespace hydrogen;
using namespace hydrogen::comm;

TEST_CASE("memory that a rank of the same process has given back in the middle of a call is an error, not a crash") {
  const auto bytes = area::bytes_on_host(2);
  void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  REQUIRE(at != MAP_FAILED);
  const std::shared_ptr<void> keep(at, [bytes](void* memory) { ::munmap(memory, bytes); });
  const auto there = area::create(static_cast<std::byte*>(at), 2, keep);
  there->introduce(0);
  constexpr std::size_t size = 1 << 20;
  auto* theirs =
      static_cast<std::byte*>(::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  REQUIRE(theirs != MAP_FAILED);
  theirs[0] = theirs[size - 1] = std::byte{7};
  std::vector<std::byte> copy(size);
  const auto address = reinterpret_cast<std::uint64_t>(theirs);
  REQUIRE(there->read(0, address, copy));
  CHECK(copy[0] == std::byte{7});
  CHECK(copy[size - 1] == std::byte{7});
  ::munmap(theirs, size);
  const auto gone = there->read(0, address, copy);
  REQUIRE(!gone);
  CHECK(gone.error().code == errc::disconnected);
}

TEST_CASE("ranks that read each other's memory go on when one of them leaves in the middle of the call") {
  constexpr std::uint32_t ranks = 4;
  area there(ranks);
  there.tell_nodes({"a", "b", "c", "d"});
  const auto join = join_plan(1);
  for (std::uint32_t r = 0; r < ranks; ++r) REQUIRE(there.come(r, join));
  there.open();
  call_plan plan;
  plan.what = operation::all_reduce;
  plan = make_plan(std::source_location::current(), plan);
  std::vector<expected<void>> results(ranks);
  {
    std::vector<std::jthread> threads;
    for (std::uint32_t r = 0; r < ranks; ++r) {
      threads.emplace_back([&, r] {
        abort_word calm;
        area_wait how(60s, calm);
        results[r] = there.await_start(r, {60s, 60s, {}, {}}, calm);
        if (results[r]) results[r] = there.enter(r, plan, {}, how);
        if (!results[r]) return;
        // As one does that found no memory for its part.
        if (r == 2) return there.leave(r);
        results[r] = there.finish(r);
        there.leave(r);
      });
    }
  }
  for (const auto r : {0u, 1u, 3u}) {
    INFO(r, ": ", results[r] ? "no error" : results[r].error().message());
    REQUIRE_FALSE(results[r]);
    CHECK(results[r].error().code == errc::disconnected);
    CHECK(results[r].error().what.find("rank 2 on node c left in the middle of all_reduce") != std::string::npos);
  }
}
