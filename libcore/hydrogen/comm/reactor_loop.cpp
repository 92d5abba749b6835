#include <hydrogen/comm/cork.hpp>
#include <hydrogen/comm/reactor_loop.hpp>

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

namespace hydrogen::comm {
namespace {

constexpr std::size_t read_size = 64 << 10;
constexpr std::size_t max_bye = 8 << 10;
// The last bytes of a closed connection may take this long as long as some go out, and this long without that.
constexpr duration linger_most = 10s;
constexpr duration linger_idle = 1s;

error ending() {
  return {errc::cancelled, "this process is ending", {}, {}};
}

int milliseconds_until(time_point at, time_point t) {
  if (at == never) return -1;
  if (at <= t) return 0;
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(at - t).count();
  return static_cast<int>(std::min<std::int64_t>(ms, INT_MAX));
}

}  // namespace

reactor_loop::reactor_loop() : epoll_(epoll_create1(EPOLL_CLOEXEC)), buffer_(read_size) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = nullptr;
  if (!epoll_ || !wake_ || epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event) != 0) {
    throw failure(fail_errno("epoll").value());
  }
}

connection_ptr reactor_loop::adopt(unique_fd fd, hello peer, connection_handlers handlers, connection_options options) {
  auto c = std::make_shared<connection>(connection::private_tag{}, std::move(fd), std::move(peer), std::move(handlers),
                                        options, shared_from_this());
  {
    std::lock_guard lock(mutex_);
    if (!finished_) {
      entering_.push_back(c);
      news_.store(true, std::memory_order_release);
      wake_.set();
      return c;
    }
  }
  c->reason_ = ending();
  c->open_.store(false, std::memory_order_release);
  if (c->handlers_.on_closed) c->handlers_.on_closed(c, c->reason_);
  c->handlers_ = {};
  return c;
}

void reactor_loop::ended(connection_ptr c) {
  std::lock_guard lock(mutex_);
  ended_.push_back(std::move(c));
  news_.store(true, std::memory_order_release);
  wake_.set();
}

void reactor_loop::stop() {
  stopping_.store(true, std::memory_order_release);
  wake_.set();
}

void reactor_loop::around_rounds(round_wrapper wrapper) {
  auto shared = std::make_shared<const round_wrapper>(std::move(wrapper));
  std::lock_guard lock(mutex_);
  around_ = std::move(shared);
}

void reactor_loop::run() {
  std::array<epoll_event, 64> events;
  time_point last_exit = never;  // set once stopping
  for (;;) {
    const int n = epoll_wait(epoll_.get(), events.data(), events.size(),
                             milliseconds_until(std::min(next_check_, last_exit), now()));
    const auto t = now();
    const auto deliver = [&] {
      for (int i = 0; i < n; ++i) {
        if (events[i].data.ptr == nullptr)
          wake_.clear();
        else
          serve(*static_cast<connection*>(events[i].data.ptr), events[i].events, t);
      }
      if (news_.load(std::memory_order_acquire)) take_news(t);
    };
    {
      std::shared_ptr<const round_wrapper> around;
      {
        std::lock_guard lock(mutex_);
        around = around_;
      }
      const cork together;
      around ? (*around)(std::ref(deliver)) : deliver();
    }
    if (t >= next_check_) check_lingering(t);
    if (stopping_.load(std::memory_order_acquire)) {
      if (last_exit == never) last_exit = t + linger_most;
      // Each time, because handlers may adopt until the end.
      for (auto& c : connections_) c->close(ending());
      take_news(t);
    }
    dropped_.clear();
    if (last_exit != never && (connections_.empty() || t >= last_exit)) break;
  }
  while (!connections_.empty()) drop(*connections_.back());
  dropped_.clear();
  std::vector<connection_ptr> late;
  {
    std::lock_guard lock(mutex_);
    finished_ = true;
    late.swap(entering_);
  }
  for (auto& c : late) c->close(ending());
  late.clear();
  {
    std::lock_guard lock(mutex_);
    late.swap(ended_);
  }
  for (auto& c : late) finish(c, now());
  beats_.stop();
}

