// The reduction of all ranks' buffers in the rank tree. The tree of n ranks is that of 16 with the leaves from n on
// left out, so one unrolled loop has all of them.

#include <hydrogen/gpu/cuda/common.cuh>

#include <cuda_runtime.h>

#include <type_traits>

namespace hydrogen::gpu::cuda {
namespace {

template <class T>
using computed = std::conditional_t<sizeof(T) == 2, float, T>;

/// As many elements as are loaded at once.
template <class T>
inline constexpr unsigned lanes = sizeof(T) == 8 ? 2 : 4;

template <class T>
struct alignas(sizeof(T) * lanes<T>) pack {
  T of[lanes<T>];
};

struct operands {
  const void* from[work::reduce_ranks::most];
  void* to[work::reduce_ranks::most];
  unsigned inputs, outputs;
};

/// A NaN wins, else the first of equal ones: of +0 and -0, too.
template <class C>
__device__ C smaller_of(C a, C b) {
  return a != a ? a : b != b || b < a ? b : a;
}

template <class C>
__device__ C larger_of(C a, C b) {
  return a != a ? a : b != b || b > a ? b : a;
}

/// Integers wrap around, which only unsigned ones may.
template <class C>
__device__ C sum_of(C a, C b) {
  if constexpr (std::is_integral_v<C>) {
    using wrapping = std::make_unsigned_t<C>;
    return static_cast<C>(static_cast<wrapping>(a) + static_cast<wrapping>(b));
  } else {
    return a + b;
  }
}

template <class C>
__device__ C product_of(C a, C b) {
  if constexpr (std::is_integral_v<C>) {
    using wrapping = std::make_unsigned_t<C>;
    return static_cast<C>(static_cast<wrapping>(a) * static_cast<wrapping>(b));
  } else {
    return a * b;
  }
}

template <unsigned Most, class C, class Combine>
__device__ C tree(C (&v)[Most], unsigned inputs, Combine combine) {
#pragma unroll
  for (unsigned step = 1; step < Most; step *= 2) {
#pragma unroll
    for (unsigned i = 0; i + step < Most; i += 2 * step) {
      if (i + step < inputs) v[i] = combine(v[i], v[i + step]);
    }
  }
  return v[0];
}

template <unsigned Most, class C>
__device__ C combined(C (&v)[Most], unsigned inputs, work::reduction how) {
  switch (how) {
    case work::reduction::min:
      return tree(v, inputs, [](C a, C b) { return smaller_of(a, b); });
    case work::reduction::max:
      return tree(v, inputs, [](C a, C b) { return larger_of(a, b); });
    case work::reduction::product:
      return tree(v, inputs, [](C a, C b) { return product_of(a, b); });
    case work::reduction::mean:
      return tree(v, inputs, [](C a, C b) { return sum_of(a, b); }) / static_cast<C>(inputs);
    default:
      return tree(v, inputs, [](C a, C b) { return sum_of(a, b); });
  }
}

/// `pack_of` is T where an address is not aligned for more. An element of all inputs is read before it is written.
template <unsigned Most, class T, unsigned Lanes, class Pack>
__device__ void reduce_at(const operands& o, work::reduction how, std::size_t i) {
  Pack in[Most];
#pragma unroll
  for (unsigned r = 0; r < Most; ++r) {
    if (r < o.inputs) in[r] = static_cast<const Pack*>(o.from[r])[i];
  }
  Pack out;
  T* out_of = reinterpret_cast<T*>(&out);
#pragma unroll
  for (unsigned k = 0; k < Lanes; ++k) {
    computed<T> v[Most];
#pragma unroll
    for (unsigned r = 0; r < Most; ++r) {
      if (r < o.inputs) v[r] = static_cast<computed<T>>(reinterpret_cast<const T*>(&in[r])[k]);
    }
    out_of[k] = static_cast<T>(combined(v, o.inputs, how));
  }
#pragma unroll
  for (unsigned r = 0; r < Most; ++r) {
    if (r < o.outputs) static_cast<Pack*>(o.to[r])[i] = out;
  }
}

template <unsigned Most, class T>
__global__ void reduce(const __grid_constant__ operands o, work::reduction how, std::size_t n, bool vectors) {
  std::size_t done = 0;
  if (vectors) {
    const std::size_t packs = n / lanes<T>;
    for (std::size_t i = this_thread(); i < packs; i += all_threads()) {
      reduce_at<Most, T, lanes<T>, pack<T>>(o, how, i);
    }
    done = packs * lanes<T>;
  }
  for (std::size_t i = done + this_thread(); i < n; i += all_threads()) reduce_at<Most, T, 1, T>(o, how, i);
}

template <class T>
void reduce_as(const work::reduce_ranks& w, launch_context& context) {
  operands o{};
  o.inputs = w.inputs;
  o.outputs = w.outputs;
  bool vectors = true;
  for (unsigned i = 0; i < w.inputs; ++i) {
    o.from[i] = w.from[i];
    vectors = vectors && all_aligned({w.from[i]});
  }
  for (unsigned i = 0; i < w.outputs; ++i) {
    o.to[i] = w.to[i];
    vectors = vectors && all_aligned({w.to[i]});
  }
  const unsigned blocks = blocks_for(vectors ? pieces_of(w.n, lanes<T>) : w.n, context);
  if (w.inputs <= 4 && w.outputs <= 4) {
    reduce<4, T><<<blocks, block_threads, 0, context.stream>>>(o, w.how, w.n, vectors);
  } else {
    reduce<16, T><<<blocks, block_threads, 0, context.stream>>>(o, w.how, w.n, vectors);
  }
}

}  // namespace

void launch(const work::reduce_ranks& w, launch_context& context) {
  if (w.n == 0 || w.outputs == 0) return;
  switch (w.type) {
    case element::float32:
      return reduce_as<float>(w, context);
    case element::float64:
      return reduce_as<double>(w, context);
    case element::half:
      return reduce_as<hydrogen::half>(w, context);
    case element::bfloat16:
      return reduce_as<hydrogen::bfloat16>(w, context);
    case element::int32:
      return reduce_as<std::int32_t>(w, context);
    case element::int64:
      return reduce_as<std::int64_t>(w, context);
    default:
      context.check(cudaErrorInvalidValue, "reduce_ranks");
  }
}

}  // namespace hydrogen::gpu::cuda
