// One rank of two over a socket pair; the test speaks for the other rank, frame by frame.
#include <hydrogen/comm/collective/linked.hpp>
#include <hydrogen/comm/tcp/link.hpp>

#include "far_end.hpp"
#include <doctest/doctest.h>
#include <sys/socket.h>

#include <cstring>
#include <thread>

using namespace hydrogen;
using namespace hydrogen::comm;
using testing::far_end;

namespace {

const gang_token live{{{1, 2}, 3, 4, 5}, {{2}, 9}};

template <class T>
reducing work(const call_plan& plan, T* data) {
  return {plan.kind, plan.how, reinterpret_cast<std::byte*>(data), plan.count, result_to::all, 0};
}

struct fixture {
  abort_word abort;
  std::shared_ptr<link_counters> counters = std::make_shared<link_counters>();
  std::unique_ptr<linked_engine> engine;
  std::unique_ptr<far_end> far;
  call_plan plan = make_plan(std::source_location::current(), {.what = operation::barrier});

  fixture() {
    int fds[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    far = std::make_unique<far_end>(unique_fd(fds[1]));
    mesh::options options;
    options.token = live;
    options.nodes = {"a", "b"};
    options.self = *waker::make();
    options.counters = counters;
    std::vector<std::unique_ptr<comm::link>> links(2);
    links[1] = std::make_unique<tcp::link>(unique_fd(fds[0]));
    engine = std::make_unique<linked_engine>(std::make_unique<mesh>(options, std::move(links), abort), tuning());
  }

  /// A piece of the first call with the right token.
  frame_header piece(std::uint64_t plan_hash, std::uint64_t total) const {
    frame_header h;
    h.fence = fence_of(live);
    h.plan = plan_hash;
    h.total = total;
    return h;
  }
  frame_header piece() const { return piece(plan.hash, 0); }
};

call_plan reduce_plan(std::uint64_t count) {
  return make_plan(std::source_location::current(),
                   {.what = operation::all_reduce, .kind = element::float32, .count = count});
}

}  // namespace

TEST_CASE("frames of an old attempt, and of another gang, are dropped and counted") {
  fixture f;
  byte_buffer junk(1000, std::byte{0xff});
  auto old = f.piece();
  old.fence.attempt.counter = 8;
  f.far->write(old, junk);
  auto foreign = f.piece();
  foreign.fence.gang ^= 1;
  foreign.kind = frame_kind::bye;
  foreign.code = static_cast<std::uint8_t>(errc::internal);
  f.far->write(foreign, junk);
  f.far->write(f.piece(), {});
  const auto result = f.engine->barrier(f.plan, 10s);
  CHECK_MESSAGE(result, result.error().message());
  CHECK(f.counters->strays == 2);
}

TEST_CASE("a reduction takes the other's contribution and ignores an old one") {
  fixture f;
  const auto plan = reduce_plan(4);
  const std::vector<float> stale{100, 100, 100, 100};
  const std::vector<float> fresh{1, 2, 3, 4};
  auto old = f.piece(plan.hash, 16);
  old.fence.attempt.term.value = 1;
  f.far->write(old, std::as_bytes(std::span(stale)));
  f.far->write(f.piece(plan.hash, 16), std::as_bytes(std::span(fresh)));
  std::vector<float> mine{10, 20, 30, 40};
  REQUIRE(f.engine->reduce(plan, work(plan, mine.data()), 10s));
  CHECK(mine == std::vector<float>{11, 22, 33, 44});
}

TEST_CASE("pieces that are not part of the plan are refused and counted") {
  const auto plan = reduce_plan(1'000'000);
  const auto good = [&](fixture& f) {
    auto h = f.piece(plan.hash, 4'000'000);
    h.code = static_cast<std::uint8_t>(element::float32);
    return h;
  };
  const std::vector<std::pair<const char*, std::function<void(frame_header&, std::size_t&)>>> faults{
      {"too short", [](frame_header&, std::size_t& size) { size = 1000; }},
      {"too long", [](frame_header&, std::size_t& size) { size += 8; }},
      {"elsewhere", [](frame_header& h, std::size_t&) { h.offset = 4; }},
      {"beyond the end", [](frame_header& h, std::size_t&) { h.offset = ~std::uint64_t{0} - 7; }},
      {"another total", [](frame_header& h, std::size_t&) { h.total -= 4; }},
      {"unknown phase", [](frame_header& h, std::size_t&) { h.phase = 2; }},
      {"another type", [](frame_header& h, std::size_t&) { h.code = static_cast<std::uint8_t>(element::float64); }},
      {"call of the far future", [](frame_header& h, std::size_t&) { h.call = 7; }},
  };
  for (const auto& [name, fault] : faults) {
    CAPTURE(name);
    fixture f;
    std::vector<float> mine(1'000'000, 1.0f);
    auto h = good(f);
    std::size_t size = 256 << 10;
    fault(h, size);
    const byte_buffer payload(size);
    std::thread writer([&] {
      // The other side may close at the header.
      frame_prefix prefix;
      h.length = size;
      encode_frame(h, prefix);
      f.far->write(prefix.bytes);
    });
    const auto result = f.engine->reduce(plan, work(plan, mine.data()), 10s);
    writer.join();
    REQUIRE_FALSE(result);
    INFO(result.error().message());
    CHECK(result.error().code == errc::bad_input);
    CHECK(result.error().what.find("rank 1 on node b") != std::string::npos);
    CHECK(f.counters->refused == 1);
  }
}

TEST_CASE("an announced size beyond the limit is refused before anything is allocated") {
  fixture f;
  const auto plan = make_plan(std::source_location::current(), {.what = operation::all_gather});
  auto h = f.piece(plan.hash, std::uint64_t{1} << 60);
  const byte_buffer payload(16);
  f.far->write(h, payload);
  byte_buffer theirs;
  const byte_view out[1] = {payload};
  const inbox in[2] = {{}, {&theirs, {}}};
  const auto result = f.engine->pass(plan, out, in, 10s);
  REQUIRE_FALSE(result);
  CHECK(result.error().code == errc::bad_input);
  CHECK(f.counters->refused == 1);
}

TEST_CASE("bytes that are no frame end the link") {
  fixture f;
  const byte_buffer junk(5000, std::byte{0x5a});
  f.far->write(junk);
  const auto result = f.engine->barrier(f.plan, 10s);
  REQUIRE_FALSE(result);
  CHECK(result.error().code == errc::bad_input);
  CHECK(result.error().message().find("rank 1 on node b broke the link") != std::string::npos);
  CHECK(f.counters->refused == 1);
}

TEST_CASE("a peer that dies is named with its node, in every kind of call") {
  for (const std::size_t count : {0u, 10u, 1'000'000u}) {
    fixture f;
    const auto plan = reduce_plan(count);
    std::vector<float> mine(count, 1.0f);
    // It dies in the middle of a frame.
    frame_prefix prefix;
    auto h = f.piece(plan.hash, count * 4);
    h.length = std::min<std::size_t>(count * 4, 256 << 10);
    h.code = static_cast<std::uint8_t>(element::float32);
    encode_frame(h, prefix);
    f.far->write(byte_view(prefix.bytes).first(count == 0 ? 50 : frame_prefix_size));
    f.far->close();
    const auto result = f.engine->reduce(plan, work(plan, mine.data()), 10s);
    REQUIRE_FALSE(result);
    INFO(result.error().message());
    CHECK(result.error().code == errc::disconnected);
    CHECK(result.error().what.find("rank 1 on node b is gone") != std::string::npos);
  }
}

TEST_CASE("a peer that dies after it has sent all, and before it has been sent all, is missed") {
  fixture f;
  // More than a socket takes.
  const byte_buffer mine(32 << 20);
  const auto plan = make_plan(std::source_location::current(), {.what = operation::all_gather});
  f.far->write(f.piece(plan.hash, 0), {});
  f.far->close();
  const byte_view out[1] = {mine};
  byte_buffer theirs;
  const inbox in[2] = {{}, {&theirs, {}}};
  const auto result = f.engine->pass(plan, out, in, 10s);
  REQUIRE_FALSE(result);
  CHECK(result.error().code == errc::disconnected);
  CHECK(result.error().what.find("rank 1 on node b is gone") != std::string::npos);
}

TEST_CASE("frames may arrive in any portions") {
  fixture f;
  const auto plan = reduce_plan(5000);
  std::vector<float> theirs(5000);
  std::vector<float> mine(5000);
  for (std::size_t i = 0; i < 5000; ++i) theirs[i] = static_cast<float>(i), mine[i] = 0.5f;
  auto h = f.piece(plan.hash, 20000);
  h.length = 20000;
  frame_prefix prefix;
  encode_frame(h, prefix);
  byte_buffer wire(frame_prefix_size + 20000);
  std::memcpy(wire.data(), prefix.bytes.data(), frame_prefix_size);
  std::memcpy(wire.data() + frame_prefix_size, theirs.data(), 20000);
  std::thread writer([&] {
    for (std::size_t at = 0, size = 1; at < wire.size(); at += size, size = size % 37 + 1) {
      f.far->write(byte_view(wire).subspan(at, std::min(size, wire.size() - at)));
    }
  });
  const auto result = f.engine->reduce(plan, work(plan, mine.data()), 10s);
  writer.join();
  REQUIRE(result);
  bool right = true;
  for (std::size_t i = 0; i < 5000; ++i) right &= mine[i] == static_cast<float>(i) + 0.5f;
  CHECK(right);
}

TEST_CASE("a description and a reason may arrive in any portions") {
  fixture f;
  const error why{errc::timed_out, "rank 7 has not arrived", "somewhere", "look there"};
  const auto text = f.plan.text();
  const auto reason = encode(why);
  const auto described = as_byte_view(text);
  std::thread writer([&] {
    for (const auto kind : {frame_kind::describe, frame_kind::bye}) {
      auto h = f.piece();
      h.kind = kind;
      if (kind == frame_kind::bye) h.code = static_cast<std::uint8_t>(why.code);
      const byte_view payload = kind == frame_kind::bye ? byte_view(reason) : described;
      h.length = payload.size();
      frame_prefix prefix;
      encode_frame(h, prefix);
      f.far->write(prefix.bytes);
      byte_buffer padded(payload.begin(), payload.end());
      padded.resize(payload.size() + frame_padding(payload.size()));
      for (std::size_t at = 0; at < padded.size(); at += 10) {
        f.far->await_read();
        f.far->write(byte_view(padded).subspan(at, std::min<std::size_t>(10, padded.size() - at)));
      }
    }
  });
  const auto result = f.engine->barrier(f.plan, 10s);
  writer.join();
  REQUIRE_FALSE(result);
  CHECK(result.error() == why);
}

TEST_CASE("a rank that sends many bytes to a join that fails is refused") {
  int fds[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
  far_end far{unique_fd(fds[1])};
  mesh::options options;
  options.token = live;
  options.nodes = {"a", "b", "c"};
  options.self = *waker::make();
  options.counters = std::make_shared<link_counters>();
  std::vector<std::unique_ptr<comm::link>> links(3);
  links[1] = std::make_unique<tcp::link>(unique_fd(fds[0]));
  abort_word abort;
  mesh m(options, std::move(links), abort);
  const auto plan = join_plan(1);
  frame_header h;
  h.fence = fence_of(live);
  h.plan = plan.hash;
  h.total = 300;
  far.write(h, byte_buffer(300));
  const auto why = m.fail_join(plan, {errc::none, {}, {}, {}}, 1s);
  CHECK(why.code == errc::bad_input);
  CHECK(why.what.find("rank 1 on node b") != std::string::npos);
}

TEST_CASE("a note of a rank that waits is refused when it makes no sense, and counts only for a call that is to come") {
  const std::vector<std::pair<waiting_note, errc>> notes{
      {{1, {{1, "a call"}}, {{0, 1}}}, errc::mismatch},
      {{1, {{1, "a call"}}, {{0, 0}}}, errc::none},               // this one: the rank has come to it
      {{1, {{1, "a call"}, {0, "mine"}}, {{1, 9}}}, errc::none},  // comes back to where it was
      {{1, {{1, "a call"}}, {{7, 9}}}, errc::none},
      {{1, {}, {{0, 1}}}, errc::bad_input},
      {{1, {{0, "of another"}}, {{0, 1}}}, errc::bad_input},
      {{1, {{1, "a call"}, {2, "of nobody"}}, {{0, 1}}}, errc::bad_input},
  };
  for (const auto& [note, code] : notes) {
    fixture f;
    auto h = f.piece();
    h.kind = frame_kind::waiting;
    f.far->write(h, encode(note));
    f.far->write(f.piece(), {});
    const auto result = f.engine->barrier(f.plan, 10s);
    INFO("result: ", result ? "no error" : result.error().message());
    CHECK((result ? errc::none : result.error().code) == code);
    CHECK(f.counters->refused == (code == errc::bad_input ? 1 : 0));
  }
  for (const std::size_t size : {0u, 10u, 4097u}) {
    fixture f;
    auto h = f.piece();
    h.kind = frame_kind::waiting;
    f.far->write(h, byte_buffer(size, std::byte{0xff}));
    f.far->close();
    const auto result = f.engine->barrier(f.plan, 10s);
    REQUIRE_FALSE(result);
    CHECK(result.error().code == errc::bad_input);
  }
}

TEST_CASE("memory for a message is taken as its bytes come, not as they are announced") {
  fixture f;
  const auto plan = make_plan(std::source_location::current(), {.what = operation::all_gather});
  f.far->write(f.piece(plan.hash, std::uint64_t{2} << 30), byte_buffer(16));
  f.far->close();
  byte_buffer theirs;
  std::vector<inbox> in(2);
  in[1].growing = &theirs;
  const byte_view mine[1] = {};
  const auto result = f.engine->pass(plan, mine, in, 10s);
  REQUIRE_FALSE(result);
  CHECK(result.error().code == errc::disconnected);
  CHECK(theirs.size() == 16);
  CHECK(theirs.capacity() <= 2 << 20);
}

TEST_CASE("a frame of the next call waits until that call") {
  fixture f;
  const auto first = make_plan(std::source_location::current(), {.what = operation::barrier});
  const auto second = reduce_plan(1);
  const std::vector<float> theirs{2};
  auto later = f.piece(second.hash, 4);
  later.call = 1;
  f.far->write(f.piece(first.hash, 0), {});
  f.far->write(later, std::as_bytes(std::span(theirs)));
  REQUIRE(f.engine->barrier(first, 10s));
  float mine = 3;
  REQUIRE(f.engine->reduce(second, work(second, &mine), 10s));
  CHECK(mine == 5);
}

TEST_CASE("the reason of a peer's failure is passed on as it was") {
  fixture f;
  const error why{errc::timed_out, "rank 7 has not arrived", "somewhere", "look there"};
  auto bye = f.piece();
  bye.kind = frame_kind::bye;
  bye.code = static_cast<std::uint8_t>(why.code);
  f.far->write(bye, encode(why));
  const auto result = f.engine->barrier(f.plan, 10s);
  REQUIRE_FALSE(result);
  CHECK(result.error() == why);
}
