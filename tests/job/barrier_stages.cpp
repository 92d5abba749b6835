// Barrier stages: fence, ranks, copies, checkpoints, retries, decisions.
#include "script.hpp"

using namespace hydrogen;
using namespace hydrogen::job;
using namespace hydrogen::job::test;
using gang::decision_kind;
using plan::input_kind;

namespace {

gang::ended over(std::uint32_t stage, std::uint64_t n, gang::end_cause cause, bool burnt) {
  return {{1}, script::request(stage), script::attempt(n), cause, burnt, "detail"};
}

}  // namespace

TEST_CASE("a gang is asked for whole, fenced, placed, copied, released") {
  script s({barrier("train", 4, 3)});
  s.begin();
  REQUIRE(s.told<gang::admit>().size() == 1);
  CHECK(s.told<gang::admit>()[0].request.kind == gang::request_kind::gang);
  CHECK(s.told<gang::admit>()[0].request.least == 4);
  CHECK(s.told<gang::admit>()[0].request.most == 4);
  const auto ranks = s.place(0, 1, 4);
  REQUIRE(ranks.size() == 4);
  CHECK(ranks[3].executor == boot_id{12});
  REQUIRE(ranks[3].what.rank.has_value());
  CHECK(ranks[3].what.rank->size == 4);
  CHECK(ranks[3].what.rank->gang_try == 0);
  CHECK_FALSE(ranks[3].what.rank->restore.has_value());
  CHECK(ranks[3].what.storage_dir == "/storage");
  CHECK(ranks[3].what.attempt == script::attempt(1));
  std::vector<copy_blocks> copies;
  for (const auto& r : ranks) {
    s.done(r);
    REQUIRE(s.effects<copy_blocks>().size() == 1);
    copies.push_back(s.effects<copy_blocks>()[0]);
    CHECK(s.told<gang::decision>().empty());
  }
  for (std::size_t i = 0; i < 3; ++i) s.copied(copies[i]);
  CHECK(s.told<gang::decision>().empty());  // not before everything is durable
  s.copied(copies[3]);
  REQUIRE(s.told<gang::decision>().size() == 1);
  CHECK(s.told<gang::decision>()[0].kind == decision_kind::release);
  CHECK(s.told<gang::decision>()[0].attempt == script::attempt(1));
  CHECK(s.effects<result_ready>().size() == 4);
  CHECK(s.effects<result_ready>()[0].refs[0].at == the_driver);
  CHECK(s.sent<exec::drop_blocks>().size() == 4);  // the originals
  s.wait(600ms);
  CHECK(s.told<gang::decision>().size() == 1);  // until decided
  s.say(gang::decided{{1}, script::request(0), 1});
  s.wait(600ms);
  CHECK(s.told<gang::decision>().empty());
  for (std::uint32_t r = 0; r < 4; ++r) s.feed(result_consumed{r});
  CHECK(s.has_finished());
  CHECK(s.effects<drop_copies>().size() == 1);
  CHECK(s.m.over());
}

TEST_CASE("tasks of ranks are repeated until the gang has joined, then no more") {
  script s({barrier("train", 2, 3)});
  s.begin();
  CHECK(s.place(0, 1, 2).size() == 2);
  s.wait(600ms);
  CHECK(s.tasks().size() == 2);
  s.say(gang::granted{{1}, script::request(0), script::attempt(1)});
  s.wait(600ms);
  s.wait(3s);
  CHECK(s.tasks().empty());
}

