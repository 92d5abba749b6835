// Which threads run what comes, and where.

#include <hydrogen/actors/slot_pool.hpp>
#include <hydrogen/comm/call.hpp>

#include "stage.hpp"
#include <sys/mman.h>

#include <atomic>
#include <future>
#include <latch>
#include <random>
#include <set>

using namespace hydrogen;
using namespace hydrogen::actors;

namespace {

/// A rank: it begins when all of its gang have begun, if it has one.
class rank final : public slot_task {
 public:
  rank(std::shared_ptr<std::latch> all, std::function<void()> work, std::shared_ptr<std::promise<pid_t>> ran_on,
       exec::task what = {})
      : slot_task(std::move(what)), all_(std::move(all)), work_(std::move(work)), ran_on_(std::move(ran_on)) {}
  void run() override {
    thread_ = gettid();
    if (all_) all_->arrive_and_wait();
    if (work_) work_();
  }
  void finish(std::shared_ptr<slot_task>, bool) override { ran_on_->set_value(thread_); }

 private:
  std::shared_ptr<std::latch> all_;
  std::function<void()> work_;
  std::shared_ptr<std::promise<pid_t>> ran_on_;
  pid_t thread_ = 0;
};

/// All ranks of a gang are in it at once.
std::vector<pid_t> run_once(slot_pool& pool, const slot_pool::lane_ptr& lane, std::size_t ranks,
                            const std::function<void()>& work = {}) {
  const auto all = std::make_shared<std::latch>(static_cast<std::ptrdiff_t>(ranks));
  std::vector<std::shared_ptr<std::promise<pid_t>>> ran_on;
  std::vector<slot_task_ptr> tasks;
  for (std::size_t i = 0; i < ranks; ++i) {
    ran_on.push_back(std::make_shared<std::promise<pid_t>>());
    tasks.push_back(std::make_shared<rank>(all, work, ran_on.back()));
  }
  pool.push(lane, tasks);
  std::vector<pid_t> found;
  for (auto& one : ran_on) found.push_back(one->get_future().get());
  return found;
}

/// Afterwards all threads sleep.
std::vector<pid_t> run_gang(slot_pool& pool, const slot_pool::lane_ptr& lane, std::size_t ranks,
                            const std::function<void()>& work = {}) {
  auto found = run_once(pool, lane, ranks, work);
  while (!test::sleeps("slot")) sched_yield();  // all of them are woken the next time
  return found;
}

error outcome_of(std::promise<error>& result) {
  auto known = result.get_future();
  REQUIRE(known.wait_for(60s) == std::future_status::ready);
  return known.get();
}

/// Memory of the host in which two ranks meet.
std::shared_ptr<comm::area> area_of_two() {
  const auto bytes = comm::area::bytes_on_host(2);
  void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  REQUIRE(at != MAP_FAILED);
  const std::shared_ptr<void> keep(at, [bytes](void* memory) { munmap(memory, bytes); });
  return comm::area::create(static_cast<std::byte*>(at), 2, keep);
}

/// A rank that has come to an area, and waits at its gate.
class rank_at_gate final : public slot_task {
 public:
  rank_at_gate(std::shared_ptr<comm::area> where, std::promise<error>& result)
      : slot_task({}), where_(std::move(where)), result_(result) {
    REQUIRE(where_->come(0, comm::join_plan(1)));
    wake_ = abort.on_abort([this] { where_->wake(); });
    gate = where_;
  }
  void run() override {
    begun = true;
    const auto ok = where_->await_start(0, {10s, 10s}, abort);
    why_ = ok ? error{errc::none, {}, {}, {}} : ok.error();
  }
  void finish(std::shared_ptr<slot_task>, bool) override { result_.set_value(why_); }
  std::atomic<bool> begun{false};

 private:
  const std::shared_ptr<comm::area> where_;
  std::promise<error>& result_;
  std::unique_ptr<abort_word::registration> wake_;
  error why_{errc::none, {}, {}, {}};
};

}  // namespace

