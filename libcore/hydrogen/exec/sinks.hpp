#pragma once
// Where the rows of a fused chain go. A sink has `ready` (false: the first row is still to come, and takes the slow
// way), `open` (an object for the length of one loop, kept in registers), `close` (takes it back), `one` (a single
// row), and `finish`. All of them write blocks to the site's output.

#include <hydrogen/exec/key_table.hpp>
#include <hydrogen/exec/steps.hpp>

namespace hydrogen::exec {

/// Base of sinks that handle each row alike.
template <class Sink>
struct plain_sink {
  struct opened {
    Sink& sink;
    template <class R>
    [[gnu::always_inline]] void operator()(R&& r) {
      sink.one(std::forward<R>(r));
    }
  };
  static constexpr bool always_ready = true;
  bool ready() const { return true; }
  opened open() { return {static_cast<Sink&>(*this)}; }
  void close(opened&) {}
  bool full() const { return false; }
};

/// The rows themselves.
template <class T>
struct block_sink : plain_sink<block_sink<T>> {
  data::block_writer<T> writer;
  block_output* out = nullptr;

  void start(const operator_site& site, data::row_reader&) {
    out = &site.out;
    writer =
        data::block_writer<T>(std::clamp(site.environment.block_bytes, data::min_block_bytes, data::max_block_bytes));
  }
  template <class R>
  void one(R&& r) {
    writer.put(r);
    if (writer.full()) out->put(writer.take(), 0);
  }
  void finish() {
    if (auto last = writer.take()) out->put(std::move(last), 0);
  }
};

/// The first `most` rows of the partition.
template <class T>
struct take_sink : block_sink<T> {
  std::uint64_t most = 0;
  std::uint64_t taken = 0;
  using opened = typename plain_sink<take_sink>::opened;
  opened open() { return {*this}; }
  void close(opened&) {}
  void start(const operator_site& site, data::row_reader& in) {
    block_sink<T>::start(site, in);
    in.get(most);
  }
  bool full() const { return taken >= most; }
  template <class R>
  void one(R&& r) {
    if (full()) return;
    ++taken;
    block_sink<T>::one(std::forward<R>(r));
  }
};

/// Writes a single row.
template <class T>
void put_single(block_output& out, const T& row) {
  data::block_writer<T> writer;
  writer.put(row);
  out.put(writer.take(), 0);
}

/// One row: how many.
template <class T>
struct count_sink {
  struct opened {
    std::uint64_t count;
    template <class R>
    [[gnu::always_inline]] void operator()(R&&) {
      ++count;
    }
  };
  static constexpr bool always_ready = true;
  std::uint64_t count = 0;
  block_output* out = nullptr;
  void start(const operator_site& site, data::row_reader&) { out = &site.out; }
  bool ready() const { return true; }
  bool full() const { return false; }
  opened open() { return {count}; }
  void close(opened& o) { count = o.count; }
  template <class R>
  void one(R&&) {
    ++count;
  }
  void finish() { put_single(*out, count); }
};

/// One row: (sum, number of rows). Sums in the order of the rows.
template <class T, class Sum>
struct sum_sink {
  struct opened {
    Sum sum;
    std::uint64_t count;
    [[gnu::always_inline]] void operator()(const T& x) {
      sum += static_cast<Sum>(x);
      ++count;
    }
  };
  static constexpr bool always_ready = true;
  opened total{};
  block_output* out = nullptr;
  void start(const operator_site& site, data::row_reader&) { out = &site.out; }
  bool ready() const { return true; }
  bool full() const { return false; }
  opened open() { return total; }
  void close(opened& o) { total = o; }
  void one(const T& x) { total(x); }
  void finish() { put_single(*out, std::pair<Sum, std::uint64_t>(total.sum, total.count)); }
};

/// One row, or none if there was none: the rows combined from the first to the last.
template <class T, class F, class... Args>
struct reduce_sink : with_arguments<Args...> {
  struct opened {
    T value;
    const std::tuple<Args...>& args;
    template <class R>
    [[gnu::always_inline]] void operator()(R&& r) {
      value = combined(std::move(value), std::forward<R>(r), args);
    }
  };
  static constexpr bool always_ready = false;
  std::optional<T> value;
  block_output* out = nullptr;

