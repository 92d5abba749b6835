#pragma once
// Loads applications: shared libraries with one entry function (HYDROGEN_APPLICATION). A library is loaded with all its
// symbols resolved and apart from others (RTLD_NOW | RTLD_LOCAL), and never unloaded: blocks, threads and log lines may
// still point into it. Any thread; blocking.

#include <hydrogen/base/error.hpp>
#include <hydrogen/base/hash.hpp>

#include <functional>
#include <string>

namespace hydrogen::plan {
class context;
}

namespace hydrogen::exec {

/// Changes with every change of what an application and the engine share in memory.
#define HYDROGEN_ABI_VERSION "1"
#define HYDROGEN_ABI_TEXT_(x) #x
#define HYDROGEN_ABI_TEXT(x) HYDROGEN_ABI_TEXT_(x)
#ifdef __SANITIZE_ADDRESS__
#define HYDROGEN_ABI_SANITIZER " address sanitizer"
#elif defined(__SANITIZE_THREAD__)
#define HYDROGEN_ABI_SANITIZER " thread sanitizer"
#else
#define HYDROGEN_ABI_SANITIZER ""
#endif
#define HYDROGEN_ABI_STAMP                                                                                           \
  "hydrogen " HYDROGEN_ABI_VERSION ", compiler " HYDROGEN_ABI_TEXT(__GNUC__) ", C++ " HYDROGEN_ABI_TEXT(__cplusplus) \
      HYDROGEN_ABI_SANITIZER

/// The stamp this engine was built with.
const char* abi_stamp();

using entry_function = void (*)(plan::context&);

struct application {
  std::string name;  // "digits" of ".../libdigits.so"
  std::string path;  // absolute
  hash128 hash;      // content of the file
  entry_function entry = nullptr;
};

/// Errors: not_found (no such file), bad_input (no shared library; no entry), mismatch (another ABI stamp; unresolved
/// symbols).
/// What a static initialiser of the library throws cannot leave the loader and ends the process: `last_words` gets the
/// error before, on this thread. Without it the error goes to standard error and the exit code is 2.
expected<application> load_application(const std::string& path,
                                       const std::function<void(const error&)>& last_words = {});

}  // namespace hydrogen::exec
