#pragma once
// The collectives of a barrier stage as its function sees them: of the whole gang, or of some of its ranks. Used on the
// rank's slot thread, for the length of the function. Every call throws `failure` when it fails: a rank is missing
// (timed_out), has left or died (disconnected), calls something else (mismatch), or the attempt was ended (aborted);
// the gang is then retried whole. Wrong arguments (bad_input) break nothing. Roots, and ranks to send to, are numbers
// within the group.
//
// Numbers are float, double, half, bfloat16, int32 and int64, and arrays, vectors and structs of these. Sums are made
// in one order, whatever the placement (comm/element.hpp). Values are whatever a dataset can hold; they may differ in
// size.

#include <hydrogen/comm/algorithm.hpp>
#include <hydrogen/comm/element.hpp>
#include <hydrogen/comm/gang_buffer.hpp>
#include <hydrogen/comm/gradient_options.hpp>
#include <hydrogen/comm/pending.hpp>
#include <hydrogen/data/rows.hpp>

#include <chrono>
#include <memory>
#include <source_location>
#include <span>
#include <utility>
#include <vector>

namespace hydrogen::comm {
class group;
class gradient_exchange;
}  // namespace hydrogen::comm

namespace hydrogen::exec {

namespace barrier_detail {

template <class T>
inline constexpr bool is_span = false;
template <class T, std::size_t N>
inline constexpr bool is_span<std::span<T, N>> = true;

/// The numbers of a value, in the order of its fields.
struct numbers {
  using result_type = bool;
  struct part {
    comm::element kind = comm::element::none;
    std::byte* data = nullptr;
    std::size_t count = 0;
  };
  std::vector<part> parts;

  template <class... Ts>
  bool operator()(Ts&... xs) {
    (add(xs), ...);
    return true;
  }
  template <comm::number T>
  void add_span(std::span<T> s) {
    parts.push_back({comm::element_of<T>, reinterpret_cast<std::byte*>(s.data()), s.size()});
  }

  template <class T>
  void add(T& x) {
    using namespace codec_detail;
    if constexpr (comm::number<T>)
      add_span(std::span(&x, 1));
    else if constexpr (is_vector<T> || is_array<T>) {
      if constexpr (comm::number<typename T::value_type>)
        add_span(std::span<typename T::value_type>(x.data(), x.size()));
      else
        for (auto& v : x) add(v);
    } else if constexpr (is_tuple<T>)
      std::apply([this](auto&... v) { (add(v), ...); }, x);
    else if constexpr (data::has_inspect<T>)
      inspect(*this, x);
    else {
      static_assert(data::plain_aggregate<T>,
                    "hydrogen: collectives of numbers take float, double, half, bfloat16, std::int32_t and "
                    "std::int64_t, and arrays, vectors and structs of these");
      if constexpr (data::plain_aggregate<T>) data::with_fields([this](auto&... v) { (add(v), ...); }, x);
    }
  }
};

}  // namespace barrier_detail

/// A call that goes on while the rank does something else. Its numbers are not to be touched before `wait` has
/// returned; the destructor waits, too.
class pending_call {
 public:
  pending_call() = default;
  explicit pending_call(comm::pending made) : made_(std::move(made)) {}
  /// Throws what the call would have thrown.
  void wait() { value_or_throw(made_.wait()); }
  bool is_done() const { return made_.is_done(); }

 private:
  comm::pending made_;
};

/// The gradients of a training step (comm/gradient_exchange.hpp), added up over all ranks while the rest of them is
/// still being computed. Goes with the function; misuse and failures are thrown as by all calls.
class gradient_exchange {
 public:
  explicit gradient_exchange(std::unique_ptr<comm::gradient_exchange> made);
  gradient_exchange(gradient_exchange&&) noexcept;
  ~gradient_exchange();

  std::size_t tensors() const;
  /// Where gradient i is written before `ready(i)`, and its mean or sum read after `finish()`.
  std::span<float> gradient(std::size_t i);
  /// It is complete; best in the order in which backward propagation gives them, from the last to the first.
  void ready(std::size_t i);
  /// After all of them. The norm of all gradients before clipping, if they are clipped, else 0.
  double finish();

 private:
  std::unique_ptr<comm::gradient_exchange> made_;
};

class gang_group {
 public:
  using site = std::source_location;

