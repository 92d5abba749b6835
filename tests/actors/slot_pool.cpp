// Which threads run what comes, and where.

#include <hydrogen/actors/slot_pool.hpp>

#include "stage.hpp"
#include <sched.h>

#include <atomic>
#include <future>
#include <latch>

using namespace hydrogen;
using namespace hydrogen::actors;

namespace {

cpu_set_t may_use() {
  cpu_set_t all;
  CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
  return all;
}

struct seen_by_task {
  pid_t thread = 0;
  cpu_set_t may_use;
};

/// A rank: it begins when all of its gang have begun.
class rank final : public slot_task {
 public:
  rank(std::shared_ptr<std::latch> all, std::function<void()> work, std::shared_ptr<std::promise<seen_by_task>> seen,
       exec::task what = {})
      : slot_task(std::move(what)), all_(std::move(all)), work_(std::move(work)), seen_(std::move(seen)) {}
  void run() override {
    found_ = {gettid(), may_use()};
    all_->arrive_and_wait();
    if (work_) work_();
  }
  void finish(std::shared_ptr<slot_task>) override { seen_->set_value(found_); }

 private:
  std::shared_ptr<std::latch> all_;
  std::function<void()> work_;
  std::shared_ptr<std::promise<seen_by_task>> seen_;
  seen_by_task found_;
};

std::vector<seen_by_task> run_gang(slot_pool& pool, const slot_pool::lane_ptr& lane, std::size_t ranks,
                                   const std::function<void()>& work = {}) {
  const auto all = std::make_shared<std::latch>(static_cast<std::ptrdiff_t>(ranks));
  std::vector<std::shared_ptr<std::promise<seen_by_task>>> seen;
  std::vector<slot_task_ptr> tasks;
  for (std::size_t i = 0; i < ranks; ++i) {
    seen.push_back(std::make_shared<std::promise<seen_by_task>>());
    tasks.push_back(std::make_shared<rank>(all, work, seen.back()));
  }
  pool.push(lane, tasks);
  std::vector<seen_by_task> found;
  for (auto& one : seen) found.push_back(one->get_future().get());
  while (!test::sleeps("slot")) sched_yield();  // all of them are woken the next time
  return found;
}

}  // namespace

TEST_CASE(
    "threads of a gang may use all CPUs of the process, wherever they were woken, or those that user code chose") {
  const auto all = may_use();
  const auto cpus = static_cast<std::size_t>(CPU_COUNT(&all));
  const auto pool = slot_pool::make(static_cast<std::uint32_t>(4 * cpus));
  const auto lane = pool->open(static_cast<std::uint32_t>(4 * cpus));
  int first = 0;
  while (!CPU_ISSET(first, &all)) ++first;
  // All on one CPU, so that most have to be moved.
  const auto gather = [&](bool stay) {
    return run_gang(*pool, lane, 4 * cpus, [=] {
      cpu_set_t one;
      CPU_ZERO(&one);
      CPU_SET(first, &one);
      CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
      if (!stay) CHECK(sched_setaffinity(0, sizeof all, &all) == 0);
    });
  };
  for (int i = 0; i < 20; ++i) {
    for (const auto& seen : gather(false)) CHECK(CPU_EQUAL(&seen.may_use, &all));
  }
  gather(true);
  for (const auto& seen : gather(true)) {
    CHECK(CPU_COUNT(&seen.may_use) == 1);
    CHECK(CPU_ISSET(first, &seen.may_use));
  }
  std::promise<void> idle;
  pool->close(lane, {}, [&] { idle.set_value(); });
  idle.get_future().get();
  pool->stop();
}

TEST_CASE("a lane that holds its tasks runs them when it is released, but for those that were taken out or dropped") {
  const auto pool = slot_pool::make(4);
  const auto lane = pool->open(4, true);
  const auto begun = std::make_shared<std::atomic<int>>(0);
  const auto task = [&](std::uint32_t number) {
    auto one = std::make_shared<std::latch>(1);
    auto seen = std::make_shared<std::promise<seen_by_task>>();
    exec::task what;
    what.id.partition = number;
    slot_task_ptr made = std::make_shared<rank>(
        one, [begun] { ++*begun; }, seen, std::move(what));
    pool->push(lane, {&made, 1});
    return seen->get_future();
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
      one, [begun] { ++*begun; }, std::make_shared<std::promise<seen_by_task>>());
  pool->push(dropped, {&never_run, 1});
  bool idle = false;
  pool->close(dropped, {errc::aborted, "over", {}, {}}, [&] { idle = true; });
  CHECK(idle);
  pool->release(dropped);
  CHECK(*begun == 3);
  pool->stop();
}
