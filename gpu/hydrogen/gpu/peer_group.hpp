#pragma once
// GPUs of one host that exchange numbers directly, by NCCL, which is loaded when it is first needed: each member of a
// group is a rank with a device of its own, in this process or another one.
//
// A thread of the group is the only one that calls NCCL for its member, so that nobody else ever waits there. No member
// is told when another one is gone: whoever waits is ended by `abort`, by the abort word that it joined with, or with
// its stream, which fails when its device is lost.

#include <hydrogen/gpu/kernels/operand.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace hydrogen::gpu {

class peer_member;

/// What one member makes and all others are told: how they find each other. Holds addresses, and is no secret.
struct peer_id {
  std::array<std::byte, 128> bytes{};
  bool operator==(const peer_id&) const = default;
};

class peer_group {
 public:
  /// Whether NCCL is here. Errors: refused (what was looked for or is too old, and what to do).
  static expected<void> available();
  /// The id of a new group. This process must live until all have joined it. Errors: those of `available`, io (what
  /// NCCL says).
  static expected<peer_id> make_id();

  /// The member `rank` of `size`: all of them call it, each with a stream on a device of its own, on slot threads.
  /// Waits for the others until the deadline or the abort; then what it had begun is ended behind it. The abort ends
  /// the group later, too, so it outlives it. Errors: those of `available`; refused (a virtual device), bad_input (no
  /// such rank), timed_out, what the abort or the stream says, io (what NCCL says).
  static expected<std::unique_ptr<peer_group>> join(stream&, const peer_id&, std::uint32_t rank, std::uint32_t size,
                                                    time_point deadline, const abort_word* abort = nullptr);
  /// What was enqueued is still done. Waits for nothing.
  ~peer_group();
  peer_group(const peer_group&) = delete;

  std::uint32_t rank() const { return rank_; }
  std::uint32_t size() const { return size_; }

  /// x[i] of every member = x[i] of all members, combined; in the order of the stream, which is the one that it joined
  /// with. All members enqueue the same in the same order. Throws `failure` (bad_input) for another stream or one that
  /// records, memory that is not its device's, numbers that are none of float, double, half, bfloat16, int32 and int64,
  /// and a mean of integers. The thread that enqueues to the stream.
  template <number T>
  void all_reduce(stream& s, work::reduction how, const buffer<T>& x) {
    enqueue(s, how, {"x", x});
  }

  /// Ends what waits for members that do not come, and fails the stream if it waits. Later exchanges fail. Any thread;
  /// does not wait.
  void abort();

 private:
  peer_group(std::uint32_t rank, std::uint32_t size) : rank_(rank), size_(size) {}
  void enqueue(stream&, work::reduction, const kernels::operand& x);

  const std::uint32_t rank_, size_;
  std::shared_ptr<stream_state> joined_with_;
  std::shared_ptr<peer_member> member_;
  std::unique_ptr<abort_word::registration> on_abort_;
};

}  // namespace hydrogen::gpu
