#include <hydrogen/gpu/kernels/matrix_product.hpp>

#include <spdlog/fmt/fmt.h>

#include <cstdint>
#include <limits>

namespace hydrogen::gpu::kernels {
namespace {

/// BLAS libraries take 32 bits with a sign.
void check_dimensions(const checker& check, std::size_t m, std::size_t n, std::size_t k) {
  constexpr std::size_t most = std::numeric_limits<std::int32_t>::max();
  if (m > most || n > most || k > most) {
    check.refuse(fmt::format("{} x {} by {} x {}, a dimension is at most {}", m, k, k, n, most));
  }
}

}  // namespace

void matrix_product(stream& s, float alpha, const factor& a, const factor& b, float beta, const matrix_of<float>& c) {
  const checker check("matrix_product", s);
  const auto m = a.transposed ? a.matrix.columns : a.matrix.rows, k = a.transposed ? a.matrix.rows : a.matrix.columns;
  const auto kb = b.transposed ? b.matrix.columns : b.matrix.rows, n = b.transposed ? b.matrix.rows : b.matrix.columns;
  if (k != kb || c.rows != m || c.columns != n) {
    check.refuse(fmt::format("{} x {} by {} x {} into {} x {}", m, k, kb, n, c.rows, c.columns));
  }
  check_dimensions(check, m, n, k);
  const operand left{"a", a.matrix.values}, right{"b", b.matrix.values}, out{"c", c.values};
  check.here({left, right, out}).apart(out, {left, right});
  s.enqueue(work::matrix_product{alpha, a.matrix.values.data(), a.transposed, b.matrix.values.data(), b.transposed,
                                 beta, c.values.data(), m, n, k, 1, 0, 0, 0},
            {left.owner, right.owner}, {out.owner});
}

void matrix_products(stream& s, const batch_of_products& p, const buffer<const float>& a, const buffer<const float>& b,
                     const buffer<float>& c) {
  const checker check("matrix_product", s);
  check_dimensions(check, p.m, p.n, p.k);
  const operand left{"a", a}, right{"b", b}, out{"c", c};
  const auto stride = [&](const operand& o, std::size_t one) -> std::size_t {
    if (o.n == one) return 0;
    check.size(o, check.product(p.batch, one));
    return one;
  };
  const auto c_stride = check.product(p.m, p.n);
  check.size(out, check.product(p.batch, c_stride));
  const work::matrix_product w{p.alpha,
                               a.data(),
                               p.a_transposed,
                               b.data(),
                               p.b_transposed,
                               p.beta,
                               c.data(),
                               p.m,
                               p.n,
                               p.k,
                               p.batch,
                               stride(left, check.product(p.m, p.k)),
                               stride(right, check.product(p.k, p.n)),
                               c_stride};
  check.here({left, right, out}).apart(out, {left, right});
  s.enqueue(w, {left.owner, right.owner}, {out.owner});
}

}  // namespace hydrogen::gpu::kernels
