#pragma once
// What a stream can be asked to do: one plain value for each kernel, the same for every backend. Applications call the
// functions in `kernels/`, which check shapes and enqueue these; a backend has one `run` for each.
//
// Addresses are of device or pinned memory and need no alignment beyond that of their element. `n` counts elements,
// matrices are row-major without gaps. Every element of an output is written, whatever was in it before, unless said.
// An output is an input only where "may be" says so. Sizes of 0 do nothing, but a sum of nothing is written: +0. NaN
// and infinity follow IEEE 754.
//
// Orders of addition are part of what a kernel is, so that results do not depend on threads, blocks or backend:
//   pairwise(x[0..n)):  pieces of 8,192 elements. In a piece lane l of 256 adds x[l], x[l+256], x[l+512] ... ascending;
//                       then lane l adds lane l+128 for l < 128, lane l+64 for l < 64, and so on to one sum. A lane
//                       that has no element is -0. The sums of the pieces are summed in the same way until one is left.
//                       The sum of no elements is +0.
//   others:             as they say, from +0 on.
//   rank tree:          tree(a..b) = tree(a..a+k) + tree(a+k..b), k the largest power of two below b - a.
// Where a comment gives no tolerance, results are the same bits on every backend, but for those of a NaN: only
// additions, multiplications, divisions and comparisons in a fixed order are involved, and no contraction into a fused
// multiply-add.
//
// A fault in data is seen while a kernel runs: on a GPU, items behind it may have begun by then. Their results count
// for nothing, since their events fail, too.

#include <hydrogen/gpu/element.hpp>
#include <hydrogen/gpu/kernel.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <variant>
#include <vector>

namespace hydrogen::gpu {
class peer_member;
}

