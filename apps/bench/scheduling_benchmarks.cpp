// `tasks`, `gang`, `launch`, `barrier`: what it costs to run something, once the cluster stands.

#include "bench.hpp"
#include "engine.hpp"
#include "limits.hpp"
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <fstream>

namespace hydrogen::bench {
namespace {

std::int64_t clock_now() {
  return now().time_since_epoch().count();
}

void tasks(session& s) {
  const auto n = static_cast<std::uint32_t>(s.scaled(50'000));
  const auto measure = [&](const std::string& name, engine& e, double aim) {
    std::vector<double> rates;
    for (const auto ms : sample_ms(s.rounds(9), [&] { empty_tasks(e.ctx(), n); })) rates.push_back(n / ms * 1e3);
    s.report({name, fmt::format("{} tasks", n), "1/s", std::move(rates), {}, goal{goal::kind::at_least, aim}, {}});
  };
  {
    job::options narrow;
    narrow.window = narrow.most_window = 2;
    auto e = embedded(2, narrow);
    measure("two slots, 2 tasks wait per slot", e, 60'000);
  }
  auto e = embedded(2);
  measure(fmt::format("two slots, up to {} wait per slot", job::options{}.most_window), e, 150'000);
  auto samples = sample_ms(s.rounds(200), [&] { empty_tasks(e.ctx(), 2); });
  s.report({"small stage", "2 tasks", "ms", std::move(samples), {}, {}, {}});
}

void gangs_on(session& s, const std::string& name, engine e, std::uint32_t ranks, reference least, double aim) {
  const auto input = gang_input(e.ctx(), ranks);
  std::vector<double> whole, started;
  for (int i = -3; i < s.rounds(200); ++i) {
    const auto begin = clock_now();
    const auto entries = gang_entries(input, ranks);
    const auto end = clock_now();
    if (i < 0) continue;
    started.push_back(static_cast<double>(*std::max_element(entries.begin(), entries.end()) - begin) / 1e6);
    whole.push_back(static_cast<double>(end - begin) / 1e6);
  }
  const auto size = fmt::format("{} ranks", ranks);
  s.report({name + ", until all ranks run",
            size,
            "ms",
            std::move(started),
            std::move(least),
            goal{goal::kind::at_most, aim},
            {}});
  s.report({name + ", the whole job", size, "ms", std::move(whole), {}, {}, "with the stage that collects"});
}

void gang(session& s) {
  actors::cluster_options durable;
  durable.slots = 8;
  durable.durable_journal = true;  // Go is on disk before anybody starts
  const scratch_folder folder;
  const reference embedded_least{"a sync, 8 threads woken", sync_and_wake_ms(folder.path(), 8, s.rounds(200))};
  gangs_on(s, "embedded", engine(durable), 8, embedded_least, 0.3);
  const reference processes_least{"3 rounds to 8 processes", three_rounds_ms(8, s.rounds(200))};
  gangs_on(s, "8 processes", on_processes(8, 1), 8, processes_least, 1.2);
}

void launch(session& s) {
  auto e = on_processes(1, 8);
  std::vector<double> cold, warm, again;
  for (int i = 0; i < s.rounds(20); ++i) {
    e.end_run();
    auto begin = now();
    empty_tasks(e.ctx(), 1);
    cold.push_back(milliseconds(now() - begin));
    begin = now();
    empty_tasks(e.ctx(), 1);
    warm.push_back(milliseconds(now() - begin));
  }
  s.report({"first task, executor cold",
            "1 task",
            "ms",
            std::move(cold),
            {},
            goal{goal::kind::at_most, 100},
            "a new run and its library"});
  s.report({"first task, executor warm", "1 task", "ms", std::move(warm), {}, goal{goal::kind::at_most, 20}, {}});

  const scratch_folder folder;
  for (int i = 0; i < s.rounds(10); ++i) {
    const auto file = folder.path() + "/killed-at";
    const auto entries = gang_entries_after_kill(e.ctx(), 8, file);
    std::int64_t killed = 0;
    std::ifstream(file) >> killed;
    again.push_back(static_cast<double>(*std::max_element(entries.begin(), entries.end()) - killed) / 1e6);
  }
  s.report(
      {"executor killed, gang runs again", "8 ranks", "ms", std::move(again), {}, goal{goal::kind::at_most, 1000}, {}});
}

void barrier(session& s) {
  auto e = embedded(4);
  const auto rounds = static_cast<std::uint32_t>(s.scaled(20'000));
  (void)barrier_times(e.ctx(), 4, 1000);
  auto times = barrier_times(e.ctx(), 4, rounds);
  const auto slowest = p99(times);
  s.report({"in one process",
            "4 ranks",
            "us",
            std::move(times),
            {},
            goal{goal::kind::at_most, 25},
            fmt::format("p99 goal 50 us{}", s.quick()       ? ""
                                            : slowest <= 50 ? " met"
                                                            : " MISSED")});
  e.end_run();
  auto processes = on_processes(2, 2);
  (void)barrier_times(processes.ctx(), 4, 100);
  s.report({"over 2 processes", "4 ranks", "us", barrier_times(processes.ctx(), 4, rounds / 4), {}, {}, {}});
}

const registration tasks_registered{"tasks", "empty tasks a second, an actor each, embedded", tasks};
const registration gang_registered{"gang", "a gang of 8: submit, admit, start, rendezvous, end", gang};
const registration launch_registered{"launch", "first task on a cold and a warm executor; a gang after a kill", launch};
const registration barrier_registered{"barrier", "barrier() of 4 ranks", barrier};

}  // namespace
}  // namespace hydrogen::bench
