#include "limits.hpp"

#include <hydrogen/base/abort.hpp>
#include <hydrogen/base/unique_fd.hpp>
#include <hydrogen/gang/durable_writer.hpp>

#include "bench.hpp"
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <thread>
#include <vector>

namespace hydrogen::bench {
namespace {

void check(bool fine, const char* what) {
  if (!fine) throw failure(fail_errno(what, "a limit of the machine").value());
}

}  // namespace

double sync_and_wake_ms(const std::string& folder, int threads, int rounds, std::size_t bytes) {
  const auto path = folder + "/synced";
  const unique_fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  check(static_cast<bool>(file), "open");
  const byte_buffer records(gang::durable_writer::block + bytes);
  // There are zeros already, as in a journal.
  const byte_buffer zeros(bytes * (static_cast<std::size_t>(rounds) + 1) + records.size());
  check(::pwrite(file.get(), zeros.data(), zeros.size(), 0) == static_cast<ssize_t>(zeros.size()), "write");
  check(::fsync(file.get()) == 0, "fsync");
  auto writer = value_or_throw(gang::durable_writer::open(path));
  std::atomic<std::uint32_t> turn{0};
  std::vector<time_point> woken(static_cast<std::size_t>(threads));
  std::barrier round(threads + 1);
  std::vector<std::jthread> sleepers;
  for (auto& at : woken) {
    sleepers.emplace_back([&] {
      for (std::uint32_t n = 0; n < static_cast<std::uint32_t>(rounds); ++n) {
        while (turn.load() == n) futex_wait(turn, n, never);
        at = now();
        round.arrive_and_wait();
      }
    });
  }
  std::vector<double> samples;
  for (int n = 0; n < rounds; ++n) {
    const auto begin = now();
    const auto at = bytes * static_cast<std::size_t>(n), within = at % gang::durable_writer::block;
    const bool durable = writer.write(at - within, byte_view(records).first(within + bytes), 0).has_value();
    turn.fetch_add(1);
    futex_wake_all(turn);
    round.arrive_and_wait();
    samples.push_back(durable ? milliseconds(*std::max_element(woken.begin(), woken.end()) - begin) : -1);
  }
  sleepers.clear();
  check(*std::min_element(samples.begin(), samples.end()) >= 0, "write and sync");
  return median(std::move(samples));
}

double three_rounds_ms(int processes, int rounds) {
  std::vector<unique_fd> sockets;
  std::vector<pid_t> children;
  for (int i = 0; i < processes; ++i) {
    int pair[2];
    check(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0, "socketpair");
    const auto child = ::fork();
    if (child == 0) {
      for (const auto& other : sockets) ::close(other.get());
      ::close(pair[0]);
      char word = 0;
      while (::read(pair[1], &word, 1) == 1 && ::write(pair[1], &word, 1) == 1) continue;
      ::_exit(0);
    }
    sockets.emplace_back(pair[0]);
    ::close(pair[1]);
    check(child > 0, "fork");
    children.push_back(child);
  }
  std::vector<double> samples;
  for (int n = 0; n < rounds; ++n) {
    const auto begin = now();
    for (int k = 0; k < 3; ++k) {
      char word = 'x';
      for (const auto& to : sockets) check(::write(to.get(), &word, 1) == 1, "write");
      for (const auto& from : sockets) check(::read(from.get(), &word, 1) == 1, "read");
    }
    samples.push_back(milliseconds(now() - begin));
  }
  sockets.clear();  // ends them
  for (const auto child : children) ::waitpid(child, nullptr, 0);
  return median(std::move(samples));
}

}  // namespace hydrogen::bench
