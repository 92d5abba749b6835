// Steps of optimizers over all tensors of a model, many tensors in one launch. Every operation is rounded by itself
// (no contraction), in the order in which work.hpp writes it down.

#include <hydrogen/gpu/cuda/parts.cuh>

#include <cuda_runtime.h>

namespace hydrogen::gpu::cuda {
namespace {

constexpr unsigned piece = 4096;

struct sgd_factors {
  float rate, momentum, decay, gradient_scale;
  __device__ void step(float& value, float gradient, float& velocity) const {
    const float g = gradient_scale * gradient + decay * value;
    velocity = momentum * velocity + g;
    value = value - rate * velocity;
  }
};

/// Where a block's piece of its part begins, and how much it is.
struct extent {
  std::size_t first;
  unsigned n;
};
template <class Part>
__device__ extent extent_of(const part_table<Part>& table, unsigned part) {
  const std::size_t first = std::size_t{blockIdx.x - table.first[part]} * piece;
  const std::size_t left = table.parts[part].n - first;
  return {first, static_cast<unsigned>(left < piece ? left : piece)};
}

__device__ bool aligned_for_fours(const void* p) {
  return reinterpret_cast<std::uintptr_t>(p) % 16 == 0;
}

using sgd_table = part_table<work::sgd_step::part>;

__global__ void sgd(const __grid_constant__ sgd_table table, sgd_factors f) {
  const unsigned part = table.part_of(blockIdx.x);
  const extent e = extent_of(table, part);
  float* value = table.parts[part].value + e.first;
  const float* gradient = table.parts[part].gradient + e.first;
  float* velocity = table.parts[part].velocity + e.first;
  unsigned done = 0;
  if (aligned_for_fours(value) && aligned_for_fours(gradient) && aligned_for_fours(velocity)) {
    for (unsigned i = threadIdx.x; i < e.n / 4; i += block_threads) {
      float4 v = reinterpret_cast<float4*>(value)[i], s = reinterpret_cast<float4*>(velocity)[i];
      const float4 g = reinterpret_cast<const float4*>(gradient)[i];
      f.step(v.x, g.x, s.x);
      f.step(v.y, g.y, s.y);
      f.step(v.z, g.z, s.z);
      f.step(v.w, g.w, s.w);
      reinterpret_cast<float4*>(velocity)[i] = s;
      reinterpret_cast<float4*>(value)[i] = v;
    }
    done = e.n / 4 * 4;
  }
  for (unsigned i = done + threadIdx.x; i < e.n; i += block_threads) f.step(value[i], gradient[i], velocity[i]);
}

/// What depends on the number of the step, once for all elements.
struct corrections {
  float first;   // 1 - beta1^t
  float second;  // 1 - beta2^t
};

__global__ void adam_begin(std::uint64_t* step, float beta1, float beta2, corrections* out) {
  const std::uint64_t t = *step + 1;
  *step = t;
  out->first = static_cast<float>(1 - pow(static_cast<double>(beta1), static_cast<double>(t)));
  out->second = static_cast<float>(1 - pow(static_cast<double>(beta2), static_cast<double>(t)));
}

struct adam_factors {
  float rate, beta1, beta2, epsilon, decay, gradient_scale;
  bool decoupled;
  __device__ void step(const corrections& c, float& value, float gradient, float& m, float& v) const {
    float g = gradient_scale * gradient;
    if (!decoupled) g = g + decay * value;
    m = beta1 * m + (1 - beta1) * g;
    v = beta2 * v + (1 - beta2) * g * g;
    float change = m / c.first / (sqrtf(v / c.second) + epsilon);
    if (decoupled) change = change + decay * value;
    value = value - rate * change;
  }
};

using adam_table = part_table<work::adam_step::part>;

__global__ void adam(const __grid_constant__ adam_table table, adam_factors f, const corrections* of_step) {
  const corrections c = *of_step;
  const unsigned part = table.part_of(blockIdx.x);
  const extent e = extent_of(table, part);
  float* value = table.parts[part].value + e.first;
  const float* gradient = table.parts[part].gradient + e.first;
  float* m = table.parts[part].m + e.first;
  float* v = table.parts[part].v + e.first;
  unsigned done = 0;
  if (aligned_for_fours(value) && aligned_for_fours(gradient) && aligned_for_fours(m) && aligned_for_fours(v)) {
    for (unsigned i = threadIdx.x; i < e.n / 4; i += block_threads) {
      float4 x = reinterpret_cast<float4*>(value)[i];
      float4 a = reinterpret_cast<float4*>(m)[i], b = reinterpret_cast<float4*>(v)[i];
      const float4 g = reinterpret_cast<const float4*>(gradient)[i];
      f.step(c, x.x, g.x, a.x, b.x);
      f.step(c, x.y, g.y, a.y, b.y);
      f.step(c, x.z, g.z, a.z, b.z);
      f.step(c, x.w, g.w, a.w, b.w);
      reinterpret_cast<float4*>(m)[i] = a;
      reinterpret_cast<float4*>(v)[i] = b;
      reinterpret_cast<float4*>(value)[i] = x;
    }
    done = e.n / 4 * 4;
  }
  for (unsigned i = done + threadIdx.x; i < e.n; i += block_threads) f.step(c, value[i], gradient[i], m[i], v[i]);
}

}  // namespace

void launch(const work::sgd_step& w, launch_context& context) {
  const sgd_factors f{w.rate, w.momentum, w.decay, w.gradient_scale};
  for_tables(*w.parts, piece, [&](const sgd_table& table, std::size_t) {
    if (table.blocks() != 0) sgd<<<table.blocks(), block_threads, 0, context.stream>>>(table, f);
  });
}

std::size_t scratch_for(const work::adam_step&) {
  return sizeof(corrections);
}

void launch(const work::adam_step& w, launch_context& context) {
  auto* of_step = static_cast<corrections*>(context.scratch);
  adam_begin<<<1, 1, 0, context.stream>>>(w.step, w.beta1, w.beta2, of_step);
  const adam_factors f{w.rate, w.beta1, w.beta2, w.epsilon, w.decay, w.gradient_scale, w.decoupled};
  for_tables(*w.parts, piece, [&](const adam_table& table, std::size_t) {
    if (table.blocks() != 0) adam<<<table.blocks(), block_threads, 0, context.stream>>>(table, f, of_step);
  });
}

}  // namespace hydrogen::gpu::cuda