namespace hydrogen::gpu::work {

/// One of several tensors that a kernel takes together.
struct tensor {
  float* at = nullptr;
  std::size_t n = 0;
};

/// Every element = the `size_of(type)` first bytes of `bits`.
struct fill {
  static constexpr std::string_view name = "fill";
  void* to;
  std::size_t n;
  element type;
  std::uint64_t bits;
};

/// Between device, pinned and ordinary host memory in any direction. Must not overlap. Ordinary memory must stay until
/// it is done.
struct copy {
  static constexpr std::string_view name = "copy";
  const void* from;
  void* to;
  std::size_t bytes;
};

/// Between float, double, half and bfloat16: rounded to nearest, ties to even; a NaN stays a NaN; what is too large
/// becomes infinity. Double to half or bfloat16 goes by float, which rounds twice.
struct cast {
  static constexpr std::string_view name = "cast";
  const void* from;
  element from_type;
  void* to;
  element to_type;
  std::size_t n;
};

/// y += a * x. x may be y. The product is rounded before it is added.
struct axpy {
  static constexpr std::string_view name = "axpy";
  float a;
  const float* x;
  float* y;
  std::size_t n;
};

/// x *= a.
struct scale {
  static constexpr std::string_view name = "scale";
  float a;
  float* x;
  std::size_t n;
};

/// norm = the root of the sum of all squares, each tensor's squares summed pairwise in double, tensors ascending; then,
/// if that is above `most`, every element is multiplied by float(most / norm). A norm that is not finite as a
/// float is reported and clips nothing. Within one float rounding of exact (the squares are exact in double).
struct clip_by_global_norm {
  static constexpr std::string_view name = "clip_by_global_norm";
  std::shared_ptr<const std::vector<tensor>> tensors;
  double most;
  float* norm;  // one element
};

enum class reduction : std::uint8_t { sum, mean, min, max, product };

/// Element i of every output = element i of all inputs, combined in the rank tree: gradients of ranks that share a
/// device. An output may be an input. float, double, int32, int64; half and bfloat16 are combined as float and rounded
/// once. Integers wrap around; a mean is the sum divided by the number of inputs, of integers cut towards
/// 0. min and max: the first of equal ones (as +0 and -0 are); a NaN wins. 1 to 16 inputs and outputs.
struct reduce_ranks {
  static constexpr std::string_view name = "reduce_ranks";
  static constexpr std::size_t most = 16;
  const void* from[most];
  void* to[most];
  std::uint32_t inputs;
  std::uint32_t outputs;
  element type;
  reduction how;
  std::size_t n;
};

/// x[i] of every member = x[i] of all members of a group of devices (peer_group.hpp), combined by NCCL, in an order
/// that depends on its version, the machine and n: bits of sums are not the same everywhere, and no backend promises
/// those of `reduce_ranks`. float, double, half, bfloat16, int32 and int64, which wrap around; a mean only of the first
/// four.
struct all_reduce {
  static constexpr std::string_view name = "all_reduce";
  std::shared_ptr<peer_member> among;
  void* x;
  element type;
  reduction how;
  std::size_t n;
};

/// One number. sum: pairwise. max: of no elements -infinity; +0 is above -0; a NaN wins.
struct reduce_to_scalar {
  static constexpr std::string_view name = "reduce_to_scalar";
  enum class kind : std::uint8_t { sum, max };
  kind how;
  const float* x;
  std::size_t n;
  float* to;
};

/// index[r] = column of the largest element of row r, the first of equal ones; NaN counts as smaller than any number;
/// 0 if all are NaN. At least one column unless there are no rows.
struct argmax {
  static constexpr std::string_view name = "argmax";
  const float* x;
  std::size_t rows, columns;
  std::uint32_t* index;
};

/// c[b] = alpha * a[b] * b[b] + beta * c[b] for `batch` matrices, which lie `*_stride` elements apart (0: the same one;
/// not for c). c is m x n, op(a) m x k, op(b) k x n. With beta = 0 the old content of c is not read. An inner dimension
/// of 0 gives beta * c. Within 2 * k float roundings of the sum of magnitudes: BLAS libraries choose their own order,
/// the same in each call of one size on one machine.
struct matrix_product {
  static constexpr std::string_view name = "matrix_product";
  float alpha;
  const float* a;
  bool a_transposed;
  const float* b;
  bool b_transposed;
  float beta;
  float* c;
  std::size_t m, n, k;
  std::size_t batch;
  std::size_t a_stride, b_stride, c_stride;
};

/// to[r][c] = x[r][c] + bias[c]. `to` may be x.
struct add_bias {
  static constexpr std::string_view name = "add_bias";
  const float* x;
  const float* bias;
  float* to;
  std::size_t rows, columns;
};

/// sums[c] = the sum over rows of x[r][c]: rows ascending within pieces of 128 rows, then pieces ascending. The
/// gradient of `add_bias`.
struct sum_rows {
  static constexpr std::string_view name = "sum_rows";
  static constexpr std::size_t piece = 128;
  const float* x;
  float* sums;
  std::size_t rows, columns;
};

enum class function : std::uint8_t { relu, gelu };

/// relu: x > 0 ? x : 0, a NaN stays. gelu: x * P(a normal number <= x) = x/2 * (1 + erf(x / sqrt 2)); within 4 float
/// roundings of |x|. `to` may be x.
struct activate {
  static constexpr std::string_view name = "activate";
  function what;
  const float* x;
  float* to;
  std::size_t n;
};

/// to[i] = gradient[i] * f'(x[i]), x what the function was given; relu'(x) = x > 0 ? 1 : 0. `to` may be the gradient or
/// x. gelu within 8 float roundings of |gradient|.
struct activate_gradient {
  static constexpr std::string_view name = "activate_gradient";
  function what;
  const float* x;
  const float* gradient;
  float* to;
  std::size_t n;
};

/// For each row: to = (x - mean) / sqrt(variance + epsilon) * weight + bias, with the row's mean and variance (divided
/// by the number of columns), summed in float or wider. Keeps mean and 1 / sqrt(variance + epsilon) for the gradient.
/// `to` may be x. Ba, Kiros, Hinton, "Layer Normalization", 2016. Within 16 float roundings of |weight| * (largest |x|
/// / deviation) + |bias|, the mean of the largest |x|, the inverse of itself * (largest |x| / deviation).
struct layer_norm {
  static constexpr std::string_view name = "layer_norm";
  const float* x;
  const float* weight;  // columns
  const float* bias;    // columns
  float epsilon;
  float* to;
  float* mean;     // rows
  float* inverse;  // rows: 1 / sqrt(variance + epsilon)
  std::size_t rows, columns;
};

/// Gradients of the above by x, weight and bias, from x and what it kept. With normal = (x - mean) * inverse:
/// weight_gradient and bias_gradient are what `sum_rows` makes of gradient * normal and of gradient. With w = gradient
/// * weight: x_gradient = inverse * (w - average(w) - normal * average(w * normal)) over the row, within 16 float
/// roundings of inverse * (largest |w|) * (1 + largest |normal|). x_gradient may be the gradient.
struct layer_norm_gradient {
  static constexpr std::string_view name = "layer_norm_gradient";
  const float* x;
  const float* gradient;
  const float* weight;
  const float* mean;
  const float* inverse;
  float* x_gradient;
  float* weight_gradient;
  float* bias_gradient;
  std::size_t rows, columns;
};

/// For each row: loss[r] = -log softmax(logits[r])[labels[r]], and gradient[r] = scale * (softmax(logits[r]) -
/// one_hot(labels[r])), in one pass; the row's maximum is subtracted first, so that no finite logits overflow. loss or
/// gradient may be null; the gradient may be the logits. A label that is not below `columns` is reported as a fault of
/// the stream with its row. At least one column. The loss within 8 float roundings of 1 + |loss|, the gradient of
/// |scale|. Both are NaN in a row with a NaN or +infinity, or where all are -infinity.
struct softmax_cross_entropy {
  static constexpr std::string_view name = "softmax_cross_entropy";
  const float* logits;
  const std::uint32_t* labels;
  float scale;
  float* loss;
  float* gradient;
  std::size_t rows, columns;
};

/// to[i] = x[i] / (1 - probability), all in float, if element i stays, else 0. It stays if its random number is at
/// least probability * 2^32: word i % 4 of Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
/// SC11) with key = seed (low word first) and counter = {i / 4 low, i / 4 high, step low, step high}, step = *counter,
/// or 0 if it is null. So a pass back with the same seed and step drops the same elements. `to` may be x.
struct dropout {
  static constexpr std::string_view name = "dropout";
  const float* x;
  float* to;
  std::size_t n;
  float probability;  // to be dropped: 0 <= probability < 1
  std::uint64_t seed;
  const std::uint64_t* counter;
};

/// to[i] = row index[i] of the table. An index that is not below table_rows is a fault of the stream.
struct gather_rows {
  static constexpr std::string_view name = "gather_rows";
  const float* table;
  const std::uint32_t* index;
  float* to;
  std::size_t table_rows, columns, n;
};

/// Row index[i] of the table += row i of x, i ascending for each row of the table: the gradient of `gather_rows`. An
/// index that is not below table_rows is a fault of the stream.
struct scatter_add_rows {
  static constexpr std::string_view name = "scatter_add_rows";
  const float* x;
  const std::uint32_t* index;
  float* table;
  std::size_t table_rows, columns, n;
};

/// For each element of all tensors: g = gradient_scale * gradient + decay * value; velocity = momentum * velocity + g;
/// value -= rate * velocity.
struct sgd_step {
  static constexpr std::string_view name = "sgd_step";
  struct part {
    float* value;
    const float* gradient;
    float* velocity;
    std::size_t n;
  };
  std::shared_ptr<const std::vector<part>> parts;
  float rate, momentum, decay, gradient_scale;
};

/// Adam (Kingma, Ba, 2015), and AdamW (Loshchilov, Hutter, 2019) with `decoupled`: t = *step + 1, which `step` then
/// becomes; g = gradient_scale * gradient (+ decay * value unless decoupled); m = beta1 * m + (1 - beta1) * g;
/// v = beta2 * v + (1 - beta2) * g * g; value -= rate * (m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon)
/// (+ decay * value if decoupled)). value within 8 float roundings of |value| + |step made|, m and v of what they add.
struct adam_step {
  static constexpr std::string_view name = "adam_step";
  struct part {
    float* value;
    const float* gradient;
    float* m;
    float* v;
    std::size_t n;
  };
  std::shared_ptr<const std::vector<part>> parts;
  float rate, beta1, beta2, epsilon, decay, gradient_scale;
  bool decoupled;
  std::uint64_t* step;  // steps made so far, in device memory, so that a captured step can be replayed
};

/// index[p] = the centre with the smallest squared distance to point p, the first of equal ones; distance[p] = that,
/// summed over dimensions ascending in float (may be null). NaN counts as further than any number; 0 if all are NaN. At
/// least one centre.
struct kmeans_assign {
  static constexpr std::string_view name = "kmeans_assign";
  const float* points;
  const float* centres;
  std::uint32_t* index;
  float* distance;
  std::size_t n, dimensions, k;
};

/// sums[c] = sum of the points of centre c, points ascending within pieces of 1,024 points, then pieces ascending;
/// counts[c] = how many. An index that is not below k is a fault of the stream.
struct kmeans_accumulate {
  static constexpr std::string_view name = "kmeans_accumulate";
  static constexpr std::size_t piece = 1024;
  const float* points;
  const std::uint32_t* index;
  float* sums;            // k x dimensions
  std::uint32_t* counts;  // k
  std::size_t n, dimensions, k;
};

/// For trees: of every feature f and bin b the sums over rows r with bins[r][f] = b of round(scale * gradient[r]) and
/// round(scale * hessian[r]), to nearest, ties to even, as integers, whose sums do not depend on order; and how many
/// rows. The products are rounded to float, and are below 2^63. Only rows that `rows_used` lists, if it is not null.
/// sums is features x bins x {gradient, hessian, count}. A bin that is not below `bin_count`, or a listed row that is
/// not below `rows`, is a fault of the stream.
struct histogram {
  static constexpr std::string_view name = "histogram";
  const std::uint8_t* bins;  // rows x features
  const float* gradient;
  const float* hessian;
  const std::uint32_t* rows_used;
  std::size_t used;  // how many are listed; rows if null
  float scale;
  std::int64_t* sums;
  std::size_t rows, features, bin_count;
};

/// *counter += 1.
struct increment {
  static constexpr std::string_view name = "increment";
  std::uint64_t* counter;
};

/// A kernel of an application (kernel.hpp). What its host function throws is a fault of the stream.
struct custom {
  std::shared_ptr<const kernel_code> code;
  std::vector<argument> arguments;
  launch_shape shape;
};

using any = std::variant<fill, copy, cast, axpy, scale, clip_by_global_norm, reduce_ranks, all_reduce, reduce_to_scalar,
                         argmax, matrix_product, add_bias, sum_rows, activate, activate_gradient, layer_norm,
                         layer_norm_gradient, softmax_cross_entropy, dropout, gather_rows, scatter_add_rows, sgd_step,
                         adam_step, kmeans_assign, kmeans_accumulate, histogram, increment, custom>;

/// The name of the kernel, for messages; lives for ever.
const char* name_of(const any&);

}  // namespace hydrogen::gpu::work
