#pragma once
// What the tasks of an executor process say to one driver, gathered: the first answer mails the flusher, and all that
// have come by the time it acts leave in one frame. Thread-safe; never blocks.

#include <hydrogen/actors/mail.hpp>
#include <hydrogen/actors/wire.hpp>
#include <hydrogen/comm/connection.hpp>

#include <memory>
#include <mutex>
#include <vector>

namespace hydrogen::actors {

class answer_batch;
struct flush_mail {
  std::shared_ptr<answer_batch> what;
};

class answer_batch : public std::enable_shared_from_this<answer_batch> {
 public:
  /// `flusher` answers flush_mail with `what->flush()`. On the scheduler of the tasks, so that it runs behind those
  /// that are done already.
  answer_batch(const comm::connection_ptr& to, caf::actor flusher) : to_(to), flusher_(std::move(flusher)) {}

  void put(exec::from_task_host&& answer) {
    {
      std::lock_guard lock(mutex_);
      waiting_.push_back(std::move(answer));
      if (waiting_.size() > 1) return;
    }
    caf::anon_send(flusher_, flush_mail{shared_from_this()});
  }

  void flush() {
    std::vector<exec::from_task_host> answers;
    {
      std::lock_guard lock(mutex_);
      answers.swap(waiting_);
    }
    const auto to = to_.lock();
    for (std::size_t next = 0; to && next < answers.size();) {
      to->send(make_batch_frame(frame_kind::from_task_host, answers, next));
    }
  }

 private:
  const std::weak_ptr<comm::connection> to_;  // its handlers keep this
  const caf::actor flusher_;
  std::mutex mutex_;
  std::vector<exec::from_task_host> waiting_;
};

}  // namespace hydrogen::actors

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::actors::flush_mail)
