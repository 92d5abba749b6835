#pragma once
// What the examples share: reading the arguments of an application, and finding the files that it is shipped with.

#include <hydrogen/hydrogen.hpp>

#include <cli/command_line.hpp>
#include <dlfcn.h>

#include <filesystem>
#include <string>

namespace examples {

/// Reads the arguments behind "--" into what `line` describes. False: the help was asked for, and printed. Throws
/// `failure` (bad input) for what cannot be used.
inline bool read_arguments(hydrogen::cli::command_line& line, hydrogen::context& ctx) {
  const auto outcome = line.read(ctx.args());
  if (outcome.wants_help) {
    auto text = line.help();
    text.erase(text.find_last_not_of('\n') + 1);
    ctx.print(text);
    return false;
  }
  if (!outcome.problem.empty()) {
    const auto hint = "try hydrogen run " + line.name() + " -- --help";
    throw hydrogen::failure({hydrogen::errc::bad_input, outcome.problem, line.name(), hint});
  }
  return true;
}

/// The path of a file that CMake put beside this application's library, wherever the user is.
[[maybe_unused]] static std::string shipped_file(const std::string& name) {
  Dl_info library{};
  // Any object of this library tells where it was loaded from.
  static const char here = 0;
  if (::dladdr(&here, &library) == 0 || library.dli_fname == nullptr) return name;
  return (std::filesystem::absolute(library.dli_fname).parent_path() / name).string();
}

}  // namespace examples
