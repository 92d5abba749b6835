#include <hydrogen/base/hash.hpp>
#include <hydrogen/base/ids.hpp>
#include <hydrogen/comm/call.hpp>

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cstring>

namespace hydrogen::comm {
namespace {

std::string seconds(duration d) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(d).count();
  return d < 1s ? fmt::format("{} ms", ms) : fmt::format("{:g} s", static_cast<double>((ms + 50) / 100) / 10);
}

std::uint64_t hash_of(const call_plan& p) {
  auto h = p.what == operation::transfer ? hash_mix(p.root, p.to) : hash_bytes(as_byte_view(p.file), p.line);
  h = hash_mix(h, std::uint64_t{p.root} << 32 | std::uint64_t{static_cast<std::uint8_t>(p.by)} << 24 |
                      std::uint64_t{static_cast<std::uint8_t>(p.what)} << 16 |
                      std::uint64_t{static_cast<std::uint8_t>(p.kind)} << 8 | static_cast<std::uint8_t>(p.how));
  return hash_mix(hash_mix(h, p.count), p.group);
}

std::string elements(const call_plan& p) {
  return std::string(to_string(p.kind)) + " x " + std::to_string(p.count);
}

std::string_view by_name(algorithm by) {
  switch (by) {
    case algorithm::picked:
      return "";
    case algorithm::one_shot:
      return ", by one shot";
    case algorithm::owner_reduce:
      return ", by owners";
    case algorithm::hierarchical:
      return ", by hosts";
    case algorithm::rotating_ring:
      return ", by a ring";
  }
  return "";
}

std::string with_article(std::span<const std::uint32_t> ranks, std::string_view one, std::string_view many) {
  return rank_list(ranks) + " " + std::string(ranks.size() == 1 ? one : many);
}

/// The same for ranks of whom more is known: each with its node when they are few, as a user looks for them there.
std::string with_nodes(std::span<const rank_report* const> ranks, std::string_view one, std::string_view many) {
  constexpr std::size_t most = 4;
  const bool all_named = std::all_of(ranks.begin(), ranks.end(), [](const auto* r) { return !r->node.empty(); });
  if (ranks.size() > most || !all_named) {
    std::vector<std::uint32_t> numbers;
    for (const auto* r : ranks) numbers.push_back(r->rank);
    return with_article(numbers, one, many);
  }
  std::string out;
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    if (i != 0) out += i + 1 == ranks.size() ? " and " : ", ";
    out += rank_on_node(ranks[i]->rank, ranks[i]->node);
  }
  return out + " " + std::string(ranks.size() == 1 ? one : many);
}

/// What a rank that has not come did last.
std::string last_sign(const rank_report& r, bool is_only) {
  const auto who = is_only ? std::string("it") : "rank " + std::to_string(r.rank);
  const auto ago = r.silent < 0ns ? std::string() : ", " + seconds(r.silent) + " ago";
  if (r.last_call.empty()) return who + " made no call before" + (ago.empty() ? "" : " (it came" + ago.substr(1) + ")");
  return (is_only ? std::string("its last call") : "the last call of " + who) + " was " + r.last_call + ago;
}

}  // namespace

std::string call_plan::text(std::span<const std::uint32_t> among) const {
  const bool typed = kind != element::none;
  const auto numbers = typed ? elements(*this) : std::string();
  const auto reduced = [&] { return numbers + ", " + std::string(to_string(how)); };
  const auto rooted = [&] { return "root " + std::to_string(root) + (typed ? ", " + numbers : ""); };
  std::string out;
  switch (what) {
    case operation::join:
      return "join";
    case operation::barrier:
      out = "barrier()";
      break;
    case operation::all_gather:
      out = "all_gather(" + numbers + ")";
      break;
    case operation::broadcast:
      out = "broadcast(" + rooted() + ")";
      break;
    case operation::all_reduce:
      out = "all_reduce(" + reduced() + std::string(by_name(by)) + ")";
      break;
    case operation::reduce:
      out = "reduce(root " + std::to_string(root) + ", " + reduced() + ")";
      break;
    case operation::reduce_scatter:
      out = "reduce_scatter(" + reduced() + ")";
      break;
    case operation::gather:
      out = "gather(" + rooted() + ")";
      break;
    case operation::scatter:
      out = "scatter(" + rooted() + ")";
      break;
    case operation::all_to_all:
      out = "all_to_all()";
      break;
    case operation::transfer:
      out = "send from rank " + std::to_string(root) + " to rank " + std::to_string(to) + (typed ? ", " + numbers : "");
      break;
    case operation::buffer:
      out = "buffer()";
      break;
    case operation::split:
      out = "group()";
      break;
  }
  if (!among.empty() && what != operation::transfer) out += " of " + rank_list(among);
  return out + " at " + file + ":" + std::to_string(line);
}

