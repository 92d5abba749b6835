// Memory shared by processes of one host: who may touch what when, and what is left when one of them is killed.
#include <hydrogen/base/random.hpp>
#include <hydrogen/comm/shm/segment.hpp>

#include "rank_process.hpp"
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <thread>

using namespace hydrogen;
using namespace hydrogen::comm;
using testing::rank_process;
using testing::start_gang;

namespace {

gang_token attempt(std::uint64_t counter) {
  gang_token token;
  token.attempt = {{1}, counter};
  return token;
}

unique_fd copy_of(int fd) {
  return unique_fd(fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

std::unique_ptr<rank_process> make(const secret& key) {
  return std::make_unique<rank_process>(key);
}

/// Bytes of it that have pages.
std::size_t memory_of(const shm::segment& s) {
  struct stat what {};
  REQUIRE(fstat(s.file(), &what) == 0);
  return static_cast<std::size_t>(what.st_blocks) * 512;
}

}  // namespace

TEST_CASE("memory of an attempt is used again only when every rank of it has left or is dead") {
  auto owner = value_or_throw(shm::segment::make());
  auto first = value_or_throw(owner->publish(attempt(1), 2));
  const auto* place = first->stage(0, 0);
  first->leave(0);
  first.reset();
  auto second = value_or_throw(owner->publish(attempt(2), 2));
  CHECK(second->stage(0, 0) != place);  // rank 1 of the first may still be in there
  second->leave(0);
  second->lost(1);
  const auto* free = second->stage(0, 0);
  second.reset();
  CHECK(value_or_throw(owner->publish(attempt(3), 2))->stage(0, 0) == free);
}

TEST_CASE("attempts that never end in order do not use up the directory") {
  auto owner = value_or_throw(shm::segment::make());
  for (std::uint64_t i = 1; i <= 400; ++i) {
    auto area = owner->publish(attempt(i), 2);
    REQUIRE_MESSAGE(area, area.error().message());
    (*area)->leave(0);
  }
}

TEST_CASE("memory of large attempts that are over goes back to the system") {
  auto owner = value_or_throw(shm::segment::make());
  const auto resident = [&] { return memory_of(*owner); };
  constexpr std::size_t large = std::size_t{200} << 20;
  for (std::uint64_t i = 1; i <= 3; ++i) {
    auto area = value_or_throw(owner->publish(attempt(i), 2));
    const auto at = value_or_throw(area->take_buffer()(large));
    for (std::size_t page = 0; page < large; page += 4096) area->buffers()[at + page] = std::byte{1};
    CHECK(resident() >= large);
    area->leave(0);
    area->leave(1);
    area.reset();
    // What is left at the end of one is taken back when the next begins, at the latest.
    area = value_or_throw(owner->publish(attempt(100 + i), 2));
    CHECK(resident() < large / 2);
    area->leave(0);
    area->leave(1);
  }
}

TEST_CASE(
    "areas of large gangs keep their memory for the next ones, but what has been staged goes back beyond a limit") {
  constexpr std::uint32_t ranks = 40;
  constexpr std::uint64_t gangs = 20;
  for (const bool stage : {false, true}) {
    CAPTURE(stage);
    auto owner = value_or_throw(shm::segment::make());
    std::size_t at_most = 0;
    for (std::uint64_t round = 0; round < 2; ++round) {
      std::vector<std::shared_ptr<area>> all;
      for (std::uint64_t i = 1; i <= gangs; ++i) {
        all.push_back(value_or_throw(owner->publish(attempt(round * gangs + i), ranks)));
        for (std::uint32_t r = 0; stage && r < ranks; ++r) {
          auto* at = all.back()->stage(r, 0);
          for (std::size_t page = 0; page < all.back()->stage_size(); page += 4096) at[page] = std::byte{1};
        }
      }
      const auto before = memory_of(*owner);
      if (round > 0 && !stage) CHECK(before == at_most);  // nothing had to be made again
      at_most = before;
      for (const auto& a : all) {
        for (std::uint32_t r = 0; r < ranks; ++r) a->leave(r);
      }
      all.clear();
      if (!stage) CHECK(memory_of(*owner) == before);
    }
    if (stage) CHECK(memory_of(*owner) <= (std::size_t{128} << 20) + 4096 * 64);
  }
}

TEST_CASE("a segment that was closed gives no more areas, but those it has, and groups") {
  auto owner = value_or_throw(shm::segment::make());
  auto there = value_or_throw(shm::segment::attach(copy_of(owner->file())));
  abort_word calm;
  const auto whole = value_or_throw(owner->publish(attempt(1), 2));
  owner->close();
  CHECK(value_or_throw(owner->publish(attempt(1), 2)) == whole);
  CHECK(value_or_throw(there->find(attempt(1), 2, calm, never)) != nullptr);
  CHECK(value_or_throw(owner->publish(attempt(2), 2)) == nullptr);
  CHECK(value_or_throw(there->find(attempt(2), 2, calm, never)) == nullptr);
  auto its = attempt(1);
  its.part = 7;
  const auto part = value_or_throw(owner->publish(its, 2, {whole, {0, 1}, 7}));
  REQUIRE(part != nullptr);
  CHECK(value_or_throw(there->find(its, 2, calm, never, true)) != nullptr);
}

TEST_CASE("a neighbour waits for an area, by the abort word or the deadline") {
  auto owner = value_or_throw(shm::segment::make());
  auto there = value_or_throw(shm::segment::attach(copy_of(owner->file())));
  abort_word abort;
  const auto late = there->find(attempt(1), 2, abort, now() + 50ms);
  REQUIRE_FALSE(late);
  CHECK(late.error().code == errc::timed_out);
  std::thread other([&] { abort.set({errc::aborted, "enough", {}, {}}); });
  const auto stopped = there->find(attempt(1), 2, abort, now() + 60s);
  other.join();
  REQUIRE_FALSE(stopped);
  CHECK(stopped.error().what == "enough");
  const auto kept = value_or_throw(owner->publish(attempt(1), 2));
  abort_word calm;
  CHECK(there->find(attempt(1), 2, calm, now() + 60s));
  const auto other_size = there->find(attempt(1), 60, calm, now() + 60s);
  REQUIRE_FALSE(other_size);
  CHECK(other_size.error().code == errc::mismatch);
}

TEST_CASE("what is no sealed segment of this build is not mapped") {
  unique_fd open(memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  REQUIRE(ftruncate(open.get(), 1 << 20) == 0);
  CHECK(shm::segment::attach(copy_of(open.get())).error().code == errc::mismatch);
  REQUIRE(fcntl(open.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0);
  CHECK(shm::segment::attach(copy_of(open.get())).error().code == errc::mismatch);
  CHECK(shm::segment::attach(unique_fd()).error().code == errc::mismatch);
}

TEST_CASE("a rank that is killed in any call is named by all others, and the rest of them meet again") {
  for (const std::string between : {"memory", "stages", "links", "tcp"}) {
    const auto key = secret::random();
    std::vector<std::unique_ptr<rank_process>> processes;
    for (int i = 0; i < 3; ++i) processes.push_back(std::make_unique<rank_process>(key, between));
    random_source random(20'24);
    for (std::uint64_t round = 1; round <= 20; ++round) {
      std::vector<rank_process*> ranks;
      for (auto& p : processes) ranks.push_back(p.get());
      start_gang(ranks, 2 * round, 1'000'000);
      const auto victim = random.below(3);
      // Somewhere in a call, or between two, of every operation and size.
      (void)ranks[victim]->hear("call " + std::to_string(random.below(28)));
      for (auto spin = random.below(200'000); spin > 0; --spin) asm volatile("");
      ranks[victim]->signal(SIGKILL);
      for (std::size_t r = 0; r < 3; ++r) {
        if (r == victim) continue;
        const auto end = ranks[r]->hear("failed ");
        INFO(between, ", round ", round, ", rank ", r, ": ", end);
        CHECK(end.starts_with("failed " + std::to_string(static_cast<int>(errc::disconnected))));
        CHECK(end.find("rank " + std::to_string(victim)) != std::string::npos);
        CHECK(end.find("is gone") != std::string::npos);
      }
      processes[victim] = std::make_unique<rank_process>(key, between);
      for (std::size_t r = 0; r < 3; ++r) ranks[r] = processes[r].get();
      start_gang(ranks, 2 * round + 1, 28);
      for (auto* r : ranks) CHECK(r->hear("done") == "done");
    }
  }
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST_CASE("when one process has no address space for shared memory, an attempt fails and the next ones use links") {
  const auto key = secret::random();
  rank_process first(key), small(key), third(key);
  const rlimit limit{std::uint64_t{16} << 30, std::uint64_t{16} << 30};
  REQUIRE(prlimit(small.pid(), RLIMIT_AS, &limit, nullptr) == 0);
  const std::vector<rank_process*> all{&first, &small, &third};
  start_gang(all, 1, 56);
  const auto own = small.hear("failed ");
  CHECK(own.starts_with("failed " + std::to_string(static_cast<int>(errc::io))));
  CHECK(own.find("mmap of shared memory") != std::string::npos);
  for (auto* r : {&first, &third}) {
    const auto end = r->hear("failed ");
    INFO(end);
    CHECK(end.find("rank 1") != std::string::npos);
  }
  for (std::uint64_t attempt = 2; attempt < 4; ++attempt) {
    start_gang(all, attempt, 28);
    for (auto* r : all) {
      INFO(attempt);
      const auto end = r->hear("done");
      CHECK(end == "done");
    }
  }
}
#endif

TEST_CASE("two processes make every call with data that the kernel copies from one to the other") {
  for (const std::string between : {"memory", "stages", "links", "tcp"}) {
    const auto key = secret::random();
    rank_process first(key, between), second(key, between);
    start_gang({&first, &second}, 1, 56);
    INFO(between);
    for (auto* r : {&first, &second}) {
      std::string end;
      do {
        end = r->hear();
      } while (end.starts_with("call "));
      CHECK(end == "done");
    }
  }
}

TEST_CASE("gangs that are ended in the middle of calls leave no descriptor and no thread behind") {
  for (const std::string between : {"memory", "stages", "links", "tcp"}) {
    const auto key = secret::random();
    std::vector<std::unique_ptr<rank_process>> processes;
    for (int i = 0; i < 3; ++i) processes.push_back(std::make_unique<rank_process>(key, between));
    const std::vector<rank_process*> ranks{processes[0].get(), processes[1].get(), processes[2].get()};
    std::vector<std::string> before;
    for (std::uint64_t round = 1; round <= 12; ++round) {
      start_gang(ranks, round, 1'000'000);
      (void)ranks[round % 3]->hear("call " + std::to_string(round * 2));
      for (auto* r : ranks) r->say("abort");
      for (auto* r : ranks) CHECK(r->hear("failed ").find("told to") != std::string::npos);
      std::vector<std::string> now;
      for (auto* r : ranks) {
        r->say("count");
        now.push_back(r->hear("has "));
      }
      // The first gangs open what all later ones use.
      if (round == 4) before = now;
      if (round == 12) CHECK(now == before);
    }
  }
}

TEST_CASE("a rank that was stopped and goes on after its gang was given up changes nothing") {
  const auto key = secret::random();
  std::vector<std::unique_ptr<rank_process>> processes;
  for (int i = 0; i < 4; ++i) processes.push_back(make(key));
  for (std::uint64_t round = 1; round <= 8; ++round) {
    // The stopped one is never rank 0, so that its memory stays in use.
    start_gang({processes[0].get(), processes[1].get(), processes[2].get()}, 2 * round, 1'000'000);
    (void)processes[2]->hear("call 5");
    processes[2]->signal(SIGSTOP);
    for (const int r : {0, 1}) {
      processes[r]->say("abort");
      CHECK(processes[r]->hear("failed ").find("told to") != std::string::npos);
    }
    start_gang({processes[0].get(), processes[1].get(), processes[3].get()}, 2 * round + 1, 400);
    (void)processes[0]->hear("call 100");
    processes[2]->signal(SIGCONT);
    CHECK(processes[2]->hear("failed ").find("told to") != std::string::npos);
    for (const int r : {0, 1, 3}) CHECK(processes[r]->hear("done") == "done");
  }
}
