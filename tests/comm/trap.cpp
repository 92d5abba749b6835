#include "trap.hpp"

#include <dlfcn.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <vector>

namespace hydrogen::comm::testing {

std::string to_string(disturbance what) {
  constexpr const char* names[] = {"undisturbed", "killed", "stopped", "cut off", "cut off and stopped", "slow"};
  return names[static_cast<int>(what)];
}

namespace trap {
namespace {

constexpr std::size_t page = 4096;
constexpr std::size_t most = 3;
constexpr std::size_t drip_size = 5000;  // bytes of a call of the kernel, for a rank that is slow

struct state {
  disturbance what = disturbance::none;
  stops whom = stops::process;
  std::uint32_t rank = 0;
  int report = -1;
  sem_t go_on{};  // of a thread that was stopped: one for each SIGCONT, also for one that came first
  // Null: sprung, or never set.
  std::array<std::atomic<std::byte*>, most> pages{};
  std::atomic<bool> on_write{false};
  std::atomic<bool> sprung{false};
  std::atomic<std::size_t> drip{0};
};
state now_set;

/// The trap at this address goes off, if there is one.
bool springs_at(const std::byte* at) {
  for (auto& p : now_set.pages) {
    auto* begin = p.load();
    if (begin == nullptr || at < begin || at >= begin + page) continue;
    p = nullptr;
    ::mprotect(begin, page, PROT_READ | PROT_WRITE);
    now_set.sprung = true;
    spring("inside");
    return true;
  }
  return false;
}

void on_fault(int signal, siginfo_t* info, void*) {
  if (!springs_at(static_cast<const std::byte*>(info->si_addr))) ::signal(signal, SIG_DFL);
}

void on_request(int) {
  const int before = errno;
  spring("waiting");
  errno = before;
}

void on_go_on(int) {
  const int before = errno;
  ::sem_post(&now_set.go_on);
  errno = before;
}

/// The process, or this thread: it does nothing more before it is told to go on.
void stop_here() {
  if (now_set.whom == stops::thread) {
    while (::sem_wait(&now_set.go_on) != 0) {
    }
    return;
  }
  ::syscall(SYS_tgkill, ::getpid(), ::syscall(SYS_gettid), SIGSTOP);
}

void cut_links() {
  // First nothing is said any more to anybody: another thread that notices one cut is not to tell the rest.
  for (const int how : {SHUT_WR, SHUT_RDWR}) {
    for (int fd = 3; fd < 1024; ++fd) {
      int listens = 0;
      socklen_t size = sizeof listens;
      if (fd == now_set.report || ::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0) continue;
      if (listens == 0) ::shutdown(fd, how);
    }
  }
}

/// What the kernel may move of these parts: up to a trap, which springs if it is the first thing that they reach.
class shortened {
 public:
  shortened(const iovec* parts, std::size_t count, bool writes) : parts_(parts), count_(count) {
    const bool is_set = std::any_of(now_set.pages.begin(), now_set.pages.end(), [](auto& p) { return p != nullptr; });
    const std::size_t drip = now_set.drip;
    if ((!is_set || (now_set.on_write && !writes)) && drip == 0) return;
    auto left = drip != 0 ? drip : SIZE_MAX;
    for (std::size_t i = 0; i < count && left != 0; ++i) {
      auto* begin = static_cast<std::byte*>(parts[i].iov_base);
      auto end = begin + std::min(parts[i].iov_len, left);
      if (begin == end) continue;
      left -= static_cast<std::size_t>(end - begin);
      if (!now_set.on_write || writes) {
        if (copy_.empty()) springs_at(begin);
        for (auto& p : now_set.pages) {
          auto* at = p.load();
          if (at != nullptr && at + page > begin && at < end) end = std::max(begin, at), left = 0;
        }
      }
      if (begin != end) copy_.push_back({begin, static_cast<std::size_t>(end - begin)});
    }
    if (copy_.empty()) return;
    parts_ = copy_.data();
    count_ = copy_.size();
  }
  const iovec* parts() const { return parts_; }
  std::size_t count() const { return count_; }

