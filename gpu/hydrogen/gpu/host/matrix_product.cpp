#include <hydrogen/gpu/host/host_blas.hpp>
#include <hydrogen/gpu/host/run.hpp>

#include <algorithm>

namespace hydrogen::gpu::host {

void run(const work::matrix_product& w, run_context&) {
  if (w.batch == 0 || w.m == 0 || w.n == 0) return;
  const auto sgemm = load_host_blas().sgemm;
  // Sizes were checked; leading dimensions are at least 1 also for an empty factor.
  const auto size = [](std::size_t n) { return static_cast<blasint>(n); };
  const auto leading = [&](std::size_t columns) { return size(std::max<std::size_t>(columns, 1)); };
  for (std::size_t b = 0; b < w.batch; ++b) {
    sgemm(CblasRowMajor, w.a_transposed ? CblasTrans : CblasNoTrans, w.b_transposed ? CblasTrans : CblasNoTrans,
          size(w.m), size(w.n), size(w.k), w.alpha, w.a + b * w.a_stride, leading(w.a_transposed ? w.m : w.k),
          w.b + b * w.b_stride, leading(w.b_transposed ? w.k : w.n), w.beta, w.c + b * w.c_stride, leading(w.n));
  }
}

}  // namespace hydrogen::gpu::host
