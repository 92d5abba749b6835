// A thread that waits for what actors will tell it, and runs them meanwhile.

#include "stage.hpp"
#include <pthread.h>

#include <atomic>

using namespace hydrogen;
using namespace hydrogen::test;

namespace {

/// Runs `wait` on a thread of its own, with a waiter, and is asleep there.
class waiting_thread {
 public:
  explicit waiting_thread(stage& s) : waiter_(s.system()) {
    s.let_worker_sleep();
    thread_ = std::thread([this] {
      pthread_setname_np(pthread_self(), "waiting");
      waiter_.wait([this] { return there.load(); });
      pthread_setname_np(pthread_self(), "came back");
      returned.set_value();
      end_.get_future().wait();
    });
    id = thread_.get_id();
    let_sleep();
  }
  ~waiting_thread() {
    there = true;
    waiter_.notify();
    end_.set_value();
    thread_.join();
  }
  void let_sleep() {
    wait_until("the thread sleeps", [] { return sleeps("waiting"); });
  }
  void notify() { waiter_.notify(); }

  std::atomic<bool> there{false};
  std::promise<void> returned;
  std::thread::id id;

 private:
  scheduler::waiter waiter_;
  std::promise<void> end_;
  std::thread thread_;
};

bool comes(std::future<void> what) {
  return what.wait_for(60s) == std::future_status::ready;
}

}  // namespace

TEST_CASE("a thread that waits runs the actors that others wake, until what it waits for is there") {
  stage s;
  waiting_thread waiting(s);
  std::thread::id first, second;
  s.tell(1, [&] {
    first = std::this_thread::get_id();
    s.tell(2, [&] {
      second = std::this_thread::get_id();
      waiting.there = true;  // nobody need notify: it looks after each actor
    });
  });
  CHECK(comes(waiting.returned.get_future()));
  CHECK(first == waiting.id);
  CHECK(second == waiting.id);
}

TEST_CASE("a thread that waits returns as soon as it may, and the worker runs what is left") {
  stage s;
  const auto worker = s.worker();
  waiting_thread waiting(s);
  std::promise<std::thread::id> rest;
  s.tell(1, [&] {
    s.tell(2, [&] { rest.set_value(std::this_thread::get_id()); });
    waiting.there = true;
  });
  CHECK(comes(waiting.returned.get_future()));
  CHECK(rest.get_future().get() == worker);
}

TEST_CASE("a notification wakes a thread that waits, also when it has nothing to see yet") {
  stage s;
  waiting_thread waiting(s);
  waiting.notify();
  waiting.let_sleep();
  waiting.there = true;
  waiting.notify();
  CHECK(comes(waiting.returned.get_future()));
}

TEST_CASE("a thread that waits takes lent work, and the worker serves actors meanwhile") {
  stage s;
  const auto worker = s.worker();
  waiting_thread waiting(s);
  std::promise<void> at_work, other_ran;
  std::thread::id lent_to, other;
  s.tell(1, [&] {
    REQUIRE(scheduler::lend([&] {
      lent_to = std::this_thread::get_id();
      at_work.set_value();
      other_ran.get_future().wait();
      waiting.there = true;
    }));
  });
  REQUIRE(comes(at_work.get_future()));
  s.tell(2, [&] {
    other = std::this_thread::get_id();
    other_ran.set_value();
  });
  CHECK(comes(waiting.returned.get_future()));
  CHECK(lent_to == waiting.id);
  CHECK(other == worker);
}

TEST_CASE("while the worker is to be alone, a thread that waits leaves everything to it") {
  stage s;
  const auto worker = s.worker();
  waiting_thread waiting(s);
  const scheduler::worker_alone alone(s.system());
  CHECK(s.worker() == worker);
  waiting.there = true;
  waiting.notify();
  CHECK(comes(waiting.returned.get_future()));
}
