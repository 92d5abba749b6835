#pragma once
// What the parts of `rendezvous` share; nobody else includes it.

#include <hydrogen/base/hash.hpp>
#include <hydrogen/comm/inproc/link.hpp>
#include <hydrogen/comm/islands.hpp>
#include <hydrogen/comm/rendezvous.hpp>

#include <atomic>
#include <map>
#include <set>

namespace hydrogen::comm {

inline std::string name_of(const gang_member& m) {
  return rank_on_node(m.rank, m.node);
}

inline error other_size(std::size_t one, std::size_t other) {
  return {errc::mismatch,
          "the ranks were told different sizes of the gang: " + std::to_string(one) + " and " + std::to_string(other),
          {},
          {}};
}

/// An error that knows no place yet, unless it is the reason of an abort.
inline error at_gang(const gang_token& token, error why, const abort_word& abort) {
  if (why.where.empty() && !abort.is_set()) why.where = "gang " + to_string(token);
  return why;
}

/// What the ranks of one attempt share in this process. Under the rendezvous' mutex, but `signal`.
struct rendezvous::meeting {
  struct parked {
    unique_fd socket;
    boot_id from;
    time_point since;
  };
  std::map<pair, parked> sockets;
  std::set<std::uint32_t> joined;
  std::set<std::uint32_t> gave_up;  // their joins failed: whoever dials them is to know at once
  std::size_t done = 0;             // ranks of this process that need nothing more from the meeting
  std::size_t local = 0;
  // Kept until the last rank of this process has come to it, also when the others have given up and left.
  std::shared_ptr<comm::area> in_process, led;
  std::map<std::uint32_t, std::shared_ptr<comm::area>> islands;  // by their first ranks, of a gang that spans hosts
  std::map<pair, std::shared_ptr<inproc::channel>> channels;
  bool closed = false;
  std::atomic<std::uint32_t> signal{0};  // futex: a socket has come, an abort, the end

  void wake() {
    signal.fetch_add(1);
    futex_wake_all(signal);
  }
  std::shared_ptr<inproc::channel> channel(std::uint32_t from, std::uint32_t to) {
    auto& c = channels[{from, to}];
    if (!c) c = std::make_shared<inproc::channel>();
    return c;
  }
};

}  // namespace hydrogen::comm
