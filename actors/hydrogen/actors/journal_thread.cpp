#include <hydrogen/actors/journal_thread.hpp>

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cstdlib>
#include <iterator>

namespace hydrogen::actors {

journal_thread::journal_thread(std::unique_ptr<gang::journal> journal, std::function<void(std::uint64_t)> synced)
    : journal_(std::move(journal)), synced_(std::move(synced)), thread_([this] { work(); }) {}

journal_thread::~journal_thread() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void journal_thread::append(std::vector<gang::record> records) {
  {
    std::lock_guard lock(mutex_);
    waiting_.insert(waiting_.end(), std::make_move_iterator(records.begin()), std::make_move_iterator(records.end()));
  }
  wake_.notify_one();
}

void journal_thread::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    std::vector<gang::record> batch;
    batch.swap(waiting_);
    lock.unlock();
    for (const auto& record : batch) journal_->append(record);
    const auto durable = journal_->sync();
    if (!durable) {
      spdlog::critical("the journal cannot be written, so the coordinator ends: {}", durable.error().message());
      spdlog::shutdown();
      _exit(1);
    }
    synced_(*durable);
    lock.lock();
  }
}

}  // namespace hydrogen::actors
