#include <hydrogen/actors/journal_thread.hpp>
#include <hydrogen/actors/scheduler.hpp>

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cstdlib>

namespace hydrogen::actors {

journal_thread::journal_thread(std::unique_ptr<gang::journal> journal, std::function<void(std::uint64_t)> synced)
    : state_(std::make_shared<state>()) {
  state_->journal = std::move(journal);
  state_->synced = std::move(synced);
  thread_ = std::thread([s = state_] { work(*s); });
}

journal_thread::~journal_thread() {
  auto& s = *state_;
  {
    std::lock_guard lock(s.mutex);
    s.stopping = true;
  }
  s.wake.notify_one();
  if (thread_.get_id() == std::this_thread::get_id()) {
    write_waiting(s);
    thread_.detach();
  } else {
    thread_.join();
  }
  // A thread that was lent the last sync may be at it.
  std::lock_guard writer(s.writer);
  s.journal.reset();  // its lock is free for the next coordinator
}

void journal_thread::append(gang::record what) {
  std::lock_guard lock(state_->mutex);
  state_->waiting.push_back(std::move(what));
}

void journal_thread::sync() {
  if (scheduler::lend([kept = state_] {
        if (const auto durable = write_waiting(*kept); durable != 0) kept->synced(durable);
      })) {
    return;
  }
  {
    std::lock_guard lock(state_->mutex);
    state_->asked = true;
  }
  state_->wake.notify_one();
}

/// Makes durable what waits, on this thread. How much is durable then; 0: nothing waited.
std::uint64_t journal_thread::write_waiting(state& s) {
  std::lock_guard writer(s.writer);
  std::vector<gang::record> batch;
  {
    std::lock_guard lock(s.mutex);
    batch.swap(s.waiting);
    s.asked = false;
  }
  if (batch.empty()) return 0;
  for (const auto& record : batch) s.journal->append(record);
  const auto durable = s.journal->sync();
  if (!durable) {
    spdlog::critical("the journal cannot be written, so the coordinator ends: {}", durable.error().message());
    spdlog::shutdown();
    _exit(1);
  }
  return *durable;
}

void journal_thread::work(state& s) {
  std::unique_lock lock(s.mutex);
  for (;;) {
    s.wake.wait(lock, [&s] { return s.stopping || s.asked; });
    if (s.stopping && s.waiting.empty()) return;
    lock.unlock();
    // Not under a lock: it may run the coordinator, and that may end this.
    if (const auto durable = write_waiting(s); durable != 0) s.synced(durable);
    lock.lock();
  }
}

}  // namespace hydrogen::actors
