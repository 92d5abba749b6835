#include "disturbed_team.hpp"

#include "disturbed_calls.hpp"
#include <poll.h>
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace hydrogen::comm::testing {
namespace {

// A stopped rank is noticed only by the limit of a call; what must succeed has much time.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr duration short_limit = 1s, long_limit = 60s;
#else
constexpr duration short_limit = 200ms, long_limit = 30s;
#endif

/// Looks until something holds that nobody tells.
template <class F>
bool comes_true(const F& holds) {
  for (const auto deadline = now() + 20s; now() < deadline; ::poll(nullptr, 0, 1)) {
    if (holds()) return true;
  }
  return false;
}

/// As in /proc: R, S, T, ...; 0 when there is no such thread.
char state_of(int process, int thread) {
  std::ifstream in(fmt::format("/proc/{}/task/{}/stat", process, thread));
  std::string line;
  std::getline(in, line);
  const auto at = line.rfind(") ");
  return at == std::string::npos || at + 2 >= line.size() ? 0 : line[at + 2];
}

/// Says that this rank, alone or with another, is what is wrong; not only that it waits, or is a member.
bool accuses(const std::string& text, std::uint32_t rank) {
  const auto says = [&](const std::string& what) { return text.find(what) != std::string::npos; };
  for (const auto* of : {" is gone", " cannot be reached", " has not begun"}) {
    if (says("rank " + std::to_string(rank) + of)) return true;
  }
  for (std::uint32_t other = 0; other < disturbed_team::ranks; ++other) {
    const std::uint32_t both[] = {std::min(rank, other), std::max(rank, other)};
    const auto who = rank_list(std::span(both).first(other == rank ? 1 : 2)) + (other == rank ? " has " : " have ");
    if (says(who + "not arrived") || says(who + "stopped")) return true;
  }
  return false;
}

}  // namespace

void findings::wrong(std::string what) {
  std::lock_guard lock(mutex_);
  wrong_.push_back(std::move(what));
}
void findings::took(duration d, std::string where) {
  std::lock_guard lock(mutex_);
  took_.emplace_back(d, std::move(where));
}
void findings::disturbed(const std::string& place) {
  std::lock_guard lock(mutex_);
  ++places_[place];
}
bool findings::same_bits(std::size_t call, std::uint32_t victim, const std::vector<std::uint64_t>& hashes) {
  std::lock_guard lock(mutex_);
  return right_.try_emplace({call, victim}, hashes).first->second == hashes;
}
bool findings::is_known(std::size_t call, std::uint32_t victim) {
  std::lock_guard lock(mutex_);
  return right_.contains({call, victim});
}
std::uint64_t findings::right(std::size_t call, std::uint32_t victim, std::uint32_t rank) {
  std::lock_guard lock(mutex_);
  return right_.at({call, victim})[rank];
}
std::vector<std::string> findings::all_wrong() {
  std::lock_guard lock(mutex_);
  return wrong_;
}
std::string findings::summary() {
  std::lock_guard lock(mutex_);
  std::string text;
  for (const auto& [place, count] : places_) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, place);
  if (took_.empty()) return text;
  std::sort(took_.begin(), took_.end());
  const auto ms = [&](std::size_t i) { return static_cast<double>(took_[i].first.count()) / 1e6; };
  return fmt::format("{}; the {} others returned after {:.2f} ms (median), {:.2f} ms (99 of 100), {:.2f} ms ({})", text,
                     took_.size(), ms(took_.size() / 2), ms(took_.size() * 99 / 100), ms(took_.size() - 1),
                     took_.back().second);
}

disturbed_team::disturbed_team(const secret& key, std::string between, disturbance what, findings& found)
    : key_(key), between_(std::move(between)), what_(what), found_(found) {
  for (std::uint32_t r = 0; r < ranks; ++r) processes_.push_back(fresh());
  for (auto& p : processes_) seats_.push_back(p.get());
  if (what_ == disturbance::stop) spare_ = fresh();
  // Everyone has made its memory known to everyone: from here on nothing is opened that stays.
  place_ = between_ + ", the first gangs";
  make_again(0, 0);
  for (std::uint32_t r = 0; spare_ && r < ranks; ++r) {
    seats_[r] = spare_.get();
    make_again(0, 0);
    seats_[r] = processes_[r].get();
  }
}

