#pragma once
// The harness of `hydrogen-bench`: benchmarks register themselves under a name, measure cases, and report each with
// what it stands beside: a limit of the machine or a peer, measured in the same run. Main thread only.
//
//   void fused(session& s) { s.report({.name = "one core", ..., .samples = sample(s.rounds(7), [&] { ... })}); }
//   const registration registered{"fused", "filter, map, sum over 50 M integers", fused};

#include <hydrogen/base/clock.hpp>
#include <hydrogen/base/error.hpp>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace hydrogen::bench {

inline constexpr std::uint64_t KiB = 1 << 10, MiB = 1 << 20;

/// What a case is compared with.
struct reference {
  std::string name;  // "hand-written loop", "polars 2.1"
  double value = 0;  // in the unit of the case
  double ratio = 0;  // to it, where both were measured in alternation; 0: that of the medians
};

struct goal {
  enum class kind { at_most, at_least, ratio, p99_at_most };  // of the median; or of the ratio to the reference
  kind is = kind::at_most;
  double value = 0;
};

struct result {
  std::string name;             // the case: "one core", "4 ranks"
  std::string size;             // of the work: "50 M integers"
  std::string unit;             // "ms", "us": less is better; "1/s": more is better
  std::vector<double> samples;  // in `unit`; not empty
  std::optional<reference> beside;
  std::optional<goal> aim;
  std::string note;         // shown behind it: "polars is not installed"
  std::string device = {};  // that did it: "GPU-9f6c... (NVIDIA H200)"; empty: none
};

double median(std::vector<double> samples);
/// How many times slower `beside` was, in the median of samples that were taken in turns.
double median_ratio(const std::vector<double>& mine, const std::vector<double>& beside);
/// The smallest sample that at least 99 of 100 do not exceed; of a rate, the largest that 99 of 100 reach.
double p99(std::vector<double> samples, bool more_is_better = false);

struct session_options {
  bool quick = false;  // a hundredth of the work and few rounds, to see that everything runs; the figures mean nothing
  std::vector<std::string> beside = {};  // peers to be measured where they are asked for, in this order
  bool write_table = false;              // `tune` keeps what it measured
  std::string plot_file = {};            // for a benchmark that can draw what it measured; empty: none
  // The network that `scale` simulates; `network` runs in.
  std::uint32_t hosts = 0;  // 0: a table of several
  std::uint32_t ranks_per_host = 8;
  double gbit = 25;             // of a host's NIC; of the loopback device
  double latency_us = 10;       // between simulated hosts
  double delay_us = 0;          // of bytes between ranks that run
  std::string shape_with = {};  // the command that gives the loopback device that rate; empty: it has none
};

class session {
 public:
  explicit session(session_options options) : options_(std::move(options)) {}

  bool quick() const { return options_.quick; }
  const session_options& options() const { return options_; }
  std::uint64_t scaled(std::uint64_t n) const { return quick() ? (n + 99) / 100 : n; }
  int rounds(int n) const { return quick() ? 2 : n; }

  /// Prints it and keeps it for the JSON file.
  void report(result);
  /// A line below the results, also in the JSON file: why something could not be measured.
  void remark(const std::string& text);

  struct entry {
    std::string benchmark;
    result what;
  };
  const std::vector<entry>& entries() const { return entries_; }
  struct remarked {
    std::string benchmark, text;
  };
  const std::vector<remarked>& remarks() const { return remarks_; }
  void start(const std::string& benchmark);

 private:
  session_options options_;
  std::string benchmark_;
  std::vector<entry> entries_;
  std::vector<remarked> remarks_;
};

struct benchmark {
  std::string name;
  std::string summary;
  void (*run)(session&);
};

/// All that registered, by name.
std::vector<benchmark>& benchmarks();

struct registration {
  registration(const char* name, const char* summary, void (*run)(session&)) {
    benchmarks().push_back({name, summary, run});
  }
};

/// Milliseconds that `body` takes, `rounds` times, after one round that is not counted.
std::vector<double> sample_ms(int rounds, const std::function<void()>& body);

inline double milliseconds(duration d) {
  return static_cast<double>(d.count()) / 1e6;
}
inline double microseconds(duration d) {
  return static_cast<double>(d.count()) / 1e3;
}

/// Keeps a value alive that the compiler would otherwise see to be unused.
template <class T>
void keep(const T& value) {
  asm volatile("" : : "r,m"(value) : "memory");
}

/// What a figure is worth nothing without.
struct machine_facts {
  std::string cpu;
  unsigned cores = 0;
  double memory_gib = 0;
  std::string kernel;
  std::string compiler;
  double load = 0;  // of the last minute, before the first benchmark
};
machine_facts this_machine();

/// Peers that `session_options::beside` may name.
const std::vector<std::string>& known_peers();

/// The figures of all measured cases, the machine, the devices and the remarks, as JSON.
expected<void> write_json(const std::string& file, const machine_facts&, const session&);

}  // namespace hydrogen::bench
