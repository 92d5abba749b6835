// Ranks over links that wait for each other in a ring (waiting.hpp).
//
// No second look is needed. A note says that its last rank waits for this one in a call that this one has not come to:
// so that rank is still where it was. The rank before it waits for it, in another call, and is therefore still where it
// was, too, and so on up to the sender; and this rank waits for the sender, of whose call here nothing has come before
// the note, nor can it come after it. A note that is out of date never says so: then this rank has come to that call.

#include <hydrogen/comm/mesh.hpp>

#include <algorithm>

namespace hydrogen::comm {
namespace {

// Of one call.
constexpr std::size_t max_notes = 64;

}  // namespace

bool mesh::is_member(std::uint32_t rank) const {
  return index_[rank] < members_.size() && members_[index_[rank]] == rank;
}

bool mesh::has_come_to(const awaited_rank& awaited, std::uint32_t by) const {
  const auto& p = peers_[by];
  return is_member(by) ? awaited.call <= p.call : awaited.call < p.call;
}

expected<void> mesh::hear(std::uint32_t from, byte_view bytes) {
  auto note = decode<waiting_note>(bytes, "note of a rank that waits");
  const auto exists = [&](const auto& x) { return x.rank < gang_size(); };
  if (!note || note->chain.empty() || note->chain[0].rank != from ||
      !std::all_of(note->chain.begin(), note->chain.end(), exists)) {
    ++options_.counters->refused;
    return hydrogen::fail(errc::bad_input, name(from) + " says in a way that cannot be read that it waits");
  }
  // It has come to this call meanwhile.
  if (!is_member(from) || peers_[from].entered) return {};
  const auto origin = note->chain.back().rank;
  for (const auto& awaited : note->awaited) {
    if (awaited.rank != gang_rank() || origin == gang_rank() || has_come_to(awaited, origin)) continue;
    std::vector<std::pair<std::uint32_t, std::string>> calls{{gang_rank(), text()}};
    for (auto& c : note->chain) calls.emplace_back(c.rank, std::move(c.call));
    return unexpected(mismatch_error(std::move(calls)));
  }
  const auto is_here = [&](const auto& x) { return x.rank == gang_rank(); };
  const auto is_same = [&](const auto& x) { return x.origin == origin && x.serial == note->serial; };
  if (std::any_of(note->chain.begin(), note->chain.end(), is_here)) return {};
  if (std::any_of(notes_.begin(), notes_.end(), is_same)) return {};
  note->chain.insert(note->chain.begin(), {gang_rank(), text()});
  add_note(*note);
  return {};
}

void mesh::add_note(const waiting_note& note) {
  auto bytes = encode(note);
  if (bytes.size() > max_waiting_note || notes_.size() == max_notes) return;
  notes_.push_back({note.chain.back().rank, note.serial, std::move(bytes)});
}

void mesh::add_own_note() {
  waiting_note mine{runs_, {{gang_rank(), text()}}, {}};
  for (const auto r : members_) {
    if (links_[r] && !peers_[r].entered && mine.awaited.size() < max_awaited) {
      mine.awaited.push_back({r, peers_[r].call});
    }
  }
  if (!mine.awaited.empty()) add_note(mine);
}

time_point mesh::tell_others() {
  const auto at = now();
  const bool is_of_some = plan_.group != 0;
  if (tell_at_ == never) tell_at_ = report_at_ = at + long_wait;
  if (at < tell_at_) return tell_at_;
  if (!has_told_ && is_of_some) add_own_note();
  has_told_ = true;
  // Who is missing changes with every piece.
  if (at >= report_at_ && tell_report([this] { return report(until_.waited()); })) report_at_ = at + long_wait;
  bool is_full = false;
  for (std::uint32_t r = 0; r < gang_size() && !notes_.empty() && is_of_some; ++r) {
    auto& p = peers_[r];
    if (!links_[r] || p.gone || is_member(r)) continue;
    if (p.told_in != runs_) p.told = 0;
    p.told_in = runs_;
    // Who does not read gets no more: a link has room for one note at least.
    while (p.told < notes_.size() && links_[r]->flush() && links_[r]->flushed()) {
      auto h = header(frame_kind::waiting, r);
      h.length = notes_[p.told].bytes.size();
      links_[r]->send_copy(h, notes_[p.told].bytes);
      (void)links_[r]->flush();  // the next call with it sees a link that has ended
      ++p.told;
    }
    is_full |= p.told < notes_.size();
  }
  if (report_at_ > at) return report_at_;
  return is_full ? at + long_wait : never;
}

}  // namespace hydrogen::comm
