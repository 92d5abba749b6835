// Links through shared memory between two ends that do as they should: in this process, or one of them in another,
// where it is killed.
#include <hydrogen/base/random.hpp>

#include "gang.hpp"
#include "shm_ends.hpp"
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

using namespace hydrogen;
using namespace hydrogen::comm;
using testing::end_by_looking;
using testing::end_of_link;
using testing::joined_ends;
using testing::small_ring;
using testing::socket_pair;

namespace {

/// Both send these frames at once, each on a thread of its own.
void both_ways(joined_ends& ends, const std::vector<std::size_t>& sizes, bool asleep) {
  expected<void> there;
  const auto one = [&](end_of_link& e) {
    for (std::uint64_t i = 0; i < sizes.size(); ++i) e.send(i, sizes[i]);
    return e.run(sizes.size(), asleep);
  };
  std::thread thread([&] { there = one(*ends.other); });
  const auto here = one(*ends.dialler);
  // Its last bytes may be on their way when it needs nothing more itself.
  thread.join();
  CHECK_MESSAGE(here, here.error().message());
  CHECK_MESSAGE(there, there.error().message());
}

std::vector<std::size_t> sizes_of(std::size_t count, std::size_t most) {
  random_source random(count);
  std::vector<std::size_t> sizes;
  for (std::size_t i = 0; i < count; ++i) sizes.push_back(i % 3 == 0 ? random.below(64) : random.below(most));
  return sizes;
}

}  // namespace

TEST_CASE("frames come in order through a ring that is smaller than they are, both ways at once") {
  for (const bool asleep : {false, true}) {
    for (const std::size_t ring : {small_ring, std::size_t{64} << 10, std::size_t{1} << 20}) {
      INFO(ring);
      joined_ends ends(ring);
      both_ways(ends, sizes_of(200, 3 * small_ring), asleep);
      CHECK(ends.dialler->over->medium() == link_medium::host_memory);
      CHECK(ends.other->over->medium() == link_medium::host_memory);
    }
    joined_ends ends(std::size_t{256} << 10);
    both_ways(ends, std::vector<std::size_t>(20, max_frame_payload), asleep);
  }
}

TEST_CASE("an end that sleeps is woken each time that there is news for it") {
  joined_ends ends;
  constexpr std::uint64_t rounds = 5000;
  // Each waits for the frame before its own; some are larger than the ring, so that the writer sleeps, too.
  const auto size_of = [](std::uint64_t i) { return i % 50 == 49 ? 5 * small_ring : i % 100; };
  const auto turns = [&](end_of_link& e, bool begins) -> expected<void> {
    for (std::uint64_t i = 0; i < rounds; ++i) {
      if (begins) e.send(i, size_of(i));
      if (auto ok = e.run(i + 1, true); !ok) return ok;
      if (!begins) e.send(i, size_of(i));
    }
    return e.run(rounds, true);
  };
  expected<void> there;
  std::thread thread([&] { there = turns(*ends.other, false); });
  const auto here = turns(*ends.dialler, true);
  thread.join();
  CHECK_MESSAGE(here, here.error().message());
  CHECK_MESSAGE(there, there.error().message());
  CHECK(ends.dialler->sleeps > 0);
  CHECK(ends.other->sleeps > 0);
}

TEST_CASE("a frame of a later call waits in the ring, and what is not wanted is skipped") {
  joined_ends ends;
  auto& reader = *ends.other;
  reader.hold = 3;
  reader.skip_every = 2;
  for (std::uint64_t i = 0; i < 6; ++i) ends.dialler->send(i, 500 + i);
  const auto look = [&] {
    for (int i = 0; i < 100; ++i) {
      REQUIRE(ends.dialler->step());
      REQUIRE(reader.step());
    }
  };
  look();
  CHECK(reader.arrived == 3);
  // It does not sleep for what it holds.
  CHECK((reader.over->events() & POLLIN) == 0);
  reader.hold = 5;
  look();
  CHECK(reader.arrived == 5);
  reader.hold = ~0ull;
  look();
  CHECK(reader.arrived == 6);
}

TEST_CASE("what was flushed before an end closes still arrives, and then the link has ended") {
  for (const bool dialler_closes : {true, false}) {
    joined_ends ends(std::size_t{64} << 10);
    auto& writer = dialler_closes ? *ends.dialler : *ends.other;
    auto& reader = dialler_closes ? *ends.other : *ends.dialler;
    for (std::uint64_t i = 0; i < 10; ++i) writer.send(i, 1000);
    REQUIRE(writer.over->flush());
    CHECK(writer.over->idle());
    writer.over->close();
    CHECK(end_by_looking(reader).code == errc::disconnected);
    CHECK(reader.arrived == 10);
    // Its own are not taken any more.
    reader.send(0, 10);
    CHECK(reader.over->flush().error().code == errc::disconnected);
  }
}

