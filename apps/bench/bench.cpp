#include "bench.hpp"

#include <nlohmann/json.hpp>
#include <spdlog/fmt/fmt.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <thread>

namespace hydrogen::bench {
namespace {

bool more_is_better(const result& r) {
  return r.unit.ends_with("/s");
}

/// Above 1: better than what it stands beside.
double ratio(const result& r) {
  if (r.beside->ratio > 0) return r.beside->ratio;
  const double mine = median(r.samples);
  return more_is_better(r) ? mine / r.beside->value : r.beside->value / mine;
}

bool met(const result& r) {
  switch (r.aim->is) {
    case goal::kind::at_most:
      return median(r.samples) <= r.aim->value;
    case goal::kind::at_least:
      return median(r.samples) >= r.aim->value;
    case goal::kind::ratio:
      return r.beside && ratio(r) >= r.aim->value;
    case goal::kind::p99_at_most:
      return p99(r.samples) <= r.aim->value;
  }
  return false;
}

/// Three digits that count: 0.0643, 6.43, 643, 64300.
std::string figure(double x) {
  const double size = std::abs(x);
  const int digits = size == 0 || size >= 100 ? 0 : std::max(0, 2 - static_cast<int>(std::floor(std::log10(size))));
  return fmt::format("{:.{}f}", x, digits);
}

std::string goal_text(const result& r) {
  switch (r.aim->is) {
    case goal::kind::at_most:
      return fmt::format("<= {} {}", figure(r.aim->value), r.unit);
    case goal::kind::at_least:
      return fmt::format(">= {} {}", figure(r.aim->value), r.unit);
    case goal::kind::ratio:
      return fmt::format("ratio >= {}", figure(r.aim->value));
    case goal::kind::p99_at_most:
      return fmt::format("p99 <= {} {}", figure(r.aim->value), r.unit);
  }
  return {};
}

std::string first_value(const std::string& file, const std::string& key) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    const auto colon = line.find(": ");
    if (line.starts_with(key) && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

}  // namespace

double median(std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  const auto n = samples.size();
  return n % 2 == 1 ? samples[n / 2] : (samples[n / 2 - 1] + samples[n / 2]) / 2;
}

double median_ratio(const std::vector<double>& mine, const std::vector<double>& beside) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < std::min(mine.size(), beside.size()); ++i) ratios.push_back(beside[i] / mine[i]);
  return median(std::move(ratios));
}

double p99(std::vector<double> samples, bool more_is_better) {
  std::sort(samples.begin(), samples.end());
  if (more_is_better) std::reverse(samples.begin(), samples.end());
  return samples[(samples.size() * 99 + 99) / 100 - 1];
}

void session::start(const std::string& benchmark) {
  benchmark_ = benchmark;
  if (entries_.empty()) {
    std::printf("%-11s %-36s %-18s %12s %12s  %-28s %7s  %s\n", "benchmark", "case", "size", "median", "p99", "beside",
                "ratio", "goal");
  }
}

void session::report(result r) {
  const auto with_unit = [&](double x) { return fmt::format("{} {}", figure(x), r.unit); };
  const auto beside = r.beside ? fmt::format("{} {}", r.beside->name, with_unit(r.beside->value)) : std::string("-");
  const auto aim = !r.aim ? std::string("-")
                          : fmt::format("{} {}", goal_text(r),
                                        quick()  ? ""
                                        : met(r) ? "met"
                                                 : "MISSED");
  fmt::print("{:<11} {:<36} {:<18} {:>12} {:>12}  {:<28} {:>7}  {}{}\n", benchmark_, r.name, r.size,
             with_unit(median(r.samples)), with_unit(p99(r.samples, more_is_better(r))), beside,
             r.beside ? figure(ratio(r)) : "-", aim, r.note.empty() ? "" : "  (" + r.note + ")");
  std::fflush(stdout);
  entries_.push_back({benchmark_, std::move(r)});
}

void session::remark(const std::string& text) {
  fmt::print("{:<11} {}\n", benchmark_, text);
  std::fflush(stdout);
  remarks_.push_back({benchmark_, text});
}

std::vector<benchmark>& benchmarks() {
  static std::vector<benchmark> list;
  return list;
}

std::vector<double> sample_ms(int rounds, const std::function<void()>& body) {
  std::vector<double> samples;
  for (int i = -1; i < rounds; ++i) {
    const auto begin = now();
    body();
    if (i >= 0) samples.push_back(milliseconds(now() - begin));
  }
  return samples;
}

machine_facts this_machine() {
  machine_facts facts;
  facts.cpu = first_value("/proc/cpuinfo", "model name");
  facts.cores = std::thread::hardware_concurrency();
  struct sysinfo info {};
  if (::sysinfo(&info) == 0) facts.memory_gib = static_cast<double>(info.totalram) * info.mem_unit / (1 << 30);
  utsname name{};
  if (::uname(&name) == 0) facts.kernel = fmt::format("{} {} {}", name.sysname, name.release, name.machine);
  facts.compiler = "g++ " __VERSION__;
  double load[1] = {};
  if (::getloadavg(load, 1) == 1) facts.load = load[0];
  return facts;
}

expected<void> write_json(const std::string& file, const machine_facts& m, const session& s) {
  nlohmann::ordered_json out;
  out["machine"] = {{"cpu", m.cpu},       {"cores", m.cores},       {"memory_gib", m.memory_gib},
                    {"kernel", m.kernel}, {"compiler", m.compiler}, {"load", m.load}};
  out["quick"] = s.quick();
  auto devices = nlohmann::ordered_json::array();
  for (const auto& e : s.entries()) {
    const auto& name = e.what.device;
    if (!name.empty() && std::find(devices.begin(), devices.end(), name) == devices.end()) devices.push_back(name);
  }
  out["devices"] = std::move(devices);
  out["results"] = nlohmann::ordered_json::array();
  for (const auto& [benchmark, r] : s.entries()) {
    nlohmann::ordered_json one{{"benchmark", benchmark},
                               {"case", r.name},
                               {"size", r.size},
                               {"unit", r.unit},
                               {"median", median(r.samples)},
                               {"p99", p99(r.samples, more_is_better(r))},
                               {"samples", r.samples.size()}};
    if (r.beside) one["beside"] = {{"name", r.beside->name}, {"value", r.beside->value}, {"ratio", ratio(r)}};
    if (r.aim) one["goal"] = {{"is", goal_text(r)}, {"met", met(r)}};
    if (!r.note.empty()) one["note"] = r.note;
    if (!r.device.empty()) one["device"] = r.device;
    out["results"].push_back(std::move(one));
  }
  out["remarks"] = nlohmann::ordered_json::array();
  for (const auto& [benchmark, text] : s.remarks()) {
    out["remarks"].push_back({{"benchmark", benchmark}, {"text", text}});
  }
  std::ofstream stream(file);
  stream << out.dump(2) << "\n";
  if (!stream.flush()) return fail_errno("cannot write", file);
  return {};
}

}  // namespace hydrogen::bench
