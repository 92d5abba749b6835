#pragma once
// A gang link between two processes of one host: frames go through two rings in a memory file of this pair, without a
// system call while both sides are awake. The unix socket over which they met stays open: it wakes a side that sleeps,
// and its end is the end of the other process. Where the memory cannot be shared, the socket carries the frames.
//
//     who dialled                                        who was dialled
//     one byte: 'M' and the descriptor, or '-': none  ->
//                                                     <-  'A', it has mapped it; or 'X', it cannot
//     ... a byte each time that the other side sleeps and there is news for it ...
//
//     memory file: | control, 4 KiB | ring of the dialler | ring of the other side |
//     control:     | wants of the dialler | wants of the other side | ring_state | ring_state |   each on lines of its
//     own
//
// Nobody waits for the other's byte. The dialler puts frames into its ring from the beginning; after 'X' it sends over
// the socket, first, what it has put there. The other side sends nothing before it has got the offer. After '-' there
// is no answer, and the socket carries the frames.

#include <hydrogen/comm/shm/ring.hpp>
#include <hydrogen/comm/stream_link.hpp>

#include <memory>

namespace hydrogen::comm::shm {

class link final : public stream_link {
 public:
  /// Bytes of a ring, for a rank that has links to so many others on its host: fewer for many.
  static std::size_t ring_size_for(std::uint32_t others);
  /// Of the side that dialled: `socket` is a unix one whose handshake is done.
  static std::unique_ptr<link> offer(unique_fd socket, std::size_t ring_size);
  /// Of the side that was dialled. `share` false: answers that it cannot map the memory.
  static std::unique_ptr<link> accept(unique_fd socket, bool share = true);
  ~link() override { close(); }

  expected<void> flush() override;
  bool idle() const override { return stream_link::idle() && unsent_ == 0; }
  bool flushed() const override { return stream_link::flushed() && unsent_ == 0; }
  bool ready() const override;
  short events() const override;
  short will_sleep(short events) override;
  void awake() override;
  link_medium medium() const override {
    return mode_ == mode::over_socket ? link_medium::socket : link_medium::host_memory;
  }
  void close() override;

 private:
  enum class mode : std::uint8_t { awaits_offer, in_memory, over_socket, broken };
  struct control;

  explicit link(unique_fd socket);
  /// Maps and takes its side of the rings; false when this is not possible.
  bool use(int file, bool dialled);
  expected<void> take_offer();
  /// Reads what the socket has: rings of the other side, its answer, or its end.
  expected<void> look_at_socket();
  expected<void> resend();
  /// The other side does not keep to the above: whatever is done from now on fails.
  unexpected spoil();
  void unmap();
  expected<std::size_t> write(std::span<const iovec>) override;
  expected<std::size_t> read(std::span<const iovec>) override;

  mode mode_ = mode::awaits_offer;
  bool share_ = true;
  bool awaits_answer_ = false;
  bool has_ended_ = false;    // the socket; what is in the ring still counts
  std::uint32_t looks_ = 0;   // in vain
  std::uint32_t wanted_ = 0;  // since `will_sleep`
  std::uint64_t unsent_ = 0;  // bytes at the end of what is in the ring that the socket has still to take
  std::byte* memory_ = nullptr;
  std::size_t size_ = 0;
  ring_writer out_;
  ring_reader in_;
  ring_wants* wants_ = nullptr;  // own
  doorbell bell_;
};

}  // namespace hydrogen::comm::shm