std::uint64_t of_ranks(std::span<const std::uint32_t> ranks) {
  const auto h = hash_bytes(std::as_bytes(ranks), ranks.size());
  return h == 0 ? 1 : h;
}

call_plan make_plan(const std::source_location& site, call_plan p) {
  // Only the name: nodes may have built the same source in different folders.
  const char* slash = std::strrchr(site.file_name(), '/');
  p.file = slash != nullptr ? slash + 1 : site.file_name();
  p.line = site.line();
  p.hash = hash_of(p);
  return p;
}

call_plan join_plan(std::uint64_t agreed) {
  call_plan p;
  p.what = operation::join;
  p.count = agreed;
  p.hash = hash_of(p);
  return p;
}

std::string rank_list(std::span<const std::uint32_t> ranks) {
  std::string out = ranks.size() == 1 ? "rank " : "ranks ";
  constexpr std::size_t most = 12;
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    if (i == most && ranks.size() > most + 1) return out + ", ... (" + std::to_string(ranks.size()) + ")";
    if (i != 0) out += i + 1 == ranks.size() ? " and " : ", ";
    out += std::to_string(ranks[i]);
  }
  return out;
}

error mismatch_error(std::vector<std::pair<std::uint32_t, std::string>> calls) {
  std::sort(calls.begin(), calls.end());
  std::string text;
  std::vector<bool> told(calls.size());
  for (std::size_t i = 0; i < calls.size(); ++i) {
    if (told[i]) continue;
    std::vector<std::uint32_t> ranks;
    for (std::size_t j = i; j < calls.size(); ++j) {
      if (calls[j].second != calls[i].second) continue;
      told[j] = true;
      ranks.push_back(calls[j].first);
    }
    text += (text.empty() ? "" : "; ") + rank_list(ranks) + " " + calls[i].second;
  }
  if (std::all_of(calls.begin(), calls.end(), [](const auto& c) { return c.second == "join"; })) {
    return {errc::mismatch, "the members of the gang were told different member tables: " + text, {}, {}};
  }
  return {errc::mismatch,
          "the ranks of the gang call different things: " + text,
          {},
          "every rank makes the same calls in the same order, with the same sizes"};
}

std::string rank_on_node(std::uint32_t rank, const std::string& node) {
  return "rank " + std::to_string(rank) + (node.empty() ? "" : " on node " + node);
}

error missing_error(const wait_report& told, bool is_all) {
  const auto& [call, waited, ranks] = told;
  std::vector<const rank_report*> missing;
  std::vector<const rank_report*> stopped;
  std::vector<std::uint32_t> waiting;
  for (const auto& r : ranks) {
    r.arrived ? waiting.push_back(r.rank) : missing.push_back(&r);
    if (r.stopped) stopped.push_back(&r);
  }
  std::string text;
  if (missing.empty()) {
    text = call + " is not finished within " + seconds(waited);
    if (is_all) text += " although every rank has arrived";
    if (!stopped.empty()) text += "; " + with_nodes(stopped, "has", "have") + " stopped in it";
    // It came to the call when it was heard last, or later.
    if (stopped.size() == 1 && stopped[0]->silent >= 0ns) text += ", silent for " + seconds(stopped[0]->silent);
  } else if (call == "join") {
    text = with_nodes(missing, "has", "have") + " not joined the gang within " + seconds(waited);
  } else {
    text = with_nodes(missing, "has", "have") + " not arrived at " + call + " within " + seconds(waited);
    for (const auto* r : missing) text += "; " + last_sign(*r, missing.size() == 1);
  }
  if (!waiting.empty() && !missing.empty()) text += "; " + with_article(waiting, "waits", "wait") + " there";
  return {errc::timed_out, std::move(text), {}, {}};
}

error left_error(std::uint32_t rank, std::uint64_t calls, const std::string& last_call, const std::string& call) {
  std::string text = "rank " + std::to_string(rank) + " left";
  if (calls == unnumbered) {
    if (!last_call.empty()) text += " after " + last_call;
  } else {
    text += calls <= 1 ? " without a call" : " after call " + std::to_string(calls - 1) + " (" + last_call + ")";
  }
  text += "; the others are at " + call;
  return {errc::disconnected, std::move(text), {}, "every rank makes the same calls before it returns"};
}

}  // namespace hydrogen::comm
