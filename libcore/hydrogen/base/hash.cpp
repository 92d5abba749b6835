#include <hydrogen/base/hash.hpp>
#include <hydrogen/base/unique_fd.hpp>

#include <fcntl.h>
#include <spdlog/fmt/fmt.h>
#include <unistd.h>
#include <xxhash.h>

#include <memory>

namespace hydrogen {

std::uint64_t hash_bytes(byte_view bytes, std::uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

hash128 content_hash(byte_view bytes) {
  const auto h = XXH3_128bits(bytes.data(), bytes.size());
  return {h.high64, h.low64};
}

expected<hash128> content_hash_of_file(const std::string& path) {
  unique_fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail_errno("open", path);
  std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(), &XXH3_freeState);
  XXH3_128bits_reset(state.get());
  std::vector<std::byte> buffer(1 << 20);
  for (;;) {
    const auto n = read(fd.get(), buffer.data(), buffer.size());
    if (n < 0) return fail_errno("read", path);
    if (n == 0) break;
    XXH3_128bits_update(state.get(), buffer.data(), static_cast<std::size_t>(n));
  }
  const auto h = XXH3_128bits_digest(state.get());
  return hash128{h.high64, h.low64};
}

std::string to_string(const hash128& x) {
  return fmt::format("{:016x}{:016x}", x.high, x.low);
}

}  // namespace hydrogen
