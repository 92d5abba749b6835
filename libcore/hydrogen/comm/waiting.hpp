#pragma once
// What ranks tell each other over links when they wait for long, so that a ring is found in which each waits for the
// next in another call. Edge chasing after Chandy, Misra and Haas ("Distributed deadlock detection", ACM TOCS 1983),
// but against the direction of the waits: a rank tells those that may wait for it, and they tell those that may wait
// for them. So nobody has to read behind the frames of a call that it has not come to. Values; any thread.

#include <hydrogen/base/bytes.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace hydrogen::comm {

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

}  // namespace hydrogen::comm
