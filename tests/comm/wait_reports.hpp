#pragma once
// Reports of ranks that wait, and the errors that come of them.

#include <hydrogen/comm/waiting.hpp>

#include <doctest/doctest.h>

namespace hydrogen::comm::testing {

inline rank_report missing(std::uint32_t rank) {
  return {.rank = rank};
}
inline rank_report stopped(std::uint32_t rank) {
  return {.rank = rank, .arrived = true, .stopped = true};
}
inline rank_report here(std::uint32_t rank) {
  return {.rank = rank, .arrived = true};
}
inline wait_report in(const std::string& call, std::vector<rank_report> ranks) {
  return {call, 1s, std::move(ranks)};
}

inline bool begins_with(const error& why, const std::string& text) {
  INFO(why.message());
  CHECK(why.code == errc::timed_out);
  return why.what.starts_with(text);
}

}  // namespace hydrogen::comm::testing
