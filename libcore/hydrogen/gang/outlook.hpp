#pragma once
// What would be free for a request, if more were given back: now, with what is being given back already, and with what
// is added. A plain value that refers to the account and to the demand; one thread.

#include <hydrogen/gang/ledger.hpp>
#include <hydrogen/gang/request_state.hpp>

#include <map>

namespace hydrogen::gang {

class outlook {
 public:
  /// `returning`: what is being given back counts.
  outlook(const ledger&, const demand&, bool returning = true);
  /// Some slots, wherever they are.
  void add(std::uint32_t slots) { room_ += slots; }
  /// What an attempt holds, whose slots need `each`.
  void add(const attempt_state&, const resources& each);

  /// Any slot counts.
  bool anywhere() const { return needs_->any_slot(); }
  bool fits(std::uint32_t slots) const { return room_ >= slots; }
  std::uint64_t room() const { return room_; }

 private:
  void add(const ledger_node&, std::uint32_t slots, const resources& each);

  const ledger* account_;
  const demand* needs_;
  std::uint64_t room_ = 0;
  std::map<boot_id, share> freed_;
};

}  // namespace hydrogen::gang
