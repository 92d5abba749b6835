#pragma once
// What the library that stands in for NCCL in tests is told, and what it has seen, in its variable `fake_nccl`. Its
// members are threads of one process, and what they exchange is memory of the host.

#include <atomic>

struct fake_nccl_state {
  // Values of ncclResult_t: what a call says; of exchanges also later, when the library is asked.
  std::atomic<int> id_says, init_says, exchange_says, later_says, finalize_says;
  std::atomic<int> notices;  // 1: the others of a group see when a member is aborted
  std::atomic<int> on_gpu;   // 1: exchanges must name a queue
  // Seen so far.
  std::atomic<int> living, aborted, destroyed;
  std::atomic<int> wrong;  // calls that the documentation forbids
};
