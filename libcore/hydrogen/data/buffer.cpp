#include <hydrogen/data/buffer.hpp>

#include <algorithm>
#include <cstdlib>
#include <new>

namespace hydrogen::data {
namespace {

std::byte* allocate(std::size_t n) {
  void* p = std::aligned_alloc(block_alignment, n);
  if (p == nullptr) throw std::bad_alloc();
  return static_cast<std::byte*>(p);
}

std::size_t round_up(std::size_t n) {
  return (std::max(n, min_block_bytes) + block_alignment - 1) / block_alignment * block_alignment;
}

}  // namespace

buffer::buffer(std::size_t capacity) {
  capacity = round_up(capacity);
  begin_ = at_ = allocate(capacity);
  end_ = begin_ + capacity;
}

buffer::buffer(buffer&& other) noexcept
    : begin_(std::exchange(other.begin_, nullptr)),
      at_(std::exchange(other.at_, nullptr)),
      end_(std::exchange(other.end_, nullptr)) {}

buffer& buffer::operator=(buffer&& other) noexcept {
  std::swap(begin_, other.begin_);
  std::swap(at_, other.at_);
  std::swap(end_, other.end_);
  return *this;
}

buffer::~buffer() {
  std::free(begin_);
}

void buffer::enlarge(std::size_t n) {
  const auto used = size();
  const auto capacity = round_up(std::max(used + n, 2 * this->capacity()));
  auto* fresh = allocate(capacity);
  if (used != 0) std::memcpy(fresh, begin_, used);
  std::free(begin_);
  begin_ = fresh;
  at_ = fresh + used;
  end_ = fresh + capacity;
}

block_ptr buffer::seal(std::uint64_t rows, std::uint64_t type_code, layout rows_are) {
  const auto bytes = byte_view(begin_, size());
  std::shared_ptr<const void> owner(begin_, [](const std::byte* p) { std::free(const_cast<std::byte*>(p)); });
  begin_ = at_ = end_ = nullptr;
  return std::make_shared<const block>(block{std::move(owner), bytes, rows, type_code, rows_are});
}

block_ptr copy_to_block(byte_view bytes, std::uint64_t rows, std::uint64_t type_code, layout rows_are) {
  buffer out(bytes.size());
  if (!bytes.empty()) std::memcpy(out.grow(bytes.size()), bytes.data(), bytes.size());
  return out.seal(rows, type_code, rows_are);
}

}  // namespace hydrogen::data
