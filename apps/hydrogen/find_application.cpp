#include "find_application.hpp"

#include <hydrogen/base/nearest.hpp>

#include <spdlog/fmt/fmt.h>

#include <cstdlib>
#include <filesystem>
#include <set>
#include <sstream>

namespace hydrogen::program {

namespace fs = std::filesystem;

std::vector<std::string> application_folders() {
  std::vector<std::string> folders;
  if (const char* path = std::getenv("HYDROGEN_PATH"); path != nullptr) {
    std::istringstream parts{path};
    for (std::string folder; std::getline(parts, folder, ':');) {
      if (!folder.empty()) folders.push_back(folder);
    }
  }
  std::error_code code;
  const auto program = fs::read_symlink("/proc/self/exe", code);
  if (!code) folders.push_back((program.parent_path() / "../lib/hydrogen").lexically_normal().string());
  return folders;
}

std::vector<std::string> application_names() {
  std::set<std::string> names;
  for (const auto& folder : application_folders()) {
    std::error_code code;
    for (const auto& entry : fs::directory_iterator(folder, code)) {
      const auto file = entry.path().filename().string();
      if (file.starts_with("lib") && file.ends_with(".so") && file.size() > 6)
        names.insert(file.substr(3, file.size() - 6));
    }
  }
  return {names.begin(), names.end()};
}

expected<std::string> find_application(const std::string& name) {
  std::error_code code;
  if (name.find('/') != std::string::npos || name.ends_with(".so")) {
    const auto path = fs::absolute(name, code).lexically_normal();
    if (!fs::exists(path, code)) {
      return fail(errc::not_found, "no such file", path.string(), "name an application's library, or an application");
    }
    if (!fs::is_regular_file(path, code)) return fail(errc::bad_input, "is not a file", path.string());
    return path.string();
  }
  const auto folders = application_folders();
  for (const auto& folder : folders) {
    const auto path = fs::absolute(fs::path(folder) / fmt::format("lib{}.so", name), code);
    if (fs::is_regular_file(path, code)) return path.string();
  }
  const auto known = application_names();
  const auto near = nearest_name(name, known);
  std::string hint =
      near ? fmt::format("did you mean '{}'?", *near) : fmt::format("there are: {}", fmt::join(known, ", "));
  if (!near && known.empty()) hint = "set HYDROGEN_PATH to the folder of your applications, or name the library's path";
  return fail(errc::not_found,
              fmt::format("no application '{}': no lib{}.so in {}", name, name, fmt::join(folders, ", ")), {},
              std::move(hint));
}

}  // namespace hydrogen::program
