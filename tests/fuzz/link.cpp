// A whole rank: its mesh over a tcp link, whose far end plays a stream made from the input in portions made from it.
// Whatever comes, each call gives an error or the right result, and takes no memory but what its plan needs and what
// has come.
//
//     input: | calls u8 | portions u8 | step | step | ...
#include <hydrogen/comm/collective/linked.hpp>
#include <hydrogen/comm/tcp/link.hpp>

#include "link_calls.hpp"
#include "target.hpp"
#include <sys/socket.h>

using namespace hydrogen;
using namespace hydrogen::comm;

namespace {

/// How the stream goes on. The next honest frame is the cursor's.
enum step : std::uint8_t {
  as_it_should,  // the next honest frame
  left_out,
  changed,  // field u8, value u64 that is added to it
  damaged,  // place u8, mask u8: of the first bytes
  cut,      // size u32
  any,      // number u8: an honest frame
  bye,      // code u8, size u16, reason
  raw,      // size u16, bytes
  all_rest,
  steps
};

void change(frame_header& h, std::uint8_t field, std::uint64_t by) {
  switch (field % 12) {
    case 0:
      h.fence.attempt.term.value += by;
      break;
    case 1:
      h.fence.attempt.counter += by;
      break;
    case 2:
      h.fence.gang += by;
      break;
    case 3:
      h.call += by;
      break;
    case 4:
      h.plan += by;
      break;
    case 5:
      h.offset += by;
      break;
    case 6:
      h.length = (h.length + by) % (max_frame_payload + 1);
      break;
    case 7:
      h.total += by;
      break;
    case 8:
      h.chunk += static_cast<std::uint32_t>(by);
      break;
    case 9:
      h.phase = static_cast<std::uint16_t>(h.phase + by);
      break;
    case 10:
      h.kind = static_cast<frame_kind>(static_cast<std::uint8_t>(h.kind) + by);
      break;
    default:
      h.code = static_cast<std::uint8_t>(h.code + by);
  }
}

constexpr std::size_t longest_stream = 1 << 20;

byte_buffer stream_of(fuzz::reader& in, const std::vector<fuzz::frame>& honest) {
  byte_buffer out;
  std::size_t cursor = 0;
  const auto next = [&] { return honest[std::min(cursor++, honest.size() - 1)]; };
  while (!in.empty() && out.size() < longest_stream) {
    switch (in.number<std::uint8_t>() % steps) {
      case as_it_should:
        fuzz::append(out, next());
        break;
      case left_out:
        ++cursor;
        break;
      case changed: {
        auto f = next();
        const auto field = in.number<std::uint8_t>();
        change(f.header, field, in.number<std::uint64_t>());
        fuzz::append(out, f);
        break;
      }
      case damaged: {
        const auto at = out.size() + in.number<std::uint8_t>();
        fuzz::append(out, next());
        const auto mask = static_cast<std::byte>(in.number<std::uint8_t>());
        if (at < out.size()) out[at] ^= mask;
        break;
      }
      case cut: {
        const auto most = out.size() + in.number<std::uint32_t>() % (512 << 10);
        fuzz::append(out, next());
        out.resize(std::min(out.size(), most));
        break;
      }
      case any:
        fuzz::append(out, honest[in.number<std::uint8_t>() % honest.size()]);
        break;
      case bye: {
        auto h = next().header;
        h.kind = frame_kind::bye;
        h.code = in.number<std::uint8_t>();
        const auto reason = in.take(in.number<std::uint16_t>());
        h.length = reason.size();
        fuzz::append(out, {h, {reason.begin(), reason.end()}});
        break;
      }
      case raw: {
        const auto bytes = in.take(in.number<std::uint16_t>());
        out.insert(out.end(), bytes.begin(), bytes.end());
        break;
      }
      case all_rest:
        while (cursor < honest.size()) fuzz::append(out, next());
        break;
    }
  }
  return out;
}

/// The near end, which plays the far end whenever it is asked.
class played_link final : public comm::link {
 public:
  played_link(unique_fd near, unique_fd far, byte_view stream, std::uint8_t seed, abort_word& abort)
      : near_(std::move(near)), far_(std::move(far)), left_(stream), portions_(seed), abort_(abort) {}

