// `queue`: the policy under synthetic loads, and what one decision costs when thousands wait.

#include <hydrogen/actors/scratch_folder.hpp>
#include <hydrogen/actors/wire.hpp>
#include <hydrogen/gang/admission.hpp>
#include <hydrogen/gang/journal.hpp>

#include "bench.hpp"
#include "coordinator_memory.hpp"
#include "process.hpp"
#include "queue_load.hpp"
#include <spdlog/fmt/fmt.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <fstream>
#include <memory>

namespace hydrogen::bench {
namespace {

// ---- the policy ----------------------------------------------------------------------------------------------------

double quantile(std::vector<double> samples, double q) {
  if (samples.empty()) return 0;
  std::sort(samples.begin(), samples.end());
  return samples[std::min(samples.size() - 1, static_cast<std::size_t>(q * static_cast<double>(samples.size())))];
}

void policies(session& s) {
  constexpr std::pair<load, const char*> loads[] = {
      {load::mixed, "mixed"}, {load::bursts, "bursts"}, {load::stream, "stream of small"}};
  constexpr std::pair<gang::passing, const char*> kinds[] = {{gang::passing::none, "first in, first out"},
                                                             {gang::passing::freely, "backfill, no ageing"},
                                                             {gang::passing::safely, "Hydrogen"}};
  fmt::print("waits in seconds, median and p99; 32 nodes of 8 slots, {} h simulated\n", s.quick() ? 1 : 24);
  fmt::print("| load | policy | busy | small | middle | wide | wide, against draining: median, p99 | worst passes |\n");
  fmt::print("|---|---|---|---|---|---|---|---|\n");
  for (const auto& [kind, load_name] : loads) {
    for (const auto& [policy, policy_name] : kinds) {
      load_options o;
      o.kind = kind;
      o.policy = policy;
      if (s.quick()) o.length = 1h;
      const auto f = simulate(o);
      const auto waits = [&](width w) {
        const auto& all = f.waits[static_cast<std::size_t>(w)];
        return all.empty() ? std::string("-") : fmt::format("{:.0f} {:.0f}", quantile(all, 0.5), quantile(all, 0.99));
      };
      fmt::print("| {} | {} | {:.0f}% | {} | {} | {} | {:.2f} {:.2f} | {} |\n", load_name, policy_name,
                 100 * f.utilisation, waits(width::small), waits(width::middle), waits(width::wide),
                 quantile(f.against_draining, 0.5), quantile(f.against_draining, 0.99), f.most_passes);
      if (policy != gang::passing::safely) continue;
      const auto size = fmt::format("{} gangs", f.gangs);
      if (!f.against_draining.empty()) {
        s.report({fmt::format("{}: wide, in front until start, p99", load_name),
                  size,
                  "x draining",
                  {quantile(f.against_draining, 0.99)},
                  {},
                  goal{goal::kind::at_most, 2},
                  {}});
      }
      s.report({fmt::format("{}: slots held", load_name),
                size,
                "%",
                {100 * f.utilisation},
                {},
                goal{goal::kind::at_least, 85},
                {}});
    }
  }
}

// ---- one decision --------------------------------------------------------------------------------------------------

/// The admission machine with nodes and jobs that answer at once; every event is timed.
class desk {
 public:
  desk(std::uint32_t nodes, std::uint32_t slots, std::uint32_t gangs, gang::journal* journal = nullptr)
      : journal_(journal) {
    options_.expected_nodes = nodes;
    options_.sync_after = duration::zero();
    machine_ =
        std::make_unique<gang::admission>(options_, journal == nullptr ? gang::digest() : journal->known(), now_);
    take(machine_->start(now_));
    for (std::uint32_t r = 0; r < runs; ++r) job(r, gang::begin_run{app_of(r)});
    for (std::uint32_t n = 1; n <= nodes; ++n) {
      on(gang::admission_event::agent_said{
          gang::enlist{{n}, fmt::format("node-{}", n), slots, 1, machine_->term(), {}, {}}});
    }
    for (std::uint32_t g = 0; g < gangs; ++g) submit();
  }

  gang::admission& machine() { return *machine_; }
  std::size_t running() const { return placed_.size(); }

