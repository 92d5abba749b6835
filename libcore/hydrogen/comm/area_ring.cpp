// Ranks of a gang area that wait for each other in a ring, each in another group.
//
// Rank m waits for rank k in call n of a group when m has come to it and k has not: m cannot have left it then. A rank
// has come to one call last, of the whole or of a part, so all that it waits for is known from what it stands at and
// from the counts of the others. The search follows this from rank to rank until it comes back to where it began.
//
// What it reads is not of one moment. But counts only grow: what a rank of the ring has come to in the first pass it
// has come to in the second, and what one has not come to in the second it had not in the first. So if the second pass
// finds every wait of the ring again, all of them held between the two. And then none of the ranks can ever go on.

#include <hydrogen/comm/area_layout.hpp>

#include <algorithm>

namespace hydrogen::comm {

class area::ring_search {
 public:
  ring_search(const area& whole, const waiter& self)
      : whole_(whole), self_(self), own_calls_(whole.calls_of(self.rank)), seen_(whole.size()) {}

  enum class outcome { none, ring, gone };
  /// `gone`: there was one, and the second pass does not find it.
  outcome find(error& ring) {
    for (std::uint32_t r = 0; r < whole_.size(); ++r) {
      if (r != self_.rank && self_.awaits(r)) add(r, nothing, {});
    }
    for (std::size_t i = 0; i < found_.size(); ++i) {
      const auto rank = found_[i].rank;
      const auto calls = whole_.calls_of(rank);
      const auto& at = standing(rank);
      if (calls > own_calls_) return close(i, {0, calls}, ring);
      if (at && at.needs(self_.rank) && at.calls() > own_calls_in(at.group())) {
        return close(i, {at.group(), at.calls()}, ring);
      }
      follow(i, calls, at);
    }
    return outcome::none;
  }

 private:
  static constexpr std::size_t nothing = ~std::size_t{0};
  /// A call that a rank waits in; of the whole without a group.
  struct place {
    std::uint64_t group = 0;
    std::uint64_t calls = 0;
  };
  struct step {
    std::uint32_t rank = 0;
    std::size_t before = nothing;  // the step whose rank waits for this one; none: this rank does
    place in;                      // where it does
  };
  struct seen {
    bool is_found = false;
    bool is_read = false;
    area::standing at;
  };

  void add(std::uint32_t rank, std::size_t before, place in) {
    if (std::exchange(seen_[rank].is_found, true)) return;
    found_.push_back({rank, before, in});
  }

  const area::standing& standing(std::uint32_t rank) {
    auto& s = seen_[rank];
    if (!std::exchange(s.is_read, true)) s.at = whole_.standing_of(rank);
    return s.at;
  }

  std::uint64_t own_calls_in(std::uint64_t group) const {
    const auto known = self_.calls->find(group);
    return known != self_.calls->end() ? known->second : 0;
  }

  /// Whom the rank of a step waits for.
  void follow(std::size_t i, std::uint64_t calls, const area::standing& at) {
    // Who has come to fewer calls of the whole waits for no more ranks there.
    if (calls > followed_) {
      followed_ = calls;
      for (std::uint32_t r = 0; r < whole_.size(); ++r) {
        if (r != self_.rank && whole_.calls_of(r) < calls) add(r, i, {0, calls});
      }
    }
    for (std::uint32_t r = 0; at && r < whole_.size(); ++r) {
      if (r == self_.rank || r == found_[i].rank || seen_[r].is_found || !at.needs(r)) continue;
      if (is_behind(standing(r), {at.group(), at.calls()})) add(r, i, {at.group(), at.calls()});
    }
  }

  /// Has not come to a call of a part, as far as is known.
  bool is_behind(const area::standing& of, place call) const {
    const auto calls = of ? of.calls_of(call.group) : std::nullopt;
    return calls && *calls < call.calls;
  }

  std::string text(std::uint32_t rank, place call) {
    return call.group == 0 ? whole_.call_of(rank) : standing(rank).text(whole_);
  }

  /// The rank of the last step waits for this one.
  outcome close(std::size_t last, place in, error& ring) {
    std::vector<std::pair<std::uint32_t, std::string>> calls{{whole_.name(self_.rank), self_.call()}};
    // Texts before the second pass: the ranks are still there, then.
    for (auto i = last; i != nothing; i = found_[i].before) {
      calls.emplace_back(whole_.name(found_[i].rank), text(found_[i].rank, in));
      in = found_[i].in;
    }
    for (auto i = last; i != nothing; i = found_[i].before) {
      const auto& s = found_[i];
      const bool holds = s.before == nothing ? self_.awaits(s.rank)
                         : s.in.group == 0   ? whole_.calls_of(s.rank) < s.in.calls
                                             : is_behind(whole_.standing_of(s.rank), s.in);
      if (!holds) return outcome::gone;
    }
    ring = mismatch_error(std::move(calls));
    return outcome::ring;
  }

  const area& whole_;
  const waiter& self_;
  const std::uint64_t own_calls_;
  std::uint64_t followed_ = 0;
  std::vector<seen> seen_;
  std::vector<step> found_;
};

error area::ring_of(const waiter& self) const {
  error ring{errc::none, {}, {}, {}};
  // Each time that a ring is gone a rank of it has gone on.
  for (int attempt = 0; attempt < 100; ++attempt) {
    if (ring_search(*this, self).find(ring) != ring_search::outcome::gone) break;
  }
  return ring;
}

}  // namespace hydrogen::comm
