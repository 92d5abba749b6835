#pragma once
// The plan behind datasets: closed chains and where their input comes from. Immutable once made, shared by the datasets
// that stand on them. Driver thread; the last handle may go on any thread.

#include <hydrogen/plan/session.hpp>

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace hydrogen::plan {

/// What datasets share of their context: the session, until the context is gone.
class engine {
 public:
  explicit engine(session& s) : session_(&s) {}

  /// Throws `failure` when the context is gone.
  session& get() const;
  void detach();
  void forget(std::uint64_t keep_as) noexcept;
  /// Identity of kept outputs, unique in the run; never 0.
  std::uint64_t next_keep() { return ++keeps_; }

  /// Bytes for a task: inline when small, else kept by the session.
  exec::argument argument(byte_buffer bytes) const;

 private:
  mutable std::mutex mutex_;
  session* session_;
  std::atomic<std::uint64_t> keeps_{0};
};

/// Tells the session when the last handle to kept outputs goes.
struct kept_outputs {
  kept_outputs(std::shared_ptr<engine> e) : engine_of(std::move(e)), id(engine_of->next_keep()) {}
  kept_outputs(const kept_outputs&) = delete;
  ~kept_outputs() { engine_of->forget(id); }
  std::shared_ptr<engine> engine_of;
  std::uint64_t id;
};

struct node;
using node_ptr = std::shared_ptr<const node>;

/// How a chain gets its rows.
enum class feed : std::uint8_t {
  source,   // its head makes them from the partition's argument
  narrow,   // partition i reads partition i of the input, in the same stage if possible
  regroup,  // input_kind::range over another number of partitions
  shuffle   // input_kind::bucket
};

struct origin {
  std::shared_ptr<engine> engine_of;
  std::string label;  // "read_csv", "train"; the steps' names follow
  feed from = feed::source;
  node_ptr input;
  std::uint32_t partitions = 1;
  std::vector<exec::argument> partition_arguments;
  stage_kind kind = stage_kind::parallel;
  barrier_options barrier;
  demand needs = {};  // of the tasks; of ranks as `barrier` says
};
using origin_ptr = std::shared_ptr<const origin>;

/// A closed chain.
struct node {
  origin_ptr from;
  std::string label;
  exec::operator_call call;
  std::uint32_t buckets = 1;
  std::shared_ptr<kept_outputs> kept;  // null: computed again by each job
};

/// The stages of the job whose result is `last`, cut where rows must meet (shuffles, barriers) and at kept outputs.
job_graph cut(const node& last, std::string label);

/// How many partitions `rows` given or counted rows get: `wanted`, or 8, or one per row if there are fewer, or more
/// where partitions would exceed 64 Mi rows.
std::uint32_t default_partitions(std::uint64_t rows, std::uint32_t wanted);

}  // namespace hydrogen::plan
