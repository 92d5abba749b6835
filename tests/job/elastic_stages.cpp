// Barrier stages whose number of ranks may differ from attempt to attempt.
#include "script.hpp"

using namespace hydrogen;
using namespace hydrogen::job;
using namespace hydrogen::job::test;
using gang::decision_kind;
using plan::input_kind;

namespace {

gang::ended over(std::uint32_t stage, std::uint64_t n, std::uint32_t k = 0) {
  return {{1}, script::request(stage, k), script::attempt(n), gang::end_cause::lost, true, "detail"};
}

/// The producer's partitions that the tasks read, in the order of the tasks.
std::vector<std::uint32_t> partitions_read(const std::vector<sent_task>& tasks) {
  std::vector<std::uint32_t> all;
  for (const auto& t : tasks) {
    for (const auto& ref : t.what.inputs.at(0)) all.push_back(ref.info.id.partition);
  }
  return all;
}

std::size_t warnings(const script& s, std::string_view text) {
  return static_cast<std::size_t>(std::count_if(s.last.begin(), s.last.end(), [&](const auto& x) {
    const auto* line = std::get_if<log_line>(&x);
    return line != nullptr && line->level == log_level::warning && line->text.find(text) != std::string::npos;
  }));
}

/// All ranks answer with one block each; what is asked for is copied.
void finish(script& s, const std::vector<sent_task>& ranks) {
  for (const auto& r : ranks) {
    s.done(r);
    s.copied();
  }
}

/// The input of a gang, made by 5 tasks.
void read_input(script& s) {
  s.lease(0, 1, 18, 5);
  for (const auto& t : s.tasks()) s.done(t);
}

}  // namespace

TEST_CASE(
    "an elastic gang is asked for by its bounds, reads all of its input at any width, and leaves all partitions") {
  for (const std::uint32_t width : {2u, 3u, 4u}) {
    CAPTURE(width);
    script s({parallel("read", 5), elastic("train", 2, 4, {{0, input_kind::range}})});
    s.begin();
    read_input(s);
    REQUIRE(s.told<gang::admit>().size() == 1);
    CHECK(s.told<gang::admit>()[0].request.least == 2);
    CHECK(s.told<gang::admit>()[0].request.most == 4);
    const auto ranks = s.place(1, 1, width);
    REQUIRE(ranks.size() == width);
    for (const auto& r : ranks) CHECK(r.what.rank->size == width);
    CHECK(partitions_read(ranks) == std::vector<std::uint32_t>{0, 1, 2, 3, 4});
    CHECK(s.m.progress()[1].running == width);
    finish(s, ranks);
    REQUIRE(s.told<gang::decision>().size() == 1);
    CHECK(s.told<gang::decision>()[0].kind == decision_kind::release);
    const auto results = s.effects<result_ready>();
    REQUIRE(results.size() == 4);
    for (std::uint32_t p = 0; p < 4; ++p) {
      CHECK(results[p].partition == p);
      CHECK(results[p].refs.size() == (p < width ? 1 : 0));
    }
    CHECK(s.m.progress()[1].done == 4);
    s.say(gang::decided{{1}, script::request(1), 1});
    for (std::uint32_t p = 0; p < 4; ++p) s.feed(result_consumed{p});
    CHECK(s.has_finished());
  }
}

TEST_CASE("a table of too few or too many ranks, or of ranks that are not numbered from 0, fails the attempt") {
  const std::vector<std::vector<std::uint32_t>> bad{{0}, {0, 1, 2, 3, 4}, {0, 1, 3}, {0, 1, 1}};
  for (const auto& ranks : bad) {
    script s({elastic("train", 2, 4)});
    s.begin();
    s.say(gang::fence{{1}, script::request(0), script::attempt(1)});
    s.say(gang::placed{{1}, script::request(0), script::attempt(1), {script::where(11, 4, ranks)}});
    CHECK(s.tasks().empty());
    REQUIRE(s.told<gang::decision>().size() == 1);
    CHECK(s.told<gang::decision>()[0].kind == decision_kind::fail);
  }
}

