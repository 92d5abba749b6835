#include <hydrogen/gpu/kernels/operand.hpp>

#include <spdlog/fmt/fmt.h>

#include <cstdint>
#include <limits>

namespace hydrogen::gpu::kernels {
namespace {

bool overlap(const operand& a, const operand& b) {
  const auto a_at = reinterpret_cast<std::uintptr_t>(a.at), b_at = reinterpret_cast<std::uintptr_t>(b.at);
  return a.n != 0 && b.n != 0 && a_at < b_at + b.bytes() && b_at < a_at + a.bytes();
}

}  // namespace

void checker::refuse(const std::string& why) const {
  gpu::refuse(kernel_, why);
}

const checker& checker::here(std::initializer_list<operand> all) const {
  for (const auto& o : all) {
    if (o.n == 0) continue;
    if (o.owner == nullptr) refuse(fmt::format("{} has no memory", o.name));
    if (o.owner->kind() == memory_kind::device && &o.owner->owner() != &stream_.on()) {
      refuse(fmt::format("{} is in memory of {}, the stream is on {}", o.name, o.owner->owner().description(),
                         stream_.on().description()));
    }
  }
  return *this;
}

const checker& checker::same_size(const operand& a, const operand& b) const {
  if (a.n != b.n) refuse(fmt::format("{} has {} elements, {} has {}", a.name, a.n, b.name, b.n));
  return *this;
}

const checker& checker::size(const operand& a, std::size_t n) const {
  if (a.n != n) refuse(fmt::format("{} has {} elements, {} are needed", a.name, a.n, n));
  return *this;
}

const checker& checker::apart(const operand& output, std::initializer_list<operand> others, in_place same) const {
  for (const auto& o : others) {
    if (!overlap(output, o)) continue;
    if (same == in_place::allowed && output.at == o.at && output.bytes() == o.bytes()) continue;
    refuse(fmt::format("{} and {} overlap", output.name, o.name));
  }
  return *this;
}

std::size_t checker::product(std::size_t a, std::size_t b) const {
  if (b != 0 && a > std::numeric_limits<std::size_t>::max() / b) refuse(fmt::format("{} x {} is too large", a, b));
  return a * b;
}

}  // namespace hydrogen::gpu::kernels
