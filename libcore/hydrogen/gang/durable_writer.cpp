#include <hydrogen/gang/durable_writer.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace hydrogen::gang {
namespace {

/// Bytes that are kept for the next write.
constexpr std::size_t most_kept = 1 << 20;

}  // namespace

std::size_t write_at(int fd, std::uint64_t at, byte_view bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const auto n = ::pwrite(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(at + done));
    if (n < 0 && errno == EINTR) continue;
    if (n == 0) errno = EIO;
    if (n <= 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

expected<durable_writer> durable_writer::open(const std::string& path) {
  durable_writer w;
  w.path_ = path;
  w.plain_.reset(::open(path.c_str(), O_WRONLY | O_DSYNC | O_CLOEXEC));
  if (!w.plain_) return fail_errno("open", path);
  w.direct_.reset(::open(path.c_str(), O_WRONLY | O_DSYNC | O_DIRECT | O_CLOEXEC));
  return w;
}

expected<void> durable_writer::write(std::uint64_t begin, byte_view bytes, std::uint64_t zeros) {
  invariant(begin % block == 0, "a write that does not begin with a block");
  // It may fail for what it writes beside the bytes, at a limit, or where blocks are larger.
  if (direct_ && write_blocks(begin, bytes, zeros)) return {};
  if (write_at(plain_.get(), begin, bytes) < bytes.size()) return fail_errno("write", path_);
  if (zeros > 0) (void)write_at(plain_.get(), begin + bytes.size(), byte_buffer(zeros));
  return {};
}

bool durable_writer::write_blocks(std::uint64_t begin, byte_view bytes, std::uint64_t zeros) {
  blocks_.resize((bytes.size() + zeros + block - 1) / block);
  const auto all = std::as_writable_bytes(std::span(blocks_));
  std::memcpy(all.data(), bytes.data(), bytes.size());
  std::fill(all.begin() + static_cast<std::ptrdiff_t>(bytes.size()), all.end(), std::byte{});
  const bool written = write_at(direct_.get(), begin, all) >= bytes.size();
  if (all.size() > most_kept) blocks_ = {};
  return written;
}

}  // namespace hydrogen::gang
