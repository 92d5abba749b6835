#pragma once
// Writes the end of a file so that it is durable when the call returns. One thread at a time.
//
// Whole blocks go past the page cache where the file system can do that (O_DIRECT with O_DSYNC: write and flush,
// without a second way through the file system as `fdatasync` takes it), else through it.

#include <hydrogen/base/bytes.hpp>
#include <hydrogen/base/error.hpp>
#include <hydrogen/base/unique_fd.hpp>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace hydrogen::gang {

/// At this offset of a file, not durable yet. How much was written; less than all where that failed, and errno says
/// why.
std::size_t write_at(int fd, std::uint64_t at, byte_view);

class durable_writer {
 public:
  /// What blocks of file systems and sectors of disks divide.
  static constexpr std::uint64_t block = 4096;

  /// For nothing, until one that is open is moved here.
  durable_writer() = default;
  /// Of a file that is there.
  static expected<durable_writer> open(const std::string& path);

  /// From `begin` on, a multiple of `block`; then about so many zeros, for which no error is given. The file may have
  /// zeros up to the end of its last block afterwards. Errors: of the system; nothing is known of what was written.
  expected<void> write(std::uint64_t begin, byte_view, std::uint64_t zeros);

 private:
  struct alignas(block) whole_block {
    std::array<std::byte, block> bytes;
  };
  bool write_blocks(std::uint64_t begin, byte_view, std::uint64_t zeros);

  std::string path_;
  unique_fd plain_;
  unique_fd direct_;  // none where the file system cannot
  std::vector<whole_block> blocks_;
};

}  // namespace hydrogen::gang
