#include <hydrogen/comm/acceptor.hpp>
#include <hydrogen/comm/rendezvous.hpp>
#include <hydrogen/comm/tuner.hpp>

#include <fcntl.h>
#include <spdlog/fmt/fmt.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <limits>
#include <thread>

namespace hydrogen::comm {
namespace {

constexpr duration patience_of_calls = 20s;

double since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count();
}

/// The lower quartile: what else runs on the machine only makes it slower.
double undisturbed(std::vector<double> x) {
  if (x.empty()) return 0;
  const auto at = x.begin() + static_cast<std::ptrdiff_t>(x.size() / 4);
  std::nth_element(x.begin(), at, x.end());
  return *at;
}

/// A process, as far as a gang can tell.
struct place {
  boot_id boot = make_boot_id();
  std::unique_ptr<rendezvous> meet;
  std::unique_ptr<acceptor> listener;

  static expected<std::unique_ptr<place>> make(const secret& key, const rendezvous_options& options) {
    auto p = std::make_unique<place>();
    p->meet = std::make_unique<rendezvous>(key, options);
    auto l = acceptor::listen("127.0.0.1:0", key, p->boot, [m = p->meet.get()](unique_fd socket, hello from) {
      m->accepted(std::move(socket), std::move(from));
    });
    if (!l) return unexpected(std::move(l.error()));
    p->listener = std::move(*l);
    return p;
  }
};

/// The buffer of the calling rank.
std::span<float> numbers(std::size_t bytes) {
  static thread_local std::vector<float> x;
  x.resize(std::max(x.size(), bytes / sizeof(float)));
  return std::span(x).first(bytes / sizeof(float));
}

/// What the ranks of a measurement do, in turns; times are rank 0's.
using way = std::function<expected<void>(group&, std::size_t bytes)>;
struct setting {
  rendezvous_options options;
  way call;
  std::size_t buffers = 1;  // of the size, that a rank has
};

/// Ranks in as many places, which are in one gang for each setting.
class track {
 public:
  static expected<track> make(std::uint32_t ranks, std::vector<setting> settings) {
    track t(ranks, std::move(settings));
    const auto key = secret::random();
    for (const auto& s : t.settings_) {
      auto& gang = t.gangs_.emplace_back();
      for (std::uint32_t r = 0; r < ranks; ++r) {
        auto p = place::make(key, s.options);
        if (!p) return unexpected(std::move(p.error()));
        gang.members.push_back({r, (*p)->boot, (*p)->listener->endpoint(), {}});
        gang.places.push_back(std::move(*p));
      }
      gang.token.gang.run = make_run_id();
      gang.token.attempt = {{1}, 1};
    }
    return t;
  }

  /// Microseconds by size and setting.
  expected<std::vector<std::vector<double>>> run(const std::vector<std::size_t>& sizes, int rounds,
                                                 const std::function<bool()>& stop) {
    std::vector<std::vector<double>> found(sizes.size(), std::vector<double>(settings_.size()));
    std::vector<error> failed(ranks_);
    for (auto& e : failed) e.code = errc::none;
    abort_word abort;
    std::vector<std::thread> threads;
    for (std::uint32_t r = 0; r < ranks_; ++r) {
      threads.emplace_back([&, r] {
        auto ok = rank(r, sizes, rounds, stop, abort, found);
        if (ok) return;
        failed[r] = ok.error();
        abort.set(ok.error());
      });
    }
    for (auto& t : threads) t.join();
    for (auto& e : failed) {
      if (e.code != errc::none) return unexpected(std::move(e));
    }
    return found;
  }

 private:
  struct gang {
    std::vector<gang_member> members;
    std::vector<std::unique_ptr<place>> places;
    gang_token token;
  };
  track(std::uint32_t ranks, std::vector<setting> settings) : ranks_(ranks), settings_(std::move(settings)) {}