  /// Of the whole gang; `gang` must outlive it. `timeout` of each call.
  gang_group(comm::group& gang, std::chrono::nanoseconds timeout);
  gang_group(gang_group&&) noexcept;
  ~gang_group();

  std::uint32_t rank() const;
  std::uint32_t size() const;

  /// Some ranks of this group, ascending, this one among them; all of these call it with the same list.
  gang_group group(const std::vector<std::uint32_t>& ranks, site at = site::current());

  /// Memory for `count` numbers that ranks on one host reduce and pass where it is: nothing is copied to be sent. All
  /// ranks of the gang call it; make it once, before the first step.
  template <comm::number T>
  comm::gang_buffer<T> buffer(std::size_t count, site at = site::current()) {
    return {memory(comm::bytes_of<T>(count), at), count};
  }

  /// For tensors with so many numbers, in the order of the layers. All ranks of the gang make it, with the same tensors
  /// and options; once, before the first step.
  gradient_exchange gradients(const std::vector<std::size_t>& sizes, comm::gradient_options options = {},
                              site at = site::current());

  void barrier(site at = site::current());

  /// Element by element over all ranks, in place.
  template <class T>
  requires(!std::is_const_v<T>) void all_reduce(T& x, comm::reduction how = comm::reduction::sum,
                                                site at = site::current()) {
    reduce_to_all(numbers_of(x), how, at);
  }
  template <class T, std::size_t N>
  void all_reduce(std::span<T, N> x, comm::reduction how = comm::reduction::sum, site at = site::current()) {
    reduce_to_all(numbers_of(x), how, at);
  }
  /// In a way that is asked for by name (comm/call.hpp). All but the ring give the bits of the others.
  template <class T, std::size_t N>
  void all_reduce(std::span<T, N> x, comm::reduction how, comm::algorithm by, site at = site::current()) {
    reduce_to_all(numbers_of(x), how, at, by);
  }
  /// Of a temporary: returns the result.
  template <class T>
  requires(!std::is_lvalue_reference_v<T> && !std::is_const_v<T>) T
      all_reduce(T&& x, comm::reduction how = comm::reduction::sum, site at = site::current()) {
    all_reduce(x, how, at);
    return std::move(x);
  }
  /// The result replaces the root's numbers; those of the others stay.
  template <class T>
  requires(!std::is_const_v<T>) void reduce(T& x, std::uint32_t root = 0, comm::reduction how = comm::reduction::sum,
                                            site at = site::current()) {
    reduce_to_root(numbers_of(x), root, how, at);
  }
  template <class T, std::size_t N>
  void reduce(std::span<T, N> x, std::uint32_t root = 0, comm::reduction how = comm::reduction::sum,
              site at = site::current()) {
    reduce_to_root(numbers_of(x), root, how, at);
  }
  /// Each rank gets the sum of its share of the numbers (comm::share_of), in its place; the rest stays as it was.
  template <comm::number T>
  void reduce_scatter(std::span<T> x, comm::reduction how = comm::reduction::sum, site at = site::current()) {
    reduce_shares(part_of(x), how, at);
  }
  /// Each rank's share replaces that of all others.
  template <comm::number T>
  void all_gather(std::span<T> x, site at = site::current()) {
    gather_shares(part_of(x), at);
  }
  /// The numbers of `root` replace those of the others, who pass as many.
  template <comm::number T>
  void broadcast(std::span<T> x, std::uint32_t root = 0, site at = site::current()) {
    broadcast_numbers(part_of(x), root, at);
  }
  template <comm::number T>
  pending_call all_reduce_async(std::span<T> x, comm::reduction how = comm::reduction::sum, site at = site::current()) {
    return reduce_later(part_of(x), how, at);
  }

