#pragma once
// What ranks tell each other over links when they wait for long.
//
// Notes: so that a ring is found in which each waits for the next in another call. Edge chasing after Chandy, Misra and
// Haas ("Distributed deadlock detection", ACM TOCS 1983), but against the direction of the waits: a rank tells those
// that may wait for it, and they tell those that may wait for them. So nobody has to read behind the frames of a call
// that it has not come to.
//
// Reports: so that a rank which gives up names those that keep everybody waiting, and not those that wait like itself.
// Shortly before its deadline it asks all others (`roll_call_at`), and whoever waits answers with what it waits for. An
// ask does not come through behind the frames of a call that its receiver has not come to; so who waits for long and
// sees such frames tells their sender without being asked, and takes it back when it goes on. In a call of some ranks
// nobody looks at the links of the others, so all of those are told. Values; any thread.

#include <hydrogen/base/bytes.hpp>
#include <hydrogen/comm/call.hpp>

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace hydrogen::comm {

/// Most calls do not take so long.
inline constexpr duration long_wait = 100ms;

/// A rank of the gang, and the text of the call that it is in.
struct waiting_rank {
  std::uint32_t rank = 0;
  std::string call;
  template <class I>
  friend auto inspect(I& f, waiting_rank& x) {
    return f(x.rank, x.call);
  }
};

/// A rank that has not come to a call, with the number of this call on the link that it would come by.
struct awaited_rank {
  std::uint32_t rank = 0;
  std::uint64_t call = 0;
  template <class I>
  friend auto inspect(I& f, awaited_rank& x) {
    return f(x.rank, x.call);
  }
};

/// The payload of a frame `waiting`.
struct waiting_note {
  std::uint64_t serial = 0;  // of the call of the last rank of the chain, which began it: the same note comes once
  std::vector<waiting_rank> chain;    // each waits for the next; the first one sends
  std::vector<awaited_rank> awaited;  // by the last one
  template <class I>
  friend auto inspect(I& f, waiting_note& x) {
    return f(x.serial, x.chain, x.awaited);
  }
};

/// Bytes of a note. One that would be larger is not sent on: that ring ends at the deadline.
inline constexpr std::size_t max_waiting_note = 4096;
/// So many awaited ranks are named, the first ones.
inline constexpr std::size_t max_awaited = 128;

/// When a rank asks who waits: so long before its deadline that ranks which look at their links every 100 ms answer.
inline time_point roll_call_at(call_deadline& until) {
  return until.at() - std::min<duration>(1s, until.timeout() / 2);
}

/// Ranks that are known to wait.
using known_waits = std::map<std::uint32_t, wait_report>;
/// errc::timed_out: who is missing by `mine`, or by the reports of those that are missing there and wait, and so on;
/// who waits is not named. When all of them wait: who is missing by `mine`, which is of rank `self`.
error overdue_error(std::uint32_t self, wait_report mine, const known_waits& others);

/// Bytes of a report. Of one that would be larger not all ranks, and not what they did last, are told.
inline constexpr std::size_t max_wait_report = 4096;
byte_buffer encode_within(wait_report, std::size_t most);

}  // namespace hydrogen::comm
