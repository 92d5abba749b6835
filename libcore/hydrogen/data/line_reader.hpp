#pragma once
// Reads the lines (or quoted records) of one part of a text file, in order, with large reads and no copy per line. A
// line ends at '\n'; a '\r' before it is not part of the line; the last line needs no end. Lines that start in the part
// are read to their end, past the part's end if need be. One thread. Owns the file descriptor and one buffer.

#include <hydrogen/base/unique_fd.hpp>
#include <hydrogen/data/file_part.hpp>

#include <cstring>
#include <string_view>

namespace hydrogen::data {

class line_reader {
 public:
  /// Opens the file. errc::mismatch when its size is not what it was when the driver cut it.
  /// `quoted`: line ends between double quotes belong to the record.
  static expected<line_reader> open(const file_part& part, bool quoted = false, std::size_t buffer_bytes = 256 * 1024);

  /// The next line, valid until the next call; false at the end. Throws `failure` when reading fails.
  bool next(std::string_view& line) {
    if (at_ >= stop_) return false;
    const char* from = text();
    const auto left = filled_ - position_;
    if (!quoted_) [[likely]] {
      if (const void* end = left != 0 ? std::memchr(from, '\n', left) : nullptr) {
        const auto n = static_cast<std::size_t>(static_cast<const char*>(end) - from);
        take(n, n + 1, line);
        return true;
      }
    }
    return next_slow(line);
  }

  /// Where the line that `next` gave last starts in the file, in bytes.
  std::uint64_t line_start() const { return line_start_; }
  /// False after a quoted record whose last quote is missing.
  bool closed() const { return closed_; }

  /// 1 + the line ends before `offset`: a second pass over the file, for messages.
  static expected<std::uint64_t> line_number(const std::string& path, std::uint64_t offset);

 private:
  const char* text() const { return buffer_.data() + position_; }
  void take(std::size_t size, std::size_t consumed, std::string_view& line) {
    const char* from = text();
    line_start_ = at_;
    position_ += consumed;
    at_ += consumed;
    if (size != 0 && from[size - 1] == '\r') --size;
    line = {from, size};
  }
  bool next_slow(std::string_view& line);
  bool fill();

  unique_fd fd_;
  std::string path_;
  std::vector<char> buffer_;
  std::size_t position_ = 0;  // of the next line in the buffer
  std::size_t filled_ = 0;
  std::uint64_t at_ = 0;    // of the next line in the file
  std::uint64_t stop_ = 0;  // lines that start here or later are not ours
  std::uint64_t size_ = 0;  // of the file
  std::uint64_t line_start_ = 0;
  bool quoted_ = false;
  bool closed_ = true;
};

}  // namespace hydrogen::data
