#pragma once
// A job machine whose coordinator and executors are played by the test, message by message.

#include <hydrogen/job/machine.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace hydrogen::job::test {

inline const run_id the_run{7, 9};
inline const data::process_ref the_driver{{1000}, "driver:1"};

inline plan::stage parallel(std::string label, std::uint32_t partitions, std::vector<plan::stage_input> inputs = {},
                            std::uint32_t buckets = 1) {
  plan::stage s;
  s.label = std::move(label);
  s.partitions = partitions;
  s.inputs = std::move(inputs);
  s.buckets = buckets;
  return s;
}

inline plan::stage barrier(std::string label, std::uint32_t ranks, std::uint32_t retries,
                           std::vector<plan::stage_input> inputs = {}) {
  auto s = parallel(std::move(label), ranks, std::move(inputs));
  s.kind = plan::stage_kind::barrier;
  s.barrier.ranks = ranks;
  s.barrier.retries = retries;
  return s;
}

/// With any number of ranks from `least` to `ranks`.
inline plan::stage elastic(std::string label, std::uint32_t least, std::uint32_t ranks,
                           std::vector<plan::stage_input> inputs = {}) {
  auto s = barrier(std::move(label), ranks, 8, std::move(inputs));
  s.barrier.least_ranks = least;
  return s;
}

struct sent_task {
  boot_id executor;
  exec::task what;
};

struct script {
  explicit script(std::vector<plan::stage> stages, options opt = {}, std::vector<kept_output> kept = {},
                  std::uint32_t task_retries = 3)
      : m([&] {
          setup s;
          s.graph.label = "collect at test.cpp:1";
          s.graph.stages = std::move(stages);
          s.graph.task_retries = task_retries;
          s.run = the_run;
          s.job = 3;
          s.app.run = the_run;
          s.app.name = "app";
          s.app.driver = the_driver.boot;
          s.storage_dir = "/storage";
          s.kept = std::move(kept);
          s.opt = opt;
          return s;
        }()) {}

  void feed(event e) {
    last.clear();
    m.on(std::move(e), t, last);
    for (auto& x : last) all.push_back(x);
  }
  void say(gang::to_job x) { feed(from_coordinator{std::move(x)}); }
  void begin() { feed(start{}); }
  /// Time passes, with the timer fired whenever it is due.
  void wait(duration d) {
    const auto end = t + d;
    std::vector<effect> out;
    while (m.next_wakeup() <= end) {
      t = std::max(t, m.next_wakeup());
      m.on(timer{}, t, out);
      if (m.over()) break;
    }
    t = std::max(t, end);
    m.on(timer{}, t, out);
    last = out;
    for (auto& x : out) all.push_back(x);
  }

  template <class T>
  std::vector<T> told() const {  // to the coordinator, by the last event
    std::vector<T> found;
    for (const auto& x : last) {
      if (const auto* c = std::get_if<to_coordinator>(&x)) {
        if (const auto* y = std::get_if<T>(&c->what)) found.push_back(*y);
      }
    }
    return found;
  }
  template <class T>
  std::vector<T> effects() const {
    std::vector<T> found;
    for (const auto& x : last) {
      if (const auto* y = std::get_if<T>(&x)) found.push_back(*y);
    }
    return found;
  }
  template <class T>
  std::vector<std::pair<boot_id, T>> sent() const {  // to executors, by the last event
    std::vector<std::pair<boot_id, T>> found;
    for (const auto& x : last) {
      if (const auto* c = std::get_if<to_executor>(&x)) {
        if (const auto* y = std::get_if<T>(&c->what)) found.push_back({c->at.boot, *y});
      }
    }
    return found;
  }
  std::vector<sent_task> tasks() const {
    std::vector<sent_task> found;
    for (const auto& [boot, run] : sent<exec::run_task>()) found.push_back({boot, run.what});
    return found;
  }
  bool has_failed() const {
    return std::any_of(all.begin(), all.end(), [](const auto& x) { return std::holds_alternative<failed>(x); });
  }
  bool has_finished() const {
    return std::any_of(all.begin(), all.end(), [](const auto& x) { return std::holds_alternative<finished>(x); });
  }
  failed failure() const {
    for (const auto& x : all) {
      if (const auto* f = std::get_if<failed>(&x)) return *f;
    }
    return {};
  }

