// Calls of bytes and between two ranks that are made later: what they bring, in which order, and how they end when
// others do something else, leave, or the attempt is ended.
#include "gang.hpp"
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <latch>
#include <list>
#include <thread>

using namespace hydrogen;
using namespace hydrogen::comm;
using testing::gang;
using testing::placements;
using testing::text_of;

namespace {

// One slot or frame, a piece, many pieces.
constexpr std::size_t later_sizes[] = {0, 1, 300, 40'000, 300'000};

unexpected not_as_sent(const char* what, std::size_t number) {
  return fail(errc::internal, std::string(what) + " number " + std::to_string(number));
}

/// Of any size: what one rank has for another in a call with this number.
byte_buffer bytes_between(std::uint32_t from, std::uint32_t to, std::size_t number) {
  const auto size = later_sizes[(number + 2 * from + to) % std::size(later_sizes)] * 3;
  byte_buffer out(size);
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<std::byte>(i * 31 + number * 7 + from * 3 + to);
  return out;
}

std::vector<std::int64_t> numbers_from(std::uint32_t from, std::size_t number) {
  std::vector<std::int64_t> x(later_sizes[number % std::size(later_sizes)]);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<std::int64_t>(i * 5 + number * 1000 + from);
  return x;
}

/// The last handle first: when its call is done, so are those before it.
expected<void> wait_from_the_last(std::vector<pending>& open) {
  for (auto call = open.rbegin(); call != open.rend(); ++call) {
    if (call != open.rbegin() && !call->is_done()) return fail(errc::internal, "a call is done before an earlier one");
    if (auto ok = call->wait(); !ok) return ok;
  }
  return {};
}

void check_each(const std::vector<expected<void>>& results, const testing::layout& placement) {
  for (std::uint32_t r = 0; r < results.size(); ++r) {
    INFO(text_of(placement), ", rank ", r);
    CHECK_MESSAGE(results[r], results[r].error().message());
  }
}

/// All of these end with this error, in whose text is `part`; the first one that does not is what is wrong.
expected<void> all_end(std::vector<pending>& open, errc code, std::string_view part) {
  for (std::size_t i = 0; i < open.size(); ++i) {
    const auto result = open[i].wait();
    if (!result && result.error().code == code && result.error().message().find(part) != std::string::npos) continue;
    return fail(errc::internal, "call " + std::to_string(i) + " ends with " +
                                    (result ? std::string("no error") : result.error().message()));
  }
  return {};
}

/// Until so many threads that make calls for ranks are there, and wait.
void await_calls_asleep(std::size_t threads) {
  for (;;) {
    std::size_t asleep = 0;
    std::error_code gone;
    for (const auto& thread : std::filesystem::directory_iterator("/proc/self/task", gone)) {
      std::string name, ignored, state;
      std::ifstream(thread.path() / "comm") >> name;
      std::ifstream(thread.path() / "stat") >> ignored >> ignored >> state;
      if (name == "hy-calls" && state == "S") ++asleep;
    }
    if (asleep == threads) return;
    std::this_thread::yield();
  }
}

/// One call of each kind with the ranks before and after this one, in an order in which nobody waits in vain, were all
/// there. Rank 0 sends first, the others receive first.
struct calls_in_a_ring {
  std::vector<byte_buffer> to_each;
  std::vector<byte_view> parts;
  std::vector<byte_buffer> from_each;
  byte_buffer received;
  std::vector<float> numbers = std::vector<float>(1000);
  std::vector<pending> open;  // last: ends before what it uses

  calls_in_a_ring(group& g, std::size_t number) {
    const auto after = (g.rank() + 1) % g.size(), before = (g.rank() + g.size() - 1) % g.size();
    for (std::uint32_t r = 0; r < g.size(); ++r) to_each.push_back(bytes_between(g.rank(), r, number));
    parts.assign(to_each.begin(), to_each.end());
    if (g.rank() == 0) {
      open.push_back(g.send_async(after, parts[after]));
      open.push_back(g.receive_async(before, std::span(numbers)));
    } else {
      open.push_back(g.receive_async(before, received));
      open.push_back(g.send_async(after, std::span<const float>(numbers)));
    }
    open.push_back(g.all_to_all_async(parts, from_each));
  }
};

}  // namespace

