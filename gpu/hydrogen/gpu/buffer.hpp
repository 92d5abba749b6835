#pragma once
// Numbers in memory of a device, or in pinned memory of the host. A buffer is a reference: copies and parts share the
// memory, which lives as long as one of them or a graph that uses it, and returns to its pool behind the work that uses
// it. Work of several streams on one memory is put in order on the device, without the host. Any thread.

#include <hydrogen/gpu/element.hpp>
#include <hydrogen/gpu/memory_pool.hpp>

#include <cstddef>
#include <span>
#include <type_traits>

namespace hydrogen::gpu {

/// Throws `failure` (bad_input) "what: why".
[[noreturn]] void refuse(const char* what, const std::string& why);

template <class T>
class buffer {
  static_assert(number<std::remove_const_t<T>>, "hydrogen: buffers hold float, double, half, bfloat16 and integers");

 public:
  buffer() = default;
  buffer(memory_ptr owner, T* data, std::size_t size) : memory_(std::move(owner)), data_(data), size_(size) {}
  /// A buffer can be read where its numbers may not be changed.
  operator buffer<const T>() const requires(!std::is_const_v<T>) { return {memory_, data_, size_}; }

  std::size_t size() const { return size_; }
  std::size_t bytes() const { return size_ * sizeof(T); }
  bool empty() const { return size_ == 0; }
  /// The address on the device; the host may follow it only in pinned memory.
  T* data() const { return data_; }
  /// Of pinned memory, what the host may read when the last writer's event is reached, and write when all are.
  std::span<T> on_host() const {
    if (memory_ && memory_->kind() != memory_kind::pinned) refuse("buffer", "its memory is a device's");
    return {data_, size_};
  }
  /// `n` elements from `first` on. Throws `failure` (bad_input) if they are not all inside.
  buffer part(std::size_t first, std::size_t n) const {
    if (first > size_ || n > size_ - first) {
      refuse("buffer", "no part of " + std::to_string(n) + " elements at " + std::to_string(first) + " of " +
                           std::to_string(size_));
    }
    return {memory_, data_ + first, n};
  }
  memory* owner() const { return memory_.get(); }
  const memory_ptr& shared() const { return memory_; }

 private:
  memory_ptr memory_;
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

/// A row-major matrix without gaps. Throws `failure` (bad_input) for a buffer of another size than rows x columns.
template <class T>
struct matrix_of {
  matrix_of(buffer<T> v, std::size_t r, std::size_t c) : values(std::move(v)), rows(r), columns(c) {
    const bool fits = r == 0 || c == 0 ? values.empty() : values.size() % c == 0 && values.size() / c == r;
    if (!fits) {
      refuse("matrix",
             std::to_string(values.size()) + " elements are not " + std::to_string(r) + " x " + std::to_string(c));
    }
  }
  operator matrix_of<const T>() const requires(!std::is_const_v<T>) { return {values, rows, columns}; }
  buffer<T> values;
  std::size_t rows, columns;
};

}  // namespace hydrogen::gpu
