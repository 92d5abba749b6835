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

#include <hydrogen/comm/gradient_plan.hpp>

#include <cstdint>
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

  std::size_t tensors() const { return plan_.tensors(); }
  std::size_t buckets() const { return plan_.buckets(); }

  /// Where gradient i is written, and added to in further micro-batches, before `ready(i)`; after `finish` the result.
  /// In between it is not to be touched.
  std::span<float> gradient(std::size_t i) { return part(plan_.tensor(i), memory_); }

  /// The gradient is complete for this micro-batch. errc::bad_input: there is no such tensor, or it was ready already.
  expected<void> ready(std::size_t i);

  /// After all gradients of a micro-batch. Of the last one: waits for all buckets, clips, and returns the norm of all
  /// gradients before clipping (without clipping, and of other micro-batches, 0). errc::bad_input names tensors that
  /// are not ready and changes nothing; other errors are those of the group.
  expected<double> finish();

 private:
  gradient_exchange(group& g, gradient_plan plan, call_options site)
      : group_(&g), plan_(std::move(plan)), site_(site), calls_(plan_.buckets()) {}
  template <class T>
  static std::span<T> part(gradient_plan::place at, const gang_buffer<T>& of) {
    return of.span().subspan(at.begin, at.count);
  }
  void begin(std::size_t bucket);
  double norm_and_clip();

  group* group_;
  gradient_plan plan_;
  call_options site_;
  gang_buffer<float> memory_;
  gang_buffer<bfloat16> wire_;
  std::vector<pending> calls_;  // of buckets; after the memory: they use it, and end first
};

}  // namespace hydrogen::comm
