#include <hydrogen/comm/waiting.hpp>

#include <algorithm>
#include <set>

namespace hydrogen::comm {

error overdue_error(std::uint32_t self, wait_report mine, const known_waits& others) {
  const auto unhelped = missing_error(mine);
  std::set<std::uint32_t> seen{self};
  std::vector<wait_report> chased{std::move(mine)};
  std::string text;
  for (std::size_t at = 0; at < chased.size(); ++at) {
    bool names_some = false;
    bool is_all = true;
    std::vector<std::uint32_t> waiting;
    std::erase_if(chased[at].ranks, [&](rank_report& r) {
      if (!r.is_missing()) return false;
      const bool is_new = seen.insert(r.rank).second;
      const bool waits = others.contains(r.rank);
      if (is_new && !waits) {
        names_some = true;
        return false;
      }
      // It waits, too, or has been named.
      if (is_new) waiting.push_back(r.rank);
      r.stopped = false;
      is_all &= r.arrived;
      return !r.arrived;
    });
    if (names_some) text += (text.empty() ? "" : "; ") + missing_error(chased[at], is_all).what;
    for (const auto r : waiting) chased.push_back(others.at(r));
  }
  // All of them wait: perhaps for each other, or for what is on its way.
  if (text.empty()) return unhelped;
  return {unhelped.code, std::move(text), {}, {}};
}

byte_buffer encode_within(wait_report report, std::size_t most) {
  auto bytes = encode(report);
  if (bytes.size() <= most) return bytes;
  for (auto& r : report.ranks) r.last_call.clear();
  for (bytes = encode(report); bytes.size() > most && !report.ranks.empty(); bytes = encode(report)) {
    report.ranks.resize(report.ranks.size() / 2);
  }
  return bytes;
}

}  // namespace hydrogen::comm