void reactor_loop::take_news(time_point t) {
  std::vector<connection_ptr> entering;
  std::vector<connection_ptr> ended;
  {
    std::lock_guard lock(mutex_);
    news_.store(false, std::memory_order_relaxed);
    entering.swap(entering_);
    ended.swap(ended_);
  }
  for (auto& c : entering) enter(c, t);
  for (auto& c : ended) finish(c, t);
}

void reactor_loop::enter(const connection_ptr& c, time_point t) {
  c->slot_ = connections_.size();
  c->heard_at(t);
  connections_.push_back(c);
  size_.store(connections_.size(), std::memory_order_relaxed);
  bool broken = false;
  {
    std::lock_guard lock(c->mutex_);
    epoll_event event{};
    event.events = EPOLLIN | EPOLLRDHUP | (c->wants_out_ ? EPOLLOUT : 0u);
    event.data.ptr = c.get();
    broken = epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, c->fd_.get(), &event) != 0;
    c->registered_ = !broken;
    if (!broken) broken = !c->flush();
  }
  if (!broken)
    beats_.watch(c);
  else
    c->finish(
        {errc::io, "the connection to " + name_of(c->peer_) + " cannot be watched: " + std::strerror(errno), {}, {}},
        false);
}

/// Tells the handler, once, and lets the last bytes go out.
void reactor_loop::finish(const connection_ptr& c, time_point t) {
  beats_.forget(c);
  if (c->handlers_.on_closed) c->handlers_.on_closed(c, c->reason_);
  c->handlers_ = {};
  c->body_ = {};
  if (c->dropped_ || c->slot_ >= connections_.size() || connections_[c->slot_] != c) return;
  bool keep = false;
  {
    std::lock_guard lock(c->mutex_);
    if (c->graceful_ && c->registered_ && c->flush()) {
      if (c->outbox_.empty()) shutdown(c->fd_.get(), SHUT_WR);
      keep = true;
    }
  }
  if (!keep) {
    drop(*c);
    return;
  }
  c->lingering_ = true;
  c->linger_end_ = t + linger_most;
  c->linger_until_ = t + linger_idle;
  plan(c->linger_until_);
}

/// Closes the socket and forgets the connection; it stays in memory until this round of events is over.
void reactor_loop::drop(connection& c) {
  if (c.dropped_) return;
  c.dropped_ = true;
  {
    std::lock_guard lock(c.mutex_);
    // By name, because a child that is just being started may hold a copy of the socket.
    if (c.registered_) epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, c.fd_.get(), nullptr);
    c.registered_ = false;
    c.fd_.reset();
    c.outbox_.clear();
    c.queued_ = 0;
  }
  const auto at = c.slot_;
  std::swap(connections_[at], connections_.back());
  connections_[at]->slot_ = at;
  dropped_.push_back(std::move(connections_.back()));
  connections_.pop_back();
  size_.store(connections_.size(), std::memory_order_relaxed);
}

void reactor_loop::serve(connection& c, std::uint32_t events, time_point t) {
  if (c.dropped_) return;
  if ((events & EPOLLOUT) != 0) {
    bool broken = false;
    {
      std::lock_guard lock(c.mutex_);
      broken = !c.flush();
      if (!broken && c.lingering_ && c.outbox_.empty()) shutdown(c.fd_.get(), SHUT_WR);
    }
    // If it is still open, the read below finds out why.
    if (c.lingering_) {
      if (broken) {
        drop(c);
        return;
      }
      c.linger_until_ = std::min(t + linger_idle, c.linger_end_);
    }
  }
  if ((events & ~static_cast<std::uint32_t>(EPOLLOUT)) != 0) read(c);
}

