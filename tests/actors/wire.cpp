// Frames between jobs and executors: several messages in one, whole and in order, or refused.

#include <hydrogen/actors/answer_batch.hpp>
#include <hydrogen/actors/wire.hpp>
#include <hydrogen/base/random.hpp>
#include <hydrogen/comm/reactor.hpp>

#include <doctest/doctest.h>
#include <sys/socket.h>

#include <algorithm>
#include <future>
#include <mutex>

using namespace hydrogen;
using namespace hydrogen::actors;

namespace {

using orders = std::vector<exec::to_task_host>;
using answers = std::vector<exec::from_task_host>;

task_id id(std::uint32_t partition) {
  return {{1, 2}, 3, 4, partition, 0};
}

exec::run_task run_task(std::uint32_t partition, std::size_t bytes = 20) {
  exec::run_task run;
  run.what.id = id(partition);
  run.what.label = std::string(bytes, 'x');
  return run;
}

/// Each kind of message that a job sends.
orders some_orders() {
  return {run_task(0), exec::cancel_task{id(0), "not needed"}, run_task(1), exec::drop_blocks{{{}, {}}}, run_task(2)};
}

exec::task_done done(std::uint32_t partition, std::size_t bytes = 10) {
  return {id(partition), {}, {}, {{7}, std::string(bytes, 'x')}, {{}, {}}, 1ms};
}

template <class Message>
std::vector<byte_buffer> bytes_of(const std::vector<Message>& messages) {
  std::vector<byte_buffer> all;
  for (const auto& message : messages) all.push_back(encode(message));
  return all;
}

byte_buffer one_frame(const orders& messages) {
  std::size_t next = 0;
  auto frame = make_batch_frame(frame_kind::to_task_host, messages, next);
  CHECK(next == messages.size());
  return frame;
}

}  // namespace

TEST_CASE("several messages in one frame come back whole, in their order") {
  const auto sent = some_orders();
  const auto frame = one_frame(sent);
  CHECK(kind_of(frame) == frame_kind::to_task_host);
  const auto back = read_batch_frame<exec::to_task_host>(frame);
  REQUIRE(back);
  CHECK(bytes_of(*back) == bytes_of(sent));
}

TEST_CASE("what is too much for one frame goes in several, and one that is larger than that has its own") {
  orders sent;
  for (std::uint32_t i = 0; i < 300; ++i) sent.push_back(run_task(i, i % 100 == 50 ? 400'000 : 5'000));
  orders back;
  std::size_t frames = 0;
  for (std::size_t next = 0; next < sent.size(); ++frames) {
    const auto first = next;
    const auto frame = make_batch_frame(frame_kind::to_task_host, sent, next);
    REQUIRE(next > first);
    CHECK((frame.size() <= (256 << 10) || next == first + 1));
    auto some = read_batch_frame<exec::to_task_host>(frame);
    REQUIRE(some);
    CHECK(some->size() == next - first);
    std::move(some->begin(), some->end(), std::back_inserter(back));
  }
  CHECK(frames >= 8);
  CHECK(frames <= 12);
  CHECK(bytes_of(back) == bytes_of(sent));
}

TEST_CASE("a frame that ends inside a message, or has none, is refused as a whole") {
  const auto sent = some_orders();
  const auto frame = one_frame(sent);
  std::vector<std::size_t> ends{1};
  for (const auto& bytes : bytes_of(sent)) ends.push_back(ends.back() + bytes.size());
  REQUIRE(ends.back() == frame.size());
  for (std::size_t n = 0; n < frame.size(); ++n) {
    CAPTURE(n);
    const auto back = read_batch_frame<exec::to_task_host>(byte_view(frame).first(n));
    const bool between = n > 1 && std::find(ends.begin(), ends.end(), n) != ends.end();
    CHECK(back.has_value() == between);
    if (!back) CHECK(back.error().code == errc::bad_input);
  }
}

TEST_CASE("one damaged message in a frame, and nothing of it is taken") {
  const auto sent = some_orders();
  auto frame = one_frame(sent);
  SUBCASE("a kind of message that does not exist, in the last one") {
    frame[frame.size() - encode(sent.back()).size()] = std::byte{3};
    CHECK_FALSE(read_batch_frame<exec::to_task_host>(frame));
  }
  SUBCASE("bytes behind the last one") {
    frame.push_back(std::byte{1});
    CHECK_FALSE(read_batch_frame<exec::to_task_host>(frame));
  }
  SUBCASE("a frame of the other direction") {
    CHECK_FALSE(read_batch_frame<exec::from_task_host>(frame));
  }
  SUBCASE("anything: it is refused or is something else, and is never more than its bytes can hold") {
    random_source random(7);
    std::size_t refused = 0;
    for (int i = 0; i < 20'000; ++i) {
      auto damaged = frame;
      for (int k = 0; k < 4; ++k) damaged[1 + random.below(damaged.size() - 1)] = static_cast<std::byte>(random());
      const auto back = read_batch_frame<exec::to_task_host>(damaged);
      refused += back ? 0 : 1;
      if (back) CHECK(back->size() < damaged.size());
    }
    CHECK(refused > 0);
  }
}

TEST_CASE(
    "answers that come together leave in one frame, in their order, later ones in the next, and large ones in "
    "several") {
  struct {
    std::mutex mutex;
    std::vector<std::size_t> sizes;
    answers all;
    std::promise<void> complete;
    bool intact = true;
  } seen;
  constexpr std::uint32_t first_ones = 100, second_ones = 50, large_ones = 3;
  constexpr auto all_of_them = first_ones + second_ones + large_ones;
  comm::reactor reactor;
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
  comm::connection_handlers driver{[&](const comm::connection_ptr&, byte_buffer frame) {
                                     auto some = read_batch_frame<exec::from_task_host>(frame);
                                     std::lock_guard lock(seen.mutex);
                                     seen.intact &= some && kind_of(frame) == frame_kind::from_task_host;
                                     if (!some) return;
                                     seen.sizes.push_back(some->size());
                                     std::move(some->begin(), some->end(), std::back_inserter(seen.all));
                                     if (seen.all.size() == all_of_them) seen.complete.set_value();
                                   },
                                   [](const comm::connection_ptr&, const error&) {}};
  comm::connection_handlers silent{[](const comm::connection_ptr&, byte_buffer) {},
                                   [](const comm::connection_ptr&, const error&) {}};
  const auto theirs = reactor.adopt(unique_fd(ends[0]), {}, std::move(driver));
  auto ours = reactor.adopt(unique_fd(ends[1]), {}, std::move(silent));

  // Nobody flushes by itself: the test says when.
  const auto batch = std::make_shared<answer_batch>(ours, caf::actor{});
  answers sent;
  for (std::uint32_t i = 0; i < all_of_them; ++i) {
    const std::size_t bytes = i < first_ones + second_ones ? 10 : 200'000;
    sent.push_back(done(i, bytes));
    batch->put(done(i, bytes));
    if (i + 1 == first_ones || i + 1 == first_ones + second_ones) batch->flush();
  }
  batch->flush();
  batch->flush();  // nothing waits, nothing is sent
  REQUIRE(seen.complete.get_future().wait_for(60s) == std::future_status::ready);
  std::lock_guard lock(seen.mutex);
  CHECK(seen.intact);
  CHECK(seen.sizes == std::vector<std::size_t>{first_ones, second_ones, 1, 1, 1});
  CHECK(bytes_of(seen.all) == bytes_of(sent));
}
