#pragma once
// `rows<T>`: the rows of some blocks as one range, in order. Copies share the blocks. Flat rows are read where they
// lie; other rows are decoded while the range is walked, each time anew (keep `contiguous()` to walk often). One thread
// per object. Throws `failure` when a block does not hold what it should.

#include <hydrogen/data/codec.hpp>

#include <iterator>
#include <optional>

namespace hydrogen::data {

/// Throws unless the block holds rows of T.
template <class T>
void check_block(const block& b) {
  const bool right = b.type_code == type_code<T> && b.rows_are == (is_flat<T> ? layout::flat : layout::encoded) &&
                     (!is_flat<T> || b.bytes.size() == b.rows * sizeof(T));
  if (!right)
    throw failure({errc::mismatch,
                   "a block holds rows of another type than its reader expects",
                   {},
                   "are all processes of one build?"});
}

/// The rows of a block of flat rows, where they lie.
template <class T>
std::span<const T> flat_rows(const block& b) {
  static_assert(is_flat<T>, "only flat rows can be read without a copy");
  check_block<T>(b);
  return {reinterpret_cast<const T*>(b.bytes.data()), b.rows};
}

/// Calls f(row) for each row of the block: const T& for flat rows, else a decoded T or its view (data::view_of), as an
/// rvalue.
template <class T, class F>
void for_each_row(const block& b, F&& f) {
  if constexpr (is_flat<T>) {
    for (const T& row : flat_rows<T>(b)) f(row);
  } else {
    check_block<T>(b);
    row_reader in(b.bytes);
    for (std::uint64_t i = 0; i < b.rows; ++i) {
      view_of<T> row{};
      in.get(row);
      if (!in.ok()) break;
      f(std::move(row));
    }
    if (!in.ok() || in.left() != 0)
      throw failure({errc::bad_input, "a block of " + std::to_string(b.rows) + " rows is damaged", {}, {}});
  }
}

template <class T>
class rows {
  struct shared {
    std::vector<block_ptr> blocks;
    std::uint64_t size = 0;
    std::optional<std::vector<T>> flat_copy;
  };

 public:
  using value_type = T;

  rows() : rows(std::vector<block_ptr>{}) {}
  explicit rows(std::vector<block_ptr> blocks) : shared_(std::make_shared<shared>()) {
    for (const auto& b : blocks) {
      check_block<T>(*b);
      shared_->size += b->rows;
    }
    shared_->blocks = std::move(blocks);
  }
  /// Of values, mostly for tests of user functions.
  explicit rows(const std::vector<T>& values) : shared_(std::make_shared<shared>()) {
    buffer out;
    for (const T& v : values) {
      if constexpr (is_flat<T>)
        copy_flat(out.grow(sizeof(T)), v);
      else
        row_writer<buffer>(out).put(v);
    }
    shared_->size = values.size();
    if (!values.empty())
      shared_->blocks.push_back(out.seal(values.size(), type_code<T>, is_flat<T> ? layout::flat : layout::encoded));
  }

  std::uint64_t size() const { return shared_->size; }
  bool empty() const { return shared_->size == 0; }

  /// The blocks as arrays, without a copy. Flat rows only.
  std::vector<std::span<const T>> blocks() const requires(is_flat<T>) {
    std::vector<std::span<const T>> out;
    for (const auto& b : shared_->blocks) out.push_back(flat_rows<T>(*b));
    return out;
  }

  /// All rows as one array. Flat rows in a single block are not copied; otherwise one copy is made at the first call
  /// and lives as long as any copy of this range.
  std::span<const T> contiguous() const {
    static_assert(!std::is_same_v<T, bool>, "rows of bool are not contiguous; walk the range");
    if constexpr (is_flat<T>) {
      if (shared_->blocks.empty()) return {};
      if (shared_->blocks.size() == 1) return flat_rows<T>(*shared_->blocks.front());
    }
    if (!shared_->flat_copy) {
      auto& all = shared_->flat_copy.emplace();
      all.reserve(shared_->size);
      for (const auto& b : shared_->blocks)
        for_each_row<T>(*b, [&](auto&& row) { all.push_back(own<T>(std::forward<decltype(row)>(row))); });
    }
    return *shared_->flat_copy;
  }

  class iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    using pointer = const T*;
    using reference = const T&;

    iterator() = default;
    const T& operator*() const {
      if constexpr (is_flat<T>)
        return *at_;
      else
        return current_;
    }
    const T* operator->() const { return &**this; }
    iterator& operator++() {
      if constexpr (is_flat<T>) ++at_;
      --left_;
      advance();
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const { return left_ == 0; }

   private:
    friend class rows;
    explicit iterator(const std::vector<block_ptr>& blocks)
        : next_(blocks.data()), last_(blocks.data() + blocks.size()) {
      advance();
    }
    void advance() {
      while (left_ == 0 && next_ != last_) {
        const auto& b = **next_++;
        left_ = b.rows;
        if constexpr (is_flat<T>)
          at_ = reinterpret_cast<const T*>(b.bytes.data());
        else
          in_ = row_reader(b.bytes);
      }
      if constexpr (!is_flat<T>) {
        if (left_ == 0) return;
        in_.get(current_);
        if (!in_.ok()) throw failure({errc::bad_input, "a block of rows is damaged", {}, {}});
      }
    }
    struct none {};
    const block_ptr* next_ = nullptr;
    const block_ptr* last_ = nullptr;
    std::uint64_t left_ = 0;
    const T* at_ = nullptr;
    row_reader in_{byte_view{}};
    std::conditional_t<is_flat<T>, none, T> current_{};
  };

  iterator begin() const { return iterator(shared_->blocks); }
  std::default_sentinel_t end() const { return {}; }

 private:
  std::shared_ptr<shared> shared_;
};

}  // namespace hydrogen::data
