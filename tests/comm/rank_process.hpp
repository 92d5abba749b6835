#pragma once
// Ranks in processes of their own, so that they can be killed and stopped: this test program again, which runs one test
// case that takes commands over a socket. The usual one makes calls in turn (another one: disturbed_rank.cpp):
//
//     parent: join ATTEMPT CALLS RANK...     the gang, as numbers of children
//             abort
//             count
//     child:  here BOOT ENDPOINT | call N (each time) | done | failed CODE TEXT | has DESCRIPTORS THREADS

#include <hydrogen/base/unique_fd.hpp>
#include <hydrogen/comm/acceptor.hpp>
#include <hydrogen/comm/rendezvous.hpp>

#include <istream>
#include <memory>
#include <string>
#include <vector>

namespace hydrogen::comm::testing {

class rank_process {
 public:
  /// `between`: "memory", "stages", "links" (in memory, for each pair) or "tcp". `role`: the test case that it runs.
  /// Hosts are loopback addresses.
  explicit rank_process(const secret& key, const std::string& between = "memory",
                        const std::string& role = "a rank in a process of its own", int host = 0);
  /// Ends it.
  ~rank_process();
  rank_process(const rank_process&) = delete;

  const gang_member& member() const { return member_; }
  pid_t pid() const { return pid_; }
  void say(const std::string& line);
  /// The next line; empty at the end of the process. Fails the test after a minute.
  std::string hear();
  /// Skips lines until one starts like this, or the end.
  std::string hear(const std::string& start);
  /// The next line is this one again.
  void put_back(const std::string& line);
  void signal(int number);

 private:
  pid_t pid_ = 0;
  unique_fd socket_;
  std::string buffered_;
  gang_member member_;
};

/// What such a process begins with: it has said where it can be reached.
class rank_child {
 public:
  /// Null when the test case was not started by a `rank_process`.
  static std::unique_ptr<rank_child> make();

  rendezvous& meet() { return *meet_; }
  /// Any thread.
  void say(const std::string& line) const;
  int socket() const;
  /// The next command; empty at the end.
  std::string hear();

 private:
  rank_child(const secret& key, const std::string& between, const std::string& host);

  std::unique_ptr<rendezvous> meet_;
  std::unique_ptr<acceptor> listener_;
  std::string buffered_;
};

gang_token token_of(std::uint64_t attempt);
/// The end of a join command: process and endpoint of every rank.
std::string text_of_table(const std::vector<const rank_process*>& ranks);
gang_table read_table(std::istream&);
std::size_t entries_of(const char* folder);

/// Joins these processes to a gang, rank by rank, for so many calls.
void start_gang(const std::vector<rank_process*>& ranks, std::uint64_t attempt, int calls);

}  // namespace hydrogen::comm::testing
