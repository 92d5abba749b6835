#include <hydrogen/gpu/kernels/clustering.hpp>

#include <spdlog/fmt/fmt.h>

#include <cstdint>
#include <limits>

namespace hydrogen::gpu::kernels {
namespace {

constexpr std::size_t most_counted = std::numeric_limits<std::uint32_t>::max();

}  // namespace

void kmeans_assign(stream& s, const matrix_of<const float>& points, const matrix_of<const float>& centres,
                   const buffer<std::uint32_t>& index, const buffer<float>& distance) {
  const checker check("kmeans_assign", s);
  const operand p{"points", points.values}, c{"centres", centres.values}, i{"index", index}, d{"distance", distance};
  if (points.columns != centres.columns) {
    check.refuse(fmt::format("points of {} dimensions, centres of {}", points.columns, centres.columns));
  }
  if (centres.rows == 0 || centres.rows > most_counted) check.refuse(fmt::format("{} centres", centres.rows));
  check.size(i, points.rows);
  if (d.n != 0) check.size(d, points.rows);
  check.here({p, c, i, d}).apart(i, {p, c, d}).apart(d, {p, c});
  s.enqueue(work::kmeans_assign{points.values.data(), centres.values.data(), index.data(),
                                d.n == 0 ? nullptr : distance.data(), points.rows, points.columns, centres.rows},
            {p.owner, c.owner}, {i.owner, d.owner});
}

void kmeans_accumulate(stream& s, const matrix_of<const float>& points, const buffer<const std::uint32_t>& index,
                       const matrix_of<float>& sums, const buffer<std::uint32_t>& counts) {
  const checker check("kmeans_accumulate", s);
  const operand p{"points", points.values}, i{"index", index}, to{"sums", sums.values}, n{"counts", counts};
  if (points.columns != sums.columns) {
    check.refuse(fmt::format("points of {} dimensions, sums of {}", points.columns, sums.columns));
  }
  if (points.rows > most_counted) check.refuse(fmt::format("{} points", points.rows));
  check.size(i, points.rows).size(n, sums.rows);
  check.here({p, i, to, n}).apart(to, {p, i, n}).apart(n, {p, i});
  s.enqueue(work::kmeans_accumulate{points.values.data(), index.data(), sums.values.data(), counts.data(), points.rows,
                                    points.columns, sums.rows},
            {p.owner, i.owner}, {to.owner, n.owner});
}

void histogram(stream& s, const buffer<const std::uint8_t>& bins, std::size_t rows, std::size_t features,
               const buffer<const float>& gradient, const buffer<const float>& hessian,
               const buffer<const std::uint32_t>* rows_used, float scale, std::size_t bin_count,
               const buffer<std::int64_t>& sums) {
  const checker check("histogram", s);
  const operand b{"bins", bins}, g{"gradient", gradient}, h{"hessian", hessian}, to{"sums", sums};
  const operand used{"rows_used", rows_used == nullptr ? buffer<const std::uint32_t>{} : *rows_used};
  check.size(b, check.product(rows, features)).size(g, rows).size(h, rows);
  check.size(to, check.product(check.product(features, bin_count), 3));
  check.here({b, g, h, used, to}).apart(to, {b, g, h, used});
  // A list of no rows is not the lack of a list.
  static constexpr std::uint32_t nothing = 0;
  const auto* list = rows_used == nullptr ? nullptr : used.n == 0 ? &nothing : rows_used->data();
  s.enqueue(work::histogram{bins.data(), gradient.data(), hessian.data(), list, rows_used == nullptr ? rows : used.n,
                            scale, sums.data(), rows, features, bin_count},
            {b.owner, g.owner, h.owner, used.owner}, {to.owner});
}

}  // namespace hydrogen::gpu::kernels
