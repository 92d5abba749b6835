#include <hydrogen/actors/executor_host.hpp>
#include <hydrogen/base/unique_fd.hpp>

#include <fcntl.h>
#include <spawn.h>
#include <spdlog/fmt/fmt.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <condition_variable>
#include <csignal>
#include <filesystem>
#include <list>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>

extern char** environ;

namespace hydrogen::actors {
namespace {

struct child {
  pid_t pid = 0;
  comm::connection_ptr control;
  bool assigned = false;
  gang::application_ref app;
  boot_id boot;
  bool ready = false;
  std::optional<executor_cannot_start> cannot_start;  // it said so itself
  bool ending = false;
  std::string given_up;  // why it is of no use though it lives: it hangs, or does not keep to the protocol
  unique_fd last_words;  // the reading end of a pipe
};
using child_ptr = std::shared_ptr<child>;

std::string read_last_words(int fd) {
  char text[512];
  const auto n = read(fd, text, sizeof text);
  if (n <= 0) return {};
  std::string words(text, static_cast<std::size_t>(n));
  while (words.ends_with('\n')) words.pop_back();
  return words;
}

std::string end_of_process(int status) {
  if (WIFSIGNALED(status)) return fmt::format("ended by signal {} ({})", WTERMSIG(status), strsignal(WTERMSIG(status)));
  return fmt::format("exited with code {}", WEXITSTATUS(status));
}

/// State shared with the reactor's callbacks and the reaper thread, which may outlive a call but not the host.
class child_process_host final : public executor_host {
 public:
  child_process_host(process& home, host_options options, caf::actor agent)
      : home_(home), options_(std::move(options)), agent_(std::move(agent)) {
    sweep();
    std::lock_guard lock(mutex_);
    prepare_spare();
  }

  ~child_process_host() override { shut_down(5s); }

  void start(const gang::application_ref& app, boot_id boot) override {
    std::lock_guard lock(mutex_);
    if (!spare_) prepare_spare();
    if (!spare_) {
      caf::anon_send(agent_, executor_failed_mail{
                                 app.run,
                                 boot,
                                 gang::refusal_kind::executor,
                                 {errc::io, "an executor process cannot be started", options_.node, spawn_error_}});
      return;
    }
    auto chosen = std::exchange(spare_, nullptr);
    chosen->assigned = true;
    chosen->app = app;
    chosen->boot = boot;
    children_[boot] = chosen;
    assign_executor order;
    order.app = app;
    order.boot = boot;
    order.node = options_.node;
    order.secret = home_.secret()->bytes();
    order.block_budget = options_.block_budget;
    order.cache_dir = options_.data_dir + "/libraries";
    order.storage_dir = options_.storage_dir;
    order.log_level = options_.log_level;
    order.join_timeout = options_.join_timeout;
    order.gpus = options_.gpus;
    order.listen = home_.endpoint().substr(0, home_.endpoint().rfind(':')) + ":0";
    chosen->control->send(make_frame(frame_kind::executor_order, executor_order(order)));
    prepare_spare();
  }

  void send(boot_id to, gang::to_executor&& message) override {
    comm::connection_ptr control;
    {
      std::lock_guard lock(mutex_);
      const auto at = children_.find(to);
      if (at == children_.end()) return;
      control = at->second->control;
    }
    control->send(make_frame(frame_kind::to_executor, message));
  }

  void end(boot_id which) override {
    std::lock_guard lock(mutex_);
    const auto at = children_.find(which);
    if (at == children_.end()) return;
    at->second->ending = true;
    kill(at->second->pid, SIGKILL);
  }

  void shut_down(duration limit) override {
    {
      std::unique_lock lock(mutex_);
      stopping_ = true;
      for (auto& [boot, c] : children_) {
        c->ending = true;
        if (c->pid != 0) kill(c->pid, SIGKILL);
      }
      if (spare_) kill(spare_->pid, SIGKILL);
      gone_.wait_for(lock, limit, [this] { return living_ == 0 && controls_ == 0; });
      // The reactor calls into this host as long as a connection is open.
      invariant(living_ == 0 && controls_ == 0, "an executor process survives SIGKILL");
    }
    std::list<reaper> reapers;
    {
      std::lock_guard lock(mutex_);
      reapers.swap(reapers_);
    }
    for (auto& one : reapers) one.thread.join();
  }

 private:
  struct reaper {
    std::thread thread;
    bool done = false;  // it leaves its lock as the last thing it does
  };
  /// Half-written libraries of executors of an earlier boot go with the whole cache: libraries come by content again.
  void sweep() {
    std::error_code ignored;
    std::filesystem::remove_all(options_.data_dir + "/libraries", ignored);
    std::filesystem::create_directories(options_.data_dir + "/libraries", ignored);
  }

