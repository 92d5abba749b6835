#include <hydrogen/comm/frame.hpp>
#include <hydrogen/schema/frame.capnp.h>

#include <capnp/message.h>
#include <capnp/orphan.h>
#include <capnp/serialize.h>
#include <kj/exception.h>

#include <cstring>

namespace hydrogen::comm {
namespace {

// | count-1 = 1 | words of segment 0 | words of segment 1 | 0 |
struct segment_table {
  std::uint32_t segments_less_one;
  std::uint32_t header_words;
  std::uint32_t payload_words;
  std::uint32_t padding;
};
static_assert(sizeof(segment_table) == 16);
constexpr std::size_t header_words = (frame_prefix_size - sizeof(segment_table)) / 8;

std::uint32_t words_of(std::uint64_t length) {
  return static_cast<std::uint32_t>((length + 7) / 8);
}

// Stands for the payload while the header is built: the builder keeps only address and size of external data, and the
// link gathers the real payload, which need not be aligned to words.
alignas(8) constexpr unsigned char anchor[8] = {};

}  // namespace

void encode_frame(const frame_header& h, frame_prefix& out) {
  invariant(h.length <= max_frame_payload, "a frame above 1 MiB");
  alignas(8) unsigned char scratch[header_words * 8] = {};
  {
    capnp::MallocMessageBuilder message(kj::arrayPtr(reinterpret_cast<capnp::word*>(scratch), header_words));
    auto header = message.initRoot<schema::FrameHeader>();
    header.setTerm(h.fence.attempt.term.value);
    header.setCounter(h.fence.attempt.counter);
    header.setGang(h.fence.gang);
    header.setCall(h.call);
    header.setPlan(h.plan);
    header.setOffset(h.offset);
    header.setLength(static_cast<std::uint32_t>(h.length));
    header.setTotal(h.total);
    header.setChunk(h.chunk);
    header.setPhase(h.phase);
    header.setKind(static_cast<std::uint8_t>(h.kind));
    header.setCode(h.code);
    header.setWhole(h.whole);
    if (h.length != 0) {
      header.adoptPayload(message.getOrphanage().referenceExternalData(capnp::Data::Reader(anchor, h.length)));
    }
    const segment_table table{1, header_words, words_of(h.length), 0};
    std::memcpy(out.bytes.data(), &table, sizeof table);
    // Before the builder goes: it clears its first segment.
    std::memcpy(out.bytes.data() + sizeof table, scratch, sizeof scratch);
  }
}

expected<frame_header> decode_frame(const frame_prefix& in) {
  segment_table table;
  std::memcpy(&table, in.bytes.data(), sizeof table);
  if (table.segments_less_one != 1 || table.header_words != header_words || table.padding != 0) {
    return fail(errc::bad_input, "these bytes are no frame of a gang link");
  }
  frame_header h;
  try {
    const kj::ArrayPtr<const capnp::word> segments[2] = {
        {reinterpret_cast<const capnp::word*>(in.bytes.data() + sizeof table), header_words}, {}};
    capnp::ReaderOptions limits;
    limits.traversalLimitInWords = 2 * header_words;
    limits.nestingLimit = 1;
    capnp::SegmentArrayMessageReader message(segments, limits);
    const auto header = message.getRoot<schema::FrameHeader>();
    h.fence.attempt.term.value = header.getTerm();
    h.fence.attempt.counter = header.getCounter();
    h.fence.gang = header.getGang();
    h.call = header.getCall();
    h.plan = header.getPlan();
    h.offset = header.getOffset();
    h.length = header.getLength();
    h.total = header.getTotal();
    h.chunk = header.getChunk();
    h.phase = header.getPhase();
    h.kind = static_cast<frame_kind>(header.getKind());
    h.code = header.getCode();
    h.whole = header.getWhole();
  } catch (const kj::Exception&) {
    return fail(errc::bad_input, "the header of a frame is damaged");
  }
  if (h.length > max_frame_payload || words_of(h.length) != table.payload_words) {
    return fail(errc::bad_input, "a frame announces " + std::to_string(h.length) + " bytes in " +
                                     std::to_string(table.payload_words) + " words; the limit is 1 MiB");
  }
  if (h.kind < frame_kind::describe || h.kind > frame_kind::answer) {
    return fail(errc::bad_input, "a frame of unknown kind " + std::to_string(static_cast<int>(h.kind)));
  }
  return h;
}

}  // namespace hydrogen::comm
