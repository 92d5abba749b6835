#include <hydrogen/actors/journal_thread.hpp>
#include <hydrogen/actors/scheduler.hpp>

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cstdlib>

namespace hydrogen::actors {

journal_thread::journal_thread(std::unique_ptr<gang::journal> journal, synced_handler synced)
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
    {
      std::lock_guard writer(s.writer);
      write_waiting(s);
    }
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
        // Another one is at it: what came since is for the journal's own thread, which may wait for that.
        std::unique_lock writer(kept->writer, std::try_to_lock);
        if (!writer) return ask(*kept);
        const auto news = write_waiting(*kept);
        writer.unlock();
        if (news) kept->synced(*news);
      })) {
    return;
  }
  ask(*state_);
}

void journal_thread::ask(state& s) {
  {
    std::lock_guard lock(s.mutex);
    s.asked = true;
  }
  s.wake.notify_one();
}

/// Makes durable what waits, on this thread. Nothing: it has been done already.
std::optional<gang::admission_event::synced> journal_thread::write_waiting(state& s) {
  if (!s.journal) return std::nullopt;  // what was lent comes after the end
  std::vector<gang::record> batch;
  {
    std::lock_guard lock(s.mutex);
    batch.swap(s.waiting);
    s.asked = false;
  }
  if (batch.empty() && s.journal->shortage().code == errc::none) return std::nullopt;
  for (const auto& record : batch) s.journal->append(record);
  const auto durable = s.journal->sync();
  if (!durable) {
    spdlog::critical("the journal cannot be written, so the coordinator ends: {}", durable.error().message());
    spdlog::shutdown();
    _exit(1);
  }
  return gang::admission_event::synced{*durable, s.journal->shortage()};
}

void journal_thread::work(state& s) {
  std::unique_lock lock(s.mutex);
  for (;;) {
    s.wake.wait(lock, [&s] { return s.stopping || s.asked; });
    if (s.stopping && s.waiting.empty()) return;
    lock.unlock();
    std::unique_lock writer(s.writer);
    const auto news = write_waiting(s);
    writer.unlock();
    // Not under a lock: it may run the coordinator, and that may end this.
    if (news) s.synced(*news);
    lock.lock();
  }
}

}  // namespace hydrogen::actors
