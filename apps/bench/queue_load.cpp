#include "queue_load.hpp"

#include <hydrogen/base/random.hpp>

#include <algorithm>
#include <cmath>
#include <deque>
#include <memory>
#include <queue>

namespace hydrogen::bench {
namespace {

using gang::request_state;

struct plan_entry {
  duration at;
  std::uint32_t slots;
  width is;
  std::string kind;
  duration runs;
};

/// What is submitted, in order. Gangs of one kind run about as long as each other, kinds from seconds to an hour.
class generator {
 public:
  explicit generator(const load_options& o) : options_(o), random_(o.seed), total_(o.nodes * o.slots) {}

  std::vector<plan_entry> make() {
    switch (options_.kind) {
      case load::mixed:
        poisson(0.75, 1, 8, width::small, 30s);
        poisson(0.12, total_ / 16, total_ / 4, width::middle, 120s);
        poisson(0.08, total_ / 2, total_, width::wide, 120s);
        break;
      case load::bursts:
        poisson(0.4, 1, 8, width::small, 30s);
        for (auto t = duration(0); t < options_.length; t += 10min) {
          double work = 0;
          while (work < 0.4 * total_ * 600) work += add(t, 1, total_ / 16, width::middle, 60s);
        }
        for (auto t = duration(5min); t < options_.length; t += 30min)
          add(t, total_ * 3 / 4, total_, width::wide, 150s);
        break;
      case load::stream:
        poisson(0.98, 1, 2, width::small, 20s);
        for (auto t = duration(20min); t < options_.length; t += 40min) add(t, total_, total_, width::wide, 30s);
        break;
    }
    std::stable_sort(plan_.begin(), plan_.end(), [](const auto& a, const auto& b) { return a.at < b.at; });
    return std::move(plan_);
  }

 private:
  /// Returns slots times seconds.
  double add(duration at, std::uint32_t low, std::uint32_t high, width is, duration typical) {
    // More narrow ones than wide ones: uniform in the logarithm.
    const auto slots =
        static_cast<std::uint32_t>(std::lround(low * std::pow(static_cast<double>(high) / low, random_.unit())));
    const auto kind = random_.below(10);
    // A kind runs a third to three times as long as is typical; its gangs within a tenth of that.
    const auto of_kind = std::pow(3.0, 2 * static_cast<double>(kind) / 9 - 1);
    const auto seconds = std::chrono::duration<double>(typical).count() * of_kind * (0.9 + 0.2 * random_.unit());
    const auto runs = std::chrono::duration_cast<duration>(std::chrono::duration<double>(seconds));
    plan_.push_back({at, std::clamp(slots, low, high), is,
                     std::string(width_names[static_cast<std::size_t>(is)]) + std::to_string(kind), runs});
    return plan_.back().slots * seconds;
  }

  /// Submissions at random, so many that they would keep this part of the cluster busy.
  void poisson(double part, std::uint32_t low, std::uint32_t high, width is, duration typical) {
    const auto wanted = part * total_ * std::chrono::duration<double>(options_.length).count();
    for (double work = 0; work < wanted;) {
      const auto at = std::chrono::duration<double>(options_.length) * random_.unit();
      work += add(std::chrono::duration_cast<duration>(at), low, high, is, typical);
    }
  }

  const load_options& options_;
  random_source random_;
  std::uint32_t total_;
  std::vector<plan_entry> plan_;
};

class cluster {
 public:
  explicit cluster(const load_options& o) : options_(o) {
    policy_.pass = o.policy;
    for (std::uint32_t n = 1; n <= o.nodes; ++n) {
      auto& node = account_.add({n}, std::string("n").append(std::to_string(n)));
      account_.resize(node, {o.slots, {}, {}});
      account_.set(node, true, true);
    }
    plan_ = generator(o).make();
  }

  load_figures run() {
    std::size_t next = 0;
    while (next < plan_.size() || !ends_.empty()) {
      const auto submit = next < plan_.size() ? plan_[next].at : duration::max();
      const auto end = ends_.empty() ? duration::max() : ends_.top().first;
      tick(std::min(submit, end));
      if (end <= submit) {
        const auto n = ends_.top().second;
        ends_.pop();
        finish(n);
      } else {
        add(next++);
      }
      decide();
    }
    figures_.gangs = plan_.size();
    const auto all = static_cast<double>(options_.nodes) * options_.slots;
    figures_.utilisation = busy_ / (all * std::chrono::duration<double>(options_.length).count());
    return std::move(figures_);
  }

