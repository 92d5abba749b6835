#pragma once
// A file that lives as long as a test case.

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>

namespace hydrogen::tests {

class temporary_file {
 public:
  explicit temporary_file(std::string_view content)
      : path_((std::filesystem::temp_directory_path() / "hydrogen-test-XXXXXX").string()) {
    const int fd = mkstemp(path_.data());
    if (fd < 0) throw std::runtime_error("mkstemp");
    close(fd);
    write(content);
  }
  ~temporary_file() { unlink(path_.c_str()); }
  temporary_file(const temporary_file&) = delete;

  void write(std::string_view content) {
    auto* f = std::fopen(path_.c_str(), "wb");
    std::fwrite(content.data(), 1, content.size(), f);
    std::fclose(f);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace hydrogen::tests
