// The policy of the queue: order, who passes, limits, demands.

#include "shop.hpp"

namespace hydrogen::gang::testing::of_queue {

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
