#include "collective_rank.hpp"

#include <hydrogen/comm/acceptor.hpp>
#include <hydrogen/comm/rendezvous.hpp>

#include "peers/timed_calls.hpp"
#include <spdlog/fmt/fmt.h>

#include <cstdlib>
#include <functional>
#include <iostream>
#include <sstream>
#include <thread>

namespace hydrogen::bench {
namespace {

constexpr const char* key_variable = "HYDROGEN_BENCH_KEY";
constexpr auto meeting_limit = 20s;

/// One rank, and what it contributes: kept from call to call, as that of a training loop is.
struct measured_rank {
  std::unique_ptr<comm::group> group;
  abort_word abort;
  page_vector<float> numbers;
  comm::gang_buffer<float> shared;  // of the gang, as large as the largest call

  std::uint32_t number() const { return group->rank(); }
  std::uint32_t ranks() const { return group->size(); }
  /// Numbers of its own, or in a buffer of the gang.
  std::span<float> buffer(std::size_t bytes, bool is_shared) {
    const auto count = bytes / sizeof(float);
    if (!is_shared) {
      numbers.resize(count);
      return numbers;
    }
    if (shared.size() < count) shared = value_or_throw(group->buffer<float>(count));
    return shared.span().first(count);
  }
};

rank_work all_reduce_work(measured_rank& r, std::span<float> x) {
  return {[&r, x] { fill_summands(x, r.number()); },
          [&r, x] { value_or_throw(r.group->all_reduce(x, comm::reduction::sum)); },
          [&r, x] { return is_sum(x, r.ranks()); }};
}

rank_work reduce_scatter_work(measured_rank& r, std::span<float> x) {
  return {[&r, x] { fill_summands(x, r.number()); },
          [&r, x] { value_or_throw(r.group->reduce_scatter(x, comm::reduction::sum)); },
          [&r, x] {
            const auto mine = comm::share_of(x.size(), r.number(), r.ranks());
            return is_sum(x.subspan(mine.begin, mine.count), r.ranks());
          }};
}

// The last rank is the root, so that rank 0, which measures, is one of those that wait for the numbers.
rank_work broadcast_work(measured_rank& r, std::span<float> x) {
  return {[&r, x] { fill_summands(x, r.number()); }, [&r, x] { value_or_throw(r.group->broadcast(r.ranks() - 1, x)); },
          [&r, x] {
            const auto root = static_cast<float>(r.ranks());
            return std::all_of(x.begin(), x.end(), [&](float v) { return v == root; });
          }};
}

rank_work all_gather_work(measured_rank& r, std::span<float> x) {
  return {[&r, x] { fill_summands(x, r.number()); }, [&r, x] { value_or_throw(r.group->all_gather(x)); },
          [&r, x] {
            for (std::uint32_t n = 0; n < r.ranks(); ++n) {
              const auto part = comm::share_of(x.size(), n, r.ranks());
              const auto its = x.subspan(part.begin, part.count);
              if (!std::all_of(its.begin(), its.end(), [&](float v) { return v == static_cast<float>(n + 1); }))
                return false;
            }
            return true;
          }};
}

rank_work barrier_work(measured_rank& r, std::span<float>) {
  return {[] {}, [&r] { value_or_throw(r.group->barrier()); }, [] { return true; }};
}

struct known_operation {
  const char* name;
  rank_work (*work)(measured_rank&, std::span<float>);
};
constexpr known_operation known_operations[] = {
    {"all_reduce", all_reduce_work}, {"reduce_scatter", reduce_scatter_work},
    {"broadcast", broadcast_work},   {"all_gather", all_gather_work},
    {"barrier", barrier_work},
};

std::vector<double> run_call(measured_rank& r, const timed_call& c, bool shares_process) {
  const auto barrier = [&r] { value_or_throw(r.group->barrier()); };
  if (c.operation == "wait") {
    return waiting_percent(c, r.number(), r.ranks(), shares_process ? RUSAGE_THREAD : RUSAGE_SELF, barrier);
  }
  // "all_reduce_shared": in a buffer of the gang.
  const bool is_shared = c.operation.ends_with(shared_suffix);
  const auto operation = c.operation.substr(0, c.operation.size() - (is_shared ? shared_suffix.size() : 0));
  for (const auto& known : known_operations) {
    if (operation == known.name) return time_calls(c, known.work(r, r.buffer(c.bytes, is_shared)), barrier);
  }
  throw std::runtime_error("no operation " + c.operation);
}

const char* place_name(gang_place place) {
  switch (place) {
    case gang_place::threads:
      return "threads";
    case gang_place::processes:
      return "memory";
    case gang_place::staged_processes:
      return "stages";
    case gang_place::processes_over_tcp:
      return "tcp";
  }
  return "";
}

comm::secret key_of_environment() {
  const char* variable = std::getenv(key_variable);
  const std::string text = variable == nullptr ? "" : variable;
  comm::secret::key bytes{};
  if (text.size() != 2 * bytes.size()) throw std::runtime_error(fmt::format("{} is not set", key_variable));
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::byte>(std::stoi(text.substr(2 * i, 2), nullptr, 16));
  }
  return comm::secret::from_key(bytes);
}

std::vector<comm::gang_member> members_of(const std::string& line, boot_id self) {
  std::istringstream in(line);
  std::string word, endpoint;
  in >> word;
  std::vector<comm::gang_member> members;
  for (std::uint64_t boot = 0; in >> boot >> endpoint;) {
    members.push_back({static_cast<std::uint32_t>(members.size()), {boot}, endpoint == "-" ? "" : endpoint, {}});
  }
  if (word != "join" || members.empty()) throw std::runtime_error(fmt::format("process {} joins nobody", self.value));
  return members;
}

/// Runs `body` for each rank of this process, each on a thread of its own if there are several.
void for_each_rank(std::vector<std::unique_ptr<measured_rank>>& ranks,
                   const std::function<void(std::size_t, measured_rank&)>& body) {
  if (ranks.size() == 1) return body(0, *ranks[0]);
  std::vector<std::exception_ptr> problems(ranks.size());
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    threads.emplace_back([&, i] {
      try {
        sleep_precisely();
        body(i, *ranks[i]);
      } catch (...) {
        problems[i] = std::current_exception();
        // The others wait for this one.
        for (auto& r : ranks) r->abort.set({errc::aborted, "another rank has failed", {}, {}});
      }
    });
  }
  threads.clear();
  for (const auto& p : problems) {
    if (p) std::rethrow_exception(p);
  }
}

