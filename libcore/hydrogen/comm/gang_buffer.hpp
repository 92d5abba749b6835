#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace hydrogen::comm {

/// Of `count` numbers; more than any memory has where the product does not fit.
template <class T>
constexpr std::size_t bytes_of(std::size_t count) {
  return count > SIZE_MAX / sizeof(T) ? SIZE_MAX : count * sizeof(T);
}

/// Memory for numbers that the other ranks on this host read and write where it is. Lives as long as this object and
/// its copies, and the memory itself until the gang is over: make it once.
template <class T>
class gang_buffer {
 public:
  gang_buffer() = default;
  gang_buffer(std::shared_ptr<std::byte> memory, std::size_t count) : memory_(std::move(memory)), count_(count) {}
  T* data() const { return reinterpret_cast<T*>(memory_.get()); }
  std::size_t size() const { return count_; }
  T& operator[](std::size_t i) const { return data()[i]; }
  T* begin() const { return data(); }
  T* end() const { return data() + count_; }
  std::span<T> span() const { return {data(), count_}; }

 private:
  std::shared_ptr<std::byte> memory_;
  std::size_t count_ = 0;
};

}  // namespace hydrogen::comm
