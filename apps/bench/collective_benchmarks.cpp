// `collectives`: calls of gangs in threads, in processes that share memory and over TCP, beside Gloo, Open MPI, and
// what the machine needs for the addition or the bytes alone.

#include <hydrogen/base/units.hpp>

#include "bench.hpp"
#include "chart.hpp"
#include "collective_race.hpp"
#include <spdlog/fmt/fmt.h>

#include <limits>

namespace hydrogen::bench {
namespace {

constexpr auto any_size = std::numeric_limits<std::uint64_t>::max();

/// What a contender stands beside, where both are measured.
struct pairing {
  contender mine;
  contender beside;
};
constexpr pairing pairings[] = {
    {contender::threads, contender::addition}, {contender::threads, contender::gloo},
    {contender::threads, contender::open_mpi}, {contender::shared, contender::addition},
    {contender::shared, contender::gloo},      {contender::shared, contender::open_mpi},
    {contender::processes, contender::gloo},   {contender::processes, contender::open_mpi},
    {contender::staged, contender::gloo},      {contender::staged, contender::open_mpi},
    {contender::tcp, contender::exchange},     {contender::tcp, contender::gloo},
};

struct aim_alone {
  contender mine;
  const char* call;
  int ranks;
  std::uint64_t bytes;
  goal aim;
};
constexpr aim_alone aims_alone[] = {
    {contender::processes, "all_reduce", 2, 8, {goal::kind::at_most, 1}},
    {contender::processes, "all_reduce", 4, 8, {goal::kind::at_most, 15}},
    {contender::processes, "all_reduce", 4, 8, {goal::kind::p99_at_most, 50}},
    {contender::shared, "all_reduce", 4, MiB, {goal::kind::at_most, 200}},
    {contender::processes, "all_reduce", 4, MiB, {goal::kind::at_most, 500}},
    {contender::threads, "all_reduce, 1 ms idle", 2, 8, {goal::kind::at_most, 50}},
    {contender::processes, "all_reduce, 1 ms idle", 2, 8, {goal::kind::at_most, 50}},
    {contender::processes, "CPU while waiting", 2, 0, {goal::kind::at_most, 0.5}},
};

struct aim_beside {
  contender mine;
  contender beside;
  const char* call;
  int ranks;  // 0: any
  std::uint64_t from, to;
  double ratio;
};
constexpr aim_beside aims_beside[] = {
    {contender::threads, contender::gloo, "all_reduce", 0, MiB, any_size, 6},
    {contender::threads, contender::open_mpi, "all_reduce", 0, MiB, any_size, 3},
    {contender::threads, contender::addition, "all_reduce", 2, MiB, any_size, 0.75},
    {contender::threads, contender::addition, "all_reduce", 4, MiB, any_size, 0.65},
    {contender::shared, contender::gloo, "all_reduce", 0, MiB, any_size, 6},
    {contender::shared, contender::open_mpi, "all_reduce", 0, MiB, any_size, 3},
    {contender::shared, contender::addition, "all_reduce", 2, MiB, any_size, 0.75},
    {contender::shared, contender::addition, "all_reduce", 4, MiB, any_size, 0.65},
    {contender::staged, contender::gloo, "all_reduce", 0, 64 * KiB, any_size, 3},
    {contender::staged, contender::open_mpi, "all_reduce", 0, 64 * KiB, any_size, 1},
    {contender::processes, contender::gloo, "all_reduce", 0, 64 * KiB, any_size, 4},
    {contender::processes, contender::open_mpi, "all_reduce", 0, 64 * KiB, any_size, 1.3},
    {contender::processes, contender::open_mpi, "all_reduce", 2, 8, 8, 1 / 1.2},
    {contender::tcp, contender::exchange, "all_reduce", 2, MiB, MiB, 0.8},
    {contender::tcp, contender::exchange, "all_reduce", 2, 16 * MiB, any_size, 0.9},
    {contender::tcp, contender::gloo, "all_reduce", 2, 0, any_size, 1.5},
    {contender::tcp, contender::gloo, "all_reduce", 4, 0, any_size, 1.3},
    {contender::processes, contender::gloo, "barrier", 2, 0, any_size, 100},
    {contender::processes, contender::gloo, "barrier", 4, 0, any_size, 20},
    {contender::shared, contender::open_mpi, "reduce_scatter", 0, 64 * KiB, any_size, 2},
    {contender::shared, contender::open_mpi, "broadcast", 0, 64 * KiB, any_size, 1.5},
    {contender::shared, contender::open_mpi, "all_gather", 0, 64 * KiB, MiB, 1.2},
    {contender::shared, contender::open_mpi, "all_gather", 0, MiB + 1, any_size, 0.9},
    {contender::processes, contender::open_mpi, "reduce_scatter", 0, 64 * KiB, any_size, 2},
    {contender::processes, contender::open_mpi, "broadcast", 0, 64 * KiB, any_size, 1.5},
    {contender::processes, contender::open_mpi, "all_gather", 0, 64 * KiB, MiB, 1.2},
    {contender::processes, contender::open_mpi, "all_gather", 0, MiB + 1, any_size, 0.9},
};

/// A call as the table names it.
struct measured_call {
  std::string title;
  timed_call call;
  std::string unit;
};
measured_call measured(const char* operation, std::uint64_t bytes, const char* title = nullptr) {
  measured_call m;
  m.title = title == nullptr ? operation : title;
  m.call.operation = operation;
  m.call.bytes = bytes;
  m.call.iterations = 0;
  m.unit = "us";
  return m;
}

/// What every rank's link would carry if the call moved the least that it can, by its time; n: ranks.
std::string bus_bandwidth(const timed_call& c, double n, double microseconds) {
  const double share = c.operation == "all_reduce"       ? 2 * (n - 1) / n
                       : c.operation == "all_gather"     ? (n - 1) / n
                       : c.operation == "reduce_scatter" ? (n - 1) / n
                       : c.operation == "broadcast"      ? 1
                                                         : 0;
  if (share == 0 || c.bytes < KiB) return {};
  return fmt::format("bus {:.3g} GB/s", static_cast<double>(c.bytes) / microseconds * share / 1e3);
}

class table {
 public:
  table(session& s, collective_race& race) : session_(s), race_(race) {}