  expected<void> rank(std::uint32_t r, const std::vector<std::size_t>& sizes, int rounds,
                      const std::function<bool()>& stop, abort_word& abort, std::vector<std::vector<double>>& found) {
    std::vector<std::unique_ptr<group>> groups;
    for (auto& g : gangs_) {
      auto joined = g.places[r]->meet->join(g.token, r, g.members, abort, now() + patience_of_calls);
      if (!joined) return unexpected(std::move(joined.error()));
      groups.push_back(std::move(*joined));
    }
    for (std::size_t s = 0; s < sizes.size(); ++s) {
      std::vector<std::vector<double>> times(settings_.size());
      // The first round touches the memory.
      for (int round = 0; round <= rounds; ++round) {
        for (std::size_t i = 0; i < settings_.size(); ++i) {
          if (r == 0 && stop()) return fail(errc::cancelled, "measuring was stopped");
          // As what is exchanged has just been computed: where its lines are decides which way is faster.
          std::ranges::fill(numbers(sizes[s] * settings_[i].buffers), static_cast<float>(round));
          if (auto ok = groups[i]->barrier(); !ok) return ok;
          const auto begin = std::chrono::steady_clock::now();
          if (auto ok = settings_[i].call(*groups[i], sizes[s]); !ok) return ok;
          if (round > 0) times[i].push_back(since(begin));
        }
      }
      for (std::size_t i = 0; r == 0 && i < settings_.size(); ++i) found[s][i] = undisturbed(times[i]);
    }
    return {};
  }

  std::uint32_t ranks_;
  std::vector<setting> settings_;
  std::vector<gang> gangs_;
};

way all_reduce(algorithm by) {
  return [by](group& g, std::size_t bytes) {
    call_options options;
    options.by = by;
    return g.all_reduce(numbers(bytes), reduction::sum, options);
  };
}

/// Of so many bytes from each.
way all_gather() {
  return [](group& g, std::size_t bytes) { return g.all_gather(numbers(bytes * g.size())); };
}

way broadcast() {
  return [](group& g, std::size_t bytes) { return g.broadcast(0, numbers(bytes)); };
}

rendezvous_options over_links() {
  rendezvous_options o;
  o.share_memory = o.link_memory = false;
  return o;
}

rendezvous_options over_memory(bool reading) {
  rendezvous_options o;
  o.read_memory = reading;
  o.table.reduce_by_reading = o.table.pass_by_reading = reading ? 0 : tuning::never;
  o.table.exchange_by_reading = reading ? tuning::never : 0;
  return o;
}

std::vector<tuning_point> points_of(const std::vector<std::size_t>& sizes,
                                    const std::vector<std::vector<double>>& found, std::size_t times) {
  std::vector<tuning_point> all;
  for (std::size_t s = 0; s < sizes.size(); ++s) all.push_back({sizes[s] * times, found[s][0], found[s].back()});
  return all;
}

constexpr std::size_t KiB = 1 << 10;

}  // namespace

std::uint64_t best_threshold(const std::vector<tuning_point>& points) {
  std::uint64_t best = 0;
  double least = std::numeric_limits<double>::max();
  for (std::size_t below = 0; below <= points.size(); ++below) {
    double cost = 1;
    for (std::size_t i = 0; i < points.size(); ++i) {
      const auto& p = points[i];
      cost *= (i < below ? p.below_us : p.above_us) / std::min(p.below_us, p.above_us);
    }
    if (cost >= least) continue;
    least = cost;
    best = below == 0 ? 0 : points[below - 1].bytes;
    if (below == points.size()) best *= 2;
  }
  return best;
}

std::uint64_t best_bucket(const std::vector<tuning_point>& points) {
  double most = 0;
  for (const auto& p : points) most = std::max(most, static_cast<double>(p.bytes) / p.below_us);
  for (const auto& p : points) {
    if (static_cast<double>(p.bytes) / p.below_us >= 0.85 * most) return p.bytes;
  }
  return tuning().bucket;
}

