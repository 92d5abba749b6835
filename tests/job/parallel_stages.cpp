// Parallel stages: asking, leases, order, results, the end of a job.
#include "script.hpp"

using namespace hydrogen;
using namespace hydrogen::job;
using namespace hydrogen::job::test;
using plan::input_kind;

TEST_CASE("a stage asks for as many slots as it has tasks, and queues ahead of the slots of a lease") {
  script s({parallel("count", 10)});
  s.begin();
  const auto asked = s.told<gang::admit>();
  REQUIRE(asked.size() == 1);
  CHECK(asked[0].request.id == script::request(0));
  CHECK(asked[0].request.least == 1);
  CHECK(asked[0].request.most == 10);
  CHECK(asked[0].request.label == "app: stage 0, count");
  s.lease(0, 1, 11, 2);
  CHECK(s.told<gang::noted>().size() == 1);
  REQUIRE(s.tasks().size() == 6);  // 2 run, 2 wait behind each
  CHECK(s.tasks()[0].what.id.partition == 0);
  CHECK(s.tasks()[0].what.attempt == script::attempt(1));
  s.done(s.tasks()[0]);
  REQUIRE(s.tasks().size() == 1);
  CHECK(s.tasks()[0].what.id.partition == 6);
}

TEST_CASE("results come in partition order, and the job ends when all are consumed") {
  script s({parallel("count", 3)});
  s.begin();
  s.lease(0, 1, 11, 1);
  const auto tasks = s.tasks();
  REQUIRE(tasks.size() == 3);
  s.done(tasks[1]);
  CHECK(s.effects<result_ready>().empty());
  s.done(tasks[0]);
  REQUIRE(s.effects<result_ready>().size() == 2);
  CHECK(s.effects<result_ready>()[0].partition == 0);
  CHECK(s.effects<result_ready>()[1].partition == 1);
  CHECK(s.effects<result_ready>()[1].refs[0].at.boot == boot_id{11});
  s.done(tasks[2]);
  CHECK(s.told<gang::cancel>().size() == 1);  // the stage is done: its slots go back
  s.feed(result_consumed{0});
  s.feed(result_consumed{0});
  s.feed(result_consumed{2});
  CHECK_FALSE(s.m.ended());
  s.feed(result_consumed{1});
  CHECK(s.has_finished());
  REQUIRE(s.sent<exec::drop_blocks>().size() == 1);
  CHECK(s.sent<exec::drop_blocks>()[0].second.blocks.size() == 3);
  CHECK_FALSE(s.m.over());
  s.say(gang::ended{{1}, script::request(0), {}, gang::end_cause::cancelled, false, ""});
  CHECK(s.m.over());
  CHECK(s.m.next_wakeup() == never);
}

TEST_CASE("a shuffle's reader starts when all producers are done and reads its bucket in producer order") {
  script s({parallel("map", 2, {}, 2), parallel("reduce", 2, {{0, input_kind::bucket}})});
  s.begin();
  s.lease(0, 1, 11, 2);
  const auto maps = s.tasks();
  REQUIRE(maps.size() == 2);
  CHECK(maps[0].what.buckets == 2);
  s.done(maps[1], {script::block(maps[1].what, 0, 5, 1), script::block(maps[1].what, 1, 5, 0),
                   script::block(maps[1].what, 2, 5, 1)});
  CHECK(s.told<gang::admit>().empty());
  s.done(maps[0], {script::block(maps[0].what, 0, 5, 1)});
  REQUIRE(s.told<gang::admit>().size() == 1);
  CHECK(s.told<gang::admit>()[0].request.id == script::request(1));
  s.lease(1, 2, 12, 2);
  const auto reduces = s.tasks();
  REQUIRE(reduces.size() == 2);
  REQUIRE(reduces[0].what.inputs.size() == 1);
  REQUIRE(reduces[0].what.inputs[0].size() == 1);
  CHECK(reduces[0].what.inputs[0][0].info.id.index() == 1);
  REQUIRE(reduces[1].what.inputs[0].size() == 3);
  CHECK(reduces[1].what.inputs[0][0].info.id.partition == 0);
  CHECK(reduces[1].what.inputs[0][1].info.id.index() == 0);
  CHECK(reduces[1].what.inputs[0][2].info.id.index() == 2);
}