  /// The gang that runs longest is over; another is submitted. Microseconds of the events in which one was started.
  std::vector<double> turn() {
    decisions_.clear();
    if (placed_.empty()) throw failure({errc::internal, "no gang runs", "queue", {}});
    const auto p = placed_.front();
    placed_.pop_front();
    for (const auto& m : p.members) news(m.agent, {p.request, p.attempt}, gang::entry_news::finished);
    job(p.request.run.low, gang::decision{p.request, p.attempt, 1, gang::decision_kind::release, {}});
    submit();
    now_ += 1ms;
    if (machine_->next_wakeup() <= now_) on(gang::admission_event::timer{});
    return std::move(decisions_);
  }

 private:
  static constexpr std::uint32_t runs = 100;

  static gang::application_ref app_of(std::uint64_t run) {
    return {{1, run},     fmt::format("application-{}", run), "/lib/libapplication.so", {1, run}, 1 << 20, {run + 1},
            "127.0.0.1:1"};
  }

  void submit() {
    const auto n = submitted_++;
    constexpr std::uint32_t widths[] = {8, 8, 8, 8, 16, 8, 64, 8};
    gang::slot_request r;
    r.id = {{1, n % runs}, 0, n / runs, 0};
    r.kind = gang::request_kind::gang;
    r.least = r.most = widths[n % 8];
    r.app = app_of(n % runs);
    r.label = "application: stage 2, train";
    job(n % runs, gang::admit{r});
  }

  void job(std::uint64_t run, gang::from_job m) { on(gang::admission_event::job_said{{1, run}, std::move(m)}); }

