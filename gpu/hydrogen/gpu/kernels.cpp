#include <hydrogen/base/error.hpp>
#include <hydrogen/gpu/host_blas.hpp>
#include <hydrogen/gpu/kernels.hpp>

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace hydrogen::gpu {
namespace {

[[noreturn]] void refuse(std::string what) {
  throw failure(error{errc::bad_input, std::move(what), {}, {}});
}

void check_shape(std::size_t values, std::size_t rows, std::size_t columns) {
  // Divided, not multiplied: the product of two absurd sizes could wrap around to the right number.
  const bool fits = rows == 0 || columns == 0 ? values == 0 : values % columns == 0 && values / columns == rows;
  if (!fits) refuse(fmt::format("{} values are not a matrix of {} x {}", values, rows, columns));
}

void check_length(const char* what, std::size_t length, std::size_t needed) {
  if (length != needed) refuse(fmt::format("{} has {} elements, {} are needed", what, length, needed));
}

blasint blas_size(std::size_t n) {
  if (n > static_cast<std::size_t>(std::numeric_limits<blasint>::max())) {
    refuse(fmt::format("a matrix dimension of {} is more than OpenBLAS takes", n));
  }
  return static_cast<blasint>(n);
}

}  // namespace

const_matrix::const_matrix(std::span<const float> values, std::size_t rows, std::size_t columns)
    : values_(values), rows_(rows), columns_(columns) {
  check_shape(values.size(), rows, columns);
}

matrix::matrix(std::span<float> values, std::size_t rows, std::size_t columns)
    : values_(values), rows_(rows), columns_(columns) {
  check_shape(values.size(), rows, columns);
}

void matrix_product(float alpha, const_matrix a, read_as a_is, const_matrix b, read_as b_is, float beta, matrix c) {
  const bool ta = a_is == read_as::transposed, tb = b_is == read_as::transposed;
  const auto m = ta ? a.columns() : a.rows(), k = ta ? a.rows() : a.columns();
  const auto kb = tb ? b.columns() : b.rows(), n = tb ? b.rows() : b.columns();
  if (k != kb || c.rows() != m || c.columns() != n) {
    refuse(fmt::format("matrix product of {} x {} and {} x {} into {} x {}", m, k, kb, n, c.rows(), c.columns()));
  }
  if (m == 0 || n == 0) return;
  // BLAS wants leading dimensions of at least 1, also for an empty factor.
  const auto leading = [](std::size_t columns) { return blas_size(std::max<std::size_t>(columns, 1)); };
  load_host_blas().sgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans, blas_size(m),
                         blas_size(n), blas_size(k), alpha, a.data(), leading(a.columns()), b.data(),
                         leading(b.columns()), beta, c.data(), leading(c.columns()));
}

void axpy(float a, std::span<const float> x, std::span<float> y) {
  check_length("y of axpy", y.size(), x.size());
  for (std::size_t i = 0; i < x.size(); ++i) y[i] += a * x[i];
}

void add_bias(matrix rows, std::span<const float> bias) {
  check_length("the bias", bias.size(), rows.columns());
  for (std::size_t r = 0; r < rows.rows(); ++r) {
    auto row = rows.row(r);
    for (std::size_t c = 0; c < row.size(); ++c) row[c] += bias[c];
  }
}

void sum_rows(const_matrix rows, std::span<float> sums) {
  check_length("the row of sums", sums.size(), rows.columns());
  std::fill(sums.begin(), sums.end(), 0.0F);
  for (std::size_t r = 0; r < rows.rows(); ++r) {
    const auto row = rows.row(r);
    for (std::size_t c = 0; c < row.size(); ++c) sums[c] += row[c];
  }
}

double softmax_cross_entropy(const_matrix logits, std::span<const std::uint32_t> labels, matrix gradient) {
  check_length("the list of labels", labels.size(), logits.rows());
  if (gradient.rows() != logits.rows() || gradient.columns() != logits.columns()) {
    refuse(fmt::format("the gradient of {} x {} logits cannot be {} x {}", logits.rows(), logits.columns(),
                       gradient.rows(), gradient.columns()));
  }
  for (std::size_t r = 0; r < labels.size(); ++r) {
    if (labels[r] >= logits.columns()) {
      refuse(fmt::format("row {} has label {}, there are {} classes", r, labels[r], logits.columns()));
    }
  }
  double loss = 0;
  for (std::size_t r = 0; r < logits.rows(); ++r) {
    const auto in = logits.row(r);
    auto out = gradient.row(r);
    const float top = *std::max_element(in.begin(), in.end());
    // The label's logit is read before `out` overwrites it: both may be the same memory.
    const double label_logit = static_cast<double>(in[labels[r]]) - top;
    double sum = 0;
    for (std::size_t c = 0; c < in.size(); ++c) {
      out[c] = std::exp(in[c] - top);
      sum += out[c];
    }
    const auto scale = static_cast<float>(1 / sum);
    for (auto& p : out) p *= scale;
    out[labels[r]] -= 1.0F;
    loss += std::log(sum) - label_logit;
  }
  return loss;
}

void argmax(const_matrix rows, std::span<std::uint32_t> index) {
  check_length("the list of indices", index.size(), rows.rows());
  for (std::size_t r = 0; r < rows.rows(); ++r) {
    const auto row = rows.row(r);
    std::size_t best = 0;
    for (std::size_t c = 1; c < row.size(); ++c) {
      if (row[c] > row[best] || (std::isnan(row[best]) && !std::isnan(row[c]))) best = c;
    }
    index[r] = static_cast<std::uint32_t>(best);
  }
}

}  // namespace hydrogen::gpu
