#include <hydrogen/gpu/cuda/launch.cuh>

#include <variant>

namespace hydrogen::gpu::cuda {

void launch(const work::all_reduce&, launch_context& context) {
  if (!context.failed()) context.refusal = "an exchange of devices cannot be recorded";
}

void launch_any(const work::any& what, launch_context& context) {
  (void)cudaGetLastError();  // of calls before; what is not cleared by that is the device's end, and comes again
  std::visit([&](const auto& w) { launch(w, context); }, what);
  context.check(cudaGetLastError(), "launch");
}

std::size_t scratch_for_any(const work::any& what) {
  return std::visit(
      [](const auto& w) -> std::size_t {
        if constexpr (requires { scratch_for(w); }) {
          return (scratch_for(w) + 255) / 256 * 256;
        } else {
          return 0;
        }
      },
      what);
}

}  // namespace hydrogen::gpu::cuda