void reactor_loop::read(connection& c) {
  const auto n = recv(c.fd_.get(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
  if (n > 0) {
    c.heard_at(now());  // not t: a handler of this round may have taken long
    if (c.is_open()) parse(c, {buffer_.data(), static_cast<std::size_t>(n)});
    return;
  }
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (c.lingering_) {
    drop(c);
    return;
  }
  const std::string how = n == 0 ? name_of(c.peer_) + " is gone: it closed the connection"
                                 : "the connection to " + name_of(c.peer_) + " broke: " + std::strerror(errno);
  c.finish({errc::disconnected, how, {}, {}}, false);
  // Not polled any more: the end of the stream would wake the loop again and again.
  std::lock_guard lock(c.mutex_);
  if (c.registered_) epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, c.fd_.get(), nullptr);
  c.registered_ = false;
}

void reactor_loop::parse(connection& c, byte_view in) {
  while (!in.empty() && c.is_open()) {
    if (c.header_have_ < connection::header_size) {
      const auto take = std::min(in.size(), connection::header_size - c.header_have_);
      std::memcpy(c.header_.data() + c.header_have_, in.data(), take);
      c.header_have_ += take;
      in = in.subspan(take);
      if (c.header_have_ < connection::header_size || !begin_body(c)) continue;
    }
    const auto missing = c.body_size_ - c.body_.size();
    if (in.size() < missing) {
      // The buffer grows with what has arrived, not with what was announced.
      c.body_.insert(c.body_.end(), in.begin(), in.end());
      return;
    }
    c.body_.insert(c.body_.end(), in.begin(), in.begin() + static_cast<std::ptrdiff_t>(missing));
    in = in.subspan(missing);
    c.header_have_ = 0;
    deliver(c, std::exchange(c.body_, {}));
  }
}

/// False when there is no body to wait for, or when the frame ended the connection.
bool reactor_loop::begin_body(connection& c) {
  std::uint32_t size = 0;
  std::memcpy(&size, c.header_.data(), 4);
  const auto kind = static_cast<connection::frame_kind>(c.header_[4]);
  std::size_t limit = 0;
  if (kind == connection::frame_kind::data)
    limit = c.options_.max_frame;
  else if (kind == connection::frame_kind::bye)
    limit = max_bye;
  else if (kind > connection::frame_kind::bye) {
    c.close({errc::bad_input, name_of(c.peer_) + " sent a frame of unknown kind", {}, "are both sides of one build?"});
    return false;
  }
  if (size > limit) {
    c.close({errc::over_limit,
             "a frame of " + std::to_string(size) + " bytes from " + name_of(c.peer_) + "; the limit is " +
                 std::to_string(limit),
             {},
             {}});
    return false;
  }
  c.body_size_ = size;
  if (size != 0) return true;
  c.header_have_ = 0;
  deliver(c, {});
  return false;
}

void reactor_loop::deliver(connection& c, byte_buffer body) {
  using kind = connection::frame_kind;
  switch (static_cast<kind>(c.header_[4])) {
    case kind::data:
      if (c.handlers_.on_frame) c.handlers_.on_frame(connections_[c.slot_], std::move(body));
      break;
    case kind::ping:
      c.send_small(kind::pong);
      break;
    case kind::pong:
      break;
    case kind::bye: {
      const auto why = decode<error>(body, "bye");
      c.finish({errc::disconnected,
                name_of(c.peer_) + " closed the connection" + (why ? ": " + why->message() : std::string()),
                {},
                {}},
               false);
    }
  }
}

void reactor_loop::plan(time_point at) {
  next_check_ = std::min(next_check_, at);
}

void reactor_loop::check_lingering(time_point t) {
  next_check_ = never;
  for (std::size_t i = 0; i < connections_.size();) {
    auto& c = *connections_[i];
    if (c.lingering_ && t >= c.linger_until_) {
      drop(c);
      continue;
    }
    if (c.lingering_) plan(c.linger_until_);
    ++i;
  }
}

}  // namespace hydrogen::comm
