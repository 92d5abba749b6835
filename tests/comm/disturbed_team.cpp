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

// A stopped rank is noticed only by the limit of a call, which for a training step is also that of what is made for it;
// what must succeed has much time.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr duration short_limit = 2s, step_limit = 5s, long_limit = 60s;
#else
constexpr duration short_limit = 600ms, step_limit = 1s, long_limit = 30s;
#endif

/// Looks until something holds that nobody tells.
template <class F>
bool comes_true(const F& holds) {
  for (const auto deadline = now() + 20s; now() < deadline; ::poll(nullptr, 0, 1)) {
    if (holds()) return true;
  }
  return false;
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

disturbed_team::disturbed_team(const secret& key, const team_shape& shape, disturbance what, findings& found)
    : key_(key), shape_(shape), what_(what), found_(found) {
  for (int p = 0; p < shape_.processes(); ++p) {
    processes_.push_back(fresh(p));
    auto& spare = spares_[shape_.host[static_cast<std::size_t>(p)]];
    if (what_ == disturbance::stop && !spare) spare = fresh(p);
  }
  for (std::uint32_t r = 0; r < ranks; ++r) seat_back(r);
  // Everyone has made its memory known to everyone: from here on nothing is opened that stays.
  place_ = shape_.name + ", the first gangs";
  make_again(0, 0);
  for (std::uint32_t r = 0; what_ == disturbance::stop && r < ranks; ++r) {
    if (r > 0 && shape_.share_process(r, r - 1)) continue;
    seat(r, *spares_[shape_.host_of(r)]);
    make_again(0, 0);
    seat_back(r);
  }
}

std::unique_ptr<team_process> disturbed_team::fresh(int process) {
  return std::make_unique<team_process>(key_, shape_.between, shape_.host[static_cast<std::size_t>(process)]);
}

void disturbed_team::seat(std::uint32_t rank, team_process& in) {
  for (std::uint32_t r = 0; r < ranks; ++r) {
    if (shape_.share_process(r, rank)) seats_[r] = &in;
  }
}

void disturbed_team::wrong(const std::string& what) {
  found_.wrong(place_ + ": " + what);
}

void disturbed_team::start(std::size_t call, std::uint32_t victim, disturbance what, phase when, duration limit) {
  std::vector<const rank_process*> members;
  for (const auto* s : seats_) members.push_back(&s->self());
  const auto table = text_of_table(members);
  const auto whom = what == what_ && alone_ ? trap::stops::thread : trap::stops::process;
  ++attempt_;
  for (std::uint32_t r = 0; r < ranks; ++r) {
    say(r, fmt::format("join {} {} {} {} {} {} {}{}", attempt_, call, victim, static_cast<int>(what),
                       static_cast<int>(whom), static_cast<int>(when), limit / 1ms, table));
  }
}

std::optional<std::string> disturbed_team::hear(std::uint32_t rank, const std::string& start) {
  auto& from = *seats_[rank];
  for (auto line = from.hear(rank); !line.empty(); line = from.hear(rank)) {
    if (line.starts_with(start)) return line.substr(start.size());
    if (line.starts_with("ended ")) {
      from.put_back(rank, line);
      break;
    }
  }
  wrong(fmt::format("rank {} does not say '{}'", rank, start));
  return {};
}

disturbed_team::ended disturbed_team::end_of(std::uint32_t rank) {
  ended e;
  const auto line = hear(rank, "ended ");
  if (!line) return e;
  std::istringstream in(*line);
  std::int64_t entered = 0, returned = 0;
  in >> e.call >> e.hash >> e.last >> entered >> returned;
  std::getline(in, e.text);
  e.entered = time_point(duration(entered));
  e.returned = time_point(duration(returned));
  return e;
}

/// Or it is stopped with the victim.
void disturbed_team::await_asleep(std::uint32_t rank) {
  const auto done = [&] {
    const char is = state_of(seats_[rank]->self().pid(), threads_[rank]);
    return is == 'S' || is == 'T' || is == 0;
  };
  if (!comes_true(done)) wrong(fmt::format("rank {} does not wait", rank));
}

/// No thread of the rank has anything to do.
void disturbed_team::await_quiet(std::uint32_t rank) {
  const int process = seats_[rank]->self().pid();
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

void disturbed_team::go_on(team_process& stopped) {
  // It may have said so, and not have come to stop.
  const int process = stopped.self().pid();
  const auto has_stopped = [&] { return state_of(process, alone_ ? thread_ : process) == (alone_ ? 'S' : 'T'); };
  if (!comes_true(has_stopped)) wrong("the victim does not stop");
  stopped.signal(SIGCONT);
}

void disturbed_team::begin() {
  for (std::uint32_t r = 0; r < ranks; ++r) threads_[r] = std::stoi(hear(r, "ready ").value_or("0"));
  for (std::uint32_t r = 0; r < ranks; ++r) say(r, "go");
}

bool disturbed_team::stops_alone(phase when, std::uint32_t victim) const {
  if (when == phase::within || (what_ != disturbance::stop && what_ != disturbance::slow)) return false;
  return std::count(shape_.process.begin(), shape_.process.end(), shape_.process[victim]) > 1;
}

bool disturbed_team::is_hit(std::uint32_t rank, phase when, std::uint32_t victim) const {
  const bool with_it = what_ != disturbance::slow && !stops_alone(when, victim);
  return rank == victim || (with_it && shape_.share_process(rank, victim));
}

void disturbed_team::strike(std::size_t call, phase when, std::uint32_t victim) {
  const auto late = next_rank(victim, ranks);
  begin();
  thread_ = threads_[victim];
  if (when == phase::before) {
    for (std::uint32_t r = 0; r < ranks; ++r) {
      if (r == victim || !hear(r, "entering")) continue;
      await_asleep(r);
    }
    say(victim, "go");
  } else if (when == phase::waiting) {
    hear(victim, "entering");
    await_asleep(victim);
    say(victim, "spring");
  }
  auto line = hear(victim, "struck ");
  if (!line) return;
  std::istringstream in(*line);
  std::int64_t at = 0;
  std::string place;
  in >> at >> place;
  struck_ = time_point(duration(at));
  found_.disturbed(place);
  if (place == "after" && disturbed_calls()[call].count != 0) {
    found_.disturbed(fmt::format("after '{}' over {}", disturbed_calls()[call].name, shape_.name));
  }
  if (when == phase::waiting) {
    // A loss is noticed without the help of a rank that is elsewhere.
    const auto third = ranks - victim - late;
    const bool is_loss = what_ == disturbance::cut || (what_ == disturbance::kill && !is_hit(third, when, victim));
    if (is_loss) ends_[third] = end_of(third);
    say(late, "go");
    if (what_ == disturbance::slow) hear(late, "entering");
  }
  if (what_ != disturbance::slow) return;
  let_go_on(victim);
  // One that is slow stops more than once in its data.
  while (when == phase::within && place == "inside") {
    const auto next = seats_[victim]->hear(victim);
    if (next.starts_with("struck ")) {
      let_go_on(victim);
    } else if (!next.starts_with("entering")) {
      return seats_[victim]->put_back(victim, next);
    }
  }
}

void disturbed_team::check(const ended& e, std::size_t call, phase when, std::uint32_t victim, std::uint32_t rank) {
  const auto say_wrong = [&](const std::string& what) {
    wrong(fmt::format("rank {} {}: call {}, last {}, {}", rank, what, e.call, e.last, e.text));
  };
  if (e.call < 0) return say_wrong("said nothing");
  if (e.call == 0 && e.hash != found_.right(call, victim, rank)) say_wrong("has other bits");
  const auto code = static_cast<errc>(e.call != 0 ? e.call : e.last);
  if (what_ == disturbance::slow) {
    if (code != errc::none) say_wrong("failed");
    return;
  }
  const bool is_victim = is_hit(rank, when, victim);
  // One that is cut off may have all that it needs, and ends before it notices.
  if (is_victim && what_ == disturbance::cut) return;
  if (code == errc::none) return say_wrong("noticed nothing");
  if (is_victim) return;
  found_.took(shape_.name,
              what_ == disturbance::stop ? e.returned - e.entered - limit_ : e.returned - std::max(struck_, e.entered),
              fmt::format("{} rank {}: {}", place_, rank, e.text));
  if (code != (what_ == disturbance::stop ? errc::timed_out : errc::disconnected)) say_wrong("has another error");
  // Of a connection in shared memory that is cut, both ends live, and each takes the other for dead.
  bool names_one = what_ == disturbance::cut && shape_.has_memory();
  for (std::uint32_t r = 0; r < ranks; ++r) {
    if (!accuses(e.text, r)) continue;
    if (is_hit(r, when, victim))
      names_one = true;
    else if (what_ == disturbance::stop)
      say_wrong("names one that waits");
  }
  if (!names_one) say_wrong("does not name the victim");
}

void disturbed_team::make_again(std::size_t call, std::uint32_t victim) {
  start(call, victim, disturbance::none, phase::before, long_limit);
  begin();
  std::vector<std::uint64_t> hashes;
  for (std::uint32_t r = 0; r < ranks; ++r) {
    const auto e = end_of(r);
    hashes.push_back(e.hash);
    if (e.call != 0 || e.last != 0) {
      return wrong(fmt::format("rank {} fails in an undisturbed gang: {} {} {}", r, e.call, e.last, e.text));
    }
  }
  if (!found_.same_bits(call, victim, hashes)) wrong("an undisturbed gang has other bits");
}

disturbed_team::held disturbed_team::count(std::uint32_t rank) {
  held h;
  say(rank, "count");
  // An end that came too late to be waited for is not to be taken for the answer.
  auto line = seats_[rank]->hear(rank);
  while (line.starts_with("ended ")) line = seats_[rank]->hear(rank);
  std::istringstream in(line.starts_with("has ") ? line.substr(4) : "");
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

void disturbed_team::go_on_in_the_next(std::size_t call, std::uint32_t victim) {
  seat(victim, *spares_[shape_.host_of(victim)]);
  start(call, victim, disturbance::none, phase::before, long_limit);
  begin();
  go_on(process_of(victim));
  std::vector<std::uint64_t> hashes;
  for (std::uint32_t r = 0; r < ranks; ++r) {
    const auto e = end_of(r);
    hashes.push_back(e.hash);
    if (e.call != 0 || e.last != 0) wrong(fmt::format("the next gang fails: {} {} {}", e.call, e.last, e.text));
  }
  if (!found_.same_bits(call, victim, hashes)) wrong("the next gang has other bits");
  seat_back(victim);
}

void disturbed_team::disturb(std::size_t call, phase when, std::uint32_t victim) {
  constexpr const char* phases[] = {"before", "waiting", "within"};
  place_ = fmt::format("{}, {}, rank {} {} ({})", shape_.name, disturbed_calls()[call].name, victim, to_string(what_),
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
  const bool is_held = what_ == disturbance::cut && shape_.has_memory();
  alone_ = stops_alone(when, victim);
  limit_ = what_ != disturbance::stop ? long_limit : disturbed_calls()[call].is_step() ? step_limit : short_limit;
  start(call, victim, is_held ? disturbance::cut_and_stop : what_, when, limit_);
  ends_ = {};
  strike(call, when, victim);
  for (std::uint32_t r = 0; r < ranks; ++r) {
    if (!is_hit(r, when, victim) && !ends_[r]) ends_[r] = end_of(r);
  }
  for (std::uint32_t r = 0; r < ranks; ++r) {
    if (is_hit(r, when, victim)) continue;
    // On a machine that is busy elsewhere another rank may be late as well.
    const auto late = next_rank(victim, ranks);
    if (what_ == disturbance::stop && when == phase::waiting && r != late &&
        std::max(struck_, ends_[late]->entered) > ends_[r]->entered + limit_) {
      found_.disturbed("too late to tell");
      continue;
    }
    check(*ends_[r], call, when, victim, r);
  }
  if (what_ == disturbance::kill) {
    processes_[static_cast<std::size_t>(shape_.process[victim])] = fresh(shape_.process[victim]);
    seat_back(victim);
  }
  if (what_ == disturbance::stop) go_on_in_the_next(call, victim);
  if (is_held) go_on(process_of(victim));
  for (std::uint32_t r = 0; what_ != disturbance::kill && r < ranks; ++r) {
    if (is_hit(r, when, victim)) check(ends_[r] ? *ends_[r] : end_of(r), call, when, victim, r);
  }
  // The next gang connects them anew, once all know that they are not.
  for (std::uint32_t r = 0; is_held && r < ranks; ++r) await_quiet(r);
  if (what_ != disturbance::slow) make_again(call, victim);
  for (std::uint32_t r = 0; r < ranks; ++r) {
    if (what_ != disturbance::kill || !is_hit(r, when, victim)) await_same(r, before[r]);
  }
}

void disturbed_team::disturb_joining(std::uint32_t victim) {
  place_ = fmt::format("{}, join, rank {} {}", shape_.name, victim, to_string(what_));
  auto& stopped = process_of(victim);
  stopped.signal(SIGSTOP);
  start(0, victim, disturbance::none, phase::before, long_limit);
  for (std::uint32_t r = 0; r < ranks; ++r) {
    if (seats_[r] != &stopped) say(r, "abort");
  }
  for (std::uint32_t r = 0; r < ranks; ++r) {
    if (seats_[r] == &stopped) continue;
    const auto e = end_of(r);
    if (e.call != static_cast<int>(errc::aborted)) wrong("a join that was ended says " + e.text);
  }
  seat(victim, *spares_[shape_.host_of(victim)]);
  make_again(0, victim);
  seat_back(victim);
  stopped.signal(SIGCONT);
  const auto e = end_of(victim);
  if (e.call <= 0) wrong("a rank joined an old attempt");
  make_again(0, victim);
}

}  // namespace hydrogen::comm::testing
