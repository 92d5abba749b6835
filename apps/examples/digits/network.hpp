#pragma once
// A network for 8x8 images of digits, trained on a device with Adam over full batches: hidden layers with ReLU, softmax
// cross-entropy; without hidden layers it is softmax regression. Plain values; one thread per object. The same rows in
// the same order give the same bits on devices of one kind.

#include <hydrogen/gpu/repeated_step.hpp>
#include <hydrogen/hydrogen.hpp>

#include <array>
#include <cstdint>
#include <vector>

namespace examples {

inline constexpr std::size_t pixel_count = 64;
inline constexpr std::size_t class_count = 10;

/// One line of the data file: 64 pixels, row by row, and which digit they show. Pixels are 0 to 16 in the file, 0 to 1
/// after scaling.
struct digit {
  std::array<float, pixel_count> pixels;
  std::uint8_t label;
};

/// Where the tensors of a network lie among its parameters: weights and bias of each layer, in order.
struct network_shape {
  std::uint32_t hidden = 2;   // layers
  std::uint32_t width = 256;  // of each of them

  std::size_t layers() const { return hidden + 1; }
  std::size_t tensors() const { return 2 * layers(); }
  std::size_t inputs(std::size_t layer) const { return layer == 0 ? pixel_count : width; }
  std::size_t outputs(std::size_t layer) const { return layer + 1 == layers() ? class_count : width; }
  /// Of tensor 2 * layer the weights (inputs x outputs), of 2 * layer + 1 the bias.
  std::size_t size(std::size_t tensor) const {
    const auto layer = tensor / 2;
    return tensor % 2 == 0 ? inputs(layer) * outputs(layer) : outputs(layer);
  }
  std::size_t begin(std::size_t tensor) const {
    std::size_t sum = 0;
    for (std::size_t t = 0; t < tensor; ++t) sum += size(t);
    return sum;
  }
  std::size_t parameters() const { return begin(tensors()); }
  bool operator==(const network_shape&) const = default;
};

/// A row of a dataset.
struct network {
  network_shape shape;
  std::vector<float> parameters;
  template <class I>
  friend auto inspect(I& f, network& x) {
    return f(x.shape.hidden, x.shape.width, x.parameters);
  }
};

/// Weights drawn evenly so that signals keep their size (He et al., "Delving deep into rectifiers", 2015); biases 0.
network initial_network(network_shape, std::uint64_t seed);

/// What a checkpoint must hold for the same bits to follow.
struct network_state {
  network model;
  std::vector<float> m, v;  // of Adam
  std::uint64_t steps = 0;
  template <class I>
  friend auto inspect(I& f, network_state& x) {
    return f(x.model, x.m, x.v, x.steps);
  }
};

struct adam_settings {
  float rate = 0.002F;
  float decay = 0.01F;  // of the weights, decoupled
  template <class I>
  friend auto inspect(I& f, adam_settings& x) {
    return f(x.rate, x.decay);
  }
};

/// The forward pass of a batch on a device.
class network_pass {
 public:
  /// Of `rows` images. Memory for what each layer gives.
  network_pass(hydrogen::gpu::stream&, network_shape, std::size_t rows);
  /// Logits of all images.
  hydrogen::gpu::matrix_of<float> forward(hydrogen::gpu::stream&, const hydrogen::gpu::buffer<const float>& parameters,
                                          const hydrogen::gpu::buffer<const float>& pixels);

 protected:
  using matrix = hydrogen::gpu::matrix_of<float>;
  hydrogen::gpu::matrix_of<const float> weights(const hydrogen::gpu::buffer<const float>& p, std::size_t layer) const;
  hydrogen::gpu::buffer<const float> bias(const hydrogen::gpu::buffer<const float>& p, std::size_t layer) const;

  network_shape shape_;
  std::size_t rows_;
  std::vector<matrix> sums_, outputs_;  // of each layer, before and after its function
};

/// The part of the training data that one rank holds, and the model, on its device. Gradients of each tensor, and as
/// one more the loss, are added up over all ranks where they lie.
class network_trainer : network_pass {
 public:
  network_trainer(hydrogen::barrier_context&, hydrogen::task_device&, network_state, const std::vector<float>& pixels,
                  const std::vector<std::uint32_t>& labels);

  /// A step along the sums of all ranks, over `rows` rows. Returns when it has been enqueued, and the step before it is
  /// done.
  void step(std::int64_t rows, const adam_settings&);
  /// Of all rows, before the last step.
  float loss();
  network_state state();

  /// For people: how gradients are added up.
  const char* way() const { return gradients_.way(); }
  /// Steps that were replayed from a recording.
  std::uint64_t replayed() const { return backward_.replayed(); }

 private:
  std::size_t loss_tensor() const { return shape_.tensors(); }
  static std::vector<std::size_t> sizes(network_shape);
  void enqueue_gradients();
  void enqueue_update(std::int64_t rows, const adam_settings&);

  hydrogen::task_device& device_;
  hydrogen::device_gradients gradients_;
  hydrogen::gpu::buffer<float> pixels_, parameters_, m_, v_, losses_;
  hydrogen::gpu::buffer<std::uint32_t> labels_;
  hydrogen::gpu::buffer<std::uint64_t> steps_;
  std::vector<matrix> errors_;  // gradients by what each hidden layer gives
  hydrogen::gpu::repeated_step backward_, update_;
  hydrogen::gpu::event last_step_;
};

/// The classes of images, 64 numbers each.
std::vector<std::uint32_t> classify(hydrogen::task_device&, const network&, const std::vector<float>& pixels);

}  // namespace examples
