#include <hydrogen/gpu/cuda/runtime_library.hpp>
#include <hydrogen/gpu/peers/peer_library.hpp>

#include <spdlog/fmt/fmt.h>

#include <deque>
#include <mutex>

namespace hydrogen::gpu {
namespace {

constexpr const char* nccl_file = "libnccl.so.2";

std::mutex library_mutex;
const peer_library* chosen_library = nullptr;  // with the lock

/// As its header makes a number of it: 2.28.9 is 22809, before 2.9 2.8.4 was 2804.
std::string version_text(int code) {
  const int major = code >= 10000 ? code / 10000 : code / 1000;
  const int rest = code >= 10000 ? code % 10000 : code % 1000;
  return fmt::format("{}.{}.{}", major, rest / 100, rest % 100);
}

/// What was loaded stays: threads of groups may end after everything else.
peer_library* load_nccl(const char* file) {
  static auto* const all = new std::deque<peer_library>;
  auto* made = &all->emplace_back();
  cuda::runtime_library loaded({file});
  loaded.find(made->get_version, "ncclGetVersion");
  int version = 0;
  if (loaded.why_not().empty() && made->get_version(&version) == peer_library::result::success &&
      version < peer_library::oldest) {
    made->why_not = fmt::format("it is NCCL {}, and waits that can be ended need {}", version_text(version),
                                version_text(peer_library::oldest));
    return made;
  }
  loaded.find(made->get_unique_id, "ncclGetUniqueId");
  loaded.find(made->words, "ncclGetErrorString");
  loaded.find(made->last_words, "ncclGetLastError");
  loaded.find(made->init_rank, "ncclCommInitRankConfig");
  loaded.find(made->async_error, "ncclCommGetAsyncError");
  loaded.find(made->all_reduce, "ncclAllReduce");
  loaded.find(made->finalize, "ncclCommFinalize");
  loaded.find(made->destroy, "ncclCommDestroy");
  loaded.find(made->abort, "ncclCommAbort");
  made->why_not = loaded.why_not();
  return made;
}

}  // namespace

expected<const peer_library*> peer_library::get() {
  const std::lock_guard lock(library_mutex);
  if (chosen_library == nullptr) chosen_library = load_nccl(nccl_file);
  if (chosen_library->why_not.empty()) return chosen_library;
  return fail(errc::refused, "devices exchange directly by NCCL, which cannot be used: " + chosen_library->why_not, {},
              fmt::format("install {} of NCCL {} or newer, where the loader finds it", nccl_file,
                          version_text(peer_library::oldest)));
}

void peer_library::use_for_tests(const char* path) {
  const std::lock_guard lock(library_mutex);
  chosen_library = nullptr;
  if (path == nullptr) return;
  auto* made = load_nccl(path);
  made->for_virtual_devices = true;
  chosen_library = made;
}

error peer_library::error_of(result said, const char* call, communicator of) const {
  auto what = fmt::format("{}: {}", call, words(said));
  const char* last = last_words(of);
  if (last != nullptr && *last != '\0') what += fmt::format(" ({})", last);
  const bool names_it = what.find("NCCL_DEBUG") != std::string::npos;
  return {said == result::remote_error ? errc::disconnected : errc::io,
          std::move(what),
          {},
          names_it ? "" : "NCCL_DEBUG=INFO lets it say more"};
}

peer_library::number_type peer_library::type_of(element e) {
  switch (e) {
    case element::int32:
      return number_type::int32;
    case element::int64:
      return number_type::int64;
    case element::half:
      return number_type::half;
    case element::bfloat16:
      return number_type::bfloat16;
    case element::float64:
      return number_type::float64;
    default:
      return number_type::float32;  // others are refused before
  }
}

peer_library::operation peer_library::operation_of(work::reduction how) {
  switch (how) {
    case work::reduction::mean:
      return operation::average;
    case work::reduction::min:
      return operation::min;
    case work::reduction::max:
      return operation::max;
    case work::reduction::product:
      return operation::product;
    default:
      return operation::sum;
  }
}

}  // namespace hydrogen::gpu
