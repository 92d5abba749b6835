#pragma once
// A cluster to measure: started for a benchmark, with the library of bench jobs as its application. One thread.

#include <hydrogen/actors/local_cluster.hpp>

#include "jobs/jobs.hpp"

#include <memory>
#include <optional>

namespace hydrogen::bench {

/// The library of bench jobs, as a run of its own.
gang::application_ref bench_application();

class engine {
 public:
  /// Throws `failure` when the cluster does not start.
  explicit engine(actors::cluster_options options, job::options of_jobs = {});
  ~engine();

  actors::local_cluster& cluster() { return *cluster_; }
  /// Of the run that is open; begins one if there is none.
  context& ctx();
  /// Ends the run: its executors end, the next `ctx` begins with cold ones.
  void end_run();

 private:
  std::unique_ptr<actors::local_cluster> cluster_;
  const job::options of_jobs_;
  std::shared_ptr<actors::driver> driver_;
  std::optional<context> context_;
};

/// In this process, one node.
engine embedded(std::uint32_t slots, job::options of_jobs = {});
/// Node processes of this machine.
engine on_processes(std::uint32_t nodes, std::uint32_t slots);

/// A folder for files of a benchmark, removed with everything in it at the end.
class scratch_folder {
 public:
  scratch_folder();
  ~scratch_folder();
  scratch_folder(const scratch_folder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace hydrogen::bench
