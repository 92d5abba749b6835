#pragma once
// The devices of a task or rank: those that were granted with its slot (barrier_options::needs, `needs` of a dataset),
// or, where none was asked for, a virtual device that all tasks of the process share, so that the same code runs
// everywhere. Used on the task's slot thread, for the length of its function.

#include <hydrogen/base/abort.hpp>
#include <hydrogen/base/clock.hpp>
#include <hydrogen/gpu/stream.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace hydrogen::exec {

/// What an executor lends to a task.
struct lent_device {
  std::shared_ptr<gpu::device> on;
  std::uint64_t share = 0;  // bytes of its memory; 0: all
};

/// A device as a task has it: with a stream of its own, where all that it does is in order.
class task_device {
 public:
  task_device(lent_device, const std::string& owner, const abort_word&);
  task_device(const task_device&) = delete;
  /// Waits until nothing of the task is left on the device. If that takes too long the device counts as lost.
  ~task_device();
  /// For work that a task leaves behind, before its device counts as lost.
  duration patience() const;

  gpu::device& device() { return *lent_.on; }
  gpu::stream& stream() { return stream_; }
  /// One more stream of the task, for an actor of its own. It takes memory from the same share, and the end of the task
  /// waits for what is enqueued there, too; nobody may enqueue to it afterwards. Throws `failure` (what the device
  /// says).
  gpu::stream make_stream(std::string label);
  /// Called at the end of the task, in reverse order, before it waits for the device.
  void at_end(std::function<void()> what) { at_end_.push_back(std::move(what)); }
  /// Ends all waits of the task.
  const abort_word& abort() const { return abort_; }

  /// Waits until everything enqueued is done. Throws `failure`: what went wrong on the device, with kernel, device and
  /// owner; timed_out; aborted when the attempt is ended.
  void finish(duration timeout = std::chrono::seconds(60));
  /// The numbers of a buffer, when everything before is done; throws as `finish` does.
  template <class T>
  std::vector<std::remove_const_t<T>> download(const gpu::buffer<T>& from,
                                               duration timeout = std::chrono::seconds(60)) {
    std::vector<std::remove_const_t<T>> to(from.size());
    download(from, std::span(to), timeout);
    return to;
  }
  template <class T>
  void download(const gpu::buffer<T>& from, std::span<std::remove_const_t<T>> to,
                duration timeout = std::chrono::seconds(60)) {
    value_or_throw(stream_.download(from, to, now() + timeout, &abort_));
  }
  /// Waits for an event of any stream; throws as `finish` does.
  void wait(const gpu::event& e, duration timeout = std::chrono::seconds(60));

 private:
  const lent_device lent_;
  const abort_word& abort_;
  gpu::stream stream_;
  std::vector<gpu::event> others_;  // the beginnings of other streams
  std::vector<std::function<void()>> at_end_;
};

/// Who has the devices that were granted to a task.
struct device_lender {
  /// The device with this number among those of the task. Errors: not_found. Null: none was granted.
  std::function<expected<lent_device>(std::size_t which)> lend;
  /// All of them, without opening any.
  std::function<expected<std::vector<gpu::device_info>>()> granted;
};

/// The devices of one task, opened when it asks for them.
class task_devices {
 public:
  /// `owner`: what messages call the task.
  task_devices(device_lender from, std::function<std::string()> owner, const abort_word& abort)
      : from_(std::move(from)), owner_(std::move(owner)), abort_(abort) {}

  /// Throws `failure`: not_found (the task has fewer), or what the device says.
  task_device& at(std::size_t which);
  /// See visible_devices.
  std::string visible() const;

 private:
  const device_lender from_;
  const std::function<std::string()> owner_;
  const abort_word& abort_;
  std::vector<std::unique_ptr<task_device>> open_;
};

/// The virtual device of this process: its kernels run on as many threads as it may use cores.
std::shared_ptr<gpu::device> device_of_this_process();

/// For the length of a task's function: what `device()` gives on this thread.
class current_devices {
 public:
  explicit current_devices(task_devices&);
  ~current_devices();
  current_devices(const current_devices&) = delete;

 private:
  task_devices* const before_;
};

/// The devices of the task that runs on this thread. Throws `failure` (refused) outside of tasks.
task_device& device(std::size_t which = 0);

/// What CUDA_VISIBLE_DEVICES must be for a program that the task starts, so that it sees the GPUs of the task and no
/// others: their ids, with commas between. Empty where none was granted, and of virtual devices: it sees none. Opens no
/// device. Throws as `device`.
std::string visible_devices();

}  // namespace hydrogen::exec
