#pragma once
// A gang inside one test program: ranks are threads, placed in "processes" that each have a rendezvous of their own
// and, if there is more than one, an acceptor on loopback. Ranks of one process meet in its memory, others in a memory
// file or over TCP.

#include <hydrogen/comm/acceptor.hpp>
#include <hydrogen/comm/rendezvous.hpp>

#include <sys/types.h>

#include <atomic>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

namespace hydrogen::comm::testing {

/// How data gets from one process to another.
enum class medium { memory, stages, links, tcp };

/// The process of each rank, what is between processes of a host, and the host of each process (none: all are on one).
/// Hosts are loopback addresses; TCP is between them. `links` and `tcp`: the gang has no area, but links between all.
struct layout : std::vector<int> {
  layout(std::initializer_list<int> processes) : vector(processes) {}
  explicit layout(std::vector<int> processes, medium m = medium::memory, std::vector<int> hosts_ = {})
      : vector(std::move(processes)), between(m), hosts(std::move(hosts_)) {}
  medium between = medium::memory;
  std::vector<int> hosts;
};

struct process {
  boot_id boot = make_boot_id();
  std::unique_ptr<rendezvous> meet;
  std::unique_ptr<acceptor> listener;

  process(const std::optional<secret>& key, medium between, int host, rendezvous_options options = {}) {
    options.share_memory = between != medium::tcp && between != medium::links;
    options.link_memory = between != medium::tcp;
    options.read_memory = between == medium::memory;
    meet = std::make_unique<rendezvous>(key, options);
    if (!key) return;
    auto l = acceptor::listen("127.0.0." + std::to_string(1 + host) + ":0", *key, boot,
                              [m = meet.get()](unique_fd fd, hello h) { m->accepted(std::move(fd), std::move(h)); });
    if (!l) throw failure(l.error());
    listener = std::move(*l);
  }
};

/// How the node of a rank is called.
inline std::string node_of(const layout& placement, std::uint32_t rank) {
  return std::string("n").append(std::to_string(placement[rank]));
}

class gang {
 public:
  /// `placement[r]` is the process of rank r.
  explicit gang(layout placement, const std::function<void(int process, rendezvous_options&)>& set = {})
      : placement_(std::move(placement)) {
    int count = 0;
    for (int p : placement_) count = std::max(count, p + 1);
    const auto key = count > 1 ? std::optional(secret::random()) : std::nullopt;
    for (int p = 0; p < count; ++p) {
      const auto host = placement_.hosts.empty() ? 0 : placement_.hosts[static_cast<std::size_t>(p)];
      rendezvous_options options;
      if (set) {
        set(p, options);
      } else {
        // Some calls stage and some read.
        options.table.reduce_by_reading = 4 << 20;
        options.table.pass_by_reading = options.table.exchange_by_reading = 1 << 20;
      }
      processes_.push_back(std::make_unique<process>(key, placement_.between, host, options));
    }
    for (std::uint32_t r = 0; r < placement_.size(); ++r) {
      const auto& p = *processes_[placement_[r]];
      members.push_back({r, p.boot, p.listener ? p.listener->endpoint() : "", node_of(placement_, r)});
      aborts.push_back(std::make_unique<abort_word>());
    }
    token.gang.run = make_run_id();
    token.attempt = {{1}, 1};
  }

  std::uint32_t size() const { return static_cast<std::uint32_t>(placement_.size()); }
  process& process_of(std::uint32_t rank) { return *processes_[placement_[rank]]; }

  expected<std::unique_ptr<group>> join(std::uint32_t rank, duration timeout = 30s) {
    return process_of(rank).meet->join(token, rank, members, *aborts[rank], now() + timeout);
  }

  /// A thread per rank: joins, then runs `f`. What `f` returns, or the error of the join, by rank.
  std::vector<expected<void>> run(const std::function<expected<void>(group&)>& f, duration join_timeout = 30s) {
    std::vector<expected<void>> results(size());
    std::vector<std::thread> threads;
    for (std::uint32_t r = 0; r < size(); ++r) {
      threads.emplace_back([&, r] {
        auto g = join(r, join_timeout);
        results[r] = g ? f(**g) : expected<void>(unexpected(g.error()));
      });
    }
    for (auto& t : threads) t.join();
    return results;
  }

  gang_token token;
  std::vector<gang_member> members;
  std::vector<std::unique_ptr<abort_word>> aborts;

 private:
  layout placement_;
  std::vector<std::unique_ptr<process>> processes_;
};

/// Every kind of placement for P ranks: all together, all apart, pairs, and interleaved, over each medium; and over two
/// hosts, one after the other with processes of one or more ranks, and interleaved.
inline std::vector<layout> placements(int ranks) {
  std::vector<int> together(ranks, 0), apart, pairs, mixed;
  for (int r = 0; r < ranks; ++r) {
    apart.push_back(r);
    pairs.push_back(r / 2);
    mixed.push_back(r % 2);
  }
  std::vector<layout> all{layout(together)};
  for (const auto between : {medium::memory, medium::stages, medium::links, medium::tcp}) {
    if (ranks > 1) all.emplace_back(apart, between);
    if (ranks > 2) all.insert(all.end(), {layout(pairs, between), layout(mixed, between)});
  }
  if (ranks < 3) return all;
  std::vector<int> in_halves, in_turns, of_pairs;
  for (int r = 0; r < ranks; ++r) {
    in_halves.push_back(r < (ranks + 1) / 2 ? 0 : 1);
    in_turns.push_back(r % 3 == 2 ? 1 : 0);
    if (r % 2 == 0) of_pairs.push_back(r < ranks / 2 ? 0 : 1);
  }
  all.insert(all.end(), {layout(apart, medium::memory, in_halves), layout(apart, medium::stages, in_turns),
                         layout(pairs, medium::stages, of_pairs), layout(in_halves, medium::memory, {0, 1})});
  return all;
}

/// Until a thread of this process, which has said its number before it went to wait, does not run, or is no more.
inline void await_sleep(const std::atomic<pid_t>& thread) {
  for (;;) {
    std::string name, state;
    if (thread != 0) {
      std::ifstream about("/proc/self/task/" + std::to_string(thread) + "/stat");
      if (!about) return;
      about >> name >> name >> state;
    }
    if (state == "S") return;
    std::this_thread::yield();
  }
}

inline std::string text_of(const layout& placement) {
  std::string out = placement.between == medium::tcp      ? "placement over TCP"
                    : placement.between == medium::stages ? "placement over stages"
                    : placement.between == medium::links  ? "placement over links in memory"
                                                          : "placement";
  for (int p : placement) out.append(" ").append(std::to_string(p));
  if (!placement.hosts.empty()) out.append(", hosts");
  for (int h : placement.hosts) out.append(" ").append(std::to_string(h));
  return out;
}

}  // namespace hydrogen::comm::testing
