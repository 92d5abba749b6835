#include <hydrogen/comm/mesh.hpp>

#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <numeric>

namespace hydrogen::comm {
namespace {

// A longer text than any plan's.
constexpr std::size_t max_plan_text = 512;

byte_buffer bytes_of(std::string_view text) {
  const auto view = as_byte_view(text.substr(0, max_plan_text));
  return {view.begin(), view.end()};
}

}  // namespace

/// Judges the frames of one link for the current call. Its errors are final; other errors of `receive` are the link's.
class mesh::sink final : public link_sink {
 public:
  /// Without a call it looks around (`look_around`), perhaps to the end of the link.
  sink(mesh& m, exchange* current, std::uint32_t from, bool to_the_end = false)
      : mesh_(m), current_(current), from_(from), to_the_end_(to_the_end) {}

  expected<verdict> begin(const frame_header& h, mutable_byte_view& where) override {
    if (h.fence != mesh_.fence_) {
      ++mesh_.options_.counters->strays;
      return verdict::skip;
    }
    auto& p = mesh_.peers_[from_];
    switch (h.kind) {
      case frame_kind::describe:
        if (h.length > max_plan_text) return refuse(h, "describes a call in more than 512 bytes");
        p.text.resize(h.length);
        where = p.text;
        return verdict::take;
      case frame_kind::bye:
        if (h.length > max_reason) return refuse(h, "says bye in more than 4096 bytes");
        p.text.resize(h.length);
        where = p.text;
        return verdict::take;
      case frame_kind::waiting:
        // Who is in a call of the whole is in a ring only with a rank whose piece it sees.
        if (current_ == nullptr) return verdict::skip;
        if (h.length > max_waiting_note) return refuse(h, "says in more than 4096 bytes that it waits");
        p.text.resize(h.length);
        where = p.text;
        return verdict::take;
      case frame_kind::piece:
        break;
    }
    if (current_ == nullptr) return look_at(h);
    if (h.call == p.call + 1) return verdict::hold;
    if (h.call != p.call) return refuse(h, "is of call " + std::to_string(h.call));
    if (!p.entered) {
      p.entered = true;
      p.calls = h.call + 1;
      p.this_call = told(h);
    }
    if (h.plan != mesh_.plan_.hash) {
      std::vector<std::pair<std::uint32_t, std::string>> calls{{mesh_.gang_rank(), mesh_.text()}};
      for (const auto r : mesh_.members_) {
        if (r != mesh_.gang_rank() && mesh_.peers_[r].entered) calls.emplace_back(r, mesh_.peers_[r].this_call);
      }
      return decide(mismatch_error(std::move(calls)));
    }
    if (p.finished) return refuse(h, "comes after all that was expected");
    auto place = current_->place(mesh_.index_[from_], h);
    if (!place) {
      ++mesh_.options_.counters->refused;
      auto e = std::move(place.error());
      e.what = mesh_.name(from_) + ": " + e.what;
      return decide(std::move(e));
    }
    where = *place;
    return verdict::take;
  }

  expected<void> end(const frame_header& h) override {
    auto& p = mesh_.peers_[from_];
    switch (h.kind) {
      case frame_kind::describe:
        p.plans[h.plan % p.plans.size()] = {h.plan, std::string(as_text(p.text))};
        return {};
      case frame_kind::bye:
        p.gone = p.left = true;
        if (h.code != 0) return decide(reason());
        if (current_ == nullptr && !is_behind(h)) return {};
        if (current_ != nullptr && p.finished) return {};
        return decide(mesh_.left(from_, p.entered ? p.this_call : p.last_call));
      case frame_kind::waiting:
        if (auto ok = mesh_.hear(from_, p.text); !ok) return decide(std::move(ok.error()));
        return {};
      case frame_kind::piece:
        break;
    }
    const auto from = mesh_.index_[from_];
    current_->arrived(from, h, mesh_);
    if (!p.finished && current_->has_all_of(from)) {
      p.finished = true;
      --mesh_.unfinished_;
    }
    return {};
  }

  bool decided() const { return decided_; }