std::unique_ptr<rank_process> disturbed_team::fresh() {
  return std::make_unique<rank_process>(key_, between_, disturbed_role);
}

void disturbed_team::wrong(const std::string& what) {
  found_.wrong(place_ + ": " + what);
}

void disturbed_team::start(std::size_t call, std::uint32_t victim, disturbance what, phase when, duration limit) {
  const auto table = text_of_table(seats_);
  ++attempt_;
  for (std::uint32_t r = 0; r < ranks; ++r) {
    seats_[r]->say(fmt::format("join {} {} {} {} {} {} {}{}", attempt_, r, call, victim, static_cast<int>(what),
                               static_cast<int>(when), limit / 1ms, table));
  }
}

std::optional<std::string> disturbed_team::hear(rank_process& from, const std::string& start) {
  for (auto line = from.hear(); !line.empty(); line = from.hear()) {
    if (line.starts_with(start)) return line.substr(start.size());
    if (line.starts_with("ended ")) {
      from.put_back(line);
      break;
    }
  }
  wrong("a rank does not say '" + start + "'");
  return {};
}

disturbed_team::ended disturbed_team::end_of(rank_process& from) {
  ended e;
  const auto line = hear(from, "ended ");
  if (!line) return e;
  std::istringstream in(*line);
  std::int64_t entered = 0, returned = 0;
  in >> e.call >> e.hash >> e.last >> entered >> returned;
  std::getline(in, e.text);
  e.entered = time_point(duration(entered));
  e.returned = time_point(duration(returned));
  return e;
}

void disturbed_team::await_asleep(std::uint32_t rank) {
  const auto done = [&] {
    const char is = state_of(seats_[rank]->pid(), threads_[rank]);
    return is == 'S' || is == 0;
  };
  if (!comes_true(done)) wrong(fmt::format("rank {} does not wait", rank));
}

/// No thread of the rank has anything to do.
void disturbed_team::await_quiet(std::uint32_t rank) {
  const int process = seats_[rank]->pid();
  const auto is_quiet = [&] {
    for (const auto& thread : std::filesystem::directory_iterator(fmt::format("/proc/{}/task", process))) {
      const char is = state_of(process, std::stoi(thread.path().filename()));
      if (is != 'S' && is != 0) return false;
    }
    return true;
  };
  if (!comes_true(is_quiet)) wrong(fmt::format("rank {} does not come to rest", rank));
}

/// A victim that is slow was stopped: the others wait for it in vain for a while.
void disturbed_team::let_go_on(std::uint32_t victim) {
  for (std::uint32_t r = 0; r < ranks; ++r) {
    if (r != victim) await_asleep(r);
  }
  go_on(*seats_[victim]);
}

void disturbed_team::go_on(rank_process& stopped) {
  // It may have said so, and not have come to stop.
  if (!comes_true([&] { return state_of(stopped.pid(), stopped.pid()) == 'T'; })) wrong("the victim does not stop");
  stopped.signal(SIGCONT);
}

void disturbed_team::begin() {
  for (std::uint32_t r = 0; r < ranks; ++r) {
    threads_[r] = std::stoi(hear(*seats_[r], "ready ").value_or("0"));
  }
  for (auto* s : seats_) s->say("go");
}

