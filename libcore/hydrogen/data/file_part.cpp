#include <hydrogen/base/unique_fd.hpp>
#include <hydrogen/data/file_part.hpp>

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

namespace hydrogen::data {
namespace {

/// Moves the inner bounds up to the next start of a record, in one pass over the file.
expected<void> move_to_records(const unique_fd& fd, std::vector<file_part>& parts) {
  std::vector<char> chunk(1 << 20);
  std::uint64_t at = 0;
  std::size_t next = 1;  // the part whose begin is looked for
  bool open = false;     // between quotes
  while (next < parts.size()) {
    const auto n = pread(fd.get(), chunk.data(), chunk.size(), static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("read", parts[0].path);
    if (n == 0) break;
    const char* p = chunk.data();
    const char* const end = p + n;
    while (p != end) {
      const auto from = at + static_cast<std::uint64_t>(p - chunk.data());
      // Up to the wanted position only quotes count; from there on, the first line end outside quotes.
      const auto target = next < parts.size() ? parts[next].begin - 1 : UINT64_MAX;
      if (next == parts.size()) break;
      if (from < target) {
        const char* stop = target - from < static_cast<std::uint64_t>(end - p) ? p + (target - from) : end;
        while (const void* q = std::memchr(p, '"', static_cast<std::size_t>(stop - p))) {
          open = !open;
          p = static_cast<const char*>(q) + 1;
        }
        p = stop;
        continue;
      }
      if (*p == '"') {
        open = !open;
      } else if (*p == '\n' && !open) {
        const auto start = from + 1;
        while (next < parts.size() && parts[next].begin <= start) parts[next++].begin = start;
      }
      ++p;
    }
    at += static_cast<std::uint64_t>(n);
  }
  for (; next < parts.size(); ++next) parts[next].begin = parts[0].size;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    parts[i].end = i + 1 < parts.size() ? parts[i + 1].begin : parts[i].size;
    parts[i].exact = true;
  }
  return {};
}

}  // namespace

expected<std::vector<file_part>> cut_file(const std::string& path, std::uint32_t partitions, bool quoted) {
  std::error_code ec;
  const auto absolute = std::filesystem::absolute(path, ec).lexically_normal().string();
  unique_fd fd(open(absolute.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) {
    const int code = errno;
    char text[128];
    return fail(code == ENOENT ? errc::not_found : errc::io,
                std::string("cannot be opened: ") + strerror_r(code, text, sizeof text), absolute);
  }
  struct stat info {};
  if (fstat(fd.get(), &info) != 0) return fail_errno("stat", absolute);
  if (!S_ISREG(info.st_mode))
    return fail(errc::bad_input, "is not a regular file", absolute, "tasks read it by position");
  const auto size = static_cast<std::uint64_t>(info.st_size);
  if (partitions == 0) {
    const auto target = std::clamp(size / 16, least_part_bytes, most_part_bytes);
    partitions = static_cast<std::uint32_t>(std::max<std::uint64_t>(1, (size + target - 1) / target));
  }
  std::vector<file_part> parts;
  for (std::uint64_t i = 0; i < partitions; ++i) {
    const auto bound = [&](std::uint64_t k) {
      return static_cast<std::uint64_t>(static_cast<unsigned __int128>(size) * k / partitions);
    };
    parts.push_back({absolute, size, bound(i), bound(i + 1), false});
  }
  if (quoted) {
    // A bound of 0 for a later part (more parts than bytes) is the start of the file: the part before it is empty.
    std::size_t zeros = 1;
    while (zeros < parts.size() && parts[zeros].begin == 0) ++zeros;
    if (zeros > 1) {
      for (std::size_t i = 1; i < zeros; ++i) parts[i].begin = size == 0 ? 0 : 1;
    }
    if (size != 0) {
      if (auto moved = move_to_records(fd, parts); !moved) return unexpected(moved.error());
    }
  }
  return parts;
}

}  // namespace hydrogen::data