TEST_CASE("what was written before the end is read, also when the end was seen first") {
  joined_ends ends;
  CHECK(ends.other->over->will_sleep(ends.other->over->events()) == POLLIN);
  ends.dialler->send(0, 1000);
  REQUIRE(ends.dialler->over->flush());
  ends.dialler->over->close();
  // First the bell is heard, then the end.
  for (int i = 0; i < 2; ++i) {
    ends.other->over->awake();
    ends.other->over->will_sleep(ends.other->over->events());
  }
  CHECK(ends.other->over->ready());
  CHECK(end_by_looking(*ends.other).code == errc::disconnected);
  CHECK(ends.other->arrived == 1);
}

TEST_CASE("a sleeping end is woken by the end of the other") {
  joined_ends ends;
  expected<void> result;
  std::thread sleeper([&] { result = ends.other->run(1, true); });
  ends.dialler->over->close();
  sleeper.join();
  REQUIRE_FALSE(result);
  CHECK(result.error().code == errc::disconnected);
}

TEST_CASE("a process that is killed in the middle of frames leaves whole ones, and the end of the link") {
  for (int round = 0; round < 20; ++round) {
    socket_pair p;
    const auto child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      p.first.reset();
      ::alarm(60);
      end_of_link writer(shm::link::offer(std::move(p.second), small_ring));
      for (std::uint64_t i = 0;; ++i) {
        writer.send(i, 3 * small_ring + i % 100);
        while (!writer.over->idle()) {
          if (!writer.step()) ::_exit(1);
        }
      }
    }
    p.second.reset();
    end_of_link reader(shm::link::accept(std::move(p.first)));
    // Somewhere in a frame; in some rounds asleep.
    const auto enough = reader.run(static_cast<std::uint64_t>(1 + round * 7), round % 2 == 0);
    CHECK_MESSAGE(enough, enough.error().message());
    ::kill(child, SIGKILL);
    const auto end = reader.run(~0ull, round % 4 < 2);
    ::waitpid(child, nullptr, 0);
    REQUIRE_FALSE(end);
    INFO(end.error().message());
    CHECK(end.error().code == errc::disconnected);
  }
}

TEST_CASE("where the other side does not map the memory, its socket carries all frames, those in the ring first") {
  for (const bool asleep : {false, true}) {
    joined_ends ends(small_ring, false);
    // Before the answer is heard, and more than the ring takes.
    for (std::uint64_t i = 0; i < 5; ++i) ends.dialler->send(i, 1500);
    REQUIRE(ends.dialler->over->flush());
    CHECK_FALSE(ends.dialler->over->idle());
    expected<void> there;
    std::thread thread([&] {
      for (std::uint64_t i = 0; i < 50; ++i) ends.other->send(i, 100'000);
      there = ends.other->run(50, asleep);
    });
    for (std::uint64_t i = 5; i < 50; ++i) ends.dialler->send(i, 50'000);
    const auto here = ends.dialler->run(50, asleep);
    thread.join();
    CHECK_MESSAGE(here, here.error().message());
    CHECK_MESSAGE(there, there.error().message());
    CHECK(ends.dialler->over->medium() == link_medium::socket);
    CHECK(ends.other->over->medium() == link_medium::socket);
  }
}

TEST_CASE("all that is in the ring comes over the socket, also when nothing more is sent") {
  joined_ends ends(small_ring, false);
  ends.dialler->send(0, 1000);
  // Taken by the ring: the payload is not needed any more.
  REQUIRE(ends.dialler->over->flush());
  CHECK(ends.dialler->over->idle());
  REQUIRE(ends.dialler->over->receive(*ends.dialler));
  CHECK(ends.dialler->over->medium() == link_medium::socket);
  CHECK_FALSE(ends.dialler->over->idle());
  CHECK((ends.dialler->over->events() & POLLOUT) != 0);
  for (int look = 0; look < 100; ++look) {
    REQUIRE(ends.dialler->step());
    REQUIRE(ends.other->step());
  }
  CHECK(ends.other->arrived == 1);
  CHECK(ends.dialler->over->idle());
}

TEST_CASE("a rank says through what its links go") {
  const auto medium_in = [](testing::layout placement) {
    testing::gang team(placement);
    std::vector<std::string> said(team.size());
    const auto results = team.run([&](group& g) {
      said[g.rank()] = g.medium();
      return g.barrier();
    });
    for (const auto& r : results) CHECK_MESSAGE(r, r.error().message());
    return said;
  };
  using testing::medium;
  const auto all = [](const char* what) { return std::vector<std::string>(3, what); };
  CHECK(medium_in(testing::layout({0, 1, 2}, medium::links)) == all("host memory"));
  CHECK(medium_in(testing::layout({0, 1, 1}, medium::links)) == all("host memory"));
  CHECK(medium_in(testing::layout({0, 1, 2}, medium::tcp)) == all("TCP"));
  CHECK(medium_in(testing::layout({0, 1, 2}, medium::tcp, {0, 0, 1})) == all("TCP"));
  CHECK(medium_in(testing::layout({0, 1, 2}, medium::links, {0, 1, 1})) ==
        std::vector<std::string>{"TCP", "host memory+TCP", "host memory+TCP"});
  CHECK(medium_in(testing::layout({0, 1, 2}, medium::memory, {0, 0, 1})) == all("host memory+TCP"));
}
