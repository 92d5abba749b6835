#include <hydrogen/actors/executor_links.hpp>

namespace hydrogen::actors {

executor_links::executor_links(process& home, answer_handler answer, unreachable_handler unreachable)
    : home_(home), answer_(std::move(answer)), unreachable_(std::move(unreachable)) {}

std::shared_ptr<const task_reply> executor_links::reply_of(boot_id executor) {
  std::lock_guard lock(mutex_);
  if (local_ != executor) {
    local_ = executor;
    local_reply_ = std::make_shared<const task_reply>([self = weak_from_this(), executor](exec::from_task_host&& m) {
      if (auto links = self.lock()) links->answer_(executor, through_codec(std::move(m)));
    });
  }
  return local_reply_;
}

void executor_links::send(const data::process_ref& to, std::vector<exec::to_task_host> messages) {
  if (const auto executor = home_.find_executor(to.boot)) {
    for (auto& message : messages) message = through_codec(std::move(message));
    caf::anon_send(
        executor, task_mail{std::make_shared<std::vector<exec::to_task_host>>(std::move(messages)), reply_of(to.boot)});
    return;
  }
  if (to.endpoint.empty()) {
    unreachable_(to.boot, {errc::disconnected, "the executor is gone", {}, {}}, false);
    return;
  }
  std::vector<byte_buffer> frames;
  for (std::size_t next = 0; next < messages.size();) {
    frames.push_back(make_batch_frame(frame_kind::to_task_host, messages, next));
  }
  comm::connection_ptr connection;
  bool fresh = false;
  {
    std::lock_guard lock(mutex_);
    if (closed_) return;
    const auto [at, is_new] = remotes_.try_emplace(to.boot);
    fresh = is_new;
    connection = at->second.connection;
    if (!connection) {
      for (auto& frame : frames) at->second.waiting.push_back(std::move(frame));
    }
  }
  if (fresh) dial(to);
  if (!connection) return;
  for (const auto& frame : frames) connection->send(frame);
}

void executor_links::dial(const data::process_ref& to) {
  comm::connection_handlers handlers;
  const auto self = weak_from_this();
  handlers.on_frame = [self, boot = to.boot](const comm::connection_ptr& from, byte_buffer frame) {
    auto links = self.lock();
    if (!links) return;
    auto messages = read_batch_frame<exec::from_task_host>(frame);
    if (kind_of(frame) != frame_kind::from_task_host || !messages) {
      from->close({errc::bad_input, "a frame that a driver does not understand", from->peer().who, {}});
      return;
    }
    for (auto& message : *messages) links->answer_(boot, std::move(message));
  };
  handlers.on_closed = [self, boot = to.boot](const comm::connection_ptr&, const error& why) {
    if (auto links = self.lock()) links->lost(boot, why, true);
  };
  home_.connect(to.endpoint, to.boot, process::dial_timeout, std::move(handlers),
                [self, boot = to.boot](expected<comm::connection_ptr> made) {
                  auto links = self.lock();
                  if (!links) {
                    if (made) (*made)->close({errc::cancelled, "the driver ends", {}, {}});
                    return;
                  }
                  if (!made) return links->lost(boot, made.error(), false);
                  std::lock_guard lock(links->mutex_);
                  const auto at = links->remotes_.find(boot);
                  if (links->closed_ || at == links->remotes_.end() || !(*made)->is_open()) {
                    (*made)->close({errc::cancelled, "the driver ends", {}, {}});
                    return;
                  }
                  // Under the lock, so that what waited leaves before what comes now.
                  for (auto& frame : at->second.waiting) (*made)->send(frame);
                  at->second.waiting.clear();
                  at->second.connection = *made;
                });
}

void executor_links::lost(boot_id boot, const error& why, bool stood) {
  {
    std::lock_guard lock(mutex_);
    remotes_.erase(boot);
    if (closed_) return;
  }
  home_.forget(boot);
  unreachable_(boot, why, stood);
}

void executor_links::close() {
  std::unordered_map<boot_id, remote> remotes;
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
    remotes.swap(remotes_);
  }
  for (auto& [boot, r] : remotes) {
    home_.forget(boot);
    if (r.connection) r.connection->close({errc::cancelled, "the driver ends", {}, {}});
  }
}

}  // namespace hydrogen::actors
