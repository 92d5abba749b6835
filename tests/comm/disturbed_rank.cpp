#include "disturbed_rank.hpp"

#include <hydrogen/base/hash.hpp>
#include <hydrogen/comm/gradient_exchange.hpp>

#include "disturbed_calls.hpp"
#include "rank_process.hpp"
#include <doctest/doctest.h>
#include <spdlog/fmt/fmt.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <fstream>
#include <map>
#include <mutex>
#include <optional>
#include <sstream>
#include <thread>

namespace hydrogen::comm::testing {
namespace {

constexpr std::size_t page_size = 4096;

struct disturbed_order {
  std::uint64_t attempt = 0;
  std::uint32_t rank = 0, victim = 0;
  std::size_t call = 0;
  disturbance what = disturbance::none;
  trap::stops whom = trap::stops::process;
  phase when = phase::before;
  duration limit{};
  gang_table members;
};

disturbed_order read_order(std::uint32_t rank, std::istream& in) {
  disturbed_order o;
  o.rank = rank;
  int what = 0, whom = 0, when = 0, limit = 0;
  in >> o.attempt >> o.call >> o.victim >> what >> whom >> when >> limit;
  o.what = static_cast<disturbance>(what);
  o.whom = static_cast<trap::stops>(whom);
  o.when = static_cast<phase>(when);
  o.limit = std::chrono::milliseconds(limit);
  o.members = read_table(in);
  return o;
}

/// Pages for a rank's data.
std::shared_ptr<std::byte> private_pages(std::size_t size) {
  void* at = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) throw std::bad_alloc();
  return {static_cast<std::byte*>(at), [size](std::byte* p) { ::munmap(p, size); }};
}

/// The numbers of a rank, of magnitudes far apart: another order of addition gives other bits.
void fill(std::span<float> x, std::uint32_t rank) {
  std::uint32_t state = rank * 7919 + 1;
  for (auto& v : x) {
    state = state * 1664525 + 1013904223;
    v = (static_cast<float>(state >> 8) - 8e6f) * static_cast<float>(1u << (state >> 4 & 15));
  }
}

class disturbed_rank {
 public:
  disturbed_rank(rank_child& here, std::uint32_t rank) : here_(here), rank_(rank) {}
  ~disturbed_rank() { finish(); }

  void say(const std::string& what) { here_.say(fmt::format("{} {}", rank_, what)); }
  void come_to_rest() {
    if (worker_.joinable()) worker_.join();
  }

  void obey(const std::string& what, std::istream& in) {
    if (what == "abort") abort_->set({errc::aborted, "told to", {}, {}});
    if (what == "spring") trap::spring_on(worker_.native_handle());
    if (what == "go") {
      std::lock_guard lock(mutex_);
      ++told_to_go_;
      told_.notify_all();
    }
    if (what != "join") return;
    finish();
    told_to_go_ = 0;
    abort_ = std::make_shared<abort_word>();
    worker_ = std::thread([this, order = read_order(rank_, in), abort = abort_] { take_part(order, *abort); });
  }

 private:
  void finish() {
    abort_->set({errc::aborted, "the test is over", {}, {}});
    {
      std::lock_guard lock(mutex_);
      told_to_go_ = 2;
      told_.notify_all();
    }
    come_to_rest();
  }

  void await_go(int times) {
    std::unique_lock lock(mutex_);
    told_.wait(lock, [&] { return told_to_go_ >= times; });
  }

  void take_part(const disturbed_order& o, abort_word& abort) {
    auto g = here_.meet().join(token_of(o.attempt), o.rank, o.members, abort, now() + 30s);
    auto ok = g ? expected<void>() : expected<void>(unexpected(g.error()));
    std::string end;
    if (ok) ok = make_call(o, **g, end);
    if (g) g->reset();
    // What is behind the gang goes first, so that it can be counted when this is heard.
    say(ok ? end : fmt::format("ended {} 0 0 0 0 {}", static_cast<int>(ok.error().code), ok.error().message()));
  }