  void send(const frame_header& h, byte_view payload, bool first) override { near_.send(h, payload, first); }
  void send_copy(const frame_header& h, byte_buffer payload) override { near_.send_copy(h, std::move(payload)); }
  expected<void> flush() override {
    swallow();
    return near_.flush();
  }
  bool idle() const override { return near_.idle(); }
  void drop() override { near_.drop(); }
  expected<bool> receive(link_sink& sink) override {
    swallow();
    play();
    auto any = near_.receive(sink);
    while (any && !*any && play()) any = near_.receive(sink);
    // A frame of the next call is held, and nothing more is read: the call would wait for its deadline.
    fruitless_ = any && !*any && near_.idle() ? fruitless_ + 1 : 0;
    if (fruitless_ > 2) abort_.set({errc::aborted, "all has been played", {}, {}});
    return any;
  }
  bool ready() const override { return near_.ready(); }
  int fd() const override { return near_.fd(); }
  short events() const override { return near_.events(); }
  void close() override { near_.close(); }

 private:
  /// False when there is nothing more to send, or no room for it.
  bool play() {
    const auto size = std::min(portions_.next(), left_.size());
    const auto n = size == 0 ? 0 : ::send(far_.get(), left_.data(), size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) left_ = left_.subspan(static_cast<std::size_t>(n));
    if (left_.empty()) ::shutdown(far_.get(), SHUT_WR);
    return n > 0;
  }
  void swallow() {
    std::byte scrap[16 << 10];
    while (::recv(far_.get(), scrap, sizeof scrap, MSG_DONTWAIT) > 0) {
    }
  }

  tcp::link near_;
  unique_fd far_;
  byte_view left_;
  fuzz::portions portions_;
  abort_word& abort_;
  int fruitless_ = 0;
};

/// One call; false when it failed. A result is compared with what was sent.
bool make(group_engine& engine, const fuzz::call& c, const fuzz::told& told) {
  constexpr auto timeout = 10s;
  if (!c.reduces()) {
    byte_buffer growing;
    byte_buffer fixed(c.growing ? 0 : c.bytes);
    std::vector<inbox> in(2);
    if (c.growing) {
      in[1].growing = &growing;
    } else {
      in[1].fixed = fixed;
    }
    const byte_view mine[] = {as_byte_view("what the rank sends")};
    if (!engine.pass(c.plan, mine, in, timeout)) return false;
    const auto& got = c.growing ? growing : fixed;
    fuzz::must(got.size() == told.total && fuzz::is_front(got, told.phases[0]), "a message is not what was sent");
    return true;
  }
  auto values = fuzz::values_of(c, 0);
  auto* data = reinterpret_cast<std::byte*>(values.data());
  if (!engine.reduce(c.plan, {c.plan.kind, c.plan.how, data, c.plan.count, c.whom, 0}, timeout)) return false;
  fuzz::must(fuzz::is_right(c, values, told), "the result of a reduction is wrong");
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::reader in(data, size);
  const auto choice = in.number<std::uint8_t>() % (fuzz::courses + 2);
  const auto& [calls, honest, right] = fuzz::course_of(choice % fuzz::courses);
  const bool joins = choice >= fuzz::courses;  // and another rank does not come
  const auto seed = in.number<std::uint8_t>();
  const auto stream = stream_of(in, honest);
  const auto told = fuzz::pieces_in(stream, calls.size());
  std::size_t planned = 0;
  for (const auto& c : calls) planned += 4 * c.count() * 8 + (c.growing ? 0 : c.bytes);

  const fuzz::allocation_limit limit(planned + 6 * stream.size() + (3 << 20));
  int fds[2];
  fuzz::must(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0, "no sockets");
  abort_word abort;
  mesh::options options;
  options.token = fuzz::live;
  options.nodes = {"a", "b"};
  options.self = *waker::make();
  options.counters = std::make_shared<link_counters>();
  options.wait.socket_looks = 10;  // more than the link gives a held frame
  std::vector<std::unique_ptr<comm::link>> links(2);
  links[1] = std::make_unique<played_link>(unique_fd(fds[0]), unique_fd(fds[1]), stream, seed, abort);
  const auto links_of_rank = std::make_shared<mesh>(options, std::move(links), abort);
  if (joins) {
    fuzz::must(links_of_rank->fail_join(calls[0].plan, {errc::none, {}, {}, {}}, 1s).code != errc::none,
               "a join that failed gives no reason");
    return 0;
  }
  linked_engine engine(links_of_rank, tuning());
  std::size_t made = 0;
  while (made < calls.size() && make(engine, calls[made], told[made])) ++made;
  fuzz::must(stream != right || made == calls.size(), "an honest rank is refused");
  return 0;
}
