#include <hydrogen/base/ids.hpp>
#include <hydrogen/comm/gradient_plan.hpp>

#include <bit>
#include <cmath>
#include <cstring>

namespace hydrogen::comm {
namespace {

constexpr const char* exchange_name = "gradient exchange";

// Tensors begin at lines of their own, and buckets at pairs of lines.
constexpr std::size_t tensor_alignment = 64 / sizeof(float);
constexpr std::size_t bucket_alignment = 128 / sizeof(float);

std::size_t round_to(std::size_t n, std::size_t unit) {
  return (n + unit - 1) / unit * unit;
}

std::uint64_t hash_of(std::span<const std::size_t> sizes, const gradient_options& o, std::size_t last_bytes) {
  auto h = hash_mix(sizes.size(), std::uint64_t{static_cast<std::uint8_t>(o.how)} << 1 | (o.bfloat16_on_wire ? 1 : 0));
  h = hash_mix(hash_mix(h, o.micro_batches), std::bit_cast<std::uint32_t>(o.clip_norm));
  h = hash_mix(hash_mix(h, o.bucket_bytes), last_bytes);
  for (const auto n : sizes) h = hash_mix(h, n);
  return h;
}

/// What a rank tells the others of its plan.
struct outline {
  std::uint64_t hash = 0;
  std::uint64_t tensors = 0;
  std::uint64_t elements = 0;
  bool operator==(const outline&) const = default;
};

outline outline_from(byte_view bytes) {
  outline read;
  if (bytes.size() == sizeof read) std::memcpy(&read, bytes.data(), sizeof read);
  return read;
}

}  // namespace

expected<gradient_plan> gradient_plan::agree(group& g, std::span<const std::size_t> sizes, gradient_options options,
                                             call_options site) {
  const auto refuse = [](std::string what) { return fail(errc::bad_input, std::move(what), exchange_name); };
  if (options.micro_batches == 0) return refuse("a step of no micro-batches");
  if (options.how != reduction::sum && options.how != reduction::mean) {
    return refuse("gradients are added up: sum or mean, not " + std::string(to_string(options.how)));
  }
  if (!(options.clip_norm >= 0) || std::isinf(options.clip_norm)) return refuse("a norm to clip at is 0 or above");
  const auto last_bytes = options.bucket_bytes == 0 ? g.table().one_shot_of(g.size()) / g.size() : 0;
  if (options.bucket_bytes == 0) options.bucket_bytes = g.table().bucket;

  outline mine{hash_of(sizes, options, last_bytes), sizes.size(), 0};
  for (const auto n : sizes) mine.elements += n;
  const auto all = g.all_gather(std::as_bytes(std::span(&mine, 1)), site);
  if (!all) return unexpected(all.error());
  const auto first = outline_from(all->front());
  std::string differing;
  for (std::uint32_t r = 0; r < all->size(); ++r) {
    const auto theirs = outline_from((*all)[r]);
    if (theirs == first) continue;
    differing += (differing.empty() ? "" : ", ") + std::string("rank ") + std::to_string(r) + " has " +
                 std::to_string(theirs.tensors) + " tensors of " + std::to_string(theirs.elements) +
                 " numbers and rank 0 " + std::to_string(first.tensors) + " of " + std::to_string(first.elements);
  }
  if (!differing.empty()) {
    return fail(errc::mismatch, "the ranks declare other tensors, or options: " + differing, exchange_name,
                "all ranks declare the same tensors in the same order, with the same options");
  }
  return gradient_plan(sizes, options, last_bytes);
}

gradient_plan::gradient_plan(std::span<const std::size_t> sizes, gradient_options options, std::size_t last_bytes)
    : options_(options), tensors_(sizes.size()) {
  const auto full = options_.bucket_bytes / sizeof(float);
  // So many tensors, the first ones, are the last bucket at most.
  std::size_t in_last = 0;
  for (std::size_t all = 0; in_last < sizes.size(); ++in_last) {
    all += round_to(sizes[in_last], tensor_alignment) * sizeof(float);
    if (all > last_bytes) break;
  }
  std::size_t end = 0;
  for (std::size_t i = sizes.size(); i-- > 0;) {
    if (buckets_.empty() || end - buckets_.back().at.begin >= full || i + 1 == in_last) {
      end = round_to(end, bucket_alignment);
      buckets_.push_back({{end, 0}, 0, 0});
    }
    end = round_to(end, tensor_alignment);
    tensors_[i] = {{end, sizes[i]}, buckets_.size() - 1, false};
    end += sizes[i];
    auto& b = buckets_.back();
    b.at.count = end - b.at.begin;
    b.missing = ++b.tensors;
  }
}

std::size_t gradient_plan::elements() const {
  return buckets_.empty() ? 0 : buckets_.back().at.begin + buckets_.back().at.count;
}

expected<void> gradient_plan::ready(std::size_t i) {
  if (i >= tensors_.size()) {
    return fail(errc::bad_input,
                "there is no tensor " + std::to_string(i) + ", but " + std::to_string(tensors_.size()) + " of them",
                exchange_name);
  }
  auto& t = tensors_[i];
  if (t.ready) {
    return fail(errc::bad_input, "tensor " + std::to_string(i) + " is ready for the second time in this micro-batch",
                exchange_name, "call finish after each micro-batch");
  }
  t.ready = true;
  --buckets_[t.bucket].missing;
  return {};
}

std::optional<std::size_t> gradient_plan::next_bucket() {
  if (!is_last() || begun_ == buckets_.size() || buckets_[begun_].missing != 0) return {};
  return begun_++;
}

expected<bool> gradient_plan::finish() {
  std::vector<std::uint32_t> missing;
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    if (!tensors_[i].ready) missing.push_back(static_cast<std::uint32_t>(i));
  }
  if (!missing.empty()) {
    auto list = rank_list(missing);  // "ranks 1 and 2"
    list.replace(0, 4, "tensor");
    return fail(errc::bad_input, list + (missing.size() == 1 ? " is" : " are") + " not ready", exchange_name,
                "call ready for every tensor, also for one without a gradient in this step");
  }
  for (auto& t : tensors_) t.ready = false;
  for (auto& b : buckets_) b.missing = b.tensors;
  const bool last = is_last();
  micro_batch_ = last ? 0 : micro_batch_ + 1;
  if (last) begun_ = 0;
  return last;
}

}  // namespace hydrogen::comm
