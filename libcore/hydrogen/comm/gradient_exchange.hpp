#pragma once
// The gradients of a training step, added up over all ranks while the rest of them is still being computed.
//
// Tensors are declared once, in the order of the layers. They lie in buckets, in reverse order, since backward
// propagation ends with the first layer; a bucket is one all_reduce, begun by a thread of the rank as soon as the last
// gradient of it, and of all buckets before it, is ready. Buckets are in memory of the gang (group::buffer), so nothing
// is copied to be sent. The plan is compared by its hash when the exchange is made, and never again.
//
//     gradient_exchange exchange = value_or_throw(gradient_exchange::make(group, sizes, {.clip_norm = 1.0f}));
//     each step:  for the layers, last to first:  write exchange.gradient(i);  exchange.ready(i);
//                 exchange.finish();  use exchange.gradient(i)
//
// Sums have the same bits for every placement and every size of buckets. Used by the rank's thread; while an exchange
// is under way the group can be used for other calls, which wait for the buckets that have been begun.

#include <hydrogen/comm/gradient_options.hpp>
#include <hydrogen/comm/group.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace hydrogen::comm {

class gradient_exchange {
 public:
  /// All ranks of the gang make it, with the numbers of elements of the same tensors and the same options; a group of
  /// some ranks cannot (bad_input). errc::mismatch names the ranks whose plan is another; over_limit: no memory.
  static expected<gradient_exchange> make(group&, std::span<const std::size_t> sizes, gradient_options = {},
                                          call_options = std::source_location::current());
  gradient_exchange(gradient_exchange&&) = default;

  std::size_t tensors() const { return places_.size(); }
  std::size_t buckets() const { return buckets_.size(); }

  /// Where gradient i is written, and added to in further micro-batches, before `ready(i)`; after `finish` the result.
  /// In between it is not to be touched.
  std::span<float> gradient(std::size_t i) { return memory_.span().subspan(places_[i].begin, places_[i].count); }

  /// The gradient is complete for this micro-batch. errc::bad_input: there is no such tensor, or it was ready already.
  expected<void> ready(std::size_t i);

  /// After all gradients of a micro-batch. Of the last one: waits for all buckets, clips, and returns the norm of all
  /// gradients before clipping (without clipping, and of other micro-batches, 0). errc::bad_input names tensors that
  /// are not ready and changes nothing; other errors are those of the group.
  expected<double> finish();

 private:
  struct place {
    std::size_t begin = 0;  // in memory_
    std::size_t count = 0;
    std::size_t bucket = 0;
    bool ready = false;
  };
  struct bucket {
    std::size_t begin = 0;
    std::size_t count = 0;
    std::size_t tensors = 0;
    std::size_t missing = 0;  // of this micro-batch
    pending call;
  };
  gradient_exchange(group& g, gradient_options options, call_options site)
      : group_(&g), options_(options), site_(site) {}

  bool is_last() const { return micro_batch_ + 1 == options_.micro_batches; }
  void plan(std::span<const std::size_t> sizes);
  void begin_buckets();
  expected<double> norm_and_clip();

  group* group_;
  gradient_options options_;
  call_options site_;
  std::vector<place> places_;
  gang_buffer<float> memory_;
  gang_buffer<bfloat16> wire_;
  std::vector<bucket> buckets_;  // after the memory: their calls, which use it, end first
  std::size_t begun_ = 0;        // buckets of this step
  std::uint32_t micro_batch_ = 0;
};

}  // namespace hydrogen::comm
