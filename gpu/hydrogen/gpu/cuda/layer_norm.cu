// Layer norm and its gradients, and the sums over rows that they share with biases. A team of threads for each row; a
// row is read again from the cache. Sums are in double, of which these cards have enough.

#include <hydrogen/gpu/cuda/column_sums.cuh>

#include <cuda_runtime.h>

namespace hydrogen::gpu::cuda {
namespace {

template <unsigned Lanes>
__global__ void __launch_bounds__(row_team<Lanes>::threads) normalize(work::layer_norm w) {
  using team = row_team<Lanes>;
  const std::size_t step = std::size_t{gridDim.x} * team::in_block;
  for (std::size_t first = std::size_t{blockIdx.x} * team::in_block; first < w.rows; first += step) {
    const std::size_t row = first + team::index();
    const std::size_t columns = row < w.rows ? w.columns : 0;
    const float* x = w.x + row * w.columns;
    float* to = w.to + row * w.columns;
    double sum = 0;
#pragma unroll 4
    for (std::size_t c = team::lane(); c < columns; c += Lanes) sum += x[c];
    const double mean = team::sum(sum) / static_cast<double>(w.columns);
    double squares = 0;
#pragma unroll 4
    for (std::size_t c = team::lane(); c < columns; c += Lanes) {
      const double from_mean = x[c] - mean;
      squares += from_mean * from_mean;
    }
    const double variance = team::sum(squares) / static_cast<double>(w.columns);
    const double inverse = 1 / sqrt(variance + w.epsilon);
#pragma unroll 4
    for (std::size_t c = team::lane(); c < columns; c += Lanes) {
      to[c] = static_cast<float>((x[c] - mean) * inverse) * w.weight[c] + w.bias[c];
    }
    if (row < w.rows && team::lane() == 0) {
      w.mean[row] = static_cast<float>(mean);
      w.inverse[row] = static_cast<float>(inverse);
    }
  }
}

template <unsigned Lanes>
__global__ void __launch_bounds__(row_team<Lanes>::threads) normalize_back(work::layer_norm_gradient w) {
  using team = row_team<Lanes>;
  const std::size_t step = std::size_t{gridDim.x} * team::in_block;
  for (std::size_t first = std::size_t{blockIdx.x} * team::in_block; first < w.rows; first += step) {
    const std::size_t row = first + team::index();
    const bool alive = row < w.rows;
    const std::size_t columns = alive ? w.columns : 0;
    const float* x = w.x + row * w.columns;
    const float* gradient = w.gradient + row * w.columns;
    float* to = w.x_gradient + row * w.columns;
    const double mean = alive ? w.mean[row] : 0.0F;
    const double inverse = alive ? w.inverse[row] : 0.0F;
    double plain = 0, along = 0;
#pragma unroll 4
    for (std::size_t c = team::lane(); c < columns; c += Lanes) {
      const double weighted = static_cast<double>(gradient[c]) * w.weight[c];
      plain += weighted;
      along += weighted * ((x[c] - mean) * inverse);
    }
    plain = team::sum(plain) / static_cast<double>(w.columns);
    along = team::sum(along) / static_cast<double>(w.columns);
#pragma unroll 4
    for (std::size_t c = team::lane(); c < columns; c += Lanes) {
      const double weighted = static_cast<double>(gradient[c]) * w.weight[c];
      to[c] = static_cast<float>(inverse * (weighted - plain - (x[c] - mean) * inverse * along));
    }
  }
}

struct plain_elements {
  const float* x;
  std::size_t columns;
  __device__ void add(std::size_t r, std::size_t c, float (&sums)[1]) const { sums[0] = sums[0] + x[r * columns + c]; }
};

struct weight_and_bias {
  const float* x;
  const float* gradient;
  const float* mean;
  const float* inverse;
  std::size_t columns;
  __device__ void add(std::size_t r, std::size_t c, float (&sums)[2]) const {
    const float g = gradient[r * columns + c];
    sums[0] = sums[0] + g * ((x[r * columns + c] - mean[r]) * inverse[r]);
    sums[1] = sums[1] + g;
  }
};

}  // namespace

void launch(const work::layer_norm& w, launch_context& context) {
  if (w.rows == 0 || w.columns == 0) return;
  with_team(w.columns, [&]<unsigned Lanes>() {
    using team = row_team<Lanes>;
    normalize<Lanes><<<blocks_for(w.rows, context, team::in_block), team::threads, 0, context.stream>>>(w);
  });
}

std::size_t scratch_for(const work::layer_norm_gradient& w) {
  return column_sum_scratch<2>(w.rows, w.columns);
}

void launch(const work::layer_norm_gradient& w, launch_context& context) {
  // The sums first: x_gradient may be the gradient.
  sum_columns<2>(context, weight_and_bias{w.x, w.gradient, w.mean, w.inverse, w.columns}, w.rows, w.columns,
                 {{w.weight_gradient, w.bias_gradient}});
  if (w.rows == 0 || w.columns == 0) return;
  with_team(w.columns, [&]<unsigned Lanes>() {
    using team = row_team<Lanes>;
    normalize_back<Lanes><<<blocks_for(w.rows, context, team::in_block), team::threads, 0, context.stream>>>(w);
  });
}

std::size_t scratch_for(const work::sum_rows& w) {
  return column_sum_scratch<1>(w.rows, w.columns);
}

void launch(const work::sum_rows& w, launch_context& context) {
  sum_columns<1>(context, plain_elements{w.x, w.columns}, w.rows, w.columns, {{w.sums}});
}

}  // namespace hydrogen::gpu::cuda
