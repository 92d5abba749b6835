#include "line_child.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <thread>

namespace hydrogen::bench {

expected<std::unique_ptr<line_child>> line_child::start(const std::vector<std::string>& arguments,
                                                        const std::vector<std::string>& environment) {
  // A socket, since writing to a child that is gone must be an error and not a signal.
  int sockets[2], pipes[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) return fail_errno("socketpair");
  unique_fd input(sockets[0]), their_input(sockets[1]);
  if (::pipe2(pipes, O_CLOEXEC) != 0) return fail_errno("pipe");
  unique_fd output(pipes[0]), their_output(pipes[1]);
  unique_fd errors(::memfd_create("errors", MFD_CLOEXEC));
  if (!errors) return fail_errno("memfd_create");

  std::vector<char*> argv, envp;
  for (const auto& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  for (char** e = environ; *e != nullptr; ++e) envp.push_back(*e);
  for (const auto& e : environment) envp.push_back(const_cast<char*>(e.c_str()));
  envp.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, their_input.get(), STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, their_output.get(), STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, errors.get(), STDERR_FILENO);
  pid_t pid = 0;
  const int code = ::posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), envp.data());
  ::posix_spawn_file_actions_destroy(&actions);
  if (code != 0) {
    errno = code;
    return fail_errno("cannot run", arguments[0]);
  }
  return std::unique_ptr<line_child>(new line_child(pid, std::move(input), std::move(output), std::move(errors)));
}

line_child::~line_child() {
  input_.reset();
  if (ends_within(patience_)) return;
  ::kill(pid_, SIGTERM);
  if (ends_within(2s)) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

bool line_child::ends_within(duration limit) {
  for (const auto deadline = now() + limit;;) {
    const auto ended = ::waitpid(pid_, nullptr, WNOHANG);
    if (ended == pid_ || (ended < 0 && errno != EINTR)) return true;
    if (now() >= deadline) return false;
    std::this_thread::sleep_for(2ms);
  }
}

expected<void> line_child::say(const std::string& line) {
  const auto text = line + "\n";
  for (std::size_t sent = 0; sent < text.size();) {
    const auto n = ::send(input_.get(), text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(errc::disconnected, "it has ended: " + last_words());
    sent += static_cast<std::size_t>(n);
  }
  return {};
}

expected<std::string> line_child::hear(time_point deadline) {
  for (;;) {
    if (const auto end = heard_.find('\n'); end != std::string::npos) {
      auto line = heard_.substr(0, end);
      heard_.erase(0, end + 1);
      return line;
    }
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - now()).count();
    pollfd set{output_.get(), POLLIN, 0};
    const int ready = ::poll(&set, 1, static_cast<int>(std::clamp<std::int64_t>(left, 0, 3'600'000)));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return fail(errc::timed_out, "it does not answer");
    char bytes[65536];
    const auto n = ::read(output_.get(), bytes, sizeof bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return fail(errc::disconnected, "it has ended: " + last_words());
    heard_.append(bytes, static_cast<std::size_t>(n));
  }
}

std::string line_child::last_words() const {
  struct stat facts {};
  if (::fstat(errors_.get(), &facts) != 0) return {};
  constexpr off_t most = 2000;
  std::string text(static_cast<std::size_t>(std::min(facts.st_size, most)), '\0');
  const auto from = facts.st_size - static_cast<off_t>(text.size());
  if (::pread(errors_.get(), text.data(), text.size(), from) < 0) return {};
  // mpirun draws lines of dashes around what it says.
  const auto end = text.find_last_not_of("-\n ");
  if (end == std::string::npos) return "it said nothing";
  text.erase(end + 1);
  const auto begin = text.rfind('\n');
  return begin == std::string::npos ? text : text.substr(begin + 1);
}

}  // namespace hydrogen::bench
