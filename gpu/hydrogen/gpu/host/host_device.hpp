#pragma once
// A virtual device: a few threads that run the kernels of its streams, one item of a stream at a time.

#include <hydrogen/gpu/backend.hpp>
#include <hydrogen/gpu/host/memory_held.hpp>
#include <hydrogen/gpu/host/virtual_faults.hpp>

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace hydrogen::gpu::host {

class host_stream;

/// The threads of a virtual device, and the streams that have something for them to do.
class crew {
 public:
  explicit crew(std::uint32_t threads) : most_(threads) {}
  /// `s` has work; its state is kept until that is done. Starts threads as they are needed.
  void hand(std::shared_ptr<stream_state> s);
  /// A stream has begun, or stopped, to have work that was handed or is waited for.
  void count(int change);
  /// Returns when no stream has work and all threads have ended. Not on one of them. No stream gets new work.
  void drain() noexcept;

 private:
  void work();

  const std::uint32_t most_;
  std::mutex mutex_;
  std::condition_variable changed_, drained_;
  std::deque<std::shared_ptr<stream_state>> runnable_;
  std::vector<std::thread> threads_;
  std::uint32_t idle_ = 0;
  int active_ = 0;
  bool ending_ = false;
};

class host_device final : public backend_device {
 public:
  explicit host_device(device& front);

  expected<std::unique_ptr<backend_stream>> make_stream(stream_state&) override;
  expected<void*> allocate(memory_kind, std::size_t bytes) override;
  void free(memory_kind, void* at, std::size_t bytes) noexcept override;
  std::size_t scratch_for(const work::any&) const override;
  expected<void> can_run(const work::any&) override;
  expected<std::shared_ptr<prepared_graph>> prepare(std::vector<recorded> items) override;
  void drain() noexcept override { crew_->drain(); }

  virtual_faults& faults() { return faults_; }

 private:
  device& front_;
  const std::shared_ptr<crew> crew_;
  std::atomic<std::uint64_t>& held_;
  virtual_faults faults_;
};

/// What is enqueued is run by the device's threads as soon as somebody wants to know of it, or by a thread that waits
/// for it, which spares two changes of threads. Positions are those of stream_state.
class host_stream final : public backend_stream {
 public:
  host_stream(stream_state& state, std::shared_ptr<crew> team, virtual_faults& faults)
      : state_(state), crew_(std::move(team)), faults_(faults) {}

  void submit(recorded item, std::uint64_t at) override;
  void submit(std::shared_ptr<prepared_graph> recording, std::uint64_t at) override;
  void wait_for(const std::shared_ptr<stream_state>& other, std::uint64_t at, behind) override;
  void want(std::uint64_t at) override;
  void help(std::uint64_t at, time_point deadline, const abort_word*) override;

  /// On a thread of the crew that was handed this stream.
  void run_handed();

 private:
  struct entry {
    std::uint64_t at = 0;
    recorded item;
    std::shared_ptr<prepared_graph> recording;
    std::shared_ptr<stream_state> other;  // to wait for, until it has reached `at`
    behind needs = behind::result;        // of that
  };
  enum class place : std::uint8_t { idle, handed, running, parked };

  void push(entry);
  /// With the lock: gives the stream to the crew if it should go on and nobody has it.
  void hand_if_wanted(std::unique_lock<std::mutex>&);
  /// Runs what is next, at most to `until`. `stopped`: nothing more can be run here now. `parked`: it waits for another
  /// stream, and is no more this thread's: another one may have it already.
  enum class progress : std::uint8_t { ran, stopped, parked };
  progress step(std::uint64_t until, bool helping);
  /// This thread leaves the stream, which it has.
  void leave(std::unique_lock<std::mutex>&);
  void run(const entry&);
  void run(const recorded&, std::uint64_t at);
  void unpark();

  stream_state& state_;
  const std::shared_ptr<crew> crew_;
  virtual_faults& faults_;
  std::mutex mutex_;
  std::deque<entry> queue_;
  std::uint64_t wanted_ = 0;
  place place_ = place::idle;
  bool counted_ = false;
};

}  // namespace hydrogen::gpu::host
