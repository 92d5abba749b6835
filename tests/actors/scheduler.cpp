// Who runs which actor, and when: the worker, helpers, delayed messages, lent work.

#include "stage.hpp"
#include <pthread.h>

#include <array>
#include <atomic>
#include <future>
#include <memory>

using namespace hydrogen;
using namespace hydrogen::test;

TEST_CASE("delayed messages come in the order of their times, and none before its time") {
  stage s;
  struct arrival {
    time_point due, came;
  };
  std::vector<arrival> arrivals;
  std::promise<void> all_set;
  std::promise<void> all_came;
  s.tell(1, [set = all_set.get_future().share()] { set.wait(); });  // none comes before all are set
  const auto start = now();
  for (const auto delay : {40ms, 10ms, 30ms, 1ms, 20ms}) {
    s.tell_at(0, start + delay, [&, due = start + delay] {
      arrivals.push_back({due, now()});
      if (arrivals.size() == 5) all_came.set_value();
    });
  }
  all_set.set_value();
  REQUIRE(all_came.get_future().wait_for(60s) == std::future_status::ready);
  for (std::size_t i = 0; i < arrivals.size(); ++i) {
    CHECK(arrivals[i].came >= arrivals[i].due);
    if (i > 0) CHECK(arrivals[i].due > arrivals[i - 1].due);
  }
}

TEST_CASE("a delayed message wakes a worker that sleeps until a later one") {
  stage s;
  for (const bool helping : {false, true}) {
    s.tell_at(0, now() + 1h, [] {});
    s.let_worker_sleep();
    std::promise<std::thread::id> came;
    const auto set = [&] { s.tell_at(1, now() + 1ms, [&] { came.set_value(std::this_thread::get_id()); }); };
    if (helping) {  // an actor sets it, on the thread of a helper
      const scheduler::helper here(s.system());
      s.tell(2, set);
    } else {
      set();
    }
    auto who = came.get_future();
    REQUIRE(who.wait_for(60s) == std::future_status::ready);
    CHECK(who.get() == s.worker());
  }
}

TEST_CASE("a helper runs what it has woken when it closes, and leaves to the worker what it has no time for") {
  stage s;
  const auto worker = s.worker();
  s.let_worker_sleep();
  std::vector<std::thread::id> ran(s.all().size());
  std::atomic<std::size_t> left = ran.size();
  {
    const scheduler::helper here(s.system());
    for (std::size_t i = 0; i < ran.size(); ++i) {
      s.tell(i, [&, i] {
        // The first one takes all the time there is.
        for (const auto end = now() + 2ms; i == 0 && now() < end;) {
        }
        ran[i] = std::this_thread::get_id();
        --left;
      });
    }
    CHECK(left == ran.size());
  }
  CHECK(ran[0] == std::this_thread::get_id());
  wait_until("all actors have run", [&] { return left == 0; });
  for (std::size_t i = 1; i < ran.size(); ++i) CHECK(ran[i] == worker);
}

TEST_CASE("what an actor wakes on a helper's thread runs there too") {
  stage s;
  s.let_worker_sleep();
  std::vector<std::thread::id> ran;
  {
    const scheduler::helper here(s.system());
    s.tell(0, [&] {
      ran.push_back(std::this_thread::get_id());
      s.tell(1, [&] { ran.push_back(std::this_thread::get_id()); });
    });
  }
  CHECK(ran == std::vector(2, std::this_thread::get_id()));
}

TEST_CASE("a helper inside another one, or inside an actor, does nothing") {
  stage s;
  s.let_worker_sleep();
  std::thread::id ran{};
  {
    const scheduler::helper here(s.system());
    {
      const scheduler::helper nested(s.system(), true);
      s.tell(0, [&] { ran = std::this_thread::get_id(); });
    }
    CHECK(ran == std::thread::id{});
    s.tell(1, [] { CHECK(!scheduler::lend([] {})); });
  }
  CHECK(ran == std::this_thread::get_id());

  std::promise<bool> ran_inside;
  std::promise<std::thread::id> ran_later;
  auto later = ran_later.get_future();
  s.tell(0, [&] {
    {
      const scheduler::helper nested(s.system());
      s.tell(1, [&] { ran_later.set_value(std::this_thread::get_id()); });
    }
    ran_inside.set_value(later.wait_for(0s) == std::future_status::ready);
  });
  CHECK(!ran_inside.get_future().get());
  CHECK(later.get() == s.worker());
}

TEST_CASE("work lent to a helper that may block runs there, once at a time, while actors go on on the worker") {
  stage s;
  const auto worker = s.worker();
  s.let_worker_sleep();
  const auto here = std::this_thread::get_id();
  std::thread::id lent_ran{};
  std::thread::id other_ran{};
  std::promise<void> other;
  bool other_came = false;
  bool first = false;
  bool second = true;
  {
    const scheduler::helper helper(s.system(), true);
    s.tell(0, [&] {
      first = scheduler::lend([&] {
        lent_ran = std::this_thread::get_id();
        other_came = other.get_future().wait_for(60s) == std::future_status::ready;
      });
      second = scheduler::lend([] { FAIL_CHECK("lent twice"); });
    });
    s.tell(1, [&] {
      other_ran = std::this_thread::get_id();
      other.set_value();
    });
  }
  CHECK(first);
  CHECK(!second);
  CHECK(lent_ran == here);
  CHECK(other_came);
  CHECK(other_ran == worker);
}

TEST_CASE("what lent work wakes is run when it is done") {
  stage s;
  s.let_worker_sleep();
  std::vector<int> order;
  {
    const scheduler::helper helper(s.system(), true);
    s.tell(0, [&] {
      CHECK(scheduler::lend([&] {
        s.tell(1, [&] { order.push_back(2); });
        order.push_back(1);
      }));
    });
  }
  CHECK(order == std::vector{1, 2});
}

TEST_CASE("nothing is lent to the worker, to a helper that may not block, or to a thread that does not help") {
  stage s;
  const auto lend = [] { return scheduler::lend([] { FAIL_CHECK("nobody may run this"); }); };
  CHECK(!lend());
  std::promise<bool> on_worker;
  s.tell(0, [&] { on_worker.set_value(lend()); });
  CHECK(!on_worker.get_future().get());
  s.let_worker_sleep();
  bool on_helper = true;
  {
    const scheduler::helper here(s.system());
    s.tell(0, [&] { on_helper = lend(); });
  }
  CHECK(!on_helper);
  { const scheduler::helper here(s.system(), true); }
  CHECK(!lend());
}

TEST_CASE("a system that stops waits for helpers that are open") {
  stage s;
  s.end_actors();
  std::promise<void> is_open;
  std::atomic<bool> stopped = false;
  bool too_early = true;
  // CAF wants a system to be stopped by the thread that made it.
  std::thread helping([&] {
    const scheduler::helper here(s.system());
    is_open.set_value();
    // On its way there it sleeps for moments only.
    for (int seen = 0; seen < 200 && !stopped; seen = sleeps("hy-stops") ? seen + 1 : 0) std::this_thread::yield();
    too_early = stopped;
  });
  is_open.get_future().wait();
  std::array<char, 16> name{};
  pthread_getname_np(pthread_self(), name.data(), name.size());
  pthread_setname_np(pthread_self(), "hy-stops");
  s.stop();
  stopped = true;
  pthread_setname_np(pthread_self(), name.data());
  helping.join();
  CHECK(!too_early);
}
