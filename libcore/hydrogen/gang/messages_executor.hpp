#pragma once
// Between an agent and the executors of its node; the rules are in messages.hpp.

#include <hydrogen/base/error.hpp>
#include <hydrogen/gang/request.hpp>

#include <variant>

namespace hydrogen::gang {

/// Tasks of this lease may run. (Of a gang the executor hears from its job.)
struct accept_lease {
  attempt_ref ref;
  std::uint32_t slots = 0;
  template <class I>
  friend auto inspect(I& f, accept_lease& x) {
    return f(x.ref, x.slots);
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

using to_executor = std::variant<accept_lease, permit_ranks, enter_ranks, stop_attempt>;
using from_executor = std::variant<ranks_joined, ranks_returned, attempt_stopped>;

}  // namespace hydrogen::gang