TEST_CASE("independent stages run at the same time; only what the result needs runs") {
  script s({parallel("a", 1), parallel("unused", 4), parallel("b", 1),
            parallel("join", 1, {{0, input_kind::range}, {2, input_kind::all}})});
  s.begin();
  REQUIRE(s.told<gang::admit>().size() == 2);
  s.lease(0, 1, 11, 1);
  s.done(s.tasks().at(0));
  s.lease(2, 2, 11, 1);
  s.done(s.tasks().at(0));
  REQUIRE(s.told<gang::admit>().size() == 1);
  CHECK(s.told<gang::admit>()[0].request.id.stage == 3);
}

TEST_CASE("a task goes to the executor that holds most of its input, when that has room") {
  script s({parallel("read", 4), parallel("map", 4, {{0, input_kind::range}})});
  s.begin();
  s.lease(0, 1, 11, 1);
  s.lease(0, 2, 12, 1);  // takes the task that waits behind
  std::vector<sent_task> tasks;
  for (const auto& x : s.all) {
    if (const auto* e = std::get_if<to_executor>(&x)) {
      if (const auto* run = std::get_if<exec::run_task>(&e->what)) tasks.push_back({e->at.boot, run->what});
    }
  }
  REQUIRE(tasks.size() == 4);
  for (const auto& t : tasks) s.done(t);
  s.lease(1, 3, 12, 1);
  REQUIRE(s.tasks().size() == 3);
  CHECK(s.tasks()[0].what.inputs[0][0].at.boot == boot_id{12});  // its own first, then, without waiting, the others
  CHECK(s.tasks()[1].what.inputs[0][0].at.boot == boot_id{11});
}

TEST_CASE("an idle lease takes what waits elsewhere, then is given back with a lower wish") {
  script s({parallel("work", 3)});
  s.begin();
  s.lease(0, 1, 11, 1);
  const auto tasks = s.tasks();
  REQUIRE(tasks.size() == 3);
  s.lease(0, 2, 12, 1);
  REQUIRE(s.sent<exec::cancel_task>().size() == 1);
  CHECK(s.sent<exec::cancel_task>()[0].second.id.partition == 2);
  REQUIRE(s.tasks().size() == 1);
  const auto moved = s.tasks()[0];
  CHECK(moved.what.id.attempt == 1);
  s.done(moved);
  REQUIRE(s.tasks().size() == 1);  // the last one that waits
  const auto second = s.tasks()[0];
  CHECK(second.what.id.partition == 1);
  s.done(second);
  REQUIRE(s.told<gang::release_lease>().size() == 1);
  CHECK(s.told<gang::release_lease>()[0].attempt == script::attempt(2));
  REQUIRE(s.told<gang::want>().size() >= 1);
  CHECK(s.told<gang::want>().back().most == 1);
  s.wait(600ms);
  CHECK(s.told<gang::release_lease>().size() == 1);  // until it is answered
  s.say(gang::ended{{1}, script::request(0), script::attempt(2), gang::end_cause::none, false, ""});
  s.wait(600ms);
  CHECK(s.told<gang::release_lease>().empty());
}

TEST_CASE("a late result of a superseded attempt is dropped where it lies; a repeat of the accepted one is not") {
  script s({parallel("work", 3)});
  s.begin();
  s.lease(0, 1, 11, 1);
  const auto tasks = s.tasks();
  s.lease(0, 2, 12, 1);
  const auto moved = s.tasks().at(0);
  s.done(tasks[2]);  // it had started there after all
  REQUIRE(s.sent<exec::drop_blocks>().size() == 1);
  CHECK(s.sent<exec::drop_blocks>()[0].first == boot_id{11});
  s.done(moved);
  s.done(moved);
  CHECK(s.sent<exec::drop_blocks>().empty());
  CHECK(s.effects<result_ready>().empty());
}