TEST_CASE("a lane that holds its tasks runs them when it is released, but for those that were taken out or dropped") {
  auto pool = std::make_unique<slot_pool>();
  const auto lane = pool->open(4, true);
  const auto begun = std::make_shared<std::atomic<int>>(0);
  const auto task = [&](std::uint32_t number) {
    auto one = std::make_shared<std::latch>(1);
    auto ran_on = std::make_shared<std::promise<pid_t>>();
    exec::task what;
    what.id.partition = number;
    slot_task_ptr made = std::make_shared<rank>(
        one, [begun] { ++*begun; }, ran_on, std::move(what));
    pool->push(lane, {&made, 1});
    return ran_on->get_future();
  };
  auto first = task(0), second = task(1), third = task(2);
  exec::task_id id;
  id.partition = 1;
  CHECK(pool->withdraw(lane, id));
  CHECK(pool->running(lane).empty());
  CHECK(*begun == 0);
  pool->release(lane);
  pool->release(lane);
  first.get();
  third.get();
  CHECK(*begun == 2);
  CHECK_THROWS_AS(second.get(), std::future_error);
  task(3).get();  // held no longer
  pool->close(lane, {errc::aborted, "over", {}, {}}, [] {});

  const auto dropped = pool->open(4, true);
  auto one = std::make_shared<std::latch>(1);
  slot_task_ptr never_run = std::make_shared<rank>(
      one, [begun] { ++*begun; }, std::make_shared<std::promise<pid_t>>());
  pool->push(dropped, {&never_run, 1});
  bool idle = false;
  pool->close(dropped, {errc::aborted, "over", {}, {}}, [&] { idle = true; });
  CHECK(idle);
  pool->release(dropped);
  CHECK(*begun == 3);
  pool.reset();
}

TEST_CASE("lanes of many attempts, one after the other, use no more threads than there are slots at a time") {
  auto pool = std::make_unique<slot_pool>();
  std::set<pid_t> threads;
  for (int i = 0; i < 200; ++i) {
    const auto lane = pool->open(2);
    for (const auto& ran_on : run_gang(*pool, lane, 2)) threads.insert(ran_on);
    std::promise<void> idle;
    pool->close(lane, {}, [&] { idle.set_value(); });
    idle.get_future().get();
  }
  CHECK(threads.size() == 2);
  pool.reset();
}

TEST_CASE("a lane whose tasks do not end keeps no task of another lane from its thread") {
  auto pool = std::make_unique<slot_pool>();
  const auto stuck = pool->open(8);
  std::latch begun(8), end(1);
  std::vector<std::shared_ptr<std::promise<pid_t>>> ends;
  for (int i = 0; i < 8; ++i) {
    ends.push_back(std::make_shared<std::promise<pid_t>>());
    slot_task_ptr task = std::make_shared<rank>(
        std::make_shared<std::latch>(1),
        [&] {
          begun.count_down();
          end.wait();
        },
        ends.back());
    pool->push(stuck, {&task, 1});
  }
  begun.wait();
  const auto lane = pool->open(3);
  run_once(*pool, lane, 3);
  end.count_down();
  for (auto& one : ends) one->get_future().get();
  pool->close(stuck, {}, [] {});
  pool->close(lane, {}, [] {});
  pool.reset();
}

TEST_CASE("a task does not wait for a thread that does something else after its own task, when its lane is closed") {
  auto pool = std::make_unique<slot_pool>();
  std::latch ended(1), go_on(1);
  /// Its thread stays in `finish`, as one that runs actors.
  struct lingering final : slot_task {
    lingering(std::latch& ended, std::latch& go_on) : slot_task({}), ended(ended), go_on(go_on) {}
    void run() override {}
    void finish(std::shared_ptr<slot_task>, bool) override {
      ended.count_down();
      go_on.wait();
    }
    std::latch &ended, &go_on;
  };
  const auto first = pool->open(1);
  slot_task_ptr task = std::make_shared<lingering>(ended, go_on);
  pool->push(first, {&task, 1});
  ended.wait();
  bool idle = false;
  pool->close(first, {}, [&] { idle = true; });
  CHECK(idle);
  const auto second = pool->open(1);
  auto ran_on = std::make_shared<std::promise<pid_t>>();
  slot_task_ptr next = std::make_shared<rank>(nullptr, nullptr, ran_on);
  pool->push(second, {&next, 1});
  CHECK(ran_on->get_future().wait_for(20s) == std::future_status::ready);
  go_on.count_down();
  pool->close(second, {}, [] {});
  pool.reset();
}

TEST_CASE("gangs of all widths, pushed, held, released and closed by many threads at a time, run or are dropped") {
  auto pool = std::make_unique<slot_pool>();
  std::atomic<int> finished{0};
  std::vector<std::thread> pushers;
  constexpr int gangs = 400;
  for (unsigned seed = 1; seed <= 4; ++seed) {
    pushers.emplace_back([&, seed] {
      std::mt19937 random(seed);
      for (int i = 0; i < gangs; ++i) {
        const auto width = 1 + random() % 9;
        const auto lane = pool->open(static_cast<std::uint32_t>(width), random() % 2 == 0);
        const auto drop = random() % 8 == 0;
        const auto all = drop ? nullptr : std::make_shared<std::latch>(static_cast<std::ptrdiff_t>(width));
        std::vector<slot_task_ptr> tasks;
        std::vector<std::shared_ptr<std::promise<pid_t>>> ran_on;
        for (std::size_t r = 0; r < width; ++r) {
          ran_on.push_back(std::make_shared<std::promise<pid_t>>());
          tasks.push_back(std::make_shared<rank>(
              all, [] {}, ran_on.back()));
        }
        pool->push(lane, tasks);
        std::promise<void> idle;
        const auto close = [&] { pool->close(lane, {}, [&] { idle.set_value(); }); };
        tasks.clear();
        if (drop) close();
        pool->release(lane);
        for (auto& one : ran_on) {
          auto result = one->get_future();
          one.reset();  // its task holds it alone
          if (result.wait_for(60s) != std::future_status::ready) return;
          if (!drop) result.get();
        }
        if (!drop) close();
        idle.get_future().get();
        ++finished;
      }
    });
  }
  for (auto& one : pushers) one.join();
  CHECK(finished == 4 * gangs);
  pool.reset();
}

