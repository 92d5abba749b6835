#include <hydrogen/actors/answer_batch.hpp>
#include <hydrogen/actors/executor.hpp>
#include <hydrogen/actors/executor_process.hpp>
#include <hydrogen/actors/last_words.hpp>
#include <hydrogen/actors/library_cache.hpp>
#include <hydrogen/actors/process.hpp>
#include <hydrogen/base/log.hpp>
#include <hydrogen/exec/application.hpp>

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

namespace hydrogen::actors {
namespace {

/// What the reactor thread hands to the main thread.
struct executor_process {
  std::mutex mutex;
  std::condition_variable changed;
  std::optional<assign_executor> order;
  std::optional<error> end;
  caf::actor executor;
  std::vector<gang::to_executor> early;
};

}  // namespace

int run_executor(int control_fd, const comm::connection_options& connections) {
  // Not for the children of user code: an open copy would hide this process's death from the agent.
  for (const int fd : {control_fd, control_fd + 1}) fcntl(fd, F_SETFD, FD_CLOEXEC);
  signal(SIGINT, SIG_IGN);  // the terminal's Ctrl-C is for the driver
  start_logging("executor", "info");
  install_last_words(control_fd + 1, {});
  auto reactor = std::make_unique<comm::reactor>();
  auto state = std::make_shared<executor_process>();
  comm::connection_handlers handlers;
  handlers.on_frame = [state](const comm::connection_ptr&, byte_buffer frame) {
    if (kind_of(frame) == frame_kind::to_executor) {
      auto message = read_frame<gang::to_executor>(frame);
      if (!message) return;
      std::lock_guard lock(state->mutex);
      if (state->executor)
        caf::anon_send(state->executor, attempt_mail{std::move(*message)});
      else
        state->early.push_back(std::move(*message));
      return;
    }
    if (kind_of(frame) != frame_kind::executor_order) return;
    auto order = read_frame<executor_order>(frame);
    if (!order) return;
    std::lock_guard lock(state->mutex);
    if (auto* assign = std::get_if<assign_executor>(&*order)) state->order = std::move(*assign);
    state->changed.notify_all();
  };
  // The agent is gone or silent: nobody can end this process any more, so it ends itself, whatever its threads do.
  handlers.on_closed = [](const comm::connection_ptr&, const error&) { _exit(0); };
  auto control =
      reactor->adopt(unique_fd(control_fd), comm::hello{comm::link_purpose::control, {}, {}, "the agent", {}, {}},
                     std::move(handlers), connections);

  assign_executor order;
  {
    std::unique_lock lock(state->mutex);
    state->changed.wait(lock, [&] { return state->order.has_value(); });
    order = *state->order;
  }
  start_logging(order.node + "/executor", order.log_level);
  const auto cannot = [&](gang::refusal_kind kind, error why) {
    spdlog::error("executor of {} cannot start: {}", order.app.name, why.message());
    control->send(
        make_frame(frame_kind::executor_word, executor_word(executor_cannot_start{order.boot, kind, std::move(why)})));
    std::unique_lock lock(state->mutex);
    state->changed.wait_for(lock, 10s, [] { return false; });  // the agent ends this process
    return 1;
  };

  const auto secret = comm::secret::from_key(order.secret);
  auto library = library_in_cache(order.app, order.cache_dir, secret, order.boot);
  if (!library) {
    const auto code = library.error().code;
    const auto kind = code == errc::mismatch || code == errc::bad_input || code == errc::not_found
                          ? gang::refusal_kind::application
                          : gang::refusal_kind::executor;
    return cannot(kind, library.error());
  }
  auto application =
      exec::load_application(*library, [&](const error& why) { cannot(gang::refusal_kind::application, why); });
  if (!application) return cannot(gang::refusal_kind::application, application.error());

  process_options options;
  options.listen = order.listen;
  options.who = "executor of " + order.app.name + " on " + order.node;
  options.boot = order.boot;
  options.secret = secret;
  options.connections = connections;
  auto home = process::start(std::move(options), std::move(reactor));
  if (!home) return cannot(gang::refusal_kind::executor, home.error());

  executor_options work;
  work.app = order.app;
  work.boot = order.boot;
  work.node = order.node;
  work.block_budget = order.block_budget;
  work.storage_dir = order.storage_dir;
  work.join_timeout = order.join_timeout;
  work.gpus = order.gpus;
  work.to_agent = [control](const gang::from_executor& m) { control->send(make_frame(frame_kind::from_executor, m)); };
  auto executor = spawn_executor(**home, std::move(work));
  // An executor that ended by an exception would leave its job waiting: the agent sees the end of the process.
  executor->attach_functor([](const caf::error&) { _exit(1); });
  (*home)->serve_control([executor, owner = order.app.driver](const comm::hello& peer) {
    comm::connection_handlers from_driver;
    if (peer.from != owner) {
      from_driver.on_frame = [](const comm::connection_ptr& from, byte_buffer) {
        from->close({errc::refused, "this executor belongs to another run", comm::name_of(from->peer()), {}});
      };
      return std::pair(std::move(from_driver), process::open_handler());
    }
    from_driver.on_frame = [executor, reply = std::shared_ptr<const task_reply>()](const comm::connection_ptr& from,
                                                                                   byte_buffer frame) mutable {
      auto messages = read_batch_frame<exec::to_task_host>(frame);
      if (kind_of(frame) != frame_kind::to_task_host || !messages) {
        from->close({errc::bad_input, "a frame that an executor does not understand", from->peer().who, {}});
        return;
      }
      if (!reply) {
        reply =
            std::make_shared<const task_reply>([batch = std::make_shared<answer_batch>(from, executor)](
                                                   exec::from_task_host&& answer) { batch->put(std::move(answer)); });
      }
      caf::anon_send(executor,
                     task_mail{std::make_shared<std::vector<exec::to_task_host>>(std::move(*messages)), reply});
    };
    return std::pair(std::move(from_driver), process::open_handler());
  });
  {
    std::lock_guard lock(state->mutex);
    for (auto& message : state->early) caf::anon_send(executor, attempt_mail{std::move(message)});
    state->early.clear();
    state->executor = executor;
  }
  control->send(
      make_frame(frame_kind::executor_word, executor_word(executor_listening{order.boot, (*home)->endpoint()})));
  // From here on the reactor, the actors and the slot threads do everything; the process ends by its agent.
  std::unique_lock lock(state->mutex);
  for (;;) state->changed.wait(lock);
}

}  // namespace hydrogen::actors
