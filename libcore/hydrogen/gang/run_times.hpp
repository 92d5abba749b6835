#pragma once
// How long gangs are likely to run: as the last two of the same kind (application and label) did. Two are enough:
// Tsafrir, Etsion, Feitelson, "Backfilling using system-generated predictions rather than user runtime estimates", IEEE
// TPDS 18(6), 2007. One thread.

#include <hydrogen/base/clock.hpp>

#include <algorithm>
#include <array>
#include <string>
#include <unordered_map>

namespace hydrogen::gang {

class run_times {
 public:
  static constexpr std::size_t most_kinds = 10'000;  // then all is learnt anew

  void add(const std::string& kind, duration ran) {
    if (last_.size() >= most_kinds && !last_.contains(kind)) last_.clear();
    const auto [at, fresh] = last_.try_emplace(kind, std::array{ran, ran});
    if (!fresh) at->second = {at->second[1], ran};
  }
  /// The shorter one, and the longer one; `duration::max()`: not known.
  duration shorter(const std::string& kind) const {
    const auto at = last_.find(kind);
    return at == last_.end() ? duration::max() : std::min(at->second[0], at->second[1]);
  }
  duration longer(const std::string& kind) const {
    const auto at = last_.find(kind);
    return at == last_.end() ? duration::max() : std::max(at->second[0], at->second[1]);
  }

 private:
  std::unordered_map<std::string, std::array<duration, 2>> last_;
};

}  // namespace hydrogen::gang