TEST_CASE("a thread that sleeps is left asleep until the gate opens at which its rank would wait") {
  auto pool = std::make_unique<slot_pool>();
  const auto lane = pool->open(1);
  run_gang(*pool, lane, 1);
  const auto where = area_of_two();
  std::promise<error> result;
  const auto task = std::make_shared<rank_at_gate>(where, result);
  slot_task_ptr pushed = task;
  pool->push(lane, {&pushed, 1});
  for (int i = 0; i < 1000; ++i) sched_yield();  // time for a thread that was woken, to fail the test
  CHECK_FALSE(task->begun);
  CHECK(pool->running(lane).size() == 1);
  SUBCASE("it opens when all have come") {
    where->open();
    for (int i = 0; i < 1000; ++i) sched_yield();
    CHECK_FALSE(task->begun);
    REQUIRE(where->come(1, comm::join_plan(1)));
    CHECK(outcome_of(result).code == errc::none);
  }
  SUBCASE("the attempt ends") {
    pool->close(lane, {errc::aborted, "over", {}, {}}, [] {});
    CHECK(outcome_of(result).what == "over");
  }
  SUBCASE("the other rank leaves") {
    where->leave(1);
    CHECK(outcome_of(result).code == errc::disconnected);
  }
  SUBCASE("its process dies") {
    where->lost(1);
    CHECK(outcome_of(result).code == errc::disconnected);
  }
  SUBCASE("it is to see what is missing") {
    pool->release(lane);
    for (const auto limit = now() + 60s; !task->begun && now() < limit;) sched_yield();
    REQUIRE(task->begun);
    REQUIRE(where->come(1, comm::join_plan(1)));
    where->open();
    CHECK(outcome_of(result).code == errc::none);
  }
  pool->close(lane, {errc::aborted, "over", {}, {}}, [] {});
  pool.reset();
}

TEST_CASE("a gate that opens while a thread is on its way to it is not missed") {
  auto pool = std::make_unique<slot_pool>();
  const auto lane = pool->open(1);
  for (int round = 0; round < 2000; ++round) {
    const auto where = area_of_two();
    std::promise<error> result;
    slot_task_ptr task = std::make_shared<rank_at_gate>(where, result);
    std::latch both(2);
    std::thread other([&] {
      both.arrive_and_wait();
      for (int i = 0; i < round % 200; ++i) comm::spin_pause();
      if (round % 2 == 0) where->open();
      CHECK(where->come(1, comm::join_plan(1)));
      if (round % 2 != 0) where->open();
    });
    both.arrive_and_wait();
    pool->push(lane, {&task, 1});
    CHECK(outcome_of(result).code == errc::none);
    other.join();
  }
  pool->close(lane, {errc::aborted, "over", {}, {}}, [] {});
  pool.reset();
}

TEST_CASE("ranks of one process whose gates open together all run, once each, whoever runs them") {
  constexpr std::uint32_t gangs = 8;
  auto pool = std::make_unique<slot_pool>();
  for (int round = 0; round < 500; ++round) {
    std::vector<std::shared_ptr<comm::area>> areas;
    std::vector<std::promise<error>> results(gangs);
    std::vector<slot_pool::lane_ptr> lanes;
    for (std::uint32_t i = 0; i < gangs; ++i) {
      areas.push_back(area_of_two());
      lanes.push_back(pool->open(1));
      slot_task_ptr task = std::make_shared<rank_at_gate>(areas.back(), results[i]);
      pool->push(lanes.back(), {&task, 1});
    }
    std::vector<std::thread> others;
    for (std::uint32_t half = 0; half < 2; ++half) {
      others.emplace_back([&, half] {
        for (std::uint32_t i = half; i < gangs; i += 2) {
          areas[i]->open();
          CHECK(areas[i]->come(1, comm::join_plan(1)));
        }
      });
    }
    for (auto& result : results) CHECK(outcome_of(result).code == errc::none);
    for (auto& other : others) other.join();
    for (const auto& lane : lanes) {
      std::promise<void> idle;
      pool->close(lane, {}, [&] { idle.set_value(); });
      idle.get_future().get();
    }
  }
  pool.reset();
}