  /// One row for a peer, and for one of ours a row beside each that it stands beside.
  void report(const measured_call& m, const std::vector<contender>& who) {
    const auto all = race_.run(m.call, who);
    for (const auto one : who) {
      const auto at = all.find(one);
      if (at == all.end() || one == contender::addition || one == contender::exchange) continue;
      report_one(m, one, at->second, all);
    }
    for (const auto& [one, figures] : all) {
      if (m.call.operation != "all_reduce" || m.call.idle_us > 0) break;
      lines_[one].push_back({static_cast<double>(m.call.bytes), median(figures.samples)});
    }
  }

  chart_panel panel() const {
    chart_panel p{fmt::format("{} ranks", race_.ranks()), {}};
    for (const auto& [one, points] : lines_) {
      if (const auto name = race_.name(one); !name.empty()) p.lines.push_back({name, points});
    }
    return p;
  }

 private:
  void report_one(const measured_call& m, contender mine, const race_figures& figures, const race_result& all) {
    result base;
    base.name = fmt::format("{}, {} {}", m.title, race_.ranks(),
                            is_peer(mine)            ? std::string("of ") + title_of(mine)
                            : mine == contender::tcp ? "over TCP"
                                                     : title_of(mine));
    base.size = m.call.bytes == 0 ? "-" : format_size(m.call.bytes);
    base.unit = m.unit;
    base.samples = figures.samples;
    base.note = bus_bandwidth(m.call, race_.ranks(), median(figures.samples));
    int rows = 0;
    const auto row = [&](std::optional<reference> beside, std::optional<goal> aim) {
      auto r = base;
      r.beside = std::move(beside);
      r.aim = aim;
      session_.report(std::move(r));
      ++rows;
    };
    for (const auto& a : aims_alone) {
      if (a.mine == mine && a.call == m.title && a.ranks == race_.ranks() && a.bytes == m.call.bytes) row({}, a.aim);
    }
    for (const auto& p : pairings) {
      const auto beside = all.find(p.beside);
      if (p.mine != mine || beside == all.end()) continue;
      row(reference{race_.name(p.beside), median(beside->second.samples),
                    median_ratio(figures.rounds, beside->second.rounds)},
          aim_of(m, p));
    }
    if (rows == 0) row({}, {});
  }

