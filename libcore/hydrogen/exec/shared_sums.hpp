#pragma once
// Where ranks that share a device add up their gradients: when the last of them has come with a bucket, one kernel
// reads those of all and writes the sum where it is wanted. Nothing is copied, and nobody waits for the device; the
// order of work on the device is that of the memory (gpu/stream.hpp). Any thread.

#include <hydrogen/base/abort.hpp>
#include <hydrogen/gpu/stream.hpp>
#include <hydrogen/gpu/work.hpp>

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace hydrogen::exec {

class shared_sums {
 public:
  /// One kernel takes so many.
  static constexpr std::size_t most_members = gpu::work::reduce_ranks::most;

  /// A bucket of a member: its numbers, or what it sends instead of them.
  struct part {
    gpu::buffer<float> numbers;
    gpu::buffer<bfloat16> narrow;  // not empty: these are added up
  };
  struct plan {
    std::uint32_t members = 0;  // in the order of ranks
    gpu::work::reduction how = gpu::work::reduction::sum;
    /// Where the sum of a bucket goes beside the first member's gradients, in pinned memory. None: to all members.
    std::vector<gpu::buffer<float>> staged;
  };

  /// Made by the first member; the others find it by its key, in this process, as long as somebody holds it. Errors:
  /// what the device says; `find`: disconnected.
  static expected<std::shared_ptr<shared_sums>> open(gpu::device&, const std::string& label, std::uint32_t members,
                                                     std::uint64_t& key);
  static expected<std::shared_ptr<shared_sums>> find(std::uint64_t key);

  /// Before anybody comes: what the first member decides, and the buckets of each.
  void decide(plan);
  void join(std::uint32_t member, std::vector<part> buckets);
  /// When all have joined: the buckets of all but the first.
  std::vector<std::vector<part>> of_others();

  /// What the member has enqueued to its stream so far gives its part of the bucket. Once per step; the caller sees to
  /// it that all members are done with a step before one begins with the next.
  void come(std::size_t bucket);
  /// For the first member, once per step: waits until all have come with the bucket. What it returns is reached when
  /// the sum is staged. Errors: timed_out, what the abort word says.
  expected<gpu::event> staged(std::size_t bucket, time_point deadline, const abort_word&);
  /// The first member goes, and with it the memory where sums are staged: nothing is added up any more. Returns when
  /// the device is done with it. Errors: timed_out.
  expected<void> close(time_point deadline);

 private:
  shared_sums(gpu::stream stream, std::uint32_t members) : stream_(std::move(stream)), buckets_(members) {}
  template <class T>
  void add_up(std::size_t bucket, gpu::buffer<T> part::*which);

  std::mutex mutex_;
  std::condition_variable changed_;
  gpu::stream stream_;
  plan plan_;
  std::vector<std::vector<part>> buckets_;  // of each member
  struct arrivals {
    std::uint32_t come = 0;
    bool staged = false;
    gpu::event event;
  };
  std::vector<arrivals> arrivals_;  // of each bucket
  bool closed_ = false;
};

}  // namespace hydrogen::exec
