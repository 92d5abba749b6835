#pragma once
// NCCL as it is loaded at run time. Its types, values and calls, declared after its public documentation (NVIDIA, "NCCL
// User Guide", chapters "NCCL API" and "Fault Tolerance") and checked against its header where a build has that
// (cuda/cuda_nccl_agrees.cpp). Any thread, but for calls on one communicator: one thread at a time.

#include <hydrogen/base/error.hpp>
#include <hydrogen/gpu/work.hpp>

#include <climits>
#include <cstddef>
#include <string>

namespace hydrogen::gpu {

struct peer_library {
  using communicator = void*;  // ncclComm_t
  using queue = void*;         // cudaStream_t

  enum class result : int {  // ncclResult_t
    success = 0,
    cuda_error = 1,
    system_error = 2,
    internal_error = 3,
    invalid_argument = 4,
    invalid_usage = 5,
    remote_error = 6,
    in_progress = 7
  };
  enum class number_type : int { int32 = 2, int64 = 4, half = 6, float32 = 7, float64 = 8, bfloat16 = 9 };
  enum class operation : int { sum = 0, product = 1, max = 2, min = 3, average = 4 };
  struct unique_id {
    char bytes[128];
  };
  /// ncclConfig_t as of 2.14, the first with communicators that do not block; later ones take what is missing from the
  /// size and version. What would be padding is the first field that was added, "not set".
  struct config {
    std::size_t size = sizeof(config);
    unsigned magic = 0xcafebeef, version = oldest;
    int blocking = 0;
    int not_set = INT_MIN;
  };
  static constexpr int oldest = 21400;

  /// That of this process, loaded now if it has not been. Errors: refused.
  static expected<const peer_library*> get();
  /// From now on this file is what `get` finds, also for virtual devices; null: NCCL again.
  static void use_for_tests(const char* path);

  /// "ncclAllReduce: unhandled system error", with its last words about it if it has any.
  error error_of(result, const char* call, communicator) const;
  static number_type type_of(element);
  static operation operation_of(work::reduction);

  result (*get_version)(int*) = nullptr;
  result (*get_unique_id)(unique_id*) = nullptr;
  const char* (*words)(result) = nullptr;
  const char* (*last_words)(communicator) = nullptr;
  result (*init_rank)(communicator*, int size, unique_id, int rank, config*) = nullptr;
  result (*async_error)(communicator, result*) = nullptr;
  result (*all_reduce)(const void* from, void* to, std::size_t n, number_type, operation, communicator,
                       queue) = nullptr;
  result (*finalize)(communicator) = nullptr;
  result (*destroy)(communicator) = nullptr;
  result (*abort)(communicator) = nullptr;
  bool for_virtual_devices = false;
  std::string why_not;  // it cannot be used
};

}  // namespace hydrogen::gpu
