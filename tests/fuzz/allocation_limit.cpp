// The allocator of a fuzz program: malloc, and a count. Every form of new and delete is here, because a sanitizer's
// own ones would not take back what is of these.
#include "target.hpp"
#include <malloc.h>

#include <atomic>
#include <new>

namespace {

std::atomic<std::int64_t> taken{0};
std::atomic<std::int64_t> limit{INT64_MAX};

void* count(void* p) {
  if (p == nullptr) return p;
  const auto size = static_cast<std::int64_t>(malloc_usable_size(p));
  const auto now = taken.fetch_add(size, std::memory_order_relaxed) + size;
  // Once: what reports the end allocates, too.
  if (now > limit.load(std::memory_order_relaxed) && limit.exchange(INT64_MAX) != INT64_MAX) {
    std::fprintf(stderr, "finding: %lld bytes allocated, %lld of them at once, above the limit of this input\n",
                 static_cast<long long>(now), static_cast<long long>(size));
    std::abort();
  }
  return p;
}

void* take(std::size_t size) noexcept {
  return count(std::malloc(size == 0 ? 1 : size));
}

void* take(std::size_t size, std::align_val_t align) noexcept {
  const auto line = static_cast<std::size_t>(align);
  return count(std::aligned_alloc(line, (size + line) / line * line));
}

void* or_throw(void* p) {
  if (p == nullptr) throw std::bad_alloc();
  return p;
}

void give_back(void* p) noexcept {
  if (p != nullptr) taken.fetch_sub(static_cast<std::int64_t>(malloc_usable_size(p)), std::memory_order_relaxed);
  std::free(p);
}

}  // namespace

namespace hydrogen::fuzz {

allocation_limit::allocation_limit(std::size_t bytes) {
  limit = taken + static_cast<std::int64_t>(bytes);
}
allocation_limit::~allocation_limit() {
  limit = INT64_MAX;
}

}  // namespace hydrogen::fuzz

// clang-format off
void* operator new(std::size_t n) { return or_throw(take(n)); }
void* operator new[](std::size_t n) { return or_throw(take(n)); }
void* operator new(std::size_t n, const std::nothrow_t&) noexcept { return take(n); }
void* operator new[](std::size_t n, const std::nothrow_t&) noexcept { return take(n); }
void* operator new(std::size_t n, std::align_val_t a) { return or_throw(take(n, a)); }
void* operator new[](std::size_t n, std::align_val_t a) { return or_throw(take(n, a)); }
void* operator new(std::size_t n, std::align_val_t a, const std::nothrow_t&) noexcept { return take(n, a); }
void* operator new[](std::size_t n, std::align_val_t a, const std::nothrow_t&) noexcept { return take(n, a); }
void operator delete(void* p) noexcept { give_back(p); }
void operator delete[](void* p) noexcept { give_back(p); }
void operator delete(void* p, std::size_t) noexcept { give_back(p); }
void operator delete[](void* p, std::size_t) noexcept { give_back(p); }
void operator delete(void* p, const std::nothrow_t&) noexcept { give_back(p); }
void operator delete[](void* p, const std::nothrow_t&) noexcept { give_back(p); }
void operator delete(void* p, std::align_val_t) noexcept { give_back(p); }
void operator delete[](void* p, std::align_val_t) noexcept { give_back(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { give_back(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { give_back(p); }
void operator delete(void* p, std::align_val_t, const std::nothrow_t&) noexcept { give_back(p); }
void operator delete[](void* p, std::align_val_t, const std::nothrow_t&) noexcept { give_back(p); }
// clang-format on
