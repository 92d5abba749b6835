#pragma once
// What the coordinator must not forget: the records of its journal. `go` is the only decision point: no `go` record
// means that the attempt never ran. Written as Cap'n Proto (schema/journal.capnp). Plain values.

#include <hydrogen/gang/messages.hpp>

namespace hydrogen::gang {

/// A coordinator began. Synced before it says anything.
struct term_record {
  bool operator==(const term_record&) const = default;
};
/// A request and its place in the queue. The driver's endpoint is request.app.endpoint.
struct submitted_record {
  slot_request request;
  std::uint64_t place = 0;
  bool operator==(const submitted_record&) const = default;
};
/// The full member table of a gang attempt. Synced before the first `enter`.
struct go_record {
  attempt_ref ref;
  std::vector<member> members;
  bool operator==(const go_record&) const = default;
};
enum class close_reason : std::uint8_t {
  again,     // leads back to the queue
  released,  // final, as the next two
  cancelled,
  failed
};
/// An attempt is over ({0,0}: the request never had one). Synced before the requeue, and before a release is answered;
/// `cancelled`, once nothing is left of the attempt, whenever it may be.
struct closed_record {
  attempt_ref ref;
  close_reason reason = close_reason::released;
  error why{errc::none, {}, {}, {}};  // failed: what the job is told
  bool operator==(const closed_record&) const = default;
};
/// Synced before `ended(cancelled)`; of a gang, also before the first abort or revoke. An attempt whose Go is open then
/// is kept until it is closed: a coordinator that restarts in between goes on with its end.
struct cancelled_record {
  request_id request;
  bool operator==(const cancelled_record&) const = default;
};

/// Nothing is left of a run, and nothing has to be remembered of it.
struct run_over_record {
  run_id run;
  bool operator==(const run_over_record&) const = default;
};

/// A node is drained, or (`on` false) is not any more. Synced before whoever asked for it is answered.
struct drain_record {
  std::string node;
  bool on = true;
  bool operator==(const drain_record&) const = default;
};

using record_body = std::variant<term_record, submitted_record, go_record, closed_record, cancelled_record,
                                 run_over_record, drain_record>;

/// A record and the term that wrote it.
struct record {
  term_id term;
  record_body body;
  bool operator==(const record&) const = default;
};

byte_buffer encode_record(const record&);
/// Errors: bad_input when the bytes are no record.
expected<record> decode_record(byte_view);

}  // namespace hydrogen::gang
