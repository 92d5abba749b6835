#pragma once
// Between an agent and the executors of its node; the rules are in messages.hpp.

#include <hydrogen/base/error.hpp>
#include <hydrogen/gang/request.hpp>

#include <variant>

namespace hydrogen::gang {

/// Devices of one kind that an attempt holds on its node, by their numbers there. The slots of the attempt have seats
/// from 0 on, ranks in their order: seat s uses `each` devices, from number s / shared_by * each in the list on.
struct held_devices {
  std::string kind;
  std::uint32_t each = 0;
  std::uint32_t shared_by = 1;
  std::vector<std::uint32_t> numbers;
  template <class I>
  friend auto inspect(I& f, held_devices& x) {
    return f(x.kind, x.each, x.shared_by, x.numbers);
  }
  bool operator==(const held_devices&) const = default;
};

/// Tasks of this lease may run. (Of a gang the executor hears from its job.)
struct accept_lease {
  attempt_ref ref;
  std::uint32_t slots = 0;
  std::vector<held_devices> devices = {};
  template <class I>
  friend auto inspect(I& f, accept_lease& x) {
    return f(x.ref, x.slots, x.devices);
  }
};
/// The devices of a gang attempt, before its agent says that it is committed; of an attempt that had them before, no
/// more is heard.
struct lend_devices {
  attempt_ref ref;
  std::vector<held_devices> devices;
  template <class I>
  friend auto inspect(I& f, lend_devices& x) {
    return f(x.ref, x.devices);
  }
};
/// The Go of the attempt is durable: ranks that all meet in one place may enter as soon as the last one has come there.
struct permit_ranks {
  attempt_ref ref;
  template <class I>
  friend auto inspect(I& f, permit_ranks& x) {
    return f(x.ref);
  }
};
/// All ranks have joined.
struct enter_ranks {
  attempt_ref ref;
  template <class I>
  friend auto inspect(I& f, enter_ranks& x) {
    return f(x.ref);
  }
};
/// Abort what runs of this attempt and forget it; answered by `attempt_stopped` when its threads and memory are free.
struct stop_attempt {
  attempt_ref ref;
  error why;
  template <class I>
  friend auto inspect(I& f, stop_attempt& x) {
    return f(x.ref, x.why);
  }
};
struct ranks_joined {
  attempt_ref ref;
  bool everyone = false;   // not only those here: all ranks of the attempt, as they have met in one place
  std::string meets = {};  // in what the ranks meet, for people: "host memory"
  template <class I>
  friend auto inspect(I& f, ranks_joined& x) {
    return f(x.ref, x.everyone, x.meets);
  }
};
/// Every rank of this attempt on this executor has returned (their results went to the job), and nothing of it is left
/// there.
struct ranks_returned {
  attempt_ref ref;
  template <class I>
  friend auto inspect(I& f, ranks_returned& x) {
    return f(x.ref);
  }
};
struct attempt_stopped {
  attempt_ref ref;
  template <class I>
  friend auto inspect(I& f, attempt_stopped& x) {
    return f(x.ref);
  }
};

using to_executor = std::variant<accept_lease, permit_ranks, enter_ranks, stop_attempt, lend_devices>;
using from_executor = std::variant<ranks_joined, ranks_returned, attempt_stopped>;

}  // namespace hydrogen::gang
