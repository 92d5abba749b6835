#pragma once
// A child process that is talked to in lines, over its standard input and output. Main thread only.

#include <hydrogen/base/clock.hpp>
#include <hydrogen/base/error.hpp>
#include <hydrogen/base/unique_fd.hpp>

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

namespace hydrogen::bench {

class line_child {
 public:
  /// arguments[0] is the program, looked for in PATH when it has no '/'; `environment` ("NAME=value") comes on top of
  /// ours. Its standard error is kept for `last_words`. errc::io: there is no such program.
  static expected<std::unique_ptr<line_child>> start(const std::vector<std::string>& arguments,
                                                     const std::vector<std::string>& environment = {});
  /// Ends it: its input ends; what is still there after 3 s is told to terminate, after 2 s more it is killed.
  ~line_child();
  line_child(const line_child&) = delete;

  expected<void> say(const std::string& line);
  /// The next line. errc::timed_out; disconnected: it has ended, with its last words.
  expected<std::string> hear(time_point deadline);
  /// It should end; does not wait for that.
  void end_input() { input_.reset(); }
  /// It hangs: the end comes without the 3 s.
  void give_up() { patience_ = 0s; }
  /// The last line of its standard error.
  std::string last_words() const;

 private:
  line_child(pid_t pid, unique_fd input, unique_fd output, unique_fd errors)
      : pid_(pid), input_(std::move(input)), output_(std::move(output)), errors_(std::move(errors)) {}
  bool ends_within(duration);

  pid_t pid_;
  unique_fd input_;
  unique_fd output_;
  unique_fd errors_;
  std::string heard_;
  duration patience_ = 3s;
};

}  // namespace hydrogen::bench
