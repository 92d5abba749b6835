#pragma once
// Identities. Every message that can change state carries who speaks (term, boot) and about which attempt; a receiver
// drops what is older than what it knows. Plain values: copy, compare, hash, print (`to_string`), `inspect`.

#include <compare>
#include <cstdint>
#include <functional>
#include <string>

namespace hydrogen {

/// 128 random bits made by the driver: one driver's life with one application.
struct run_id {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  auto operator<=>(const run_id&) const = default;
  template <class I>
  friend auto inspect(I& f, run_id& x) {
    return f(x.high, x.low);
  }
};

/// The incarnation of a coordinator; grows by one with every start on the same directory. 0: none yet.
struct term_id {
  std::uint64_t value = 0;
  auto operator<=>(const term_id&) const = default;
  template <class I>
  friend auto inspect(I& f, term_id& x) {
    return f(x.value);
  }
};

/// The incarnation of an agent, an executor or a driver: 64 random bits, never 0.
struct boot_id {
  std::uint64_t value = 0;
  auto operator<=>(const boot_id&) const = default;
  explicit operator bool() const { return value != 0; }
  template <class I>
  friend auto inspect(I& f, boot_id& x) {
    return f(x.value);
  }
};

/// A request for slots, numbered by the job (run, job, stage, k), so that a repeat after a reconnection is the same
/// request. The request of a barrier stage is also the identity of its gang.
struct request_id {
  run_id run;
  std::uint32_t job = 0;
  std::uint32_t stage = 0;
  std::uint32_t k = 0;
  auto operator<=>(const request_id&) const = default;
  template <class I>
  friend auto inspect(I& f, request_id& x) {
    return f(x.run, x.job, x.stage, x.k);
  }
};

/// One try of a gang or of a lease: ordered across coordinator crashes because the term leads. {0,0}: none.
struct attempt_id {
  term_id term;
  std::uint64_t counter = 0;
  auto operator<=>(const attempt_id&) const = default;
  explicit operator bool() const { return term.value != 0; }
  template <class I>
  friend auto inspect(I& f, attempt_id& x) {
    return f(x.term, x.counter);
  }
};

/// One try of one task. In a barrier stage the partition is the rank.
struct task_id {
  run_id run;
  std::uint32_t job = 0;
  std::uint32_t stage = 0;
  std::uint32_t partition = 0;
  std::uint32_t attempt = 0;  // from 0
  auto operator<=>(const task_id&) const = default;
  template <class I>
  friend auto inspect(I& f, task_id& x) {
    return f(x.run, x.job, x.stage, x.partition, x.attempt);
  }
};

std::string to_string(const run_id&);      // 32 hexadecimal digits
std::string to_string(const term_id&);     // "t3"
std::string to_string(const boot_id&);     // 16 hexadecimal digits
std::string to_string(const request_id&);  // "1f0c2a9b/j0/s2#0": the run's first 8 digits, job, stage, k
std::string to_string(const attempt_id&);  // "t3.17"
std::string to_string(const task_id&);     // "1f0c2a9b/j0/s2/p5 attempt 1"

/// Fresh from the operating system's random source; never zero.
run_id make_run_id();
boot_id make_boot_id();

/// Folds a value into a hash (the mixing step of splitmix64).
constexpr std::uint64_t hash_mix(std::uint64_t seed, std::uint64_t value) {
  std::uint64_t z = seed * 0x9e3779b97f4a7c15ULL + value;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

}  // namespace hydrogen

template <>
struct std::hash<hydrogen::run_id> {
  std::size_t operator()(const hydrogen::run_id& x) const { return hydrogen::hash_mix(x.high, x.low); }
};
template <>
struct std::hash<hydrogen::boot_id> {
  std::size_t operator()(const hydrogen::boot_id& x) const { return x.value; }
};
template <>
struct std::hash<hydrogen::request_id> {
  std::size_t operator()(const hydrogen::request_id& x) const {
    auto h = hydrogen::hash_mix(x.run.high, x.run.low);
    return hydrogen::hash_mix(hydrogen::hash_mix(h, std::uint64_t{x.job} << 32 | x.stage), x.k);
  }
};
template <>
struct std::hash<hydrogen::attempt_id> {
  std::size_t operator()(const hydrogen::attempt_id& x) const { return hydrogen::hash_mix(x.term.value, x.counter); }
};
