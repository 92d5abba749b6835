// Failures and losses in parallel stages: retries, lineage, leases and connections that end, kept outputs.
#include "script.hpp"

using namespace hydrogen;
using namespace hydrogen::job;
using namespace hydrogen::job::test;
using plan::input_kind;

TEST_CASE("a failed task goes to another node, and beyond its retries the job fails with everything about it") {
  script s({parallel("work", 4)}, {}, {}, 1);
  s.begin();
  s.lease(0, 1, 11, 1);
  const auto tasks = s.tasks();
  REQUIRE(tasks.size() == 3);
  s.lease(0, 2, 12, 1);
  REQUIRE(s.tasks().size() == 1);
  const auto other = s.tasks()[0];
  s.fails(tasks[0], errc::task_failed, "division by zero");
  // Node n1 has room, node n2 too: it goes to n2.
  REQUIRE(s.tasks().size() >= 1);
  const auto again = s.tasks()[0];
  CHECK(again.executor == boot_id{12});
  CHECK(again.what.id.partition == 0);
  CHECK(again.what.id.attempt == 1);
  CHECK_FALSE(s.m.ended());
  s.fails(again, errc::task_failed, "division by zero");
  REQUIRE(s.has_failed());
  const auto f = s.failure();
  CHECK(f.why.code == errc::task_failed);
  REQUIRE(f.cause.has_value());
  CHECK(f.cause->cause.what == "division by zero");
  CHECK(f.cause->stage == "app: stage 0, work");
  CHECK(f.cause->partition == 0);
  CHECK(f.cause->rank == -1);
  CHECK(f.cause->attempt == 1);
  CHECK(f.cause->host == "n2");
  CHECK(f.cause->last_lines.at(0) == "last line");
  CHECK(s.sent<exec::cancel_task>().size() == 3);  // what else runs
  CHECK(s.told<gang::cancel>().size() == 1);
  s.wait(600ms);
  CHECK(s.told<gang::cancel>().size() == 1);  // repeated until confirmed
  s.wait(11s);
  CHECK(s.m.over());
  (void)other;
}

TEST_CASE("blocks of a lost executor are made again, exactly those, before what waits for them runs") {
  script s({parallel("read", 4, {}, 2), parallel("sum", 2, {{0, input_kind::bucket}})});
  s.begin();
  s.lease(0, 1, 11, 1);
  auto tasks = s.tasks();
  s.lease(0, 2, 12, 1);
  for (const auto& t : s.tasks()) tasks.push_back(t);
  REQUIRE(tasks.size() == 4);
  std::vector<std::uint32_t> on_11;
  for (const auto& t : tasks) {
    s.done(t, {script::block(t.what, 0, 5, 0), script::block(t.what, 1, 5, 1)});
    if (t.executor == boot_id{11}) on_11.push_back(t.what.id.partition);
  }
  REQUIRE(s.told<gang::admit>().size() == 1);
  s.lease(1, 3, 12, 1);
  const auto sums = s.tasks();
  REQUIRE(sums.size() == 2);
  s.gone(11);
  REQUIRE(s.told<gang::admit>().empty());  // who runs may have fetched everything already
  std::vector<data::block_ref> missing;
  for (const auto& ref : sums[0].what.inputs[0]) {
    if (ref.at.boot == boot_id{11}) missing.push_back(ref);
  }
  REQUIRE(missing.size() == on_11.size());
  s.fails(sums[0], errc::disconnected, "cannot fetch", missing);
  REQUIRE(s.told<gang::admit>().size() == 1);
  CHECK(s.told<gang::admit>()[0].request.id == script::request(0, 1));
  CHECK(s.told<gang::admit>()[0].request.most == on_11.size());
  s.lease(0, 4, 13, 4, 1);
  const auto repairs = s.tasks();
  REQUIRE(repairs.size() == on_11.size());
  for (const auto& t : repairs) {
    CHECK(std::count(on_11.begin(), on_11.end(), t.what.id.partition) == 1);
    s.done(t, {script::block(t.what, 0, 5, 0), script::block(t.what, 1, 5, 1)});
  }
  REQUIRE(s.tasks().size() == 1);
  const auto again = s.tasks()[0];
  CHECK(again.what.id.stage == 1);
  CHECK(again.what.inputs[0].size() == 4);
  for (const auto& ref : again.what.inputs[0]) CHECK(ref.at.boot != boot_id{11});
  CHECK(s.m.progress()[1].failures == 0);
}