TEST_CASE("a retry may have another world size; nothing of the attempt before counts") {
  for (const std::uint32_t width : {2u, 4u}) {
    CAPTURE(width);
    script s({parallel("read", 5), elastic("train", 2, 4, {{0, input_kind::range}})});
    s.begin();
    read_input(s);
    const auto first = s.place(1, 1, 3);
    s.done(first[2]);
    const auto copy = s.effects<copy_blocks>().at(0);
    s.gone(11);
    REQUIRE(s.told<gang::decision>().size() == 1);
    CHECK(s.told<gang::decision>()[0].kind == decision_kind::fail);
    s.say(over(1, 1));
    CHECK(s.sent<exec::drop_blocks>().size() == 1);
    REQUIRE(s.told<gang::decision>().size() == 1);
    CHECK(s.told<gang::decision>()[0].kind == decision_kind::again);
    s.copied(copy);  // late: nobody's
    CHECK(s.effects<drop_copies>().size() == 1);

    s.say(gang::fence{{1}, script::request(1), script::attempt(2)});
    std::vector<gang::member> members{script::where(13, 2, {0, 1})};
    if (width == 4) members.push_back(script::where(14, 2, {2, 3}));
    s.say(gang::placed{{1}, script::request(1), script::attempt(2), members});
    const auto second = s.tasks();
    REQUIRE(second.size() == width);
    for (const auto& r : second) CHECK(r.what.rank->size == width);
    CHECK(partitions_read(second) == std::vector<std::uint32_t>{0, 1, 2, 3, 4});
    s.done(first[2]);
    CHECK(s.sent<exec::drop_blocks>().size() == 1);
    s.copied(copy);
    CHECK(s.effects<drop_copies>().size() == 1);
    s.checkpoint(first[2], 1);
    s.fails(first[2], errc::task_failed, "late");
    CHECK(s.told<gang::decision>().empty());
    finish(s, second);
    const auto results = s.effects<result_ready>();
    REQUIRE(results.size() == 4);
    for (std::uint32_t p = 0; p < 4; ++p) CHECK(results[p].refs.size() == (p < width ? 1 : 0));
    s.done(first[2]);  // later still
    CHECK(s.sent<exec::drop_blocks>().size() == 1);
    s.copied(copy);
    CHECK(s.effects<drop_copies>().size() == 1);
    CHECK_FALSE(s.m.ended());
  }
}

TEST_CASE("a replicated checkpoint is restored by any number of ranks") {
  script s({elastic("train", 1, 4)});
  s.begin();
  auto ranks = s.place(0, 1, 4);
  for (const auto& r : ranks) s.checkpoint(r, 10, true);
  s.say(over(0, 1));
  for (const std::uint32_t width : {1u, 3u}) {
    ranks = s.place(0, 1 + width, width);
    REQUIRE(ranks.size() == width);
    for (const auto& r : ranks) {
      REQUIRE(r.what.rank->restore.has_value());
      CHECK(r.what.rank->restore->step == 10);
      CHECK(r.what.rank->restore->pieces.size() == 1);
    }
    CHECK(warnings(s, "checkpointed") == 0);
    s.say(over(0, 1 + width));
  }
}

