#pragma once
// Where the three ranks of a team are, and the processes that they are in. For one thread.

#include "rank_process.hpp"

#include <array>
#include <cstdint>
#include <deque>
#include <string>

namespace hydrogen::comm::testing {

inline constexpr std::uint32_t team_ranks = 3;

struct team_shape {
  std::string name;
  std::string between;                           // processes of a host, as `rank_process` takes it
  std::array<int, team_ranks> process{0, 1, 2};  // of each rank
  std::array<int, team_ranks> host{};            // of each process
  bool each_rank = false;                        // they differ in what they have to do with the others

  bool share_process(std::uint32_t a, std::uint32_t b) const { return process[a] == process[b]; }
  int host_of(std::uint32_t rank) const { return host[static_cast<std::size_t>(process[rank])]; }
  int processes() const { return process.back() + 1; }
  bool has_memory() const { return between != "tcp"; }
};

/// In memory, in stages, over links in memory, over TCP; over a link in one process and TCP; in an island and over TCP.
const std::vector<team_shape>& team_shapes();
const team_shape& team_shape_named(const std::string& name);

/// As in /proc: R, S, T, ...; 0 when there is no such thread.
char state_of(int process, int thread);

/// A process of a rank, or of some; what they say is told apart.
class team_process {
 public:
  team_process(const secret& key, const std::string& between, int host);

  const rank_process& self() const { return process_; }
  void say(std::uint32_t rank, const std::string& what);
  /// The next line of this rank; empty at the end of the process.
  std::string hear(std::uint32_t rank);
  /// The next line of this rank is this one again.
  void put_back(std::uint32_t rank, const std::string& line) { heard_[rank].push_front(line); }
  void signal(int number) { process_.signal(number); }

 private:
  rank_process process_;
  std::array<std::deque<std::string>, team_ranks> heard_;
};

}  // namespace hydrogen::comm::testing