  /// The value of each rank, by rank.
  template <class T>
  requires(!barrier_detail::is_span<T>) std::vector<T> all_gather(const T& mine, site at = site::current()) {
    data::require_row<T>();
    return decoded<T>(gather_bytes(data::encode_value(mine), at), "a value of all_gather");
  }
  /// The same for the root; nothing for the others.
  template <class T>
  std::vector<T> gather(const T& mine, std::uint32_t root = 0, site at = site::current()) {
    data::require_row<T>();
    return decoded<T>(gather_bytes_at(root, data::encode_value(mine), at), "a value of gather");
  }
  /// The value of `root` replaces that of the others.
  template <class T>
  requires(!barrier_detail::is_span<T>) void broadcast(T& x, std::uint32_t root = 0, site at = site::current()) {
    data::require_row<T>();
    auto bytes = rank() == root ? data::encode_value(x) : byte_buffer{};
    send_from(root, bytes, at);
    if (rank() != root) x = value_or_throw(data::decode_value<T>(bytes, "a value of broadcast"));
  }
  /// The root passes a value for each rank, the others none; each gets its own.
  template <class T>
  T scatter(const std::vector<T>& parts, std::uint32_t root = 0, site at = site::current()) {
    data::require_row<T>();
    return value_or_throw(data::decode_value<T>(scatter_bytes(root, encoded(parts), at), "a value of scatter"));
  }
  /// Every rank passes a value for each rank; gets those for it, by rank.
  template <class T>
  std::vector<T> all_to_all(const std::vector<T>& parts, site at = site::current()) {
    data::require_row<T>();
    return decoded<T>(exchange_bytes(encoded(parts), at), "a value of all_to_all");
  }
  /// Returns when the other rank has received it.
  template <class T>
  void send(const T& x, std::uint32_t to, site at = site::current()) {
    data::require_row<T>();
    send_bytes(to, data::encode_value(x), at);
  }
  template <class T>
  T receive(std::uint32_t from, site at = site::current()) {
    data::require_row<T>();
    return value_or_throw(data::decode_value<T>(receive_bytes(from, at), "a value that was sent"));
  }

 protected:
  comm::group& of_ranks() const { return *group_; }
  std::chrono::nanoseconds timeout() const { return timeout_; }
  std::vector<byte_buffer> gather_bytes(byte_view mine, const site& at);

 private:
  using part = barrier_detail::numbers::part;
  explicit gang_group(std::unique_ptr<comm::group> own, std::chrono::nanoseconds timeout);

  template <class T>
  static barrier_detail::numbers numbers_of(T& x) {
    barrier_detail::numbers all;
    all.add(x);
    return all;
  }
  template <class T, std::size_t N>
  static barrier_detail::numbers numbers_of(std::span<T, N> x) {
    static_assert(comm::number<T>,
                  "hydrogen: collectives take spans of float, double, half, bfloat16, int32 and int64");
    barrier_detail::numbers all;
    all.add_span(std::span<T>(x));
    return all;
  }
  template <comm::number T>
  static part part_of(std::span<T> x) {
    return {comm::element_of<T>, reinterpret_cast<std::byte*>(x.data()), x.size()};
  }
  template <class T>
  static std::vector<byte_buffer> encoded(const std::vector<T>& values) {
    std::vector<byte_buffer> all;
    for (const auto& v : values) all.push_back(data::encode_value(v));
    return all;
  }
  template <class T>
  static std::vector<T> decoded(const std::vector<byte_buffer>& all, const char* what) {
    std::vector<T> values;
    for (const auto& bytes : all) values.push_back(value_or_throw(data::decode_value<T>(bytes, what)));
    return values;
  }

  std::shared_ptr<std::byte> memory(std::size_t bytes, const site& at);
  void reduce_to_all(const barrier_detail::numbers& all, comm::reduction how, const site& at,
                     comm::algorithm by = comm::algorithm::picked);
  void reduce_to_root(const barrier_detail::numbers& all, std::uint32_t root, comm::reduction how, const site& at);
  void reduce_shares(const part& x, comm::reduction how, const site& at);
  void gather_shares(const part& x, const site& at);
  void broadcast_numbers(const part& x, std::uint32_t root, const site& at);
  pending_call reduce_later(const part& x, comm::reduction how, const site& at);
  std::vector<byte_buffer> gather_bytes_at(std::uint32_t root, byte_view mine, const site& at);
  void send_from(std::uint32_t root, byte_buffer& bytes, const site& at);
  byte_buffer scatter_bytes(std::uint32_t root, const std::vector<byte_buffer>& parts, const site& at);
  std::vector<byte_buffer> exchange_bytes(const std::vector<byte_buffer>& parts, const site& at);
  void send_bytes(std::uint32_t to, byte_view bytes, const site& at);
  byte_buffer receive_bytes(std::uint32_t from, const site& at);

  comm::group* group_;
  std::chrono::nanoseconds timeout_;
  std::unique_ptr<comm::group> own_;  // of some ranks
};

}  // namespace hydrogen::exec
