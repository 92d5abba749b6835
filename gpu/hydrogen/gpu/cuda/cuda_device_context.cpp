#include <hydrogen/gpu/cuda/device_context.cuh>

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cstddef>
#include <type_traits>

namespace hydrogen::gpu::cuda {
namespace {

constexpr std::size_t cells_at_a_time = 64;

}  // namespace

bool loses_device(cudaError_t said) {
  switch (said) {
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContained:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorTensorMemoryLeak:
    case cudaErrorExternalDevice:
    case cudaErrorContextIsDestroyed:
    case cudaErrorDevicesUnavailable:
    case cudaErrorUnknown:
      return true;
    default:
      return false;
  }
}

error error_of(cudaError_t said, const char* call, const std::string& device, errc code) {
  const char* hint = "";
  switch (said) {
    case cudaErrorMemoryAllocation:
      hint = "another process may use the device's memory: nvidia-smi shows it";
      break;
    case cudaErrorInsufficientDriver:
    case cudaErrorCallRequiresNewerDriver:
      hint = "install a driver for the CUDA version of this build, or newer";
      break;
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorInvalidDeviceFunction:
      hint = "this build has no code for the device: set CMAKE_CUDA_ARCHITECTURES to its compute capability";
      break;
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContained:
      hint = "the hardware has failed: see nvidia-smi -q, and use another device";
      break;
    case cudaErrorDevicesUnavailable:
      hint = "another process has the device for itself";
      break;
    case cudaErrorInvalidConfiguration:
    case cudaErrorLaunchOutOfResources:
      hint = "a block has too many threads, registers or bytes of shared memory";
      break;
    default:
      if (loses_device(said)) hint = "this process cannot use the device again; compute-sanitizer finds the kernel";
  }
  return {code, fmt::format("{}: {} ({})", call, cudaGetErrorString(said), cudaGetErrorName(said)), device, hint};
}

expected<std::shared_ptr<device_context>> device_context::open(int ordinal, std::string description) {
  const auto failed = [&](cudaError_t said, const char* call) {
    (void)cudaGetLastError();
    return unexpected(cuda::error_of(said, call, description));
  };
  auto primary = std::make_unique<primary_context>(ordinal);  // ends what follows makes, where that fails
  if (const auto said = cudaSetDevice(ordinal); said != cudaSuccess) return failed(said, "cudaSetDevice");
  if (const auto said = find_kernels(); said != cudaSuccess) return failed(said, "cudaFuncGetAttributes");
  const auto attribute = [&](cudaDeviceAttr which, auto& to) {
    int value = 0;
    const auto said = cudaDeviceGetAttribute(&value, which, ordinal);
    to = static_cast<std::remove_reference_t<decltype(to)>>(value);
    return said;
  };
  device_shape shape;
  shape.ordinal = ordinal;
  std::uint32_t major = 0, minor = 0;
  for (const auto said :
       {attribute(cudaDevAttrComputeCapabilityMajor, major), attribute(cudaDevAttrComputeCapabilityMinor, minor),
        attribute(cudaDevAttrMultiProcessorCount, shape.multiprocessors),
        attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, shape.most_shared)}) {
    if (said != cudaSuccess) return failed(said, "cudaDeviceGetAttribute");
  }
  shape.capability = major * 10 + minor;
  std::shared_ptr<device_context> made(new device_context(shape, description, std::move(primary)));
  if (const auto said = cudaStreamCreateWithFlags(&made->aside_, cudaStreamNonBlocking); said != cudaSuccess) {
    return failed(said, "cudaStreamCreateWithFlags");
  }
  return made;
}

device_context::~device_context() {
  close();
}

void device_context::close() noexcept {
  {
    // Another device's stream may just be made to wait for one.
    std::unique_lock lock(mutex_);
    closing_ = true;
    returned_.wait(lock, [&] { return given_out_ == 0; });
  }
  const std::lock_guard lock(ending_);
  if (closed_) return;
  if (use() == cudaSuccess) {
    products.close();
    for (auto s : streams_) cudaStreamDestroy(s);
    for (auto e : events_) cudaEventDestroy(e);
    if (aside_ != nullptr) cudaStreamDestroy(aside_);
    for (auto* m : cell_memory_) cudaFree(m);
    for (auto* m : notice_memory_) cudaFreeHost(m);
    customs.close();
    (void)cudaGetLastError();
  }
  closed_ = true;
  primary_.reset();
}

event_ptr device_context::take_event(cudaError_t& said) {
  cudaEvent_t taken = nullptr;
  {
    const std::lock_guard lock(mutex_);
    said = closing_ ? cudaErrorContextIsDestroyed : cudaSuccess;
    if (closing_) return nullptr;
    ++given_out_;
    if (!events_.empty()) {
      taken = events_.back();
      events_.pop_back();
    }
  }
  const auto back = [self = shared_from_this()](cudaEvent_t e) {
    const std::lock_guard lock(self->mutex_);
    if (e != nullptr) self->events_.push_back(e);
    --self->given_out_;
    self->returned_.notify_all();
  };
  if (taken == nullptr) said = use();
  if (taken == nullptr && said == cudaSuccess) said = cudaEventCreateWithFlags(&taken, cudaEventDisableTiming);
  if (said == cudaSuccess) return {taken, back};
  back(nullptr);
  return nullptr;
}