  static request_id request(std::uint32_t stage, std::uint32_t k = 0) { return {the_run, 3, stage, k}; }
  static attempt_id attempt(std::uint64_t n, std::uint64_t term = 1) { return {{term}, n}; }
  static std::string endpoint(std::uint64_t boot) { return "host:" + std::to_string(boot); }

  /// Executor `boot` lives on node "n<boot % 10>".
  static gang::member where(std::uint64_t boot, std::uint32_t slots, std::vector<std::uint32_t> ranks = {}) {
    return {"n" + std::to_string(boot % 10), {boot % 10 + 100}, {boot}, endpoint(boot), slots, std::move(ranks)};
  }
  void lease(std::uint32_t stage, std::uint64_t n, std::uint64_t boot, std::uint32_t slots, std::uint32_t k = 0) {
    say(gang::leased{{1}, request(stage, k), attempt(n), where(boot, slots)});
  }
  static data::block_info block(const exec::task& t, std::uint32_t index = 0, std::uint64_t bytes = 10,
                                std::uint32_t bucket = 0) {
    data::block_info b;
    b.id = data::block_id::output(t.id.run, t.id.job, t.id.stage, t.id.partition, t.id.attempt, index);
    b.rows = 1;
    b.bytes = bytes;
    b.bucket = bucket;
    return b;
  }
  /// One that comes with its task's answer.
  static data::block_info block_here(const exec::task& t, std::string_view content = "here") {
    auto b = block(t, 0, content.size());
    b.here = data::copy_to_block(as_byte_view(content), 1, 0, data::layout::encoded);
    return b;
  }
  void done(const sent_task& s, std::vector<data::block_info> outputs, duration ran = 1ms) {
    feed(from_executor{s.executor, exec::task_done{s.what.id,
                                                   s.what.request,
                                                   s.what.attempt,
                                                   {s.executor, endpoint(s.executor.value)},
                                                   std::move(outputs),
                                                   ran}});
  }
  void done(const sent_task& s) { done(s, {block(s.what)}); }
  void fails(const sent_task& s, errc code, std::string text, std::vector<data::block_ref> missing = {}) {
    task_failure why;
    why.cause = {code, std::move(text), {}, {}};
    why.last_lines = {"last line"};
    feed(from_executor{
        s.executor, exec::task_failed{s.what.id, s.what.request, s.what.attempt, s.executor, why, std::move(missing)}});
  }
  void gone(std::uint64_t boot) {
    say(gang::executor_gone{{1}, the_run, {boot}, where(boot, 1).node, "killed by signal 9"});
  }
  /// Everything asked to be copied by the last event is in the driver's store.
  void copied() {
    for (const auto& c : effects<copy_blocks>()) copied(c);
  }
  void copied(const copy_blocks& c) {
    std::vector<data::block_ref> refs = c.refs;
    for (auto& r : refs) r.at = the_driver;
    feed(blocks_copied{c.stage, c.partition, c.attempt, std::move(refs)});
  }
  /// A gang of n, up to `placed`, its ranks two to an executor (boots 11, 12, ...).
  std::vector<sent_task> place(std::uint32_t stage, std::uint64_t n, std::uint32_t ranks, std::uint32_t k = 0) {
    say(gang::fence{{1}, request(stage, k), attempt(n)});
    REQUIRE(told<gang::fenced>().size() == 1);
    std::vector<gang::member> members;
    for (std::uint32_t r = 0; r < ranks; r += 2) {
      std::vector<std::uint32_t> mine{r};
      if (r + 1 < ranks) mine.push_back(r + 1);
      members.push_back(where(11 + r / 2, static_cast<std::uint32_t>(mine.size()), mine));
    }
    say(gang::placed{{1}, request(stage, k), attempt(n), members});
    return tasks();
  }
  void checkpoint(const sent_task& s, std::uint64_t step, bool replicated = false) {
    feed(from_executor{
        s.executor,
        exec::checkpointed{s.what.id, s.what.request, s.what.attempt, step, replicated, {step, s.what.id.partition}}});
  }

  machine m;
  time_point t{1s};
  std::vector<effect> last;
  std::vector<effect> all;
};

}  // namespace hydrogen::job::test
