#include "disturbed_findings.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>

namespace hydrogen::comm::testing {

void findings::wrong(std::string what) {
  std::lock_guard lock(mutex_);
  wrong_.push_back(std::move(what));
}

void findings::took(const std::string& links, duration d, std::string where) {
  std::lock_guard lock(mutex_);
  took_[links].emplace_back(d, std::move(where));
}

void findings::disturbed(const std::string& place) {
  std::lock_guard lock(mutex_);
  ++places_[place];
}

bool findings::same_bits(std::size_t call, std::uint32_t victim, const std::vector<std::uint64_t>& hashes) {
  std::lock_guard lock(mutex_);
  return right_.try_emplace({call, victim}, hashes).first->second == hashes;
}

bool findings::is_known(std::size_t call, std::uint32_t victim) {
  std::lock_guard lock(mutex_);
  return right_.contains({call, victim});
}

std::uint64_t findings::right(std::size_t call, std::uint32_t victim, std::uint32_t rank) {
  std::lock_guard lock(mutex_);
  return right_.at({call, victim})[rank];
}

std::vector<std::string> findings::all_wrong() {
  std::lock_guard lock(mutex_);
  return wrong_;
}

std::string findings::summary() {
  std::lock_guard lock(mutex_);
  std::string text;
  for (const auto& [place, count] : places_) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, place);
  for (auto& [links, took] : took_) {
    std::sort(took.begin(), took.end());
    const auto ms = [&](std::size_t i) { return static_cast<double>(took[i].first.count()) / 1e6; };
    text += fmt::format(
        "\n  {}: the {} others returned after {:.2f} ms (median), {:.2f} ms (99 of 100), {:.2f} ms ({})", links,
        took.size(), ms(took.size() / 2), ms(took.size() * 99 / 100), ms(took.size() - 1), took.back().second);
  }
  return text;
}

}  // namespace hydrogen::comm::testing
