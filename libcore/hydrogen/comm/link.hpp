#pragma once
// A link joins two ranks of one gang attempt and carries frames in order, both ways. One end belongs to one rank and is
// used by that rank's thread only. Nothing here blocks: the mesh drives all links of a rank in one loop.
//
// Payloads are sent by reference: they must stay as they are until `idle()`, or until `drop()` has returned.

#include <hydrogen/base/bytes.hpp>
#include <hydrogen/comm/frame.hpp>

namespace hydrogen::comm {

/// The receiving side's decisions, made by the mesh for the call that it is in.
class link_sink {
 public:
  enum class verdict : std::uint8_t {
    take,  // the payload goes to `where`, which has exactly `length` bytes
    skip,  // the payload is thrown away
    hold   // a frame of a later call: ask again when `receive` is called next
  };
  /// An error refuses the frame and ends the link.
  virtual expected<verdict> begin(const frame_header&, mutable_byte_view& where) = 0;
  /// The payload of a taken frame is in its place.
  virtual expected<void> end(const frame_header&) = 0;

 protected:
  ~link_sink() = default;
};

/// Through what frames go.
enum class link_medium : std::uint8_t { process, host_memory, socket };

class link {
 public:
  virtual ~link() = default;

  /// Queues a frame; the payload is referenced. `first`: ahead of all frames queued without it.
  virtual void send(const frame_header&, byte_view payload, bool first = false) = 0;
  /// Queues a frame ahead of others with a payload of its own.
  virtual void send_copy(const frame_header&, byte_buffer payload) = 0;
  /// Hands over as much as the other side takes now. errc::disconnected when it is gone.
  virtual expected<void> flush() = 0;
  /// Nothing queued but remarks, which no call needs: no payload is referenced any more.
  virtual bool idle() const = 0;
  /// Nothing queued at all.
  virtual bool flushed() const { return idle(); }
  /// Forgets queued pieces. One that is partly sent stays, and its payload with it, until it is sent or the link
  /// closed.
  virtual void drop() = 0;

  /// Reads what is there and gives it to the sink; true if anything came. errc::disconnected at the end of the link.
  virtual expected<bool> receive(link_sink&) = 0;
  /// Something could be received, or became idle, without the file descriptor showing it.
  virtual bool ready() const = 0;

  /// To poll for `events()`; -1 for a link that uses the rank's waker.
  virtual int fd() const = 0;
  virtual short events() const = 0;
  /// The rank goes to sleep until one of these events (POLLIN: something can be received; POLLOUT: more can be
  /// flushed): what `fd()` is to be polled for, unless `ready()` says after it that this is so already. Then `awake`.
  virtual short will_sleep(short events) { return events; }
  virtual void awake() {}

  virtual link_medium medium() const { return link_medium::socket; }

  /// No more frames in either direction; what was flushed still arrives. References no payload afterwards.
  virtual void close() = 0;
};

}  // namespace hydrogen::comm
