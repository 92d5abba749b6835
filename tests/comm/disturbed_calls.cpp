#include "disturbed_calls.hpp"

#include <algorithm>
#include <numeric>

namespace hydrogen::comm::testing {
namespace {

using region = disturbed_call::region;

// Slots and one-shot; a piece of the stages; many pieces, and owners that reduce; what the kernel reads.
constexpr std::size_t few = 100, some = 30'000, many = 270'000, lots = 1'050'000;

// Links within a process and islands get a choice of calls, by each way in which these links are used; the ring is made
// over links alone, and its bits are its own.
constexpr const char* everywhere = "memory stages links tcp inproc islands";
constexpr const char* over_links = "links tcp inproc islands";
constexpr const char* between_processes = "memory stages links tcp islands";

std::vector<byte_view> parts_of(const call_setting& c) {
  std::vector<byte_view> parts;
  for (std::uint32_t m = 0; m < c.g.size(); ++m) {
    const auto s = share_of(c.x.size(), m, c.g.size());
    parts.push_back(std::as_bytes(c.x.subspan(s.begin, s.count)));
  }
  return parts;
}
byte_view bytes_of(const call_setting& c) {
  return std::as_bytes(c.x);
}
template <class T>
expected<void> keep(const call_setting& c, expected<T> result) {
  if (!result) return unexpected(result.error());
  if constexpr (std::is_same_v<T, byte_buffer>) {
    c.got.push_back(std::move(*result));
  } else {
    c.got = std::move(*result);
  }
  return {};
}

expected<void> all_reduce(const call_setting& c) {
  return c.g.all_reduce(c.x, reduction::sum, c.options);
}
expected<void> all_reduce_later(const call_setting& c) {
  return c.g.all_reduce_async(c.x, reduction::sum, c.options).wait();
}
expected<void> all_reduce_by_ring(const call_setting& c) {
  auto options = c.options;
  options.by = algorithm::rotating_ring;
  return c.g.all_reduce(c.x, reduction::sum, options);
}
expected<void> training_step(const call_setting& c) {
  for (auto i = c.exchange->tensors(); i-- > 0;) {
    if (auto ok = c.exchange->ready(i); !ok) return ok;
  }
  auto norm = c.exchange->finish();
  return norm ? expected<void>() : unexpected(norm.error());
}
expected<void> reduce_to_victim(const call_setting& c) {
  return c.g.reduce(c.victim, c.x, reduction::sum, c.options);
}
expected<void> reduce_to_other(const call_setting& c) {
  return c.g.reduce(c.other, c.x, reduction::sum, c.options);
}
expected<void> reduce_scatter(const call_setting& c) {
  return c.g.reduce_scatter(c.x, reduction::mean, c.options);
}
expected<void> all_gather(const call_setting& c) {
  return c.g.all_gather(c.x, c.options);
}
expected<void> all_gather_bytes(const call_setting& c) {
  return keep(c, c.g.all_gather(bytes_of(c), c.options));
}
expected<void> broadcast(const call_setting& c) {
  return c.g.broadcast(c.other, c.x, c.options);
}
expected<void> broadcast_of_victim(const call_setting& c) {
  return c.g.broadcast(c.victim, c.x, c.options);
}
expected<void> gather(const call_setting& c) {
  return keep(c, c.g.gather(c.other, bytes_of(c), c.options));
}
expected<void> scatter(const call_setting& c) {
  return keep(c, c.g.scatter(c.victim, c.g.rank() == c.victim ? parts_of(c) : std::vector<byte_view>(), c.options));
}
expected<void> all_to_all(const call_setting& c) {
  return keep(c, c.g.all_to_all(parts_of(c), c.options));
}
expected<void> transfer(const call_setting& c, std::uint32_t from, std::uint32_t to) {
  if (c.g.rank() == from) return c.g.send(to, std::span<const float>(c.x), c.options);
  if (c.g.rank() == to) return c.g.receive(from, c.x, c.options);
  return {};
}
expected<void> send(const call_setting& c) {
  return transfer(c, c.victim, c.other);
}
expected<void> receive(const call_setting& c) {
  return transfer(c, c.other, c.victim);
}
expected<void> subgroup(const call_setting& c) {
  std::vector<std::uint32_t> everyone(c.g.size());
  std::iota(everyone.begin(), everyone.end(), 0);
  auto made = c.g.subgroup(everyone, c.options);
  if (!made) return unexpected(made.error());
  return (*made)->barrier(c.options);
}
expected<void> buffer(const call_setting& c) {
  auto made = c.g.memory(100'000, c.options);
  return made ? expected<void>() : unexpected(made.error());
}

}  // namespace

const std::vector<disturbed_call>& disturbed_calls() {
  static const std::vector<disturbed_call> all{
      // name, elements, in a pair, gang buffer, where the victim is caught, by writing only, the call, over what
      {"barrier", 0, false, false, region::none, false, [](auto& c) { return c.g.barrier(c.options); }, everywhere},
      {"subgroup", 0, false, false, region::none, false, subgroup, everywhere},
      {"buffer", 0, false, false, region::none, false, buffer},
      {"all_reduce of few", few, false, false, region::all, true, all_reduce, everywhere},
      {"all_reduce of some", some, false, false, region::own_share, true, all_reduce},
      {"all_reduce of many", many, false, false, region::own_share, false, all_reduce, everywhere},
      {"all_reduce_async of many", many, false, false, region::own_share, false, all_reduce_later},
      {"all_reduce in a gang buffer", many, false, true, region::own_share, false, all_reduce, between_processes},
      {"all_reduce of few by a ring", few, false, false, region::all, true, all_reduce_by_ring, over_links},
      {"all_reduce of many by a ring", many, false, false, region::own_share, false, all_reduce_by_ring, over_links},
      {"a training step", 3 * step_tensors[0], false, true, region::share_of_bucket, false, training_step, everywhere},
      {"reduce of few", few, false, false, region::all, true, reduce_to_victim},
      {"reduce of many", many, false, false, region::own_share, false, reduce_to_other},
      {"reduce in a gang buffer", many, false, true, region::own_share, false, reduce_to_other},
      {"reduce_scatter of few", few, false, false, region::all, true, reduce_scatter},
      {"reduce_scatter of many", many, false, false, region::own_share, false, reduce_scatter, everywhere},
      {"reduce_scatter in a gang buffer", many, false, true, region::own_share, false, reduce_scatter},
      {"all_gather of few", few, false, false, region::all, true, all_gather},
      {"all_gather of many", many, false, false, region::share_of_other, false, all_gather},
      {"all_gather in a gang buffer", many, false, true, region::share_of_other, false, all_gather},
      {"all_gather of bytes", many, false, false, region::all, false, all_gather_bytes},
      {"broadcast of few", few, false, false, region::all, true, broadcast},
      {"broadcast of many", many, false, false, region::all, false, broadcast, everywhere},
      {"broadcast in a gang buffer", many, false, true, region::all, false, broadcast},
      {"broadcast of the victim", some, false, false, region::all, false, broadcast_of_victim, between_processes},
      {"gather of few", few, false, false, region::all, false, gather},
      {"gather of many", many, false, false, region::all, false, gather},
      {"scatter of few", few, false, false, region::all, false, scatter},
      {"scatter of many", many, false, false, region::share_of_other, false, scatter},
      {"all_to_all of few", few, false, false, region::all, false, all_to_all},
      {"all_to_all of many", many, false, false, region::share_of_other, false, all_to_all, between_processes},
      {"send of few", few, false, false, region::all, false, send},
      {"send of some", some, false, false, region::all, false, send},
      {"receive of few", few, false, false, region::all, true, receive},
      {"receive of many", many, false, false, region::all, false, receive, everywhere},
      {"barrier in a pair", 0, true, false, region::none, false, [](auto& c) { return c.g.barrier(c.options); }},
      {"all_reduce of few in a pair", few, true, false, region::all, true, all_reduce, everywhere},
      {"all_reduce of lots in a pair", lots, true, false, region::own_share, false, all_reduce},
      {"reduce of lots in a pair", lots, true, false, region::own_share, false, reduce_to_other},
      {"broadcast of lots in a pair", lots, true, false, region::all, false, broadcast},
  };
  return all;
}

std::vector<std::byte*> disturbed_call::places(const call_setting& c, std::size_t wanted) const {
  constexpr std::size_t page = 4096;
  std::vector<std::byte*> pages;
  if (where == region::none || c.x.empty()) return pages;
  auto* begin = reinterpret_cast<std::byte*>(c.x.data());
  const auto ranks = c.g.size();
  auto part = share_of(count, where == region::share_of_other ? c.other : c.victim, ranks);
  if (where == region::all) part = {0, count};
  if (is_step()) {
    // While the one in the middle is exchanged, the next one is on its way.
    const auto bucket = count / step_tensors.size();
    part = share_of(bucket, c.victim, ranks);
    part.begin += bucket;
  }
  for (std::size_t i = 1; i <= wanted; ++i) {
    const auto at = (part.begin + part.count * i / (wanted + 1)) * sizeof(float) / page * page;
    if (pages.empty() || pages.back() != begin + at) pages.push_back(begin + at);
  }
  return pages;
}

}  // namespace hydrogen::comm::testing
