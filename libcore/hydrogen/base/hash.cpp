#include <hydrogen/base/hash.hpp>
#include <hydrogen/base/unique_fd.hpp>

#include <fcntl.h>
#include <spdlog/fmt/fmt.h>
#include <unistd.h>
#include <xxhash.h>

#include <memory>
#include <new>

namespace hydrogen {

std::uint64_t hash_bytes(byte_view bytes, std::uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

namespace {
XXH3_state_t* state_of(void* s) {
  return static_cast<XXH3_state_t*>(s);
}
}  // namespace

void hash_stream::freer::operator()(void* s) const {
  XXH3_freeState(state_of(s));
}

hash_stream::hash_stream() : state_(XXH3_createState()) {
  if (!state_) throw std::bad_alloc();
  restart();
}

void hash_stream::restart() {
  XXH3_64bits_reset(state_of(state_.get()));
}

void hash_stream::add(const void* bytes, std::size_t size) {
  XXH3_64bits_update(state_of(state_.get()), bytes, size);
}

std::uint64_t hash_stream::value() const {
  return XXH3_64bits_digest(state_of(state_.get()));
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
