#pragma once
// Content hashes: XXH3 (fast, not for secrets). Any thread.

#include <hydrogen/base/bytes.hpp>

#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace hydrogen {

struct hash128 {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  auto operator<=>(const hash128&) const = default;
  template <class I>
  friend auto inspect(I& f, hash128& x) {
    return f(x.high, x.low);
  }
};

std::uint64_t hash_bytes(byte_view bytes, std::uint64_t seed = 0);
/// `hash_bytes` of what comes in pieces. One thread.
class hash_stream {
 public:
  hash_stream();
  void restart();
  void add(const void* bytes, std::size_t size);
  /// Of all since the last restart.
  std::uint64_t value() const;

 private:
  struct freer {
    void operator()(void*) const;
  };
  std::unique_ptr<void, freer> state_;
};

hash128 content_hash(byte_view bytes);
/// Of a whole file, read in pieces.
expected<hash128> content_hash_of_file(const std::string& path);
std::string to_string(const hash128&);  // 32 hexadecimal digits

}  // namespace hydrogen
