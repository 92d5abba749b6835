#pragma once
// Softmax regression for 8x8 images of digits: a linear model per class, trained with full-batch gradient descent with
// momentum. Plain values; one thread per object. All sums have a fixed order: the same rows in the same order give the
// same bits.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
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

/// The parameters, or a gradient or velocity of them. A row of a dataset, and what the ranks add up.
struct parameters {
  std::array<float, pixel_count * class_count> weights{};  // by pixel, then class
  std::array<float, class_count> bias{};
};

/// Where training stands: what a checkpoint must hold for the same bits to follow.
struct training_state {
  parameters model;
  parameters velocity;
};

/// The class with the largest logit; the first of equal ones.
std::uint32_t predict(const parameters& model, const std::array<float, pixel_count>& pixels);

/// The part of the training data that one rank holds, laid out for matrix products.
class training_part {
 public:
  void add(const digit& d);
  std::size_t size() const { return labels_.size(); }

  /// Writes the sum of the gradients of all rows (not divided by their number), and returns the sum of their losses.
  double gradient(const parameters& model, parameters& out);

 private:
  std::vector<float> pixels_;  // rows x 64
  std::vector<std::uint32_t> labels_;
  std::vector<float> logits_;  // rows x 10, reused in every step
};

struct descent_options {
  float rate = 0.5F;
  float momentum = 0.9F;
  float decay = 1e-4F;  // of the weights, per step: keeps them small, which scores better on unseen digits
  template <class I>
  friend auto inspect(I& f, descent_options& x) {
    return f(x.rate, x.momentum, x.decay);
  }
};

/// One step down the mean gradient: `sum` over `rows` rows.
void step(training_state& state, const parameters& sum, std::int64_t rows, const descent_options& options);

}  // namespace examples
