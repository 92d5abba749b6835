#include <hydrogen/gpu/backend.hpp>
#include <hydrogen/gpu/peers/peer_member.hpp>

#include <spdlog/fmt/fmt.h>
#include <sys/prctl.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <thread>
#include <utility>

namespace hydrogen::gpu {
namespace {

constexpr duration asked_without_pause = std::chrono::microseconds(50);
constexpr duration longest_between_asks = std::chrono::milliseconds(1);
constexpr duration leaving_patience = std::chrono::seconds(5);
constexpr duration between_looks = std::chrono::milliseconds(20);  // at what is on the device

work::all_reduce without_member(const work::all_reduce& w) {
  return {nullptr, w.x, w.type, w.how, w.n};
}

}  // namespace

// ---- an exchange ---------------------------------------------------------------------------------------------------

std::optional<expected<void>> peer_exchange::outcome() const {
  const std::lock_guard lock(mutex_);
  return outcome_;
}

expected<void> peer_exchange::wait() const {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return outcome_.has_value(); });
  return *outcome_;
}

void peer_exchange::settle(expected<void> outcome) {
  const std::lock_guard lock(mutex_);
  outcome_ = std::move(outcome);
  changed_.notify_all();
}

// ---- the member's thread -------------------------------------------------------------------------------------------

struct peer_member::shared_state {
  using result = peer_library::result;

  shared_state(const peer_library& library, std::shared_ptr<device> on, const std::shared_ptr<stream_state>& of,
               const identity& who)
      : library(library), on(std::move(on)), of(of), who(who) {}

  void work();
  expected<void> connect();
  /// Sleeps until there is something to do: an exchange, or, with null, `look`. False: nothing more will come.
  bool next(std::shared_ptr<peer_exchange>& to);
  expected<void> run(const std::shared_ptr<peer_exchange>&);
  expected<void> look();
  expected<void> leave();
  void end(expected<void> outcome);
  /// What came of a call that may still be in progress: asks until it is not, or the member is to end.
  expected<void> settled(result, const char* call, time_point deadline = never);
  result ask() const;
  void forget_reached();
  void abort(error why);

  const peer_library& library;
  const std::shared_ptr<device> on;
  const std::weak_ptr<stream_state> of;
  const identity who;

  std::mutex mutex;
  std::condition_variable changed;
  bool has_joined = false, has_ended = false;
  bool closing = false;                    // nothing more will be asked for
  error ending{errc::none, {}, {}, {}};    // why it is to end now
  error ended_by{errc::none, {}, {}, {}};  // what later exchanges are told
  std::deque<std::shared_ptr<peer_exchange>> asked;

  // Of the thread.
  peer_library::communicator communicator = nullptr;
  std::shared_ptr<peer_exchange> under_way;
  std::deque<std::uint64_t> on_device;  // positions that NCCL has put into the stream, until they are reached
};

void peer_member::shared_state::work() {
  this_thread_must_not_wait();  // it may be the last that keeps the device
  ::prctl(PR_SET_NAME, "gpu-peer");
  auto outcome = connect();
  if (outcome) {
    const std::lock_guard lock(mutex);
    has_joined = true;
    changed.notify_all();
  }
  while (outcome) {
    std::shared_ptr<peer_exchange> taken;
    if (!next(taken)) break;
    outcome = taken ? run(taken) : look();
  }
  if (outcome) outcome = leave();
  end(std::move(outcome));
}

expected<void> peer_member::shared_state::connect() {
  // NCCL takes the device that its caller uses.
  if (auto used = backend_of(*on).use_here(); !used) return used;
  peer_library::unique_id id;
  static_assert(sizeof id.bytes == sizeof who.id.bytes);
  std::memcpy(id.bytes, who.id.bytes.data(), sizeof id.bytes);
  peer_library::config config;
  const auto said =
      library.init_rank(&communicator, static_cast<int>(who.size), id, static_cast<int>(who.rank), &config);
  return settled(said, "ncclCommInitRankConfig");
}

bool peer_member::shared_state::next(std::shared_ptr<peer_exchange>& to) {
  std::unique_lock lock(mutex);
  const auto due = [&] { return closing || ending.code != errc::none || !asked.empty(); };
  if (on_device.empty()) {
    changed.wait(lock, due);
  } else {
    changed.wait_for(lock, between_looks, due);
  }
  if (ending.code != errc::none) return true;  // `look` says so
  if (asked.empty()) return !closing;
  to = std::move(asked.front());
  asked.pop_front();
  return true;
}

peer_library::result peer_member::shared_state::ask() const {
  auto state = result::success;
  const auto said = library.async_error(communicator, &state);
  return said == result::success ? state : said;
}

expected<void> peer_member::shared_state::settled(result said, const char* call, time_point deadline) {
  for (const auto began = now(); said == result::in_progress; said = ask()) {
    const duration so_far = now() - began;
    std::unique_lock lock(mutex);
    const auto is_ending = [&] { return ending.code != errc::none; };
    if (so_far >= asked_without_pause) {
      changed.wait_for(lock, std::min(longest_between_asks, so_far / 8), is_ending);
    }
    if (is_ending()) return unexpected(ending);
    if (now() >= deadline) return fail(errc::timed_out, std::string(call) + ": not done in time", on->description());
    lock.unlock();
    if (so_far < asked_without_pause) std::this_thread::yield();
  }
  if (said == result::success) return {};
  return unexpected(library.error_of(said, call, communicator));
}