TEST_CASE("what each rank wrote for itself is restored by as many ranks alone; others go back, and the log says so") {
  for (const bool replicated : {false, true}) {
    CAPTURE(replicated);
    script s({elastic("train", 1, 4)});
    s.begin();
    auto ranks = s.place(0, 1, 4);
    if (replicated) s.checkpoint(ranks[0], 10, true);
    for (const auto& r : ranks) s.checkpoint(r, 20);
    REQUIRE(s.effects<checkpoint_complete>().size() == 1);
    const auto known = s.sent<exec::checkpoint_known>();
    REQUIRE(known.size() == 2);
    CHECK(known[0].second.step == 20);
    CHECK(known[0].second.replicated == (replicated ? 10 : 0));  // its piece stays
    s.say(over(0, 1));

    ranks = s.place(0, 2, 3);
    REQUIRE(ranks.size() == 3);
    CHECK(warnings(s, "3 cannot restore") == 1);
    REQUIRE(ranks[2].what.rank->restore.has_value() == replicated);
    if (replicated) CHECK(ranks[2].what.rank->restore->step == 10);
    s.say(over(0, 2));

    ranks = s.place(0, 3, 4);  // as many as wrote it
    REQUIRE(ranks.size() == 4);
    CHECK(warnings(s, "cannot restore") == 0);
    REQUIRE(ranks[3].what.rank->restore.has_value());
    CHECK(ranks[3].what.rank->restore->step == 20);
    CHECK(ranks[3].what.rank->restore->pieces.size() == 4);
    s.say(over(0, 3));

    ranks = s.place(0, 4, 2);
    for (const auto& r : ranks) s.checkpoint(r, 15);  // below 20, but of the attempt that goes on
    REQUIRE(s.effects<checkpoint_complete>().size() == 1);
    CHECK(s.effects<checkpoint_complete>()[0].point.pieces.size() == 2);
    for (const auto& r : ranks) s.checkpoint(r, 15);
    CHECK(s.effects<checkpoint_complete>().empty());
    s.say(over(0, 4));
    ranks = s.place(0, 5, 2);
    REQUIRE(ranks[1].what.rank->restore.has_value());
    CHECK(ranks[1].what.rank->restore->step == 15);
    CHECK(ranks[1].what.rank->restore->written_by == script::attempt(4));
  }
}

TEST_CASE("what follows an elastic gang reads its ranks once and nothing of the partitions beyond, however it reads") {
  for (const auto kind : {input_kind::range, input_kind::bucket, input_kind::all}) {
    CAPTURE(static_cast<int>(kind));
    auto train = elastic("train", 2, 4);
    if (kind == input_kind::bucket) train.buckets = 4;
    script s({train, parallel("score", 4, {{0, kind}})});
    s.begin();
    const auto ranks = s.place(0, 1, 2);
    for (const auto& r : ranks) {
      std::vector<data::block_info> out;
      for (std::uint32_t b = 0; b < 4; ++b) {
        out.push_back(script::block(r.what, b, 10, kind == input_kind::bucket ? 3 - b : 0));
      }
      s.done(r, out);
      s.copied();
    }
    s.lease(1, 2, 15, 4);
    const auto scores = s.tasks();
    REQUIRE(scores.size() == 4);
    for (std::uint32_t p = 0; p < 4; ++p) {
      const auto read = partitions_read({scores[p]});
      if (kind == input_kind::range) CHECK(read == std::vector<std::uint32_t>(p < 2 ? 4 : 0, p));
      if (kind == input_kind::bucket) CHECK(read == std::vector<std::uint32_t>{0, 1});
      if (kind == input_kind::all) CHECK(read == std::vector<std::uint32_t>{0, 0, 0, 0, 1, 1, 1, 1});
    }
  }
}

TEST_CASE("an elastic gang reads what another left") {
  script s({elastic("first", 1, 4), elastic("second", 1, 4, {{0, input_kind::range}})});
  s.begin();
  finish(s, s.place(0, 1, 2));
  REQUIRE(s.told<gang::admit>().size() == 1);
  const auto ranks = s.place(1, 2, 3);
  REQUIRE(ranks.size() == 3);
  CHECK(partitions_read(ranks) == std::vector<std::uint32_t>{0, 1});
}