 private:
  std::vector<iovec> copy_;
  const iovec* parts_;
  std::size_t count_;
};

template <class F>
F* next(F*, const char* name) {
  return reinterpret_cast<F*>(::dlsym(RTLD_NEXT, name));
}

}  // namespace

void prepare(disturbance what, stops whom, std::uint32_t rank, int report) {
  now_set.what = what;
  now_set.whom = whom;
  now_set.rank = rank;
  now_set.report = report;
  now_set.drip = 0;
  struct sigaction action {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  ::sigaction(SIGSEGV, &action, nullptr);
  action = {};
  action.sa_handler = on_request;
  ::sigaction(SIGUSR1, &action, nullptr);
  ::sem_init(&now_set.go_on, 0, 0);
  action = {};
  action.sa_handler = whom == stops::thread ? on_go_on : SIG_DFL;
  action.sa_flags = SA_RESTART;
  ::sigaction(SIGCONT, &action, nullptr);
}

void set(std::span<std::byte* const> pages, bool on_write) {
  now_set.sprung = false;
  now_set.on_write = on_write;
  if (now_set.what == disturbance::slow) now_set.drip = drip_size;
  for (std::size_t i = 0; i < std::min(most, pages.size()); ++i) {
    ::mprotect(pages[i], page, on_write ? PROT_READ : PROT_NONE);
    now_set.pages[i] = pages[i];
  }
}

bool take_away() {
  now_set.drip = 0;
  for (auto& p : now_set.pages) {
    if (auto* at = p.exchange(nullptr)) ::mprotect(at, page, PROT_READ | PROT_WRITE);
  }
  return now_set.sprung;
}

void spring(const char* place) {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  char line[64];
  const int size = std::snprintf(line, sizeof line, "%u struck %lld %s\n", now_set.rank,
                                 t.tv_sec * 1'000'000'000LL + t.tv_nsec, place);
  if (::send(now_set.report, line, static_cast<std::size_t>(size), MSG_NOSIGNAL) != size) ::_exit(1);
  switch (now_set.what) {
    case disturbance::none:
      break;
    case disturbance::kill:
      // To this thread: it does nothing more before the signal takes effect.
      ::syscall(SYS_tgkill, ::getpid(), ::syscall(SYS_gettid), SIGKILL);
      break;
    case disturbance::cut:
      cut_links();
      break;
    case disturbance::cut_and_stop:
      cut_links();
      [[fallthrough]];
    case disturbance::stop:
    case disturbance::slow:
      stop_here();
      break;
  }
}

void spring_on(pthread_t thread) {
  ::pthread_kill(thread, SIGUSR1);
}

}  // namespace trap
}  // namespace hydrogen::comm::testing

// Of all this program; with no trap set they are those of the system.
namespace the_trap = hydrogen::comm::testing::trap;

extern "C" ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  static const auto real = the_trap::next(&::sendmsg, "sendmsg");
  const the_trap::shortened data(message->msg_iov, message->msg_iovlen, false);
  auto copy = *message;
  copy.msg_iov = const_cast<iovec*>(data.parts());
  copy.msg_iovlen = data.count();
  return real(fd, &copy, flags);
}

extern "C" ssize_t readv(int fd, const iovec* parts, int count) {
  static const auto real = the_trap::next(&::readv, "readv");
  const the_trap::shortened data(parts, static_cast<std::size_t>(count), true);
  return real(fd, data.parts(), static_cast<int>(data.count()));
}

extern "C" ssize_t process_vm_readv(pid_t pid, const iovec* here, unsigned long here_count, const iovec* there,
                                    unsigned long there_count, unsigned long flags) {
  static const auto real = the_trap::next(&::process_vm_readv, "process_vm_readv");
  const the_trap::shortened data(here, here_count, true);
  return real(pid, data.parts(), data.count(), there, there_count, flags);
}
