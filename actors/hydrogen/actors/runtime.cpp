#include <hydrogen/actors/last_words.hpp>
#include <hydrogen/actors/local_cluster.hpp>
#include <hydrogen/actors/node_gpus.hpp>
#include <hydrogen/actors/runtime.hpp>
#include <hydrogen/actors/signals.hpp>
#include <hydrogen/base/log.hpp>
#include <hydrogen/base/node_config.hpp>
#include <hydrogen/base/units.hpp>
#include <hydrogen/comm/tuner.hpp>
#include <hydrogen/exec/application.hpp>
#include <hydrogen/plan/context.hpp>

#include <poll.h>
#include <spdlog/fmt/fmt.h>
#include <spdlog/spdlog.h>

#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

namespace hydrogen::actors {
namespace {

constexpr int exit_failed = 1;
constexpr int exit_bad_input = 2;
constexpr int exit_interrupted = 130;

int report(const error& why, int code) {
  std::fflush(stdout);
  std::fprintf(stderr, "hydrogen: %s\n", why.message().c_str());
  return code;
}

/// Which exit code an error of starting up deserves: what the user can mend is bad input.
int code_of(const error& why) {
  switch (why.code) {
    case errc::bad_input:
    case errc::not_found:
    case errc::refused:
    case errc::mismatch:
      return exit_bad_input;
    case errc::cancelled:
      return exit_interrupted;
    default:
      return exit_failed;
  }
}

/// What a signal cancels, once there is something.
class interruptible {
 public:
  void set(const std::shared_ptr<driver>& d) {
    std::lock_guard lock(mutex_);
    driver_ = d;
  }
  void interrupt(int count) {
    std::shared_ptr<driver> d;
    {
      std::lock_guard lock(mutex_);
      d = driver_.lock();
    }
    if (!d || count > 1) {
      remove_scratch_folders();
      _exit(exit_interrupted);
    }
    std::fprintf(stderr, "hydrogen: interrupted; cancelling (once more: end at once)\n");
    d->cancel();
  }

