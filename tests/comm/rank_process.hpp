#pragma once
// Ranks in processes of their own, so that they can be killed and stopped: this test program again, which runs the one
// test case `rank_process_case` and takes commands over a socket.
//
//     parent: join ATTEMPT CALLS RANK...     the gang, as numbers of children
//             abort
//             count
//     child:  here BOOT ENDPOINT | call N (each time) | done | failed CODE TEXT | has DESCRIPTORS THREADS

#include <hydrogen/base/unique_fd.hpp>
#include <hydrogen/comm/rendezvous.hpp>

#include <string>
#include <vector>

namespace hydrogen::comm::testing {

class rank_process {
 public:
  /// `between`: "memory", "stages" or "tcp".
  explicit rank_process(const secret& key, const std::string& between = "memory");
  /// Ends it.
  ~rank_process();
  rank_process(const rank_process&) = delete;

  const gang_member& member() const { return member_; }
  void say(const std::string& line);
  /// The next line; empty at the end of the process. Fails the test after a minute.
  std::string hear();
  /// Skips lines until one starts like this, or the end.
  std::string hear(const std::string& start);
  void signal(int number);

 private:
  pid_t pid_ = 0;
  unique_fd socket_;
  std::string buffered_;
  gang_member member_;
};

/// Joins these processes to a gang, rank by rank, for so many calls.
void start_gang(const std::vector<rank_process*>& ranks, std::uint64_t attempt, int calls);

}  // namespace hydrogen::comm::testing
