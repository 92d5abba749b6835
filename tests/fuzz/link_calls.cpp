#include "link_calls.hpp"

#include <algorithm>
#include <cstring>
#include <source_location>

namespace hydrogen::fuzz {

using namespace hydrogen::comm;

namespace {

constexpr std::size_t piece_size = 256 << 10;
// Above this, two ranks reduce by owners.
constexpr std::size_t one_shot_bytes = 256 << 10;

call barrier() {
  return {make_plan(std::source_location::current(), {.what = operation::barrier}), {}, 0, false};
}
call reduction_of(std::uint64_t count, result_to whom) {
  return {make_plan(std::source_location::current(),
                    {.what = operation::all_reduce, .kind = element::int64, .count = count}),
          whom, 0, false};
}
call message(std::size_t bytes, bool growing) {
  return {make_plan(std::source_location::current(), {.what = operation::all_gather}), {}, bytes, growing};
}

frame_header header_of(const call& c, std::uint64_t number) {
  frame_header h;
  h.fence = fence_of(live);
  h.call = number;
  h.plan = c.plan.hash;
  return h;
}

void add_pieces(std::vector<frame>& out, frame_header h, byte_view bytes) {
  const auto begin = h.offset;
  for (std::size_t done = 0; done == 0 || done < bytes.size(); done += piece_size) {
    h.offset = begin + done;
    h.length = std::min(piece_size, bytes.size() - done);
    h.chunk = static_cast<std::uint32_t>(done / piece_size);
    const auto part = bytes.subspan(done, h.length);
    out.push_back({h, {part.begin(), part.end()}});
  }
}

template <class T>
byte_view part_of(const std::vector<T>& values, share part) {
  return std::as_bytes(std::span(values).subspan(part.begin, part.count));
}

std::vector<call> calls_of(std::size_t choice) {
  switch (choice) {
    case 0:
      return {barrier(), barrier()};
    case 1:
      return {reduction_of(5, result_to::all), barrier(), reduction_of(1, result_to::root)};
    case 2:
      return {message(100, true), message(0, true), barrier()};
    case 3:
      return {message(100, false), reduction_of(7, result_to::owners), message(3000, true)};
    case 4:
      return {reduction_of(33'000, result_to::all), barrier()};
    case 5:
      return {reduction_of(33'000, result_to::root), reduction_of(33'000, result_to::owners)};
    case 6:
      return {message(300'000, true), barrier()};
    default:
      return {barrier(), reduction_of(66'000, result_to::all)};
  }
}

byte_buffer message_of(const call& c) {
  byte_buffer bytes(c.bytes);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 7);
  return bytes;
}

std::vector<frame> honest_frames(const std::vector<call>& calls) {
  std::vector<frame> out;
  for (std::size_t n = 0; n < calls.size(); ++n) {
    const auto& c = calls[n];
    auto h = header_of(c, n);
    const auto text = c.plan.text();
    h.kind = frame_kind::describe;
    h.length = text.size();
    const auto bytes = as_byte_view(text);
    out.push_back({h, {bytes.begin(), bytes.end()}});
    h.kind = frame_kind::piece;
    h.length = 0;
    if (!c.reduces()) {
      h.total = c.bytes;
      add_pieces(out, h, message_of(c));
      continue;
    }
    const auto theirs = values_of(c, 1);
    const auto own = share_of(c.count(), 0, 2);  // of the fuzzed rank
    if (c.count() * 8 <= one_shot_bytes) {
      const auto part = c.whom == result_to::owners ? own : share{0, c.count()};
      h.total = part.count * 8;
      add_pieces(out, h, part_of(theirs, part));
      continue;
    }
    h.total = c.count() * 8;
    h.code = static_cast<std::uint8_t>(element::int64);
    h.offset = own.begin * 8;
    add_pieces(out, h, part_of(theirs, own));
    if (c.whom == result_to::owners) continue;
    auto sums = values_of(c, 0);
    for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += theirs[i];
    const auto other = share_of(c.count(), 1, 2);
    h.phase = 1;
    h.offset = other.begin * 8;
    add_pieces(out, h, part_of(sums, other));
  }
  return out;
}

course make_course(std::size_t number) {
  course made{calls_of(number), {}, {}};
  made.honest = honest_frames(made.calls);
  for (const auto& f : made.honest) append(made.stream, f);
  return made;
}

}  // namespace

std::vector<std::int64_t> values_of(const call& c, std::uint32_t rank) {
  std::vector<std::int64_t> values(c.count());
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<std::int64_t>(i * (rank + 3) + rank);
  return values;
}

const course& course_of(std::size_t number) {
  static const auto all = [] {
    std::vector<course> made;
    for (std::size_t i = 0; i < courses; ++i) made.push_back(make_course(i));
    return made;
  }();
  return all[number];
}

bool is_front(byte_view front, byte_view all) {
  return front.size() <= all.size() && (front.empty() || std::memcmp(front.data(), all.data(), front.size()) == 0);
}

bool is_right(const call& c, const std::vector<std::int64_t>& values, const told& told) {
  const auto mine = values_of(c, 0);
  const bool by_owners = c.count() * 8 > one_shot_bytes;
  const auto own = by_owners || c.whom == result_to::owners ? share_of(c.count(), 0, 2) : share{0, c.count()};
  if (told.phases[0].size() < own.count * 8) return false;
  for (std::size_t i = 0; i < own.count; ++i) {
    std::uint64_t theirs = 0;
    std::memcpy(&theirs, told.phases[0].data() + 8 * i, 8);
    if (static_cast<std::uint64_t>(values[i]) != static_cast<std::uint64_t>(mine[i]) + theirs) return false;
  }
  const share other{own.count, c.count() - own.count};
  // Of what others own: it stays as it is, or is what they have sent.
  return c.whom == result_to::owners ? is_front(part_of(values, other), part_of(mine, other))
                                     : is_front(part_of(values, other), told.phases[1]);
}

std::vector<told> pieces_in(byte_view stream, std::size_t calls) {
  std::vector<told> out(calls);
  std::vector<bool> begun(calls);
  while (stream.size() >= frame_prefix_size) {
    frame_prefix prefix;
    std::memcpy(prefix.bytes.data(), stream.data(), frame_prefix_size);
    const auto h = decode_frame(prefix);
    if (!h || stream.size() - frame_prefix_size < h->length) return out;
    const auto payload = stream.subspan(frame_prefix_size, h->length);
    stream = stream.subspan(std::min(stream.size(), frame_prefix_size + h->length + frame_padding(h->length)));
    if (h->fence != fence_of(live) || h->kind != frame_kind::piece || h->call >= calls) continue;
    auto& t = out[h->call];
    if (!begun[h->call]) t.total = h->total;
    begun[h->call] = true;
    if (h->phase < 2) t.phases[h->phase].insert(t.phases[h->phase].end(), payload.begin(), payload.end());
  }
  return out;
}

void append(byte_buffer& stream, const frame& f) {
  frame_prefix prefix;
  encode_frame(f.header, prefix);
  stream.insert(stream.end(), prefix.bytes.begin(), prefix.bytes.end());
  stream.insert(stream.end(), f.payload.begin(), f.payload.end());
  stream.resize(stream.size() + frame_padding(f.payload.size()));
}

}  // namespace hydrogen::fuzz
