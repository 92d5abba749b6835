#include <hydrogen/comm/heartbeats.hpp>

#include <pthread.h>

#include <algorithm>

namespace hydrogen::comm {
namespace {

// A check that comes later than planned by this much says that this process did not run (stopped, suspended): the
// silence was ours.
constexpr duration lateness = 200ms;

}  // namespace

heartbeats::~heartbeats() {
  stop();
}

void heartbeats::watch(connection_ptr c) {
  std::lock_guard lock(mutex_);
  if (stopping_) return;
  const auto& o = c->options();
  const auto at = now() + std::min(o.heartbeat_interval, o.heartbeat_timeout);
  watched_.push_back(std::move(c));
  if (!thread_.joinable()) {
    thread_ = std::thread([this] {
      pthread_setname_np(pthread_self(), "hy-heartbeats");
      work();
    });
  }
  if (at >= next_) return;
  next_ = at;
  changed_.notify_one();
}

void heartbeats::forget(const connection_ptr& c) {
  std::lock_guard lock(mutex_);
  std::erase(watched_, c);
}

void heartbeats::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
  watched_.clear();
}

void heartbeats::work() {
  std::vector<connection_ptr> all;
  std::unique_lock lock(mutex_);
  for (;;) {
    if (stopping_) return;
    if (next_ == never)
      changed_.wait(lock);
    else
      changed_.wait_until(lock, next_);
    const auto t = now();
    if (stopping_ || t < next_) continue;
    const auto late = t - next_;
    next_ = never;
    all = watched_;
    lock.unlock();
    auto next = never;
    for (const auto& c : all) next = std::min(next, check(*c, t, late));
    all.clear();
    lock.lock();
    next_ = std::min(next_, next);
  }
}

time_point heartbeats::check(connection& c, time_point t, duration late) {
  if (!c.is_open()) return never;
  const auto& o = c.options();
  auto heard = c.last_heard();
  if (late > lateness) c.heard_at(heard = std::min(t, heard + late));
  if (t - heard >= o.heartbeat_timeout) {
    // What waits to be read is not silence: then it is our reactor that is late.
    if (c.has_unread()) {
      c.heard_at(heard = t);
    } else {
      const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(t - heard).count();
      c.finish({errc::timed_out,
                name_of(c.peer()) + " has been silent for " + std::to_string(ms) + " ms",
                {},
                "it hangs, is stopped, or its host is gone"},
               false);
      return never;
    }
  }
  auto ping_at = std::max(heard, c.last_ping_) + o.heartbeat_interval;
  if (t >= ping_at) {
    c.last_ping_ = t;
    c.send_small(connection::frame_kind::ping);
    ping_at = t + o.heartbeat_interval;
  }
  // Connections that were opened at different times are pinged together; silence is judged when it is due.
  return std::min(heard + o.heartbeat_timeout, std::max(ping_at, t + o.heartbeat_interval / 4));
}

}  // namespace hydrogen::comm
