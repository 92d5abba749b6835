#include <hydrogen/actors/journal_thread.hpp>

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iterator>

namespace hydrogen::actors {
namespace {

constexpr auto submitted_patience = std::chrono::milliseconds(5);

}  // namespace

journal_thread::journal_thread(std::unique_ptr<gang::journal> journal, std::function<void(std::uint64_t)> synced)
    : state_(std::make_shared<state>()) {
  state_->journal = std::move(journal);
  state_->synced = std::move(synced);
  thread_ = std::thread([s = state_] { work(*s); });
}

journal_thread::~journal_thread() {
  auto& s = *state_;
  std::vector<gang::record> last;
  const bool inside = thread_.get_id() == std::this_thread::get_id();
  {
    std::lock_guard lock(s.mutex);
    s.stopping = true;
    if (inside) last.swap(s.waiting);
  }
  if (!inside) {
    s.wake.notify_one();
    thread_.join();
    return;
  }
  if (!last.empty()) write(s, last);
  s.journal.reset();  // its lock is free for the next coordinator
  thread_.detach();
}

void journal_thread::append(std::vector<gang::record> records) {
  const auto urgent = std::any_of(records.begin(), records.end(), [](const auto& r) {
    return !std::holds_alternative<gang::submitted_record>(r.body);
  });
  auto& s = *state_;
  {
    std::lock_guard lock(s.mutex);
    s.urgent |= urgent;
    s.waiting.insert(s.waiting.end(), std::make_move_iterator(records.begin()), std::make_move_iterator(records.end()));
  }
  s.wake.notify_one();
}

std::uint64_t journal_thread::write(state& s, const std::vector<gang::record>& batch) {
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
    s.wake.wait_for(lock, submitted_patience, [&s] { return s.stopping || s.urgent; });
    s.urgent = false;
    std::vector<gang::record> batch;
    batch.swap(s.waiting);
    lock.unlock();
    const auto durable = write(s, batch);
    s.synced(durable);
    lock.lock();
  }
}

}  // namespace hydrogen::actors
