#pragma once
// What is found when ranks are disturbed, put together for many teams.

#include <hydrogen/base/clock.hpp>

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace hydrogen::comm::testing {

/// Any thread.
class findings {
 public:
  void wrong(std::string what);
  /// Of one rank, over these links.
  void took(const std::string& links, duration, std::string where);
  void disturbed(const std::string& place);
  /// The bits that ranks have after a call; false when they have been others before.
  bool same_bits(std::size_t call, std::uint32_t victim, const std::vector<std::uint64_t>& hashes);
  bool is_known(std::size_t call, std::uint32_t victim);
  std::uint64_t right(std::size_t call, std::uint32_t victim, std::uint32_t rank);

  std::vector<std::string> all_wrong();
  /// How many were disturbed, and where; median and maximum of what was taken over each kind of links.
  std::string summary();

 private:
  std::mutex mutex_;
  std::vector<std::string> wrong_;
  std::map<std::string, std::vector<std::pair<duration, std::string>>> took_;
  std::map<std::string, int> places_;
  std::map<std::pair<std::size_t, std::uint32_t>, std::vector<std::uint64_t>> right_;
};

}  // namespace hydrogen::comm::testing