  template <class R>
  [[gnu::always_inline]] static T combined(T old, R&& r, const std::tuple<Args...>& args) {
    return std::apply(
        [&](const Args&... a) __attribute__((always_inline)) {
          if constexpr (std::is_same_v<std::remove_cvref_t<R>, T>)
            return static_cast<T>(F{}(std::move(old), std::forward<R>(r), a...));
          else
            return static_cast<T>(F{}(std::move(old), data::own<T>(std::forward<R>(r)), a...));
        },
        args);
  }
  void start(const operator_site& site, data::row_reader& in) {
    with_arguments<Args...>::start(site, in);
    out = &site.out;
  }
  bool ready() const { return value.has_value(); }
  bool full() const { return false; }
  opened open() { return {std::move(*value), this->args}; }
  void close(opened& o) { *value = std::move(o.value); }
  template <class R>
  void one(R&& r) {
    if (value)
      value = combined(std::move(*value), std::forward<R>(r), this->args);
    else
      value.emplace(data::own<T>(std::forward<R>(r)));
  }
  void finish() {
    if (value) put_single(*out, *value);
  }
};

/// The sending side of reduce_by_key: rows with the same key are combined in a table, then written to the bucket of
/// their key. It stops combining when keys hardly repeat; what it does depends on the rows of the partition alone, so
/// that inexact sums come out the same everywhere.
template <class K, class V, class F, class... Args>
struct shuffle_sink : plain_sink<shuffle_sink<K, V, F, Args...>>, with_arguments<Args...> {
  using pair = std::pair<K, V>;
  static constexpr std::size_t first_look = 32 * 1024;              // entries before asking whether combining pays
  static constexpr std::size_t most_bytes = std::size_t{64} << 20;  // of the table, before it is emptied

  key_table<K, V> table;
  std::vector<data::block_writer<pair>> writers;
  block_output* out = nullptr;
  std::uint64_t rows = 0;  // into the table since it was last emptied
  std::size_t next_look = first_look;
  bool combining = true;

  void start(const operator_site& site, data::row_reader& in) {
    with_arguments<Args...>::start(site, in);
    out = &site.out;
    const auto share = (std::size_t{8} << 20) / site.what.buckets;
    const auto target =
        std::clamp(std::min(share, site.environment.block_bytes), data::min_block_bytes, data::max_block_bytes);
    writers.reserve(site.what.buckets);
    for (std::uint32_t b = 0; b < site.what.buckets; ++b) writers.emplace_back(target);
  }

  template <class R>
  void one(R&& r) {
    const auto key = table.look(r.first);
    if (!combining) return write(key.hash, std::forward<R>(r).first, std::forward<R>(r).second);
    ++rows;
    std::apply(
        [&](const Args&... a) {
          table.add(key, std::forward<R>(r).second, [&](V old, auto&& value) {
            return static_cast<V>(F{}(std::move(old), std::forward<decltype(value)>(value), a...));
          });
        },
        this->args);
    if (table.size() >= next_look) [[unlikely]]
      look();
  }

  void finish() {
    empty();
    for (std::uint32_t b = 0; b < writers.size(); ++b) {
      if (auto last = writers[b].take()) out->put(std::move(last), b);
    }
  }

 private:
  [[gnu::noinline]] void look() {
    if (rows < table.size() + table.size() / 8) {
      combining = false;
      empty();
    } else if (table.bytes() > most_bytes) {
      empty();
      rows = 0;
      next_look = first_look;
    } else {
      next_look = 2 * table.size();
    }
  }
  void empty() {
    for (auto& e : table.entries()) write(e.hash, key_table<K, V>::key_of(e), e.value);
    table.clear();
  }
  template <class Key, class Value>
  void write(std::uint64_t hash, const Key& key, const Value& value) {
    const auto bucket = static_cast<std::uint32_t>((hash >> 32) * writers.size() >> 32);
    auto& writer = writers[bucket];
    if constexpr (data::is_flat<pair>)
      writer.put(pair(key, value));
    else
      writer.put(std::pair<const Key&, const Value&>(key, value));
    if (writer.full()) out->put(writer.take(), bucket);
  }
};

}  // namespace hydrogen::exec
