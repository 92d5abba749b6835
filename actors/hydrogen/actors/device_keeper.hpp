#pragma once
// The devices of an executor: which attempt holds which, and the devices that are open. The agent lends them by number
// (gang::held_devices); tasks get theirs by seat: ranks in their order, tasks of a lease whichever is free. A device is
// opened when the first task of an attempt asks for it, and closed when no attempt holds it any more.
//
// `hold` and `over` are called by the executor's actor and do not wait; the others by slot threads: they may wait for
// the agent's word, and opening a device takes long.

#include <hydrogen/base/abort.hpp>
#include <hydrogen/exec/devices.hpp>
#include <hydrogen/gang/messages_executor.hpp>

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

namespace hydrogen::actors {

class device_keeper {
 public:
  /// Bytes of a device that are in use, by whomever; an error where that cannot be known.
  using memory_reader = std::function<expected<std::uint64_t>(const gpu::device_info&)>;
  /// That of GPUs (gpu/device_memory.hpp). Virtual devices of several nodes in one process share their ids.
  static expected<std::uint64_t> memory_of_gpu(const gpu::device_info&);

  /// The GPUs of the node, by number.
  explicit device_keeper(std::vector<gpu::device_info> gpus, memory_reader in_use = memory_of_gpu)
      : gpus_(std::move(gpus)), in_use_(std::move(in_use)) {}
  ~device_keeper();
  device_keeper(const device_keeper&) = delete;

  /// The attempt holds these, and whoever held one of them before is over.
  void hold(const gang::attempt_ref&, std::vector<gang::held_devices>);
  /// Nothing of it runs any more: what it alone held is closed, by another thread, which calls `closed` when that is
  /// done, and as much memory of each device is free as was before it was opened here, but for a hundredth of all; as
  /// long as that is not so, it is not called. False: there is nothing to close.
  bool over(const gang::attempt_ref&, std::function<void()> closed);

  /// A task of a lease that begins to use devices takes a seat, which is its own until it leaves it. Errors as `lend`.
  expected<std::uint32_t> take_seat(const gang::attempt_ref&, time_point deadline, const abort_word&);
  void leave_seat(const gang::attempt_ref&, std::uint32_t seat);
  /// The devices of this seat of an attempt, in their order. Errors: not_found (none of them is there), timed_out,
  /// aborted.
  expected<std::vector<gpu::device_info>> devices_of(const gang::attempt_ref&, std::uint32_t seat, time_point deadline,
                                                     const abort_word&);
  /// The `which`-th of them. Errors: not_found (there are fewer), what the device says, those above.
  expected<exec::lent_device> lend(const gang::attempt_ref&, std::uint32_t seat, std::size_t which, time_point deadline,
                                   const abort_word&);
  /// Why one of the devices is of no more use; no code: all are well. Then this executor must end, so that another
  /// process takes its place.
  error lost() const;

 private:
  /// A device that is open, or that a slot thread opens. That takes long, so nobody else may wait for it with `mutex_`.
  struct place {
    std::mutex opening;
    std::shared_ptr<gpu::device> on;             // under the keeper's mutex
    std::optional<std::uint64_t> in_use_before;  // bytes; none: not known
  };
  struct closing {
    gpu::device_info what;
    std::shared_ptr<place> from;
  };
  struct holding {
    std::vector<gang::held_devices> devices;
    std::vector<bool> seats;  // of a lease: whether they are taken
  };
  /// With the lock: what the attempt holds, when the agent has said it.
  expected<holding*> held_by(const gang::attempt_ref&, time_point deadline, const abort_word&,
                             std::unique_lock<std::mutex>&);
  struct seat_devices {
    std::vector<std::uint32_t> numbers;
    std::uint32_t shared_by = 1;
  };
  expected<seat_devices> of_seat(const gang::attempt_ref&, std::uint32_t seat, time_point deadline, const abort_word&,
                                 std::unique_lock<std::mutex>&);
  std::vector<closing> unheld();
  static void close(std::vector<closing>, memory_reader, std::function<void()> closed);
  expected<std::shared_ptr<gpu::device>> open(std::uint32_t number, std::unique_lock<std::mutex>&);

  const std::vector<gpu::device_info> gpus_;
  const memory_reader in_use_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<gang::attempt_ref, holding> attempts_;
  std::map<std::uint32_t, std::shared_ptr<place>> open_;  // by number
};

}  // namespace hydrogen::actors
