#pragma once
// The graph of one job as plain data: stages in topological order, cut at shuffles and barriers. Made by the dataset
// API, read by the job machine. No types of rows appear here.

#include <hydrogen/base/resources.hpp>
#include <hydrogen/exec/task.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace hydrogen::plan {

enum class stage_kind : std::uint8_t { parallel, barrier };

enum class input_kind : std::uint8_t {
  /// Partition i of P reads the producer's partitions [i*p/P, (i+1)*p/P), in order; one to one when P = p. Of a barrier
  /// stage P is the world size of the attempt.
  range,
  /// Partition i reads bucket i of every partition of the producer, in order.
  bucket,
  /// Every partition reads everything, in order.
  all
};

struct stage_input {
  std::uint32_t producer = 0;  // index of a stage before this one
  input_kind kind = input_kind::range;
};

struct barrier_options {
  std::uint32_t ranks = 1;
  /// Fewer than `ranks`: the gang starts with as many ranks as there are free slots, at least so many, at most `ranks`;
  /// each attempt anew, so a retry may have another world size. The bits of the result depend on the world size, as far
  /// as user code does. 0: exactly `ranks`.
  std::uint32_t least_ranks = 0;
  std::uint32_t retries = 3;  // attempts that user code or a lost process may burn after the first
  duration call_timeout = std::chrono::seconds(60);  // of each collective call
  demand needs = {};  // memory and devices of each rank, labels of its nodes, and how ranks lie on nodes
};

struct stage {
  std::string label;  // for people: "train", "read_csv > map > split"
  stage_kind kind = stage_kind::parallel;
  std::uint32_t partitions = 1;  // tasks; in a barrier stage the most ranks: those an attempt has not leave no rows
  std::vector<stage_input> inputs;
  std::vector<exec::operator_call> chain;
  std::vector<exec::argument> partition_arguments;  // per partition, or empty
  std::uint32_t buckets = 1;                        // above 1: its output is cut for a shuffle
  barrier_options barrier;
  demand needs = {};  // of each slot
  std::uint32_t least_ranks() const { return barrier.least_ranks == 0 ? partitions : barrier.least_ranks; }
  /// Identity of what it computes across jobs of a run; 0: none. The outputs of a barrier stage and of a stage that the
  /// user caches are kept under it while a handle lives, so that a later job does not compute them again.
  std::uint64_t keep_as = 0;
};

struct job_graph {
  std::string label;          // the action and where it was called: "mean at digits.cpp:41"
  std::vector<stage> stages;  // producers before consumers; the last one is the result
  std::uint32_t task_retries = 3;
};

/// The producer partitions that partition i of P reads by `input_kind::range` from a producer with p partitions.
struct partition_range {
  std::uint32_t first = 0;
  std::uint32_t last = 0;  // exclusive
};
constexpr partition_range range_of(std::uint32_t i, std::uint32_t P, std::uint32_t p) {
  return {static_cast<std::uint32_t>(std::uint64_t{i} * p / P),
          static_cast<std::uint32_t>((std::uint64_t{i} + 1) * p / P)};
}

}  // namespace hydrogen::plan
