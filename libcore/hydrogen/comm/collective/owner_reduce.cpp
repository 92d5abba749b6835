#include <hydrogen/comm/collective/owner_reduce.hpp>

#include <algorithm>

namespace hydrogen::comm {

namespace {
constexpr std::size_t reduce_piece = 256 << 10;
}

frame_header owner_reduce::piece_of(std::uint32_t owner, std::size_t done, phase step) const {
  frame_header h;
  h.phase = step;
  h.chunk = static_cast<std::uint32_t>(done / reduce_piece);
  h.offset = begin_of(owner) + done;
  h.length = std::min(reduce_piece, bytes_of(owner) - done);
  h.total = count_ * size_of(kind_);
  h.code = static_cast<std::uint8_t>(kind_);
  return h;
}

void owner_reduce::start(exchange_port& m) {
  self_ = m.rank();
  seats_.resize(m.size());
  sources_.resize(m.size());
  missing_ = m.size() - 1;
  const auto mine = bytes_of(self_);
  // Rows on lines of their own, away from multiples of 4 KiB.
  const auto row = (mine + 63) / 64 * 64 + 64;
  auto* scratch = m.scratch(row * (m.size() - 1));
  std::size_t longest = 0;
  for (std::uint32_t r = 0, i = 0; r < m.size(); ++r) {
    if (r != self_) seats_[r].raw_at = scratch + row * i++;
    longest = std::max(longest, bytes_of(r));
  }
  for (std::size_t done = 0; done < longest; done += reduce_piece) {
    for (std::uint32_t step = 1; step < m.size(); ++step) {
      const auto to = (self_ + step) % m.size();
      if (done >= bytes_of(to)) continue;
      const auto h = piece_of(to, done, raw);
      m.send(to, h, {data_ + h.offset, h.length});
    }
  }
}

expected<mutable_byte_view> owner_reduce::place(std::uint32_t from, const frame_header& h) {
  auto& s = seats_[from];
  if (h.phase > sum) return fail(errc::bad_input, "sends a piece of an unknown phase");
  const auto step = static_cast<phase>(h.phase);
  const auto owner = step == raw ? self_ : from;
  const auto done = step == raw ? s.raw_received : s.sum_received;
  const auto all = step == raw ? bytes_of(self_) : sums_of(from);
  // A sum can only come after this member's own contribution to it has been read: it may overwrite it.
  const auto next = piece_of(owner, std::min(done, bytes_of(owner)), step);
  if (done >= all || h.offset != next.offset || h.length != next.length || h.total != next.total ||
      h.code != next.code) {
    return fail(errc::bad_input, "sends a piece that is not the next one");
  }
  return step == raw ? mutable_byte_view(s.raw_at + done, h.length) : mutable_byte_view(data_ + h.offset, h.length);
}

void owner_reduce::arrived(std::uint32_t from, const frame_header& h, exchange_port& m) {
  if (h.phase == sum) {
    seats_[from].sum_received += h.length;
    return;
  }
  auto& received = seats_[from].raw_received;
  // Looking at all seats for each frame would be a look for each pair of members, in each of them.
  if (received == reduced_) --missing_;
  received += h.length;
  const auto mine = bytes_of(self_);
  while (missing_ == 0 && reduced_ < mine) {
    const auto result = piece_of(self_, reduced_, sum);
    std::byte* at = data_ + result.offset;
    for (std::uint32_t r = 0; r < seats_.size(); ++r) {
      sources_[r] = r == self_ ? at : seats_[r].raw_at + reduced_;
    }
    // The data of a member that gets nothing stays as it is.
    if (whom_ == result_to::root && self_ != root_) at = seats_[root_].raw_at + reduced_;
    m.combine(kind_, how_, sources_, result.length / size_of(kind_), at, weights_);
    for (std::uint32_t i = 1; i < m.size(); ++i) {
      const auto to = (self_ + i) % m.size();
      if (whom_ == result_to::all || (whom_ == result_to::root && to == root_)) {
        m.send(to, result, {at, result.length}, true);
      }
    }
    reduced_ += result.length;
    for (std::uint32_t r = 0; r < seats_.size(); ++r) missing_ += r != self_ && seats_[r].raw_received == reduced_;
  }
}

bool owner_reduce::has_all_of(std::uint32_t from) const {
  return seats_[from].raw_received == bytes_of(self_) && seats_[from].sum_received == sums_of(from);
}

}  // namespace hydrogen::comm