TEST_CASE("the first rank that explains the failure ends the attempt; the job retries it whole with the fence raised") {
  script s({barrier("train", 2, 1)});
  s.begin();
  auto ranks = s.place(0, 1, 2);
  s.fails(ranks[1], errc::aborted, "rank 0 failed");
  REQUIRE(s.told<gang::decision>().size() == 1);
  CHECK(s.told<gang::decision>()[0].kind == decision_kind::fail);
  s.fails(ranks[0], errc::task_failed, "nan");
  CHECK(s.told<gang::decision>().empty());
  s.say(gang::decided{{1}, script::request(0), 1});
  s.say(over(0, 1, gang::end_cause::failed, true));
  REQUIRE(s.told<gang::decision>().size() == 1);
  const auto again = s.told<gang::decision>()[0];
  CHECK(again.kind == decision_kind::again);
  CHECK(again.number == 2);
  CHECK(again.attempt == script::attempt(1));
  s.done(ranks[1]);  // late: below the fence
  CHECK(s.effects<copy_blocks>().empty());
  CHECK(s.sent<exec::drop_blocks>().size() == 1);
  ranks = s.place(0, 2, 2);
  REQUIRE(ranks.size() == 2);
  CHECK(ranks[0].what.rank->gang_try == 1);
  CHECK(ranks[0].what.id.attempt == 1);
  auto old = ranks[1];
  old.what.attempt = script::attempt(1);
  s.done(old);  // the fencing token alone tells them apart
  CHECK(s.effects<copy_blocks>().empty());
  old = ranks[1];
  old.what.id.attempt = 0;
  s.done(old);
  CHECK(s.effects<copy_blocks>().empty());
  s.fails(ranks[0], errc::task_failed, "nan again");
  s.say(over(0, 2, gang::end_cause::failed, true));
  REQUIRE(s.has_failed());
  REQUIRE(s.failure().cause.has_value());
  CHECK(s.failure().cause->rank == 0);
  CHECK(s.failure().cause->attempt == 1);
  CHECK(s.failure().cause->host == "n1");
  CHECK(s.failure().cause->cause.what == "nan again");
  CHECK(s.failure().cause->stage == "app: stage 0, train");
}

TEST_CASE("restart and giving way burn no retry") {
  script s({barrier("train", 2, 0)});
  s.begin();
  for (std::uint64_t n = 1; n < 5; ++n) {
    REQUIRE(s.place(0, n, 2).size() == 2);
    s.say(over(0, n, n % 2 == 0 ? gang::end_cause::restart : gang::end_cause::gave_way, false));
    REQUIRE(s.told<gang::decision>().size() == 1);
    CHECK(s.told<gang::decision>()[0].kind == decision_kind::again);
  }
  CHECK_FALSE(s.m.ended());
  REQUIRE(s.place(0, 5, 2).size() == 2);
  s.say(over(0, 5, gang::end_cause::lost, true));
  CHECK(s.has_failed());
}

TEST_CASE(
    "a coordinator that was restarted asks by the fence whether a job goes on: it does, unless its ranks failed") {
  for (const bool failed : {false, true}) {
    CAPTURE(failed);
    script s({barrier("train", 2, 0)});
    s.begin();
    const auto ranks = s.place(0, 1, 2);
    if (failed) {
      s.fails(ranks[0], errc::task_failed, "nan");
      REQUIRE(s.told<gang::decision>().size() == 1);
      s.say(gang::decided{{1}, script::request(0), s.told<gang::decision>()[0].number});
    }
    s.feed(coordinator_lost{});
    s.feed(coordinator_connected{});
    s.say(gang::fence{{2}, script::request(0), script::attempt(1)});
    CHECK(s.told<gang::fenced>().size() == (failed ? 0 : 1));
    const auto decisions = s.told<gang::decision>();
    CHECK(decisions.size() == (failed ? 1 : 0));
    if (failed) CHECK(decisions.at(0).kind == decision_kind::fail);
  }
}

TEST_CASE("a job that holds all results when its attempt ends answers with release") {
  script s({barrier("train", 2, 0)});
  s.begin();
  const auto ranks = s.place(0, 1, 2);
  s.done(ranks[0]);
  const auto first = s.effects<copy_blocks>().at(0);
  s.done(ranks[1]);
  const auto second = s.effects<copy_blocks>().at(0);
  s.copied(first);
  s.say(over(0, 1, gang::end_cause::lost, true));  // its executors died after the last result
  CHECK(s.told<gang::decision>().empty());
  s.copied(second);
  REQUIRE(s.told<gang::decision>().size() == 1);
  CHECK(s.told<gang::decision>()[0].kind == decision_kind::release);
  CHECK_FALSE(s.m.ended());
}

