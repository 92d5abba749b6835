#pragma once
// From what a user names to the library to load. Any thread.

#include <hydrogen/base/error.hpp>

#include <string>
#include <vector>

namespace hydrogen::program {

/// A name with '/' or ending in ".so" is a path; any other NAME is libNAME.so in the folders of $HYDROGEN_PATH (divided
/// by ':'), then in ../lib/hydrogen beside the program. The path comes back absolute. errc::not_found says where it
/// was looked for and which name is near.
expected<std::string> find_application(const std::string& name);

/// The folders that are searched, in order.
std::vector<std::string> application_folders();

/// Names of all applications there, sorted, each once.
std::vector<std::string> application_names();

}  // namespace hydrogen::program
