#include <hydrogen/base/error.hpp>
#include <hydrogen/base/ids.hpp>

#include <spdlog/fmt/compile.h>
#include <spdlog/fmt/fmt.h>
#include <sys/random.h>

namespace hydrogen {
namespace {

std::uint64_t random_bits() {
  std::uint64_t bits = 0;
  while (bits == 0) invariant(getrandom(&bits, sizeof bits, 0) == sizeof bits, "the system has no random source");
  return bits;
}

}  // namespace

std::string to_string(const run_id& x) {
  return fmt::format(FMT_COMPILE("{:016x}{:016x}"), x.high, x.low);
}
std::string to_string(const term_id& x) {
  return fmt::format(FMT_COMPILE("t{}"), x.value);
}
std::string to_string(const boot_id& x) {
  return fmt::format(FMT_COMPILE("{:016x}"), x.value);
}
std::string to_string(const request_id& x) {
  return fmt::format(FMT_COMPILE("{:08x}/j{}/s{}#{}"), x.run.high >> 32, x.job, x.stage, x.k);
}
std::string to_string(const attempt_id& x) {
  return fmt::format(FMT_COMPILE("t{}.{}"), x.term.value, x.counter);
}
std::string to_string(const task_id& x) {
  return fmt::format(FMT_COMPILE("{:08x}/j{}/s{}/p{} attempt {}"), x.run.high >> 32, x.job, x.stage, x.partition,
                     x.attempt);
}

run_id make_run_id() {
  return {random_bits(), random_bits()};
}
boot_id make_boot_id() {
  return {random_bits()};
}

}  // namespace hydrogen
