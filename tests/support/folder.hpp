#pragma once
// An empty folder of one test, which goes with it.

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace hydrogen::tests {

class folder {
 public:
  folder() : path((std::filesystem::temp_directory_path() / "hydrogen-test-XXXXXX").string()) {
    REQUIRE(mkdtemp(path.data()) != nullptr);
  }
  ~folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  folder(const folder&) = delete;
  folder& operator=(const folder&) = delete;

  std::string file(const std::string& name) const { return (std::filesystem::path(path) / name).string(); }
  /// The whole file. Returns its path.
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(file(name), std::ios::binary) << text;
    return file(name);
  }
  /// Regular files in it and below.
  std::size_t files() const {
    std::size_t n = 0;
    for (const auto& e : std::filesystem::recursive_directory_iterator(path)) n += e.is_regular_file();
    return n;
  }

  std::string path;
};

}  // namespace hydrogen::tests
