// Who is next: the order of the queue, what can never fit, recalls, leases.

#include "desk.hpp"

namespace hydrogen::gang::testing::at_desk {

TEST_CASE("the queue is in the order of submission, also when something smaller behind would fit") {
  desk d({4});
  d.gang(0, 3);
  d.gang(1, 2);
  d.gang(2, 1);
  CHECK(d.status(1).state == "queued");
  CHECK(d.status(2).state == "queued");
  CHECK(d.status(1).reason == "needs 2 slots, 1 free");
  CHECK(d.status(2).reason.find("behind stage 1") != std::string::npos);
  d.decide(0, d.last<placed>().attempt, 1, decision_kind::release);
  CHECK(d.status(1).state == "running");
  CHECK(d.status(2).state == "running");
}

TEST_CASE("what can never fit is denied at once, with what would fit") {
  desk d({4});
  d.gang(0, 8);
  CHECK(d.last<denied>().why.code == errc::refused);
  CHECK(d.last<denied>().why.what == "needs 8 slots at once, the cluster has 4 on 1 node");
  CHECK(d.last<denied>().why.hint.find("at most 4") != std::string::npos);
}

TEST_CASE("early in a term nothing is judged that more nodes could serve") {
  desk d({4}, {.expected_nodes = 2});
  d.gang(0, 8);
  CHECK(d.all<denied>().empty());
  CHECK(d.status(0).reason == "4 of 8 slots known so far");
  d.add_node({200}, 4);
  CHECK(d.status(0).state == "running");
  d.gang(1, 9);
  CHECK(d.last<denied>().request == d.id(1));
}

TEST_CASE("without expected nodes never fits is judged after the grace; a lost node counts as long") {
  desk d({4, 4}, {});
  d.gang(0, 9);
  d.wait(9s);
  CHECK(d.all<denied>().empty());
  d.wait(2s);
  CHECK(d.last<denied>().request == d.id(0));
  d.on(event::agent_lost{{101}});
  d.wait(2s);  // dead, but its slots may come back
  d.gang(1, 8);
  CHECK(d.last<denied>().request == d.id(0));
  d.wait(10s);
  CHECK(d.last<denied>().request == d.id(1));
}

TEST_CASE("a node that comes back under a new boot counts as lost until its list is in") {
  desk d({4, 4}, {});
  d.wait(11s);
  d.on(event::agent_lost{{101}});
  d.wait(2s);  // dead; its slots still count
  const boot_id again{501};
  d.agent(enlist{again, "n101", 4, 1, {}, {}, {}});  // follows no term yet: this list does not count
  CHECK(std::holds_alternative<follow>(d.orders.back()));
  d.gang(0, 8);
  CHECK(d.all<denied>().empty());
  d.agent(enlist{again, "n101", 4, 2, d.machine->term(), {}, {}});
  d.wait(1s);
  CHECK(d.all<denied>().empty());
  CHECK(d.all<granted>().size() == 1);
}

TEST_CASE("a parallel stage gets one slot at first and more as long as nobody in front needs them") {
  desk d({4});
  d.stage(0, 3);
  CHECK(d.all<leased>().size() == 3);
  CHECK(d.free() == 1);
  CHECK(d.count_records<go_record>() == 0);
  d.job(want{d.id(0), 4, 1});
  CHECK(d.free() == 0);
  d.job(want{d.id(0), 1, 0});  // an old one
  CHECK(d.last<wanted>().number == 0);
  d.job(release_lease{d.id(0), d.all<leased>()[0].attempt});
  CHECK(d.free() == 0);  // granted again: it still wants four
  d.job(want{d.id(0), 3, 2});
  d.job(release_lease{d.id(0), d.all<leased>()[1].attempt});
  CHECK(d.free() == 1);
}

TEST_CASE("a gang behind a parallel stage recalls what it lacks, and the stage goes on behind it") {
  desk d({4});
  d.stage(0, 4);
  d.gang(1, 3);
  auto r = d.last<recall>();
  CHECK(r.count == 3);
  CHECK(r.keep == 1);
  for (int i = 0; i < 3; ++i) {
    CHECK(d.status(1).state == "queued");
    d.job(release_lease{d.id(0), d.all<leased>()[static_cast<std::size_t>(i)].attempt});
  }
  CHECK(d.status(1).state == "running");
  CHECK(d.last<recall>().count == 0);
  d.decide(1, d.last<placed>().attempt, 1, decision_kind::release);
  CHECK(d.free() == 0);  // the stage has its slots back
}

TEST_CASE("a stage recalled to nothing is served again directly behind the gang") {
  desk d({2});
  d.stage(0, 2);
  d.gang(1, 2);
  d.gang(2, 1);
  CHECK(d.last<recall>().keep == 0);
  d.job(release_lease{d.id(0), d.all<leased>()[0].attempt});
  d.job(release_lease{d.id(0), d.all<leased>()[1].attempt});
  CHECK(d.status(1).state == "running");
  d.decide(1, d.last<placed>().attempt, 1, decision_kind::release);
  CHECK(d.status(0).held == 1);
  CHECK(d.status(2).state == "running");
}

TEST_CASE("the newest stage gives way first, and a recall in vain is not made") {
  desk d({6});
  d.gang(0, 2);
  d.stage(1, 2);
  d.stage(2, 2);
  d.gang(3, 6);  // the running gang cannot be recalled
  CHECK(d.all<recall>().empty());
  d.job(cancel{d.id(3)});
  d.gang(4, 1);
  CHECK(d.last<recall>().request == d.id(2));
  CHECK(d.last<recall>().keep == 1);
}

TEST_CASE("leases that are not given back are taken at the gate's deadline, and burn nothing") {
  desk d({2});
  d.stage(0, 2);
  d.gang(1, 2);
  d.wait(9min);
  CHECK(d.status(1).state == "queued");
  d.wait(2min);
  CHECK(d.status(1).state == "running");
  CHECK(d.last<ended>().cause == end_cause::gave_way);
  CHECK_FALSE(d.last<ended>().burnt);
}

TEST_CASE("losing a lease ends that one only") {
  desk d({1, 1});
  d.stage(0, 2);
  const auto lost = d.all<leased>()[0];
  d.news(lost.where.agent, {d.id(0), lost.attempt}, entry_news::gone);
  CHECK(d.last<ended>().attempt == lost.attempt);
  CHECK(d.status(0).held == 2);  // and another in its stead
  CHECK(d.all<leased>().size() == 3);
}

TEST_CASE("leased is repeated until it is noted") {
  desk d({1});
  d.stage(0, 1);
  d.wait(5s);
  const auto said = d.all<leased>().size();
  CHECK(said > 1);
  d.job(noted{noted_kind::leased, d.id(0), d.last<leased>().attempt, {}, 0});
  d.wait(1min);
  CHECK(d.all<leased>().size() == said);
}

TEST_CASE("while the journal's disk is full nothing new is begun, what runs can end, and then what waited goes on") {
  desk d({2});
  d.gang(0, 2);
  REQUIRE(d.status(0).state == "running");
  d.shortage = {errc::refused, "no room for the journal", "/data/journal", "free space there"};
  d.gang(1, 2);  // the sync of its record finds the disk full
  d.decide(0, d.all<placed>()[0].attempt, 1, decision_kind::release);
  CHECK(d.free() == 2);
  CHECK(d.status(1).state == "queued");
  CHECK(d.status(1).reason.find("/data/journal: no room") != std::string::npos);
  d.gang(2, 1);
  CHECK(d.last<denied>().request == desk::id(2));
  CHECK(d.last<denied>().why == d.shortage);
  d.wait(2s);
  CHECK(d.status(1).state == "queued");
  d.shortage = {errc::none, {}, {}, {}};
  d.wait(1s);  // it looks again by itself
  CHECK(d.status(1).state == "running");
  d.gang(2, 1);  // a late repeat of what was refused
  CHECK(d.last<denied>().request == desk::id(2));
  d.gang(3, 1);
  CHECK(d.status(3).reason == "needs 1 slot, 0 free");
}

}  // namespace hydrogen::gang::testing::at_desk
