#pragma once
// One member of a group of devices: its communicator, and the thread that alone calls NCCL for it. NCCL's calls return
// before they are done here, and the thread asks until they are: so the end of a group is never behind a call that
// waits for a member which is gone.

#include <hydrogen/gpu/peer_group.hpp>
#include <hydrogen/gpu/peers/peer_library.hpp>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>

namespace hydrogen::gpu {

/// One exchange that the member's thread was asked for. Any thread.
class peer_exchange {
 public:
  peer_exchange(const work::all_reduce& what, void* queue, std::uint64_t at) : what(what), queue(queue), at(at) {}

  /// Nothing yet; or that NCCL has put it into the queue (on virtual devices: that it is done); or why it has not.
  std::optional<expected<void>> outcome() const;
  /// Sleeps until there is one: until the group is aborted, if members do not come. On threads of virtual devices.
  expected<void> wait() const;
  void settle(expected<void>);

  const work::all_reduce what;  // without the member
  void* const queue;
  const std::uint64_t at;  // its position in the stream

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::optional<expected<void>> outcome_;
};

class peer_member {
 public:
  struct identity {
    peer_id id;
    std::uint32_t rank = 0, size = 1;
  };

  /// Starts the thread, which joins the group. Throws std::system_error where there can be none.
  peer_member(const peer_library&, std::shared_ptr<device>, const std::shared_ptr<stream_state>&, const identity&);
  /// The thread does what it was asked for, leaves the group and ends. Waits for nothing.
  ~peer_member();
  peer_member(const peer_member&) = delete;

  /// Sleeps until all members have joined. At the deadline or the abort the member ends.
  expected<void> joined(time_point deadline, const abort_word*);
  /// An exchange behind all that were asked for: into this queue of a GPU, null on a virtual device, as the item `at`
  /// of the stream.
  std::shared_ptr<peer_exchange> ask(const work::all_reduce&, void* queue, std::uint64_t at);
  void abort(error why);

 private:
  struct shared_state;
  const std::shared_ptr<shared_state> state_;  // with the thread
};

}  // namespace hydrogen::gpu
