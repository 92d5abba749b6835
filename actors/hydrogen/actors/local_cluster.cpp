#include <hydrogen/actors/coordinator_link.hpp>
#include <hydrogen/actors/local_cluster.hpp>
#include <hydrogen/actors/node_gpus.hpp>
#include <hydrogen/base/node_config.hpp>
#include <hydrogen/base/units.hpp>

#include <fcntl.h>
#include <netinet/in.h>
#include <spawn.h>
#include <spdlog/fmt/fmt.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

extern char** environ;

namespace hydrogen::actors {
namespace {

constexpr duration nodes_register_within = 20s;
constexpr duration nodes_end_within = 10s;

/// A value that another thread sets once.
template <class T>
class handover {
 public:
  void set(T value) {
    {
      std::lock_guard lock(mutex_);
      if (value_) return;
      value_ = std::move(value);
    }
    ready_.notify_all();
  }
  std::optional<T> wait(duration limit) {
    std::unique_lock lock(mutex_);
    ready_.wait_for(lock, limit, [this] { return value_.has_value(); });
    return std::move(value_);
  }

 private:
  std::mutex mutex_;
  std::condition_variable ready_;
  std::optional<T> value_;
};

std::string program_of(const cluster_options& options) {
  if (!options.program.empty()) return options.program;
  std::error_code ignored;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", ignored);
  const auto beside = self.parent_path() / "hydrogen";
  return std::filesystem::exists(beside, ignored) ? beside.string() : self.string();
}

/// A port that is free now. The node binds it a moment later; nobody else asks for it on purpose.
expected<std::uint16_t> free_port() {
  unique_fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (!fd || bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    return fail_errno("bind", "127.0.0.1");
  }
  return ntohs(address.sin_port);
}

}  // namespace

expected<std::unique_ptr<local_cluster>> local_cluster::start(cluster_options options) {
  std::unique_ptr<local_cluster> self(new local_cluster(std::move(options)));
  if (self->options_.directory.empty()) {
    auto made = scratch_folder::make();
    if (!made) return unexpected(std::move(made.error()));
    self->scratch_ = std::move(*made);
    self->options_.directory = self->scratch_.path();
  }
  auto started = self->options_.kind == cluster_kind::in_process ? self->start_in_process() : self->start_processes();
  if (!started) return unexpected(std::move(started.error()));
  return self;
}

expected<void> local_cluster::start_in_process() {
  process_options mine;
  mine.who = "embedded cluster";
  auto home = process::start(std::move(mine));
  if (!home) return unexpected(std::move(home.error()));
  home_ = std::move(*home);
  const auto options_of = [this](std::uint32_t n) {
    node_options one;
    one.name = fmt::format("n{}", n + 1);
    one.host.node = one.name;
    one.host.block_budget = options_.block_budget;
    one.host.storage_dir = options_.directory + "/storage";
    one.host.hang_limit = options_.hang_limit;
    one.reservation.node = one.name;
    one.reservation.slots = options_.slots;
    one.reservation.has.memory = physical_memory();
    // Embedded nodes share a machine, and the first has what is there of it.
    auto gpus = gpus_of_node(n == 0 ? node_config::agent_table::all_gpus : 0, options_.virtual_gpus,
                             options_.virtual_gpu_memory);
    if (gpus) use_gpus(std::move(*gpus), one.host, one.reservation);
    one.admission.expected_nodes = options_.nodes;
    if (options_.durable_journal) one.journal_dir = options_.directory + "/journal";
    return one;
  };
  auto first = node::start(*home_, options_of(0));
  if (!first) return unexpected(std::move(first.error()));
  node_ = std::move(*first);
  for (std::uint32_t n = 1; n < options_.nodes; ++n) node_->add_agent(options_of(n));
  return wait_for_nodes(nodes_register_within);
}

expected<void> local_cluster::start_processes() {
  const auto secret = comm::secret::random();
  std::error_code ignored;
  std::filesystem::create_directories(options_.directory, ignored);
  std::filesystem::remove(secret_file(), ignored);
  if (auto saved = secret.save_new(secret_file()); !saved) return saved;
  const auto port = free_port();
  if (!port) return unexpected(port.error());
  address_ = fmt::format("127.0.0.1:{}", *port);
  process_options mine;
  mine.who = "driver";
  mine.secret = secret;
  mine.connections = options_.driver_connections;
  auto home = process::start(std::move(mine));
  if (!home) return unexpected(std::move(home.error()));
  home_ = std::move(*home);
  children_.resize(options_.nodes);
  for (std::uint32_t n = 0; n < options_.nodes; ++n) {
    const auto name = fmt::format("n{}", n + 1);
    std::ofstream config(fmt::format("{}/{}.toml", options_.directory, name));
    config << fmt::format(
        "[node]\nname = \"{0}\"\nroles = [{1}\"agent\"]\ndata_dir = \"{0}\"\n"
        "[coordinator]\nlisten = \"{2}\"\naddress = \"{2}\"\nexpected_nodes = {3}\n"
        "[agent]\nslots = {4}\nblock_budget = \"{5} B\"\n{9}"
        "[cluster]\nsecret_file = \"cluster.secret\"\n"
        "heartbeat_interval = \"{7}\"\nheartbeat_timeout = \"{8}\"\n"
        "[storage]\ndir = \"storage\"\n[log]\nlevel = \"{6}\"\n",
        name, n == 0 ? "\"coordinator\", " : "", address_, options_.nodes, options_.slots, options_.block_budget,
        options_.log_level == "warning" ? "warn" : options_.log_level,
        format_duration(options_.connections.heartbeat_interval),
        format_duration(options_.connections.heartbeat_timeout),
        // Nodes of one machine share it, and the first has its GPUs.
        options_.virtual_gpus != 0 ? fmt::format("virtual_gpus = {}\nvirtual_gpu_memory = \"{} B\"\n",
                                                 options_.virtual_gpus, options_.virtual_gpu_memory)
                                   : std::string(n == 0 ? "" : "gpus = 0\n"));
    config.close();
    if (auto spawned = spawn_node(n); !spawned) return spawned;
  }
  return wait_for_nodes(nodes_register_within);
}

expected<void> local_cluster::spawn_node(std::uint32_t n) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return fail_errno("socketpair");
  unique_fd ours(pair[0]), theirs(pair[1]);
  constexpr int child_fd = 3;
  auto program = program_of(options_);
  std::string command = "node", flag = "--config", parent = "--parent-fd", fd_text = std::to_string(child_fd);
  auto config = fmt::format("{}/n{}.toml", options_.directory, n + 1);
  char* argv[] = {program.data(), command.data(), flag.data(), config.data(), parent.data(), fd_text.data(), nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, theirs.get(), child_fd);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setpgroup(&attributes, 0);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
  const int rc = posix_spawn(&children_[n].pid, program.c_str(), &actions, &attributes, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (rc != 0) {
    errno = rc;
    children_[n].pid = 0;
    return fail_errno("posix_spawn", program);
  }
  children_[n].lifeline = std::move(ours);
  return {};
}

expected<void> local_cluster::wait_for_nodes(duration limit) {
  const auto deadline = now() + limit;
  auto pause = std::chrono::microseconds(50);  // those in this process are there at once
  std::size_t seen = 0;
  while (now() < deadline) {
    for (std::size_t n = 0; n < children_.size(); ++n) {
      int state = 0;
      if (children_[n].pid != 0 && waitpid(children_[n].pid, &state, WNOHANG) == children_[n].pid) {
        children_[n].pid = 0;
        return fail(errc::io, "the node process ended while it started", fmt::format("n{}", n + 1),
                    "its messages stand above");
      }
    }
    if (const auto state = status(1s)) {
      seen = 0;
      for (const auto& one : state->nodes) seen += one.state == "ready" ? 1 : 0;
      if (seen >= options_.nodes) return {};
    }
    std::this_thread::sleep_for(pause);
    pause = std::min<std::chrono::microseconds>(2 * pause, 2ms);
  }
  return fail(errc::timed_out,
              fmt::format("{} of {} nodes have registered within {} s", seen, options_.nodes, limit / 1s));
}

expected<void> local_cluster::restart(std::uint32_t n) {
  auto& child = children_.at(n);
  if (child.pid != 0) {
    kill(child.pid, SIGKILL);
    waitpid(child.pid, nullptr, 0);
    child.pid = 0;
  }
  if (auto spawned = spawn_node(n); !spawned) return spawned;
  return wait_for_nodes(nodes_register_within);
}

expected<std::shared_ptr<driver>> local_cluster::open(gang::application_ref app, session_options options) {
  options.app = std::move(app);
  if (options.storage_dir.empty()) options.storage_dir = options_.directory + "/storage";
  auto opened = driver::open(*home_, std::move(options));
  if (node_) {
    node_->attach(opened);
  } else {
    std::erase_if(links_, [](const auto& link) {  // of drivers that are gone
      if (link.first.expired()) caf::anon_send(link.second, stop_mail{});
      return link.first.expired();
    });
    auto link = connect_driver(*home_, opened, address_, nodes_register_within);
    if (!link) return unexpected(std::move(link.error()));
    links_.emplace_back(opened, *link);
  }
  return opened;
}

expected<gang::cluster_status> local_cluster::status(duration timeout) {
  if (!node_) return fetch_status(*home_, address_, timeout);
  auto answer = std::make_shared<handover<byte_buffer>>();
  const auto key = next_peer_key();
  attach_peer hello{key, "status", {}, {}, {}, [answer](byte_buffer bytes) { answer->set(std::move(bytes)); }};
  caf::anon_send(node_->coordinator(), std::move(hello));
  caf::anon_send(node_->coordinator(), status_mail{key});
  auto bytes = answer->wait(timeout);
  caf::anon_send(node_->coordinator(), detach_peer{key, {}});
  if (!bytes) return fail(errc::timed_out, "the coordinator does not answer");
  return read_frame<gang::cluster_status>(*bytes);
}

local_cluster::~local_cluster() {
  for (auto& [who, link] : links_) caf::anon_send(link, stop_mail{});
  node_.reset();
  for (auto& child : children_) child.lifeline.reset();
  const auto deadline = now() + nodes_end_within;
  for (auto& child : children_) {
    while (child.pid != 0) {
      if (waitpid(child.pid, nullptr, WNOHANG) == child.pid) {
        child.pid = 0;
      } else if (now() > deadline) {
        kill(child.pid, SIGKILL);
        waitpid(child.pid, nullptr, 0);
        child.pid = 0;
      } else {
        std::this_thread::sleep_for(1ms);
      }
    }
  }
  home_.reset();
}

namespace {

/// One question to the coordinator at `cluster`, on a connection of its own, and its answer.
template <class Answer>
expected<Answer> ask(process& home, const std::string& cluster, byte_buffer question, frame_kind reply,
                     duration timeout) {
  auto answer = std::make_shared<handover<expected<Answer>>>();
  comm::connection_handlers handlers;
  handlers.on_frame = [answer, reply](const comm::connection_ptr& from, byte_buffer frame) {
    if (kind_of(frame) == reply) answer->set(read_frame<Answer>(frame));
    from->close({errc::cancelled, "it has its answer", {}, {}});
  };
  handlers.on_closed = [answer](const comm::connection_ptr&, const error& why) { answer->set(unexpected(why)); };
  home.connect(cluster, {}, timeout, std::move(handlers), [answer, question](expected<comm::connection_ptr> made) {
    if (!made) return answer->set(unexpected(std::move(made.error())));
    (*made)->send(question);
  });
  auto heard = answer->wait(timeout);
  if (!heard) return fail(errc::timed_out, "the coordinator does not answer", cluster);
  return std::move(*heard);
}

}  // namespace

expected<gang::cluster_status> fetch_status(process& home, const std::string& cluster, duration timeout) {
  return ask<gang::cluster_status>(home, cluster, {static_cast<std::byte>(frame_kind::status_request)},
                                   frame_kind::status_reply, timeout);
}

expected<void> drain_node(process& home, const std::string& cluster, const std::string& node, bool on,
                          duration timeout) {
  const auto answer = ask<error>(home, cluster, make_frame(frame_kind::drain_request, drain_request{node, on}),
                                 frame_kind::drain_reply, timeout);
  if (!answer) return unexpected(answer.error());
  if (answer->code != errc::none) return unexpected(*answer);
  return {};
}

expected<caf::actor> connect_driver(process& home, const std::shared_ptr<driver>& who, const std::string& cluster,
                                    duration timeout) {
  auto first = std::make_shared<handover<expected<void>>>();
  coordinator_link_handlers handlers;
  const auto weak = std::weak_ptr(who);
  handlers.connected = [weak, first](const comm::connection_ptr& link) {
    if (auto d = weak.lock()) {
      d->attach([link](const gang::from_job& m) { link->send(make_frame(frame_kind::from_job, m)); });
    }
    first->set({});
  };
  handlers.frame = [weak](byte_buffer frame) {
    auto message = read_frame<gang::to_job>(frame);
    if (kind_of(frame) != frame_kind::to_job || !message) return;
    if (auto d = weak.lock()) d->deliver(std::move(*message));
  };
  handlers.lost = [weak](const error& why) {
    if (auto d = weak.lock()) d->detach(why);
  };
  handlers.refused = [first](const error& why) {
    // The first answer counts: a cluster that is not there, or another secret, is the user's to mend.
    first->set(unexpected(why));
  };
  auto link = spawn_coordinator_link(home, cluster, std::move(handlers));
  const auto interrupted = who->cancelled().on_abort(
      [first, cluster] { first->set(fail(errc::cancelled, "interrupted while it was connecting", cluster)); });
  auto result = first->wait(timeout);
  if (result && *result) return link;
  caf::anon_send(link, stop_mail{});
  if (!result) return fail(errc::timed_out, "the coordinator does not answer", cluster);
  return unexpected(std::move(result->error()));
}

}  // namespace hydrogen::actors
