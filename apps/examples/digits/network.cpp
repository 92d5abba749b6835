#include "network.hpp"

#include <hydrogen/base/random.hpp>
#include <hydrogen/gpu/kernels/elementwise.hpp>
#include <hydrogen/gpu/kernels/layers.hpp>
#include <hydrogen/gpu/kernels/matrix_product.hpp>
#include <hydrogen/gpu/kernels/optimisers.hpp>
#include <hydrogen/gpu/kernels/reductions.hpp>

#include <cmath>
#include <utility>

namespace examples {

namespace gpu = hydrogen::gpu;
namespace kernels = hydrogen::gpu::kernels;

network initial_network(network_shape shape, std::uint64_t seed) {
  network made{shape, std::vector<float>(shape.parameters())};
  hydrogen::random_source random(seed);
  for (std::size_t layer = 0; layer < shape.layers(); ++layer) {
    const auto limit = std::sqrt(6.0 / static_cast<double>(shape.inputs(layer)));
    const auto begin = shape.begin(2 * layer), n = shape.size(2 * layer);
    for (std::size_t i = 0; i < n; ++i) {
      made.parameters[begin + i] = static_cast<float>((random.unit() * 2 - 1) * limit);
    }
  }
  return made;
}

// ---- forward -------------------------------------------------------------------------------------------------------

network_pass::network_pass(gpu::stream& s, network_shape shape, std::size_t rows) : shape_(shape), rows_(rows) {
  for (std::size_t layer = 0; layer < shape.layers(); ++layer) {
    const auto columns = shape.outputs(layer);
    sums_.emplace_back(s.allocate<float>(rows * columns), rows, columns);
    const bool is_last = layer + 1 == shape.layers();
    outputs_.push_back(is_last ? sums_.back() : matrix(s.allocate<float>(rows * columns), rows, columns));
  }
}

gpu::matrix_of<const float> network_pass::weights(const gpu::buffer<const float>& p, std::size_t layer) const {
  return {p.part(shape_.begin(2 * layer), shape_.size(2 * layer)), shape_.inputs(layer), shape_.outputs(layer)};
}

gpu::buffer<const float> network_pass::bias(const gpu::buffer<const float>& p, std::size_t layer) const {
  return p.part(shape_.begin(2 * layer + 1), shape_.size(2 * layer + 1));
}

gpu::matrix_of<float> network_pass::forward(gpu::stream& s, const gpu::buffer<const float>& parameters,
                                            const gpu::buffer<const float>& pixels) {
  gpu::matrix_of<const float> input(pixels, rows_, pixel_count);
  for (std::size_t layer = 0; layer < shape_.layers(); ++layer) {
    kernels::matrix_product(s, 1, input, weights(parameters, layer), 0, sums_[layer]);
    kernels::add_bias(s, sums_[layer], bias(parameters, layer), sums_[layer]);
    if (layer + 1 < shape_.layers()) {
      kernels::activate(s, gpu::work::function::relu, sums_[layer].values, outputs_[layer].values);
    }
    input = outputs_[layer];
  }
  return outputs_.back();
}

// ---- training ------------------------------------------------------------------------------------------------------

std::vector<std::size_t> network_trainer::sizes(network_shape shape) {
  std::vector<std::size_t> all;
  for (std::size_t t = 0; t < shape.tensors(); ++t) all.push_back(shape.size(t));
  all.push_back(1);
  return all;
}

network_trainer::network_trainer(hydrogen::barrier_context& gang, hydrogen::task_device& device, network_state state,
                                 const std::vector<float>& pixels, const std::vector<std::uint32_t>& labels)
    : network_pass(device.stream(), state.model.shape, labels.size()),
      device_(device),
      gradients_(gang.gradients(device, sizes(shape_), {.how = hydrogen::reduction::sum})) {
  auto& s = device.stream();
  const auto n = shape_.parameters();
  pixels_ = s.upload(pixels);
  labels_ = s.upload(labels);
  parameters_ = s.upload(state.model.parameters);
  m_ = s.upload(state.m.empty() ? std::vector<float>(n) : state.m);
  v_ = s.upload(state.v.empty() ? std::vector<float>(n) : state.v);
  steps_ = s.upload(std::vector<std::uint64_t>{state.steps});
  losses_ = s.allocate<float>(rows_);
  for (std::size_t layer = 0; layer + 1 < shape_.layers(); ++layer) {
    errors_.emplace_back(s.allocate<float>(rows_ * shape_.outputs(layer)), rows_, shape_.outputs(layer));
  }
}

void network_trainer::enqueue_gradients() {
  auto& s = device_.stream();
  const auto logits = forward(s, parameters_, pixels_);
  kernels::softmax_cross_entropy(s, logits, labels_, 1, losses_, logits.values);
  kernels::sum(s, losses_, gradients_.gradient(loss_tensor()));
  auto error = logits;
  for (std::size_t layer = shape_.layers(); layer-- > 0;) {
    const auto input = layer == 0 ? gpu::matrix_of<const float>(pixels_, rows_, pixel_count)
                                  : gpu::matrix_of<const float>(outputs_[layer - 1]);
    kernels::matrix_product(s, 1, {input, true}, error, 0,
                            {gradients_.gradient(2 * layer), shape_.inputs(layer), shape_.outputs(layer)});
    kernels::sum_rows(s, error, gradients_.gradient(2 * layer + 1));
    if (layer == 0) break;
    auto& before = errors_[layer - 1];
    kernels::matrix_product(s, 1, error, {weights(parameters_, layer), true}, 0, before);
    kernels::activate_gradient(s, gpu::work::function::relu, sums_[layer - 1].values, before.values, before.values);
    error = before;
  }
}

void network_trainer::enqueue_update(std::int64_t rows, const adam_settings& settings) {
  std::vector<kernels::adam_tensor> all;
  for (std::size_t t = 0; t < shape_.tensors(); ++t) {
    const auto begin = shape_.begin(t), n = shape_.size(t);
    all.push_back({parameters_.part(begin, n), gradients_.gradient(t), m_.part(begin, n), v_.part(begin, n)});
  }
  kernels::adam_step(device_.stream(), all,
                     {.rate = settings.rate,
                      .decay = settings.decay,
                      .gradient_scale = 1.0F / static_cast<float>(rows),
                      .decoupled = true},
                     steps_);
}

void network_trainer::step(std::int64_t rows, const adam_settings& settings) {
  auto& s = device_.stream();
  backward_.run(s, 0, [this] { enqueue_gradients(); });
  for (auto t = gradients_.tensors(); t-- > 0;) gradients_.ready(t);
  gradients_.finish();
  update_.run(s, static_cast<std::uint64_t>(rows), [&] { enqueue_update(rows, settings); });
  // One step is enqueued while the one before it runs, and no more: queues have no other bound.
  device_.wait(std::exchange(last_step_, s.here()));
}

float network_trainer::loss() {
  return device_.download(gradients_.gradient(loss_tensor()))[0];
}

network_state network_trainer::state() {
  return {
      {shape_, device_.download(parameters_)}, device_.download(m_), device_.download(v_), device_.download(steps_)[0]};
}

std::vector<std::uint32_t> classify(hydrogen::task_device& device, const network& model,
                                    const std::vector<float>& pixels) {
  auto& s = device.stream();
  const auto rows = pixels.size() / pixel_count;
  network_pass pass(s, model.shape, rows);
  const auto on_device = s.upload(pixels);
  const auto logits = pass.forward(s, s.upload(model.parameters), on_device);
  const auto classes = s.allocate<std::uint32_t>(rows);
  kernels::argmax(s, logits, classes);
  return device.download(classes);
}

}  // namespace examples