expected<void> peer_member::shared_state::run(const std::shared_ptr<peer_exchange>& exchange) {
  const auto& w = exchange->what;
  under_way = exchange;
  auto done = settled(library.all_reduce(w.x, w.x, w.n, peer_library::type_of(w.type),
                                         peer_library::operation_of(w.how), communicator, exchange->queue),
                      "ncclAllReduce");
  if (!done) return done;
  if (exchange->queue != nullptr) on_device.push_back(exchange->at);
  under_way.reset();
  exchange->settle({});
  return {};
}

void peer_member::shared_state::forget_reached() {
  const auto stream = of.lock();
  std::erase_if(on_device, [&](std::uint64_t at) { return !stream || stream->reached(at); });
}

expected<void> peer_member::shared_state::look() {
  {
    const std::lock_guard lock(mutex);
    if (ending.code != errc::none) return unexpected(ending);
  }
  forget_reached();
  return settled(ask(), "NCCL, of work on the device");
}

expected<void> peer_member::shared_state::leave() {
  // Others may have gone without: then it is aborted.
  auto done = settled(library.finalize(communicator), "ncclCommFinalize", now() + leaving_patience);
  if (!done) return done;
  const auto said = library.destroy(std::exchange(communicator, nullptr));
  if (said == result::success) return {};
  return unexpected(library.error_of(said, "ncclCommDestroy", nullptr));
}

void peer_member::shared_state::end(expected<void> outcome) {
  std::deque<std::shared_ptr<peer_exchange>> left;
  const bool broken = !outcome;
  auto why = broken ? std::move(outcome.error()) : error{errc::aborted, "the group of devices has ended", {}, {}};
  {
    const std::lock_guard lock(mutex);
    has_ended = true;
    ended_by = why;
    left.swap(asked);
    changed.notify_all();
  }
  if (under_way) left.push_front(std::move(under_way));
  forget_reached();
  if (const auto stream = of.lock(); broken && stream && !on_device.empty()) {
    // An exchange that is aborted on the device ends as if it were done, and what is behind it begins: the stream fails
    // before.
    auto named = why;
    named.what = fmt::format("kernel '{}': {}", work::all_reduce::name, why.what);
    stream->fail(on_device.front(), std::move(named));
  }
  if (communicator != nullptr) (void)library.abort(communicator);
  // Behind the abort, so that NCCL has nothing in the stream any more that could still begin.
  for (const auto& exchange : left) exchange->settle(unexpected(why));
}

void peer_member::shared_state::abort(error why) {
  const std::lock_guard lock(mutex);
  if (ending.code != errc::none) return;
  ending = std::move(why);
  changed.notify_all();
}

// ---- the member ----------------------------------------------------------------------------------------------------

peer_member::peer_member(const peer_library& library, std::shared_ptr<device> on,
                         const std::shared_ptr<stream_state>& of, const identity& who)
    : state_(std::make_shared<shared_state>(library, std::move(on), of, who)) {
  // A stream that has failed runs nothing any more, so that its exchanges would never come.
  of->when_failed([weak = std::weak_ptr(state_)](const expected<void>& outcome) {
    if (const auto s = weak.lock()) s->abort(outcome.error());
  });
  std::thread([s = state_] { s->work(); }).detach();
}

peer_member::~peer_member() {
  const std::lock_guard lock(state_->mutex);
  state_->closing = true;
  state_->changed.notify_all();
}

expected<void> peer_member::joined(time_point deadline, const abort_word* abort) {
  auto& s = *state_;
  std::unique_ptr<abort_word::registration> on_abort;
  if (abort != nullptr) {
    // Registered only to sleep, so const as far as the word's meaning goes.
    on_abort = const_cast<abort_word*>(abort)->on_abort([state = state_] {
      const std::lock_guard lock(state->mutex);
      state->changed.notify_all();
    });
  }
  const auto is_aborted = [&] { return abort != nullptr && abort->is_set(); };
  const auto come = [&] { return s.has_joined || s.has_ended || is_aborted(); };
  std::unique_lock lock(s.mutex);
  if (deadline == never) {
    s.changed.wait(lock, come);
  } else {
    s.changed.wait_until(lock, deadline, come);
  }
  if (s.has_ended) return unexpected(s.ended_by);
  if (s.has_joined && !is_aborted()) return {};
  lock.unlock();
  auto why = is_aborted() ? abort->reason()
                          : error{errc::timed_out,
                                  fmt::format("rank {} of {} on {}: not all of its group have joined in time",
                                              s.who.rank, s.who.size, s.on->description()),
                                  {},
                                  "look at what the other ranks do; NCCL_DEBUG=INFO lets NCCL say more"};
  s.abort(why);
  return unexpected(std::move(why));
}

std::shared_ptr<peer_exchange> peer_member::ask(const work::all_reduce& what, void* queue, std::uint64_t at) {
  auto made = std::make_shared<peer_exchange>(without_member(what), queue, at);
  std::unique_lock lock(state_->mutex);
  if (state_->has_ended) {
    const auto why = state_->ended_by;
    lock.unlock();
    made->settle(unexpected(why));
    return made;
  }
  state_->asked.push_back(made);
  state_->changed.notify_all();
  return made;
}

void peer_member::abort(error why) {
  state_->abort(std::move(why));
}

}  // namespace hydrogen::gpu