  std::optional<goal> aim_of(const measured_call& m, const pairing& p) const {
    for (const auto& a : aims_beside) {
      const bool fits = a.mine == p.mine && a.beside == p.beside && a.call == m.title &&
                        (a.ranks == 0 || a.ranks == race_.ranks()) && a.from <= m.call.bytes && m.call.bytes <= a.to;
      if (fits) return goal{goal::kind::ratio, a.ratio};
    }
    return {};
  }

  session& session_;
  collective_race& race_;
  std::map<contender, std::vector<chart_line::point>> lines_;
};

chart_panel measure_gang(session& s, int ranks, std::vector<std::string>& peers) {
  collective_race race(s, ranks, peers);
  table rows(s, race);
  using enum contender;
  const auto sizes = s.quick() ? std::vector<std::uint64_t>{8, 64 * KiB}
                               : std::vector<std::uint64_t>{8, KiB, 64 * KiB, MiB, 16 * MiB, 64 * MiB};
  for (const auto bytes : sizes) {
    std::vector<contender> who{threads, gloo, processes, open_mpi, tcp, exchange};
    // Smaller data goes through slots, wherever it lies.
    if (bytes >= 64 * KiB) who.insert(who.begin() + 1, {shared, staged});
    // Below, the least is to be there and not to add.
    if (bytes >= 64 * KiB) who.insert(who.begin(), addition);
    rows.report(measured("all_reduce", bytes), who);
  }
  auto after_idling = measured("all_reduce", 8, "all_reduce, 1 ms idle");
  after_idling.call.idle_us = 1000;
  rows.report(after_idling, {threads, processes, tcp, gloo, open_mpi});
  for (const auto* name : {"reduce_scatter", "broadcast", "all_gather"}) {
    for (const auto bytes : sizes) {
      if (bytes >= 64 * KiB) rows.report(measured(name, bytes), {shared, processes, open_mpi, threads, tcp});
    }
  }
  rows.report(measured("barrier", 0), {threads, processes, gloo, open_mpi, tcp});
  if (ranks == 2) {
    auto waiting = measured("wait", 0, "CPU while waiting");
    waiting.unit = "%";  // of a core, by a rank that waits for another
    waiting.call.iterations = 1;
    waiting.call.idle_us = s.quick() ? 20'000 : 1'000'000;
    rows.report(waiting, {threads, processes, tcp, gloo, open_mpi});
  }
  return rows.panel();
}

void collectives(session& s) {
  std::vector<chart_panel> panels;
  auto peers = s.options().beside;
  for (const int ranks : {2, 4}) panels.push_back(measure_gang(s, ranks, peers));
  if (s.options().plot_file.empty()) return;
  const auto machine = this_machine();
  const auto subtitle =
      fmt::format("{}, {} cores, {:.0f} GiB, {}", machine.cpu, machine.cores, machine.memory_gib, machine.kernel);
  value_or_throw(write_chart(s.options().plot_file, chart_svg("All-reduce of float sums", subtitle, panels)));
}

const registration collectives_registered{
    "collectives", "all_reduce and its kin, 8 B to 64 MiB, beside the addition alone, Gloo, Open MPI", collectives};

}  // namespace
}  // namespace hydrogen::bench
