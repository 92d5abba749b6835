#pragma once
// A rank in a process of its own that makes one call of a gang, and is disturbed in it when it is the victim. What
// parent and child say to each other:
//
//     parent: join ATTEMPT RANK CALL VICTIM DISTURBANCE PHASE LIMIT_MS TABLE
//             go       when all are ready; and again to a rank that waits before its call
//             spring   to the victim, which is in its call
//             abort
//             count
//     child:  ready THREAD | entering | struck NANOSECONDS PLACE | has DESCRIPTORS THREADS KIBIBYTES STRAYS
//             ended CALL HASH LAST ENTERED RETURNED TEXT
//
// CALL and LAST are error codes, of the call and of the barrier after it, 0: none; the times are those of the one that
// failed first, else of the barrier.

#include "trap.hpp"

namespace hydrogen::comm::testing {

enum class phase {
  before,   // the victim has not entered the call, the others wait in it
  waiting,  // the victim waits in the call for one that has not entered it
  within    // it is caught at a byte of its data
};
constexpr const char* disturbed_role = "a rank that is disturbed";

/// Who comes late in phase::waiting, and is with the victim in a group of two.
constexpr std::uint32_t next_rank(std::uint32_t victim, std::size_t ranks) {
  return (victim + 1) % static_cast<std::uint32_t>(ranks);
}

}  // namespace hydrogen::comm::testing
