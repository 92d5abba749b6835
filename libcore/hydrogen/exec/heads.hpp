#pragma once
// Where the rows of a fused chain come from. A head has `row` (the row type), `start` (reads its parameters), `block`
// (a block of the stage's input) and `finish` (after the last block; sources do their work here). `run` is the rest of
// the chain: run.rows(generate) calls generate(push) once, with everything behind `push` inlined.

#include <hydrogen/data/csv.hpp>
#include <hydrogen/data/rows.hpp>
#include <hydrogen/exec/key_table.hpp>
#include <hydrogen/exec/steps.hpp>

namespace hydrogen::exec {

/// The blocks of a dataset.
template <class T>
struct blocks_of {
  using row = T;
  static constexpr bool is_source = false;
  void start(const operator_site&, data::row_reader&) {}

  template <class Run>
  void block(const data::block_ptr& b, Run& run) {
    if constexpr (Run::takes_blocks) {
      run.take_block(b);
    } else if constexpr (data::is_flat<T>) {
      const auto all = data::flat_rows<T>(*b);
      std::size_t i = 0;
      while (!run.ready() && i < all.size()) run.one(all[i++]);
      if (i == all.size()) return;
      run.rows([&](auto& push) {
        for (const T *p = all.data() + i, *end = all.data() + all.size(); p != end; ++p) push(*p);
      });
    } else {
      run.any_rows([&](auto& push) { data::for_each_row<T>(*b, push); });
    }
  }
  template <class Run>
  void finish(Run&) {}
};

/// Integers [begin, end) of this partition, made in registers.
struct integer_range {
  using row = std::int64_t;
  static constexpr bool is_source = true;
  std::int64_t begin = 0;
  std::int64_t end = 0;
  static byte_buffer argument(std::int64_t begin, std::int64_t end) {
    return data::encode_value(std::pair(begin, end));
  }

  void start(const operator_site& site, data::row_reader&) {
    std::tie(begin, end) = value_or_throw(
        data::decode_value<std::pair<std::int64_t, std::int64_t>>(site.partition_argument, "the bounds of a range"));
  }
  template <class Run>
  void block(const data::block_ptr&, Run&) {}
  template <class Run>
  void finish(Run& run) {
    auto i = begin;
    for (; !run.ready() && i < end; ++i) run.one(std::int64_t{i});
    while (i < end && run.wants_more()) {
      const auto stop = i + std::min<std::int64_t>(end - i, 1 << 18);  // between looks at the abort word
      run.rows([&](auto& push) {
        for (auto k = i; k < stop; ++k) push(std::int64_t{k});
      });
      i = stop;
    }
  }
};

/// Rows that the driver gave: the bytes of one block.
template <class T>
struct given_rows {
  using row = T;
  static constexpr bool is_source = true;
  byte_view bytes;

  /// The argument of the partition that holds [first, last).
  template <class Iterator>
  static byte_buffer argument(Iterator first, Iterator last) {
    byte_buffer out;
    data::row_writer<byte_buffer> writer(out);
    for (; first != last; ++first) writer.put(static_cast<const T&>(*first));
    return out;
  }
  void start(const operator_site& site, data::row_reader&) { bytes = site.partition_argument; }
  template <class Run>
  void block(const data::block_ptr&, Run&) {}
  template <class Run>
  void finish(Run& run) {
    run.any_rows([&](auto& push) {
      data::row_reader in(bytes);
      while (in.left() != 0) {
        data::view_of<T> row{};
        in.get(row);
        if (!in.ok()) throw failure({errc::bad_input, "the rows of a partition are damaged", {}, {}});
        push(std::move(row));
      }
    });
  }
};

/// The lines of a part of a text file.
struct text_lines {
  using row = std::string;
  static constexpr bool is_source = true;
  data::file_part part;

  void start(const operator_site& site, data::row_reader&) {
    part = value_or_throw(data::decode_value<data::file_part>(site.partition_argument, "a part of a file"));
  }
  template <class Run>
  void block(const data::block_ptr&, Run&) {}
  template <class Run>
  void finish(Run& run) {
    auto lines = value_or_throw(data::line_reader::open(part));
    bool more = true;
    while (more && run.wants_more()) {
      run.any_rows([&](auto& push) {
        std::string_view line;
        for (int n = 0; n < 4096 && (more = lines.next(line)); ++n) push(std::string_view(line));
      });
    }
  }
};

/// The records of a part of a CSV file.
template <class T>
struct csv_rows {
  using row = T;
  static constexpr bool is_source = true;
  data::file_part part;
  data::csv_options options;

  void start(const operator_site& site, data::row_reader& in) {
    in.get(options);
    part = value_or_throw(data::decode_value<data::file_part>(site.partition_argument, "a part of a file"));
  }
  template <class Run>
  void block(const data::block_ptr&, Run&) {}
  template <class Run>
  void finish(Run& run) {
    data::csv_reader reader(part, options);
    bool more = true;
    while (more && run.wants_more()) {
      run.any_rows([&](auto& push) {
        for (int n = 0; n < 1024; ++n) {
          T row{};
          if (!(more = reader.next(row))) break;
          push(std::move(row));
        }
      });
    }
  }
};

/// The receiving side of reduce_by_key: combines the pairs of one bucket in order of (source partition, index).
template <class K, class V, class F, class... Args>
struct merged : with_arguments<Args...> {
  using row = std::pair<K, V>;
  static constexpr bool is_source = false;
  key_table<K, V> table;

  template <class Run>
  void block(const data::block_ptr& b, Run&) {
    std::apply(
        [&](const Args&... a) {
          const auto combine = [&](V old, auto&& value) {
            return static_cast<V>(F{}(std::move(old), std::forward<decltype(value)>(value), a...));
          };
          data::for_each_row<row>(*b, [&](auto&& r) {
            const auto key = table.look(r.first);
            table.add(key, std::forward<decltype(r)>(r).second, combine);
          });
        },
        this->args);
  }
  template <class Run>
  void finish(Run& run) {
    run.any_rows([&](auto& push) {
      for (auto& e : table.entries()) push(data::view_of<row>(key_table<K, V>::key_of(e), std::move(e.value)));
    });
    table.clear();
  }
};

}  // namespace hydrogen::exec
