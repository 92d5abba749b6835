#include <hydrogen/gpu/kernels/optimisers.hpp>

#include "kernel_testing.hpp"

namespace kernel_tests {
namespace {

constexpr std::size_t tensor_sizes[] = {1, 0, 9, 1027};

}  // namespace

TEST_CASE("a step of gradient descent with momentum, to the bit") {
  on_every_device([](rig& r) {
    const kernels::sgd_options o{0.1F, 0.9F, 0.01F, 0.5F};
    std::vector<kernels::sgd_tensor> tensors;
    std::vector<std::vector<float>> values, velocities;
    for (const auto n : tensor_sizes) {
      auto value = r.odd_numbers(n), velocity = r.odd_numbers(n);
      const auto gradient = r.odd_numbers(n);
      tensors.push_back({r.put(value), r.put(gradient), r.put(velocity)});
      for (std::size_t i = 0; i < n; ++i) {
        const float scaled = o.gradient_scale * gradient[i], decayed = o.decay * value[i];
        const float g = scaled + decayed, kept = o.momentum * velocity[i];
        velocity[i] = kept + g;
        const float step = o.rate * velocity[i];
        value[i] -= step;
      }
      values.push_back(value);
      velocities.push_back(velocity);
    }
    kernels::sgd_step(r.s, tensors, o);
    for (std::size_t t = 0; t < tensors.size(); ++t) {
      check_same(r.get(tensors[t].value), values[t]);
      check_same(r.get(tensors[t].velocity), velocities[t]);
    }
  });
}

TEST_CASE("steps of Adam and AdamW equal the double-precision ones and count themselves") {
  on_every_device([](rig& r) {
    for (const bool decoupled : {false, true}) {
      for (const std::uint64_t made : {0ULL, 1ULL, 10'000ULL}) {
        const kernels::adam_options o{0.01F, 0.9F, 0.999F, 1e-8F, 0.01F, 0.5F, decoupled};
        const double beta1 = o.beta1, beta2 = o.beta2, t = static_cast<double>(made) + 1;
        std::vector<kernels::adam_tensor> tensors;
        struct wanted {
          std::vector<double> value, value_off, m, m_off, v, v_off;
        };
        std::vector<wanted> want;
        for (const auto n : tensor_sizes) {
          const auto value = r.numbers(n), gradient = r.numbers(n);
          auto m = r.numbers(n, 0.1), v = r.numbers(n, 0.01);
          for (auto& x : m) x = made == 0 ? 0 : x;
          for (auto& x : v) x = made == 0 ? 0 : std::abs(x) + 1e-4F;
          tensors.push_back({r.put(value), r.put(gradient), r.put(m), r.put(v)});
          auto& w = want.emplace_back();
          for (std::size_t i = 0; i < n; ++i) {
            const double decay = o.decay * static_cast<double>(value[i]);
            const double g = static_cast<double>(o.gradient_scale) * gradient[i] + (decoupled ? 0 : decay);
            const double new_m = beta1 * m[i] + (1 - beta1) * g, new_v = beta2 * v[i] + (1 - beta2) * g * g;
            const double step =
                o.rate * (new_m / (1 - std::pow(beta1, t)) / (std::sqrt(new_v / (1 - std::pow(beta2, t))) + o.epsilon) +
                          (decoupled ? decay : 0));
            w.m.push_back(new_m);
            w.m_off.push_back(8 * rounding * (std::abs(beta1 * m[i]) + std::abs(g) + std::abs(decay)));
            w.v.push_back(new_v);
            w.v_off.push_back(8 * rounding * (new_v + std::abs(decay)));
            w.value.push_back(value[i] - step);
            // A gradient that its decay all but cancels has few digits left, at the first step.
            w.value_off.push_back(8 * rounding * (std::abs(value[i]) + std::abs(step) + o.rate));
          }
        }
        const auto step = r.put(std::vector<std::uint64_t>{made});
        kernels::adam_step(r.s, tensors, o, step);
        for (std::size_t k = 0; k < tensors.size(); ++k) {
          const auto& w = want[k];
          check_close(
              r.get(tensors[k].m), [&](std::size_t i) { return w.m[i]; }, [&](std::size_t i) { return w.m_off[i]; });
          check_close(
              r.get(tensors[k].v), [&](std::size_t i) { return w.v[i]; }, [&](std::size_t i) { return w.v_off[i]; });
          check_close(
              r.get(tensors[k].value), [&](std::size_t i) { return w.value[i]; },
              [&](std::size_t i) { return w.value_off[i]; });
        }
        CHECK(r.get(step).front() == made + 1);
      }
    }
  });
}

}  // namespace kernel_tests