  void news(boot_id agent, const gang::attempt_ref& ref, gang::entry_news what) {
    gang::entry_report_news n;
    n.term = machine_->term();
    n.agent = agent;
    n.ref = ref;
    n.news = what;
    n.executor = {agent.value + 100'000};
    on(gang::admission_event::agent_said{n});
  }

  /// Answers are given after the event, in order.
  void on(gang::admission::event e) {
    events_.push_back(std::move(e));
    if (std::exchange(busy_, true)) return;
    while (!events_.empty()) {
      const auto next = std::move(events_.front());
      events_.pop_front();
      now_ += 1us;
      const auto begin = hydrogen::now();
      auto effects = machine_->on(next, now_);
      const auto took = hydrogen::now() - begin;
      const auto starts = std::any_of(effects.begin(), effects.end(), [](const auto& x) {
        const auto* m = std::get_if<gang::admission_effect::tell_agent>(&x);
        return m != nullptr && std::holds_alternative<gang::reserve>(m->message);
      });
      if (starts) decisions_.push_back(microseconds(took));
      take(std::move(effects));
    }
    busy_ = false;
  }

  void take(gang::admission::effects effects) {
    for (auto& e : effects) {
      if (const auto* a = std::get_if<gang::admission_effect::append>(&e)) {
        ++appended_;
        if (journal_ != nullptr) journal_->append(a->what);
      } else if (std::holds_alternative<gang::admission_effect::sync>(e)) {
        on(gang::admission_event::synced{appended_});
      } else if (auto* t = std::get_if<gang::admission_effect::tell_agent>(&e)) {
        if (const auto* r = std::get_if<gang::reserve>(&t->message)) {
          news(r->agent, r->ref, gang::entry_news::committed);
        } else if (const auto* o = std::get_if<gang::entry_order>(&t->message)) {
          using verb = gang::entry_verb;
          if (o->verb == verb::go || o->verb == verb::permit) news(o->agent, o->ref, gang::entry_news::joined);
          if (o->verb == verb::close) news(o->agent, o->ref, gang::entry_news::gone);
        }
      } else if (auto* j = std::get_if<gang::admission_effect::tell_job>(&e)) {
        if (const auto* f = std::get_if<gang::fence>(&j->message)) {
          job(f->request.run.low, gang::fenced{f->request, f->attempt});
        } else if (const auto* p = std::get_if<gang::placed>(&j->message)) {
          placed_.push_back(*p);
          for (const auto& m : p->members) news(m.agent, {p->request, p->attempt}, gang::entry_news::joined);
        }
      }
    }
  }

  gang::admission_options options_;
  gang::journal* journal_;
  std::unique_ptr<gang::admission> machine_;
  std::deque<gang::admission::event> events_;
  std::deque<gang::placed> placed_;
  std::vector<double> decisions_;
  time_point now_{1h};
  std::uint64_t appended_ = 0;
  std::uint32_t submitted_ = 0;
  bool busy_ = false;
};

/// Of a while; returns their median.
double decide(desk& d, std::size_t some, std::vector<double>& all) {
  std::vector<double> now;
  while (now.size() < some) {
    for (const auto us : d.turn()) now.push_back(us);
  }
  all.insert(all.end(), now.begin(), now.end());
  return median(std::move(now));
}

double resident_mb() {
  std::size_t size = 0, pages = 0;
  std::ifstream("/proc/self/statm") >> size >> pages;
  return static_cast<double>(pages) * static_cast<double>(::sysconf(_SC_PAGESIZE)) / 1e6;
}

void restarts(session& s, std::uint32_t nodes, std::uint32_t queued, const std::string& size) {
  const auto grown =
      run_program({"/proc/self/exe", coordinator_memory_flag, std::to_string(nodes), std::to_string(queued)});
  if (!grown) throw failure(grown.error());
  if (grown->code != 0) throw failure({errc::internal, "the coordinator whose memory is measured failed", "queue", {}});
  s.report({"coordinator, memory", size, "MB", {std::stod(grown->output)}, {}, goal{goal::kind::at_most, 200}, {}});

  const auto folder = actors::scratch_folder::make();
  if (!folder) throw failure(folder.error());
  auto journal = gang::open_file_journal(folder->path() + "/journal");
  if (!journal) throw failure(journal.error());
  auto d = std::make_unique<desk>(nodes, 8, nodes + queued, journal->get());
  auto answers = sample_ms(
      s.rounds(50), [&] { keep(actors::make_frame(actors::frame_kind::status_reply, d->machine().status()).size()); });
  s.report({"an answer to `status`", size, "ms", std::move(answers), {}, goal{goal::kind::at_most, 50}, {}});
  if (const auto synced = (*journal)->sync(); !synced) throw failure(synced.error());
  d.reset();
  auto times = sample_ms(s.rounds(7), [&] {
    journal->reset();
    journal = gang::open_file_journal(folder->path() + "/journal");
    if (!journal) throw failure(journal.error());
    gang::admission again({}, (*journal)->known(), time_point{2h});
    keep(again.start(time_point{2h}).size());
  });
  s.report({"restart from its journal", size, "ms", std::move(times), {}, goal{goal::kind::at_most, 1000}, {}});
}

void scale(session& s) {
  const auto nodes = static_cast<std::uint32_t>(s.scaled(1000));
  const auto many = static_cast<std::uint32_t>(s.scaled(10'000));
  const auto few = static_cast<std::uint32_t>(s.scaled(100));
  const auto size = [&](std::uint32_t queued) { return fmt::format("{} nodes, {} queued", nodes, queued); };
  restarts(s, nodes, many, size(many));
  desk with_few(nodes, 8, nodes + few), with_many(nodes, 8, nodes + many);
  std::vector<double> of_few, of_many, few_at_a_time, many_at_a_time;
  for (int turn = 0; turn < s.rounds(20); ++turn) {
    few_at_a_time.push_back(decide(with_few, 200, of_few));
    many_at_a_time.push_back(decide(with_many, 200, of_many));
  }
  const auto beside = median(of_few);
  s.report({"one decision", size(few), "us", std::move(of_few), {}, goal{goal::kind::at_most, 100}, {}});
  const auto slower = median_ratio(few_at_a_time, many_at_a_time) - 1;
  s.report({"one decision", size(many), "us", std::move(of_many), reference{fmt::format("{} queued", few), beside},
            goal{goal::kind::at_most, 100},
            fmt::format("{:+.0f}%, goal at most +20%{}", 100 * slower,
                        s.quick()       ? ""
                        : slower <= 0.2 ? " met"
                                        : " MISSED")});
}

void queue(session& s) {
  scale(s);
  policies(s);
}

const registration queue_registered{"queue", "who goes next: the policy under load, and what a decision costs", queue};

}  // namespace

int run_coordinator_memory(const std::vector<std::string>& arguments) {
  const auto nodes = static_cast<std::uint32_t>(std::stoul(arguments.at(0)));
  const auto queued = static_cast<std::uint32_t>(std::stoul(arguments.at(1)));
  const auto folder = actors::scratch_folder::make();
  if (!folder) throw failure(folder.error());
  const auto before = resident_mb();
  const auto journal = gang::open_file_journal(folder->path() + "/journal");
  if (!journal) throw failure(journal.error());
  const desk d(nodes, 8, nodes + queued, journal->get());
  fmt::print("{}\n", resident_mb() - before);
  return 0;
}

}  // namespace hydrogen::bench
