#pragma once
// Three ranks in processes of their own, one of which is disturbed in call after call; what the others say is looked
// at, and whether they can go on. For one thread; what is found is put together for many.

#include "disturbed_rank.hpp"
#include "rank_process.hpp"

#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace hydrogen::comm::testing {

/// Any thread.
class findings {
 public:
  void wrong(std::string what);
  void took(duration, std::string where);
  void disturbed(const std::string& place);
  /// The bits that ranks have after a call; false when they have been others before.
  bool same_bits(std::size_t call, std::uint32_t victim, const std::vector<std::uint64_t>& hashes);
  bool is_known(std::size_t call, std::uint32_t victim);
  std::uint64_t right(std::size_t call, std::uint32_t victim, std::uint32_t rank);

  std::vector<std::string> all_wrong();
  /// How many were disturbed, and where; median and maximum of what was taken.
  std::string summary();

 private:
  std::mutex mutex_;
  std::vector<std::string> wrong_;
  std::vector<std::pair<duration, std::string>> took_;
  std::map<std::string, int> places_;
  std::map<std::pair<std::size_t, std::uint32_t>, std::vector<std::uint64_t>> right_;
};

class disturbed_team {
 public:
  static constexpr std::uint32_t ranks = 3;
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

  disturbed_team(const secret& key, std::string between, disturbance what, findings& found);
  /// Disturbs rank `victim` in a call, and lets the ranks make it again.
  void disturb(std::size_t call, phase when, std::uint32_t victim);
  /// The victim is stopped before it joins; the others are told to give up, and meet again.
  void disturb_joining(std::uint32_t victim);
  /// Makes the call, and compares.
  void make_again(std::size_t call, std::uint32_t victim);

  held count(std::uint32_t rank);

 private:
  std::unique_ptr<rank_process> fresh();
  void wrong(const std::string& what);
  void start(std::size_t call, std::uint32_t victim, disturbance, phase, duration limit);
  /// When all are ready.
  void begin();
  /// The next line of a rank that starts like this; if none does, it has ended, or died.
  std::optional<std::string> hear(rank_process&, const std::string& start);
  ended end_of(rank_process&);
  void strike(std::size_t call, phase when, std::uint32_t victim);
  void let_go_on(std::uint32_t victim);
  void go_on(rank_process& stopped);
  void await_asleep(std::uint32_t rank);
  void await_quiet(std::uint32_t rank);
  void check(const ended&, std::size_t call, std::uint32_t victim, std::uint32_t rank);
  void await_same(std::uint32_t rank, const held& before);

  const secret key_;
  const std::string between_;
  const disturbance what_;
  findings& found_;
  std::string place_;  // for what is wrong
  std::uint64_t attempt_ = 0;
  std::vector<rank_process*> seats_;
  std::vector<std::unique_ptr<rank_process>> processes_;
  std::unique_ptr<rank_process> spare_;
  std::array<int, ranks> threads_{};
  std::array<std::optional<ended>, ranks> ends_;  // of the gang that is disturbed
  time_point struck_;
};

}  // namespace hydrogen::comm::testing
