#pragma once
// The work of the benchmarks. It lies in an application's library, so that executors in processes of their own can load
// it; the benchmark program calls it with a context of whatever cluster it measures. Driver thread.

#include <hydrogen/hydrogen.hpp>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#define HYDROGEN_BENCH_EXPORT __attribute__((visibility("default")))

namespace hydrogen::bench {

/// Sum of 2i + 1 over the i of [0, n) that 3 does not divide.
HYDROGEN_BENCH_EXPORT std::int64_t fused_sum(context& ctx, std::int64_t n);

/// Pairs (i * 2654435761 mod keys, i) for i in [0, n), kept in memory.
HYDROGEN_BENCH_EXPORT dataset<std::pair<std::int64_t, double>> keyed_rows(context& ctx, std::int64_t n,
                                                                          std::int64_t keys);
/// Sum by key, then the sum of the sums.
HYDROGEN_BENCH_EXPORT double sum_by_key(const dataset<std::pair<std::int64_t, double>>& rows);

/// (distinct words, all words) of a file.
HYDROGEN_BENCH_EXPORT std::pair<std::int64_t, std::int64_t> count_all_words(context& ctx, const std::string& file);

/// A job of n tasks with next to nothing to do each.
HYDROGEN_BENCH_EXPORT void empty_tasks(context& ctx, std::uint32_t n);

/// Microseconds that each of `rounds` barriers took on rank 0 of a gang.
HYDROGEN_BENCH_EXPORT std::vector<double> barrier_times(context& ctx, std::uint32_t ranks, std::uint32_t rounds);

/// A gang whose ranks do nothing.
HYDROGEN_BENCH_EXPORT void idle_gang(context& ctx, std::uint32_t ranks);

/// When (steady clock, nanoseconds; the same clock for all processes of a host) each rank of a gang was entered. Its
/// input is one row per rank.
HYDROGEN_BENCH_EXPORT std::vector<std::int64_t> gang_entries(const dataset<std::int64_t>& input, std::uint32_t ranks);

/// Rows for `gang_entries`, kept in memory.
HYDROGEN_BENCH_EXPORT dataset<std::int64_t> gang_input(context& ctx, std::uint32_t ranks);

/// In its first attempt rank 0 writes the time into `file` and ends its process with SIGKILL. Returns when each rank
/// was entered in the attempt that went well.
HYDROGEN_BENCH_EXPORT std::vector<std::int64_t> gang_entries_after_kill(context& ctx, std::uint32_t ranks,
                                                                        const std::string& file);

}  // namespace hydrogen::bench