 private:
  std::mutex mutex_;
  std::weak_ptr<driver> driver_;
};

session_options session_of(const driver_options& options) {
  session_options session;
  session.storage_dir = options.storage_dir;
  session.max_result = options.max_result;
  session.block_budget = options.block_budget;
  session.job.priority = options.priority;
  return session;
}

gang::application_ref reference_to(const exec::application& app) {
  gang::application_ref ref;
  ref.run = make_run_id();
  ref.name = app.name;
  ref.library = app.path;
  ref.hash = app.hash;
  std::error_code ignored;
  ref.size = std::filesystem::file_size(app.path, ignored);
  return ref;
}

/// Runs the entry function on this thread and turns its end into an exit code.
int enter(const exec::application& app, const std::shared_ptr<driver>& session, const driver_options& options) {
  try {
    plan::context ctx(*session, options.arguments);
    app.entry(ctx);
    return 0;
  } catch (const failure& e) {
    const auto interrupted = e.reason().code == errc::cancelled;
    std::fflush(stdout);
    std::fprintf(stderr, "hydrogen: %s: %s\n", app.name.c_str(), e.what());
    return interrupted ? exit_interrupted : e.reason().code == errc::bad_input ? exit_bad_input : exit_failed;
  } catch (const std::exception& e) {
    return report({errc::task_failed, e.what(), app.name, {}}, exit_failed);
  } catch (...) {
    return report({errc::task_failed, "the entry function threw something that is no std::exception", app.name, {}},
                  exit_failed);
  }
}

int run_on(const driver_options& options, cluster_options cluster) {
  start_logging("driver", options.log_level);
  install_last_words(STDERR_FILENO, "hydrogen: ");
  interruptible current;
  signal_watch signals([&](int count) { current.interrupt(count); });
  const auto app = exec::load_application(options.application);
  if (!app) return report(app.error(), exit_bad_input);
  cluster.block_budget = options.block_budget;
  cluster.log_level = options.log_level;
  auto started = local_cluster::start(std::move(cluster));
  if (!started) return report(started.error(), code_of(started.error()));
  auto session = (*started)->open(reference_to(*app), session_of(options));
  if (!session) return report(session.error(), code_of(session.error()));
  current.set(*session);
  const int code = enter(*app, *session, options);
  (*session)->close();
  return code;
}

}  // namespace

int run_embedded(const driver_options& options, const embedded_options& embedded) {
  cluster_options cluster;
  cluster.slots = embedded.slots;
  cluster.virtual_gpus = embedded.virtual_gpus;
  cluster.hang_limit = embedded.hang_limit;
  return run_on(options, std::move(cluster));
}

int run_processes(const driver_options& options, const processes_options& processes) {
  cluster_options cluster;
  cluster.kind = cluster_kind::processes;
  cluster.nodes = processes.nodes;
  cluster.slots = processes.slots;
  cluster.virtual_gpus = processes.virtual_gpus;
  return run_on(options, std::move(cluster));
}

int submit(const driver_options& options, const std::string& cluster, const std::string& secret_file) {
  start_logging("driver", options.log_level);
  interruptible current;
  signal_watch signals([&](int count) { current.interrupt(count); });
  const auto app = exec::load_application(options.application);
  if (!app) return report(app.error(), exit_bad_input);
  auto secret = comm::secret::load(secret_file);
  if (!secret) return report(secret.error(), exit_bad_input);
  process_options mine;
  mine.who = "driver of " + app->name;
  mine.secret = *secret;
  auto home = process::start(std::move(mine));
  if (!home) return report(home.error(), code_of(home.error()));
  auto session_settings = session_of(options);
  session_settings.app = reference_to(*app);
  auto session = driver::open(**home, std::move(session_settings));
  current.set(session);
  auto link = connect_driver(**home, session, cluster, 10s);
  if (!link) {
    session->close();
    return report(link.error(), code_of(link.error()));
  }
  const int code = enter(*app, session, options);
  session->close();
  caf::anon_send(*link, stop_mail{});
  return code;
}

int run_node(const node_config& config) {
  start_logging(config.node.name, config.log.level);
  std::mutex mutex;
  std::condition_variable ended;
  bool over = false;
  const auto end = [&] {
    std::lock_guard lock(mutex);
    over = true;
    ended.notify_all();
  };
  signal_watch signals([&](int count) {
    if (count > 1) _exit(exit_interrupted);
    end();
  });
  auto secret = comm::secret::load(config.cluster.secret_file);
  if (!secret) return report(secret.error(), exit_bad_input);
  process_options mine;
  mine.who = "node " + config.node.name;
  mine.secret = *secret;
  mine.listen = config.node.coordinator ? config.coordinator.listen : config.agent.listen;
  mine.connections.heartbeat_interval = config.cluster.heartbeat_interval;
  mine.connections.heartbeat_timeout = config.cluster.heartbeat_timeout;
  auto home = process::start(std::move(mine));
  if (!home) return report(home.error(), code_of(home.error()));

  node_options options;
  options.name = config.node.name;
  options.coordinator = config.node.coordinator;
  options.agent = config.node.agent;
  options.coordinator_address = config.coordinator.address;
  options.journal_dir = config.node.data_dir + "/journal";
  options.executors = host_kind::child_processes;
  options.host.node = config.node.name;
  options.host.block_budget = config.agent.block_budget;
  options.host.storage_dir = config.storage.dir;
  options.host.data_dir = config.node.data_dir;
  options.host.log_level = config.log.level;
  options.host.join_timeout = config.agent.join_timeout;
  options.admission.membership_grace = config.cluster.membership_grace;
  options.admission.expected_nodes = config.coordinator.expected_nodes;
  options.admission.application_queued = config.queue.application_queued;
  options.admission.queue.ageing = config.queue.ageing;
  options.admission.queue.most_passes = config.queue.most_passes;
  options.admission.queue.evict = config.queue.evict;
  options.admission.queue.application_slots = config.queue.application_slots;
  options.reservation.has = config.agent.has;
  if (config.node.agent) {
    auto gpus = gpus_of_node(config.agent.gpus, config.agent.virtual_gpus, config.agent.virtual_gpu_memory);
    if (!gpus) return report(gpus.error(), exit_bad_input);
    for (const auto& g : *gpus) spdlog::info("gpu {}: {} {}, {}", g.number, g.name, g.id, format_size(g.memory));
    use_gpus(std::move(*gpus), options.host, options.reservation);
  }
  options.reservation.labels = config.agent.labels;
  options.reservation.node = config.node.name;
  options.reservation.slots = config.agent.slots;
  options.reservation.start_timeout = config.agent.start_timeout;
  options.reservation.join_timeout = config.agent.join_timeout;
  auto running = node::start(**home, std::move(options));
  if (!running) return report(running.error(), code_of(running.error()));
  spdlog::info("node {} listens on {}", config.node.name, (*home)->endpoint());

  std::jthread tuner;
  if (config.node.agent && config.agent.tune) {
    tuner = std::jthread([](std::stop_token stop) { comm::tune_once([&] { return stop.stop_requested(); }); });
  }
  std::thread parent;
  if (config.parent_fd >= 0) {
    // End of file: whoever started this node is gone, or does not need it any more.
    parent = std::thread([&end, fd = config.parent_fd] {
      char byte;
      while (read(fd, &byte, 1) > 0) {
      }
      end();
    });
  }
  {
    std::unique_lock lock(mutex);
    ended.wait(lock, [&] { return over; });
  }
  spdlog::info("node {} ends", config.node.name);
  tuner = {};
  running->reset();
  home->reset();
  if (parent.joinable()) {
    // A signal may have ended the node while the parent lives on: its thread sleeps in read, and the process goes.
    parent.detach();
    spdlog::shutdown();
    _exit(0);
  }
  return 0;
}

namespace {

/// A process that asks one question.
expected<std::unique_ptr<process>> observer(const char* who, const std::string& secret_file) {
  auto secret = comm::secret::load(secret_file);
  if (!secret) return unexpected(std::move(secret.error()));
  process_options mine;
  mine.who = who;
  mine.secret = *secret;
  return process::start(std::move(mine));
}

}  // namespace

expected<gang::cluster_status> fetch_status(const std::string& cluster, const std::string& secret_file,
                                            duration timeout) {
  auto home = observer("status", secret_file);
  if (!home) return unexpected(std::move(home.error()));
  return fetch_status(**home, cluster, timeout);
}

expected<void> drain_node(const std::string& cluster, const std::string& secret_file, const std::string& node, bool on,
                          duration timeout) {
  auto home = observer("drain", secret_file);
  if (!home) return unexpected(std::move(home.error()));
  return drain_node(**home, cluster, node, on, timeout);
}

}  // namespace hydrogen::actors
