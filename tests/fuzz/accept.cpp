// The accepting side of the handshake: a listener of this process, and a dialler who knows the secret or not and says
// anything. Nobody is let in who has not proven the secret, and what is let in is what was said.
//
//     input: | flags u8 | portions u8 | size of the hello as claimed u32, if flagged | opening, if raw | hello or bytes
//     |
#include <hydrogen/comm/acceptor.hpp>
#include <hydrogen/comm/endpoint.hpp>
#include <hydrogen/comm/handshake.hpp>

#include "dialogue.hpp"
#include "target.hpp"
#include <spdlog/spdlog.h>

#include <mutex>
#include <optional>

using namespace hydrogen;
using namespace hydrogen::comm;

namespace {

enum flag : std::uint8_t { raw_opening = 1, raw_claim = 2, other_size = 4, wrong_proof = 8 };
constexpr boot_id self{77};

struct listener {
  listener() : key(secret::from_key({})) {
    spdlog::set_level(spdlog::level::off);
    (void)key.sign({});  // begins what the listener's thread uses, and so ends it later than this
    auto made = acceptor::listen("127.0.0.1:0", key, self,
                                 [this](unique_fd, hello said) {
                                   const std::lock_guard lock(mutex);
                                   let_in = std::move(said);
                                 },
                                 {.handshake_timeout = 60s});
    fuzz::must(made.has_value(), "no listener");
    gate = std::move(*made);
    address = *parse_endpoint(host_endpoint(gate->endpoint()));
  }
  unique_fd dial() const {
    unique_fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    fuzz::must(fd && ::connect(fd.get(), address.get(), address.size) == 0, "the listener is not there");
    fuzz::limit_waits(fd);
    return fd;
  }
  std::optional<hello> take() {
    const std::lock_guard lock(mutex);
    return std::exchange(let_in, std::nullopt);
  }

  secret key;
  socket_address address;
  std::mutex mutex;
  std::optional<hello> let_in;
  std::unique_ptr<acceptor> gate;  // goes first
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static listener here;
  fuzz::reader in(data, size);
  const auto flags = in.number<std::uint8_t>();
  fuzz::portions portions(in.number<std::uint8_t>());
  const bool lies = (flags & other_size) != 0;
  const auto claimed = lies ? in.number<std::uint32_t>() : 0u;

  const fuzz::allocation_limit limit((256 << 10) + 8 * size);
  const auto fd = here.dial();
  const auto refused_before = here.gate->refused();
  const auto ours = fuzz::say_opening(fd, (flags & raw_opening) != 0, in, portions);
  handshake::opening_bytes first;
  const bool answered = fuzz::read(fd, first);
  const auto theirs = answered ? handshake::read_opening(first) : std::nullopt;
  fuzz::must(!answered || theirs, "the listener's opening is none");

  const auto said = in.rest();
  bool proven = false;
  if ((flags & raw_claim) != 0 || !answered || !ours) {
    fuzz::write(fd, said, portions);
  } else {
    const bool wrong = (flags & wrong_proof) != 0;
    auto proof = handshake::prove_as_dialler(here.key, ours->challenge, theirs->challenge, said);
    if (wrong) proof[31] ^= std::byte{1};
    auto claim = handshake::write_claim(proof, said);
    if (lies) std::memcpy(claim.data(), &claimed, 4);
    proven = !wrong && ours->version == protocol_version && said.size() <= max_hello_size &&
             (!lies || claimed == said.size());
    fuzz::write(fd, claim, portions);
  }
  ::shutdown(fd.get(), SHUT_WR);
  handshake::answer_bytes last;
  std::optional<handshake::answer> reply;
  if (answered && fuzz::read(fd, last)) reply = handshake::read_answer(last);
  fuzz::must(fuzz::is_at_end(fd), "the listener says more than its answer");
  const auto let_in = here.take();
  fuzz::must(let_in.has_value() != (here.gate->refused() != refused_before),
             "a stranger is neither let in nor refused");

  if (!proven) {
    fuzz::must(!let_in, "somebody is let in without a proof");
    fuzz::must(!reply || reply->says == handshake::verdict::wrong_secret, "a stranger gets another verdict");
    return 0;
  }
  fuzz::must(reply.has_value(), "a proof gets no answer");
  const auto read = decode_hello(said);
  const auto right = !read                          ? handshake::verdict::bad_hello
                     : read->to && read->to != self ? handshake::verdict::wrong_boot
                                                    : handshake::verdict::welcome;
  fuzz::must(reply->says == right, "a wrong verdict");
  fuzz::must(same_proof(reply->by_acceptor, handshake::prove_as_acceptor(here.key, ours->challenge, theirs->challenge,
                                                                         said, reply->says, reply->from)),
             "a verdict without proof");
  fuzz::must(let_in.has_value() == (right == handshake::verdict::welcome), "let in against the verdict");
  if (let_in) fuzz::must(*let_in == *read, "another hello is let in than was said");
  return 0;
}