TEST_CASE("a copy that fails after the end of the attempt makes it run again") {
  script s({barrier("train", 1, 1)});
  s.begin();
  const auto ranks = s.place(0, 1, 1);
  s.done(ranks[0]);
  const auto copy = s.effects<copy_blocks>().at(0);
  s.say(over(0, 1, gang::end_cause::lost, true));
  s.feed(blocks_copied{copy.stage, copy.partition, copy.attempt, fail(errc::disconnected, "gone")});
  REQUIRE(s.told<gang::decision>().size() == 1);
  CHECK(s.told<gang::decision>()[0].kind == decision_kind::again);
}

TEST_CASE("an output that cannot be copied fails the attempt") {
  script s({barrier("train", 1, 0)});
  s.begin();
  const auto ranks = s.place(0, 1, 1);
  s.done(ranks[0]);
  const auto copy = s.effects<copy_blocks>().at(0);
  s.feed(blocks_copied{copy.stage, copy.partition, copy.attempt, fail(errc::over_limit, "no room")});
  REQUIRE(s.told<gang::decision>().size() == 1);
  CHECK(s.told<gang::decision>()[0].kind == decision_kind::fail);
  s.say(over(0, 1, gang::end_cause::failed, true));
  REQUIRE(s.has_failed());
  CHECK(s.failure().cause->cause.what.find("no room") != std::string::npos);
}

TEST_CASE("output beyond the copy limit says so") {
  options opt;
  opt.copy_limit = 15;
  script s({barrier("train", 2, 0)}, opt);
  s.begin();
  const auto ranks = s.place(0, 1, 2);
  s.done(ranks[0]);
  CHECK_FALSE(s.effects<copy_blocks>().at(0).beyond_limit);
  s.done(ranks[1]);
  CHECK(s.effects<copy_blocks>().at(0).beyond_limit);
}

TEST_CASE("the next attempt restores the last step that every rank of a live attempt reported") {
  script s({barrier("train", 2, 3)});
  s.begin();
  auto ranks = s.place(0, 1, 2);
  s.checkpoint(ranks[0], 10);
  s.checkpoint(ranks[0], 10);
  CHECK(s.effects<checkpoint_complete>().empty());
  s.checkpoint(ranks[1], 10);
  REQUIRE(s.effects<checkpoint_complete>().size() == 1);
  CHECK(s.effects<checkpoint_complete>()[0].point.step == 10);
  s.checkpoint(ranks[0], 20);  // not complete
  s.say(over(0, 1, gang::end_cause::lost, true));
  s.checkpoint(ranks[1], 20);  // of an attempt that is over
  CHECK(s.effects<checkpoint_complete>().empty());
  ranks = s.place(0, 2, 2);
  REQUIRE(ranks[1].what.rank->restore.has_value());
  const auto& point = *ranks[1].what.rank->restore;
  CHECK(point.step == 10);
  CHECK(point.written_by == script::attempt(1));
  CHECK(point.pieces == std::vector<hash128>{{10, 0}, {10, 1}});
  // Replicated: rank 0 alone.
  s.checkpoint(ranks[1], 30, true);
  CHECK(s.effects<checkpoint_complete>().empty());
  s.checkpoint(ranks[0], 30, true);
  REQUIRE(s.effects<checkpoint_complete>().size() == 1);
  s.checkpoint(ranks[0], 40, true);
  REQUIRE(s.effects<checkpoint_complete>().size() == 1);
  const auto known = s.sent<exec::checkpoint_known>();
  REQUIRE(!known.empty());  // or ranks keep what they have written
  CHECK(known.back().second.step == 40);
  CHECK(known.back().second.attempt == script::attempt(2));
}

