#pragma once
// Events of a simulation by time, and of one time in the order in which they were planned. A heap of four children a
// node; an event that is planned while one is handled takes that one's place, which saves half of the work.

#include <algorithm>
#include <cstdint>
#include <vector>

namespace hydrogen::bench {

class event_queue {
 public:
  /// `what`: less than 2^24.
  void plan(std::int64_t at, std::uint32_t what) {
    const auto key = static_cast<wide>(at) << 64 | number_++ << 24 | what;
    if (has_hole_) {
      has_hole_ = false;
      sink(key);
      return;
    }
    heap_.push_back(key);
    auto i = heap_.size() - 1;
    for (; i > 0 && key < heap_[(i - 1) / 4]; i = (i - 1) / 4) heap_[i] = heap_[(i - 1) / 4];
    heap_[i] = key;
  }

  struct event {
    std::int64_t at;
    std::uint32_t what;
  };
  /// The next event, which is taken out; false: there is none.
  bool next(event& e) {
    if (has_hole_) {
      const auto last = heap_.back();
      heap_.pop_back();
      if (!heap_.empty()) sink(last);
    }
    has_hole_ = !heap_.empty();
    if (!has_hole_) return false;
    e = {static_cast<std::int64_t>(heap_[0] >> 64), static_cast<std::uint32_t>(heap_[0]) & 0xffffff};
    return true;
  }

 private:
  __extension__ using wide = unsigned __int128;  // time 64 bits, number 40, what 24

  /// Puts a key into the top, which is free.
  void sink(wide key) {
    std::size_t i = 0;
    const auto size = heap_.size();
    for (;;) {
      const auto first = 4 * i + 1;
      if (first >= size) break;
      auto least = first;
      const auto end = std::min(first + 4, size);
      for (auto child = first + 1; child < end; ++child) least = heap_[child] < heap_[least] ? child : least;
      if (key < heap_[least]) break;
      heap_[i] = heap_[least];
      i = least;
    }
    heap_[i] = key;
  }

  std::vector<wide> heap_;
  std::uint64_t number_ = 0;
  bool has_hole_ = false;
};

}  // namespace hydrogen::bench
