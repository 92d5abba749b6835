#include <hydrogen/base/random.hpp>
#include <hydrogen/gang/digest.hpp>

#include <doctest/doctest.h>

namespace hydrogen::gang::testing::of_digest {
namespace {

request_id id(std::uint32_t n, std::uint64_t run = 1) {
  return {{run, run}, 1, n, 0};
}
record submitted(std::uint32_t n, std::uint64_t place, std::uint64_t run = 1) {
  slot_request what;
  what.id = id(n, run);
  what.least = what.most = n;
  return {{1}, submitted_record{what, place}};
}
record go(std::uint32_t n, std::uint64_t counter) {
  return {{1}, go_record{{id(n), {{1}, counter}}, {{"n0", {12}, {13}, "127.0.0.1:2", n, {0}}}}};
}
record closed(std::uint32_t n, std::uint64_t counter, close_reason why, errc code = errc::none) {
  return {{1}, closed_record{{id(n), {{1}, counter}}, why, {code, {}, {}, {}}}};
}

std::vector<std::uint32_t> waiting(const digest& d) {
  std::vector<std::uint32_t> all;
  for (const auto* q : d.in_order()) all.push_back(q->what.id.stage);
  return all;
}

}  // namespace

TEST_CASE("requests wait in the order of their places until they are over; what is over says why it was denied") {
  digest d({{{1}, term_record{}},
            submitted(2, 20),
            submitted(1, 10),
            submitted(3, 30),
            closed(3, 0, close_reason::failed, errc::refused),
            submitted(4, 40),
            {{1}, cancelled_record{id(4)}}});
  CHECK(waiting(d) == std::vector<std::uint32_t>{1, 2});
  const auto& ends = d.runs().at({1, 1});
  CHECK(ends.find(id(1)) == nullptr);
  CHECK(ends.find(id(3))->code == errc::refused);
  CHECK(ends.find(id(4))->code == errc::none);
  d.add(submitted(1, 50));
  CHECK(waiting(d) == std::vector<std::uint32_t>{1, 2});
}

TEST_CASE("nodes are drained until they are not") {
  digest d({{{1}, term_record{}}, {{1}, drain_record{"a", true}}, {{1}, drain_record{"b", true}}});
  d.add({{1}, drain_record{"a", false}});
  CHECK(d.drained() == std::set<std::string>{"b"});
  CHECK(digest(d.records()).drained() == std::set<std::string>{"b"});
}

TEST_CASE("a Go is open until its attempt is closed") {
  digest d({{{1}, term_record{}}, submitted(1, 1), go(1, 7)});
  CHECK(d.in_order()[0]->open->ref.attempt == attempt_id{{1}, 7});
  d.add(closed(1, 7, close_reason::again));
  CHECK_FALSE(d.in_order()[0]->open);
  CHECK(d.in_order()[0]->last_attempt == attempt_id{{1}, 7});
  d.add(go(1, 8));
  CHECK(d.in_order()[0]->open->ref.attempt == attempt_id{{1}, 8});
  d.add(go(9, 9));  // unknown
  CHECK(d.in_order().size() == 1);
}

TEST_CASE("a cancelled gang whose Go is open is over when its attempt is closed") {
  digest d({{{1}, term_record{}}, submitted(1, 1), go(1, 7), {{1}, cancelled_record{id(1)}}});
  REQUIRE(d.in_order().size() == 1);
  CHECK(d.in_order()[0]->cancelled);
  CHECK(d.in_order()[0]->open->ref.attempt == attempt_id{{1}, 7});
  CHECK(d.runs().at({1, 1}).find(id(1)) == nullptr);
  d.add(go(1, 8));
  CHECK(d.in_order()[0]->open->ref.attempt == attempt_id{{1}, 7});
  d.add(closed(1, 7, close_reason::cancelled));
  CHECK(d.in_order().empty());
  CHECK(d.runs().at({1, 1}).find(id(1))->code == errc::none);
}

TEST_CASE("what an old coordinator wrote after a newer term began counts for nothing") {
  const digest d({{{1}, term_record{}}, submitted(1, 1), {{2}, term_record{}}, {{1}, cancelled_record{id(1)}}});
  CHECK(d.term() == term_id{2});
  CHECK(waiting(d) == std::vector<std::uint32_t>{1});
}

TEST_CASE("nothing is kept of a run that is over") {
  digest d({{{1}, term_record{}}, submitted(1, 1), submitted(2, 2, 2), {{1}, cancelled_record{id(1)}}});
  d.add({{1}, run_over_record{{1, 1}}});
  CHECK_FALSE(d.runs().contains({1, 1}));
  CHECK(d.records() == std::vector<record>{{{1}, term_record{}}, submitted(2, 2, 2)});
}

TEST_CASE("of the ends of a run the last thousand are kept") {
  ended_requests ends;
  for (std::uint32_t n = 0; n < 1500; ++n) ends.add(id(n), {n % 2 == 0 ? errc::none : errc::refused, {}, {}, {}});
  CHECK(ends.in_order().size() == ended_requests::most);
  CHECK(ends.find(id(499)) == nullptr);
  CHECK(ends.find(id(501))->code == errc::refused);
  ends.add(id(501), {errc::none, {}, {}, {}});
  CHECK(ends.find(id(501))->code == errc::refused);
}

TEST_CASE("the shortest history comes to the same, also when more is added to it") {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    CAPTURE(seed);
    random_source rng(seed);
    digest all, cut;
    std::uint64_t place = 0;
    const auto add = [&](const record& r) {
      all.add(r);
      cut.add(r);
    };
    add({{1}, term_record{}});
    for (int i = 0; i < 200; ++i) {
      const auto n = static_cast<std::uint32_t>(rng.below(12));
      switch (rng.below(6)) {
        case 0:
        case 1:
          add(submitted(n, ++place, 1 + rng.below(2)));
          break;
        case 2:
          add(go(n, place));
          break;
        case 3:
          add(closed(n, place, rng.chance(0.8) ? close_reason::again : close_reason::cancelled));
          break;
        case 4:
          add(closed(n, place, close_reason::failed, errc::refused));
          break;
        case 5:
          rng.chance(0.9) ? add({{1}, cancelled_record{id(n)}}) : add({{1}, run_over_record{{2, 2}}});
          break;
      }
      if (rng.chance(0.1)) cut = digest(cut.records());
    }
    CHECK(digest(all.records()).records() == all.records());
    const auto a = all.in_order(), c = cut.in_order();
    REQUIRE(a.size() == c.size());
    for (std::size_t i = 0; i < a.size(); ++i) {
      CHECK(a[i]->what == c[i]->what);
      CHECK(a[i]->place == c[i]->place);
      CHECK(a[i]->last_attempt == c[i]->last_attempt);
      CHECK(a[i]->open == c[i]->open);
      CHECK(a[i]->cancelled == c[i]->cancelled);
    }
    for (const auto& [run, ends] : cut.runs()) CHECK(ends.in_order() == all.runs().at(run).in_order());
  }
}

}  // namespace hydrogen::gang::testing::of_digest