TEST_CASE("a lost input parks a gang that waits; the fence is not raised for it; then it queues again") {
  script s({parallel("read", 2), barrier("train", 2, 0, {{0, input_kind::range}})});
  s.begin();
  s.lease(0, 1, 13, 2);
  const auto reads = s.tasks();
  s.done(reads[0]);
  s.done(reads[1]);
  REQUIRE(s.told<gang::admit>().size() == 1);
  CHECK(s.told<gang::admit>()[0].request.id.stage == 1);
  s.gone(13);
  REQUIRE(s.told<gang::decision>().size() == 1);
  const auto park = s.told<gang::decision>()[0];
  CHECK(park.kind == decision_kind::park);
  REQUIRE(s.told<gang::admit>().size() == 1);
  CHECK(s.told<gang::admit>()[0].request.id == script::request(0, 1));
  s.say(gang::fence{{1}, script::request(1), script::attempt(1)});
  CHECK(s.told<gang::fenced>().empty());
  REQUIRE(s.told<gang::decision>().size() == 1);
  CHECK(s.told<gang::decision>()[0].kind == decision_kind::park);
  CHECK(s.told<gang::decision>()[0].number == park.number + 1);
  s.say(gang::decided{{1}, script::request(1), park.number + 1});
  s.lease(0, 2, 14, 2, 1);
  const auto repairs = s.tasks();
  REQUIRE(repairs.size() == 2);
  s.done(repairs[0]);
  s.done(repairs[1]);
  REQUIRE(s.told<gang::decision>().size() == 1);
  const auto again = s.told<gang::decision>()[0];
  CHECK(again.kind == decision_kind::again);
  CHECK(again.attempt == script::attempt(1));
  s.say(gang::decided{{1}, script::request(1), again.number});
  // The reservation was only then given up: the coordinator had no use for the word yet.
  s.say(over(1, 1, gang::end_cause::gave_way, false));
  REQUIRE(s.told<gang::decision>().size() == 1);
  CHECK(s.told<gang::decision>()[0].kind == decision_kind::again);
  CHECK(s.told<gang::decision>()[0].number == again.number + 1);
  CHECK(s.place(1, 2, 2).size() == 2);
}

TEST_CASE("an input missing at a rank fails the attempt without burning a retry, and is made again first") {
  script s({parallel("read", 1), barrier("train", 2, 0, {{0, input_kind::all}})});
  s.begin();
  s.lease(0, 1, 13, 1);
  s.done(s.tasks().at(0));
  const auto ranks = s.place(1, 1, 2);
  REQUIRE(ranks[0].what.inputs[0].size() == 1);
  s.fails(ranks[0], errc::disconnected, "cannot fetch", {ranks[0].what.inputs[0][0]});
  REQUIRE(s.told<gang::decision>().size() == 1);
  CHECK(s.told<gang::decision>()[0].kind == decision_kind::fail);
  const auto asked = s.told<gang::admit>();
  REQUIRE(asked.size() == 1);
  CHECK(asked[0].request.id == script::request(0, 1));
  s.say(over(1, 1, gang::end_cause::failed, true));
  CHECK_FALSE(s.m.ended());
  CHECK(s.told<gang::decision>().empty());  // first what is missing
  s.lease(0, 2, 14, 1, 1);
  s.done(s.tasks().at(0));
  REQUIRE(s.told<gang::decision>().size() == 1);
  CHECK(s.told<gang::decision>()[0].kind == decision_kind::again);
}

TEST_CASE("a barrier output that was copied to the driver survives its executors") {
  script s({barrier("train", 1, 0), parallel("score", 2, {{0, input_kind::all}})});
  s.begin();
  const auto ranks = s.place(0, 1, 1);
  s.done(ranks[0]);
  s.copied();
  s.gone(11);
  s.lease(1, 2, 12, 2);
  REQUIRE(s.tasks().size() == 2);
  CHECK(s.tasks()[0].what.inputs[0][0].at == the_driver);
  s.fails(s.tasks()[0], errc::task_failed, "x");
  CHECK_FALSE(s.has_failed());
}

