#pragma once
// Steps of optimisers over all tensors of a model (work.hpp says what they compute; operand.hpp what is refused).
// Tensors must not overlap; between different ones that is not checked.

#include <hydrogen/gpu/kernels/operand.hpp>

#include <span>

namespace hydrogen::gpu::kernels {

/// All of one size.
struct sgd_tensor {
  buffer<float> value;
  buffer<const float> gradient;
  buffer<float> velocity;  // 0 before the first step
};
struct sgd_options {
  float rate = 0.01F;
  float momentum = 0;
  float decay = 0;           // of the weights, added to the gradient
  float gradient_scale = 1;  // of every gradient, before all else
};
void sgd_step(stream&, std::span<const sgd_tensor>, const sgd_options&);

/// All of one size.
struct adam_tensor {
  buffer<float> value;
  buffer<const float> gradient;
  buffer<float> m, v;  // 0 before the first step
};
struct adam_options {
  float rate = 0.001F;
  float beta1 = 0.9F, beta2 = 0.999F;  // of the means of gradients and of their squares: 0 <= beta < 1
  float epsilon = 1e-8F;
  float decay = 0;           // of the weights: added to the gradient, or to the step if decoupled
  float gradient_scale = 1;  // of every gradient, before all else
  bool decoupled = false;    // AdamW
};
/// `step` has one element: the steps made before.
void adam_step(stream&, std::span<const adam_tensor>, const adam_options&, const buffer<std::uint64_t>& step);

}  // namespace hydrogen::gpu::kernels
