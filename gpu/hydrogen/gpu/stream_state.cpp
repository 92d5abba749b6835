#include <hydrogen/gpu/backend.hpp>
#include <hydrogen/gpu/stream_state.hpp>

#include <spdlog/fmt/fmt.h>

#include <algorithm>

namespace hydrogen::gpu {
namespace {

thread_local std::uint64_t waits_here = 0;
constexpr auto never_reached = ~std::uint64_t{0};

}  // namespace

std::uint64_t device_waits_of_this_thread() {
  return waits_here;
}

bool event::ready() const {
  if (!stream_ || stream_->settled(at_)) return true;
  stream_->queue->want(at_);
  return stream_->settled(at_);
}

expected<void> event::wait(time_point deadline, const abort_word* abort) const {
  if (!stream_) return {};
  return stream_->wait(at_, deadline, abort);
}

void event::then(std::function<void(expected<void>)> done) const {
  if (!stream_) return done({});
  stream_->then(at_, std::move(done));
}

stream_state::stream_state(device& on, std::string label) : on(on), label(std::move(label)) {}

stream_state::~stream_state() = default;

bool stream_state::settled(std::uint64_t at) const {
  if (reached(at)) return true;
  if (!has_failed()) return false;
  const std::lock_guard lock(mutex_);
  return at >= failed_at_;
}

expected<void> stream_state::outcome(std::uint64_t at) const {
  if (!has_failed()) return {};
  const std::lock_guard lock(mutex_);
  if (at < failed_at_) return {};
  return unexpected(why_);
}

expected<void> stream_state::wait(std::uint64_t at, time_point deadline, const abort_word* abort) {
  if (settled(at)) return outcome(at);
  if (sleep(at, deadline, abort, [&] { return settled(at); })) return outcome(at);
  if (abort != nullptr && abort->is_set()) return unexpected(abort->reason());
  return unexpected(late());
}

expected<void> stream_state::drained(std::uint64_t at, time_point deadline) {
  if (reached(at) || sleep(at, deadline, nullptr, [&] { return reached(at); })) return {};
  return unexpected(late());
}

expected<void> stream_state::drained(time_point deadline) {
  std::uint64_t last = 0;
  {
    const std::lock_guard lock(on.order_);
    last = submitted;
  }
  return drained(last, deadline);
}

bool stream_state::sleep(std::uint64_t at, time_point deadline, const abort_word* abort,
                         const std::function<bool()>& done) {
  ++waits_here;
  queue->help(at, deadline, abort);
  if (done()) return true;
  queue->want(at);
  std::unique_ptr<abort_word::registration> on_abort;
  // Registered only to sleep, so const as far as the word's meaning goes.
  if (abort != nullptr) on_abort = const_cast<abort_word*>(abort)->on_abort([this] { wake(); });
  sleepers_.fetch_add(1);
  bool is_done = false;
  for (bool in_time = true; in_time;) {
    const auto seen = changes_.load();
    is_done = done();
    if (is_done || (abort != nullptr && abort->is_set())) break;
    in_time = futex_wait(changes_, seen, deadline);
  }
  sleepers_.fetch_sub(1);
  return is_done || done();
}

error stream_state::late() const {
  const char* kernel = running_.load(std::memory_order_relaxed);
  return {
      errc::timed_out,
      fmt::format("{}: not done in time, {}", on.description(),
                  kernel == nullptr ? std::string("it waits for other work") : fmt::format("{} is under way", kernel)),
      label, "give it more time, or look at the kernel named"};
}

void stream_state::then(std::uint64_t at, std::function<void(expected<void>)> done) {
  {
    const std::lock_guard lock(mutex_);
    const bool settled_now = reached(at) || (has_failed() && at >= failed_at_);
    if (!settled_now) {
      waiters_.push_back({at, std::move(done)});
      done = nullptr;
    }
  }
  if (done) return done(outcome(at));
  queue->want(at);
  // It may have been reached between the check and the registration.
  if (settled(at)) call_settled();
}

void stream_state::when_failed(std::function<void(expected<void>)> told) {
  {
    const std::lock_guard lock(mutex_);
    if (!has_failed()) return waiters_.push_back({never_reached, std::move(told)});
  }
  told(outcome(never_reached));
}

void stream_state::call_settled() {
  std::vector<waiter> settled_ones;
  {
    const std::lock_guard lock(mutex_);
    const auto left = std::stable_partition(waiters_.begin(), waiters_.end(), [&](const waiter& w) {
      return !(reached(w.at) || (has_failed() && w.at >= failed_at_));
    });
    settled_ones.assign(std::make_move_iterator(left), std::make_move_iterator(waiters_.end()));
    waiters_.erase(left, waiters_.end());
  }
  for (auto& w : settled_ones) w.done(outcome(w.at));
}

void stream_state::wake() {
  changes_.fetch_add(1);
  if (sleepers_.load() != 0) futex_wake_all(changes_);
}

void stream_state::complete(std::uint64_t at) {
  completed_.store(at);
  wake();
  bool somebody = false;
  {
    const std::lock_guard lock(mutex_);
    somebody = !waiters_.empty();
  }
  if (somebody) call_settled();
}

void stream_state::fail(std::uint64_t at, error why) {
  {
    const std::lock_guard lock(mutex_);
    if (has_failed()) return;
    failed_at_ = at;
    why_ = std::move(why);
    if (why_.where.empty()) why_.where = label.empty() ? on.description() : label + " on " + on.description();
    failed_.store(true);
  }
  on.count_fault();
  wake();
  call_settled();
}

}  // namespace hydrogen::gpu
