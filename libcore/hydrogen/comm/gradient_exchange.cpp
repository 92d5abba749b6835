#include <hydrogen/comm/gradient_exchange.hpp>

#include <algorithm>
#include <cmath>

namespace hydrogen::comm {
namespace {

/// A multiple of the alignment in floats between which norms are added up: sums of fixed lengths, in order.
constexpr std::size_t norm_piece = 4096;

double square_sum(std::span<const float> x) {
  double all = 0;
  for (std::size_t first = 0; first < x.size(); first += norm_piece) {
    // Eight sums side by side, so that they become vector code, in the same order everywhere.
    double lanes[8] = {};
    const auto piece = x.subspan(first, std::min(norm_piece, x.size() - first));
    std::size_t i = 0;
    for (; i + 8 <= piece.size(); i += 8) {
      for (std::size_t k = 0; k < 8; ++k) lanes[k] += double{piece[i + k]} * double{piece[i + k]};
    }
    for (; i < piece.size(); ++i) lanes[i % 8] += double{piece[i]} * double{piece[i]};
    all += ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
  }
  return all;
}

}  // namespace

expected<gradient_exchange> gradient_exchange::make(group& g, std::span<const std::size_t> sizes,
                                                    gradient_options options, call_options site) {
  auto plan = gradient_plan::agree(g, sizes, options, site);
  if (!plan) return unexpected(std::move(plan.error()));
  gradient_exchange made(g, std::move(*plan), site);
  auto memory = g.buffer<float>(made.plan_.elements(), site);
  if (!memory) return unexpected(std::move(memory.error()));
  made.memory_ = std::move(*memory);
  std::fill(made.memory_.begin(), made.memory_.end(), 0.0f);
  if (options.bfloat16_on_wire) {
    auto wire = g.buffer<bfloat16>(made.plan_.elements(), site);
    if (!wire) return unexpected(std::move(wire.error()));
    made.wire_ = std::move(*wire);
  }
  return made;
}

expected<void> gradient_exchange::ready(std::size_t i) {
  if (auto ok = plan_.ready(i); !ok) return ok;
  while (const auto bucket = plan_.next_bucket()) begin(*bucket);
  return {};
}

void gradient_exchange::begin(std::size_t bucket) {
  const auto& options = plan_.options();
  const auto numbers = part(plan_.bucket(bucket), memory_);
  if (!options.bfloat16_on_wire) {
    calls_[bucket] = group_->all_reduce_async(numbers, options.how, site_);
    return;
  }
  const auto narrow = part(plan_.bucket(bucket), wire_);
  for (std::size_t k = 0; k < numbers.size(); ++k) narrow[k] = bfloat16(numbers[k]);
  calls_[bucket] = group_->all_reduce_async(narrow, options.how, site_);
}

expected<double> gradient_exchange::finish() {
  const auto last = plan_.finish();
  if (!last) return unexpected(last.error());
  if (!*last) return 0.0;
  for (std::size_t b = 0; b < calls_.size(); ++b) {
    if (auto ok = calls_[b].wait(); !ok) return unexpected(std::move(ok.error()));
    calls_[b] = {};
    if (!plan_.options().bfloat16_on_wire) continue;
    const auto numbers = part(plan_.bucket(b), memory_);
    const auto narrow = part(plan_.bucket(b), wire_);
    for (std::size_t k = 0; k < numbers.size(); ++k) numbers[k] = static_cast<float>(narrow[k]);
  }
  return norm_and_clip();
}

double gradient_exchange::norm_and_clip() {
  const double most = plan_.options().clip_norm;
  if (most == 0) return 0.0;
  // Every rank has the same numbers, and so the same norm.
  double squares = 0;
  for (std::size_t i = 0; i < tensors(); ++i) squares += square_sum(gradient(i));
  const double norm = std::sqrt(squares);
  if (norm > most) {
    const auto scale = static_cast<float>(most / norm);
    for (std::size_t i = 0; i < tensors(); ++i) {
      for (auto& x : gradient(i)) x *= scale;
    }
  }
  return norm;
}

}  // namespace hydrogen::comm
