#include <hydrogen/comm/collective/gather.hpp>

#include <algorithm>
#include <new>

namespace hydrogen::comm {

namespace {
constexpr std::size_t piece_size = 256 << 10;
}

void gather::start(mesh& m) {
  // Turn by turn, so that every peer has something early; the first frame also says that this rank has entered.
  const std::size_t pieces = std::max<std::size_t>(1, (mine_.size() + piece_size - 1) / piece_size);
  for (std::size_t i = 0; i < pieces; ++i) {
    frame_header h;
    h.total = mine_.size();
    h.offset = i * piece_size;
    h.length = std::min(piece_size, mine_.size() - i * piece_size);
    h.chunk = static_cast<std::uint32_t>(i);
    for (std::uint32_t step = 1; step < m.size(); ++step) {
      m.send((m.rank() + step) % m.size(), h, mine_.subspan(h.offset, h.length));
    }
  }
}

expected<mutable_byte_view> gather::place(std::uint32_t from, const frame_header& h) {
  auto& s = seats_[from];
  if (!s.entered) {
    if (s.growing != nullptr ? h.total > max_contribution : h.total != s.fixed.size()) {
      return fail(errc::bad_input, "announces " + std::to_string(h.total) + " bytes; " +
                                       std::to_string(s.growing != nullptr ? max_contribution : s.fixed.size()) +
                                       " are expected");
    }
  } else if (h.total != s.total) {
    return fail(errc::bad_input, "changes its announced size");
  }
  if (h.phase != 0 || h.offset != s.received || h.length > h.total - s.received || (h.length == 0 && h.total != 0)) {
    return fail(errc::bad_input, "sends a piece that is not the next one");
  }
  if (s.growing == nullptr) return s.fixed.subspan(h.offset, h.length);
  try {
    if (!s.entered) {
      s.growing->clear();
      s.growing->reserve(h.total);
    }
    s.growing->resize(h.offset + h.length);
  } catch (const std::bad_alloc&) {
    return fail(errc::over_limit, "no memory for the " + std::to_string(h.total) + " bytes that it sends");
  }
  return mutable_byte_view(*s.growing).subspan(h.offset, h.length);
}

void gather::arrived(std::uint32_t from, const frame_header& h, mesh&) {
  auto& s = seats_[from];
  s.entered = true;
  s.total = h.total;
  s.received += h.length;
}

bool gather::has_all_of(std::uint32_t rank) const {
  return seats_[rank].entered && seats_[rank].received == seats_[rank].total;
}

}  // namespace hydrogen::comm