void disturbed_team::strike(std::size_t call, phase when, std::uint32_t victim) {
  const auto late = next_rank(victim, ranks);
  auto& process = *seats_[victim];
  begin();
  if (when == phase::before) {
    for (std::uint32_t r = 0; r < ranks; ++r) {
      if (r == victim || !hear(*seats_[r], "entering")) continue;
      await_asleep(r);
    }
    process.say("go");
  } else if (when == phase::waiting) {
    hear(process, "entering");
    await_asleep(victim);
    process.say("spring");
  }
  auto line = hear(process, "struck ");
  if (!line) return;
  std::istringstream in(*line);
  std::int64_t at = 0;
  std::string place;
  in >> at >> place;
  struck_ = time_point(duration(at));
  found_.disturbed(place);
  if (place == "after" && disturbed_calls()[call].count != 0) {
    found_.disturbed(fmt::format("after '{}' over {}", disturbed_calls()[call].name, between_));
  }
  if (when == phase::waiting) {
    // A loss is noticed without the help of a rank that is elsewhere.
    const auto third = ranks - victim - late;
    if (what_ == disturbance::kill || what_ == disturbance::cut) ends_[third] = end_of(*seats_[third]);
    seats_[late]->say("go");
    if (what_ == disturbance::slow) hear(*seats_[late], "entering");
  }
  if (what_ != disturbance::slow) return;
  let_go_on(victim);
  // One that is slow stops more than once in its data.
  while (when == phase::within && place == "inside") {
    const auto next = process.hear();
    if (next.starts_with("struck ")) {
      let_go_on(victim);
    } else if (!next.starts_with("entering")) {
      return process.put_back(next);
    }
  }
}

void disturbed_team::check(const ended& e, std::size_t call, std::uint32_t victim, std::uint32_t rank) {
  const auto say = [&](const std::string& what) {
    wrong(fmt::format("rank {} {}: call {}, last {}, {}", rank, what, e.call, e.last, e.text));
  };
  if (e.call < 0) return say("said nothing");
  if (e.call == 0 && e.hash != found_.right(call, victim, rank)) say("has other bits");
  const auto code = static_cast<errc>(e.call != 0 ? e.call : e.last);
  if (what_ == disturbance::slow) {
    if (code != errc::none) say("failed");
    return;
  }
  // One that is cut off may have all that it needs, and ends before it notices.
  if (rank == victim && what_ == disturbance::cut) return;
  if (code == errc::none) return say("noticed nothing");
  if (rank == victim) return;
  found_.took(
      what_ == disturbance::stop ? e.returned - e.entered - short_limit : e.returned - std::max(struck_, e.entered),
      fmt::format("{} rank {}: {}", place_, rank, e.text));
  if (code != (what_ == disturbance::stop ? errc::timed_out : errc::disconnected)) say("has another error");
  // Of a connection in shared memory that is cut, both ends live, and each takes the other for dead.
  const bool is_either = what_ == disturbance::cut && between_ != "tcp";
  if (!accuses(e.text, victim) && !is_either) say("does not name the victim");
}

void disturbed_team::make_again(std::size_t call, std::uint32_t victim) {
  start(call, victim, disturbance::none, phase::before, long_limit);
  begin();
  std::vector<std::uint64_t> hashes;
  for (std::uint32_t r = 0; r < ranks; ++r) {
    const auto e = end_of(*seats_[r]);
    hashes.push_back(e.hash);
    if (e.call != 0 || e.last != 0) {
      return wrong(fmt::format("rank {} fails in an undisturbed gang: {} {} {}", r, e.call, e.last, e.text));
    }
  }
  if (!found_.same_bits(call, victim, hashes)) wrong("an undisturbed gang has other bits");
}

disturbed_team::held disturbed_team::count(std::uint32_t rank) {
  held h;
  seats_[rank]->say("count");
  std::istringstream in(hear(*seats_[rank], "has ").value_or(""));
  in >> h.descriptors >> h.threads >> h.kibibytes >> h.strays;
  return h;
}

void disturbed_team::await_same(std::uint32_t rank, const held& before) {
  held last;
  const auto same = [&] {
    last = count(rank);
    return last.descriptors == before.descriptors && last.threads == before.threads;
  };
  if (comes_true(same)) return;
  wrong(fmt::format("rank {} has {} descriptors and {} threads, and had {} and {}", rank, last.descriptors,
                    last.threads, before.descriptors, before.threads));
}

