#pragma once
// What the records of a journal come to: all that a coordinator knows after a restart, and all that a journal has to
// keep. A plain value; one thread at a time.

#include <hydrogen/gang/record.hpp>

#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

namespace hydrogen::gang {

/// The last ends of one run's requests: a late repeat must not bring one back, and who was denied must hear the same
/// again. Messages of a connection keep their order, so repeats are late by a few requests and not by `most`.
class ended_requests {
 public:
  static constexpr std::size_t most = 1000;
  /// `why`: it was denied; errc::none: it was not. A second end of a request changes nothing.
  void add(const request_id&, error why);
  /// Null: not here.
  const error* find(const request_id&) const;
  /// The oldest first.
  const std::deque<request_id>& in_order() const { return order_; }

 private:
  std::unordered_map<request_id, error> why_;
  std::deque<request_id> order_;
};

class digest {
 public:
  digest() = default;
  explicit digest(const std::vector<record>& history);

  struct request {
    slot_request what;
    std::uint64_t place = 0;
    attempt_id last_attempt;        // that had a Go; {0,0}: none had
    std::optional<go_record> open;  // the Go of `last_attempt`, not closed
    bool cancelled = false;         // and over once it is closed: its nodes have not all confirmed that
  };

  /// The next record of the history. What an old coordinator wrote after a newer term began changes nothing, nor does
  /// what speaks of a request that is over or unknown.
  void add(const record&);

  /// The highest term seen.
  term_id term() const { return term_; }
  /// Requests that are not over, by place.
  std::vector<const request*> in_order() const;
  /// Names of nodes that are drained.
  const std::set<std::string>& drained() const { return drained_; }
  /// Runs that are not over and have, or had, a request.
  const std::unordered_map<run_id, ended_requests>& runs() const { return runs_; }

  /// The shortest history that comes to the same; empty if there is none.
  std::vector<record> records() const;

 private:
  void end(const request_id&, const error& why);

  term_id term_;
  term_id began_;  // of the last term record
  std::unordered_map<request_id, request> requests_;
  std::unordered_map<run_id, ended_requests> runs_;
  std::set<std::string> drained_;
};

}  // namespace hydrogen::gang
