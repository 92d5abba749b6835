#pragma once
// A gang link between two ranks of one process, for gangs that also have ranks elsewhere: a frame is passed by
// pointer, and the receiver copies the payload straight from the sender's buffer into its place, under the channel's
// lock, so that a sender that gives up can take its payloads back.

#include <hydrogen/comm/link.hpp>
#include <hydrogen/comm/waker.hpp>

#include <deque>
#include <memory>
#include <mutex>

namespace hydrogen::comm::inproc {

/// One direction. Shared by both ends; lives as long as either.
struct channel {
  struct message {
    frame_header header;
    byte_view payload;
    byte_buffer owned;
    bool first = false;
  };
  std::mutex mutex;
  std::deque<message> queue;
  bool closed = false;
  std::shared_ptr<waker> sender;    // wakes the rank that sends here
  std::shared_ptr<waker> receiver;  // wakes the rank that receives here
};

class link final : public comm::link {
 public:
  link(std::shared_ptr<channel> out, std::shared_ptr<channel> in, const std::shared_ptr<waker>& self);
  ~link() override { close(); }

  void send(const frame_header&, byte_view payload, bool first) override;
  void send_copy(const frame_header&, byte_buffer payload) override;
  expected<void> flush() override;
  bool idle() const override;
  bool flushed() const override;
  void drop() override;
  expected<bool> receive(link_sink&) override;
  bool ready() const override;
  int fd() const override { return -1; }
  short events() const override { return 0; }
  link_medium medium() const override { return link_medium::process; }
  void close() override;

 private:
  void push(channel::message, bool first);
  /// The other rank has taken all that it needs. Under the mutex.
  bool is_idle() const;

  std::shared_ptr<channel> out_;
  std::shared_ptr<channel> in_;
  bool held_ = false;
  bool was_idle_ = true;  // as the owner last saw it
};

}  // namespace hydrogen::comm::inproc
