// Room for the request in front: recalls and evictions.

#include "shop.hpp"

namespace hydrogen::gang::testing::of_queue {

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

}  // namespace hydrogen::gang::testing::of_queue
