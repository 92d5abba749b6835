#pragma once
// The members of a gang, by rank: made once for an attempt and shared by all its ranks in a process, so that a gang of
// n ranks costs n lines and not n times n. Copies are cheap; what is shared never changes. Any thread.

#include <hydrogen/base/bytes.hpp>
#include <hydrogen/comm/token.hpp>

#include <memory>
#include <vector>

namespace hydrogen::comm {

class gang_table {
 public:
  gang_table() : gang_table(std::vector<gang_member>{}) {}
  gang_table(std::vector<gang_member> members);  // not explicit: a list of members is a table

  std::size_t size() const { return content_->members.size(); }
  bool empty() const { return size() == 0; }
  const gang_member& operator[](std::size_t rank) const { return content_->members[rank]; }
  auto begin() const { return content_->members.begin(); }
  auto end() const { return content_->members.end(); }

  /// Of all lines.
  std::uint64_t hash() const { return content_->hash; }
  /// Each member stands at its rank.
  bool is_in_order() const { return content_->in_order; }
  /// All members live in one process.
  bool is_one_process() const { return content_->one_process; }
  /// All of their processes listen at one address.
  bool is_one_host() const { return content_->one_host; }

  friend bool inspect(encoder& f, gang_table& x) { return f(x.content_->members); }
  friend bool inspect(decoder& f, gang_table& x) {
    std::vector<gang_member> members;
    const bool ok = f(members);
    x = gang_table(std::move(members));
    return ok;
  }

 private:
  struct content {
    std::vector<gang_member> members;
    std::uint64_t hash = 0;
    bool in_order = true;
    bool one_process = true;
    bool one_host = true;
  };
  std::shared_ptr<const content> content_;
};

}  // namespace hydrogen::comm