TEST_CASE("tasks of a lost executor run again; one that is always there when executors die ends the job") {
  options opt;
  opt.max_interruptions = 2;
  script s({parallel("crash", 1)}, opt);
  s.begin();
  for (std::uint64_t i = 0; i < 3; ++i) {
    s.lease(0, i + 1, 11 + i, 1);
    REQUIRE(s.tasks().size() == 1);
    CHECK(s.tasks()[0].what.id.attempt == i);
    s.gone(11 + i);
    s.say(gang::ended{{1}, script::request(0), script::attempt(i + 1), gang::end_cause::lost, false, ""});
  }
  REQUIRE(s.has_failed());
  CHECK(s.failure().why.what.find("interrupted 3 times") != std::string::npos);
  CHECK(s.failure().why.what.find("signal 9") == std::string::npos);
}

TEST_CASE("an output that is lost again and again ends the job") {
  options opt;
  opt.max_recomputes = 2;
  script s({parallel("read", 1)}, opt);
  s.begin();
  std::uint64_t lease = 0;
  for (std::uint64_t i = 0; i < 3; ++i) {
    REQUIRE(s.told<gang::admit>().size() == 1);
    s.lease(0, ++lease, 11 + i, 1, static_cast<std::uint32_t>(i));
    s.done(s.tasks().at(0));
    REQUIRE(s.effects<result_ready>().size() == 1);
    s.gone(11 + i);
  }
  REQUIRE(s.has_failed());
  CHECK(s.failure().why.what.find("was lost 3 times") != std::string::npos);
}

TEST_CASE("an input that cannot be made again counts as a failure of the task") {
  script s({parallel("read", 1)}, {}, {}, 0);
  s.begin();
  s.lease(0, 1, 11, 1);
  data::block_ref model;
  model.info.id = data::block_id::content({1, 2});
  model.at = the_driver;
  s.fails(s.tasks().at(0), errc::disconnected, "the driver does not have it", {model});
  CHECK(s.has_failed());
}

TEST_CASE("a refused task is repeated until it is taken; a lease that refuses for too long is given back") {
  script s({parallel("read", 1)});
  s.begin();
  s.lease(0, 1, 11, 1);
  const auto task = s.tasks().at(0);
  const auto refuse = [&] {
    s.feed(from_executor{{11}, exec::task_refused{task.what.id, task.what.request, task.what.attempt, "unknown"}});
  };
  refuse();
  CHECK(s.tasks().empty());
  s.wait(1s);
  REQUIRE(s.tasks().size() == 1);
  CHECK(s.tasks()[0].what.id == task.what.id);
  for (int i = 0; i < 30; ++i) {
    refuse();
    s.wait(500ms);
    if (!s.told<gang::release_lease>().empty()) break;
  }
  CHECK(s.told<gang::release_lease>().size() == 1);
  s.lease(0, 2, 12, 1);
  CHECK(s.tasks().size() == 1);
}

TEST_CASE("after a lease was ended by a restart, a result on its way is still accepted, else the task runs again") {
  script s({parallel("read", 2)});
  s.begin();
  s.lease(0, 1, 11, 2);
  const auto tasks = s.tasks();
  REQUIRE(tasks.size() == 2);
  s.say(gang::ended{{2}, script::request(0), script::attempt(1), gang::end_cause::restart, false, ""});
  CHECK(s.told<gang::noted>().size() == 1);
  s.done(tasks[0]);
  CHECK(s.effects<result_ready>().size() == 1);
  s.say(gang::leased{{2}, script::request(0), script::attempt(1, 2), script::where(12, 2)});
  CHECK(s.tasks().empty());
  s.wait(1s);
  REQUIRE(s.tasks().size() == 1);
  CHECK(s.tasks()[0].what.id.partition == 1);
  CHECK(s.tasks()[0].what.id.attempt == 1);
  s.done(tasks[1]);  // too late
  CHECK(s.sent<exec::drop_blocks>().size() == 1);
}

TEST_CASE("without its coordinator a job goes on with the leases it holds, and asks again when it is back") {
  script s({parallel("read", 8)});
  s.begin();
  s.lease(0, 1, 11, 1);
  auto tasks = s.tasks();
  s.feed(coordinator_lost{});
  s.done(tasks[0]);
  CHECK(s.tasks().size() == 1);
  s.wait(5s);
  CHECK(s.told<gang::admit>().empty());
  s.feed(coordinator_connected{});
  REQUIRE(s.told<gang::admit>().size() == 1);
  CHECK(s.told<gang::admit>()[0].request.id == script::request(0));
  // The lease is of an older term: the coordinator that came back did not keep it.
  s.say(gang::admitted{{2}, script::request(0), "behind app: stage 9"});
  CHECK(s.m.progress()[0].waiting_for == "behind app: stage 9");
  s.say(gang::leased{{2}, script::request(0), script::attempt(1, 2), script::where(12, 1)});
  CHECK(s.tasks().size() == 3);
}

