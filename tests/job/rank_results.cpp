// What becomes of the results of ranks: they come with the answer, are copied, or are lost on the way.
#include "script.hpp"

using namespace hydrogen;
using namespace hydrogen::job;
using namespace hydrogen::job::test;
using gang::decision_kind;

TEST_CASE(
    "small outputs of ranks come with their answers: nothing to copy or drop, and no executor can take them away") {
  script s({barrier("train", 4, 0)});
  s.begin();
  const auto ranks = s.place(0, 1, 4);
  REQUIRE(ranks.size() == 4);
  CHECK(ranks[0].what.answer_with == 16 * 1024);
  for (const auto& r : ranks) s.done(r, {script::block_here(r.what)});
  REQUIRE(s.told<gang::decision>().size() == 1);
  CHECK(s.told<gang::decision>()[0].kind == decision_kind::release);
  REQUIRE(s.effects<result_ready>().size() == 4);
  CHECK(s.effects<result_ready>()[0].refs[0].info.here != nullptr);
  s.gone(11);
  CHECK_FALSE(s.has_failed());
  s.say(gang::decided{{1}, script::request(0), 1});
  for (std::uint32_t r = 0; r < 4; ++r) s.feed(result_consumed{r});
  CHECK(s.has_finished());
  for (const auto& x : s.all) {
    CHECK_FALSE(std::holds_alternative<copy_blocks>(x));
    CHECK_FALSE(std::holds_alternative<drop_copies>(x));
    if (const auto* to = std::get_if<to_executor>(&x)) CHECK_FALSE(std::holds_alternative<exec::drop_blocks>(to->what));
  }
}

TEST_CASE("a gang of which some ranks answered with their outputs and some left them is copied where it needs to be") {
  script s({barrier("train", 4, 0)});
  s.begin();
  const auto ranks = s.place(0, 1, 4);
  for (std::uint32_t r = 0; r < 3; ++r) s.done(ranks[r], {script::block_here(ranks[r].what)});
  s.done(ranks[3], {script::block(ranks[3].what)});
  REQUIRE(s.effects<copy_blocks>().size() == 1);
  CHECK(s.effects<copy_blocks>()[0].partition == 3);
  s.copied();
  REQUIRE(s.told<gang::decision>().size() == 1);
  CHECK(s.told<gang::decision>()[0].kind == decision_kind::release);
  CHECK(s.sent<exec::drop_blocks>().size() == 1);
}

TEST_CASE("a gang whose result died on its way, with its executor or without a word, has failed") {
  options opt;
  opt.refusal_limit = 2s;
  for (const bool with_executor : {true, false}) {
    for (const bool coordinator_knows : {true, false}) {
      CAPTURE(with_executor);
      CAPTURE(coordinator_knows);
      script s({barrier("train", 4, 0)}, opt);
      s.begin();
      const auto ranks = s.place(0, 1, 4);
      s.say(gang::granted{{1}, script::request(0), script::attempt(1)});
      for (std::uint32_t r = 0; r < 3; ++r) s.done(ranks[r], {script::block_here(ranks[r].what)});
      s.gone(11);  // its ranks have answered
      CHECK(s.told<gang::decision>().empty());
      if (with_executor) {
        s.gone(12);
      } else {  // who held the rank does not know it any more
        const auto refuse = [&] {
          const auto& t = ranks[3].what;
          s.feed(from_executor{ranks[3].executor, exec::task_refused{t.id, t.request, t.attempt, "over"}});
        };
        refuse();
        CHECK(s.told<gang::decision>().empty());
        s.wait(500ms);
        CHECK(s.tasks().size() == 1);  // repeated soon
        s.wait(1500ms);
        refuse();
      }
      REQUIRE(s.told<gang::decision>().size() == 1);
      CHECK(s.told<gang::decision>()[0].kind == gang::decision_kind::fail);
      CHECK(s.told<gang::decision>()[0].attempt == script::attempt(1));
      if (coordinator_knows) {
        s.gone(12);
        s.say(
            gang::ended{{1}, script::request(0), script::attempt(1), gang::end_cause::failed, true, "its job said so"});
        REQUIRE(s.has_failed());  // with what the executor died of
        CHECK(s.failure().why.what.find("killed by signal 9") != std::string::npos);
      } else {  // it was restarted without the attempt, and has made another by now
        s.say(gang::fence{{2}, script::request(0), {{2}, 1}});
        REQUIRE(s.told<gang::fenced>().size() == 1);
        CHECK(s.told<gang::fenced>()[0].attempt == attempt_id{{2}, 1});
        s.wait(600ms);
        CHECK(s.told<gang::decision>().empty());  // nothing is to fail any more
      }
    }
  }
}
