#include <hydrogen/comm/collective/rotating_ring.hpp>

#include <algorithm>

namespace hydrogen::comm {

namespace {
constexpr std::size_t ring_piece = 256 << 10;
}

frame_header rotating_ring::header(phase step) const {
  frame_header h;
  h.phase = step;
  h.total = count_ * size_of(kind_);
  h.code = static_cast<std::uint8_t>(kind_);
  return h;
}

frame_header rotating_ring::piece_of(std::uint32_t member, std::uint32_t step, std::size_t done) const {
  const auto owner = owner_of(member, step);
  auto h = header(step + 1 < members() ? partial : sum);
  h.chunk = static_cast<std::uint32_t>(done / ring_piece);
  h.offset = share_of(owner).begin * size_of(kind_) + done;
  h.length = std::min(ring_piece, bytes_of(owner) - done);
  return h;
}

void rotating_ring::skip_empty() {
  while (step_ < steps() && done_ == bytes_of(owner_of(left(), step_))) {
    ++step_;
    done_ = 0;
  }
}

void rotating_ring::start(exchange_port& m) {
  self_ = m.rank();
  greeted_.resize(m.size());
  if (m.size() == 1) return;
  std::size_t longest = 0;
  for (std::uint32_t r = 0; r < m.size(); ++r) {
    greeted_[r] = r == self_ || !greets(r, self_);
    longest = std::max(longest, bytes_of(r));
  }
  incoming_ = m.scratch(std::min(ring_piece, longest));
  const auto first_share = bytes_of(owner_of(self_, 0));
  for (std::size_t done = 0; done < first_share; done += ring_piece) {
    const auto h = piece_of(self_, 0, done);
    m.send(right(), h, {data_ + h.offset, h.length});
  }
  for (std::uint32_t i = 1; i < m.size(); ++i) {
    const auto to = (self_ + i) % m.size();
    if (greets(self_, to)) m.send(to, header(greeting), {});
  }
  skip_empty();
}

expected<mutable_byte_view> rotating_ring::place(std::uint32_t from, const frame_header& h) {
  const auto same = [&](const frame_header& next) {
    return h.phase == next.phase && h.chunk == next.chunk && h.offset == next.offset && h.length == next.length &&
           h.total == next.total && h.code == next.code;
  };
  if (!greeted_[from]) {
    if (!same(header(greeting))) return fail(errc::bad_input, "does not greet with a frame without bytes");
    return mutable_byte_view();
  }
  if (from != left()) return fail(errc::bad_input, "sends a piece and is not the left neighbour");
  if (step_ == steps() || !same(piece_of(from, step_, done_))) {
    return fail(errc::bad_input, "sends a piece that is not the next one");
  }
  // A sum comes when what this member sent of that piece has gone round: it may overwrite it.
  return mutable_byte_view(h.phase == partial ? incoming_ : data_ + h.offset, h.length);
}

void rotating_ring::arrived(std::uint32_t from, const frame_header& h, exchange_port& m) {
  if (h.phase == greeting) {
    greeted_[from] = true;
    return;
  }
  std::byte* at = data_ + h.offset;
  if (h.phase == partial) {
    const auto count = h.length / size_of(kind_);
    const std::byte* sources[] = {incoming_, at};
    m.combine(kind_, how_ == reduction::mean ? reduction::sum : how_, sources, count, at);
    const bool complete = step_ + 2 == members();
    if (complete && how_ == reduction::mean) m.divide(kind_, count, m.size(), at);
  }
  if (step_ + 1 < steps()) m.send(right(), piece_of(self_, step_ + 1, done_), {at, h.length});
  done_ += h.length;
  skip_empty();
}

bool rotating_ring::has_all_of(std::uint32_t from) const {
  return greeted_[from] && (from != left() || step_ == steps());
}

}  // namespace hydrogen::comm
