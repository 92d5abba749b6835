#pragma once
// What a step of Adam computes once, not for each element.

namespace hydrogen::gpu::host {

struct adam_factors {
  float rate;          // rate / (1 - beta1^t)
  float root;          // 1 / sqrt(1 - beta2^t)
  float decay;         // of the gradient
  float keep;          // of the value: 1, or 1 - rate * decay
  float rest1, rest2;  // 1 - beta1, 1 - beta2
};

}  // namespace hydrogen::gpu::host
