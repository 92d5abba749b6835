#pragma once
// A process with a rank, or with several, each of which makes one call of a gang, and of which one is disturbed in it
// when it is the victim. What parent and child say to each other; the first word of a line is a rank:
//
//     parent: join ATTEMPT CALL VICTIM DISTURBANCE WHOM PHASE LIMIT_MS TABLE
//             go       when all are ready; and again to a rank that waits before its call
//             spring   to the victim, which is in its call
//             abort
//             count    of the process
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
