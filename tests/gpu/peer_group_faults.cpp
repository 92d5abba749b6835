#include <hydrogen/gpu/backend.hpp>
#include <hydrogen/gpu/peers/peer_member.hpp>

#include "peer_testing.hpp"

using namespace hydrogen;
using namespace hydrogen::gpu;
using namespace hydrogen::gpu::testing;

TEST_CASE("who joins waits for the others until the deadline or the abort, and ends what it has begun") {
  const fake_library fake;
  const auto id = value_or_throw(peer_group::make_id());
  one_of_group alone(1);
  SUBCASE("deadline") {
    const auto late = alone.join(id, 1, 2, now() + std::chrono::milliseconds(20));
    REQUIRE_FALSE(late);
    CHECK(late.error().code == errc::timed_out);
    CHECK(late.error().message().find("rank 1 of 2 on virtual-0 (host): not all of its group") != std::string::npos);
  }
  SUBCASE("abort") {
    abort_word abort;
    std::thread aborter([&] { abort.set({errc::aborted, "the gang was ended", {}, {}}); });
    const auto aborted = alone.join(id, 1, 2, never, &abort);
    aborter.join();
    REQUIRE_FALSE(aborted);
    CHECK(aborted.error().what == "the gang was ended");
  }
  SUBCASE("the device is lost") {
    std::thread taker([&] { alone.dev->lose({errc::disconnected, "the device was taken away", {}, {}}); });
    const auto lost = alone.join(id, 1, 2);
    taker.join();
    REQUIRE_FALSE(lost);
    CHECK(lost.error().what == "the device was taken away");
  }
}

TEST_CASE("an exchange whose other members do not come is ended from any thread, and fails its stream") {
  const fake_library fake;
  abort_word gang;
  const auto all = whole_group(2, &gang);
  auto& m = *all[0];
  const auto x = m.s.upload(std::vector<float>(10, 2));
  m.group->all_reduce(m.s, work::reduction::sum, x);
  std::atomic<int> ran{0};
  m.s.launch(calls([&] { ++ran; }), {}, {}, {}, {});
  const auto late = m.s.finish(now() + std::chrono::milliseconds(50));
  REQUIRE_FALSE(late);
  CHECK(late.error().what.find("all_reduce is under way") != std::string::npos);
  std::string why;
  SUBCASE("abort") {
    std::thread([&] { m.group->abort(); }).join();
    why = "rank 0 on virtual-0 (host): kernel 'all_reduce': the group of devices was ended while it exchanged";
  }
  SUBCASE("the abort word that it joined with") {
    gang.set({errc::aborted, "the gang was ended", {}, {}});
    why = "rank 0 on virtual-0 (host): kernel 'all_reduce': the group of devices was ended while it exchanged";
  }
  SUBCASE("the device is lost") {
    m.dev->lose({errc::disconnected, "the device was taken away", {}, {}});
    why = "the device was taken away";
  }
  const auto ended = outcome_of(m);
  REQUIRE_FALSE(ended);
  CHECK(ended.error().message().find(why) != std::string::npos);
  CHECK(m.s.drained(soon()));  // nothing hangs in the device
  CHECK(ran == 0);
  CHECK(fake->aborted >= 1);
  // A later one fails, too.
  auto again = value_or_throw(all[1]->dev->make_stream("again"));
  CHECK(failure_of([&] { all[1]->group->all_reduce(again, work::reduction::sum, x); }).find("another stream") !=
        std::string::npos);
}

TEST_CASE("a stream that fails for another reason ends its member, and who sees that fails with NCCL's words") {
  const fake_library fake;
  fake->notices = 1;
  const auto all = whole_group(2);
  auto& broken = *all[0];
  auto& waits = *all[1];
  const auto x = broken.s.upload(std::vector<float>(10, 2)), y = waits.s.upload(std::vector<float>(10, 2));
  broken.s.launch(calls([] { throw std::runtime_error("no such thing"); }), {}, {}, {}, {});
  broken.group->all_reduce(broken.s, work::reduction::sum, x);
  waits.group->all_reduce(waits.s, work::reduction::sum, y);
  const auto first = outcome_of(broken), second = outcome_of(waits);
  REQUIRE_FALSE(first);
  REQUIRE_FALSE(second);
  CHECK(first.error().what == "kernel 'calls': no such thing");
  CHECK(second.error().code == errc::disconnected);
  CHECK(second.error().message().find(
            "rank 1 on virtual-0 (host): kernel 'all_reduce': ncclAllReduce: remote process exited") == 0);
  CHECK(waits.dev->counters().faults == 1);
}

TEST_CASE("what NCCL refuses is an error of the stream with its words") {
  const fake_library fake;
  const auto all = whole_group(2);
  auto& m = *all[0];
  const auto x = m.s.upload(std::vector<float>(10, 2));
  SUBCASE("at the call") {
    fake->exchange_says = 2;
    m.group->all_reduce(m.s, work::reduction::sum, x);
    const auto failed = outcome_of(m);
    REQUIRE_FALSE(failed);
    CHECK(failed.error().what == "kernel 'all_reduce': ncclAllReduce: unhandled system error (no room in the ring)");
    CHECK(failed.error().hint.find("NCCL_DEBUG") != std::string::npos);
  }
  SUBCASE("later") {
    m.group->all_reduce(m.s, work::reduction::sum, x);
    CHECK_FALSE(m.s.finish(now() + std::chrono::milliseconds(20)));
    fake->later_says = 2;
    const auto failed = outcome_of(m);
    REQUIRE_FALSE(failed);
    CHECK(failed.error().what == "kernel 'all_reduce': ncclAllReduce: unhandled system error");
  }
  SUBCASE("by a fault that was planned") {
    faults_of(*m.dev).plan("all_reduce", virtual_fault::fail);
    m.group->all_reduce(m.s, work::reduction::sum, x);
    const auto failed = outcome_of(m);
    REQUIRE_FALSE(failed);
    CHECK(failed.error().what == "kernel 'all_reduce': a fault that was planned");
  }
  fake->exchange_says = 0;
}

