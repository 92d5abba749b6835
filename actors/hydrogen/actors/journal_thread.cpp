#include <hydrogen/actors/journal_thread.hpp>
#include <hydrogen/actors/scheduler.hpp>

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iterator>

namespace hydrogen::actors {
namespace {

constexpr auto patience = std::chrono::milliseconds(2);

bool can_wait(const gang::record& r) {
  if (const auto* closed = std::get_if<gang::closed_record>(&r.body)) {
    return closed->reason == gang::close_reason::released;
  }
  return std::holds_alternative<gang::submitted_record>(r.body) ||
         std::holds_alternative<gang::cancelled_record>(r.body);
}

}  // namespace

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

void journal_thread::append(std::vector<gang::record> records) {
  const auto urgent = !std::all_of(records.begin(), records.end(), can_wait);
  auto& s = *state_;
  {
    std::lock_guard lock(s.mutex);
    s.urgent |= urgent;
    s.waiting.insert(s.waiting.end(), std::make_move_iterator(records.begin()), std::make_move_iterator(records.end()));
  }
  if (urgent && scheduler::lend([kept = state_] {
        if (const auto durable = write_waiting(*kept); durable != 0) kept->synced(durable);
      })) {
    return;
  }
  s.wake.notify_one();
}

/// Makes durable what waits, on this thread. How much is durable then; 0: nothing waited.
std::uint64_t journal_thread::write_waiting(state& s) {
  std::lock_guard writer(s.writer);
  std::vector<gang::record> batch;
  {
    std::lock_guard lock(s.mutex);
    batch.swap(s.waiting);
    s.urgent = false;
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
    s.wake.wait(lock, [&s] { return s.stopping || !s.waiting.empty(); });
    if (s.waiting.empty()) return;
    s.wake.wait_for(lock, patience, [&s] { return s.stopping || s.urgent; });
    lock.unlock();
    // Not under a lock: it may run the coordinator, and that may end this.
    if (const auto durable = write_waiting(s); durable != 0) s.synced(durable);
    lock.lock();
  }
}

}  // namespace hydrogen::actors
