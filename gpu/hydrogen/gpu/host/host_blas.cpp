#include <hydrogen/base/error.hpp>
#include <hydrogen/gpu/host/host_blas.hpp>

#include <dlfcn.h>
#include <sched.h>

#include <string>

namespace hydrogen::gpu {
namespace {

/// OpenBLAS starts a thread for each core that its loading thread may run on. While one lives that is a single core.
class one_core {
 public:
  one_core() : known_(sched_getaffinity(0, sizeof before_, &before_) == 0) {
    if (!known_) return;
    cpu_set_t one;
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (!CPU_ISSET(cpu, &before_)) continue;
      CPU_SET(cpu, &one);
      break;
    }
    sched_setaffinity(0, sizeof one, &one);
  }
  ~one_core() {
    if (known_) sched_setaffinity(0, sizeof before_, &before_);
  }
  one_core(const one_core&) = delete;

 private:
  cpu_set_t before_{};
  const bool known_;
};

[[noreturn]] void no_blas(const std::string& why) {
  throw failure(error{errc::not_found,
                      "matrix products need OpenBLAS, which cannot be used: " + why,
                      {},
                      "install Debian's libopenblas0-pthread"});
}

host_blas load() {
  void* library = nullptr;
  {
    const one_core alone;
    library = dlopen(HYDROGEN_OPENBLAS, RTLD_NOW | RTLD_LOCAL);
  }
  if (library == nullptr) no_blas(dlerror());
  const auto symbol = [&](const char* name) {
    void* found = dlsym(library, name);
    if (found == nullptr) no_blas(std::string("no ") + name + " in " HYDROGEN_OPENBLAS);
    return found;
  };
  // Debian's serial build has no lock around its scratch buffers: two threads that multiply at once can get the same
  // one, and a product is wrong once in a thousand calls on a busy machine.
  if (reinterpret_cast<decltype(&openblas_get_parallel)>(symbol("openblas_get_parallel"))() == OPENBLAS_SEQUENTIAL) {
    no_blas(HYDROGEN_OPENBLAS " is a serial build, which several threads cannot use at once");
  }
  // Somebody else may have loaded it before.
  reinterpret_cast<decltype(&openblas_set_num_threads)>(symbol("openblas_set_num_threads"))(1);
  return {reinterpret_cast<decltype(&cblas_sgemm)>(symbol("cblas_sgemm"))};
}

}  // namespace

const host_blas& load_host_blas() {
  static const host_blas blas = load();
  return blas;
}

}  // namespace hydrogen::gpu
