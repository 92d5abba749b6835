#include <hydrogen/base/unique_fd.hpp>
#include <hydrogen/exec/application.hpp>
#include <hydrogen/exec/registry.hpp>

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>

namespace hydrogen::exec {
namespace {

constexpr const char* entry_hint =
    "end one source file of it with HYDROGEN_APPLICATION(function) and build it with hydrogen_add_application()";

expected<void> check_file(const std::string& path) {
  unique_fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) {
    if (errno == ENOENT)
      return fail(errc::not_found, "no such application library", path, "give the path of a lib*.so");
    return fail_errno("open", path);
  }
  Elf64_Ehdr header{};
  const auto n = pread(fd.get(), &header, sizeof header, 0);
  if (n != sizeof header || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_type != ET_DYN) {
    return fail(errc::bad_input, "is not a shared library", path,
                "applications are built with hydrogen_add_application()");
  }
  return {};
}

std::string last_dl_error() {
  const char* text = dlerror();
  return text != nullptr ? text : "unknown error";
}

/// While it lives, an exception that nobody catches on its thread is one of a static initialiser. There is no unwinding
/// through the loader, so this is the last place that sees it.
class initialiser_watch {
 public:
  initialiser_watch(const std::string& path, const std::function<void(const error&)>& last_words)
      : path_(path), last_words_(last_words), before_(std::set_terminate(on_terminate)) {
    current_ = this;
  }
  ~initialiser_watch() {
    current_ = nullptr;
    std::set_terminate(before_);
  }

 private:
  static void on_terminate() {
    const auto* self = current_;
    if (self == nullptr) std::abort();  // another thread, for a reason of its own
    std::string what = "something that is no std::exception";
    try {
      if (const auto thrown = std::current_exception()) std::rethrow_exception(thrown);
    } catch (const std::exception& e) {
      what = e.what();
    } catch (...) {
    }
    const error why{
        errc::bad_input, "a static initialiser of it threw: " + what, self->path_,
        "it runs in each process that loads the library: leave such work to the entry function or to tasks"};
    if (self->last_words_) {
      self->last_words_(why);
    } else {
      std::fflush(stdout);
      std::fprintf(stderr, "hydrogen: %s\n", why.message().c_str());
    }
    _exit(2);
  }

  static thread_local const initialiser_watch* current_;
  const std::string& path_;
  const std::function<void(const error&)>& last_words_;
  const std::terminate_handler before_;
};
thread_local const initialiser_watch* initialiser_watch::current_ = nullptr;

}  // namespace

const char* abi_stamp() {
  return HYDROGEN_ABI_STAMP;
}

expected<application> load_application(const std::string& path, const std::function<void(const error&)>& last_words) {
  std::error_code ec;
  application app;
  app.path = std::filesystem::absolute(path, ec).lexically_normal().string();
  if (auto good = check_file(app.path); !good) return unexpected(good.error());
  auto hash = content_hash_of_file(app.path);
  if (!hash) return unexpected(hash.error());
  app.hash = *hash;
  app.name = std::filesystem::path(app.path).stem().string();
  if (app.name.starts_with("lib")) app.name.erase(0, 3);

  void* library = nullptr;
  {
    const initialiser_watch watch(app.path, last_words);
    library = dlopen(app.path.c_str(), RTLD_NOW | RTLD_LOCAL);
  }
  if (library == nullptr) {
    const auto text = last_dl_error();
    const bool symbols = text.find("undefined symbol") != std::string::npos;
    return fail(symbols ? errc::mismatch : errc::bad_input, "cannot be loaded: " + text, app.path,
                symbols ? "build it against this version of Hydrogen, and link what it uses" : "");
  }
  const auto* stamp = static_cast<const char*>(dlsym(library, "hydrogen_application_abi"));
  auto* entry = dlsym(library, "hydrogen_application_entry");
  if (stamp == nullptr || entry == nullptr) return fail(errc::bad_input, "has no entry function", app.path, entry_hint);
  if (std::strcmp(stamp, abi_stamp()) != 0) {
    return fail(errc::mismatch, std::string("was built for '") + stamp + "', this is '" + abi_stamp() + "'", app.path,
                "build it again with this version and compiler");
  }
  Dl_info info{};
  if (dladdr(stamp, &info) == 0) return fail(errc::internal, "its load address cannot be found", app.path);
  operator_registry::instance().bind_library(info.dli_fbase, app.hash);
  app.entry = reinterpret_cast<entry_function>(entry);
  return app;
}

}  // namespace hydrogen::exec
