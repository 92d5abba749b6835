#pragma once
// The algorithms over links: what a member of a call sends when, where the bytes of others go, and when it has all it
// needs. An exchange decides and does not wait; it sees the world through a port alone, so the same classes run over
// the links of a gang (`mesh`) and in a simulated network of thousands of ranks. One file each, in `collective/`. Used
// by one thread at a time.

#include <hydrogen/base/bytes.hpp>
#include <hydrogen/comm/element.hpp>
#include <hydrogen/comm/frame.hpp>

#include <span>

namespace hydrogen::comm {

/// What an exchange can do. Members are numbered within the call.
class exchange_port {
 public:
  virtual std::uint32_t rank() const = 0;
  virtual std::uint32_t size() const = 0;
  /// Queues a piece of the current call for a member. `header` needs phase, chunk, offset, length, total. The payload
  /// is referenced until the call ends. `first`: ahead of what was queued without it.
  virtual void send(std::uint32_t to, frame_header header, byte_view payload, bool first = false) = 0;
  /// Memory of at least `size` bytes, aligned to 64, kept from call to call.
  virtual std::byte* scratch(std::size_t size) = 0;
  /// As comm::combine.
  virtual void combine(element, reduction, std::span<const std::byte* const> sources, std::size_t count,
                       std::byte* destination, std::span<const std::uint32_t> weights = {}) = 0;
  /// As comm::divide.
  virtual void divide(element kind, std::size_t count, std::uint32_t divisor, std::byte* data) {
    comm::divide(kind, count, divisor, data);
  }

 protected:
  ~exchange_port() = default;
};

class exchange {
 public:
  virtual ~exchange() = default;
  /// Queues the first frames: at least one to each other member.
  virtual void start(exchange_port&) = 0;
  /// Where the payload of a piece goes; errors refuse a piece that is not part of the plan.
  virtual expected<mutable_byte_view> place(std::uint32_t from, const frame_header&) = 0;
  virtual void arrived(std::uint32_t from, const frame_header&, exchange_port&) = 0;
  /// Nothing more is expected from that member.
  virtual bool has_all_of(std::uint32_t from) const = 0;
};

}  // namespace hydrogen::comm
