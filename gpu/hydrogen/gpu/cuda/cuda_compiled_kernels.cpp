#include <hydrogen/gpu/cuda/compiled_kernels.cuh>
#include <hydrogen/gpu/cuda/kernel_compiler.hpp>
#include <hydrogen/gpu/cuda/launch.cuh>

#include <spdlog/fmt/fmt.h>

#include <algorithm>
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

}  // namespace

expected<cudaKernel_t> compiled_kernels::load(const kernel_code& code, std::uint32_t capability,
                                              cudaLibrary_t& library) {
  if (code.source.empty()) {
    return fail(errc::refused, fmt::format("kernel '{}' has no CUDA source, and this is a CUDA device", code.name));
  }
  auto image = compile_source(code, capability);
  if (!image) return unexpected(std::move(image.error()));
  const auto refused = [&](errc why, cudaError_t said, const char* call) {
    (void)cudaGetLastError();  // it would be taken for that of the next launch
    return fail(why, fmt::format("kernel '{}': {}: {}", code.name, call, cudaGetErrorString(said)));
  };
  if (const auto said = cudaLibraryLoadData(&library, image->data(), nullptr, nullptr, 0, nullptr, nullptr, 0);
      said != cudaSuccess) {
    return refused(errc::io, said, "cudaLibraryLoadData");
  }
  cudaKernel_t made = nullptr;
  if (const auto said = cudaLibraryGetKernel(&made, library, code.name.c_str()); said != cudaSuccess) {
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
  return made;
}

void compiled_kernels::close() noexcept {
  std::map<kernel, std::shared_ptr<entry>> all;
  {
    const std::lock_guard lock(mutex_);
    all.swap(all_);
  }
  for (auto& [code, e] : all) {
    if (e->library != nullptr) cudaLibraryUnload(e->library);
  }
}

expected<cudaKernel_t> compiled_kernels::get(const kernel& code) {
  std::shared_ptr<entry> e;
  {
    const std::lock_guard lock(mutex_);
    auto& known = all_[code];
    if (!known) known = std::make_shared<entry>();
    e = known;
  }
  std::call_once(e->once, [&] { e->made = load(*code, capability_, e->library); });
  return e->made;
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
  const auto* kernel = reinterpret_cast<const void*>(*made);
  constexpr std::uint32_t without_asking = 48 << 10;
  if (shared_bytes > without_asking) {
    context.check(
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes)),
        "cudaFuncSetAttribute");
  }
  context.check(cudaLaunchKernel(kernel, dim3(grid[0], grid[1], grid[2]), dim3(block[0], block[1], block[2]),
                                 values.data(), shared_bytes, context.stream),
                "cudaLaunchKernel");
}

}  // namespace hydrogen::gpu::cuda
