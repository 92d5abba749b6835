#pragma once
// Three ranks in processes of their own, or two in one, one of which is disturbed in call after call; what the others
// say is looked at, and whether they can go on. For one thread; what is found is put together for many.
//
// Ranks that share a process with the victim are hit with it: killed, cut off, or stopped where it is caught at its
// data. Elsewhere it alone is stopped: the thread of a rank may hang while the others of its process go on.

#include "disturbed_findings.hpp"
#include "disturbed_process.hpp"
#include "disturbed_rank.hpp"

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace hydrogen::comm::testing {

class disturbed_team {
 public:
  static constexpr std::uint32_t ranks = team_ranks;
  /// How a rank's part in a gang ended; `call` and `last` are codes of errors.
  struct ended {
    int call = -1;
    std::uint64_t hash = 0;
    int last = -1;
    time_point entered, returned;
    std::string text;
  };
  struct held {
    std::size_t descriptors = 0, threads = 0, kibibytes = 0, strays = 0;
  };

  disturbed_team(const secret& key, const team_shape& shape, disturbance what, findings& found);
  /// Disturbs rank `victim` in a call, and lets the ranks make it again.
  void disturb(std::size_t call, phase when, std::uint32_t victim);
  /// The victim is stopped before it joins; the others are told to give up, and meet again.
  void disturb_joining(std::uint32_t victim);
  /// Makes the call, and compares.
  void make_again(std::size_t call, std::uint32_t victim);

  held count(std::uint32_t rank);

 private:
  std::unique_ptr<team_process> fresh(int process);
  team_process& process_of(std::uint32_t rank) { return *processes_[static_cast<std::size_t>(shape_.process[rank])]; }
  /// Another process for a rank and those that are in one with it.
  void seat(std::uint32_t rank, team_process& in);
  void seat_back(std::uint32_t rank) { seat(rank, process_of(rank)); }
  void wrong(const std::string& what);
  void say(std::uint32_t rank, const std::string& what) { seats_[rank]->say(rank, what); }
  void start(std::size_t call, std::uint32_t victim, disturbance, phase, duration limit);
  /// When all are ready.
  void begin();
  /// The next line of a rank that starts like this; if none does, it has ended, or died.
  std::optional<std::string> hear(std::uint32_t rank, const std::string& start);
  ended end_of(std::uint32_t rank);
  void strike(std::size_t call, phase when, std::uint32_t victim);
  void let_go_on(std::uint32_t victim);
  void go_on(team_process& stopped);
  void await_asleep(std::uint32_t rank);
  void await_quiet(std::uint32_t rank);
  bool stops_alone(phase when, std::uint32_t victim) const;
  /// The victim and who is hit with it.
  bool is_hit(std::uint32_t rank, phase when, std::uint32_t victim) const;
  void check(const ended&, std::size_t call, phase when, std::uint32_t victim, std::uint32_t rank);
  /// All of them go on in the middle of the next attempt, which another process makes in their place.
  void go_on_in_the_next(std::size_t call, std::uint32_t victim);
  void await_same(std::uint32_t rank, const held& before);

  const secret key_;
  const team_shape& shape_;
  const disturbance what_;
  findings& found_;
  std::string place_;  // for what is wrong
  std::uint64_t attempt_ = 0;
  std::array<team_process*, ranks> seats_{};
  std::vector<std::unique_ptr<team_process>> processes_;
  std::map<int, std::unique_ptr<team_process>> spares_;  // of each host
  std::array<int, ranks> threads_{};
  std::array<std::optional<ended>, ranks> ends_;  // of the gang that is disturbed
  duration limit_{};                              // of its calls
  // Of the victim.
  time_point struck_;
  int thread_ = 0;
  bool alone_ = false;
};

}  // namespace hydrogen::comm::testing
