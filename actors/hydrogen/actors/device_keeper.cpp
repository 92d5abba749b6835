#include <hydrogen/actors/device_keeper.hpp>
#include <hydrogen/gpu/device_memory.hpp>

#include <pthread.h>
#include <spdlog/fmt/fmt.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <system_error>
#include <thread>

namespace hydrogen::actors {
namespace {

constexpr std::string_view kind = "gpu";

const gang::held_devices* gpus_of(const std::vector<gang::held_devices>& devices) {
  const auto at = std::find_if(devices.begin(), devices.end(), [](const auto& d) { return d.kind == kind; });
  return at == devices.end() ? nullptr : &*at;
}

}  // namespace

expected<std::uint64_t> device_keeper::memory_of_gpu(const gpu::device_info& gpu) {
  if (gpu.backend == gpu::backend_kind::host) return fail(errc::not_found, "a virtual device");
  return gpu::device_memory_in_use(gpu);
}

/// A device waits for its work when it ends, which actors must not.
void device_keeper::close(std::vector<closing> devices, memory_reader in_use, std::function<void()> closed) {
  if (devices.empty()) return;
  // Kept for ever where there can be no thread; who wants to be told gives up then.
  auto* const kept = new std::vector<closing>(std::move(devices));
  const auto work = [kept, in_use = std::move(in_use), closed = std::move(closed)] {
    pthread_setname_np(pthread_self(), "hy-closing");  // not that of the actors' thread
    const auto all = std::move(*kept);
    delete kept;
    constexpr auto look_again = std::chrono::milliseconds(20);
    // Whoever wants to be told gives up sooner, and the process with it.
    const auto until = now() + std::chrono::minutes(1);
    for (const auto& c : all) {
      if (!c.from->on) continue;
      const auto& did = c.from->on->counters();
      spdlog::debug("{} is closed after {} items, {} recordings, {} replays and {} faults", c.from->on->description(),
                    did.items.load(), did.captures.load(), did.replays.load(), did.faults.load());
      c.from->on.reset();
    }
    if (!closed) return;
    for (const auto& c : all) {
      const auto is_back = [&] {
        const auto used = c.from->in_use_before ? in_use(c.what) : fail(errc::not_found, "not known before");
        return !used || *used <= *c.from->in_use_before + c.what.memory / 100;
      };
      while (!is_back()) {
        if (now() >= until) return;
        std::this_thread::sleep_for(look_again);
      }
    }
    closed();
  };
  try {
    std::thread(work).detach();
  } catch (const std::system_error& e) {
    spdlog::error("no thread to close a device: {}", e.what());
  }
}

device_keeper::~device_keeper() {
  std::vector<closing> all;
  for (auto& [number, p] : open_) all.push_back({gpus_[number], std::move(p)});
  close(std::move(all), nullptr, nullptr);
}

void device_keeper::hold(const gang::attempt_ref& ref, std::vector<gang::held_devices> devices) {
  const std::lock_guard lock(mutex_);
  if (attempts_.contains(ref)) return;  // said again; its tasks have their seats
  // An attempt that was given up before its job knew of it is not ended here.
  std::erase_if(attempts_, [&](const auto& other) {
    return std::any_of(devices.begin(), devices.end(), [&](const gang::held_devices& mine) {
      const auto& known = other.second.devices;
      return std::any_of(known.begin(), known.end(), [&](const auto& theirs) {
        return theirs.kind == mine.kind &&
               std::find_first_of(theirs.numbers.begin(), theirs.numbers.end(), mine.numbers.begin(),
                                  mine.numbers.end()) != theirs.numbers.end();
      });
    });
  });
  attempts_[ref] = {std::move(devices), {}};
  changed_.notify_all();
}

std::vector<device_keeper::closing> device_keeper::unheld() {
  std::vector<closing> found;
  std::erase_if(open_, [&](auto& entry) {
    for (const auto& [ref, holds] : attempts_) {
      const auto* held = gpus_of(holds.devices);
      if (held != nullptr &&
          std::find(held->numbers.begin(), held->numbers.end(), entry.first) != held->numbers.end()) {
        return false;
      }
    }
    found.push_back({gpus_[entry.first], std::move(entry.second)});
    return true;
  });
  return found;
}

bool device_keeper::over(const gang::attempt_ref& ref, std::function<void()> closed) {
  std::vector<closing> unused;
  {
    const std::lock_guard lock(mutex_);
    if (attempts_.erase(ref) == 0) return false;
    unused = unheld();
  }
  if (unused.empty()) return false;
  close(std::move(unused), in_use_, std::move(closed));
  return true;
}

expected<device_keeper::holding*> device_keeper::held_by(const gang::attempt_ref& ref, time_point deadline,
                                                         const abort_word& abort, std::unique_lock<std::mutex>& lock) {
  // The agent said it before the attempt was committed, by another way than its job.
  constexpr auto look_at_abort = std::chrono::milliseconds(20);
  while (!attempts_.contains(ref)) {
    if (abort.is_set()) return unexpected(abort.reason());
    if (now() >= deadline) return fail(errc::timed_out, "the agent has not said which devices this attempt has");
    changed_.wait_for(lock, look_at_abort);
  }
  return &attempts_.at(ref);
}

expected<device_keeper::seat_devices> device_keeper::of_seat(const gang::attempt_ref& ref, std::uint32_t seat,
                                                             time_point deadline, const abort_word& abort,
                                                             std::unique_lock<std::mutex>& lock) {
  const auto holds = held_by(ref, deadline, abort, lock);
  if (!holds) return unexpected(holds.error());
  seat_devices mine;
  const auto* held = gpus_of((*holds)->devices);
  if (held == nullptr) return mine;
  mine.shared_by = held->shared_by;
  const auto first = std::size_t{seat / held->shared_by} * held->each;
  for (auto at = first; at < first + held->each && at < held->numbers.size(); ++at) {
    const auto number = held->numbers[at];
    if (number >= gpus_.size()) {
      return fail(errc::not_found, fmt::format("the node has no gpu with the number {}", number));
    }
    mine.numbers.push_back(number);
  }
  return mine;
}

expected<std::uint32_t> device_keeper::take_seat(const gang::attempt_ref& ref, time_point deadline,
                                                 const abort_word& abort) {
  std::unique_lock lock(mutex_);
  const auto holds = held_by(ref, deadline, abort, lock);
  if (!holds) return unexpected(holds.error());
  auto& seats = (*holds)->seats;
  const auto free = std::find(seats.begin(), seats.end(), false);
  const auto seat = static_cast<std::uint32_t>(free - seats.begin());
  if (free == seats.end()) seats.push_back(false);  // no more tasks than slots run at a time
  seats[seat] = true;
  return seat;
}

void device_keeper::leave_seat(const gang::attempt_ref& ref, std::uint32_t seat) {
  const std::lock_guard lock(mutex_);
  const auto at = attempts_.find(ref);
  if (at != attempts_.end()) at->second.seats.at(seat) = false;
}

expected<std::vector<gpu::device_info>> device_keeper::devices_of(const gang::attempt_ref& ref, std::uint32_t seat,
                                                                  time_point deadline, const abort_word& abort) {
  std::unique_lock lock(mutex_);
  const auto mine = of_seat(ref, seat, deadline, abort, lock);
  if (!mine) return unexpected(mine.error());
  std::vector<gpu::device_info> all;
  for (const auto n : mine->numbers) all.push_back(gpus_[n]);
  return all;
}

expected<exec::lent_device> device_keeper::lend(const gang::attempt_ref& ref, std::uint32_t seat, std::size_t which,
                                                time_point deadline, const abort_word& abort) {
  std::unique_lock lock(mutex_);
  const auto mine = of_seat(ref, seat, deadline, abort, lock);
  if (!mine) return unexpected(mine.error());
  if (which >= mine->numbers.size()) {
    return fail(errc::not_found, fmt::format("device {} of {} that each slot has", which, mine->numbers.size()), {},
                "ask for more: barrier_options::needs of a gang, needs() of a dataset");
  }
  const auto number = mine->numbers[which];
  auto made = open(number, lock);
  if (!made) return unexpected(std::move(made.error()));
  return exec::lent_device{std::move(*made), mine->shared_by == 1 ? 0 : gpus_[number].memory / mine->shared_by};
}

expected<std::shared_ptr<gpu::device>> device_keeper::open(std::uint32_t number, std::unique_lock<std::mutex>& lock) {
  auto& known = open_[number];
  if (!known) known = std::make_shared<place>();
  const auto here = known;
  if (here->on) return here->on;
  lock.unlock();
  const std::lock_guard alone(here->opening);
  lock.lock();
  if (here->on) return here->on;
  lock.unlock();
  const auto used = in_use_(gpus_[number]);
  auto made = gpu::device::open(gpus_[number]);
  lock.lock();
  if (!made) return made;
  here->on = *made;
  if (used) here->in_use_before = *used;
  return made;
}

error device_keeper::lost() const {
  const std::lock_guard lock(mutex_);
  for (const auto& [number, p] : open_) {
    if (!p->on) continue;
    if (auto well = p->on->health(); !well) return well.error();
  }
  return {errc::none, {}, {}, {}};
}

}  // namespace hydrogen::actors
