#include <hydrogen/base/ids.hpp>
#include <hydrogen/comm/gradient_exchange.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace hydrogen::comm {
namespace {

// Tensors begin at lines of their own, and buckets at pairs of lines.
constexpr std::size_t tensor_alignment = 64 / sizeof(float);
constexpr std::size_t bucket_alignment = 128 / sizeof(float);

std::size_t round_to(std::size_t n, std::size_t unit) {
  return (n + unit - 1) / unit * unit;
}

std::uint64_t hash_of(std::span<const std::size_t> sizes, const gradient_options& o) {
  auto h = hash_mix(sizes.size(), std::uint64_t{static_cast<std::uint8_t>(o.how)} << 1 | (o.bfloat16_on_wire ? 1 : 0));
  h = hash_mix(hash_mix(h, o.micro_batches), std::bit_cast<std::uint32_t>(o.clip_norm));
  h = hash_mix(h, o.bucket_bytes);
  for (const auto n : sizes) h = hash_mix(h, n);
  return h;
}

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
  const auto refuse = [](std::string what) { return fail(errc::bad_input, std::move(what), "gradient exchange"); };
  if (options.micro_batches == 0) return refuse("a step of no micro-batches");
  if (options.how != reduction::sum && options.how != reduction::mean) {
    return refuse("gradients are added up: sum or mean, not " + std::string(to_string(options.how)));
  }
  if (!(options.clip_norm >= 0) || std::isinf(options.clip_norm)) return refuse("a norm to clip at is 0 or above");
  if (options.bucket_bytes == 0) options.bucket_bytes = g.table().bucket;
  gradient_exchange made(g, options, site);
  made.plan(sizes);

  struct outline {
    std::uint64_t hash = 0;
    std::uint64_t tensors = 0;
    std::uint64_t elements = 0;
    bool operator==(const outline&) const = default;
  };
  outline mine{hash_of(sizes, options), sizes.size(), 0};
  for (const auto n : sizes) mine.elements += n;
  auto all = g.all_gather(std::as_bytes(std::span(&mine, 1)), site);
  if (!all) return unexpected(std::move(all.error()));
  std::string differing;
  for (std::uint32_t r = 0; r < all->size(); ++r) {
    outline theirs;
    if ((*all)[r].size() == sizeof theirs) std::memcpy(&theirs, (*all)[r].data(), sizeof theirs);
    outline first;
    if ((*all)[0].size() == sizeof first) std::memcpy(&first, (*all)[0].data(), sizeof first);
    if (theirs == first) continue;
    differing += (differing.empty() ? "" : ", ") + std::string("rank ") + std::to_string(r) + " has " +
                 std::to_string(theirs.tensors) + " tensors of " + std::to_string(theirs.elements) +
                 " numbers and rank 0 " + std::to_string(first.tensors) + " of " + std::to_string(first.elements);
  }
  if (!differing.empty()) {
    return fail(errc::mismatch, "the ranks declare other tensors, or options: " + differing, "gradient exchange",
                "all ranks declare the same tensors in the same order, with the same options");
  }
  const auto elements = made.buckets_.empty() ? 0 : made.buckets_.back().begin + made.buckets_.back().count;
  auto memory = g.buffer<float>(elements, site);
  if (!memory) return unexpected(std::move(memory.error()));
  made.memory_ = std::move(*memory);
  std::fill(made.memory_.begin(), made.memory_.end(), 0.0f);
  if (options.bfloat16_on_wire) {
    auto wire = g.buffer<bfloat16>(elements, site);
    if (!wire) return unexpected(std::move(wire.error()));
    made.wire_ = std::move(*wire);
  }
  return made;
}

void gradient_exchange::plan(std::span<const std::size_t> sizes) {
  places_.resize(sizes.size());
  std::size_t end = 0;
  for (std::size_t i = sizes.size(); i-- > 0;) {
    const auto full = options_.bucket_bytes / sizeof(float);
    if (buckets_.empty() || end - buckets_.back().begin >= full) {
      end = round_to(end, bucket_alignment);
      buckets_.push_back({end, 0, 0, 0, {}});
    }
    end = round_to(end, tensor_alignment);
    places_[i] = {end, sizes[i], buckets_.size() - 1, false};
    end += sizes[i];
    auto& b = buckets_.back();
    b.count = end - b.begin;
    b.missing = ++b.tensors;
  }
}

expected<void> gradient_exchange::ready(std::size_t i) {
  if (i >= places_.size()) {
    return fail(errc::bad_input,
                "there is no tensor " + std::to_string(i) + ", but " + std::to_string(places_.size()) + " of them",
                "gradient exchange");
  }
  auto& p = places_[i];
  if (p.ready) {
    return fail(errc::bad_input, "tensor " + std::to_string(i) + " is ready for the second time in this micro-batch",
                "gradient exchange", "call finish after each micro-batch");
  }
  p.ready = true;
  --buckets_[p.bucket].missing;
  if (is_last()) begin_buckets();
  return {};
}

void gradient_exchange::begin_buckets() {
  for (; begun_ < buckets_.size() && buckets_[begun_].missing == 0; ++begun_) {
    auto& b = buckets_[begun_];
    const auto numbers = memory_.span().subspan(b.begin, b.count);
    if (!options_.bfloat16_on_wire) {
      b.call = group_->all_reduce_async(numbers, options_.how, site_);
      continue;
    }
    const auto narrow = wire_.span().subspan(b.begin, b.count);
    for (std::size_t k = 0; k < numbers.size(); ++k) narrow[k] = bfloat16(numbers[k]);
    b.call = group_->all_reduce_async(narrow, options_.how, site_);
  }
}

expected<double> gradient_exchange::finish() {
  std::vector<std::uint32_t> missing;
  for (std::size_t i = 0; i < places_.size(); ++i) {
    if (!places_[i].ready) missing.push_back(static_cast<std::uint32_t>(i));
  }
  if (!missing.empty()) {
    auto list = rank_list(missing);  // "ranks 1 and 2"
    list.replace(0, 4, "tensor");
    return fail(errc::bad_input, list + (missing.size() == 1 ? " is" : " are") + " not ready", "gradient exchange",
                "call ready for every tensor, also for one without a gradient in this step");
  }
  for (auto& p : places_) p.ready = false;
  for (auto& b : buckets_) b.missing = b.tensors;
  if (!is_last()) {
    ++micro_batch_;
    return 0.0;
  }
  micro_batch_ = 0;
  begun_ = 0;
  for (auto& b : buckets_) {
    if (auto ok = b.call.wait(); !ok) return unexpected(std::move(ok.error()));
    b.call = {};
    if (!options_.bfloat16_on_wire) continue;
    const auto numbers = memory_.span().subspan(b.begin, b.count);
    const auto narrow = wire_.span().subspan(b.begin, b.count);
    for (std::size_t k = 0; k < numbers.size(); ++k) numbers[k] = static_cast<float>(narrow[k]);
  }
  return norm_and_clip();
}

expected<double> gradient_exchange::norm_and_clip() {
  if (options_.clip_norm == 0) return 0.0;
  // Every rank has the same numbers, and so the same norm.
  double squares = 0;
  for (std::size_t i = 0; i < places_.size(); ++i) squares += square_sum(gradient(i));
  const double norm = std::sqrt(squares);
  if (norm > double{options_.clip_norm}) {
    const auto scale = static_cast<float>(double{options_.clip_norm} / norm);
    for (std::size_t i = 0; i < places_.size(); ++i) {
      for (auto& x : gradient(i)) x *= scale;
    }
  }
  return norm;
}

}  // namespace hydrogen::comm