  void prepare_spare() {
    if (stopping_ || spare_) return;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
      spawn_error_ = fail_errno("socketpair").value().message();
      return;
    }
    unique_fd ours(pair[0]), theirs(pair[1]);
    int words[2];
    if (pipe2(words, O_CLOEXEC | O_NONBLOCK) != 0) {
      spawn_error_ = fail_errno("pipe2").value().message();
      return;
    }
    unique_fd words_out(words[0]), words_in(words[1]);
    const std::string program = options_.program.empty() ? "/proc/self/exe" : options_.program;
    std::string command = "executor";
    // The child inherits two descriptors besides the standard three, under numbers of their own. They are moved out of
    // the way first: dup2 onto itself would keep close-on-exec.
    constexpr int child_fd = 3;
    std::string fd_text = std::to_string(child_fd);
    std::string name = "hydrogen-executor";
    const auto& timing = home_.options().connections;
    std::string interval = std::to_string(timing.heartbeat_interval / 1us);
    std::string timeout = std::to_string(timing.heartbeat_timeout / 1us);
    char* argv[] = {name.data(), command.data(), fd_text.data(), interval.data(), timeout.data(), nullptr};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    const unique_fd control_copy(fcntl(theirs.get(), F_DUPFD_CLOEXEC, child_fd + 2));
    const unique_fd words_copy(fcntl(words_in.get(), F_DUPFD_CLOEXEC, child_fd + 2));
    posix_spawn_file_actions_adddup2(&actions, control_copy.get(), child_fd);
    posix_spawn_file_actions_adddup2(&actions, words_copy.get(), child_fd + 1);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    // A process group of its own: Ctrl-C in a terminal is for the driver, which ends executors in order.
    posix_spawnattr_setpgroup(&attributes, 0);
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
    auto c = std::make_shared<child>();
    const int rc = posix_spawn(&c->pid, program.c_str(), &actions, &attributes, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (rc != 0) {
      errno = rc;
      spawn_error_ = fail_errno("posix_spawn " + program).value().message();
      return;
    }
    c->last_words = std::move(words_out);
    ++living_;
    comm::connection_handlers handlers;
    handlers.on_frame = [this, c](const comm::connection_ptr&, byte_buffer frame) { on_frame(c, frame); };
    handlers.on_closed = [this, c](const comm::connection_ptr&, const error& why) {
      // A process that is alive but silent, or that closed its socket, is of no use any more.
      std::lock_guard lock(mutex_);
      --controls_;
      gone_.notify_all();
      if (!c->ending && !stopping_) spdlog::debug("executor process {}: {}", c->pid, why.message());
      if (why.code != errc::disconnected) c->given_up = why.message();
      if (c->pid != 0) kill(c->pid, SIGKILL);
    };
    comm::hello peer{comm::link_purpose::control, {}, {}, fmt::format("executor process {}", c->pid), {}, {}};
    ++controls_;
    c->control = home_.adopt(std::move(ours), std::move(peer), std::move(handlers));
    std::erase_if(reapers_, [](reaper& one) {
      if (one.done) one.thread.join();
      return one.done;
    });
    auto& mine = reapers_.emplace_back();
    mine.thread = std::thread([this, c, &mine] { reap(c, mine); });
    spare_ = std::move(c);
  }

  void on_frame(const child_ptr& c, byte_view frame) {
    if (kind_of(frame) == frame_kind::from_executor) {
      if (auto message = read_frame<gang::from_executor>(frame)) {
        caf::anon_send(agent_, executor_news_mail{c->boot, std::move(*message)});
      }
      return;
    }
    if (kind_of(frame) != frame_kind::executor_word) return;
    auto word = read_frame<executor_word>(frame);
    if (!word) return;
    std::lock_guard lock(mutex_);
    if (const auto* listening = std::get_if<executor_listening>(&*word)) {
      c->ready = true;
      caf::anon_send(agent_, executor_ready_mail{c->app.run, c->boot, listening->endpoint});
    } else if (const auto* cannot = std::get_if<executor_cannot_start>(&*word)) {
      // Reported when the process is gone.
      c->cannot_start = *cannot;
      if (c->pid != 0) kill(c->pid, SIGKILL);
    }
  }

  /// One thread per child, asleep in waitpid: it notices every death, also of a child whose socket somebody else holds.
  void reap(const child_ptr& c, reaper& self) {
    // First only look, so that the pid cannot be given to another process while `end` may still signal it.
    siginfo_t info;
    while (waitid(P_PID, static_cast<id_t>(c->pid), &info, WEXITED | WNOWAIT) < 0 && errno == EINTR) {
    }
    std::lock_guard lock(mutex_);
    int status = 0;
    waitpid(c->pid, &status, 0);
    c->pid = 0;
    --living_;
    if (spare_ == c) {
      spare_.reset();
      if (!stopping_) spdlog::warn("the spare executor process of {} {}", options_.node, end_of_process(status));
    }
    if (c->assigned) {
      children_.erase(c->boot);
      auto cause = c->ending              ? std::string("ended by its agent")
                   : !c->given_up.empty() ? "ended by its agent: " + c->given_up
                                          : "the executor process " + end_of_process(status);
      if (const auto words = read_last_words(c->last_words.get()); !c->ending && !words.empty())
        cause = words + "; " + cause;
      if (!c->ending && !c->cannot_start)
        spdlog::warn("executor {} of run {}: {}", to_string(c->boot), to_string(c->app.run), cause);
      if (c->ready) {
        caf::anon_send(agent_, executor_died_mail{c->app.run, c->boot, cause});
      } else if (c->cannot_start) {
        caf::anon_send(agent_, executor_failed_mail{c->app.run, c->boot, c->cannot_start->kind, c->cannot_start->why});
      } else {
        caf::anon_send(agent_,
                       executor_failed_mail{c->app.run,
                                            c->boot,
                                            gang::refusal_kind::executor,
                                            {errc::task_failed, cause + " while it started", options_.node, {}}});
      }
    }
    self.done = true;
    gone_.notify_all();
  }

  process& home_;
  const host_options options_;
  const caf::actor agent_;
  std::mutex mutex_;
  std::condition_variable gone_;
  std::unordered_map<boot_id, child_ptr> children_;
  child_ptr spare_;
  std::string spawn_error_;
  std::list<reaper> reapers_;
  std::uint32_t living_ = 0;
  std::uint32_t controls_ = 0;  // connections that may still call back
  bool stopping_ = false;
};

}  // namespace

std::unique_ptr<executor_host> make_child_process_host(process& home, host_options options, caf::actor agent) {
  return std::make_unique<child_process_host>(home, std::move(options), std::move(agent));
}

}  // namespace hydrogen::actors