 private:
  /// The sender has not begun the call of the whole that this rank is in.
  bool is_behind(const frame_header& h) const { return static_cast<std::int32_t>(h.whole - mesh_.whole_) < 0; }
  /// A piece of a call that this rank has not come to: the sender waits for it there. If it has begun what this rank
  /// is in, this rank will come.
  expected<verdict> look_at(const frame_header& h) {
    if (!is_behind(h)) return to_the_end_ ? verdict::skip : verdict::hold;
    return decide(mismatch_error({{mesh_.gang_rank(), mesh_.text()}, {from_, told(h)}}));
  }
  std::string told(const frame_header& h) const {
    const auto& told = mesh_.peers_[from_].plans[h.plan % peer::plan_places];
    return told.plan == h.plan ? told.text : std::string("a call without a description");
  }
  unexpected decide(error why) {
    decided_ = true;
    return unexpected(std::move(why));
  }
  unexpected refuse(const frame_header& h, const std::string& why) {
    ++mesh_.options_.counters->refused;
    return decide({errc::bad_input,
                   "a frame of " + mesh_.name(from_) + " (" + std::to_string(h.length) + " bytes, in " + mesh_.text() +
                       ") " + why,
                   {},
                   {}});
  }
  error reason() const {
    auto why = decode<error>(mesh_.peers_[from_].text, "reason of a bye");
    if (!why || why->code == errc::none) {
      return {errc::internal, mesh_.name(from_) + " failed and gave no reason that can be read", {}, {}};
    }
    return std::move(*why);
  }

  mesh& mesh_;
  exchange* current_;
  std::uint32_t from_;
  bool to_the_end_;
  bool decided_ = false;
};

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
  tell_at_ = never;
  notes_.clear();
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
    auto description = bytes_of(text());
    auto h = header(frame_kind::describe, r);
    h.length = description.size();
    links_[r]->send_copy(h, std::move(description));
  }
  // Also when a rank has left: the others learn of this call, and of the reason.
  current.start(*this);
  if (lost.code != errc::none) return unexpected(fail(std::move(lost)));

  time_point deadline = never;
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
      if (deadline == never) deadline = deadline_after(timeout);
      if (now() >= deadline) return unexpected(fail(late(timeout)));
      continue;
    }
    if (deadline == never) deadline = deadline_after(timeout);
    if (++looks <= options_.wait.socket_looks) continue;
    if (looks <= options_.wait.socket_looks + options_.wait.socket_yields) {
      ::sched_yield();
      continue;
    }
    looks = 0;
    all_links_ = true;
    if (now() >= deadline) return unexpected(fail(late(timeout)));
    const auto next = is_step ? now() + quiet_time : size() == gang_size() ? never : tell_others();
    if (auto ok = sleep(std::min(deadline, next)); !ok) return unexpected(fail(std::move(ok.error())));
    if (!is_step || now() < next) continue;
    if (auto why = look_around(); why.code != errc::none) return unexpected(fail(std::move(why)));
  }
  for (const auto r : members_) ++peers_[r].call;
  if (is_step) members_.clear();  // until the call ends `look_around` looks at all links
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

void mesh::begin_whole(const call_plan& plan) {
  ++whole_;
  plan_ = plan;
  members_.clear();
}

error mesh::look_around() {
  error gone{errc::none, {}, {}, {}};
  for (std::uint32_t r = 0; r < gang_size(); ++r) {
    auto& p = peers_[r];
    if (!links_[r] || p.gone || is_member(r)) continue;
    // Perhaps behind a piece that is held. It will not be needed: the sender has failed, maybe in the next call. All
    // that comes before the end is there to be read.
    pollfd end{links_[r]->fd(), POLLRDHUP, 0};
    const bool has_ended = end.fd >= 0 && ::poll(&end, 1, 0) > 0;
    sink judge(*this, nullptr, r, has_ended);
    auto read = links_[r]->receive(judge);
    if (read && *read) p.heard = coarse_now();
    if (judge.decided()) return std::move(read.error());
    if (p.gone || (read && !has_ended)) continue;
    p.gone = true;
    gone = gone_error(r);  // another one may say why
  }
  return gone;
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