expected<tuning_measured> measure_tuning(const std::function<bool()>& stop) {
  tuning_measured m;
  const auto take = [&](std::string what, std::uint32_t ranks, std::vector<setting> settings,
                        const std::vector<std::size_t>& sizes, int rounds, std::size_t times,
                        std::uint64_t (*choose)(const std::vector<tuning_point>&)) -> expected<std::uint64_t> {
    auto t = track::make(ranks, std::move(settings));
    if (!t) return unexpected(std::move(t.error()));
    const auto found = t->run(sizes, rounds, stop);
    if (!found) return unexpected(found.error());
    auto points = points_of(sizes, *found, times);
    const auto chosen = choose(points);
    m.all.push_back({std::move(what), std::move(points), chosen});
    return chosen;
  };
  std::size_t row = 0;
  for (const std::uint32_t ranks : {2u, 4u, 8u}) {
    auto found =
        take(fmt::format("one shot | owner reduce, {} ranks over TCP", ranks), ranks,
             {{over_links(), all_reduce(algorithm::one_shot)}, {over_links(), all_reduce(algorithm::owner_reduce)}},
             {8 * KiB, 32 * KiB, 64 * KiB, 128 * KiB, 256 * KiB, 512 * KiB}, 9, ranks, best_threshold);
    if (!found) return unexpected(std::move(found.error()));
    m.table.one_shot[row++] = *found;
  }
  const std::vector<std::size_t> large{256 * KiB, 512 * KiB, 1024 * KiB, 2048 * KiB, 4096 * KiB, 8192 * KiB};
  const auto two_ways = [](const way& call) {
    return std::vector<setting>{{over_memory(false), call}, {over_memory(true), call}};
  };
  auto reducing_from = take("staged | read by the kernel, all-reduce of 2 processes", 2,
                            two_ways(all_reduce(algorithm::picked)), large, 15, 1, best_threshold);
  if (!reducing_from) return unexpected(std::move(reducing_from.error()));
  auto passing_from = take("staged | read by the kernel, broadcast of 2 processes", 2, two_ways(broadcast()), large, 15,
                           1, best_threshold);
  if (!passing_from) return unexpected(std::move(passing_from.error()));
  auto exchanging_to =
      take("read by the kernel | staged, all-gather of 2 processes", 2,
           {{over_memory(true), all_gather(), 2}, {over_memory(false), all_gather(), 2}}, large, 15, 1, best_threshold);
  if (!exchanging_to) return unexpected(std::move(exchanging_to.error()));
  // The largest size of the first way; a byte more takes the second. None does if the first was better to the end.
  const auto from = [&](std::uint64_t largest) { return largest > large.back() ? tuning::never : largest + 1; };
  m.table.reduce_by_reading = from(*reducing_from);
  m.table.pass_by_reading = from(*passing_from);
  m.table.exchange_by_reading = *exchanging_to > large.back() ? tuning::never : *exchanging_to;
  auto bucket =
      take("all-reduce over a host's memory, 2 processes", 2, {{over_memory(false), all_reduce(algorithm::picked)}},
           {128 * KiB, 256 * KiB, 512 * KiB, 1024 * KiB, 2048 * KiB, 4096 * KiB}, 9, 1, best_bucket);
  if (!bucket) return unexpected(std::move(bucket.error()));
  m.table.bucket = *bucket;
  return m;
}

void tune_once(const std::function<bool()>& stop) {
  const auto path = tuning_file();
  if (!path || read_tuning(*path)) return;
  std::error_code code;
  std::filesystem::create_directories(std::filesystem::path(*path).parent_path(), code);
  const auto lock_file = *path + ".lock";
  const unique_fd lock(::open(lock_file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock || ::flock(lock.get(), LOCK_EX | LOCK_NB) != 0 || read_tuning(*path)) return;
  const auto found = measure_tuning(stop);
  if (!found) {
    if (found.error().code != errc::cancelled)
      spdlog::warn("this machine could not be measured: {}", found.error().message());
    return;
  }
  if (auto ok = write_tuning(*path, found->table); !ok) {
    spdlog::warn("the table of this machine could not be kept: {}", ok.error().message());
    return;
  }
  spdlog::info("measured how this machine moves data between ranks: {}", *path);
}

}  // namespace hydrogen::comm
