#pragma once
// Growing memory, 64-byte aligned, that becomes a block without a copy. Owned by one thread until it is sealed.

#include <hydrogen/data/block.hpp>

#include <cstring>

namespace hydrogen::data {

inline constexpr std::size_t block_alignment = 64;
inline constexpr std::size_t min_block_bytes = 4 * 1024;
inline constexpr std::size_t max_block_bytes = 2 * 1024 * 1024;
inline constexpr std::size_t default_block_bytes = 512 * 1024;

class buffer {
 public:
  buffer() = default;
  /// Room for `capacity` bytes.
  explicit buffer(std::size_t capacity);
  buffer(buffer&& other) noexcept;
  buffer& operator=(buffer&& other) noexcept;
  ~buffer();

  std::byte* data() const { return begin_; }
  std::size_t size() const { return static_cast<std::size_t>(at_ - begin_); }
  std::size_t capacity() const { return static_cast<std::size_t>(end_ - begin_); }

  /// `n` more bytes at the end, not yet written; earlier pointers become invalid.
  std::byte* grow(std::size_t n) {
    if (static_cast<std::size_t>(end_ - at_) < n) [[unlikely]]
      enlarge(n);
    auto* p = at_;
    at_ += n;
    return p;
  }
  void clear() { at_ = begin_; }

  /// The content as a block; the buffer is empty afterwards.
  block_ptr seal(std::uint64_t rows, std::uint64_t type_code, layout rows_are);

 private:
  void enlarge(std::size_t n);
  std::byte* begin_ = nullptr;
  std::byte* at_ = nullptr;
  std::byte* end_ = nullptr;
};

}  // namespace hydrogen::data
