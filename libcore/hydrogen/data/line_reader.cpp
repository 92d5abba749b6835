#include <hydrogen/data/line_reader.hpp>

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace hydrogen::data {

expected<line_reader> line_reader::open(const file_part& part, bool quoted, std::size_t buffer_bytes) {
  line_reader r;
  r.fd_.reset(::open(part.path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!r.fd_) {
    const int code = errno;
    char text[128];
    return fail(code == ENOENT ? errc::not_found : errc::io,
                std::string("cannot be opened: ") + strerror_r(code, text, sizeof text), part.path,
                "every node must see the same file");
  }
  struct stat info {};
  if (fstat(r.fd_.get(), &info) != 0) return fail_errno("stat", part.path);
  if (static_cast<std::uint64_t>(info.st_size) != part.size) {
    return fail(errc::mismatch,
                "the file has " + std::to_string(info.st_size) + " bytes here, but had " + std::to_string(part.size) +
                    " where the driver opened it",
                part.path, "every node must see the same file, and it must not change while it is read");
  }
  r.path_ = part.path;
  r.buffer_.resize(std::max<std::size_t>(buffer_bytes, 16));
  r.size_ = part.size;
  r.stop_ = part.end;
  r.quoted_ = quoted;
  r.at_ = part.begin;
  if (!part.exact && part.begin > 0) {
    // The line that covers the byte before is the part's before: go on after its end.
    r.at_ = part.begin - 1;
    r.stop_ = part.size;
    r.quoted_ = false;
    std::string_view skipped;
    r.next(skipped);
    r.stop_ = part.end;
    r.quoted_ = quoted;
  }
  return r;
}

bool line_reader::fill() {
  if (position_ != 0) {
    std::memmove(buffer_.data(), buffer_.data() + position_, filled_ - position_);
    filled_ -= position_;
    position_ = 0;
  }
  if (filled_ == buffer_.size()) buffer_.resize(2 * buffer_.size());
  for (;;) {
    const auto offset = at_ + filled_;
    if (offset >= size_) return false;
    const auto want = std::min<std::uint64_t>(buffer_.size() - filled_, size_ - offset);
    const auto n = pread(fd_.get(), buffer_.data() + filled_, want, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw failure(std::move(fail_errno("read", path_).value()));
    if (n == 0) {
      throw failure({errc::mismatch,
                     "the file became shorter while it was read: " + std::to_string(size_) + " bytes at the start, " +
                         std::to_string(offset) + " now",
                     path_, "it must not change while it is read"});
    }
    filled_ += static_cast<std::size_t>(n);
    return true;
  }
}

bool line_reader::next_slow(std::string_view& line) {
  std::size_t seen = 0;
  bool open = false;
  closed_ = true;
  for (;;) {
    const char* from = text();
    const auto left = filled_ - position_;
    while (seen < left) {
      const void* found = std::memchr(from + seen, '\n', left - seen);
      const auto end = found != nullptr ? static_cast<std::size_t>(static_cast<const char*>(found) - from) : left;
      if (quoted_) {
        const char* p = from + seen;
        while ((p = static_cast<const char*>(std::memchr(p, '"', static_cast<std::size_t>(from + end - p)))) != nullptr)
          open = !open, ++p;
      }
      if (found != nullptr && !open) {
        take(end, end + 1, line);
        return true;
      }
      seen = found != nullptr ? end + 1 : left;
    }
    if (!fill()) break;
  }
  // The last line of the file, without an end.
  const auto left = filled_ - position_;
  if (left == 0) {
    at_ = stop_;
    return false;
  }
  closed_ = !open;
  take(left, left, line);
  return true;
}

expected<std::uint64_t> line_reader::line_number(const std::string& path, std::uint64_t offset) {
  unique_fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail_errno("open", path);
  std::vector<char> chunk(1 << 18);
  std::uint64_t lines = 1;
  for (std::uint64_t at = 0; at < offset;) {
    const auto n =
        pread(fd.get(), chunk.data(), std::min<std::uint64_t>(chunk.size(), offset - at), static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("read", path);
    if (n == 0) break;
    lines += static_cast<std::uint64_t>(std::count(chunk.data(), chunk.data() + n, '\n'));
    at += static_cast<std::uint64_t>(n);
  }
  return lines;
}

}  // namespace hydrogen::data