cudaError_t device_context::begin(cudaStream_t& stream) {
  const std::lock_guard lock(ending_);
  auto said = use();
  if (said == cudaSuccess) said = cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  if (said == cudaSuccess) streams_.push_back(stream);
  return said;
}

void device_context::end(cudaStream_t stream, blas_handle* product, const fault_sink& faults, bool counted) {
  const std::lock_guard lock(ending_);
  if (use() != cudaSuccess) return;
  products.give_back(product);
  if (stream != nullptr) {
    std::erase(streams_, stream);
    cudaStreamDestroy(stream);
  }
  give_back(faults, counted);
}

expected<void> device_context::more_cells() {
  void *records = nullptr, *notices = nullptr, *notices_on_device = nullptr;
  auto said = use();
  if (said == cudaSuccess) said = cudaMalloc(&records, cells_at_a_time * sizeof(fault_record));
  if (said == cudaSuccess) cell_memory_.push_back(records);
  // On a stream of its own: the default one would wait for others.
  if (said == cudaSuccess) said = cudaMemsetAsync(records, 0, cells_at_a_time * sizeof(fault_record), aside_);
  if (said == cudaSuccess) said = cudaStreamSynchronize(aside_);
  if (said == cudaSuccess) {
    said =
        cudaHostAlloc(&notices, cells_at_a_time * sizeof(std::uint32_t), cudaHostAllocMapped | cudaHostAllocPortable);
  }
  if (said == cudaSuccess) notice_memory_.push_back(notices);
  if (said == cudaSuccess) said = cudaHostGetDevicePointer(&notices_on_device, notices, 0);
  if (said != cudaSuccess) {
    (void)cudaGetLastError();
    return unexpected(error_of(said, "memory for faults of kernels"));
  }
  // With unified addresses, which all of these devices have, host and device know the word by the same one.
  invariant(notices_on_device == notices, "mapped memory has one address");
  for (std::size_t i = 0; i < cells_at_a_time; ++i) {
    auto* noticed = static_cast<std::uint32_t*>(notices) + i;
    *noticed = 0;
    cells_.push_back({static_cast<fault_record*>(records) + i, noticed, 0});
  }
  return {};
}

expected<fault_sink> device_context::take_cell() {
  const std::lock_guard lock(mutex_);
  if (cells_.empty()) {
    if (auto made = more_cells(); !made) return unexpected(std::move(made.error()));
  }
  const auto taken = cells_.back();
  cells_.pop_back();
  return taken;
}

void device_context::give_back(const fault_sink& cell, bool counted) {
  if (cell.record == nullptr) return;
  if (counted || *const_cast<volatile std::uint32_t*>(cell.noticed) != 0) {
    if (use() != cudaSuccess) return;
    cudaMemsetAsync(cell.record, 0, sizeof *cell.record, aside_);
    clear(cell);
  }
  const std::lock_guard lock(mutex_);
  cells_.push_back({cell.record, cell.noticed, 0});
}

std::optional<fault_record> device_context::look(const fault_sink& cell) {
  if (*const_cast<volatile std::uint32_t*>(cell.noticed) == 0) return {};
  fault_record found{};
  auto said = use();
  if (said == cudaSuccess) {
    said = cudaMemcpyAsync(&found, cell.record, sizeof found, cudaMemcpyDeviceToHost, aside_);
  }
  if (said == cudaSuccess) said = cudaStreamSynchronize(aside_);
  if (said != cudaSuccess) return {};  // the device is lost, which says more
  return found;
}

void device_context::clear(const fault_sink& cell) {
  if (use() != cudaSuccess) return;
  constexpr auto kept = offsetof(fault_record, owner);
  cudaMemsetAsync(reinterpret_cast<char*>(cell.record) + kept, 0, sizeof *cell.record - kept, aside_);
  cudaStreamSynchronize(aside_);
  *const_cast<volatile std::uint32_t*>(cell.noticed) = 0;
}

void device_context::begin_watch() {
  const std::lock_guard lock(watch_mutex_);
  ++watched_;
}

void device_context::end_watch() {
  const std::lock_guard lock(watch_mutex_);
  if (--watched_ == 0) unwatched_.notify_all();
}

bool device_context::watched() {
  const std::lock_guard lock(watch_mutex_);
  return watched_ != 0;
}

void device_context::wait_unwatched() {
  std::unique_lock lock(watch_mutex_);
  unwatched_.wait(lock, [&] { return watched_ == 0; });
}

}  // namespace hydrogen::gpu::cuda
