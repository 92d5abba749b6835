#include <hydrogen/gpu/backend.hpp>
#include <hydrogen/gpu/cuda/completions.cuh>
#include <hydrogen/gpu/cuda/cuda_stream.cuh>
#include <hydrogen/gpu/cuda/device_context.cuh>
#include <hydrogen/gpu/cuda/recorded_graph.cuh>

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <variant>

namespace hydrogen::gpu {
namespace cuda {
namespace {

class cuda_device final : public backend_device {
 public:
  cuda_device(device& front, std::shared_ptr<device_context> context) : front_(front), context_(std::move(context)) {}
  ~cuda_device() override { context_->close(); }

  expected<std::unique_ptr<backend_stream>> make_stream(stream_state& state) override {
    return cuda_stream::make(state, context_);
  }

  expected<void*> allocate(memory_kind kind, std::size_t bytes) override {
    void* at = nullptr;
    auto said = context_->use();
    const bool pinned = kind == memory_kind::pinned;
    if (said == cudaSuccess) {
      said = pinned ? cudaHostAlloc(&at, bytes, cudaHostAllocPortable) : cudaMalloc(&at, bytes);
    }
    if (said == cudaSuccess) return at;
    (void)cudaGetLastError();
    auto why = context_->error_of(said, pinned ? "cudaHostAlloc" : "cudaMalloc",
                                  said == cudaErrorMemoryAllocation ? errc::over_limit : errc::io);
    why.what += fmt::format(", for {} bytes", bytes);
    return unexpected(std::move(why));
  }

  void free(memory_kind kind, void* at, std::size_t) noexcept override {
    // An error here is that of work before, which its stream reports.
    if (context_->use() == cudaSuccess) (void)(kind == memory_kind::pinned ? cudaFreeHost(at) : cudaFree(at));
    (void)cudaGetLastError();
  }

  expected<void> pin(void* at, std::size_t bytes) override {
    auto said = context_->use();
    if (said == cudaSuccess) said = cudaHostRegister(at, bytes, cudaHostRegisterPortable);
    if (said == cudaSuccess) return {};
    (void)cudaGetLastError();
    auto why = context_->error_of(said, "cudaHostRegister");
    why.what += fmt::format(", for {} bytes", bytes);
    return unexpected(std::move(why));
  }

  void unpin(void* at) noexcept override {
    if (context_->use() == cudaSuccess) (void)cudaHostUnregister(at);
    (void)cudaGetLastError();
  }

  std::size_t scratch_for(const work::any& what) const override {
    context_->use();
    return scratch_for_any(what);
  }

  expected<void> can_run(const work::any& what) override {
    const auto* custom = std::get_if<work::custom>(&what);
    if (custom == nullptr) return {};
    if (custom->code->source.empty()) {
      return fail(errc::refused, fmt::format("kernel '{}' has no CUDA source, and {} is a CUDA device",
                                             custom->code->name, front_.description()));
    }
    if (const auto said = context_->use(); said != cudaSuccess) {
      return unexpected(context_->error_of(said, "cudaSetDevice"));
    }
    auto made = context_->customs.get(custom->code);
    if (!made) return unexpected(std::move(made.error()));
    return {};
  }

  expected<std::shared_ptr<prepared_graph>> prepare(std::vector<recorded> items) override {
    return recorded_graph::make(context_, std::move(items));
  }

  expected<void> use_here() override {
    if (const auto said = context_->use(); said != cudaSuccess) {
      return unexpected(context_->error_of(said, "cudaSetDevice"));
    }
    return {};
  }

  void drain() noexcept override { completions::of_process().drain(*context_); }

 private:
  device& front_;
  const std::shared_ptr<device_context> context_;
};

/// As nvidia-smi writes it.
std::string id_of(const cudaUUID_t& uuid) {
  std::string id = "GPU";
  for (std::size_t i = 0; i < sizeof uuid.bytes; ++i) {
    if (i == 0 || i == 4 || i == 6 || i == 8 || i == 10) id += '-';
    id += fmt::format("{:02x}", static_cast<unsigned char>(uuid.bytes[i]));
  }
  return id;
}

}  // namespace
}  // namespace cuda

expected<std::vector<device_info>> find_cuda_devices() {
  int count = 0;
  if (const auto said = cudaGetDeviceCount(&count); said != cudaSuccess) {
    (void)cudaGetLastError();
    if (said == cudaErrorNoDevice || said == cudaErrorStubLibrary) return std::vector<device_info>{};
    int driver = 0;  // 0: there is none
    const bool known = cudaDriverGetVersion(&driver) == cudaSuccess;
    if (said == cudaErrorInsufficientDriver && known && driver == 0) return std::vector<device_info>{};
    auto why = cuda::error_of(said, "cudaGetDeviceCount", {});
    if (driver != 0) {
      why.what += fmt::format(", the driver is for CUDA {}.{}, this build for {}.{}", driver / 1000, driver % 1000 / 10,
                              CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
    }
    return unexpected(std::move(why));
  }
  std::vector<device_info> found;
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp of{};
    if (const auto said = cudaGetDeviceProperties(&of, i); said != cudaSuccess) {
      (void)cudaGetLastError();
      return unexpected(cuda::error_of(said, "cudaGetDeviceProperties", fmt::format("device {}", i)));
    }
    found.push_back({backend_kind::cuda, cuda::id_of(of.uuid), of.name, static_cast<std::uint32_t>(i),
                     of.totalGlobalMem, static_cast<std::uint32_t>(of.major * 10 + of.minor),
                     static_cast<std::uint32_t>(of.multiProcessorCount)});
  }
  return found;
}

expected<std::unique_ptr<backend_device>> open_cuda_device(device& front) {
  auto all = find_cuda_devices();
  if (!all) return unexpected(std::move(all.error()));
  // By its id: another process may have counted them in another order.
  const auto mine =
      std::find_if(all->begin(), all->end(), [&](const device_info& d) { return d.id == front.info().id; });
  if (mine == all->end()) {
    return fail(errc::not_found,
                fmt::format("this process sees no device {}, but {} others", front.info().id, all->size()),
                front.description(), "look at nvidia-smi -L and CUDA_VISIBLE_DEVICES");
  }
  auto context = cuda::device_context::open(static_cast<int>(mine->number), front.description());
  if (!context) return unexpected(std::move(context.error()));
  return std::make_unique<cuda::cuda_device>(front, std::move(*context));
}

}  // namespace hydrogen::gpu
