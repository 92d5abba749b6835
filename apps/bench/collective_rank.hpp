#pragma once
// The ranks of a gang that `hydrogen-bench collectives` measures, in a process of their own: this program again, with a
// first argument that the help does not show. It takes lines over its standard input and ends with that:
//
//     child:   here BOOT ENDPOINT            where it can be dialled; "-": ranks of this process only
//     parent:  join BOOT ENDPOINT ...        the process of each rank
//     child:   ready Hydrogen                by rank 0, when all have met
//     then the lines of peers/timed_calls.hpp

#include <hydrogen/comm/secret.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace hydrogen::bench {

/// How the ranks of a gang are spread, and over what they meet. Staged: none reads the memory of another process.
enum class gang_place { threads, processes, staged_processes, processes_over_tcp };
/// Behind an operation: its numbers lie in a buffer of the gang.
inline constexpr std::string_view shared_suffix = "_shared";

inline constexpr const char* collective_rank_flag = "--collective-rank";

/// The arguments that start ranks `first` to `first + count - 1` of `ranks`, and the environment that hands them the
/// secret with which their processes prove themselves.
std::vector<std::string> collective_rank_arguments(int first, int count, int ranks, gang_place);
std::string collective_key_variable(const comm::secret&);

/// The program, with the arguments behind the flag. The exit code.
int run_collective_ranks(const std::vector<std::string>& arguments);

}  // namespace hydrogen::bench
