#include <hydrogen/gpu/kernels/optimisers.hpp>

#include <spdlog/fmt/fmt.h>

#include <vector>

namespace hydrogen::gpu::kernels {

void sgd_step(stream& s, std::span<const sgd_tensor> tensors, const sgd_options& o) {
  const checker check("sgd_step", s);
  auto parts = std::make_shared<std::vector<work::sgd_step::part>>();
  std::vector<memory*> reads, writes;
  for (const auto& t : tensors) {
    const operand value{"value", t.value}, gradient{"gradient", t.gradient}, velocity{"velocity", t.velocity};
    check.same_size(value, gradient).same_size(value, velocity).here({value, gradient, velocity});
    check.apart(value, {gradient, velocity}).apart(velocity, {gradient});
    parts->push_back({t.value.data(), t.gradient.data(), t.velocity.data(), t.value.size()});
    reads.push_back(gradient.owner);
    writes.insert(writes.end(), {value.owner, velocity.owner});
  }
  s.enqueue(work::sgd_step{std::move(parts), o.rate, o.momentum, o.decay, o.gradient_scale},
            std::span<memory* const>(reads), std::span<memory* const>(writes));
}

void adam_step(stream& s, std::span<const adam_tensor> tensors, const adam_options& o,
               const buffer<std::uint64_t>& step) {
  const checker check("adam_step", s);
  if (!(o.beta1 >= 0 && o.beta1 < 1 && o.beta2 >= 0 && o.beta2 < 1)) {
    check.refuse(fmt::format("betas of {} and {}", o.beta1, o.beta2));
  }
  const operand count{"step", step};
  check.size(count, 1).here({count});
  auto parts = std::make_shared<std::vector<work::adam_step::part>>();
  std::vector<memory*> reads, writes{count.owner};
  for (const auto& t : tensors) {
    const operand value{"value", t.value}, gradient{"gradient", t.gradient}, m{"m", t.m}, v{"v", t.v};
    check.same_size(value, gradient).same_size(value, m).same_size(value, v).here({value, gradient, m, v});
    check.apart(value, {gradient, m, v, count}).apart(m, {gradient, v, count}).apart(v, {gradient, count});
    parts->push_back({t.value.data(), t.gradient.data(), t.m.data(), t.v.data(), t.value.size()});
    reads.push_back(gradient.owner);
    writes.insert(writes.end(), {value.owner, m.owner, v.owner});
  }
  s.enqueue(work::adam_step{std::move(parts), o.rate, o.beta1, o.beta2, o.epsilon, o.decay, o.gradient_scale,
                            o.decoupled, step.data()},
            std::span<memory* const>(reads), std::span<memory* const>(writes));
}

}  // namespace hydrogen::gpu::kernels
