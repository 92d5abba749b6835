#pragma once
// A cluster for tests of the queue: requests start at once when the queue says so, and end when the test says so.

#include <hydrogen/gang/queue.hpp>

#include <doctest/doctest.h>

#include <deque>
#include <string>
#include <vector>

namespace hydrogen::gang::testing::of_queue {

struct shop {
  queue_options options;
  ledger account;
  queue line{options, account};
  std::deque<request_state> requests;
  time_point now{1h};
  std::uint64_t attempts = 0;
  std::vector<std::string> done;  // what the queue said: "start 3 on n1:2", "recall 4 to 1", "lift 4", "evict 2 for 5"

  explicit shop(std::vector<node_size> nodes, queue_options o = {}) : options(o) {
    for (const auto& size : nodes) {
      const auto n = account.nodes().size() + 1;
      auto& node = account.add({n}, std::string("n").append(std::to_string(n)));
      account.resize(node, size);
      account.set(node, true, true);
    }
  }
  explicit shop(std::uint32_t slots, queue_options o = {}) : shop(std::vector{node_size{slots, {}, {}}}, o) {}

  request_state& at(std::size_t n) { return requests[n]; }
  void touch(request_state& r) { line.update(r, !r.final && !r.parked, now); }

  request_state& add(request_kind kind, std::uint32_t least, std::uint32_t most, std::string label = "x") {
    auto& r = requests.emplace_back();
    const auto n = static_cast<std::uint32_t>(requests.size() - 1);
    r.what.id = {{1, 1}, 0, n, 0};
    r.what.kind = kind;
    r.what.least = least;
    r.what.most = most;
    r.what.app.name = "app";
    r.what.label = std::move(label);
    r.submitted = n;
    r.at = {0, n, 0};
    return r;
  }
  void submit(request_state& r, std::int32_t priority = 0) {
    r.what.priority = priority;
    r.at.below = -priority;
    touch(r);
    run();
  }
  request_state& gang(std::uint32_t slots, std::string label = "x", std::int32_t priority = 0) {
    auto& r = add(request_kind::gang, slots, slots, std::move(label));
    submit(r, priority);
    return r;
  }
  request_state& stage(std::uint32_t most, std::int32_t priority = 0) {
    auto& r = add(request_kind::parallel, 1, most);
    submit(r, priority);
    return r;
  }
  static std::string name(const request_state& r) { return std::to_string(r.submitted); }

  void run() {
    for (auto s = line.next(now); s.index() != 0; s = line.next(now)) {
      if (auto* x = std::get_if<queue::start>(&s)) {
        auto& r = *x->who;
        auto text = "start " + name(r) + " on";
        const attempt_id id{{1}, ++attempts};
        auto& a = r.attempts[id];
        a.ref = {r.what.id, id};
        a.begun = now;
        for (auto& m : x->where) {
          text += " " + m.node + ":" + std::to_string(m.slots);
          account.debit(m.agent, a.ref, m.slots, r.what.needs.each);
          a.slots += m.slots;
          a.members.push_back({m, member_progress::entered});
        }
        a.phase = attempt_phase::running;
        r.held += a.slots;
        touch(r);
        done.push_back(text);
      } else if (auto* b = std::get_if<queue::ask_back>(&s)) {
        b->who->keep = b->keep;
        touch(*b->who);
        done.push_back(b->keep == UINT32_MAX ? "lift " + name(*b->who)
                                             : "recall " + name(*b->who) + " to " + std::to_string(b->keep));
      } else if (auto* e = std::get_if<queue::evict>(&s)) {
        for (auto* r : e->who) {
          done.push_back("evict " + name(*r) + " for " + name(*e->waits));
          stop(*r, attempt_phase::ending);
        }
      }
    }
  }
  /// The end of the (oldest) attempt is decided, and its slots come back with `gone`.
  void stop(request_state& r, attempt_phase phase) {
    REQUIRE_FALSE(r.attempts.empty());
    auto& a = r.attempts.begin()->second;
    a.phase = phase;
    r.held -= a.slots;
    for (auto& m : a.members) account.returns(m.is.agent, a.ref);
    touch(r);
  }
  void gone(request_state& r, bool again = false) {
    auto a = r.attempts.begin()->second;
    for (auto& m : a.members) account.credit(m.is.agent, a.ref);
    r.attempts.erase(r.attempts.begin());
    r.retried = again;
    if (r.is_gang() && !again) {
      line.forget(r);
    } else {
      touch(r);
    }
    run();
  }
  void end(request_state& r) {
    stop(r, attempt_phase::closing);
    gone(r);
  }
  /// A gang of this kind ran for so long.
  void teach(const std::string& label, duration ran) {
    auto& r = gang(1, label);
    REQUIRE(r.held == 1);
    now += ran;
    end(r);
    done.clear();
  }
  std::string said() {
    std::string text;
    for (const auto& d : std::exchange(done, {})) text += (text.empty() ? "" : ", ") + d;
    return text;
  }
};

inline node_size with_gpus(std::uint32_t slots, std::uint32_t gpus) {
  node_size n{slots, {}, {}};
  if (gpus > 0) n.has.devices.push_back({"gpu", gpus});
  return n;
}

}  // namespace hydrogen::gang::testing::of_queue
