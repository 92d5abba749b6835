// How a call over links fails, and what the ranks tell each other then.

#include <hydrogen/comm/mesh.hpp>

namespace hydrogen::comm {
namespace {

// How long a rank stays for a socket that is full: who is in the call reads all the time, and who is not, or has
// stopped, sees the end of the link instead. Part of the 100 ms in which a failure reaches everyone.
constexpr auto bye_patience = std::chrono::milliseconds(50);

/// The reason as a bye carries it.
byte_buffer bytes_of(error why, std::size_t most) {
  for (auto* text : {&why.what, &why.where, &why.hint}) {
    if (text->size() > most / 4) text->resize(most / 4);
  }
  return encode(why);
}

}  // namespace

error mesh::left(std::uint32_t rank, const std::string& last_call) const {
  const auto calls = peers_[rank].calls;
  if (sees_all_calls_) return left_error(rank, calls, last_call, text());
  return left_error(rank, unnumbered, calls <= 1 ? std::string() : last_call, text());
}

error mesh::fail_join(const call_plan& plan, error why, duration waited) {
  class nothing final : public exchange {
    void start(exchange_port&) override {}
    // A rank that has all its links says more than this one will hear.
    expected<mutable_byte_view> place(std::uint32_t, const frame_header& h) override {
      if (h.length > sizeof ignored_) return hydrogen::fail(errc::bad_input, "sends many bytes when it joins");
      return mutable_byte_view(ignored_, h.length);
    }
    void arrived(std::uint32_t, const frame_header&, exchange_port&) override {}
    bool has_all_of(std::uint32_t) const override { return false; }
    std::byte ignored_[256];
  };
  plan_ = plan;
  nothing current;
  bool any = false;
  if (auto ok = progress(current, any); !ok && why.code == errc::none) why = std::move(ok.error());
  return fail(why.code == errc::none ? missing_error(report(waited)) : std::move(why));
}

error mesh::gone_error(std::uint32_t rank) const {
  return {errc::disconnected, name(rank) + " is gone, in " + text() + ": its link has ended", {}, {}};
}

wait_report mesh::report(duration waited) const {
  std::vector<rank_report> reports;
  const auto at = coarse_now();
  for (const auto r : members_) {
    if (r == gang_rank()) {
      reports.push_back({.rank = r, .arrived = true});
      continue;
    }
    const auto& p = peers_[r];
    // A rank that joins describes the call as soon as a link is there, before it has all of its links.
    const bool there = p.entered || p.plans[plan_.hash % p.plans.size()].plan == plan_.hash;
    const bool waits_for_data = p.entered && (!p.finished || !links_[r]->idle());
    reports.push_back({r, options_.nodes[r], plan_.what == operation::join ? there : p.entered, p.last_call,
                       waits_for_data, p.heard == time_point{} ? -1ns : at - p.heard});
  }
  return {text(), waited, std::move(reports)};
}

void mesh::give_up(const error& why) {
  if (broken_.code == errc::none) (void)fail(why);
}

error mesh::fail(error why) {
  broken_ = std::move(why);
  say_bye(broken_);
  // No payload of the caller is referenced any more.
  for (auto& l : links_) {
    if (l) l->close();
  }
  return broken_;
}

void mesh::say_bye(const error& why) {
  const auto reason = why.code == errc::none ? byte_buffer() : bytes_of(why, max_reason);
  for (std::uint32_t r = 0; r < gang_size(); ++r) {
    if (!links_[r] || peers_[r].gone) continue;
    auto h = header(frame_kind::bye, r);
    h.code = static_cast<std::uint8_t>(why.code);
    h.length = reason.size();
    links_[r]->drop();
    links_[r]->send_copy(h, reason);
  }
  const auto deadline = now() + bye_patience;
  for (;;) {
    polled_.clear();
    bool room = false;
    for (std::uint32_t r = 0; r < gang_size(); ++r) {
      auto* l = links_[r].get();
      if (l == nullptr || peers_[r].gone || l->idle()) continue;
      if (!l->flush()) peers_[r].gone = true;
      if (l->fd() < 0 || l->idle() || peers_[r].gone) continue;
      polled_.push_back({l->fd(), l->will_sleep(POLLOUT), 0});
      room |= l->ready();
    }
    if (polled_.empty() || now() >= deadline || abort_.is_set()) return;
    const auto limit = until(room ? time_point{} : std::min(deadline, now() + 20ms));
    ::ppoll(polled_.data(), polled_.size(), &limit, nullptr);
    for (auto& l : links_) {
      if (l) l->awake();
    }
  }
}

}  // namespace hydrogen::comm
