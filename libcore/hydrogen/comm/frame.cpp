#include <hydrogen/comm/frame.hpp>
#include <hydrogen/schema/frame.capnp.h>

#include <capnp/message.h>
#include <capnp/orphan.h>

#include <cstring>
#include <optional>

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

/// The first word of the header: where its struct is, and how large.
std::uint64_t root_of(const frame_prefix& prefix) {
  std::uint64_t word;
  std::memcpy(&word, prefix.bytes.data() + sizeof(segment_table), sizeof word);
  return word;
}

// Stands for the payload while the header is built: the builder keeps only address and size of external data, and the
// link gathers the real payload, which need not be aligned to words.
alignas(8) constexpr unsigned char anchor[8] = {};

/// The message of a frame with a payload of one length; the other fields may be set again and again.
class header_message {
 public:
  explicit header_message(std::uint64_t payload_length)
      : length_(payload_length),
        message_(kj::arrayPtr(reinterpret_cast<capnp::word*>(segment_), header_words)),
        header_(message_.initRoot<schema::FrameHeader>()) {
    header_.setLength(static_cast<std::uint32_t>(length_));
    if (length_ != 0) {
      header_.adoptPayload(message_.getOrphanage().referenceExternalData(capnp::Data::Reader(anchor, length_)));
    }
  }

  std::uint64_t payload_length() const { return length_; }

  void write(const frame_header& h, frame_prefix& out) {
    header_.setTerm(h.fence.attempt.term.value);
    header_.setCounter(h.fence.attempt.counter);
    header_.setGang(h.fence.gang);
    header_.setCall(h.call);
    header_.setPlan(h.plan);
    header_.setOffset(h.offset);
    header_.setTotal(h.total);
    header_.setChunk(h.chunk);
    header_.setPhase(h.phase);
    header_.setKind(static_cast<std::uint8_t>(h.kind));
    header_.setCode(h.code);
    header_.setWhole(h.whole);
    const segment_table table{1, header_words, words_of(length_), 0};
    std::memcpy(out.bytes.data(), &table, sizeof table);
    std::memcpy(out.bytes.data() + sizeof table, segment_, sizeof segment_);
  }

 private:
  const std::uint64_t length_;
  alignas(8) unsigned char segment_[header_words * 8] = {};  // before the builder, which clears it when it goes
  capnp::MallocMessageBuilder message_;
  schema::FrameHeader::Builder header_;
};

}  // namespace

void encode_frame(const frame_header& h, frame_prefix& out) {
  invariant(h.length <= max_frame_payload, "a frame above 1 MiB");
  // Building a message costs a microsecond and more where the payloads before it have emptied the caches, and what
  // waits for this frame waits for that, too. Pieces of a call are of one size, so the last message is kept.
  thread_local std::optional<header_message> kept;
  if (!kept || kept->payload_length() != h.length) kept.emplace(h.length);
  kept->write(h, out);
}

expected<frame_header> decode_frame(const frame_prefix& in) {
  segment_table table;
  std::memcpy(&table, in.bytes.data(), sizeof table);
  if (table.segments_less_one != 1 || table.header_words != header_words || table.padding != 0) {
    return fail(errc::bad_input, "these bytes are no frame of a gang link");
  }
  // With the root that this version writes all fields lie within the header: nothing is left for a message reader to
  // check, whose arena costs more than the rest. The payload's pointer is never followed.
  static const auto written = root_of([] {
    frame_prefix own;
    encode_frame({}, own);
    return own;
  }());
  if (root_of(in) != written) return fail(errc::bad_input, "the header of a frame is damaged");
  const auto header = capnp::readMessageUnchecked<schema::FrameHeader>(
      reinterpret_cast<const capnp::word*>(in.bytes.data() + sizeof table));
  frame_header h;
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