TEST_CASE("numbers and bytes that are sent and received later arrive whole and in their order") {
  for (const int ranks : {2, 3}) {
    for (const auto& placement : placements(ranks)) {
      gang team(placement);
      check_each(team.run([&](group& g) -> expected<void> {
        const auto after = (g.rank() + 1) % g.size(), before = (g.rank() + g.size() - 1) % g.size();
        constexpr std::size_t rounds = std::size(later_sizes) + 1;
        std::vector<std::vector<std::int64_t>> sent, got;
        // What was in the buffer is replaced, whatever its size was.
        std::vector<byte_buffer> bytes, got_bytes(rounds, byte_buffer(7, std::byte{9}));
        for (std::size_t i = 0; i < rounds; ++i) {
          sent.push_back(numbers_from(g.rank(), i));
          got.emplace_back(sent.back().size(), -1);
          bytes.push_back(bytes_between(g.rank(), after, i));
        }
        std::vector<pending> open;
        for (std::size_t i = 0; i < rounds; ++i) {
          const auto send = [&] {
            open.push_back(g.send_async(after, std::span<const std::int64_t>(sent[i])));
            open.push_back(g.send_async(after, bytes[i]));
          };
          // Round the ranks: who sends waits for who receives.
          if (g.rank() == 0) send();
          open.push_back(g.receive_async(before, std::span(got[i])));
          open.push_back(g.receive_async(before, got_bytes[i]));
          if (g.rank() != 0) send();
        }
        if (auto ok = wait_from_the_last(open); !ok) return ok;
        for (std::size_t i = 0; i < rounds; ++i) {
          if (got[i] != numbers_from(before, i)) return not_as_sent("numbers", i);
          if (got_bytes[i] != bytes_between(before, g.rank(), i)) return not_as_sent("bytes", i);
        }
        return g.barrier();
      }),
                 placement);
    }
  }
}

TEST_CASE("bytes for each rank that are exchanged later arrive whole and in their order, among other calls") {
  for (const int ranks : {2, 3}) {
    for (const auto& placement : placements(ranks)) {
      gang team(placement);
      check_each(team.run([&](group& g) -> expected<void> {
        constexpr std::size_t rounds = std::size(later_sizes) + 1;
        std::list<std::vector<byte_buffer>> mine;
        std::vector<std::vector<byte_buffer>> got(rounds, std::vector<byte_buffer>(9, byte_buffer(5)));
        std::vector<std::int64_t> power{1};
        std::vector<std::vector<byte_view>> parts(rounds);
        std::vector<pending> open;
        for (std::size_t i = 0; i < rounds; ++i) {
          auto& out = mine.emplace_back();
          for (std::uint32_t r = 0; r < g.size(); ++r) out.push_back(bytes_between(g.rank(), r, i));
          parts[i].assign(out.begin(), out.end());
          open.push_back(g.all_to_all_async(parts[i], got[i]));
          // Each works on what the one before it has left.
          open.push_back(g.all_reduce_async(std::span(power), reduction::sum));
        }
        // A call that waits lets those before it end.
        if (auto ok = g.barrier(); !ok) return ok;
        if (!std::all_of(open.begin(), open.end(), [](const auto& call) { return call.is_done(); })) {
          return fail(errc::internal, "a call of before the barrier is not done");
        }
        if (auto ok = wait_from_the_last(open); !ok) return ok;
        for (std::size_t i = 0; i < rounds; ++i) {
          if (got[i].size() != g.size()) return not_as_sent("ranks", i);
          for (std::uint32_t r = 0; r < g.size(); ++r) {
            if (got[i][r] != bytes_between(r, g.rank(), i)) return not_as_sent("parts", i);
          }
        }
        std::int64_t wanted = 1;
        for (std::size_t i = 0; i < rounds; ++i) wanted *= g.size();
        return power[0] == wanted ? expected<void>() : not_as_sent("sums", 0);
      }),
                 placement);
    }
  }
}

TEST_CASE("ranks that pass different numbers later both learn it from their handles, and so does every later call") {
  for (const auto& placement : placements(2)) {
    for (const bool both_send : {true, false}) {
      gang team(placement);
      check_each(team.run([&](group& g) -> expected<void> {
        std::vector<float> x(10 + g.rank());
        std::vector<byte_buffer> got;
        const std::vector<byte_view> parts(2);
        std::vector<pending> open;
        if (g.rank() == 0) {
          open.push_back(g.send_async(1, std::span<const float>(x)));
        } else if (both_send) {
          open.push_back(g.send_async(0, std::span<const float>(x)));
        } else {
          open.push_back(g.receive_async(0, std::span(x)));
        }
        open.push_back(g.all_to_all_async(parts, got));
        if (auto ok = all_end(open, errc::mismatch, "send from rank 0 to rank 1, float x 10 at later.cpp"); !ok)
          return ok;
        const auto* other =
            both_send ? "send from rank 1 to rank 0, float x 11" : "send from rank 0 to rank 1, float x 11";
        if (auto ok = all_end(open, errc::mismatch, other); !ok) return ok;
        const auto last = g.barrier();
        return !last && last.error().code == errc::mismatch ? expected<void>() : fail(errc::internal, "it goes on");
      }),
                 placement);
    }
  }
}

