#pragma once
// How the tensors of a training step lie in buckets, and which of them are ready: the part of a gradient exchange that
// decides, whatever memory the gradients are in. Used by the rank's thread.

#include <hydrogen/comm/gradient_options.hpp>
#include <hydrogen/comm/group.hpp>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace hydrogen::comm {

class gradient_plan {
 public:
  /// Numbers of the exchange's memory.
  struct place {
    std::size_t begin = 0;
    std::size_t count = 0;
  };

  /// All ranks of the gang make it, with the numbers of elements of the same tensors and the same options. Errors:
  /// bad_input (options); mismatch names the ranks whose plan is another; those of the group.
  static expected<gradient_plan> agree(group&, std::span<const std::size_t> sizes, gradient_options, call_options);

  const gradient_options& options() const { return options_; }
  std::size_t tensors() const { return tensors_.size(); }
  std::size_t buckets() const { return buckets_.size(); }
  place tensor(std::size_t i) const { return tensors_[i].at; }
  std::size_t bucket_of(std::size_t tensor) const { return tensors_[tensor].bucket; }
  /// Begins at a multiple of 128 bytes (of float). Tensors in reverse order, with gaps.
  place bucket(std::size_t b) const { return buckets_[b].at; }
  /// In all buckets together, with gaps.
  std::size_t elements() const;

  /// The gradient is complete for this micro-batch. errc::bad_input: there is no such tensor, or it was ready already.
  expected<void> ready(std::size_t i);
  /// The next bucket of this step to be exchanged, once: all of it, and of those before, is ready in the last
  /// micro-batch.
  std::optional<std::size_t> next_bucket();
  /// After all gradients of a micro-batch; whether it was the step's last one. errc::bad_input names tensors that are
  /// not ready and changes nothing.
  expected<bool> finish();

 private:
  struct tensor_state {
    place at;
    std::size_t bucket = 0;
    bool ready = false;
  };
  struct bucket_state {
    place at;
    std::size_t tensors = 0;
    std::size_t missing = 0;  // of this micro-batch
  };
  /// Nothing hides the exchange of the last bucket. What fits into `last_bytes` is one, so that links take it in one
  /// shot, and it goes one way instead of two.
  gradient_plan(std::span<const std::size_t> sizes, gradient_options, std::size_t last_bytes);
  bool is_last() const { return micro_batch_ + 1 == options_.micro_batches; }

  gradient_options options_;
  std::vector<tensor_state> tensors_;
  std::vector<bucket_state> buckets_;
  std::size_t begun_ = 0;  // buckets of this step
  std::uint32_t micro_batch_ = 0;
};

}  // namespace hydrogen::comm
