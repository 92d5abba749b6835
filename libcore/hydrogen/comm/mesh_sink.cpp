#include <hydrogen/comm/mesh_sink.hpp>

namespace hydrogen::comm {

expected<link_sink::verdict> mesh::sink::begin(const frame_header& h, mutable_byte_view& where) {
  if (h.fence != mesh_.fence_) {
    ++mesh_.options_.counters->strays;
    return verdict::skip;
  }
  switch (h.kind) {
    case frame_kind::describe:
      return take_text(h, max_plan_text, where);
    case frame_kind::bye:
      return take_text(h, max_reason, where);
    case frame_kind::waiting:
      // Who looks around is in a ring only with a rank whose piece it sees, or that is a member of its call.
      if (current_ == nullptr) return verdict::skip;
      return take_text(h, max_waiting_note, where);
    case frame_kind::ask:
      return take_text(h, 0, where);
    case frame_kind::answer:
      return take_text(h, max_wait_report, where);
    case frame_kind::piece:
      break;
  }
  return current_ == nullptr ? look_at(h) : place(h, where);
}

expected<link_sink::verdict> mesh::sink::take_text(const frame_header& h, std::size_t most, mutable_byte_view& where) {
  if (h.length > most) {
    constexpr const char* whats[] = {"", "describes a call", "", "says bye", "says that it waits", "asks", "answers"};
    return refuse(h, std::string(whats[static_cast<int>(h.kind)]) + " in more than " + std::to_string(most) + " bytes");
  }
  auto& text = mesh_.peers_[from_].text;
  text.resize(h.length);
  where = text;
  return verdict::take;
}

expected<link_sink::verdict> mesh::sink::place(const frame_header& h, mutable_byte_view& where) {
  auto& p = mesh_.peers_[from_];
  if (h.call == p.call + 1) return hold();
  if (h.call != p.call) return refuse(h, "is of call " + std::to_string(h.call));
  if (!p.entered) {
    p.entered = true;
    p.calls = h.call + 1;
    p.this_call = told(h);
  }
  if (h.plan != mesh_.plan_.hash) {
    std::vector<std::pair<std::uint32_t, std::string>> calls{{mesh_.gang_rank(), mesh_.text()}};
    for (const auto r : mesh_.members_) {
      if (r != mesh_.gang_rank() && mesh_.peers_[r].entered) calls.emplace_back(r, mesh_.peers_[r].this_call);
    }
    return decide(mismatch_error(std::move(calls)));
  }
  if (p.finished) return refuse(h, "comes after all that was expected");
  auto place = current_->place(mesh_.index_[from_], h);
  if (!place) {
    ++mesh_.options_.counters->refused;
    auto e = std::move(place.error());
    e.what = mesh_.name(from_) + ": " + e.what;
    return decide(std::move(e));
  }
  where = *place;
  return verdict::take;
}

expected<void> mesh::sink::end(const frame_header& h) {
  auto& p = mesh_.peers_[from_];
  switch (h.kind) {
    case frame_kind::describe:
      p.plans[h.plan % p.plans.size()] = {h.plan, std::string(as_text(p.text))};
      return {};
    case frame_kind::bye:
      p.gone = p.left = true;
      if (h.code != 0) return decide(reason());
      if (current_ == nullptr && !is_behind(h)) return {};
      if (current_ != nullptr && p.finished) return {};
      return decide(mesh_.left(from_, p.entered ? p.this_call : p.last_call));
    case frame_kind::waiting:
      if (auto ok = mesh_.hear(from_, p.text); !ok) return decide(std::move(ok.error()));
      return {};
    case frame_kind::ask:
      p.asked = h.total;
      return {};
    case frame_kind::answer:
      if (auto ok = mesh_.hear_answer(from_, h.total, p.text); !ok) return decide(std::move(ok.error()));
      return {};
    case frame_kind::piece:
      break;
  }
  const auto from = mesh_.index_[from_];
  current_->arrived(from, h, mesh_);
  if (!p.finished && current_->has_all_of(from)) {
    p.finished = true;
    --mesh_.unfinished_;
  }
  return {};
}

link_sink::verdict mesh::sink::hold() {
  mesh_.peers_[from_].waits_in = mesh_.runs_;
  return verdict::hold;
}

bool mesh::sink::is_behind(const frame_header& h) const {
  return static_cast<std::int32_t>(h.whole - mesh_.whole_) < 0;
}

expected<link_sink::verdict> mesh::sink::look_at(const frame_header& h) {
  if (!is_behind(h)) return to_the_end_ ? verdict::skip : hold();
  return decide(mismatch_error({{mesh_.gang_rank(), mesh_.text()}, {from_, told(h)}}));
}

std::string mesh::sink::told(const frame_header& h) const {
  const auto& told = mesh_.peers_[from_].plans[h.plan % peer::plan_places];
  return told.plan == h.plan ? told.text : std::string("a call without a description");
}

unexpected mesh::sink::decide(error why) {
  decided_ = true;
  return unexpected(std::move(why));
}

unexpected mesh::sink::refuse(const frame_header& h, const std::string& why) {
  ++mesh_.options_.counters->refused;
  return decide(
      {errc::bad_input,
       "a frame of " + mesh_.name(from_) + " (" + std::to_string(h.length) + " bytes, in " + mesh_.text() + ") " + why,
       {},
       {}});
}

error mesh::sink::reason() const {
  auto why = decode<error>(mesh_.peers_[from_].text, "reason of a bye");
  if (!why || why->code == errc::none) {
    return {errc::internal, mesh_.name(from_) + " failed and gave no reason that can be read", {}, {}};
  }
  return std::move(*why);
}

}  // namespace hydrogen::comm
