#pragma once
// Between the coordinator and its agents; the rules are in messages.hpp.

#include <hydrogen/base/error.hpp>
#include <hydrogen/gang/request.hpp>

#include <optional>
#include <variant>

namespace hydrogen::gang {

// ---- coordinator -> agent ------------------------------------------------------------------------------------------
/// Follow this term from now on and send your list (`enlist`): only a list taken under the term counts.
struct follow {
  term_id term;
  boot_id agent;
  template <class I>
  friend auto inspect(I& f, follow& x) {
    return f(x.term, x.agent);
  }
};
/// Answer to `enlist` under this term: the agent is a member. Entries named in `disown` are not kept.
struct enlisted {
  term_id term;
  boot_id agent;
  std::uint64_t list = 0;  // number of the list that this answers
  std::vector<attempt_ref> disown;
  template <class I>
  friend auto inspect(I& f, enlisted& x) {
    return f(x.term, x.agent, x.list, x.disown);
  }
};
/// Its boot was declared dead: end every executor, take a new boot, enlist again.
struct expelled {
  term_id term;
  boot_id agent;
  template <class I>
  friend auto inspect(I& f, expelled& x) {
    return f(x.term, x.agent);
  }
};
struct reserve {
  term_id term;
  boot_id agent;
  attempt_ref ref;
  request_kind kind = request_kind::gang;
  application_ref app;
  std::uint32_t slots = 0;
  resources each = {};  // that every slot needs
  template <class I>
  friend auto inspect(I& f, reserve& x) {
    return f(x.term, x.agent, x.ref, x.kind, x.app, x.slots, x.each);
  }
};
/// The verbs about one entry that need nothing else. `permit`: the Go is durable; ranks that meet in one place may
/// enter when the last one comes.
enum class entry_verb : std::uint8_t { commit, go, permit, enter, close, abort, revoke, acknowledge_gone };
struct entry_order {
  term_id term;
  boot_id agent;
  attempt_ref ref;
  entry_verb verb = entry_verb::commit;
  template <class I>
  friend auto inspect(I& f, entry_order& x) {
    return f(x.term, x.agent, x.ref, x.verb);
  }
};
/// Answer to `executor_lost`.
struct lost_noted {
  term_id term;
  boot_id agent;
  boot_id executor;
  template <class I>
  friend auto inspect(I& f, lost_noted& x) {
    return f(x.term, x.agent, x.executor);
  }
};
/// The run is over (or its driver is gone): end its executors and whatever entries are left of it. Answered by
/// `executors_ended`.
struct end_executors {
  term_id term;
  boot_id agent;
  run_id run;
  template <class I>
  friend auto inspect(I& f, end_executors& x) {
    return f(x.term, x.agent, x.run);
  }
};

// ---- agent -> coordinator ------------------------------------------------------------------------------------------

enum class entry_state : std::uint8_t { absent, reserved, starting, committed, joining, running, draining };

struct entry_report {
  attempt_ref ref;
  request_kind kind = request_kind::gang;
  entry_state state = entry_state::absent;
  std::uint32_t slots = 0;
  bool joined = false;  // every rank on this node has joined
  boot_id executor;
  std::string endpoint;
  resources each = {};
  std::string meets = {};  // joined: in what the ranks meet
  template <class I>
  friend auto inspect(I& f, entry_report& x) {
    return f(x.ref, x.kind, x.state, x.slots, x.joined, x.executor, x.endpoint, x.each, x.meets);
  }
};
struct executor_report {
  run_id run;
  boot_id executor;
  template <class I>
  friend auto inspect(I& f, executor_report& x) {
    return f(x.run, x.executor);
  }
};
/// First word of an agent after each connection: who it is and everything it holds. Repeated until answered by
/// `follow`, `enlisted` or `expelled`.
struct enlist {
  boot_id agent;
  std::string node;
  std::uint32_t slots = 0;
  std::uint64_t list = 0;  // number of this list, upwards
  term_id seen;            // the highest term that it follows
  std::vector<entry_report> entries;
  std::vector<executor_report> executors;  // alive, or starting (boot 0)
  std::vector<attempt_ref> finished = {};  // all ranks here have returned, and it is not acknowledged
  resources has = {};
  std::vector<std::string> labels = {};
  template <class I>
  friend auto inspect(I& f, enlist& x) {
    return f(x.agent, x.node, x.slots, x.list, x.seen, x.entries, x.executors, x.finished, x.has, x.labels);
  }
};
enum class refusal_kind : std::uint8_t {
  none,
  busy,         // no free slot: queue again
  executor,     // its start failed or it died: queue again, counted against the node, at most 3 times
  application,  // the library cannot be used: the request fails at once
  dead          // at or below a tombstone
};
/// What an agent says about one entry; also the answer to a repeated order.
/// `refused`, `finished` (all ranks here have returned), `gone` and `absent` are final: the entry can never live
/// (again) under this agent boot. `finished`, and `gone` that the agent decided by itself, are repeated until
/// `acknowledge_gone`.
enum class entry_news : std::uint8_t { reserved, refused, committed, joined, entered, finished, gone, absent };
struct entry_report_news {
  term_id term;  // the term the agent follows
  boot_id agent;
  attempt_ref ref;
  entry_news news = entry_news::reserved;
  refusal_kind refusal = refusal_kind::none;
  end_cause cause = end_cause::none;
  boot_id executor;
  std::string endpoint;
  std::optional<error> detail;  // of an end, where there is more to say than `cause`
  bool everyone = false;        // joined: also the ranks of all other members
  std::string meets = {};       // joined: in what the ranks meet
  template <class I>
  friend auto inspect(I& f, entry_report_news& x) {
    return f(x.term, x.agent, x.ref, x.news, x.refusal, x.cause, x.executor, x.endpoint, x.detail, x.everyone, x.meets);
  }
};
/// An executor died; repeated until `lost_noted`. Its entries are reported by `gone`, each by itself.
struct executor_lost {
  term_id term;
  boot_id agent;
  run_id run;
  boot_id executor;
  std::string cause;
  template <class I>
  friend auto inspect(I& f, executor_lost& x) {
    return f(x.term, x.agent, x.run, x.executor, x.cause);
  }
};

/// Answer to `end_executors`: no executor and no entry of that run is left here.
struct executors_ended {
  term_id term;
  boot_id agent;
  run_id run;
  template <class I>
  friend auto inspect(I& f, executors_ended& x) {
    return f(x.term, x.agent, x.run);
  }
};

using from_agent = std::variant<enlist, entry_report_news, executor_lost, executors_ended>;
using to_agent = std::variant<follow, enlisted, expelled, reserve, entry_order, lost_noted, end_executors>;

}  // namespace hydrogen::gang
