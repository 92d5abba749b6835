#include <hydrogen/gpu/host/host_device.hpp>
#include <hydrogen/gpu/host/run.hpp>

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cstdlib>
#include <system_error>
#include <utility>

namespace hydrogen::gpu {

std::unique_ptr<backend_device> open_host_device(device& front) {
  return std::make_unique<host::host_device>(front);
}

namespace host {
namespace {

constexpr std::size_t alignment = 256;
constexpr std::size_t most_in_a_row = 16;  // items of one stream, before another one's turn
constexpr std::size_t most_unbegun = 256;  // items that wait for somebody to want them

constexpr auto least_patience = std::chrono::seconds(1);        // of who helps
constexpr double most_products = 1e8, most_elements = 1 << 24;  // of an item that it may run: some ten milliseconds

/// About how many numbers it looks at; products of those of a matrix product count as a fraction.
double elements_of(const work::any& what) {
  return std::visit(
      [](const auto& w) -> double {
        using W = std::decay_t<decltype(w)>;
        if constexpr (std::is_same_v<W, work::matrix_product>) {
          return static_cast<double>(w.batch) * static_cast<double>(w.m) * static_cast<double>(w.n) *
                 static_cast<double>(w.k) * (most_elements / most_products);
        } else if constexpr (requires { w.parts; }) {
          double sum = 0;
          for (const auto& part : *w.parts) sum += static_cast<double>(part.n);
          return sum;
        } else if constexpr (requires { w.tensors; }) {
          double sum = 0;
          for (const auto& tensor : *w.tensors) sum += static_cast<double>(tensor.n);
          return sum;
        } else if constexpr (requires { w.dimensions; }) {
          return static_cast<double>(w.n) * static_cast<double>(w.dimensions) * static_cast<double>(w.k);
        } else if constexpr (requires { w.features; }) {
          return static_cast<double>(w.rows) * static_cast<double>(w.features);
        } else if constexpr (requires { w.table_rows; }) {
          return static_cast<double>(w.n) * static_cast<double>(w.columns);
        } else if constexpr (requires { w.columns; }) {
          return static_cast<double>(w.rows) * static_cast<double>(w.columns);
        } else if constexpr (requires { w.bytes; }) {
          return static_cast<double>(w.bytes) / 4;
        } else if constexpr (requires { w.n; }) {
          return static_cast<double>(w.n);
        } else {
          return 0;
        }
      },
      what);
}

/// User code could take for ever, a member of a group may never come, and large work takes long: none of it is for a
/// thread that has a deadline.
bool may_take_long(const recorded& item) {
  return std::holds_alternative<work::custom>(item.what) || std::holds_alternative<work::all_reduce>(item.what) ||
         elements_of(item.what) > most_elements;
}

struct host_recording final : prepared_graph {
  explicit host_recording(std::vector<recorded> list)
      : items(std::move(list)),
        takes_long(std::any_of(items.begin(), items.end(), [](const recorded& i) { return may_take_long(i); })) {}
  const std::vector<recorded> items;
  const bool takes_long;
};

}  // namespace

// ---- threads -------------------------------------------------------------------------------------------------------

void crew::count(int change) {
  const std::lock_guard lock(mutex_);
  active_ += change;
  if (active_ == 0 && ending_) drained_.notify_all();
}

void crew::hand(std::shared_ptr<stream_state> s) {
  const std::lock_guard lock(mutex_);
  if (ending_ && active_ == 0) return;  // somebody who waited has done it all in between
  runnable_.push_back(std::move(s));
  if (idle_ == 0 && threads_.size() < most_) {
    try {
      threads_.emplace_back([this] { work(); });
    } catch (const std::system_error&) {
      if (threads_.empty()) throw;
    }
  }
  changed_.notify_one();
}

void crew::work() {
  this_thread_must_not_wait();
  std::unique_lock lock(mutex_);
  while (true) {
    if (!runnable_.empty()) {
      auto s = std::move(runnable_.front());
      runnable_.pop_front();
      lock.unlock();
      static_cast<host_stream&>(*s->queue).run_handed();
      s.reset();
      lock.lock();
      continue;
    }
    if (ending_ && active_ == 0) return;
    ++idle_;
    changed_.wait(lock);
    --idle_;
  }
}

void crew::drain() noexcept {
  std::vector<std::thread> threads;
  {
    std::unique_lock lock(mutex_);
    ending_ = true;
    // Until then work that is left may need a thread that is not there yet.
    while (active_ != 0) drained_.wait(lock);
    changed_.notify_all();
    threads.swap(threads_);
  }
  for (auto& t : threads) t.join();
}

// ---- the device ----------------------------------------------------------------------------------------------------

host_device::host_device(device& front)
    : front_(front), crew_(std::make_shared<crew>(front.info().processors)), held_(memory_held(front.info().id)) {}

expected<std::unique_ptr<backend_stream>> host_device::make_stream(stream_state& state) {
  return std::make_unique<host_stream>(state, crew_, faults_);
}

expected<void*> host_device::allocate(memory_kind kind, std::size_t bytes) {
  bool lost = false;
  if (auto planned = faults_.before("allocate_memory", lost); !planned) {
    return fail(errc::over_limit, fmt::format("{}: {}", front_.description(), planned.error().what));
  }
  void* at = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (at == nullptr)
    return fail(errc::over_limit, fmt::format("{}: no memory for {} bytes", front_.description(), bytes));
  if (kind == memory_kind::device) held_ += bytes;
  return at;
}

void host_device::free(memory_kind kind, void* at, std::size_t bytes) noexcept {
  bool lost = false;
  (void)faults_.before("free_memory", lost);
  std::free(at);
  if (kind == memory_kind::device) held_ -= bytes;
}

std::size_t host_device::scratch_for(const work::any& what) const {
  return host::scratch_for(what);
}

expected<void> host_device::can_run(const work::any& what) {
  const auto* custom = std::get_if<work::custom>(&what);
  if (custom == nullptr || custom->code->host) return {};
  return fail(errc::refused, fmt::format("kernel '{}' has no host function, and {} is a virtual device",
                                         custom->code->name, front_.description()));
}

expected<std::shared_ptr<prepared_graph>> host_device::prepare(std::vector<recorded> items) {
  return std::make_shared<host_recording>(std::move(items));
}

// ---- a stream ------------------------------------------------------------------------------------------------------

void host_stream::submit(recorded item, std::uint64_t at) {
  push({at, std::move(item), nullptr, nullptr, {}});
}

void host_stream::submit(std::shared_ptr<prepared_graph> recording, std::uint64_t at) {
  push({at, {}, std::move(recording), nullptr, {}});
}

void host_stream::wait_for(const std::shared_ptr<stream_state>& other, std::uint64_t at, behind needs) {
  push({at, {}, nullptr, other, needs});
}

void host_stream::push(entry e) {
  std::unique_lock lock(mutex_);
  queue_.push_back(std::move(e));
  // Not too late, in case nobody ever asks.
  if (queue_.size() >= most_unbegun) wanted_ = std::max(wanted_, state_.completed() + 1);
  hand_if_wanted(lock);
}

void host_stream::want(std::uint64_t at) {
  std::unique_lock lock(mutex_);
  wanted_ = std::max(wanted_, at);
  hand_if_wanted(lock);
}

void host_stream::hand_if_wanted(std::unique_lock<std::mutex>& lock) {
  if (place_ != place::idle || queue_.empty() || wanted_ <= state_.completed()) return;
  place_ = place::handed;
  if (!std::exchange(counted_, true)) crew_->count(1);
  lock.unlock();
  crew_->hand(state_.shared_from_this());
}

void host_stream::run_handed() {
  {
    const std::lock_guard lock(mutex_);
    if (place_ != place::handed) return;  // a waiting thread has taken it over
    place_ = place::running;
  }
  for (std::size_t n = 0; n < most_in_a_row; ++n) {
    const auto done = step(~std::uint64_t{0}, false);
    if (done == progress::parked) return;
    if (done == progress::stopped) break;
  }
  std::unique_lock lock(mutex_);
  // Who wanted some of it gets all: nobody would begin the rest.
  if (!queue_.empty()) wanted_ = std::max(wanted_, state_.completed() + 1);
  leave(lock);
}

void host_stream::leave(std::unique_lock<std::mutex>& lock) {
  place_ = place::idle;
  // What nobody wants is nothing that the device waits for; the end of the stream wants all.
  if ((queue_.empty() || wanted_ <= state_.completed()) && std::exchange(counted_, false)) crew_->count(-1);
  hand_if_wanted(lock);
}

void host_stream::help(std::uint64_t at, time_point deadline, const abort_word* abort) {
  if (deadline < now() + least_patience || faults_.any()) return;
  {
    const std::lock_guard lock(mutex_);
    if (place_ != place::idle && place_ != place::handed) return;
    place_ = place::running;
  }
  while (!state_.reached(at) && !(abort != nullptr && abort->is_set()) && now() < deadline) {
    const auto done = step(at, true);
    if (done == progress::parked) return;
    if (done == progress::stopped) break;
  }
  std::unique_lock lock(mutex_);
  leave(lock);
}

host_stream::progress host_stream::step(std::uint64_t until, bool helping) {
  entry next;
  {
    std::unique_lock lock(mutex_);
    if (queue_.empty()) return progress::stopped;
    auto& front = queue_.front();
    if (front.other && !front.other->settled(front.at) && !state_.has_failed()) {
      place_ = place::parked;
      const auto other = front.other;
      const auto at = front.at;
      if (!std::exchange(counted_, true)) crew_->count(1);
      lock.unlock();
      other->then(at, [self = state_.shared_from_this()](const expected<void>&) {
        static_cast<host_stream&>(*self->queue).unpark();
      });
      return progress::parked;
    }
    if (helping && may_take_long(front.item)) return progress::stopped;
    if (helping && front.recording && static_cast<const host_recording&>(*front.recording).takes_long) {
      return progress::stopped;
    }
    if (!front.other && front.at > until) return progress::stopped;
    next = std::move(front);
    queue_.pop_front();
  }
  if (next.other) {
    // What it was to begin with is not there.
    if (auto made = next.other->outcome(next.at); !made && next.needs == behind::result) {
      state_.fail(state_.completed() + 1, std::move(made.error()));
    }
    return progress::ran;
  }
  run(next);
  state_.complete(next.at);
  return progress::ran;
}

void host_stream::unpark() {
  std::unique_lock lock(mutex_);
  if (place_ != place::parked) return;
  place_ = place::idle;
  wanted_ = std::max(wanted_, state_.completed() + 1);
  hand_if_wanted(lock);
}

void host_stream::run(const entry& e) {
  if (!e.recording) return run(e.item, e.at);
  for (const auto& item : static_cast<const host_recording&>(*e.recording).items) run(item, e.at);
}

void host_stream::run(const recorded& item, std::uint64_t at) {
  if (state_.has_failed()) return;
  const char* kernel = work::name_of(item.what);
  state_.begins(kernel);
  bool lost = false;
  error why{errc::none, {}, {}, {}};
  if (auto planned = faults_.before(kernel, lost); !planned) {
    why = std::move(planned.error());
  } else {
    run_context context{item.scratch, {}};
    try {
      std::visit([&](const auto& w) { host::run(w, context); }, item.what);
    } catch (const failure& f) {
      why = f.reason();
    } catch (const std::exception& e) {
      why = {errc::task_failed, e.what(), {}, {}};
    } catch (...) {
      why = {errc::task_failed, "an exception that is no std::exception", {}, {}};
    }
    if (!context.fault.empty()) why = {errc::bad_input, std::move(context.fault), {}, {}};
  }
  if (why.code == errc::none) return;
  why.what = fmt::format("kernel '{}': {}", kernel, why.what);
  if (lost) return state_.on.lose(std::move(why));
  state_.fail(at, std::move(why));
}

}  // namespace host
}  // namespace hydrogen::gpu
