// How many tasks wait at an executor: more of short ones than of long ones.
#include "script.hpp"

#include <deque>

using namespace hydrogen;
using namespace hydrogen::job;
using namespace hydrogen::job::test;

namespace {

/// One stage of many tasks, whose executors run them in the order in which they were sent.
struct many_tasks : script {
  explicit many_tasks(options opt = {}) : script({parallel("work", 2000)}, opt) { begin(); }

  void take_lease(std::uint64_t n, std::uint64_t boot, std::uint32_t slots) {
    lease(0, n, boot, slots);
    collect();
  }
  /// The oldest task is done after it ran for so long. How many were sent then.
  std::size_t finish(duration ran) {
    const auto task = there.front();
    there.pop_front();
    done(task, {block(task.what)}, ran);
    collect();
    return tasks().size();
  }
  void collect() {
    for (auto& task : tasks()) there.push_back(std::move(task));
  }

  std::deque<sent_task> there;
};

}  // namespace

TEST_CASE("of short tasks so many wait as fill `work_ahead`") {
  for (const auto& [ran, window] : {std::pair<duration, std::size_t>{100us, 5}, {50us, 10}, {10us, 50}}) {
    CAPTURE(window);
    for (const std::uint32_t slots : {1u, 3u}) {
      many_tasks s;
      s.take_lease(1, 11, slots);
      CHECK(s.there.size() == slots * 3);  // nothing is known of them
      s.finish(ran);
      CHECK(s.there.size() == slots * (1 + window));
    }
  }
}

TEST_CASE("at most `most_window` tasks wait per slot, however short they are") {
  options opt;
  for (const std::uint32_t most : {64u, 7u}) {
    opt.most_window = most;
    many_tasks s(opt);
    s.take_lease(1, 11, 2);
    for (int i = 0; i < 1000; ++i) {
      s.finish(1us);
      REQUIRE(s.there.size() <= std::size_t{2} * (1 + most));
    }
  }
  opt.most_window = 1;  // below `window`: that counts
  many_tasks s(opt);
  s.take_lease(1, 11, 1);
  s.finish(1us);
  CHECK(s.there.size() == 3);
}

TEST_CASE("short tasks are sent many at a time, before half of those that wait have begun") {
  many_tasks s;
  s.take_lease(1, 11, 1);
  CHECK(s.finish(1us) == 63);
  REQUIRE(s.there.size() == 65);
  for (int round = 0; round < 5; ++round) {
    for (int i = 0; i < 31; ++i) REQUIRE(s.finish(1us) == 0);
    CHECK(s.finish(1us) == 32);
    REQUIRE(s.there.size() == 65);
  }
}

TEST_CASE("long tasks have `window` that wait, and each that ends is followed by one") {
  for (const duration ran : {duration(250us), duration(1ms), duration(10s)}) {
    many_tasks s;
    s.take_lease(1, 11, 2);
    for (int i = 0; i < 100; ++i) REQUIRE(s.finish(ran) == 1);
    CHECK(s.there.size() == 6);
  }
  options opt;
  opt.work_ahead = duration::zero();
  many_tasks off(opt);
  off.take_lease(1, 11, 2);
  for (int i = 0; i < 100; ++i) REQUIRE(off.finish(1us) == 1);
}

TEST_CASE("when tasks become long no more are sent until only `window` wait, and when they become short again, more") {
  many_tasks s;
  s.take_lease(1, 11, 1);
  s.finish(1us);
  REQUIRE(s.there.size() == 65);
  for (int i = 0; i < 62; ++i) REQUIRE(s.finish(100ms) == 0);
  CHECK(s.finish(100ms) == 1);
  CHECK(s.there.size() == 3);
  std::size_t most = 0;
  for (int i = 0; i < 200; ++i) {
    s.finish(1us);
    most = std::max(most, s.there.size());
  }
  CHECK(most == 65);
}

TEST_CASE("a recall takes back short tasks that have not started, and they go to another lease, each once") {
  many_tasks s;
  s.take_lease(1, 11, 2);
  s.finish(1us);
  REQUIRE(s.there.size() == 130);
  s.say(gang::recall{{1}, script::request(0), 2, 0, 1});
  const auto back = s.sent<exec::cancel_task>();
  REQUIRE(back.size() == 128);
  std::vector<std::uint32_t> expected;
  for (std::size_t i = 2; i < s.there.size(); ++i) expected.push_back(s.there[i].what.id.partition);
  std::vector<std::uint32_t> taken;
  for (const auto& [executor, cancelled] : back) {
    CHECK(executor == boot_id{11});
    taken.push_back(cancelled.id.partition);
  }
  std::sort(taken.begin(), taken.end());
  std::sort(expected.begin(), expected.end());
  CHECK(taken == expected);

  s.there.resize(2);
  CHECK(s.finish(1us) == 0);  // it gets no more
  CHECK(s.told<gang::release_lease>().empty());
  CHECK(s.finish(1us) == 0);
  REQUIRE(s.told<gang::release_lease>().size() == 1);
  CHECK(s.told<gang::release_lease>()[0].attempt == script::attempt(1));

  s.take_lease(2, 12, 2);
  CHECK(s.there.size() == 130);
  std::vector<std::uint32_t> again;
  while (!s.there.empty()) {
    const auto& task = s.there.front();
    CHECK(task.executor == boot_id{12});
    if (task.what.id.attempt == 1) again.push_back(task.what.id.partition);
    s.finish(1us);
  }
  std::sort(again.begin(), again.end());
  CHECK(again == expected);
}
