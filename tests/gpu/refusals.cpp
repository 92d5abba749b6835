#include <hydrogen/gpu/kernels/clustering.hpp>
#include <hydrogen/gpu/kernels/elementwise.hpp>
#include <hydrogen/gpu/kernels/layers.hpp>
#include <hydrogen/gpu/kernels/matrix_product.hpp>
#include <hydrogen/gpu/kernels/optimisers.hpp>
#include <hydrogen/gpu/kernels/reductions.hpp>

#include "kernel_testing.hpp"

namespace kernel_tests {
namespace {

struct operands {
  explicit operands(rig& r)
      : three(r.put(std::vector<float>(3, 1))),
        four(r.put(std::vector<float>(4, 1))),
        twelve(r.put(std::vector<float>(12, 1))),
        other_twelve(r.put(std::vector<float>(12, 1))),
        labels(r.put(std::vector<std::uint32_t>(3, 0))),
        bins(r.put(std::vector<std::uint8_t>(12, 0))),
        count(r.put(std::vector<std::uint64_t>(1, 0))) {}
  matrix_of<float> matrix(std::size_t rows, std::size_t columns) const { return {twelve, rows, columns}; }
  matrix_of<float> other(std::size_t rows, std::size_t columns) const { return {other_twelve, rows, columns}; }
  buffer<float> three, four, twelve, other_twelve;
  buffer<std::uint32_t> labels;
  buffer<std::uint8_t> bins;
  buffer<std::uint64_t> count;
};

}  // namespace

TEST_CASE("sizes that do not fit are refused with both, and nothing is enqueued") {
  on_every_device([](rig& r) {
    const operands o(r);
    const auto before = r.on->counters().items.load();
    CHECK(refusal([&] { kernels::axpy(r.s, 1, o.three, o.four); }) == "axpy: x has 3 elements, y has 4");
    CHECK(refusal([&] { kernels::copy(r.s, o.three, o.four); }) == "copy: from has 3 elements, to has 4");
    CHECK(refusal([&] { kernels::cast(r.s, o.three, o.four); }) == "cast: from has 3 elements, to has 4");
    CHECK(refusal([&] { kernels::add_bias(r.s, o.matrix(3, 4), o.three, o.other(3, 4)); }) ==
          "add_bias: bias has 3 elements, 4 are needed");
    CHECK(refusal([&] { kernels::add_bias(r.s, o.matrix(3, 4), o.four, o.other(4, 3)); }) ==
          "add_bias: x is 3 x 4, to is 4 x 3");
    CHECK(refusal([&] { kernels::activate(r.s, work::function::relu, o.three, o.four); }) ==
          "activate: x has 3 elements, to has 4");
    CHECK(refusal([&] { kernels::activate_gradient(r.s, work::function::gelu, o.three, o.four, o.three); }) ==
          "activate_gradient: x has 3 elements, gradient has 4");
    CHECK(refusal([&] { kernels::dropout(r.s, 0.5F, 1, {}, o.three, o.four); }) ==
          "dropout: x has 3 elements, to has 4");
    CHECK(refusal([&] { kernels::sum(r.s, o.three, o.four); }) == "reduce_to_scalar: to has 4 elements, 1 are needed");
    CHECK(refusal([&] { kernels::argmax(r.s, o.matrix(4, 3), o.labels); }) ==
          "argmax: index has 3 elements, 4 are needed");
    CHECK(refusal([&] { kernels::sum_rows(r.s, o.matrix(4, 3), o.four); }) ==
          "sum_rows: sums has 4 elements, 3 are needed");
    CHECK(refusal([&] {
            kernels::matrix_product(r.s, 1, o.matrix(3, 4), o.other(3, 4), 0, {o.four, 2, 2});
          }) == "matrix_product: 3 x 4 by 3 x 4 into 2 x 2");
    CHECK(refusal([&] {
            kernels::matrix_products(r.s, {2, 2, 2, 2}, o.four, o.three, o.twelve.part(0, 8));
          }) == "matrix_product: b has 3 elements, 8 are needed");
    CHECK(refusal([&] {
            kernels::layer_norm(r.s, o.matrix(3, 4), o.three, o.four, 1e-5F, o.other(3, 4), o.three, o.three);
          }) == "layer_norm: weight has 3 elements, 4 are needed");
    CHECK(refusal([&] { kernels::softmax_cross_entropy(r.s, o.matrix(4, 3), o.labels, 1, o.four, {}); }) ==
          "softmax_cross_entropy: labels has 3 elements, 4 are needed");
    CHECK(refusal([&] { kernels::gather_rows(r.s, o.matrix(3, 4), o.labels, o.other(4, 3)); }) ==
          "gather_rows: 3 rows of 4 columns do not fit into 4 x 3");
    CHECK(refusal([&] { kernels::scatter_add_rows(r.s, o.matrix(4, 3), o.labels, o.other(4, 3)); }) ==
          "scatter_add_rows: x is 4 x 3, there are 3 indices and 3 columns");
    CHECK(refusal([&] {
            const kernels::sgd_tensor t{o.three, o.four, o.three};
            kernels::sgd_step(r.s, std::span(&t, 1), {});
          }) == "sgd_step: value has 3 elements, gradient has 4");
    CHECK(refusal([&] {
            const kernels::adam_tensor t{o.three, o.three, o.three, o.four};
            kernels::adam_step(r.s, std::span(&t, 1), {}, o.count);
          }) == "adam_step: value has 3 elements, v has 4");
    CHECK(refusal([&] { kernels::kmeans_assign(r.s, o.matrix(3, 4), o.other(4, 3), o.labels, {}); }) ==
          "kmeans_assign: points of 4 dimensions, centres of 3");
    CHECK(refusal([&] { kernels::kmeans_accumulate(r.s, o.matrix(4, 3), o.labels, o.other(4, 3), o.labels); }) ==
          "kmeans_accumulate: index has 3 elements, 4 are needed");
    CHECK(refusal([&] {
            kernels::histogram(r.s, o.bins, 3, 4, o.three, o.four, nullptr, 1, 2, r.s.allocate<std::int64_t>(24));
          }) == "histogram: hessian has 4 elements, 3 are needed");
    CHECK(r.on->counters().items.load() == before);
    CHECK(r.outcome() == "done");
  });
}

TEST_CASE("numbers, types and counts that cannot be are refused") {
  on_every_device([](rig& r) {
    const operands o(r);
    const std::size_t huge = std::size_t{1} << 63;
    CHECK(refusal([&] { kernels::dropout(r.s, 1, 1, {}, o.three, o.three); }) == "dropout: a probability of 1");
    CHECK(refusal([&] { kernels::dropout(r.s, -0.5F, 1, {}, o.three, o.three); }).find("-0.5") != std::string::npos);
    CHECK(refusal([&] { kernels::dropout(r.s, nan_f, 1, {}, o.three, o.three); }).find("nan") != std::string::npos);
    CHECK(refusal([&] { kernels::cast(r.s, o.labels, o.three); }) == "cast: from is of uint32");
    CHECK(refusal([&] { kernels::copy(r.s, o.labels, o.three); }) == "copy: from is of uint32, to is of float");
    const std::vector<buffer<float>> none, one{o.three}, many(17, o.three);
    CHECK(refusal([&] { kernels::reduce_ranks(r.s, work::reduction::sum, none, one); }) ==
          "reduce_ranks: 0 inputs and 1 outputs, 1 to 16 are possible");
    CHECK(refusal([&] { kernels::reduce_ranks(r.s, work::reduction::sum, many, one); }) ==
          "reduce_ranks: 17 inputs and 1 outputs, 1 to 16 are possible");
    const std::vector<buffer<std::uint32_t>> whole{o.labels};
    CHECK(refusal([&] { kernels::reduce_ranks(r.s, work::reduction::sum, whole, whole); }) ==
          "reduce_ranks: an input is of uint32");
    const kernels::operand real("x", o.three), integer("index", o.labels);
    CHECK(refusal([&] {
            kernels::reduce_ranks(r.s, work::reduction::sum, std::span(&real, 1), std::span(&integer, 1));
          }) == "reduce_ranks: x is of float, index is of uint32");
    CHECK(refusal([&] { kernels::clip_by_global_norm(r.s, one, 0, o.four.part(0, 1)); }) ==
          "clip_by_global_norm: a norm of at most 0");
    CHECK(refusal([&] {
            kernels::matrix_products(r.s, {huge, 2, 2, 2}, o.four, o.four, o.four);
          }).find("is too large") != std::string::npos);
    CHECK(refusal([&] {
            kernels::matrix_products(r.s, {1, huge, 2, 2}, o.four, o.four, o.four);
          }).find("a dimension is at most") != std::string::npos);
    CHECK(refusal([&] {
            kernels::histogram(r.s, o.bins, huge, 4, o.three, o.three, nullptr, 1, 2, r.s.allocate<std::int64_t>(24));
          }).find("is too large") != std::string::npos);
    CHECK(refusal([&] {
            kernels::kmeans_assign(r.s, o.matrix(3, 4), {{}, 0, 4}, o.labels, {});
          }) == "kmeans_assign: 0 centres");
    CHECK(refusal([&] {
            kernels::adam_options wrong;
            wrong.beta2 = 1;
            kernels::adam_step(r.s, {}, wrong, o.count);
          }) == "adam_step: betas of 0.9 and 1");
  });
}

TEST_CASE("an output that overlaps what it may not is refused") {
  on_every_device([](rig& r) {
    const operands o(r);
    const auto a = o.twelve.part(0, 6), b = o.twelve.part(1, 6), c = o.twelve.part(6, 6);
    CHECK(refusal([&] { kernels::axpy(r.s, 1, a, b); }) == "axpy: y and x overlap");
    CHECK(refusal([&] { kernels::axpy(r.s, 1, a, c); }) == "nothing");
    CHECK(refusal([&] { kernels::axpy(r.s, 1, a, a); }) == "nothing");
    CHECK(refusal([&] { kernels::cast(r.s, a, a); }) == "cast: to and from overlap");
    CHECK(refusal([&] {
            kernels::matrix_product(r.s, 1, o.matrix(3, 4), o.other(4, 3), 0, {a.part(0, 0), 3, 0});
          }) != "nothing");
    CHECK(refusal([&] { kernels::sum(r.s, a, a.part(2, 1)); }) == "reduce_to_scalar: to and x overlap");
    const std::vector<buffer<float>> in{a, c}, both{b};
    CHECK(refusal([&] { kernels::reduce_ranks(r.s, work::reduction::sum, in, both); }) ==
          "reduce_ranks: an output and an input overlap");
    CHECK(refusal([&] {
            kernels::softmax_cross_entropy(r.s, {a, 3, 2}, o.labels, 1, {}, b);
          }) == "softmax_cross_entropy: gradient and logits overlap");
    CHECK(r.outcome() == "done");
  });
}

TEST_CASE("memory of another device is refused with both named, pinned memory is everybody's") {
  const auto infos = virtual_devices(2, 1 << 20);
  const auto first = value_or_throw(device::open(infos[0])), second = value_or_throw(device::open(infos[1]));
  auto s = value_or_throw(first->make_stream("one")), t = value_or_throw(second->make_stream("two"));
  const auto x = s.allocate<float>(3), y = t.allocate<float>(3), pinned = t.allocate_pinned<float>(3);
  CHECK(refusal([&] { kernels::axpy(s, 1, x, y); }) ==
        "axpy: y is in memory of virtual-1 (host), the stream is on virtual-0 (host)");
  float unowned[3] = {};
  CHECK(refusal([&] { kernels::scale(s, 1, {nullptr, unowned, 3}); }) == "scale: x has no memory");
  kernels::fill(s, 2, x);
  kernels::fill(t, 3, pinned);
  kernels::axpy(s, 1, x, pinned);
  REQUIRE(s.finish(now() + std::chrono::seconds(60)));
  CHECK(pinned.on_host()[2] == 5);
}

}  // namespace kernel_tests
