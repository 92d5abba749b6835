// The dialling side of the handshake: `dial_peer` to a listener that knows the secret or not and says anything. Only
// who proves the secret is taken for a process of the cluster.
//
//     input: | flags u8 | portions u8 | verdict u8, boot u64, if proven | opening, if raw | answer, if raw, or more |
#include <hydrogen/comm/dial.hpp>
#include <hydrogen/comm/endpoint.hpp>
#include <hydrogen/comm/handshake.hpp>

#include "dialogue.hpp"
#include "target.hpp"

#include <semaphore>
#include <thread>

using namespace hydrogen;
using namespace hydrogen::comm;

namespace {

enum flag : std::uint8_t { raw_opening = 1, raw_answer = 2, wrong_proof = 4, other_verdict_proven = 8 };

/// Answers one dial at a time, on a thread of its own.
class far_end {
 public:
  far_end() : key(secret::from_key({})), endpoint("unix:hydrogen-fuzz-" + std::to_string(::getpid())) {
    (void)key.sign({});  // begins what the thread uses, and so ends it later than this
    const auto address = *parse_endpoint(endpoint);
    listener_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    fuzz::must(::bind(listener_.get(), address.get(), address.size) == 0 && ::listen(listener_.get(), 8) == 0,
               "no listener");
    thread_ = std::thread([this] { work(); });
  }
  ~far_end() {
    ends_ = true;
    begin_.release();
    thread_.join();
  }

  void start(fuzz::reader input) {
    input_ = input;
    begin_.release();
  }
  /// Whether the dialler was welcomed with a proof, after the dial has returned.
  bool has_proven() {
    done_.acquire();
    return proven_;
  }
  boot_id boot() const { return boot_; }

  const secret key;
  const std::string endpoint;

 private:
  void work() {
    for (;;) {
      begin_.acquire();
      if (ends_) return;
      proven_ = answer();
      done_.release();
    }
  }

  bool answer() {
    const auto flags = input_.number<std::uint8_t>();
    fuzz::portions portions(input_.number<std::uint8_t>());
    const auto says = static_cast<handshake::verdict>(input_.number<std::uint8_t>());
    boot_ = {input_.number<std::uint64_t>()};
    unique_fd fd;
    while (!fd) fd.reset(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    fuzz::limit_waits(fd);
    handshake::opening_bytes bytes;
    if (!fuzz::read(fd, bytes)) return false;
    const auto theirs = handshake::read_opening(bytes);
    fuzz::must(theirs.has_value(), "the dialler's opening is none");
    const auto ours = fuzz::say_opening(fd, (flags & raw_opening) != 0, input_, portions);
    if ((flags & raw_answer) != 0 || !ours) {
      fuzz::write(fd, input_.rest(), portions);
      return false;
    }
    std::array<std::byte, handshake::claim_size> head;
    // Closed by now, with bytes that it has not read, it would hide what it said.
    if (!fuzz::read(fd, head)) return false;
    const auto claim = handshake::read_claim(head);
    fuzz::must(claim.hello_size <= max_hello_size, "the dialler's hello is above the limit");
    byte_buffer said(claim.hello_size);
    if (!fuzz::read(fd, said)) return false;
    fuzz::must(same_proof(claim.by_dialler, handshake::prove_as_dialler(key, theirs->challenge, ours->challenge, said)),
               "the dialler's proof is wrong");
    handshake::answer reply{says, boot_, {}};
    const auto proven = (flags & other_verdict_proven) != 0 ? handshake::verdict::wrong_boot : says;
    reply.by_acceptor = handshake::prove_as_acceptor(key, theirs->challenge, ours->challenge, said, proven, boot_);
    if ((flags & wrong_proof) != 0) reply.by_acceptor[0] ^= std::byte{1};
    fuzz::write(fd, handshake::write_answer(reply), portions);
    fuzz::write(fd, input_.rest(), portions);
    return (flags & wrong_proof) == 0 && proven == says && says == handshake::verdict::welcome;
  }

  unique_fd listener_;
  fuzz::reader input_{byte_view()};
  bool proven_ = false;
  boot_id boot_;
  bool ends_ = false;
  std::binary_semaphore begin_{0};
  std::binary_semaphore done_{0};
  std::thread thread_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static far_end there;
  hello mine;
  mine.purpose = link_purpose::block;
  mine.who = "a fuzz target";
  const fuzz::allocation_limit limit(256 << 10);
  there.start({data, size});
  const auto made = dial_peer(there.endpoint, there.key, mine, now() + 30s);
  const bool proven = there.has_proven();
  fuzz::must(made || made.error().code != errc::timed_out, "a dial hangs");
  fuzz::must(!made || proven, "a listener is believed that has not proven the secret");
  fuzz::must(made || !proven, "a listener that has proven the secret is not believed");
  if (made) fuzz::must(made->peer == there.boot(), "a listener is taken for another process");
  return 0;
}
