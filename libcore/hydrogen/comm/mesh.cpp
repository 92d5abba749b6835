#include <hydrogen/comm/mesh_sink.hpp>

#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <numeric>

namespace hydrogen::comm {

mesh::mesh(options o, std::vector<std::unique_ptr<link>> links, abort_word& abort)
    : options_(std::move(o)),
      fence_(fence_of(options_.token)),
      links_(std::move(links)),
      peers_(links_.size()),
      abort_(abort),
      members_(links_.size()),
      index_(links_.size()),
      self_(options_.rank) {
  std::iota(members_.begin(), members_.end(), 0);
  index_ = members_;
  on_abort_ = abort_.on_abort([self = options_.self] { self->wake(); });
}

mesh::~mesh() {
  on_abort_.reset();
  if (broken_.code == errc::none) say_bye({errc::none, {}, {}, {}});
  for (auto& l : links_) {
    if (l) l->close();
  }
}

frame_header mesh::header(frame_kind kind, std::uint32_t to) const {
  frame_header h;
  h.fence = fence_;
  h.call = peers_[to].call;
  h.plan = plan_.hash;
  h.kind = kind;
  h.whole = whole_;
  return h;
}

std::string mesh::name(std::uint32_t rank) const {
  return rank_on_node(rank, options_.nodes[rank]);
}

void mesh::send(std::uint32_t to, frame_header h, byte_view payload, bool first) {
  const auto peer = members_[to];
  h.fence = fence_;
  h.call = peers_[peer].call;
  h.plan = plan_.hash;
  h.kind = frame_kind::piece;
  h.whole = whole_;
  links_[peer]->send(h, payload, first);
}

std::byte* mesh::scratch(std::size_t size) {
  if (size > scratch_size_) {
    constexpr std::align_val_t line{64};
    scratch_.reset();
    scratch_size_ = 0;
    scratch_ = {static_cast<std::byte*>(::operator new(size, line)), [](std::byte* p) { ::operator delete(p, line); }};
    scratch_size_ = size;
  }
  return scratch_.get();
}

bool mesh::complete() const {
  if (unfinished_ != 0) return false;
  return std::all_of(members_.begin(), members_.end(), [&](auto r) { return !links_[r] || links_[r]->idle(); });
}

expected<void> mesh::run(const call_plan& plan, exchange& current, duration timeout,
                         std::span<const std::uint32_t> members) {
  if (broken_.code != errc::none) return unexpected(broken_);
  plan_ = plan;
  if (!members.empty()) {
    members_.assign(members.begin(), members.end());
  } else if (members_.size() != links_.size()) {
    members_.resize(links_.size());
    std::iota(members_.begin(), members_.end(), 0);
  }
  for (std::uint32_t i = 0; i < size(); ++i) index_[members_[i]] = i;
  self_ = index_[gang_rank()];
  // Of a call of the whole, by some ranks.
  const bool is_step = plan.group == 0 && size() != gang_size();
  if (abort_.is_set()) return unexpected(fail(abort_.reason()));
  unfinished_ = 0;
  ++runs_;
  has_told_ = false;
  tell_at_ = report_at_ = never;
  notes_.clear();
  answered_.clear();
  until_ = call_deadline(timeout);
  error lost{errc::none, {}, {}, {}};
  for (const auto r : members_) {
    if (!links_[r]) continue;
    auto& p = peers_[r];
    if (p.entered) p.last_call = std::move(p.this_call);
    p.entered = p.finished = false;
    ++unfinished_;
    if (p.gone) {
      lost = p.left ? left(r, p.last_call) : gone_error(r);
    }
    auto& place = p.described[plan.hash % p.described.size()];
    if (place == plan.hash) continue;
    place = plan.hash;
    const auto described = text();
    const auto view = as_byte_view(std::string_view(described).substr(0, max_plan_text));
    byte_buffer description(view.begin(), view.end());
    auto h = header(frame_kind::describe, r);
    h.length = description.size();
    links_[r]->send_copy(h, std::move(description));
  }
  // Also when a rank has left: the others learn of this call, and of the reason.
  current.start(*this);
  if (lost.code != errc::none) return unexpected(fail(std::move(lost)));

  time_point look_at = never;
  std::uint32_t looks = 0;
  std::uint32_t busy = 0;
  for (;;) {
    bool any = false;
    if (auto ok = progress(current, any); !ok) return unexpected(fail(std::move(ok.error())));
    if (complete()) break;
    if (abort_.is_set()) return unexpected(fail(abort_.reason()));
    if (any) {
      looks = 0;
      // Also against a rank that drips bytes.
      if (++busy % 256 != 0) continue;
      if (now() >= until_.at()) return unexpected(fail(overdue()));
      if (now() >= roll_call_at(until_)) ask_all();
      continue;
    }
    until_.at();
    if (++looks <= options_.wait.socket_looks) continue;
    if (looks <= options_.wait.socket_looks + options_.wait.socket_yields) {
      ::sched_yield();
      continue;
    }
    looks = 0;
    all_links_ = true;
    const auto at = now();
    if (at >= until_.at()) return unexpected(fail(overdue()));
    if (is_step && look_at == never) look_at = at + long_wait;
    if (at >= look_at) {
      if (auto why = listen(); why.code != errc::none) return unexpected(fail(std::move(why)));
      look_at = at + long_wait;
    }
    if (at >= roll_call_at(until_)) ask_all();
    const auto ask_at = asked_in_ == runs_ ? never : roll_call_at(until_);
    const auto next = std::min({until_.at(), tell_others(), look_at, ask_at});
    if (auto ok = sleep(next); !ok) return unexpected(fail(std::move(ok.error())));
  }
  for (const auto r : members_) ++peers_[r].call;
  if (!is_step) {
    take_back();
  } else {
    // Until the call ends `look_around` looks at all links, and what was answered holds no longer.
    members_.clear();
    answered_.clear();
    ++runs_;
  }
  return {};
}

expected<void> mesh::progress(exchange& current, bool& any) {
  std::uint32_t dead = gang_rank();
  for (const auto r : members_) {
    auto* l = links_[r].get();
    auto& p = peers_[r];
    if (l == nullptr) continue;
    if (p.gone) {
      if (!l->idle()) return unexpected(gone_error(r));
      if (!p.left) dead = r;
      continue;
    }
    // Also of an idle link: one within the process sees there that the other side has taken all.
    const auto written = l->flush();
    // A rank that has sent everything is asked again only after a sleep: it may have failed later.
    if (p.finished && written && !all_links_) continue;
    // Also when writing failed: what the other side said before it went is still to be read.
    sink judge(*this, &current, r);
    auto read = l->receive(judge);
    if (read && *read) {
      any = true;
      p.heard = coarse_now();
    }
    if (!read && judge.decided()) return unexpected(std::move(read.error()));
    if (read && written) answer(r);
    if (p.gone || !read || !written) {
      const bool bye = p.gone;
      p.gone = true;
      // All has been sent, both ways: it may go, and if it died the call may still be complete.
      const bool is_through = p.finished && l->idle();
      l->drop();
      l->close();
      if (is_through && !p.left) dead = r;
      if (is_through) continue;
      error why = bye ? left(r, p.last_call) : !read ? read.error() : written.error();
      if (why.code == errc::bad_input) ++options_.counters->refused;
      why.what = name(r) + (why.code == errc::disconnected ? " is gone, in " : " broke the link in ") + text() + ": " +
                 why.what;
      return unexpected(std::move(why));
    }
  }
  all_links_ = false;
  // A gang that has lost a rank waits for nobody.
  if (dead != gang_rank() && !complete()) return unexpected(gone_error(dead));
  return {};
}

timespec mesh::until(time_point deadline) {
  const auto left = std::clamp<duration>(deadline == never ? duration(1h) : deadline - now(), 0ns, 1h);
  return {left.count() / 1'000'000'000, left.count() % 1'000'000'000};
}

expected<void> mesh::sleep(time_point deadline) {
  options_.self->will_sleep();
  polled_.clear();
  polled_.push_back({options_.self->fd(), POLLIN, 0});
  bool news = abort_.is_set();
  for (const auto r : members_) {
    auto* l = links_[r].get();
    if (l == nullptr || peers_[r].gone) continue;
    const auto events = l->will_sleep(l->events());
    news |= l->ready();
    if (events != 0) polled_.push_back({l->fd(), events, 0});
  }
  const auto awake = [&] {
    options_.self->awake();
    for (const auto r : members_) {
      if (links_[r]) links_[r]->awake();
    }
  };
  if (!news) {
    const auto limit = until(deadline);
    if (::ppoll(polled_.data(), polled_.size(), &limit, nullptr) < 0 && errno != EINTR) {
      awake();
      return fail_errno("poll", "gang links");
    }
  }
  awake();
  return {};
}

}  // namespace hydrogen::comm
