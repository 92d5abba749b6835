// Where the toolkit's folder has NCCL's own header, that what is declared here is what stands there.
#include <hydrogen/gpu/peers/peer_library.hpp>

#if __has_include(<nccl.h>)
#include <nccl.h>

#include <type_traits>

namespace hydrogen::gpu {
namespace {

using library = peer_library;

template <class E>
constexpr int value(E e) {
  return static_cast<int>(e);
}

static_assert(value(library::result::success) == ncclSuccess);
static_assert(value(library::result::cuda_error) == ncclUnhandledCudaError);
static_assert(value(library::result::system_error) == ncclSystemError);
static_assert(value(library::result::internal_error) == ncclInternalError);
static_assert(value(library::result::invalid_argument) == ncclInvalidArgument);
static_assert(value(library::result::invalid_usage) == ncclInvalidUsage);
static_assert(value(library::result::remote_error) == ncclRemoteError);
static_assert(value(library::result::in_progress) == ncclInProgress);
static_assert(sizeof(library::result) == sizeof(ncclResult_t));

static_assert(value(library::number_type::int32) == ncclInt32);
static_assert(value(library::number_type::int64) == ncclInt64);
static_assert(value(library::number_type::half) == ncclFloat16);
static_assert(value(library::number_type::float32) == ncclFloat32);
static_assert(value(library::number_type::float64) == ncclFloat64);
static_assert(value(library::number_type::bfloat16) == ncclBfloat16);
static_assert(sizeof(library::number_type) == sizeof(ncclDataType_t));

static_assert(value(library::operation::sum) == ncclSum);
static_assert(value(library::operation::product) == ncclProd);
static_assert(value(library::operation::max) == ncclMax);
static_assert(value(library::operation::min) == ncclMin);
static_assert(value(library::operation::average) == ncclAvg);
static_assert(sizeof(library::operation) == sizeof(ncclRedOp_t));

static_assert(sizeof(library::unique_id) == sizeof(ncclUniqueId));
static_assert(NCCL_VERSION(2, 14, 0) == library::oldest && NCCL_VERSION_CODE >= library::oldest);
static_assert(NCCL_CONFIG_UNDEF_INT == INT_MIN);
static_assert(offsetof(library::config, size) == offsetof(ncclConfig_t, size));
static_assert(offsetof(library::config, magic) == offsetof(ncclConfig_t, magic));
static_assert(offsetof(library::config, version) == offsetof(ncclConfig_t, version));
static_assert(offsetof(library::config, blocking) == offsetof(ncclConfig_t, blocking));
static_assert(offsetof(library::config, not_set) == offsetof(ncclConfig_t, cgaClusterSize));
static_assert(sizeof(library::config) == offsetof(ncclConfig_t, minCTAs));
[[maybe_unused]] constexpr ncclConfig_t config_of_header = NCCL_CONFIG_INITIALIZER;
static_assert(library::config{}.magic == config_of_header.magic);

// Pointers are pointers, and enums are ints: as many arguments, in the same order.
template <class Ours, class Theirs>
constexpr bool same_arguments = false;
template <class... Ours, class... Theirs>
constexpr bool same_arguments<library::result (*)(Ours...), ncclResult_t (*)(Theirs...)> =
    (... && (sizeof(Ours) == sizeof(Theirs) && std::is_pointer_v<Ours> == std::is_pointer_v<Theirs>));
static_assert(same_arguments<decltype(library::get_version), decltype(&ncclGetVersion)>);
static_assert(same_arguments<decltype(library::get_unique_id), decltype(&ncclGetUniqueId)>);
static_assert(same_arguments<decltype(library::init_rank), decltype(&ncclCommInitRankConfig)>);
static_assert(same_arguments<decltype(library::async_error), decltype(&ncclCommGetAsyncError)>);
static_assert(same_arguments<decltype(library::all_reduce), decltype(&ncclAllReduce)>);
static_assert(same_arguments<decltype(library::finalize), decltype(&ncclCommFinalize)>);
static_assert(same_arguments<decltype(library::destroy), decltype(&ncclCommDestroy)>);
static_assert(same_arguments<decltype(library::abort), decltype(&ncclCommAbort)>);

}  // namespace
}  // namespace hydrogen::gpu
#endif
