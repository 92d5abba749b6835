#include "rank_process.hpp"

#include <hydrogen/base/hash.hpp>
#include <hydrogen/comm/acceptor.hpp>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <spdlog/fmt/fmt.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdlib>
#include <sstream>
#include <thread>

extern char** environ;

namespace hydrogen::comm::testing {
namespace {

constexpr const char* rank_process_case = "a rank in a process of its own";
constexpr int child_fd = 3;

gang_token token_of(std::uint64_t attempt) {
  gang_token token;
  token.gang.stage = 7;
  token.attempt = {{1}, attempt};
  return token;
}

/// One line from a socket, what came behind it stays in `buffered`. Empty: the end, or nothing for a minute.
std::string read_line(int fd, std::string& buffered) {
  for (;;) {
    if (const auto end = buffered.find('\n'); end != std::string::npos) {
      auto line = buffered.substr(0, end);
      buffered.erase(0, end + 1);
      return line;
    }
    pollfd set{fd, POLLIN, 0};
    char bytes[4096];
    if (::poll(&set, 1, 60'000) <= 0) return {};
    const auto n = ::recv(fd, bytes, sizeof bytes, 0);
    if (n <= 0) return {};
    buffered.append(bytes, static_cast<std::size_t>(n));
  }
}

void write_line(int fd, const std::string& line) {
  const auto text = line + "\n";
  [[maybe_unused]] const auto n = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
}

/// Calls of sizes that go through slots and through one and many pieces of the stages.
expected<void> call(group& g, int number) {
  constexpr std::size_t sizes[] = {1, 300, 40'000, 200'000};
  const auto count = sizes[number % 4];
  std::vector<std::int64_t> x(count, static_cast<std::int64_t>(g.rank()) + number);
  if (auto ok = g.all_reduce(std::span(x), reduction::sum); !ok) return ok;
  const auto n = static_cast<std::int64_t>(g.size());
  const auto want = n * (n - 1) / 2 + n * number;
  for (const auto v : x) {
    if (v != want) return fail(errc::internal, fmt::format("a wrong sum in call {}", number));
  }
  return {};
}

void run_rank(int fd) {
  const auto key_text = std::string(std::getenv("HYDROGEN_TEST_KEY"));
  secret::key bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::byte>(std::stoi(key_text.substr(2 * i, 2), nullptr, 16));
  const auto key = secret::from_key(bytes);
  const auto boot = make_boot_id();
  rendezvous meet(key);
  auto listener = value_or_throw(acceptor::listen(
      "127.0.0.1:0", key, boot, [&](unique_fd s, hello h) { meet.accepted(std::move(s), std::move(h)); }));
  write_line(fd, fmt::format("here {} {}", boot.value, listener->endpoint()));

  std::string buffered;
  std::thread worker;
  auto abort = std::make_shared<abort_word>();
  for (auto line = read_line(fd, buffered); !line.empty(); line = read_line(fd, buffered)) {
    std::istringstream in(line);
    std::string what;
    in >> what;
    if (what == "abort") abort->set({errc::aborted, "told to", {}, {}});
    if (what != "join") continue;
    std::uint64_t attempt = 0, other = 0;
    std::uint32_t rank = 0;
    int calls = 0;
    in >> attempt >> calls >> rank;
    std::vector<gang_member> members;
    std::string endpoint;
    while (in >> other >> endpoint)
      members.push_back({static_cast<std::uint32_t>(members.size()), {other}, endpoint, {}});
    if (worker.joinable()) worker.join();
    abort = std::make_shared<abort_word>();
    worker = std::thread([&meet, fd, attempt, calls, rank, members, abort] {
      auto g = meet.join(token_of(attempt), rank, members, *abort, now() + 60s);
      expected<void> ok;
      if (!g) ok = unexpected(g.error());
      for (int i = 0; ok && i < calls; ++i) {
        ok = call(**g, i);
        // Not all: nobody may be reading, and a full socket would hold the rank up.
        if (ok && (i < 16 || i % 50 == 0)) write_line(fd, fmt::format("call {}", i));
      }
      write_line(fd,
                 ok ? "done" : fmt::format("failed {} {}", static_cast<int>(ok.error().code), ok.error().message()));
    });
  }
  abort->set({errc::aborted, "the test is over", {}, {}});
  if (worker.joinable()) worker.join();
}

TEST_CASE("a rank in a process of its own" * doctest::skip()) {
  // Run by `rank_process` only.
  if (std::getenv("HYDROGEN_TEST_KEY") != nullptr) run_rank(child_fd);
}

}  // namespace

rank_process::rank_process(const secret& key) {
  int pair[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
  socket_.reset(pair[0]);
  const unique_fd theirs(fcntl(pair[1], F_DUPFD_CLOEXEC, child_fd + 1));
  ::close(pair[1]);
  std::string hex;
  for (const auto b : key.bytes()) {
    constexpr char digits[] = "0123456789abcdef";
    hex += digits[static_cast<unsigned>(b) >> 4];
    hex += digits[static_cast<unsigned>(b) & 15];
  }
  auto variable = "HYDROGEN_TEST_KEY=" + hex;
  std::vector<char*> environment;
  for (char** e = environ; *e != nullptr; ++e) environment.push_back(*e);
  environment.push_back(variable.data());
  environment.push_back(nullptr);
  std::string program = "test_comm", no_skip = "--no-skip", filter = std::string("--test-case=") + rank_process_case,
              quiet = "--out=/dev/null";
  char* argv[] = {program.data(), no_skip.data(), filter.data(), quiet.data(), nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, theirs.get(), child_fd);
  const int rc = posix_spawn(&pid_, "/proc/self/exe", &actions, nullptr, argv, environment.data());
  posix_spawn_file_actions_destroy(&actions);
  REQUIRE(rc == 0);
  std::istringstream in(hear("here "));
  std::string word;
  in >> word >> member_.executor.value >> member_.endpoint;
  REQUIRE(member_.executor);
}

rank_process::~rank_process() {
  signal(SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

void rank_process::say(const std::string& line) {
  write_line(socket_.get(), line);
}

std::string rank_process::hear() {
  return read_line(socket_.get(), buffered_);
}

std::string rank_process::hear(const std::string& start) {
  for (;;) {
    auto line = hear();
    if (line.empty() || line.starts_with(start)) return line;
  }
}

void rank_process::signal(int number) {
  ::kill(pid_, number);
}

void start_gang(const std::vector<rank_process*>& ranks, std::uint64_t attempt, int calls) {
  std::string table;
  for (const auto* r : ranks) table += fmt::format(" {} {}", r->member().executor.value, r->member().endpoint);
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    ranks[r]->say(fmt::format("join {} {} {}{}", attempt, calls, r, table));
  }
}

}  // namespace hydrogen::comm::testing
