#include "rank_process.hpp"

#include <hydrogen/base/hash.hpp>
#include <hydrogen/comm/acceptor.hpp>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <spdlog/fmt/fmt.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <thread>

extern char** environ;

namespace hydrogen::comm::testing {
namespace {

constexpr int child_fd = 3;

/// One line from a socket, what came behind it stays in `buffered`. Empty: the end, or nothing for so long.
std::string read_line(int fd, std::string& buffered, int milliseconds) {
  for (;;) {
    if (const auto end = buffered.find('\n'); end != std::string::npos) {
      auto line = buffered.substr(0, end);
      buffered.erase(0, end + 1);
      return line;
    }
    pollfd set{fd, POLLIN, 0};
    char bytes[4096];
    const int ready = ::poll(&set, 1, milliseconds);
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return {};
    const auto n = ::recv(fd, bytes, sizeof bytes, 0);
    if (n <= 0) return {};
    buffered.append(bytes, static_cast<std::size_t>(n));
  }
}

void write_line(int fd, const std::string& line) {
  const auto text = line + "\n";
  [[maybe_unused]] const auto n = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
}

unexpected wrong_call(int number) {
  return fail(errc::internal, fmt::format("a wrong result in call {}", number));
}

/// Numbers that every rank can compute of every rank.
std::int64_t value_of(std::uint32_t rank, int number) {
  return static_cast<std::int64_t>(rank) + number;
}
std::int64_t sum_of(const group& g, int number) {
  const auto n = static_cast<std::int64_t>(g.size());
  return n * (n - 1) / 2 + n * number;
}
bool are_all(std::span<const std::int64_t> x, std::int64_t value) {
  return std::all_of(x.begin(), x.end(), [=](auto v) { return v == value; });
}

expected<void> bytes_call(group& g, std::size_t size, int number) {
  const auto content = [&](std::uint32_t from) {
    return byte_buffer(size, static_cast<std::byte>(value_of(from, number)));
  };
  const auto mine = content(g.rank());
  const std::vector<byte_view> parts(g.size(), mine);
  auto all = g.all_to_all(parts);
  if (!all) return unexpected(all.error());
  for (std::uint32_t r = 0; r < g.size(); ++r) {
    if ((*all)[r] != content(r)) return wrong_call(number);
  }
  const auto root = static_cast<std::uint32_t>(number) % g.size();
  auto gathered = g.gather(root, mine);
  if (!gathered) return unexpected(gathered.error());
  auto part = g.scatter(root, g.rank() == root ? parts : std::vector<byte_view>());
  if (!part) return unexpected(part.error());
  return *part == content(root) ? expected<void>() : wrong_call(number);
}

/// Every operation, in the whole gang and in a group, with sizes that go through slots and through one and many pieces
/// of whatever is between the processes.
expected<void> call(group& g, group& pair, std::span<std::int64_t> shared, int number) {
  constexpr std::size_t sizes[] = {1, 300, 40'000, 200'000};
  // What the kernel copies, between two ranks.
  const std::size_t count = number / 7 % 4 == 3 && g.size() == 2 ? 600'000 : sizes[number / 7 % 4];
  std::vector<std::int64_t> own(count);
  std::span<std::int64_t> x = number % 2 == 0 ? std::span(own) : shared.first(count);
  std::fill(x.begin(), x.end(), value_of(g.rank(), number));
  const auto mine = share_of(count, g.rank(), g.size());
  const auto root = static_cast<std::uint32_t>(number) % g.size();
  const auto sum = sum_of(g, number);
  switch (number % 7) {
    case 0:
      if (auto ok = g.all_reduce(x, reduction::sum); !ok) return ok;
      return are_all(x, sum) ? expected<void>() : wrong_call(number);
    case 1:
      if (auto ok = g.reduce_scatter(x, reduction::sum); !ok) return ok;
      return are_all(x.subspan(mine.begin, mine.count), sum) ? expected<void>() : wrong_call(number);
    case 2:
      if (auto ok = g.broadcast(root, x); !ok) return ok;
      return are_all(x, value_of(root, number)) ? expected<void>() : wrong_call(number);
    case 3:
      if (auto ok = g.reduce_async(root, x, reduction::sum).wait(); !ok) return ok;
      return are_all(x, g.rank() == root ? sum : value_of(g.rank(), number)) ? expected<void>() : wrong_call(number);
    case 4:
      if (auto ok = g.all_gather(x); !ok) return ok;
      return are_all(x.subspan(mine.begin, mine.count), value_of(g.rank(), number)) ? expected<void>()
                                                                                    : wrong_call(number);
    case 5:
      return bytes_call(g, count, number);
    default:
      if (auto ok = pair.all_reduce(x, reduction::max); !ok) return ok;
      return pair.barrier();
  }
}

/// Groups of two ranks or one, a buffer of the gang, and then the calls.
expected<void> make_calls(group& g, int fd, int calls) {
  std::vector<std::uint32_t> neighbours{g.rank() / 2 * 2};
  if (neighbours[0] + 1 < g.size()) neighbours.push_back(neighbours[0] + 1);
  auto pair = g.subgroup(neighbours);
  if (!pair) return unexpected(pair.error());
  auto shared = g.buffer<std::int64_t>(600'000);
  if (!shared) return unexpected(shared.error());
  for (int i = 0; i < calls; ++i) {
    if (auto ok = call(g, **pair, shared->span(), i); !ok) return ok;
    // Not all: nobody may be reading, and a full socket would hold the rank up.
    if (i < 32 || i % 50 == 0) write_line(fd, fmt::format("call {}", i));
  }
  return calls > 0 ? g.barrier() : expected<void>();
}

void run_rank(rank_child& here) {
  const int fd = here.socket();
  auto& meet = here.meet();
  std::thread worker;
  auto abort = std::make_shared<abort_word>();
  for (auto line = here.hear(); !line.empty(); line = here.hear()) {
    std::istringstream in(line);
    std::string what;
    in >> what;
    if (what == "abort") abort->set({errc::aborted, "told to", {}, {}});
    if (what == "count") {
      if (worker.joinable()) worker.join();
      write_line(fd, fmt::format("has {} {}", entries_of("/proc/self/fd"), entries_of("/proc/self/task")));
    }
    if (what != "join") continue;
    std::uint64_t attempt = 0;
    std::uint32_t rank = 0;
    int calls = 0;
    in >> attempt >> calls >> rank;
    const auto members = read_table(in);
    if (worker.joinable()) worker.join();
    abort = std::make_shared<abort_word>();
    worker = std::thread([&meet, fd, attempt, calls, rank, members, abort] {
      auto g = meet.join(token_of(attempt), rank, members, *abort, now() + 60s);
      auto ok = g ? make_calls(**g, fd, calls) : expected<void>(unexpected(g.error()));
      if (g) g->reset();
      write_line(fd,
                 ok ? "done" : fmt::format("failed {} {}", static_cast<int>(ok.error().code), ok.error().message()));
    });
  }
  abort->set({errc::aborted, "the test is over", {}, {}});
  if (worker.joinable()) worker.join();
}

TEST_CASE("a rank in a process of its own" * doctest::skip()) {
  // Run by `rank_process` only.
  if (auto here = rank_child::make()) run_rank(*here);
}

}  // namespace

std::unique_ptr<rank_child> rank_child::make() {
  const char* text = std::getenv("HYDROGEN_TEST_KEY");
  if (text == nullptr) return nullptr;
  // Also while it is stopped: it does not outlive who drives it.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  const std::string key_text = text;
  secret::key bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::byte>(std::stoi(key_text.substr(2 * i, 2), nullptr, 16));
  return std::unique_ptr<rank_child>(
      new rank_child(secret::from_key(bytes), std::getenv("HYDROGEN_TEST_MEDIUM"), std::getenv("HYDROGEN_TEST_HOST")));
}

rank_child::rank_child(const secret& key, const std::string& between, const std::string& host) {
  const auto boot = make_boot_id();
  rendezvous_options options;
  options.share_memory = between != "tcp" && between != "links";
  options.link_memory = between != "tcp";
  options.read_memory = between == "memory";
  // Some calls stage and some read.
  options.table.reduce_by_reading = 4 << 20;
  options.table.pass_by_reading = options.table.exchange_by_reading = 1 << 20;
  meet_ = std::make_unique<rendezvous>(key, options);
  listener_ = value_or_throw(acceptor::listen(
      host + ":0", key, boot, [m = meet_.get()](unique_fd s, hello h) { m->accepted(std::move(s), std::move(h)); }));
  say(fmt::format("here {} {}", boot.value, listener_->endpoint()));
}

int rank_child::socket() const {
  return child_fd;
}

void rank_child::say(const std::string& line) const {
  write_line(child_fd, line);
}

std::string rank_child::hear() {
  return read_line(child_fd, buffered_, -1);
}

gang_token token_of(std::uint64_t attempt) {
  gang_token token;
  token.gang.stage = 7;
  token.attempt = {{1}, attempt};
  return token;
}

std::string text_of_table(const std::vector<const rank_process*>& ranks) {
  std::string table;
  for (const auto* r : ranks) table += fmt::format(" {} {}", r->member().executor.value, r->member().endpoint);
  return table;
}

gang_table read_table(std::istream& in) {
  std::uint64_t process = 0;
  std::string endpoint;
  std::vector<gang_member> members;
  while (in >> process >> endpoint)
    members.push_back({static_cast<std::uint32_t>(members.size()), {process}, endpoint, {}});
  return members;
}

std::size_t entries_of(const char* folder) {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder), {}));
}

rank_process::rank_process(const secret& key, const std::string& between, const std::string& role, int host) {
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
  auto medium_variable = "HYDROGEN_TEST_MEDIUM=" + between;
  environment.push_back(medium_variable.data());
  auto host_variable = fmt::format("HYDROGEN_TEST_HOST=127.0.0.{}", 1 + host);
  environment.push_back(host_variable.data());
  environment.push_back(nullptr);
  std::string program = "test_comm", no_skip = "--no-skip", filter = "--test-case=" + role, quiet = "--out=/dev/null";
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
  return read_line(socket_.get(), buffered_, 60'000);
}

std::string rank_process::hear(const std::string& start) {
  for (;;) {
    auto line = hear();
    if (line.empty() || line.starts_with(start)) return line;
  }
}

void rank_process::put_back(const std::string& line) {
  buffered_.insert(0, line + "\n");
}

void rank_process::signal(int number) {
  ::kill(pid_, number);
}

void start_gang(const std::vector<rank_process*>& ranks, std::uint64_t attempt, int calls) {
  const auto table = text_of_table({ranks.begin(), ranks.end()});
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    ranks[r]->say(fmt::format("join {} {} {}{}", attempt, calls, r, table));
  }
}

}  // namespace hydrogen::comm::testing
