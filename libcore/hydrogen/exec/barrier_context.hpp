#pragma once
// What a function in a barrier stage sees of its gang. One per rank, used on that rank's slot thread for the length of
// the function. Every call throws `failure` when it fails: a rank is missing (timed_out), has left or died
// (disconnected), calls something else (mismatch), or the attempt was ended (aborted); the gang is then retried whole.

#include <hydrogen/comm/element.hpp>
#include <hydrogen/data/rows.hpp>
#include <hydrogen/exec/environment.hpp>

#include <optional>
#include <source_location>
#include <utility>

namespace hydrogen::exec {

struct checkpoint_options {
  /// All ranks hold the same state: after their hashes agree, rank 0 alone writes it, and an attempt of any world size
  /// can restore it.
  bool replicated = false;
};

namespace barrier_detail {

using comm::reduction;

/// The numbers of a value, by element type, in the order of its fields.
struct numbers {
  using result_type = bool;
  std::vector<std::span<float>> floats;
  std::vector<std::span<double>> doubles;
  std::vector<std::span<std::int64_t>> integers;

  template <class... Ts>
  bool operator()(Ts&... xs) {
    (add(xs), ...);
    return true;
  }
  void add_span(std::span<float> s) { floats.push_back(s); }
  void add_span(std::span<double> s) { doubles.push_back(s); }
  void add_span(std::span<std::int64_t> s) { integers.push_back(s); }

  template <class T>
  static constexpr bool is_number =
      std::is_same_v<T, float> || std::is_same_v<T, double> || std::is_same_v<T, std::int64_t>;

  template <class T>
  void add(T& x) {
    using namespace codec_detail;
    if constexpr (is_number<T>)
      add_span(std::span(&x, 1));
    else if constexpr (is_vector<T> || is_array<T>) {
      if constexpr (is_number<typename T::value_type>)
        add_span(std::span(x.data(), x.size()));
      else
        for (auto& v : x) add(v);
    } else if constexpr (is_tuple<T>)
      std::apply([this](auto&... v) { (add(v), ...); }, x);
    else if constexpr (data::has_inspect<T>)
      inspect(*this, x);
    else {
      static_assert(
          data::plain_aggregate<T>,
          "hydrogen: all_reduce takes float, double and std::int64_t, and arrays, vectors and structs of these");
      if constexpr (data::plain_aggregate<T>) data::with_fields([this](auto&... v) { (add(v), ...); }, x);
    }
  }
};

}  // namespace barrier_detail

class barrier_context {
 public:
  using site = std::source_location;

  barrier_context(const task& what, task_environment& environment);
  barrier_context(const barrier_context&) = delete;

  std::uint32_t rank() const;
  /// World size. With `barrier_options::least_ranks` attempts may differ in it; in one attempt it does not change.
  std::uint32_t size() const;
  /// Earlier attempts of this gang: 0 in the first.
  std::uint32_t attempt() const;
  /// The attempt was ended from outside: return soon. Collectives fail by themselves.
  bool stop_requested() const;

  void barrier(site at = site::current());

  /// Element by element over all ranks, in place: numbers, spans, arrays, vectors and structs of float, double and
  /// int64.
  template <class T>
  requires(!std::is_const_v<T>) void all_reduce(T& x, comm::reduction how = comm::reduction::sum,
                                                site at = site::current()) {
    barrier_detail::numbers all;
    all.add(x);
    reduce(all, how, at);
  }
  template <class T, std::size_t N>
  void all_reduce(std::span<T, N> x, comm::reduction how = comm::reduction::sum, site at = site::current()) {
    static_assert(barrier_detail::numbers::is_number<T>, "hydrogen: all_reduce takes float, double and std::int64_t");
    barrier_detail::numbers all;
    all.add_span(x);
    reduce(all, how, at);
  }
  /// Of a temporary: returns the result.
  template <class T>
  requires(!std::is_lvalue_reference_v<T> && !std::is_const_v<T>) T
      all_reduce(T&& x, comm::reduction how = comm::reduction::sum, site at = site::current()) {
    all_reduce(x, how, at);
    return std::move(x);
  }

  /// The value of each rank, by rank. Values may differ in size.
  template <class T>
  std::vector<T> all_gather(const T& mine, site at = site::current()) {
    data::require_row<T>();
    std::vector<T> all;
    for (const auto& bytes : gather(data::encode_value(mine), at))
      all.push_back(value_or_throw(data::decode_value<T>(bytes, "a value of all_gather")));
    return all;
  }
  /// The value of `root` replaces that of the others.
  template <class T>
  void broadcast(T& x, std::uint32_t root = 0, site at = site::current()) {
    data::require_row<T>();
    auto bytes = rank() == root ? data::encode_value(x) : byte_buffer{};
    send_from(root, bytes, at);
    if (rank() != root) x = value_or_throw(data::decode_value<T>(bytes, "a value of broadcast"));
  }

  /// Makes `state` after `step` steps durable; all ranks call it. Returns when this rank's piece is on disk and the job
  /// knows. The last two steps are kept. A state that is not replicated can be restored by as many ranks alone.
  template <class State>
  void checkpoint(std::uint64_t step, const State& state, checkpoint_options options = {}, site at = site::current()) {
    data::require_row<State>();
    save(step, data::encode_value(state), options, at);
  }
  /// The last complete checkpoint, as (step, state); (step, initial) when there is none. All ranks get the same step.
  /// If another world size wrote it, and it is not replicated: the last complete one that is, or (step, initial).
  template <class Step, class State>
  std::pair<Step, State> restore_or(Step step, State initial) {
    data::require_row<State>();
    byte_buffer bytes;
    if (const auto saved = load(bytes)) {
      return {static_cast<Step>(*saved), value_or_throw(data::decode_value<State>(bytes, "the state of a checkpoint"))};
    }
    return {step, std::move(initial)};
  }

 private:
  comm::group& gang() const;
  void reduce(barrier_detail::numbers& all, comm::reduction how, const site& at);
  std::vector<byte_buffer> gather(byte_view mine, const site& at);
  void send_from(std::uint32_t root, byte_buffer& bytes, const site& at);
  void save(std::uint64_t step, byte_view state, checkpoint_options options, const site& at);
  std::optional<std::uint64_t> load(byte_buffer& bytes);

  const task& task_;
  task_environment& environment_;
  struct piece {
    std::uint64_t step = 0;
    std::string path;
  };
  std::vector<piece> pieces_;  // this rank's, oldest first
};

}  // namespace hydrogen::exec