TEST_CASE("a coordinator that stays away ends the job") {
  options opt;
  opt.coordinator_limit = 1min;
  script s({parallel("read", 8)}, opt);
  s.begin();
  s.feed(coordinator_lost{});
  s.wait(61s);
  REQUIRE(s.has_failed());
  CHECK(s.failure().why.code == errc::disconnected);
}

TEST_CASE("messages of an older coordinator are dropped") {
  script s({parallel("read", 1)});
  s.begin();
  s.say(gang::admitted{{2}, script::request(0), ""});
  s.lease(0, 1, 11, 1);  // term 1
  CHECK(s.last.empty());
}

TEST_CASE("tasks behind a broken connection run elsewhere after a grace, also without a coordinator") {
  script s({parallel("read", 2)});
  s.begin();
  s.lease(0, 1, 11, 1);
  s.lease(0, 2, 12, 1);
  CHECK(s.tasks().size() == 1);
  s.feed(coordinator_lost{});
  s.feed(executor_unreachable{{11}, "connection reset"});
  s.wait(2s);
  CHECK(s.tasks().empty());
  s.wait(2s);
  REQUIRE(s.tasks().size() == 1);
  CHECK(s.tasks()[0].executor == boot_id{12});
  CHECK(s.tasks()[0].what.id.partition == 0);
}

TEST_CASE("a node on which tasks keep failing is avoided") {
  options opt;
  opt.exclude_after = 2;
  script s({parallel("read", 12)}, opt, {}, 5);
  s.begin();
  s.lease(0, 1, 11, 2);
  const auto bad = s.tasks();
  s.lease(0, 2, 12, 1);
  s.fails(bad[0], errc::task_failed, "x");
  s.fails(bad[1], errc::task_failed, "x");
  CHECK(s.effects<log_line>().size() >= 1);
  for (const auto& t : s.tasks()) CHECK(t.executor == boot_id{12});
  s.feed(coordinator_lost{});
  s.feed(coordinator_connected{});
  REQUIRE(s.told<gang::admit>().size() == 1);
  CHECK(s.told<gang::admit>()[0].request.avoid_nodes == std::vector<std::string>{"n1"});
}

TEST_CASE("a kept output is used instead of computing it, made again when it is lost, and kept again") {
  auto cached = parallel("read", 2);
  cached.keep_as = 77;
  kept_output kept{77, {}};
  for (std::uint32_t p = 0; p < 2; ++p) {
    data::block_ref ref;
    ref.info.id = data::block_id::output(the_run, 1, 5, p, 0, 0);
    ref.info.bytes = 4;
    ref.at = {{11}, script::endpoint(11)};
    kept.partitions.push_back({ref});
  }
  script s({cached, parallel("count", 2, {{0, input_kind::range}})}, {}, {kept});
  s.begin();
  REQUIRE(s.told<gang::admit>().size() == 1);
  CHECK(s.told<gang::admit>()[0].request.id.stage == 1);
  s.lease(1, 1, 12, 2);
  const auto tasks = s.tasks();
  REQUIRE(tasks.size() == 2);
  s.fails(tasks[1], errc::disconnected, "gone", {tasks[1].what.inputs[0][0]});
  REQUIRE(s.told<gang::admit>().size() == 1);
  CHECK(s.told<gang::admit>()[0].request.id.stage == 0);
  CHECK(s.told<gang::admit>()[0].request.most == 1);
  s.lease(0, 2, 13, 1);
  const auto repair = s.tasks().at(0);
  CHECK(repair.what.id.partition == 1);
  s.done(repair);
  const auto again = s.tasks().at(0);
  CHECK(again.what.inputs[0][0].at.boot == boot_id{13});
  s.done(again);
  s.done(tasks[0]);
  s.feed(result_consumed{0});
  s.feed(result_consumed{1});
  REQUIRE(s.effects<finished>().size() == 1);
  const auto out = s.effects<finished>()[0].kept;
  REQUIRE(out.size() == 1);
  CHECK(out[0].keep_as == 77);
  CHECK(out[0].partitions[0][0].at.boot == boot_id{11});
  CHECK(out[0].partitions[1][0].at.boot == boot_id{13});
  for (const auto& [boot, drop] : s.sent<exec::drop_blocks>()) CHECK(boot == boot_id{12});
}

TEST_CASE("a result block that the driver cannot fetch is made again") {
  script s({parallel("read", 1)});
  s.begin();
  s.lease(0, 1, 11, 1);
  s.done(s.tasks().at(0));
  const auto ready = s.effects<result_ready>().at(0);
  s.feed(blocks_missing{ready.refs, "connection refused"});
  s.feed(blocks_missing{ready.refs, "connection refused"});  // said twice: lost once
  s.wait(600ms);
  const auto asked = s.told<gang::admit>();
  REQUIRE(asked.size() == 1);
  s.lease(0, 2, 12, 1, asked[0].request.id.k);
  s.done(s.tasks().at(0));
  REQUIRE(s.effects<result_ready>().size() == 1);
  CHECK(s.effects<result_ready>()[0].refs[0].at.boot == boot_id{12});
}

