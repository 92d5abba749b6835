#pragma once
// Deadlines of many things in one order: set, move, clear, and take what is due, each in O(log n). One thread. Pure.

#include <hydrogen/base/clock.hpp>

#include <map>
#include <set>
#include <utility>

namespace hydrogen::gang {

template <class Key>
class deadlines {
 public:
  /// Replaces what was set for the key; `never` clears it.
  void set(const Key& key, time_point at) {
    const auto [place, fresh] = by_key_.try_emplace(key, at);
    if (!fresh) {
      if (place->second == at) return;
      by_time_.erase({place->second, key});
    }
    if (at == never) {
      by_key_.erase(place);
      return;
    }
    place->second = at;
    by_time_.insert({at, key});
  }
  void clear(const Key& key) { set(key, never); }

  /// When the key is due; `never` when it is not set.
  time_point at(const Key& key) const {
    const auto place = by_key_.find(key);
    return place == by_key_.end() ? never : place->second;
  }
  time_point next() const { return by_time_.empty() ? never : by_time_.begin()->first; }

  /// Takes one that is due at `now` into `key`; false when none is.
  bool take_due(time_point now, Key& key) {
    if (by_time_.empty() || by_time_.begin()->first > now) return false;
    key = by_time_.begin()->second;
    by_key_.erase(key);
    by_time_.erase(by_time_.begin());
    return true;
  }

 private:
  std::map<Key, time_point> by_key_;
  std::set<std::pair<time_point, Key>> by_time_;
};

}  // namespace hydrogen::gang
