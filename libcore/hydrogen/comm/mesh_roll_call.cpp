// Who waits, and for whom: what a rank asks and tells, so that it names the right ones when it gives up (waiting.hpp).

#include <hydrogen/comm/mesh_sink.hpp>

#include <algorithm>
#include <optional>
#include <utility>

namespace hydrogen::comm {

void mesh::begin_whole(const call_plan& plan) {
  ++whole_;
  ++runs_;
  plan_ = plan;
  members_.clear();
  answered_.clear();
}

error mesh::listen() {
  error gone{errc::none, {}, {}, {}};
  for (std::uint32_t r = 0; r < gang_size(); ++r) {
    auto& p = peers_[r];
    if (!links_[r] || p.gone || is_member(r)) continue;
    // Perhaps behind a piece that is held. It will not be needed: the sender has failed, maybe in the next call. All
    // that comes before the end is there to be read.
    pollfd end{links_[r]->fd(), POLLRDHUP, 0};
    const bool has_ended = end.fd >= 0 && ::poll(&end, 1, 0) > 0;
    sink judge(*this, nullptr, r, has_ended);
    auto read = links_[r]->receive(judge);
    if (read && *read) p.heard = coarse_now();
    if (judge.decided()) return std::move(read.error());
    if (read && !has_ended) {
      answer(r);
      (void)links_[r]->flush();  // whether the link has ended is seen by reading
    }
    if (p.gone || (read && !has_ended)) continue;
    p.gone = true;
    gone = gone_error(r);  // another one may say why
  }
  return gone;
}

error mesh::look_around(call_deadline& until, const std::function<wait_report()>& report) {
  report_ = &report;
  auto why = listen();
  report_ = nullptr;
  if (why.code != errc::none) return why;
  tell_report(report);
  if (now() >= roll_call_at(until)) ask_all();
  return now() < until.at() ? why : overdue_error(gang_rank(), report(), known());
}

error mesh::overdue() {
  // A call of some ranks has not looked at the links of the others, who may know more.
  if (size() != gang_size()) {
    if (auto why = listen(); why.code != errc::none) return why;
  }
  return overdue_error(gang_rank(), report(until_.timeout()), known());
}

known_waits mesh::known() const {
  auto all = answered_;
  all.insert(told_.begin(), told_.end());
  return all;
}

void mesh::send_report(std::uint32_t to, std::uint64_t asked, wait_report report) {
  std::erase_if(report.ranks, [this](const auto& r) { return !r.is_missing() && r.rank != gang_rank(); });
  auto bytes = encode_within(std::move(report), max_wait_report);
  auto h = header(frame_kind::answer, to);
  h.total = asked;
  h.length = bytes.size();
  links_[to]->send_copy(h, std::move(bytes));
}

bool mesh::tell_report(const std::function<wait_report()>& report) {
  std::optional<wait_report> mine;
  for (std::uint32_t r = 0; r < gang_size(); ++r) {
    auto& p = peers_[r];
    const bool will_ask = p.waits_in != runs_ && (plan_.group == 0 || is_member(r));
    if (!links_[r] || p.gone || will_ask) continue;
    if (!mine) {
      mine = report();
      std::vector<std::uint32_t> missing;
      for (const auto& other : mine->ranks) {
        if (other.is_missing()) missing.push_back(other.rank);
      }
      if (missing != reported_ || reports_ == 0) ++reports_;
      reported_ = std::move(missing);
    }
    // Who does not read gets no more.
    if (p.report == reports_ || !links_[r]->flush() || !links_[r]->flushed()) continue;
    p.report = reports_;
    send_report(r, 0, *mine);
    (void)links_[r]->flush();
  }
  return mine.has_value();
}

void mesh::take_back() {
  if (reports_ == 0 || broken_.code != errc::none) return;
  reports_ = 0;
  for (std::uint32_t r = 0; r < gang_size(); ++r) {
    if (std::exchange(peers_[r].report, 0) == 0 || !links_[r] || peers_[r].gone) continue;
    send_report(r, 0, {});
    (void)links_[r]->flush();
  }
}

void mesh::ask_all() {
  if (asked_in_ == runs_) return;
  asked_in_ = runs_;
  for (std::uint32_t r = 0; r < gang_size(); ++r) {
    if (!links_[r] || peers_[r].gone) continue;
    auto h = header(frame_kind::ask, r);
    h.total = runs_;
    links_[r]->send_copy(h, {});
    (void)links_[r]->flush();
  }
}

void mesh::answer(std::uint32_t to) {
  const auto asked = std::exchange(peers_[to].asked, 0);
  if (asked == 0 || peers_[to].gone) return;
  send_report(to, asked, report_ != nullptr ? (*report_)() : report(until_.waited()));
}

expected<void> mesh::hear_answer(std::uint32_t from, std::uint64_t asked, byte_view bytes) {
  auto report = decode<wait_report>(bytes, "answer of a rank that waits");
  const auto exists = [&](const auto& r) { return r.rank < gang_size(); };
  if (!report || !std::all_of(report->ranks.begin(), report->ranks.end(), exists)) {
    ++options_.counters->refused;
    return hydrogen::fail(errc::bad_input, name(from) + " says in a way that cannot be read for whom it waits");
  }
  for (auto& r : report->ranks) r.node = options_.nodes[r.rank];
  if (asked == 0) {
    told_.erase(from);
    if (!report->ranks.empty()) told_.emplace(from, std::move(*report));
  } else if (asked == runs_ && !report->ranks.empty()) {
    answered_.insert_or_assign(from, std::move(*report));
  }
  return {};
}

}  // namespace hydrogen::comm
