#pragma once
// Who belongs to a gang attempt, and the fencing token that every handshake and frame of it carries. Plain values.

#include <hydrogen/base/ids.hpp>

#include <cstdint>
#include <string>

namespace hydrogen::comm {

/// One attempt of one gang: what is of another token is refused. `part`: some of its ranks (call_plan::group); 0: all,
/// the only ones that dial each other.
struct gang_token {
  request_id gang;
  attempt_id attempt;
  std::uint64_t part = 0;
  auto operator<=>(const gang_token&) const = default;
  template <class I>
  friend auto inspect(I& f, gang_token& x) {
    return f(x.gang, x.attempt);
  }
};

std::string to_string(const gang_token&);

/// The token as frames carry it: the gang by its hash.
struct gang_fence {
  std::uint64_t gang = 0;
  attempt_id attempt;
  bool operator==(const gang_fence&) const = default;
};

inline gang_fence fence_of(const gang_token& t) {
  const auto gang = std::hash<request_id>{}(t.gang);
  return {t.part == 0 ? gang : hash_mix(gang, t.part), t.attempt};
}

/// One line of the member table. Members with the same executor, or with the same endpoint (also if both are empty),
/// live in one process.
struct gang_member {
  std::uint32_t rank = 0;
  boot_id executor;
  std::string endpoint;  // where its process accepts links; empty: reached from its own process only
  std::string node;      // for messages
  template <class I>
  friend auto inspect(I& f, gang_member& x) {
    return f(x.rank, x.executor, x.endpoint, x.node);
  }
};

inline bool same_process(const gang_member& a, const gang_member& b) {
  return a.endpoint == b.endpoint || (a.executor && a.executor == b.executor);
}

/// The token of the hello with which one rank dials another.
struct link_token {
  gang_token token;
  std::uint32_t from = 0;
  std::uint32_t to = 0;
  template <class I>
  friend auto inspect(I& f, link_token& x) {
    return f(x.token, x.from, x.to);
  }
};

}  // namespace hydrogen::comm
