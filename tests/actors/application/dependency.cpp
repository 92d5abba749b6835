#include <cstdint>

extern "C" std::int64_t hydrogen_test_dependency();
std::int64_t hydrogen_test_dependency() {
  return 1;
}
