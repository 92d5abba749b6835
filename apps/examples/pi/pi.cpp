// pi: throws points at a square and counts those inside the circle. See README.md beside this file.

#include <hydrogen/base/ids.hpp>
#include <hydrogen/hydrogen.hpp>

#include "../application_options.hpp"
#include <spdlog/fmt/fmt.h>

#include <cmath>
#include <numbers>

namespace examples {
namespace {

/// 1 when point number i lies inside the quarter circle. The point is made from i alone, so it does not matter where or
/// in which order the points are made.
std::int64_t inside(std::int64_t i, std::uint64_t seed) {
  const auto bits = hydrogen::hash_mix(seed, static_cast<std::uint64_t>(i));
  const double x = static_cast<double>(bits >> 32) * 0x1.0p-32, y = static_cast<double>(bits & 0xffffffff) * 0x1.0p-32;
  return x * x + y * y < 1 ? 1 : 0;
}

void pi(hydrogen::context& ctx) {
  std::uint64_t samples = 10'000'000;
  std::uint64_t seed = 1;
  hydrogen::cli::command_line line("pi", "Estimate pi", "hydrogen run pi -- [OPTIONS]");
  line.number("--samples", samples, 1, std::uint64_t{1} << 50, "N", "Points [10000000]");
  line.number("--seed", seed, 0, ~std::uint64_t{0}, "N", "Another seed, other points [1]");
  if (!read_arguments(line, ctx)) return;

  const auto hits = ctx.range(static_cast<std::int64_t>(samples))
                        .map(hydrogen::fn<inside>, seed)
                        .reduce([](std::int64_t a, std::int64_t b) { return a + b; });
  const double estimate = 4.0 * static_cast<double>(hits) / static_cast<double>(samples);
  ctx.print(fmt::format("pi is about {:.6f} ({} of {} points, off by {:.6f})", estimate, hits, samples,
                        std::abs(estimate - std::numbers::pi)));
}

}  // namespace
}  // namespace examples

HYDROGEN_APPLICATION(examples::pi)