void meet_and_serve(std::uint32_t first, std::size_t count, std::size_t all, gang_place place) {
  const auto self = make_boot_id();
  const bool alone = place == gang_place::threads;
  const auto key = alone ? std::nullopt : std::optional(key_of_environment());
  comm::rendezvous_options options;
  options.table = comm::tuning_of_machine();
  options.share_memory = options.link_memory = place != gang_place::processes_over_tcp;
  options.read_memory = place != gang_place::staged_processes;
  comm::rendezvous meet(key, options);
  std::unique_ptr<comm::acceptor> listener;
  if (key) {
    listener = value_or_throw(comm::acceptor::listen(
        "127.0.0.1:0", *key, self, [&](unique_fd s, comm::hello h) { meet.accepted(std::move(s), std::move(h)); }));
  }
  say_line(fmt::format("here {} {}", self.value, listener ? listener->endpoint() : "-"));

  std::string line;
  if (!std::getline(std::cin, line)) return;
  const comm::gang_table members(members_of(line, self));
  if (members.size() != all) throw std::runtime_error("a gang of another size");
  comm::gang_token token;
  token.attempt = {{1}, 1};
  std::vector<std::unique_ptr<measured_rank>> ranks;
  for (std::size_t i = 0; i < count; ++i) ranks.push_back(std::make_unique<measured_rank>());
  for_each_rank(ranks, [&](std::size_t i, measured_rank& r) {
    const auto rank = first + static_cast<std::uint32_t>(i);
    r.group = value_or_throw(meet.join(token, rank, members, r.abort, now() + meeting_limit));
  });
  if (first == 0) say_line("ready Hydrogen");
  while (std::getline(std::cin, line)) {
    const auto answer = answer_to(line, [&](const timed_call& c) {
      std::vector<std::vector<double>> times(ranks.size());
      for_each_rank(ranks, [&](std::size_t i, measured_rank& r) { times[i] = run_call(r, c, ranks.size() > 1); });
      return times[0];
    });
    if (first == 0) say_line(answer);
  }
}

}  // namespace

std::vector<std::string> collective_rank_arguments(int first, int count, int ranks, gang_place place) {
  return {"/proc/self/exe",      collective_rank_flag,  std::to_string(first),
          std::to_string(count), std::to_string(ranks), place_name(place)};
}

std::string collective_key_variable(const comm::secret& key) {
  std::string variable = std::string(key_variable) + "=";
  for (const auto b : key.bytes()) variable += fmt::format("{:02x}", static_cast<unsigned>(b));
  return variable;
}

int run_collective_ranks(const std::vector<std::string>& arguments) try {
  if (arguments.size() != 4) throw std::runtime_error("this is for hydrogen-bench itself");
  sleep_precisely();
  for (const auto place :
       {gang_place::threads, gang_place::processes, gang_place::staged_processes, gang_place::processes_over_tcp}) {
    if (arguments[3] != place_name(place)) continue;
    meet_and_serve(static_cast<std::uint32_t>(std::stoul(arguments[0])), std::stoul(arguments[1]),
                   std::stoul(arguments[2]), place);
  }
  return 0;
} catch (const std::exception& e) {
  fmt::print(stderr, "{}\n", e.what());
  return 1;
}

}  // namespace hydrogen::bench
