#pragma once
// Systems measured in turns: each round asks all of them, one after the other, so that what disturbs the machine meets
// all alike, and a ratio is the median of those within rounds. Main thread only.

#include "bench.hpp"
#include "collective_system.hpp"

#include <map>

namespace hydrogen::bench {

enum class contender { addition, threads, shared, processes, staged, tcp, exchange, gloo, open_mpi };

bool is_peer(contender);
/// "processes", "Open MPI"
const char* title_of(contender);

struct race_figures {
  std::vector<double> samples;  // of all rounds
  std::vector<double> rounds;   // the median of each
};
using race_result = std::map<contender, race_figures>;

class collective_race {
 public:
  /// Starts Hydrogen's gangs and limits of so many ranks, and `peers`; what does not start is taken out of these, with
  /// a remark.
  collective_race(session&, int ranks, std::vector<std::string>& peers);

  int ranks() const { return ranks_; }
  /// "Open MPI 4.1.4"; empty: not there.
  std::string name(contender) const;
  /// Measures `who`, as far as they are there, in this order. A system that fails is left out from then on, with a
  /// remark. `c.iterations` 0: as many as fit a round.
  race_result run(const timed_call& c, const std::vector<contender>& who);

 private:
  /// False: it does not start.
  bool take(contender, started_system);
  int rounds_of(const timed_call&) const;
  /// With as many calls as fit a round.
  timed_call fitted(timed_call, contender);
  /// False: it failed.
  bool ask(contender, const timed_call&, std::vector<double>& times);

  session& session_;
  int ranks_;
  std::map<contender, std::shared_ptr<collective_system>> systems_;
};

}  // namespace hydrogen::bench
