#pragma once
// Collects rows into blocks. One thread.

#include <hydrogen/data/codec.hpp>

namespace hydrogen::data {

template <class T>
class block_writer {
 public:
  /// Blocks of about `target` bytes; a row that is larger gets a block of its own.
  explicit block_writer(std::size_t target = default_block_bytes) : target_(target) {}

  /// Row by value or by its view (data::view_of).
  template <class R>
  void put(const R& row) {
    if constexpr (is_flat<T>)
      copy_flat(out_.grow(sizeof(T)), static_cast<const T&>(row));
    else
      row_writer<buffer>(out_).put(row);
    ++rows_;
  }

  std::uint64_t rows() const { return rows_; }
  std::size_t bytes() const { return out_.size(); }
  bool empty() const { return rows_ == 0; }
  /// Time to `take`.
  bool full() const { return out_.size() >= target_; }

  /// The rows so far as a block; null when there are none.
  block_ptr take() {
    if (rows_ == 0) return nullptr;
    // A writer that filled one block will probably fill another, and need not grow to it step by step.
    auto next = full() ? buffer(target_ + sizeof(T)) : buffer();
    auto sealed = out_.seal(std::exchange(rows_, 0), type_code<T>, is_flat<T> ? layout::flat : layout::encoded);
    out_ = std::move(next);
    return sealed;
  }

 private:
  buffer out_;
  std::uint64_t rows_ = 0;
  std::size_t target_;
};

}  // namespace hydrogen::data
