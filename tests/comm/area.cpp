#include <hydrogen/comm/area.hpp>

#include <doctest/doctest.h>
#include <sys/mman.h>

#include <array>
#include <cstddef>
#include <memory>
#include <vector>

using namespace hydrogen;
using namespace hydrogen::comm;

TEST_CASE("memory that a rank of the same process has given back in the middle of a call is an error, not a crash") {
  const auto bytes = area::bytes_on_host(2);
  void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  REQUIRE(at != MAP_FAILED);
  const std::shared_ptr<void> keep(at, [bytes](void* memory) { ::munmap(memory, bytes); });
  const auto there = area::create(static_cast<std::byte*>(at), 2, keep);
  there->introduce(0);
  constexpr std::size_t size = 1 << 20;
  auto* theirs =
      static_cast<std::byte*>(::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  REQUIRE(theirs != MAP_FAILED);
  theirs[0] = theirs[size - 1] = std::byte{7};
  std::vector<std::byte> copy(size);
  const auto address = reinterpret_cast<std::uint64_t>(theirs);
  REQUIRE(there->read(0, address, copy));
  CHECK(copy[0] == std::byte{7});
  CHECK(copy[size - 1] == std::byte{7});
  ::munmap(theirs, size);
  const auto gone = there->read(0, address, copy);
  REQUIRE(!gone);
  CHECK(gone.error().code == errc::disconnected);
}
