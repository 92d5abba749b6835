#pragma once
// Memory of a device, or pinned memory of the host that a device can reach, from a pool: a buffer that is gone leaves
// its memory to the next one of about its size. Stream-ordered: memory goes to another buffer at once when its last
// users are in the same stream, or have been reached, or when there is no other; who writes to it first, in whatever
// stream, stands behind them on the device. One pool for both backends, since it also counts and limits what an owner
// of a share may take.
//
// Any thread. The driver, which may wait for the device, is called without the pool's lock: by the device's trimmer for
// what is too much, and by who allocates only where the pool has nothing that fits. Who drops a buffer changes lists.

#include <hydrogen/gpu/event.hpp>

#include <condition_variable>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

namespace hydrogen::gpu {

class device;
class memory_pool;

enum class memory_kind : std::uint8_t { device, pinned };

/// What the buffers of one owner may take of a device's memory together, in whatever stream.
struct memory_share {
  const std::uint64_t limit;
  std::uint64_t taken = 0;  // under the pool's lock
};

/// A piece of memory, owned by the buffers in it. Returns with the last of them to its pool, or to whom it belongs.
class memory : public std::enable_shared_from_this<memory> {
 public:
  memory(std::shared_ptr<device> owner, memory_pool& pool, void* at, std::size_t bytes, std::size_t taken)
      : owner_(std::move(owner)), pool_(pool), at_(at), bytes_(bytes), taken_(taken) {}
  /// Memory of somebody else that has been pinned (device::pin).
  memory(std::shared_ptr<device> owner, memory_pool& pool, std::shared_ptr<std::byte> foreign, std::size_t bytes)
      : owner_(std::move(owner)),
        pool_(pool),
        foreign_(std::move(foreign)),
        at_(foreign_.get()),
        bytes_(bytes),
        taken_(0) {}
  ~memory();
  memory(const memory&) = delete;

  void* at() const { return at_; }
  std::size_t bytes() const { return bytes_; }
  memory_kind kind() const;
  device& owner() const { return *owner_; }

 private:
  friend class memory_pool;
  friend class stream;
  const std::shared_ptr<device> owner_;
  std::shared_ptr<memory_share> charged_;  // that it takes from, if its owner has one
  memory_pool& pool_;
  const std::shared_ptr<std::byte> foreign_;
  void* const at_;
  const std::size_t bytes_, taken_;
  // Under the device's order lock.
  event written_;            // by the last item that writes to it
  std::vector<event> read_;  // by items after that, one of each stream; at first, what used the memory before
};
using memory_ptr = std::shared_ptr<memory>;

struct pool_usage {
  std::uint64_t used = 0;                                // bytes in buffers
  std::uint64_t kept = 0;                                // free, for the next buffer
  std::uint64_t coming = 0, leaving = 0;                 // being taken from the device, being given back to it
  std::uint64_t peak = 0;                                // most bytes used at a time
  std::uint64_t limit = 0;                               // of used, kept, coming and leaving together
  std::uint64_t taken_from_device = 0, given_again = 0;  // how many buffers
};

class memory_pool {
 public:
  memory_pool(device& owner, memory_kind kind, std::uint64_t limit, std::uint64_t keep)
      : owner_(owner), kind_(kind), limit_(limit), keep_(keep) {}
  ~memory_pool();
  memory_pool(const memory_pool&) = delete;

  /// At least `bytes` for the stream that will use it first (null: not known), out of its share of the device's memory
  /// if it has one. Waits for no work, but for the driver where others are giving back what it needs. Errors:
  /// over_limit, which names the device and what is in use; what the device says.
  expected<memory_ptr> allocate(std::size_t bytes, const std::shared_ptr<stream_state>& first);
  pool_usage usage() const;
  memory_kind kind() const { return kind_; }
  /// Gives free memory back to the device until at most `keep` bytes are left of it: as long as the driver takes.
  void trim(std::uint64_t keep);

 private:
  friend class memory;
  friend class device;
  struct free_block {
    void* at = nullptr;
    std::vector<event> users;
  };
  /// Memory on its way to a buffer, and the work that may still use it: whoever writes first stands behind that.
  struct found {
    void* at = nullptr;
    std::vector<event> users;
  };
  struct piece {
    void* at = nullptr;
    std::size_t size = 0;
  };
  /// What a look at the free blocks leaves to be done without the lock: a stream may end with its last event, and
  /// asking for an event may call the driver.
  struct afterwards {
    ~afterwards();
    std::vector<event> reached, wanted;
  };

  void take_back(memory&) noexcept;
  /// What is above `keep_`, on the trimmer's thread. Whether some of it must wait for the work that uses it.
  bool trim_excess();
  /// Nobody is to wait here for a device that is lost.
  void wake();

  // With the lock, which those that are given it may have let go of in between.
  expected<found> find_or_make(std::size_t size, const std::shared_ptr<stream_state>& first, std::size_t asked,
                               std::unique_lock<std::mutex>&, afterwards&);
  bool take(std::size_t size, const std::shared_ptr<stream_state>& first, bool pending, found&, afterwards&);
  expected<void*> make(std::size_t size, std::unique_lock<std::mutex>&);
  /// Takes blocks out of the list, the largest first, until at most `keep` bytes are left in it.
  std::vector<piece> take_out(std::uint64_t keep, afterwards&);
  void give_back(const std::vector<piece>&, std::unique_lock<std::mutex>&) noexcept;
  std::uint64_t taken_from_device() const { return usage_.used + usage_.kept + usage_.coming + usage_.leaving; }

  device& owner_;
  const memory_kind kind_;
  const std::uint64_t limit_, keep_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;                      // something has left, or the device is lost
  std::map<std::size_t, std::vector<free_block>> free_;  // by size
  pool_usage usage_;
};

}  // namespace hydrogen::gpu
