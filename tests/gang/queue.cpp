// The policy of the queue, one decision at a time.

#include <hydrogen/gang/queue.hpp>

#include <doctest/doctest.h>

#include <deque>

namespace hydrogen::gang::testing::of_queue {
namespace {

/// A cluster whose requests start at once when the queue says so, and end when the test says so.
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

node_size with_gpus(std::uint32_t slots, std::uint32_t gpus) {
  node_size n{slots, {}, {}};
  if (gpus > 0) n.has.devices.push_back({"gpu", gpus});
  return n;
}

}  // namespace

TEST_CASE("higher priorities go first, and those of one priority in the order of submission") {
  shop s(2);
  auto& first = s.gang(2);
  s.gang(2, "x", -1);
  s.gang(2);
  s.options.evict = false;
  s.gang(2, "x", 5);
  CHECK(s.said() == "start 0 on n1:2");
  s.end(first);
  CHECK(s.said() == "start 3 on n1:2");
  s.end(s.at(3));
  CHECK(s.said() == "start 2 on n1:2");
  s.end(s.at(2));
  CHECK(s.said() == "start 1 on n1:2");
}

TEST_CASE("a gang whose run time is not known does not pass the head") {
  shop s(4);
  s.gang(3, "a");
  s.gang(2, "b");
  s.gang(1, "c");
  CHECK(s.said() == "start 0 on n1:3");
  CHECK(s.line.head() == &s.at(1));
}

TEST_CASE("a gang that is over before the head can start passes it; one that is not does not") {
  shop s(4);
  s.teach("long", 60s);
  s.teach("short", 10s);
  auto& a = s.gang(3, "long");
  auto& head = s.gang(4, "b");
  s.now += 1s;
  s.gang(1, "long");
  auto& c = s.gang(1, "short");
  CHECK(s.said() == "start 2 on n1:3, start 5 on n1:1");
  CHECK(head.mark.passed_by == 1);
  s.now += 10s;
  s.end(c);
  CHECK(s.said() == "");
  s.now += 45s;  // 4 s are left: a short one would be late
  s.gang(1, "short");
  CHECK(s.said() == "");
  s.now += 4s;
  s.end(a);
  CHECK(s.said() == "start 3 on n1:4");
}

TEST_CASE("who would pass is expected to run as long as the longer one of the last two") {
  shop s(4);
  s.teach("long", 60s);
  s.teach("c", 50s);
  s.teach("c", 5s);
  s.gang(3, "long");
  s.gang(4, "b");
  s.now += 15s;
  s.gang(1, "c");  // 45 s are left
  CHECK(s.said() == "start 3 on n1:3");
  shop t(4);
  t.teach("long", 60s);
  t.teach("c", 50s);
  t.teach("c", 5s);
  t.teach("c", 5s);
  t.gang(3, "long");
  t.gang(4, "b");
  t.now += 15s;
  t.gang(1, "c");
  CHECK(t.said() == "start 4 on n1:3, start 6 on n1:1");
}

TEST_CASE("slots that the head leaves when it starts are for others, however long they run") {
  shop s(6);
  s.teach("long", 60s);
  s.gang(4, "long");
  auto& head = s.gang(5, "b");
  s.gang(1, "unknown");
  s.gang(1, "unknown");  // 4 + 2 free, less 5: only one is left over
  CHECK(s.said() == "start 1 on n1:4, start 3 on n1:1");
  CHECK(head.mark.passed_by == 1);
}

TEST_CASE("once the start that was first expected has gone by, nothing passes that could delay the head") {
  shop s(4);
  s.teach("a", 10s);
  s.teach("short", 8s);
  s.gang(3, "a");
  s.options.ageing = 1h;
  s.gang(4, "b");
  s.now += 11s;
  s.gang(1, "short");
  CHECK(s.said() == "start 2 on n1:3");
  CHECK(s.line.holds(s.at(3), s.now));
}

TEST_CASE("after the ageing limit, or so many passes, what becomes free is held for the head") {
  const auto often = [](shop& s) {
    std::size_t served = 0;
    for (int i = 0; i < 20; ++i) {
      auto& r = s.gang(1, "short");
      if (r.held == 0) break;
      ++served;
      s.now += 2s;
      s.end(r);
    }
    return served;
  };
  queue_options aged;
  aged.ageing = 10s;
  shop s(4, aged);
  s.teach("long", 1h);
  s.teach("short", 2s);
  s.gang(3, "long");
  s.gang(4, "wide");
  CHECK(often(s) == 5);
  queue_options counted;
  counted.most_passes = 3;
  shop t(4, counted);
  t.teach("long", 1h);
  t.teach("short", 2s);
  t.gang(3, "long");
  t.gang(4, "wide");
  CHECK(often(t) == 3);
  CHECK(t.line.head()->mark.passed_by == 3);
  // The hold has a deadline of its own.
  CHECK(t.line.next_wakeup() == t.line.head()->mark.hold_from + 10min);
  t.now = t.line.next_wakeup();
  t.run();
  CHECK(t.said().find("start 6 on n1:1") != std::string::npos);
}

TEST_CASE("first in, first out lets nobody pass; freely lets whatever fits") {
  queue_options strict;
  strict.pass = passing::none;
  shop s(4, strict);
  s.teach("short", 1s);
  s.gang(3, "long");
  s.gang(4);
  s.gang(1, "short");
  s.stage(1);
  CHECK(s.said() == "start 1 on n1:3");
  queue_options loose;
  loose.pass = passing::freely;
  shop t(4, loose);
  t.gang(3);
  t.gang(4);
  t.gang(1);
  CHECK(t.said() == "start 0 on n1:3, start 2 on n1:1");
}

TEST_CASE("a parallel stage borrows what the head cannot use yet, and gives it back when that serves the head") {
  shop s(4);
  auto& a = s.gang(3);
  auto& head = s.gang(3, "b");
  auto& stage = s.stage(4);
  CHECK(s.said() == "start 0 on n1:3, start 2 on n1:1");
  s.stop(a, attempt_phase::closing);
  s.gone(a);
  CHECK(s.said() == "start 1 on n1:3");
  s.end(head);
  CHECK(s.said() == "start 2 on n1:1, start 2 on n1:1, start 2 on n1:1");
  s.gang(2, "c");
  CHECK(s.said() == "recall 2 to 2");
  s.end(stage);
  s.end(stage);
  CHECK(s.said() == "start 3 on n1:2, lift 2");
}

TEST_CASE("a stage of higher priority is not recalled, and a gang of lower priority does not evict") {
  shop s(4);
  s.stage(2, 1);
  s.gang(2, "x", 1);
  s.gang(3);
  CHECK(s.said() == "start 0 on n1:1, start 0 on n1:1, start 1 on n1:2");
}

TEST_CASE(
    "a gang of higher priority evicts whole gangs of lower priority, the lowest and newest first, no more than "
    "needed") {
  shop s(8);
  s.gang(2, "a", 1);
  s.gang(2, "b", 0);
  s.gang(2, "c", 0);
  s.gang(2, "d", 2);
  s.said();
  s.gang(2, "e", 3);
  CHECK(s.said() == "evict 2 for 4");
  s.gone(s.at(2), true);
  CHECK(s.said() == "start 4 on n1:2");
  CHECK(s.line.head() == &s.at(2));  // it waits again, and evicts nobody
  s.gang(4, "f", 3);
  CHECK(s.said() == "evict 1 for 5, evict 0 for 5");
}

TEST_CASE("no gang is evicted in vain, for a retry, or when that is switched off") {
  shop s(8);
  s.gang(2, "a", 0);
  s.gang(5, "b", 2);
  s.said();
  auto& wide = s.gang(4, "c", 1);  // 1 free and 2 of lower priority: not enough
  CHECK(s.said() == "");
  CHECK(wide.held == 0);
  shop t(2);
  t.gang(2, "a", 0);
  auto& again = t.add(request_kind::gang, 2, 2);
  again.retried = true;
  t.submit(again, 7);
  CHECK(t.said() == "start 0 on n1:2");
  queue_options gentle;
  gentle.evict = false;
  shop u(2, gentle);
  u.gang(2, "a", 0);
  u.gang(2, "b", 7);
  CHECK(u.said() == "start 0 on n1:2");
}

TEST_CASE("victims that later ones make needless are spared") {
  shop s(10);
  s.gang(4, "a", 0);
  s.gang(5, "b", 0);
  s.gang(1, "c", 0);
  s.said();
  s.gang(5, "d", 1);
  CHECK(s.said() == "evict 1 for 3");
}

TEST_CASE("stages give way before gangs of lower priority do") {
  shop s(4);
  s.gang(2, "a", 0);
  s.stage(2);
  s.said();
  s.gang(2, "b", 1);
  CHECK(s.said() == "recall 1 to 0");
  s.gang(4, "c", 2);
  CHECK(s.said() == "lift 1, evict 0 for 3, recall 1 to 0");
}

TEST_CASE("an elastic gang takes what nobody else waits for, and runs with its least when it must") {
  shop s(8);
  auto& wide = s.add(request_kind::gang, 2, 6);
  s.submit(wide);
  CHECK(s.said() == "start 0 on n1:6");
  s.end(wide);
  auto& a = s.gang(8, "a");
  auto& elastic = s.add(request_kind::gang, 2, 6);
  s.submit(elastic);
  s.gang(3, "b");
  s.said();
  s.end(a);
  CHECK(s.said() == "start 2 on n1:5, start 3 on n1:3");
}

TEST_CASE("a head that waits for devices is passed on nodes that have none, and by nobody on those that do") {
  shop s({with_gpus(4, 2), with_gpus(4, 0)});
  auto& a = s.add(request_kind::gang, 2, 2, "a");
  a.what.needs.each.devices = {{"gpu", 1}};
  s.submit(a);
  auto& b = s.add(request_kind::gang, 1, 1, "b");
  b.what.needs.each.devices = {{"gpu", 1}};
  s.submit(b);
  CHECK(s.line.head() == &b);
  s.gang(2, "c");
  s.gang(3, "d");
  CHECK(s.said() == "start 0 on n1:2, start 2 on n2:2");
  s.end(a);
  CHECK(s.said() == "start 1 on n1:1, start 3 on n1:3");
}

TEST_CASE("a head for one node waits for one node, whatever is free elsewhere") {
  shop s({with_gpus(4, 0), with_gpus(4, 0)});
  auto& a = s.gang(2, "a");
  s.gang(3, "b");
  s.said();
  auto& one = s.add(request_kind::gang, 4, 4, "c");
  one.what.needs.how = placement::one_node;
  s.submit(one);
  CHECK(s.said() == "");
  s.end(a);
  CHECK(s.said() == "start 2 on n2:4");
}

TEST_CASE("one application holds no more than it may, and who is at this limit keeps nobody else waiting") {
  queue_options limited;
  limited.application_slots = 3;
  shop s(8, limited);
  auto& a = s.gang(2, "a");
  auto& b = s.gang(2, "b");
  CHECK(s.said() == "start 0 on n1:2");
  CHECK(s.line.at_limit(b));
  CHECK(s.line.held_by("app") == 2);
  auto& other = s.add(request_kind::gang, 3, 3, "c");
  other.what.app.name = "other";
  s.submit(other);
  CHECK(s.said() == "start 2 on n1:3");
  auto& stage = s.stage(5);
  CHECK(stage.held == 1);  // the third slot
  s.said();
  s.end(a);
  CHECK(s.said() == "start 1 on n1:2");
  CHECK(s.line.waits_of("app") == 0);
}

TEST_CASE("a request is counted for the application that it came with, whatever it is called later") {
  queue_options limited;
  limited.application_slots = 3;
  shop s(8, limited);
  auto& a = s.gang(2, "a");
  auto& b = s.gang(2, "b");
  b.what.app.name = "other";
  s.touch(b);
  CHECK(s.line.waits_of("app") == 1);
  CHECK(s.line.waits_of("other") == 0);
  a.what.app.name = "other";
  s.end(a);
  s.end(b);
  CHECK(s.line.held_by("app") == 0);
  CHECK(s.line.held_by("other") == 0);
}

TEST_CASE("a node that a request avoids is used again when the time is over") {
  shop s({with_gpus(2, 0), with_gpus(4, 0)});
  auto& a = s.add(request_kind::gang, 2, 2);
  a.avoid["n1"] = s.now + 60s;
  s.submit(a);
  CHECK(s.said() == "start 0 on n2:2");
  s.now += 60s;
  auto& b = s.add(request_kind::gang, 2, 2);
  b.avoid["n1"] = s.now;
  s.submit(b);
  CHECK(s.said() == "start 1 on n2:2");
  auto& c = s.add(request_kind::gang, 2, 2);
  c.avoid["n1"] = s.now;
  s.submit(c);
  CHECK(s.said() == "start 2 on n1:2");
}

TEST_CASE("a request that was refused keeps its place until it may be placed again") {
  shop s(4);
  auto& a = s.add(request_kind::gang, 2, 2);
  a.not_before = s.now + 500ms;
  s.submit(a);
  s.gang(2);
  CHECK(s.said() == "");
  CHECK(s.line.head() == &a);
  s.now += 500ms;
  s.run();
  CHECK(s.said() == "start 0 on n1:2, start 1 on n1:2");
}

}  // namespace hydrogen::gang::testing::of_queue