TEST_CASE("an output that is lost is made again by as many ranks as made it") {
  script s({elastic("train", 1, 4)});
  s.begin();
  const auto ranks = s.place(0, 1, 3);
  s.checkpoint(ranks[0], 5, true);
  finish(s, ranks);
  const auto ready = s.effects<result_ready>();
  REQUIRE(ready.size() == 4);
  s.feed(result_consumed{0});  // the sink has seen a part of it
  s.feed(blocks_missing{ready[1].refs, "dropped"});
  REQUIRE(s.told<gang::admit>().size() == 1);
  CHECK(s.told<gang::admit>()[0].request.id == script::request(0, 1));
  CHECK(s.told<gang::admit>()[0].request.least == 3);
  CHECK(s.told<gang::admit>()[0].request.most == 3);
  CHECK(s.place(0, 2, 2, 1).empty());
  REQUIRE(s.told<gang::decision>().size() == 1);
  CHECK(s.told<gang::decision>()[0].kind == decision_kind::fail);
  s.say(over(0, 2, 1));
  const auto again = s.place(0, 3, 3, 1);
  REQUIRE(again.size() == 3);
  CHECK_FALSE(again[0].what.rank->restore.has_value());
  finish(s, again);
  CHECK(s.effects<result_ready>().size() == 3);
}

TEST_CASE("the output of an elastic gang is kept with its width: a later job reads it, or makes it again like that") {
  auto train = elastic("train", 1, 4);
  train.keep_as = 5;
  const std::vector<plan::stage> stages{train, parallel("score", 4, {{0, input_kind::range}})};
  script s(stages, {}, {}, 0);
  s.begin();
  finish(s, s.place(0, 1, 2));
  s.lease(1, 2, 15, 4);
  s.fails(s.tasks().at(0), errc::task_failed, "x");
  REQUIRE(s.failure().kept.size() == 1);
  const auto kept = s.failure().kept;
  CHECK(kept[0].ranks == 2);
  REQUIRE(kept[0].partitions.size() == 4);
  CHECK(kept[0].partitions[1].size() == 1);
  CHECK(kept[0].partitions[2].empty());

  script later(stages, {}, kept);
  later.begin();
  REQUIRE(later.told<gang::admit>().size() == 1);
  CHECK(later.told<gang::admit>()[0].request.id.stage == 1);  // trained once
  later.lease(1, 2, 15, 4);
  const auto scores = later.tasks();
  REQUIRE(scores.size() == 4);
  CHECK(partitions_read(scores) == std::vector<std::uint32_t>{0, 1});
  later.fails(scores[1], errc::disconnected, "cannot fetch", scores[1].what.inputs[0]);
  const auto asked = later.told<gang::admit>();
  REQUIRE(asked.size() == 1);
  CHECK(asked[0].request.id.stage == 0);
  CHECK(asked[0].request.least == 2);
  CHECK(asked[0].request.most == 2);
}

TEST_CASE("a kept output of which a partition is empty can be lost") {
  auto cached = parallel("cached", 2);
  cached.keep_as = 77;
  data::block_info block;
  block.id = data::block_id::output(the_run, 1, 0, 1, 0, 0);
  const data::block_ref ref{block, {{50}, script::endpoint(50)}};
  script s({cached, parallel("count", 2, {{0, input_kind::range}})}, {}, {{77, {{}, {ref}}, 0}});
  s.begin();
  s.lease(1, 1, 15, 2);
  const auto tasks = s.tasks();
  REQUIRE(tasks.size() == 2);
  s.fails(tasks[1], errc::disconnected, "cannot fetch", {ref});
  const auto asked = s.told<gang::admit>();
  REQUIRE(asked.size() == 1);
  CHECK(asked[0].request.id.stage == 0);
  CHECK(asked[0].request.most == 1);
}

TEST_CASE("an elastic stage that fewer ranks could not read whole, or with wrong bounds, is refused") {
  const auto refused = [](std::vector<plan::stage> stages) {
    script s(std::move(stages));
    s.begin();
    return s.has_failed() && s.failure().why.code == errc::bad_input;
  };
  CHECK(refused({elastic("train", 5, 4)}));
  CHECK(refused({parallel("count", 2, {}, 4), elastic("train", 2, 4, {{0, input_kind::bucket}})}));
  CHECK_FALSE(refused({parallel("count", 2, {}, 4), elastic("train", 4, 4, {{0, input_kind::bucket}})}));
  auto source = elastic("train", 1, 2);
  source.partition_arguments.resize(2);
  CHECK(refused({source}));
  source.barrier.least_ranks = 2;
  CHECK_FALSE(refused({source}));
}
