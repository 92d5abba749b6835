#include "softmax_regression.hpp"

#include <hydrogen/gpu/kernels.hpp>

namespace examples {

namespace gpu = hydrogen::gpu;

namespace {

gpu::const_matrix weights_of(const parameters& p) {
  return {p.weights, pixel_count, class_count};
}

}  // namespace

std::uint32_t predict(const parameters& model, const std::array<float, pixel_count>& pixels) {
  auto logits = model.bias;
  gpu::matrix_product(1, {pixels, 1, pixel_count}, gpu::read_as::stored, weights_of(model), gpu::read_as::stored, 1,
                      {logits, 1, class_count});
  std::uint32_t best = 0;
  gpu::argmax({logits, 1, class_count}, {&best, 1});
  return best;
}

void training_part::add(const digit& d) {
  pixels_.insert(pixels_.end(), d.pixels.begin(), d.pixels.end());
  labels_.push_back(d.label);
}

double training_part::gradient(const parameters& model, parameters& out) {
  const auto rows = size();
  logits_.resize(rows * class_count);
  const gpu::const_matrix pixels(pixels_, rows, pixel_count);
  const gpu::matrix logits(logits_, rows, class_count);
  gpu::matrix_product(1, pixels, gpu::read_as::stored, weights_of(model), gpu::read_as::stored, 0, logits);
  gpu::add_bias(logits, model.bias);
  const double loss = gpu::softmax_cross_entropy(logits, labels_, logits);
  gpu::matrix_product(1, pixels, gpu::read_as::transposed, logits, gpu::read_as::stored, 0,
                      {out.weights, pixel_count, class_count});
  gpu::sum_rows(logits, out.bias);
  return loss;
}

void step(training_state& state, const parameters& sum, std::int64_t rows, const descent_options& options) {
  const auto scale = 1.0F / static_cast<float>(rows);
  auto& [model, velocity] = state;
  for (std::size_t i = 0; i < model.weights.size(); ++i) {
    velocity.weights[i] =
        options.momentum * velocity.weights[i] + scale * sum.weights[i] + options.decay * model.weights[i];
  }
  for (std::size_t i = 0; i < model.bias.size(); ++i) {
    velocity.bias[i] = options.momentum * velocity.bias[i] + scale * sum.bias[i];
  }
  gpu::axpy(-options.rate, velocity.weights, model.weights);
  gpu::axpy(-options.rate, velocity.bias, model.bias);
}

}  // namespace examples
