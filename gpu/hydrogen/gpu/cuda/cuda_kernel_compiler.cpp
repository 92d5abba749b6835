#include <hydrogen/gpu/cuda/architecture.hpp>
#include <hydrogen/gpu/cuda/kernel_compiler.hpp>
#include <hydrogen/gpu/cuda/runtime_library.hpp>

#include <nvrtc.h>
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <iterator>
#include <vector>

namespace hydrogen::gpu::cuda {
namespace {

struct compiler {
  decltype(&nvrtcGetNumSupportedArchs) count_architectures = nullptr;
  decltype(&nvrtcGetSupportedArchs) architectures = nullptr;
  decltype(&nvrtcCreateProgram) create = nullptr;
  decltype(&nvrtcDestroyProgram) destroy = nullptr;
  decltype(&nvrtcCompileProgram) compile = nullptr;
  decltype(&nvrtcGetProgramLogSize) log_size = nullptr;
  decltype(&nvrtcGetProgramLog) log = nullptr;
  decltype(&nvrtcGetCUBINSize) cubin_size = nullptr;
  decltype(&nvrtcGetCUBIN) cubin = nullptr;
  decltype(&nvrtcGetPTXSize) ptx_size = nullptr;
  decltype(&nvrtcGetPTX) ptx = nullptr;
  decltype(&nvrtcGetErrorString) words = nullptr;
  std::vector<int> known;  // architectures
  std::string why_not;     // it cannot be used
};

compiler load_compiler() {
  compiler made;
  runtime_library loaded({"libnvrtc.so.13", "libnvrtc.so.12"});
  loaded.find(made.count_architectures, "nvrtcGetNumSupportedArchs");
  loaded.find(made.architectures, "nvrtcGetSupportedArchs");
  loaded.find(made.create, "nvrtcCreateProgram");
  loaded.find(made.destroy, "nvrtcDestroyProgram");
  loaded.find(made.compile, "nvrtcCompileProgram");
  loaded.find(made.log_size, "nvrtcGetProgramLogSize");
  loaded.find(made.log, "nvrtcGetProgramLog");
  loaded.find(made.cubin_size, "nvrtcGetCUBINSize");
  loaded.find(made.cubin, "nvrtcGetCUBIN");
  loaded.find(made.ptx_size, "nvrtcGetPTXSize");
  loaded.find(made.ptx, "nvrtcGetPTX");
  loaded.find(made.words, "nvrtcGetErrorString");
  made.why_not = loaded.why_not();
  if (!made.why_not.empty()) return made;
  int count = 0;
  if (made.count_architectures(&count) == NVRTC_SUCCESS && count > 0) {
    made.known.resize(static_cast<std::size_t>(count));
    if (made.architectures(made.known.data()) != NVRTC_SUCCESS) made.known.clear();
  }
  return made;
}

const compiler& nvrtc() {
  static const compiler loaded = load_compiler();
  return loaded;
}

class program {
 public:
  ~program() {
    if (made != nullptr) nvrtc().destroy(&made);
  }
  program() = default;
  program(const program&) = delete;
  nvrtcProgram made = nullptr;
};

std::string log_of(nvrtcProgram p) {
  std::size_t size = 0;
  if (nvrtc().log_size(p, &size) != NVRTC_SUCCESS || size == 0) return {};
  std::string log(size, '\0');
  if (nvrtc().log(p, log.data()) != NVRTC_SUCCESS) return {};
  log.resize(std::min(log.size(), log.find('\0')));
  return log;
}

}  // namespace

expected<std::string> compile_source(const kernel_code& code, std::uint32_t capability) {
  const auto& lib = nvrtc();
  if (!lib.why_not.empty()) {
    return fail(errc::not_found,
                fmt::format("kernel '{}' needs NVRTC, which cannot be used: {}", code.name, lib.why_not), {},
                "install the CUDA toolkit's libnvrtc");
  }
  const auto target = choose_architecture(capability, lib.known);
  if (target.option.empty()) {
    return fail(errc::refused,
                fmt::format("kernel '{}': this NVRTC knows nothing that a device of capability {}.{} runs", code.name,
                            capability / 10, capability % 10));
  }
  program p;
  const auto file = code.name + ".cu";
  auto said = lib.create(&p.made, code.source.c_str(), file.c_str(), 0, nullptr, nullptr);
  if (said == NVRTC_SUCCESS) {
    const char* options[] = {target.option.c_str(), "--std=c++20", "--include-path=" HYDROGEN_CUDA_INCLUDE};
    said = lib.compile(p.made, static_cast<int>(std::size(options)), options);
  }
  if (said != NVRTC_SUCCESS) {
    auto log = p.made != nullptr ? log_of(p.made) : std::string();
    if (log.empty()) log = lib.words(said);
    return fail(errc::bad_input, fmt::format("kernel '{}' does not compile:\n{}", code.name, log));
  }
  std::size_t size = 0;
  std::string image;
  said = target.is_binary ? lib.cubin_size(p.made, &size) : lib.ptx_size(p.made, &size);
  if (said == NVRTC_SUCCESS) {
    image.resize(size);
    said = target.is_binary ? lib.cubin(p.made, image.data()) : lib.ptx(p.made, image.data());
  }
  if (said != NVRTC_SUCCESS) {
    return fail(errc::io, fmt::format("kernel '{}': NVRTC gives no code: {}", code.name, lib.words(said)));
  }
  return image;
}

}  // namespace hydrogen::gpu::cuda