TEST_CASE("a rank that exchanges bytes later while another waits in a barrier is told, and so is the other") {
  for (const auto& placement : placements(3)) {
    gang team(placement);
    // Who is still joining would hear of it there.
    std::latch joined(3);
    check_each(team.run([&](group& g) -> expected<void> {
      joined.arrive_and_wait();
      std::vector<byte_buffer> got;
      const std::vector<byte_view> parts(3);
      std::vector<pending> open;
      open.push_back(g.rank() == 1 ? g.barrier_async() : g.all_to_all_async(parts, got));
      if (auto ok = all_end(open, errc::mismatch, "all_to_all() at later.cpp"); !ok) return ok;
      return all_end(open, errc::mismatch, "rank 1 barrier() at later.cpp");
    }),
               placement);
  }
}

TEST_CASE("wrong ranks and parts of calls that are made later are refused by their handles and break nothing") {
  for (const auto& placement : placements(2)) {
    gang team(placement);
    check_each(team.run([&](group& g) -> expected<void> {
      std::vector<float> x(4);
      byte_buffer bytes;
      std::vector<byte_buffer> got;
      std::vector<pending> wrong;
      wrong.push_back(g.send_async(g.rank(), std::span<const float>(x)));
      wrong.push_back(g.send_async(2, byte_view()));
      wrong.push_back(g.receive_async(g.rank(), bytes));
      wrong.push_back(g.receive_async(7, std::span(x)));
      wrong.push_back(g.all_to_all_async({}, got));
      if (auto ok = all_end(wrong, errc::bad_input, "at later.cpp"); !ok) return ok;
      return g.barrier();
    }),
               placement);
  }
}

TEST_CASE("a rank that leaves ends the calls of the others that wait for it later") {
  for (const int ranks : {2, 3}) {
    for (const auto& placement : placements(ranks)) {
      gang team(placement);
      // Rank 0 sends to it, and the last one receives from it: in a gang of two they are one.
      std::latch waiting(1);
      std::thread looker([&] {
        await_calls_asleep(static_cast<std::size_t>(ranks) - 1);
        waiting.count_down();
      });
      check_each(team.run([&](group& g) -> expected<void> {
        if (g.rank() == 1) {
          waiting.wait();
          return {};
        }
        calls_in_a_ring calls(g, 1);
        return all_end(calls.open, errc::disconnected, "rank 1 left");
      }),
                 placement);
      looker.join();
    }
  }
}

TEST_CASE("an abort ends handles that are waited for, whatever they wait for, and those behind them") {
  enum class kind { send, receive, exchange };
  for (const int ranks : {2, 3}) {
    for (const auto& placement : placements(ranks)) {
      for (const auto what : {kind::send, kind::receive, kind::exchange}) {
        gang team(placement);
        std::latch joined(ranks), over(1);
        std::thread stopper([&] {
          await_calls_asleep(static_cast<std::size_t>(ranks) - 1);
          for (auto& a : team.aborts) a->set({errc::cancelled, "stop it", {}, {}});
        });
        std::atomic<int> left = ranks - 1;
        check_each(team.run([&](group& g) -> expected<void> {
          joined.arrive_and_wait();
          // It is there, and comes to no call.
          if (g.rank() == 0) {
            over.wait();
            return {};
          }
          const byte_buffer out(100);
          byte_buffer in;
          std::vector<byte_buffer> all;
          const std::vector<byte_view> parts(g.size(), out);
          std::vector<pending> open;
          if (what == kind::send) open.push_back(g.send_async(0, out));
          if (what == kind::receive) open.push_back(g.receive_async(0, in));
          open.push_back(g.all_to_all_async(parts, all));
          auto ok = all_end(open, errc::cancelled, "stop it");
          if (--left == 0) over.count_down();
          return ok;
        }),
                   placement);
        stopper.join();
      }
    }
  }
}
