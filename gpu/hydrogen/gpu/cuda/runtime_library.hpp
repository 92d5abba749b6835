#pragma once
// A library that is loaded when it is first needed, so that programs start, and builds link, without it. It stays
// loaded. Names no CUDA type.

#include <initializer_list>
#include <string>

namespace hydrogen::gpu::cuda {

class runtime_library {
 public:
  /// The first of the names that is found where the loader looks, else in the folder of the toolkit of this build.
  explicit runtime_library(std::initializer_list<const char*> names);

  /// Sets a pointer to a function; what is missing is noted.
  template <class F>
  void find(F*& to, const char* name) {
    to = reinterpret_cast<F*>(symbol(name));
  }
  /// Empty: all is there. Else what is missing, in the loader's words.
  const std::string& why_not() const { return why_not_; }

 private:
  void* symbol(const char* name);

  void* opened_ = nullptr;
  std::string why_not_;
};

}  // namespace hydrogen::gpu::cuda
