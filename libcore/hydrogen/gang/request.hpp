#pragma once
// What jobs ask for and what they are given: applications, requests for slots, members of a gang, attempts.

#include <hydrogen/base/bytes.hpp>
#include <hydrogen/base/hash.hpp>
#include <hydrogen/base/ids.hpp>
#include <hydrogen/base/resources.hpp>

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

namespace hydrogen::gang {

/// The application of a run: what an executor needs to load its library.
struct application_ref {
  run_id run;
  std::string name;        // for people: "digits"
  std::string library;     // path of the library as the driver loaded it; a hint, the hash decides. Empty: in process
  hash128 hash;            // content of the library
  std::uint64_t size = 0;  // bytes
  boot_id driver;          // who serves it,
  std::string endpoint;    // and where; empty when driver and executor are one process
  bool operator==(const application_ref&) const = default;
  template <class I>
  friend auto inspect(I& f, application_ref& x) {
    return f(x.run, x.name, x.library, x.hash, x.size, x.driver, x.endpoint);
  }
};

enum class request_kind : std::uint8_t { parallel, gang };

/// At least `least`, at most `most` slots. Parallel stage: (1, n). Gang: (n, n); elastic: (m, n), and the attempt is as
/// wide as it was placed.
struct slot_request {
  request_id id;
  request_kind kind = request_kind::parallel;
  std::uint32_t least = 1;
  std::uint32_t most = 1;
  application_ref app;
  std::string label;                     // for people: "digits: stage 2, train"
  std::vector<std::string> avoid_nodes;  // failed there before: used only when nothing else fits
  demand needs = {};
  std::int32_t priority = 0;  // higher goes first
  bool operator==(const slot_request&) const = default;
  template <class I>
  friend auto inspect(I& f, slot_request& x) {
    return f(x.id, x.kind, x.least, x.most, x.app, x.label, x.avoid_nodes, x.needs, x.priority);
  }
};

/// The part of an attempt that lives on one node. Ranks of a gang are consecutive on a node; a lease has none.
struct member {
  std::string node;
  boot_id agent;
  boot_id executor;      // 0 until committed
  std::string endpoint;  // the executor's listener; empty in process
  std::uint32_t slots = 0;
  std::vector<std::uint32_t> ranks;
  bool operator==(const member&) const = default;
  template <class I>
  friend auto inspect(I& f, member& x) {
    return f(x.node, x.agent, x.executor, x.endpoint, x.slots, x.ranks);
  }
};

/// Why an attempt or a lease ended before its job released it.
enum class end_cause : std::uint8_t {
  none,
  lost,     // an executor, an agent or a whole node died
  failed,   // a rank failed, or the job said `fail`
  restart,  // the coordinator came back and did not keep it; burns no retry
  cancelled,
  expired,  // join deadline, or contact lost for too long
  gave_way  // parked or recalled; burns no retry
};

struct attempt_ref {
  request_id request;
  attempt_id attempt;
  auto operator<=>(const attempt_ref&) const = default;
  template <class I>
  friend auto inspect(I& f, attempt_ref& x) {
    return f(x.request, x.attempt);
  }
};

}  // namespace hydrogen::gang

template <>
struct std::hash<hydrogen::gang::attempt_ref> {
  std::size_t operator()(const hydrogen::gang::attempt_ref& x) const {
    return hydrogen::hash_mix(std::hash<hydrogen::request_id>{}(x.request),
                              std::hash<hydrogen::attempt_id>{}(x.attempt));
  }
};
