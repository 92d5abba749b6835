#pragma once
// What the dataset API needs of an engine: run a graph, hand its result to the driver, keep bytes by content. The
// actors implement it; tests use one that runs tasks in the calling thread.

#include <hydrogen/base/error.hpp>
#include <hydrogen/plan/graph.hpp>

#include <cstdint>
#include <functional>

namespace hydrogen::plan {

class session {
 public:
  virtual ~session() = default;

  virtual run_id run() const = 0;
  /// Of the application's library; part of operator ids.
  virtual hash128 library() const = 0;

  /// Runs the job and hands the result stage's blocks to `sink`, partition by partition in order. A sink that returns
  /// false has enough: the rest of the job is cancelled. Blocks until the end; driver thread only. The error of a
  /// failed task is thrown as `failure` with its cause.
  using sink = std::function<bool(std::uint32_t partition, const std::vector<data::block_ptr>& blocks)>;
  virtual void execute(const job_graph&, const sink&) = 0;

  /// Keeps the bytes in the driver's block store under their hash, and says how a task finds them: inline when small.
  virtual exec::argument keep(byte_buffer bytes) = 0;

  /// No handle to the outputs kept under `keep_as` is left. Any thread.
  virtual void forget(std::uint64_t keep_as) = 0;

  /// Upper limit of what an action brings to the driver, in bytes (`--max-result`).
  virtual std::uint64_t max_result() const = 0;
};

}  // namespace hydrogen::plan