void disturbed_team::disturb(std::size_t call, phase when, std::uint32_t victim) {
  constexpr const char* phases[] = {"before", "waiting", "within"};
  place_ = fmt::format("{}, {}, rank {} {} ({})", between_, disturbed_calls()[call].name, victim, to_string(what_),
                       phases[static_cast<int>(when)]);
  if (!found_.is_known(call, victim)) make_again(call, victim);
  std::array<held, ranks> before;
  for (std::uint32_t r = 0; r < ranks; ++r) {
    // A thread that was joined is to be seen for a moment more.
    count(r);
    await_quiet(r);
    before[r] = count(r);
  }
  // A rank that lives goes on in shared memory, whatever is cut, and may be through before anybody notices.
  const bool is_held = what_ == disturbance::cut && between_ != "tcp";
  start(call, victim, is_held ? disturbance::cut_and_stop : what_, when,
        what_ == disturbance::stop ? short_limit : long_limit);
  ends_ = {};
  strike(call, when, victim);
  const auto check_end = [&](std::uint32_t r) { check(end_of(*seats_[r]), call, victim, r); };
  for (std::uint32_t r = 0; r < ranks; ++r) {
    if (r != victim && !ends_[r]) ends_[r] = end_of(*seats_[r]);
  }
  for (std::uint32_t r = 0; r < ranks; ++r) {
    if (r == victim) continue;
    // On a machine that is busy elsewhere another rank may be late as well.
    const auto late = next_rank(victim, ranks);
    if (what_ == disturbance::stop && when == phase::waiting && r != late &&
        std::max(struck_, ends_[late]->entered) > ends_[r]->entered + short_limit) {
      found_.disturbed("too late to tell");
      continue;
    }
    check(*ends_[r], call, victim, r);
  }
  switch (what_) {
    case disturbance::kill:
      processes_[victim] = fresh();
      seats_[victim] = processes_[victim].get();
      break;
    case disturbance::stop: {
      // Goes on in the middle of the next attempt, which another process makes in its place.
      seats_[victim] = spare_.get();
      start(call, victim, disturbance::none, phase::before, long_limit);
      begin();
      go_on(*processes_[victim]);
      std::vector<std::uint64_t> hashes;
      for (auto* s : seats_) {
        const auto e = end_of(*s);
        hashes.push_back(e.hash);
        if (e.call != 0 || e.last != 0) wrong(fmt::format("the next gang fails: {} {} {}", e.call, e.last, e.text));
      }
      if (!found_.same_bits(call, victim, hashes)) wrong("the next gang has other bits");
      seats_[victim] = processes_[victim].get();
      check_end(victim);
      break;
    }
    case disturbance::cut:
      if (is_held) go_on(*processes_[victim]);
      check_end(victim);
      // The next gang connects them anew, once all know that they are not.
      for (std::uint32_t r = 0; is_held && r < ranks; ++r) await_quiet(r);
      break;
    default:
      check_end(victim);
      break;
  }
  if (what_ != disturbance::slow) make_again(call, victim);
  for (std::uint32_t r = 0; r < ranks; ++r) {
    if (r != victim || what_ != disturbance::kill) await_same(r, before[r]);
  }
}

void disturbed_team::disturb_joining(std::uint32_t victim) {
  place_ = fmt::format("{}, join, rank {} {}", between_, victim, to_string(what_));
  auto& stopped = *processes_[victim];
  stopped.signal(SIGSTOP);
  start(0, victim, disturbance::none, phase::before, long_limit);
  for (auto* s : seats_) {
    if (s != &stopped) s->say("abort");
  }
  for (auto* s : seats_) {
    if (s == &stopped) continue;
    const auto e = end_of(*s);
    if (e.call != static_cast<int>(errc::aborted)) wrong("a join that was ended says " + e.text);
  }
  seats_[victim] = spare_.get();
  make_again(0, victim);
  seats_[victim] = &stopped;
  stopped.signal(SIGCONT);
  const auto e = end_of(stopped);
  if (e.call <= 0) wrong("a rank joined an old attempt");
  make_again(0, victim);
}

}  // namespace hydrogen::comm::testing