TEST_CASE("what NCCL refuses when a group is made or joined is said") {
  const fake_library fake;
  fake->id_says = 2;
  const auto no_id = peer_group::make_id();
  REQUIRE_FALSE(no_id);
  CHECK(no_id.error().what == "ncclGetUniqueId: unhandled system error");
  fake->id_says = 0;
  const auto id = value_or_throw(peer_group::make_id());
  CHECK(id.bytes[127] == std::byte{77});
  CHECK(id != value_or_throw(peer_group::make_id()));
  one_of_group m(0);
  fake->init_says = 2;
  const auto refused = m.join(id, 0, 1);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message().find("rank 0: ncclCommInitRankConfig: unhandled system error") == 0);
  fake->init_says = 0;
  CHECK(m.join(id, 1, 1).error().code == errc::bad_input);
  CHECK(m.join({}, 0, 1).error().what.find("invalid argument") != std::string::npos);
  abort_word set;
  set.set({errc::aborted, "ended before", {}, {}});
  CHECK(m.join(id, 0, 1, soon(), &set).error().what == "ended before");
  CHECK(m.join(id, 0, 1));
  fake->finalize_says = 2;  // then it is aborted
  m.group.reset();
  wait_for_the_end(fake);
  CHECK(fake->aborted == 1);
}

namespace {

/// A stream as a GPU has one: NCCL puts exchanges into it, and what has been reached the test says.
struct stream_by_hand {
  struct silent final : backend_stream {
    void submit(recorded, std::uint64_t) override {}
    void submit(std::shared_ptr<prepared_graph>, std::uint64_t) override {}
    void wait_for(const std::shared_ptr<stream_state>&, std::uint64_t, behind) override {}
    void want(std::uint64_t) override {}
  };
  stream_by_hand() : dev(virtual_device()), state(std::make_shared<stream_state>(*dev, "rank 0")) {
    state->queue = std::make_unique<silent>();
    const auto id = value_or_throw(peer_group::make_id());
    member = std::make_unique<peer_member>(*value_or_throw(peer_library::get()), dev, state,
                                           peer_member::identity{id, 0, 1});
    REQUIRE(member->joined(soon(), nullptr));
  }
  std::shared_ptr<peer_exchange> put(std::uint64_t at) {
    auto asked =
        member->ask({nullptr, numbers.data(), element::float32, work::reduction::sum, numbers.size()}, &queue, at);
    CHECK(asked->wait());
    return asked;
  }
  int queue = 0;
  std::vector<float> numbers{1, 2, 3};
  std::shared_ptr<device> dev;
  std::shared_ptr<stream_state> state;
  std::unique_ptr<peer_member> member;
};

}  // namespace

TEST_CASE("of exchanges in the stream of a GPU, those that are not done fail it when they are ended") {
  const fake_library fake;
  fake->on_gpu = 1;
  stream_by_hand s;
  CHECK(s.put(3)->outcome().has_value());
  s.put(5);
  s.put(7);
  s.state->complete(4);
  SUBCASE("by an abort") {
    int aborted_before = -1;
    s.state->when_failed([&](const expected<void>&) { aborted_before = fake->aborted; });
    s.member->abort({errc::aborted, "the group was ended", {}, {}});
    const auto failed = s.state->wait(7, soon(), nullptr);
    REQUIRE_FALSE(failed);
    CHECK(failed.error().message() == "rank 0 on virtual-0 (host): kernel 'all_reduce': the group was ended");
    CHECK(s.state->outcome(4));
    CHECK_FALSE(s.state->outcome(5));
    s.member.reset();
    wait_for_the_end(fake);
    CHECK(aborted_before == 0);  // wrong numbers are not taken for right ones
    CHECK(fake->aborted == 1);
  }
  SUBCASE("by what NCCL says later") {
    fake->later_says = 6;
    const auto failed = s.state->wait(7, soon(), nullptr);
    REQUIRE_FALSE(failed);
    CHECK(failed.error().code == errc::disconnected);
    CHECK(failed.error().what.find("kernel 'all_reduce': NCCL, of work on the device: remote process") == 0);
    CHECK(s.state->outcome(4));
    const auto refused = s.member->ask({}, &s.queue, 9)->wait();
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == errc::disconnected);
  }
}

TEST_CASE("a group that ends well fails no stream, also where nobody has asked how far that is") {
  const fake_library fake;
  fake->on_gpu = 1;
  stream_by_hand s;
  s.put(3);
  SUBCASE("it leaves") {
    s.member.reset();
    wait_for_the_end(fake);
    CHECK(fake->destroyed == 1);
  }
  SUBCASE("it is aborted when all is done") {
    s.state->complete(3);
    s.member->abort({errc::aborted, "the group was ended", {}, {}});
    wait_for_the_end(fake);
    CHECK(fake->aborted == 1);
  }
  CHECK_FALSE(s.state->has_failed());
}
