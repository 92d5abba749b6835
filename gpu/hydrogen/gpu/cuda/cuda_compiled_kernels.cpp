#include <hydrogen/gpu/cuda/compiled_kernels.cuh>
#include <hydrogen/gpu/cuda/kernel_compiler.hpp>
#include <hydrogen/gpu/cuda/launch.cuh>

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace hydrogen::gpu::cuda {
namespace {

/// What the ports promise and what the function takes, which nobody else compares.
expected<void> check_parameters(const kernel_code& code, const void* function) {
  const auto refused = [&](std::string why) {
    return fail(errc::bad_input, fmt::format("kernel '{}': {}", code.name, why), {},
                "buffers are pointers, values numbers of the port's type, in the order of the ports");
  };
  std::size_t offset = 0, size = 0;
  for (std::size_t i = 0; i < code.ports.size(); ++i) {
    const auto& port = code.ports[i];
    const std::size_t wanted = port.how == direction::value ? size_of(port.type) : sizeof(void*);
    if (cudaFuncGetParamInfo(function, i, &offset, &size) != cudaSuccess) {
      (void)cudaGetLastError();
      return refused(fmt::format("it has {} ports, its function takes {} parameters", code.ports.size(), i));
    }
    if (size != wanted) {
      return refused(fmt::format("port '{}' has {} bytes, the parameter of its function {}", port.name, wanted, size));
    }
  }
  const bool more = cudaFuncGetParamInfo(function, code.ports.size(), &offset, &size) == cudaSuccess;
  (void)cudaGetLastError();
  if (more) return refused(fmt::format("it has {} ports, its function takes more parameters", code.ports.size()));
  return {};
}

std::string written_down(const kernel_code& code) {
  std::string all = code.name;
  for (const auto& port : code.ports)
    all += fmt::format("\n{} {} {}", to_string(port.how), to_string(port.type), port.name);
  return all + '\0' + code.source;
}

}  // namespace

expected<void> compiled_kernels::load(const kernel_code& code, std::uint32_t capability, loaded& to) {
  if (code.source.empty()) {
    return fail(errc::refused, fmt::format("kernel '{}' has no CUDA source, and this is a CUDA device", code.name));
  }
  auto image = compile_source(code, capability);
  if (!image) return unexpected(std::move(image.error()));
  const auto refused = [&](errc why, cudaError_t said, const char* call) {
    (void)cudaGetLastError();  // it would be taken for that of the next launch
    return fail(why, fmt::format("kernel '{}': {}: {}", code.name, call, cudaGetErrorString(said)));
  };
  if (const auto said = cudaLibraryLoadData(&to.library, image->data(), nullptr, nullptr, 0, nullptr, nullptr, 0);
      said != cudaSuccess) {
    return refused(errc::io, said, "cudaLibraryLoadData");
  }
  cudaKernel_t made = nullptr;
  if (const auto said = cudaLibraryGetKernel(&made, to.library, code.name.c_str()); said != cudaSuccess) {
    (void)cudaGetLastError();
    return fail(errc::bad_input, fmt::format("kernel '{}': its source has no extern \"C\" __global__ function of that "
                                             "name: {}",
                                             code.name, cudaGetErrorString(said)));
  }
  // Loads it onto the device now rather than at its first launch, which would wait for the device.
  cudaFuncAttributes attributes{};
  if (const auto said = cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(made)); said != cudaSuccess) {
    return refused(errc::io, said, "cudaFuncGetAttributes");
  }
  if (auto fits = check_parameters(code, reinterpret_cast<const void*>(made)); !fits) {
    return unexpected(std::move(fits.error()));
  }
  to.function = made;
  return {};
}

compiled_kernels::entry* compiled_kernels::find(const kernel& code) {
  const std::lock_guard lock(mutex_);
  // Launches come with the same object again and again; only a new one is read.
  if (const auto at = seen_.find(code.get()); at != seen_.end() && !at->second.first.expired())
    return at->second.second;
  std::erase_if(seen_, [](const auto& s) { return s.second.first.expired(); });
  auto& known = all_[written_down(*code)];
  if (!known) known = std::make_unique<entry>();
  seen_[code.get()] = {code, known.get()};
  return known.get();
}

void compiled_kernels::close() noexcept {
  std::map<std::string, std::unique_ptr<entry>> all;
  {
    const std::lock_guard lock(mutex_);
    all.swap(all_);
    seen_.clear();
  }
  for (auto& [code, e] : all) {
    if (e->is.library != nullptr) cudaLibraryUnload(e->is.library);
  }
}

expected<compiled_kernels::loaded*> compiled_kernels::get(const kernel& code) {
  entry* e = find(code);
  const std::lock_guard lock(e->once);
  const bool again = e->made && !*e->made && e->made->error().code == errc::io;
  if (!e->made || again) {
    if (e->is.library != nullptr) cudaLibraryUnload(std::exchange(e->is.library, nullptr));
    e->made = load(*code, capability_, e->is);
  }
  if (!*e->made) return unexpected(e->made->error());
  return &e->is;
}

void launch(const work::custom& w, launch_context& context) {
  const auto made = context.customs.get(w.code);
  if (!made) {
    if (!context.failed()) context.refusal = made.error().what;
    return;
  }
  const auto& [grid, block, shared_bytes] = w.shape;
  if (std::count(grid.begin(), grid.end(), 0U) != 0) return;  // as many threads as elements: none
  std::vector<void*> values;
  values.reserve(w.arguments.size());
  for (const auto& a : w.arguments) {
    // The runtime reads as many bytes from here as the kernel's parameter has.
    values.push_back(const_cast<void*>(a.how == direction::value ? static_cast<const void*>(&a.bits) : &a.at));
  }
  auto& loaded = **made;
  const auto* kernel = reinterpret_cast<const void*>(loaded.function);
  if (shared_bytes > loaded.shared_bytes.load()) {
    // Only ever more: another stream may be about to launch it.
    const std::lock_guard lock(loaded.asking);
    if (shared_bytes > loaded.shared_bytes.load()) {
      context.check(
          cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes)),
          "cudaFuncSetAttribute");
      if (!context.failed()) loaded.shared_bytes.store(shared_bytes);
    }
  }
  context.check(cudaLaunchKernel(kernel, dim3(grid[0], grid[1], grid[2]), dim3(block[0], block[1], block[2]),
                                 values.data(), shared_bytes, context.stream),
                "cudaLaunchKernel");
}

}  // namespace hydrogen::gpu::cuda
