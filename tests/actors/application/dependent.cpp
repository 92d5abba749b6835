// An application that needs another library, which only a process finds that has loaded it before.

#include <hydrogen/hydrogen.hpp>

extern "C" std::int64_t hydrogen_test_dependency();

namespace {

void entry(hydrogen::context& ctx) {
  ctx.range(0, 4, {.partitions = 4}).map([](std::int64_t i) { return i + hydrogen_test_dependency(); }).sum();
}

}  // namespace

HYDROGEN_APPLICATION(entry)
