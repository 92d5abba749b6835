#include <hydrogen/comm/collective/messages.hpp>

#include <algorithm>
#include <new>

namespace hydrogen::comm {

namespace {
constexpr std::size_t message_piece = 256 << 10;
// Memory for a message is taken ahead of its bytes: so many times what has come, and at least so much.
constexpr std::uint64_t growth = 4;
constexpr std::uint64_t least_room = 1 << 20;
}  // namespace

void messages::start(exchange_port& m) {
  // Turn by turn, so that every peer has something early; the first frame also says that this rank has entered.
  std::size_t longest = 1;
  for (const auto& o : out_) longest = std::max(longest, o.size());
  for (std::size_t done = 0; done < longest; done += message_piece) {
    for (std::uint32_t step = 1; step < m.size(); ++step) {
      const auto to = (m.rank() + step) % m.size();
      const auto bytes = out_.size() == 1 ? out_[0] : out_[to];
      if (done != 0 && done >= bytes.size()) continue;
      frame_header h;
      h.total = bytes.size();
      h.offset = done;
      h.length = std::min(message_piece, bytes.size() - done);
      h.chunk = static_cast<std::uint32_t>(done / message_piece);
      m.send(to, h, bytes.subspan(done, h.length));
    }
  }
}

expected<mutable_byte_view> messages::place(std::uint32_t from, const frame_header& h) {
  auto& s = seats_[from];
  const auto& to = in_[from];
  if (!s.entered) {
    if (to.growing != nullptr ? h.total > max_contribution : h.total != to.fixed.size()) {
      return fail(errc::bad_input, "announces " + std::to_string(h.total) + " bytes; " +
                                       std::to_string(to.growing != nullptr ? max_contribution : to.fixed.size()) +
                                       " are expected");
    }
  } else if (h.total != s.total) {
    return fail(errc::bad_input, "changes its announced size");
  }
  if (h.phase != 0 || h.offset != s.received || h.length > h.total - s.received || (h.length == 0 && h.total != 0)) {
    return fail(errc::bad_input, "sends a piece that is not the next one");
  }
  if (to.growing == nullptr) return to.fixed.subspan(h.offset, h.length);
  try {
    if (!s.entered) to.growing->clear();
    const auto needed = h.offset + h.length;
    if (needed > to.growing->capacity()) to.growing->reserve(std::min(h.total, std::max(growth * needed, least_room)));
    to.growing->resize(needed);
  } catch (const std::bad_alloc&) {
    return fail(errc::over_limit, "no memory for the " + std::to_string(h.total) + " bytes that it sends");
  }
  return mutable_byte_view(*to.growing).subspan(h.offset, h.length);
}

void messages::arrived(std::uint32_t from, const frame_header& h, exchange_port&) {
  auto& s = seats_[from];
  s.entered = true;
  s.total = h.total;
  s.received += h.length;
}

bool messages::has_all_of(std::uint32_t from) const {
  return seats_[from].entered && seats_[from].received == seats_[from].total;
}

}  // namespace hydrogen::comm