TEST_CASE("a barrier output with a name is kept for later jobs, also when the job fails") {
  auto train = barrier("train", 1, 0);
  train.keep_as = 5;
  script s({train, parallel("score", 1, {{0, input_kind::all}})}, {}, {}, 0);
  s.begin();
  s.done(s.place(0, 1, 1)[0]);
  s.copied();
  s.lease(1, 2, 12, 1);
  s.fails(s.tasks().at(0), errc::task_failed, "x");
  REQUIRE(s.has_failed());
  REQUIRE(s.failure().kept.size() == 1);
  CHECK(s.failure().kept[0].keep_as == 5);
  CHECK(s.effects<drop_copies>().empty());

  script later({train, parallel("score", 1, {{0, input_kind::all}})}, {}, s.failure().kept);
  later.begin();
  REQUIRE(later.told<gang::admit>().size() == 1);
  CHECK(later.told<gang::admit>()[0].request.id.stage == 1);  // trained once
}

TEST_CASE("a fence for a gang that is done is answered with release") {
  script s({barrier("train", 1, 0), parallel("score", 1, {{0, input_kind::all}})});
  s.begin();
  s.done(s.place(0, 1, 1)[0]);
  s.copied();
  const auto release = s.told<gang::decision>().at(0);
  s.say(gang::decided{{1}, script::request(0), release.number});
  s.say(gang::fence{{2}, script::request(0), script::attempt(1, 2)});
  CHECK(s.told<gang::fenced>().empty());
  REQUIRE(s.told<gang::decision>().size() == 1);
  CHECK(s.told<gang::decision>()[0].kind == decision_kind::release);
  CHECK(s.told<gang::decision>()[0].number > release.number);
}

TEST_CASE("decisions are repeated after a reconnection, together with the request") {
  script s({barrier("train", 2, 2)});
  s.begin();
  const auto ranks = s.place(0, 1, 2);
  s.feed(coordinator_lost{});
  s.fails(ranks[0], errc::task_failed, "nan");
  CHECK(s.told<gang::decision>().empty());
  s.feed(coordinator_connected{});
  CHECK(s.told<gang::admit>().size() == 1);
  REQUIRE(s.told<gang::decision>().size() == 1);
  CHECK(s.told<gang::decision>()[0].kind == decision_kind::fail);
}

TEST_CASE("cancelling the job cancels its gang until that is confirmed") {
  script s({barrier("train", 2, 2)});
  s.begin();
  const auto ranks = s.place(0, 1, 2);
  s.feed(job::cancel{"interrupted"});
  CHECK(s.told<gang::cancel>().size() == 1);
  s.done(ranks[0]);
  CHECK(s.sent<exec::drop_blocks>().size() == 1);
  s.wait(600ms);
  CHECK(s.told<gang::cancel>().size() == 1);
  CHECK_FALSE(s.m.over());
  s.say(over(0, 1, gang::end_cause::cancelled, false));
  CHECK(s.m.over());
}

TEST_CASE("copies that the driver lost are made again by a new gang from the start") {
  script s({barrier("train", 1, 0)});
  s.begin();
  const auto ranks = s.place(0, 1, 1);
  s.checkpoint(ranks[0], 5);
  s.done(ranks[0]);
  s.copied();
  const auto ready = s.effects<result_ready>().at(0);
  s.feed(blocks_missing{ready.refs, "dropped"});
  REQUIRE(s.told<gang::admit>().size() == 1);
  CHECK(s.told<gang::admit>()[0].request.id == script::request(0, 1));
  const auto again = s.place(0, 2, 1, 1);
  REQUIRE(again.size() == 1);
  CHECK(again[0].what.id.attempt == 1);
  CHECK_FALSE(again[0].what.rank->restore.has_value());  // its files belong to the gang before
  s.done(again[0]);
  s.copied();
  CHECK(s.effects<result_ready>().size() == 1);
}
