#pragma once
// How a gang area lies in memory, which other processes may have mapped; nobody but the area includes this.

#include <hydrogen/comm/area.hpp>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <string>

namespace hydrogen::comm {

/// A call as it lies in the area: its own copy of the file name, since static memory of one process is nothing in
/// another. `data` means something in one process only.
struct area::publication {
  operation what;
  element kind;
  reduction how;
  std::uint32_t root;
  std::uint32_t line;
  std::uint64_t count;
  std::uint64_t hash;
  std::uint64_t size;
  const std::byte* data;
  char file[64];

  void set(const call_plan& plan, byte_view bytes) {
    size = bytes.size();
    data = bytes.data();
    if (hash == plan.hash) return;  // the usual loop: the same call as the time before the last
    what = plan.what;
    kind = plan.kind;
    how = plan.how;
    root = plan.root;
    line = plan.line;
    count = plan.count;
    hash = plan.hash;
    const auto length = std::min(std::strlen(plan.file), sizeof file - 1);
    std::memcpy(file, plan.file, length);
    file[length] = 0;
  }
  std::string text() const {
    char name[sizeof file];
    std::memcpy(name, file, sizeof file);
    name[sizeof file - 1] = 0;
    call_plan plan;
    plan.what = what;
    plan.kind = kind;
    plan.how = how;
    plan.root = root;
    plan.count = count;
    plan.file = name;
    plan.line = line;
    return plan.text();
  }
};

struct area::header {
  std::uint64_t magic;
  std::uint32_t ranks;
  alignas(128) std::atomic<std::uint64_t> arrived;
  alignas(128) std::atomic<std::uint32_t> news;  // futex: completion, gate, break, leave, death, abort
  std::atomic<std::uint32_t> open;               // the gate
  std::atomic<std::uint32_t> sleepers;           // one that was killed counts on: it costs a system call
};

struct alignas(128) area::seat {
  enum presence : std::uint32_t { here, left, dead };
  // Written by the rank, read by all after they have seen `entered` or the completed barrier. Two, since a rank can be
  // one call ahead of readers.
  publication said[2];
  std::atomic<std::uint64_t> entered;  // calls
  std::atomic<std::uint32_t> is;       // presence
  std::uint64_t barriers;              // the rank's own
  std::uint32_t reason_size;           // why this rank broke the area, encoded
  std::byte reason[1024];
};

}  // namespace hydrogen::comm