TEST_CASE("of two attempts at one executor only the newer counts") {
  script s({parallel("read", 1)});
  s.begin();
  s.lease(0, 1, 11, 1);
  const auto first = s.tasks().at(0);
  s.feed(executor_unreachable{{11}, "connection reset"});
  s.wait(3100ms);
  REQUIRE(s.sent<exec::cancel_task>().size() == 1);
  CHECK(s.tasks().empty());  // left alone for a moment
  s.wait(4s);
  REQUIRE(s.tasks().size() == 1);
  const auto second = s.tasks()[0];
  CHECK(second.what.attempt == first.what.attempt);
  CHECK(second.what.id.attempt == 1);
  s.done(first);
  CHECK(s.effects<result_ready>().empty());
  CHECK(s.sent<exec::drop_blocks>().size() == 1);
  s.done(second);
  CHECK(s.effects<result_ready>().size() == 1);
}

TEST_CASE("a task that is repeated after its input was lost names what is missing, so that it can be made again") {
  options opt;
  opt.task_repeat = 1s;
  script s({parallel("read", 1), parallel("map", 1, {{0, input_kind::range}})}, opt);
  s.begin();
  s.lease(0, 1, 11, 1);
  s.done(s.tasks().at(0));
  s.lease(1, 2, 12, 1);
  REQUIRE(s.tasks().size() == 1);  // and lost on its way
  s.gone(11);
  s.wait(2s);
  REQUIRE(s.tasks().size() >= 1);
  const auto repeat = s.tasks()[0];
  REQUIRE(repeat.what.inputs[0].size() == 1);
  s.fails(repeat, errc::disconnected, "gone", {repeat.what.inputs[0][0]});
  REQUIRE(s.told<gang::admit>().size() == 1);
  CHECK(s.told<gang::admit>()[0].request.id == script::request(0, 1));
}

TEST_CASE("a coordinator that speaks about a job that is over gets an answer") {
  const auto answers = answer_for_ended_job(gang::leased{{1}, script::request(0), script::attempt(1), {}});
  REQUIRE(answers.size() == 1);
  CHECK(std::holds_alternative<gang::cancel>(answers[0]));
  const auto gone = answer_for_ended_job(gang::executor_gone{{1}, the_run, {11}, "n1", "killed"});
  REQUIRE(gone.size() == 1);
  CHECK(std::get<gang::noted>(gone[0]).executor == boot_id{11});
  CHECK(answer_for_ended_job(gang::decided{{1}, script::request(0), 1}).empty());
}

TEST_CASE("a gang ends as soon as a connection to one of its executors is closed, unless that one owes nothing") {
  for (const bool stood : {true, false}) {
    CAPTURE(stood);
    script s({barrier("train", 4, 1)});
    s.begin();
    const auto ranks = s.place(0, 1, 4);
    REQUIRE(ranks.size() == 4);
    for (int r : {0, 1, 2}) s.done(ranks[r]);
    s.feed(executor_unreachable{ranks[1].executor, "connection reset"});
    CHECK(s.told<gang::decision>().empty());
    s.feed(executor_unreachable{ranks[3].executor, "connection reset", stood});
    CHECK(s.told<gang::decision>().size() == (stood ? 1 : 0));
    if (!stood) s.wait(options{}.unreachable_grace + 100ms);  // it may be reached with the next repeat
    REQUIRE(s.told<gang::decision>().size() == 1);
    CHECK(s.told<gang::decision>()[0].kind == gang::decision_kind::fail);
  }
}

TEST_CASE("a gang is not tried again before it is known whether an executor that cannot be reached is dead") {
  for (const bool dead : {true, false}) {
    CAPTURE(dead);
    script s({barrier("train", 2, 1)});
    s.begin();
    const auto ranks = s.place(0, 1, 2);
    REQUIRE(ranks[0].executor == boot_id{11});
    s.feed(executor_unreachable{{11}, "connection reset"});
    s.fails(ranks[1], errc::disconnected, "a peer is gone");
    s.say(gang::ended{{1}, script::request(0), script::attempt(1), gang::end_cause::failed, true, ""});
    CHECK(s.told<gang::decision>().empty());  // it would be placed there again, for nothing
    const auto since = s.t;
    if (dead) s.gone(11);
    while (s.told<gang::decision>().empty() && s.t < since + 1min) s.wait(500ms);
    REQUIRE_FALSE(s.told<gang::decision>().empty());
    CHECK(s.told<gang::decision>()[0].kind == gang::decision_kind::again);
    CHECK((s.t == since) == dead);
    CHECK(s.t <= since + 2 * options{}.unreachable_grace + 500ms);
  }
}