  /// Groups of two, so that all processes have made their memory known to each other; then the call.
  expected<void> make_call(const disturbed_order& o, group& whole, std::string& end) {
    const auto ranks = static_cast<std::uint32_t>(o.members.size());
    const auto partner = next_rank(o.victim, ranks);
    std::unique_ptr<group> pair;
    for (std::uint32_t a = 0; a < ranks; ++a) {
      for (std::uint32_t b = a + 1; b < ranks; ++b) {
        if (o.rank != a && o.rank != b) continue;
        const std::uint32_t both[] = {a, b};
        auto made = whole.subgroup(both);
        if (!made) return unexpected(made.error());
        if (std::min(o.victim, partner) == a && std::max(o.victim, partner) == b) pair = std::move(*made);
      }
    }
    const auto& call = disturbed_calls()[o.call];
    const call_options options(std::source_location::current(), o.limit);
    std::optional<gradient_exchange> exchange;
    if (call.is_step()) {
      auto made = gradient_exchange::make(whole, step_tensors, step_options, options);
      if (!made) return unexpected(made.error());
      exchange.emplace(std::move(*made));
    }
    const auto size = (std::max<std::size_t>(call.count * sizeof(float), 1) + page_size - 1) / page_size * page_size;
    auto data = call.in_gang_buffer && !exchange ? whole.memory(size) : private_pages(size);
    if (!data) return unexpected(data.error());
    // Gradients lie in reverse order.
    auto* begin = exchange ? exchange->gradient(step_tensors.size() - 1).data() : reinterpret_cast<float*>(data->get());
    const std::span<float> x(begin, call.count);
    fill(x, o.rank);
    if (auto ok = whole.barrier(); !ok) return ok;
    say(fmt::format("ready {}", ::syscall(SYS_gettid)));

    const bool is_victim = o.rank == o.victim && o.what != disturbance::none;
    const bool is_late = o.when == phase::waiting && o.what != disturbance::none && o.rank == partner;
    await_go(1);
    if (is_victim) trap::prepare(o.what, o.whom, o.rank, here_.socket());
    if (is_late || (is_victim && o.when == phase::before)) await_go(2);
    if (is_victim && o.when == phase::before) trap::spring("before");
    std::vector<byte_buffer> got;
    const bool by_pair = call.in_pair;
    const auto within = [&](std::uint32_t r) { return by_pair ? (r == std::min(o.victim, partner) ? 0u : 1u) : r; };
    auto& g = by_pair && pair ? *pair : whole;
    const call_setting setting{g, x, within(o.victim), within(partner), got, options, exchange ? &*exchange : nullptr};
    const bool takes_part = !by_pair || pair;
    if (is_victim && o.when == phase::within) {
      // A rank of the same process reads its data, and is not the one to be caught.
      const auto is_here = [&](const auto& m) { return m.executor == o.members[o.rank].executor; };
      const bool has_fellows = std::count_if(o.members.begin(), o.members.end(), is_here) > 1;
      trap::set(call.places(setting, o.what == disturbance::slow ? 3 : 1), call.on_write || has_fellows);
    }
    say("entering");
    auto entered = now();
    const auto result = takes_part ? call.make(setting) : expected<void>();
    auto returned = now();
    if (is_victim && o.when == phase::within && !trap::take_away()) trap::spring("after");
    auto hash = hash_bytes(std::as_bytes(x));
    for (const auto& b : got) hash = hash_bytes(b, hash);
    if (result) entered = now();
    const auto last = whole.barrier(call_options(std::source_location::current(), o.limit));
    if (result) returned = now();
    const auto& failed = result ? last : result;
    const auto code = [](const expected<void>& r) { return r ? 0 : static_cast<int>(r.error().code); };
    end = fmt::format("ended {} {} {} {} {} {}", code(result), hash, code(last), entered.time_since_epoch().count(),
                      returned.time_since_epoch().count(), failed ? std::string() : failed.error().message());
    return {};
  }

  rank_child& here_;
  const std::uint32_t rank_;
  std::thread worker_;
  std::shared_ptr<abort_word> abort_ = std::make_shared<abort_word>();
  std::mutex mutex_;
  std::condition_variable told_;
  int told_to_go_ = 0;
};

std::size_t resident() {
  std::ifstream in("/proc/self/statm");
  std::size_t all = 0, used = 0;
  in >> all >> used;
  return used * page_size / 1024;
}

}  // namespace

TEST_CASE("a rank that is disturbed" * doctest::skip()) {
  // Run by `rank_process` only.
  const auto here = rank_child::make();
  if (!here) return;
  std::map<std::uint32_t, disturbed_rank> ranks;
  for (auto line = here->hear(); !line.empty(); line = here->hear()) {
    std::istringstream in(line);
    std::uint32_t number = 0;
    std::string what;
    in >> number >> what;
    auto& rank = ranks.try_emplace(number, *here, number).first->second;
    rank.obey(what, in);
    if (what != "count") continue;
    for (auto& [n, other] : ranks) other.come_to_rest();
    rank.say(fmt::format("has {} {} {} {}", entries_of("/proc/self/fd"), entries_of("/proc/self/task"), resident(),
                         here->meet().counters().strays.load()));
  }
}

}  // namespace hydrogen::comm::testing
