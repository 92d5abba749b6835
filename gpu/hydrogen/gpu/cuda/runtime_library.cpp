#include <hydrogen/gpu/cuda/runtime_library.hpp>

#include <dlfcn.h>

namespace hydrogen::gpu::cuda {

runtime_library::runtime_library(std::initializer_list<const char*> names) {
#ifdef HYDROGEN_CUDA_LIBRARIES
  const std::string folders[] = {"", HYDROGEN_CUDA_LIBRARIES "/"};
#else
  const std::string folders[] = {""};
#endif
  for (const auto& folder : folders) {
    for (const char* name : names) {
      opened_ = dlopen((folder + name).c_str(), RTLD_NOW | RTLD_LOCAL);
      if (opened_ != nullptr) {
        why_not_.clear();
        return;
      }
      const char* said = dlerror();
      if (why_not_.empty()) why_not_ = said != nullptr ? said : name;
    }
  }
}

void* runtime_library::symbol(const char* name) {
  void* found = opened_ != nullptr ? dlsym(opened_, name) : nullptr;
  if (found == nullptr && why_not_.empty()) why_not_ = std::string("it has no ") + name;
  return found;
}

}  // namespace hydrogen::gpu::cuda