 private:
  struct one {
    request_state state;
    std::uint32_t passes = 0;
    bool was_head = false;
    duration in_front{};
    double draining = 0;  // seconds, from then
  };

  time_point at(duration t) const { return time_point{1h} + t; }

  void tick(duration to) {
    const auto until = std::min(to, options_.length);
    if (until > now_) busy_ += held_ * std::chrono::duration<double>(until - now_).count();
    now_ = to;
  }

  void add(std::size_t n) {
    auto& g = *gangs_.emplace_back(std::make_unique<one>());
    auto& r = g.state;
    r.what.id = {{1, 1}, 0, static_cast<std::uint32_t>(n), 0};
    r.what.kind = gang::request_kind::gang;
    r.what.least = r.what.most = plan_[n].slots;
    r.what.app.name = "load";
    r.what.label = plan_[n].kind;
    r.submitted = n;
    r.at = {0, n, 0};
    waiting_.push_back(n);
    queue_.update(r, true, at(now_));
  }

  void finish(std::size_t n) {
    auto& r = gangs_[n]->state;
    auto& a = r.attempts.begin()->second;
    a.phase = gang::attempt_phase::closing;
    r.held = 0;
    queue_.update(r, true, at(now_));
    for (const auto& m : a.members) account_.credit(m.is.agent, a.ref);
    held_ -= plan_[n].slots;
    r.attempts.clear();
    queue_.forget(r);
  }

  void decide() {
    for (auto step = queue_.next(at(now_)); step.index() != 0; step = queue_.next(at(now_))) {
      start(std::get<gang::queue::start>(step));
    }
    const auto* head = queue_.head();
    if (head == nullptr) return;
    auto& g = *gangs_[head->submitted];
    if (std::exchange(g.was_head, true)) return;
    g.in_front = now_;
    g.draining = draining(head->what.least);
  }

  void start(const gang::queue::start& s) {
    auto& r = *s.who;
    const auto n = static_cast<std::size_t>(r.submitted);
    auto& g = *gangs_[n];
    const auto& p = plan_[n];
    auto& a = r.attempts[{{1}, n + 1}];
    a.ref = {r.what.id, {{1}, n + 1}};
    a.begun = at(now_);
    a.phase = gang::attempt_phase::running;
    for (const auto& m : s.where) {
      account_.debit(m.agent, a.ref, m.slots, {});
      a.members.push_back({m, gang::member_progress::entered});
      a.slots += m.slots;
    }
    r.held = a.slots;
    held_ += a.slots;
    queue_.update(r, true, at(now_));
    ends_.push({now_ + p.runs, n});
    figures_.waits[static_cast<std::size_t>(p.is)].push_back(std::chrono::duration<double>(now_ - p.at).count());
    for (auto w = waiting_.begin(); *w != n; ++w)
      figures_.most_passes = std::max(figures_.most_passes, ++gangs_[*w]->passes);
    waiting_.erase(std::find(waiting_.begin(), waiting_.end(), n));
    if (g.was_head && p.is == width::wide) {
      const auto took = std::chrono::duration<double>(now_ - g.in_front).count();
      figures_.against_draining.push_back(took / std::max(1.0, g.draining));
    }
  }

  /// Seconds until so many slots are free if nothing begins any more.
  double draining(std::uint32_t slots) {
    auto ends = ends_;
    auto free = std::uint64_t{account_.total_free()};
    auto last = now_;
    while (free < slots && !ends.empty()) {
      last = ends.top().first;
      free += plan_[ends.top().second].slots;
      ends.pop();
    }
    return std::chrono::duration<double>(last - now_).count();
  }

  using end_of = std::pair<duration, std::size_t>;
  load_options options_;
  gang::queue_options policy_;
  gang::ledger account_;
  gang::queue queue_{policy_, account_};
  std::vector<plan_entry> plan_;
  std::deque<std::unique_ptr<one>> gangs_;
  std::deque<std::size_t> waiting_;  // in the order of submission
  std::priority_queue<end_of, std::vector<end_of>, std::greater<>> ends_;
  duration now_{};
  std::uint64_t held_ = 0;
  double busy_ = 0;
  load_figures figures_;
};

}  // namespace

load_figures simulate(const load_options& options) {
  return cluster(options).run();
}

}  // namespace hydrogen::bench
