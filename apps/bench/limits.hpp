#pragma once
// What this machine and its kernel need for the least that a case has to do, to stand beside it. Milliseconds, median
// of so many rounds. Main thread only, and before threads of the case run, since one of these forks.

#include <cstddef>
#include <string>

namespace hydrogen::bench {

/// `bytes` of records are made durable in a file of `folder`, and then `threads` sleeping threads are woken, until all
/// of them run.
double sync_and_wake_ms(const std::string& folder, int threads, int rounds, std::size_t bytes = 400);

/// Three times: a word to each of `processes` sleeping processes over unix sockets, and an answer from each.
double three_rounds_ms(int processes, int rounds);

}  // namespace hydrogen::bench