TEST_CASE("a lease of a node that is drained is released at task ends, whatever becomes of a recall") {
  script s({parallel("count", 12)});
  s.begin();
  s.lease(0, 1, 11, 1);
  const auto tasks = s.tasks();
  REQUIRE(tasks.size() == 3);
  s.lease(0, 2, 12, 1);
  CHECK(s.tasks().size() == 3);
  s.say(gang::hand_back{{1}, script::request(0), script::attempt(1)});
  s.say(gang::recall{{1}, script::request(0), 0, 2, 1});  // one is over
  s.say(gang::hand_back{{1}, script::request(0), script::attempt(1)});
  CHECK(s.told<gang::release_lease>().empty());
  s.done(tasks[0]);
  REQUIRE(s.told<gang::release_lease>().size() == 1);
  for (const auto& t : s.tasks()) CHECK(t.what.attempt == script::attempt(2));
}

TEST_CASE("recall empties leases at task ends; what has not started goes elsewhere") {
  script s({parallel("work", 12)});
  s.begin();
  s.lease(0, 1, 11, 2);
  const auto first = s.tasks();
  s.lease(0, 2, 12, 2);
  REQUIRE(first.size() == 6);
  REQUIRE(s.tasks().size() == 6);
  s.say(gang::recall{{1}, script::request(0), 2, 2, 1});
  CHECK(s.sent<exec::cancel_task>().size() == 4);
  CHECK(s.told<gang::release_lease>().empty());
  const auto cancelled = s.sent<exec::cancel_task>()[0].first;
  s.say(gang::recall{{1}, script::request(0), 2, 2, 2});  // repeated: nothing more
  CHECK(s.sent<exec::cancel_task>().empty());
  const auto second = s.all;
  std::vector<sent_task> running;
  for (const auto& t : first) {
    if (t.executor == cancelled) running.push_back(t);
  }
  REQUIRE(running.size() == 6);
  s.done(running[0]);
  CHECK(s.tasks().empty());
  s.done(running[1]);
  REQUIRE(s.told<gang::release_lease>().size() == 1);
  CHECK(s.told<gang::release_lease>()[0].attempt == script::attempt(1));
  CHECK(s.told<gang::want>().empty());  // it wants them back later
}

TEST_CASE("a request that can never be served fails the job with the coordinator's reason") {
  script s({parallel("read", 1)});
  s.begin();
  s.say(gang::denied{{1}, script::request(0), {errc::refused, "needs 1 slot, the cluster has 0", "", "start a node"}});
  REQUIRE(s.has_failed());
  CHECK(s.failure().why.code == errc::refused);
  CHECK(s.failure().why.where == "app: stage 0, read");
  CHECK(s.m.over());
}

TEST_CASE("a start limit names what the job waits for") {
  options opt;
  opt.start_limit = 5s;
  script s({parallel("read", 1)}, opt);
  s.begin();
  s.say(gang::admitted{{1}, script::request(0), "needs 1 slot, 0 free"});
  s.wait(6s);
  REQUIRE(s.has_failed());
  CHECK(s.failure().why.code == errc::timed_out);
  CHECK(s.failure().why.what.find("0 free") != std::string::npos);
}

TEST_CASE("enough ends the job well and cancels the rest; cancel ends it as cancelled") {
  script s({parallel("read", 8)});
  s.begin();
  s.lease(0, 1, 11, 1);
  const auto tasks = s.tasks();
  s.done(tasks[0]);
  s.feed(enough{});
  CHECK(s.has_finished());
  CHECK_FALSE(s.has_failed());
  CHECK(s.sent<exec::cancel_task>().size() == 3);
  CHECK(s.sent<exec::drop_blocks>().size() == 1);
  s.done(tasks[1]);  // was on its way
  CHECK(s.sent<exec::drop_blocks>().size() == 1);
  s.say(gang::leased{{1}, script::request(0), script::attempt(2), script::where(12, 1)});  // was on its way as well
  CHECK(s.told<gang::cancel>().size() == 1);

  script c({parallel("read", 8)});
  c.begin();
  c.feed(job::cancel{"interrupted"});
  REQUIRE(c.has_failed());
  CHECK(c.failure().why.code == errc::cancelled);
  CHECK(c.failure().why.what == "interrupted");
}

