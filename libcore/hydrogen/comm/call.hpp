#pragma once
// A collective call as all ranks must agree on it (`call_plan`), and the errors that name calls and ranks.
//
// Every call has a number (the join of the gang is 0) and a hash of what is called: the ranks that take part,
// operation, element type, count, reduction, root and call site. Each rank hears from every other rank of the call and
// compares hashes, so ranks that call different things all fail, and each can name both calls. Sending and receiving
// are one call of two ranks, made in two places: the site is not part of its hash. Values; any thread.

#include <hydrogen/base/clock.hpp>
#include <hydrogen/base/error.hpp>
#include <hydrogen/comm/algorithm.hpp>
#include <hydrogen/comm/element.hpp>

#include <algorithm>
#include <cstdint>
#include <source_location>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace hydrogen::comm {

/// How long a call waits for the other ranks, and how it is named in errors.
struct call_options {
  // Not explicit: a call site alone is enough, `group.barrier()` passes its own.
  call_options(std::source_location at = std::source_location::current(), duration limit = 60s,
               algorithm way = algorithm::picked)
      : site(at), timeout(limit), by(way) {}

  std::source_location site;  // all ranks call from the same file and line
  duration timeout;           // from entering the call; then errc::timed_out names who is missing
  algorithm by;               // of an all-reduce; the same at all ranks
};

/// The moment `timeout` from now, also for timeouts without measure.
inline time_point deadline_after(duration timeout) {
  return now() + std::clamp<duration>(timeout, 0ns, 10000h);
}

/// The deadline of one call. The clock is read when a rank first has to sleep: most calls do not come to that.
class call_deadline {
 public:
  explicit call_deadline(duration timeout) : timeout_(timeout) {}
  duration timeout() const { return timeout_; }
  /// For the next step of the call.
  duration left() {
    if (at_ != never) return at_ - now();
    at();
    return timeout_;
  }
  /// Since the clock was first read, at most the timeout.
  duration waited() const {
    return at_ == never ? 0ns : std::max<duration>(0ns, std::min(timeout_, timeout_ - (at_ - now())));
  }
  time_point at() {
    if (at_ == never) at_ = deadline_after(timeout_);
    return at_;
  }

 private:
  duration timeout_;
  time_point at_ = never;
};

enum class operation : std::uint8_t {
  join,
  barrier,
  all_reduce,
  all_gather,
  broadcast,
  reduce,
  reduce_scatter,
  gather,
  scatter,
  all_to_all,
  transfer,  // from `root` to `to`
  buffer,
  split  // the ranks of a sub-group find each other
};

struct call_plan {
  operation what = operation::barrier;
  element kind = element::none;
  reduction how = reduction::sum;
  std::uint32_t root = 0;   // rank of the gang
  std::uint32_t to = 0;     // rank of the gang
  std::uint64_t count = 0;  // elements; 0 where sizes may differ
  const char* file = "";    // base name, in static memory
  std::uint32_t line = 0;
  std::uint64_t group = 0;  // of_ranks(...); 0: the whole gang
  algorithm by = algorithm::picked;
  std::uint64_t hash = 0;

  /// "all_reduce(float x 10, sum) at train.cpp:12". `among`: the ranks of the group, if it is not the whole gang.
  std::string text(std::span<const std::uint32_t> among = {}) const;
};

/// What identifies a group within its gang: a hash of its ranks, never 0.
std::uint64_t of_ranks(std::span<const std::uint32_t> ranks);
/// Fills in `hash` and the call site of a plan.
call_plan make_plan(const std::source_location&, call_plan);
/// The plan of joining a gang; `agreed` is a hash of what all members must have been told alike.
call_plan join_plan(std::uint64_t agreed);

/// "rank 3", "ranks 0, 1 and 2"; of very many: "ranks 0, 1, ... (300)".
std::string rank_list(std::span<const std::uint32_t> ranks);

/// What one rank knows about another when it gives up.
struct rank_report {
  std::uint32_t rank = 0;
  std::string node = {};       // that it is on; empty: unknown
  bool arrived = false;        // in this call
  std::string last_call = {};  // its last call before this one; empty if there was none
  bool stopped = false;        // it has arrived, and what it was to do next has not come
  duration silent = -1ns;      // since its last sign of life; below 0: unknown

  bool is_missing() const { return !arrived || stopped; }
  /// Nodes are known to all ranks.
  template <class I>
  friend auto inspect(I& f, rank_report& x) {
    return f(x.rank, x.arrived, x.last_call, x.stopped, x.silent);
  }
};

/// A rank that waits: in which call, how long, and what it knows about the ranks of that call.
struct wait_report {
  std::string call;
  duration waited{};
  std::vector<rank_report> ranks;
  template <class I>
  friend auto inspect(I& f, wait_report& x) {
    return f(x.call, x.waited, x.ranks);
  }
};

/// errc::mismatch: "rank 0 all_reduce(...) at a.cpp:1; ranks 1 and 2 barrier() at a.cpp:9".
error mismatch_error(std::vector<std::pair<std::uint32_t, std::string>> calls);
/// "rank 3 on node n1".
std::string rank_on_node(std::uint32_t rank, const std::string& node);
/// errc::timed_out: who has not arrived in the time that was waited, where it runs, what it did last and how long ago,
/// who waits; if all have arrived, or those that have not are not `told` of: who has stopped.
error missing_error(const wait_report& told, bool is_all = true);
/// errc::disconnected: a rank that returned before this call. `calls`: how many it made, or `unnumbered`.
inline constexpr std::uint64_t unnumbered = ~std::uint64_t{0};
error left_error(std::uint32_t rank, std::uint64_t calls, const std::string& last_call, const std::string& call);

}  // namespace hydrogen::comm
