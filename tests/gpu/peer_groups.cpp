#include "peer_testing.hpp"

using namespace hydrogen;
using namespace hydrogen::gpu;
using namespace hydrogen::gpu::testing;

namespace {

template <class T>
void check_sums_and_others() {
  const auto all = whole_group(3);
  const auto exchanged = [&](work::reduction how) {
    std::vector<buffer<T>> x;
    for (std::size_t r = 0; r < all.size(); ++r) {
      const auto number = [&](double v) { return static_cast<T>(static_cast<float>(v)); };
      const auto add = static_cast<double>(r);
      x.push_back(all[r]->s.upload(std::vector<T>{number(1 + add), number(4 - 2 * add), number(-1)}));
      all[r]->group->all_reduce(all[r]->s, how, x.back());
    }
    std::vector<std::vector<double>> got;
    for (std::size_t r = 0; r < all.size(); ++r) {
      got.emplace_back();
      for (const auto v : read_numbers(all[r]->s, x[r]))
        got.back().push_back(static_cast<double>(static_cast<float>(v)));
    }
    CHECK(got[0] == got[1]);
    CHECK(got[0] == got[2]);
    return got[0];
  };
  using numbers = std::vector<double>;
  CHECK(exchanged(work::reduction::sum) == numbers{6, 6, -3});
  CHECK(exchanged(work::reduction::product) == numbers{6, 0, -1});
  CHECK(exchanged(work::reduction::min) == numbers{1, 0, -1});
  CHECK(exchanged(work::reduction::max) == numbers{3, 4, -1});
  if constexpr (!std::is_integral_v<T>) CHECK(exchanged(work::reduction::mean) == numbers{2, 2, -1});
}

}  // namespace

TEST_CASE_TEMPLATE("members of a group combine their numbers, in the order of their streams", T, float, double, half,
                   bfloat16, std::int32_t, std::int64_t) {
  const fake_library fake;
  check_sums_and_others<T>();
}

TEST_CASE("an exchange is an item of its stream like others: kernels before and behind it, many in a row") {
  const fake_library fake;
  const auto all = whole_group(2);
  std::vector<buffer<std::int32_t>> x;
  for (std::int32_t r = 0; r < 2; ++r) {
    auto& m = *all[static_cast<std::size_t>(r)];
    x.push_back(m.s.upload(std::vector<std::int32_t>(1000, 1)));
    for (int i = 0; i < 50; ++i) {
      enqueue_twice_and(m.s, x.back(), i % 3 + r);
      m.group->all_reduce(m.s, work::reduction::max, x.back());
    }
  }
  std::int32_t want = 1;
  for (std::uint32_t i = 0; i < 50; ++i)
    want = static_cast<std::int32_t>(2U * static_cast<std::uint32_t>(want) + i % 3 + 1);
  // By a stream that reads it behind the exchange.
  for (std::size_t r = 0; r < 2; ++r) {
    auto other = value_or_throw(all[r]->dev->make_stream("other"));
    CHECK(read(other, x[r]) == std::vector<std::int32_t>(1000, want));
    CHECK(all[r]->dev->counters().items > 100);
    CHECK(all[r]->group->rank() == r);
    CHECK(all[r]->group->size() == 2);
  }
}

TEST_CASE(
    "what is enqueued before a group is dropped is still done, and a group leaves no thread and no communicator") {
  const fake_library fake;
  {
    const auto all = whole_group(2);
    std::vector<buffer<float>> x;
    for (const auto& m : all) {
      x.push_back(m->s.upload(std::vector<float>(10, 2)));
      m->group->all_reduce(m->s, work::reduction::sum, x.back());
      m->group.reset();
    }
    for (std::size_t r = 0; r < 2; ++r) CHECK(read_numbers(all[r]->s, x[r]) == std::vector<float>(10, 4));
  }
  wait_for_the_end(fake);
  CHECK(fake->destroyed == 2);
  CHECK(fake->aborted == 0);
}

TEST_CASE("exchanges that cannot be are refused, and nothing is enqueued") {
  const fake_library fake;
  const auto all = whole_group(1);
  auto& m = *all[0];
  const auto says = [&](const auto& x, work::reduction how = work::reduction::sum) {
    return failure_of([&] { m.group->all_reduce(m.s, how, x); });
  };
  const auto x = m.s.allocate<float>(4);
  const auto items = m.dev->counters().items.load();
  CHECK(says(m.s.allocate<std::uint8_t>(4)) == "all_reduce: x is of uint8");
  CHECK(says(m.s.allocate<std::uint32_t>(4)) == "all_reduce: x is of uint32");
  CHECK(says(m.s.allocate<std::int64_t>(4), work::reduction::mean).find("a mean of int64") != std::string::npos);
  CHECK(says(m.s.allocate_pinned<float>(4)).find("pinned") != std::string::npos);
  one_of_group elsewhere(0);
  CHECK(says(elsewhere.s.allocate<float>(4)).find("the stream is on") != std::string::npos);
  m.s.begin_capture();
  CHECK(says(x).find("cannot be recorded") != std::string::npos);
  m.s.drop_capture();
  CHECK(m.dev->counters().items == items);
  CHECK(says(buffer<float>()) == "nothing");
  CHECK(m.dev->counters().items == items);
  // A step with one is done as it is each time.
  repeated_step step;
  const auto y = m.s.upload(std::vector<float>(4, 1));
  for (int i = 0; i < 3; ++i) step.run(m.s, 1, [&] { m.group->all_reduce(m.s, work::reduction::sum, y); });
  CHECK(step.recorded() == 0);
  CHECK(read_numbers(m.s, y) == std::vector<float>(4, 1));
}

TEST_CASE("NCCL that is not there, is too old or lacks a function is refused with what was looked for") {
  const auto why = [](const char* path) {
    peer_library::use_for_tests(path);
    const auto available = peer_group::available();
    const auto id = peer_group::make_id();
    REQUIRE_FALSE(available);
    REQUIRE_FALSE(id);
    CHECK(available.error() == id.error());
    CHECK(available.error().code == errc::refused);
    CHECK(available.error().hint.find("libnccl.so.2 of NCCL 2.14.0 or newer") != std::string::npos);
    peer_library::use_for_tests(nullptr);
    return available.error().what;
  };
  CHECK(why("libhydrogen-does-not-exist.so.1").find("libhydrogen-does-not-exist.so.1") != std::string::npos);
  CHECK(why(HYDROGEN_FAKE_NCCL_TOO_OLD).find("it is NCCL 2.8.4, and waits that can be ended need 2.14.0") !=
        std::string::npos);
  CHECK(why(HYDROGEN_FAKE_NCCL_LACKING).find("it has no ncclCommAbort") != std::string::npos);
}

TEST_CASE("NCCL itself is not for virtual devices") {
  one_of_group m(0);
  const auto refused = m.join({}, 0, 2);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::refused);
  if (peer_group::available()) {
    CHECK(refused.error().what == "virtual-0 (host) is a virtual device, and NCCL connects GPUs");
  } else {
    MESSAGE("skipped: no NCCL");
  }
}