TEST_CASE("a graph that makes no sense is refused with its place") {
  script s({parallel("a", 2, {{1, input_kind::all}}), parallel("b", 1)});
  s.begin();
  REQUIRE(s.has_failed());
  CHECK(s.failure().why.code == errc::bad_input);
  CHECK(s.failure().why.where.find("stage 0") != std::string::npos);
  script none({});
  none.begin();
  CHECK(none.has_failed());
  script zero({parallel("empty", 0)});
  zero.begin();
  CHECK(zero.has_finished());
}

TEST_CASE("stages of other widths read all of their producers, and readers of nothing run too") {
  script s({parallel("one", 1), parallel("wide", 3, {{0, input_kind::range}})});
  s.begin();
  s.lease(0, 1, 11, 1);
  s.done(s.tasks().at(0));
  s.lease(1, 2, 11, 3);
  const auto tasks = s.tasks();
  REQUIRE(tasks.size() == 3);
  std::size_t inputs = 0;
  for (const auto& t : tasks) inputs += t.what.inputs[0].size();
  CHECK(inputs == 1);
}

TEST_CASE("small outputs travel: with the answer to the driver, with the task to who reads them, and are not lost") {
  script s({parallel("make", 2), parallel("use", 2, {{0, input_kind::range}})});
  s.begin();
  s.lease(0, 1, 11, 2);
  const auto made = s.tasks();
  REQUIRE(made.size() == 2);
  CHECK(made[0].what.answer_with == 16 * 1024);
  for (const auto& m : made) s.done(m, {script::block_here(m.what)});
  s.gone(11);
  s.lease(1, 2, 12, 2);
  const auto used = s.tasks();
  REQUIRE(used.size() == 2);  // not computed again
  REQUIRE(used[0].what.inputs.size() == 1);
  REQUIRE(used[0].what.inputs[0].size() == 1);
  CHECK(used[0].what.inputs[0][0].info.here != nullptr);
  CHECK(used[0].what.inputs[0][0].at.boot == the_driver.boot);
}

TEST_CASE("how much may travel with an answer shrinks with how much one reader, or the driver, would get") {
  const auto first_task = [](std::vector<plan::stage> stages) {
    script s(std::move(stages));
    s.begin();
    s.lease(0, 1, 11, 1);
    return s.tasks().at(0).what.answer_with;
  };
  CHECK(first_task({parallel("result", 4)}) == 16 * 1024);
  CHECK(first_task({parallel("result", 1 << 16)}) == 1024);
  CHECK(first_task({parallel("make", 64), parallel("use", 64, {{0, input_kind::range}})}) == 16 * 1024);
  CHECK(first_task({parallel("make", 64), parallel("use", 1, {{0, input_kind::range}})}) == 4 * 1024);
  CHECK(first_task({parallel("make", 64), parallel("use", 2, {{0, input_kind::all}})}) == 4 * 1024);
  CHECK(first_task({parallel("make", 64), parallel("use", 64, {{0, input_kind::all}})}) == 2 * 1024);
  CHECK(first_task({parallel("make", 8192), parallel("use", 1, {{0, input_kind::all}})}) == 0);
  CHECK(first_task({parallel("cut", 4, {}, 4), parallel("use", 4, {{0, input_kind::bucket}})}) == 0);
  auto kept = parallel("kept", 256);
  kept.keep_as = 5;
  CHECK(first_task({kept, parallel("use", 256, {{0, input_kind::range}})}) == 128);
}
