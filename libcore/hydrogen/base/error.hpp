#pragma once
// Errors as values. Library functions return `expected<T>`; the public API throws `failure`, which carries the `error`.
// A refused request (bad input) says what is wrong, where, and what to do; a broken invariant ends the process
// (see `invariant`). Any thread.

#include <tl/expected.hpp>

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace hydrogen {

enum class errc : std::uint8_t {
  none,
  bad_input,     // a file, flag, config value, argument or message that cannot be used
  not_found,     // a file, library, node or name that is not there
  refused,       // understood, and not allowed or not possible (a gang that never fits, a wrong secret)
  over_limit,    // a budget or a limit was reached; the message names both sizes
  timed_out,     // a deadline passed; the message names who is missing
  cancelled,     // the caller, or somebody with the right to, gave it up
  aborted,       // the gang or the task was ended from outside while this waited
  disconnected,  // a process or a connection is gone
  io,            // the operating system refused a read, write, map or spawn
  task_failed,   // user code threw, exited, crashed or ran out of time
  mismatch,      // two ranks, builds or types that had to agree do not
  internal       // a defect of Hydrogen that could be reported instead of ending the process
};

/// The name of a code as users see it, "bad input" for instance.
std::string_view to_string(errc code);

/// What went wrong (`what`), where (`where`: file:line, rank, node; may be empty), what to do (`hint`; may be empty).
struct error {
  errc code = errc::internal;
  std::string what;
  std::string where;
  std::string hint;

  /// One line: "where: what (hint)".
  std::string message() const;

  template <class Inspector>
  friend auto inspect(Inspector& f, error& x) {
    return f(x.code, x.what, x.where, x.hint);
  }
  bool operator==(const error&) const = default;
};

template <class T>
using expected = tl::expected<T, error>;
using unexpected = tl::unexpected<error>;

/// `return fail(errc::bad_input, "rows must be positive", "config.toml:3");`
unexpected fail(errc code, std::string what, std::string where = {}, std::string hint = {});

/// The failure of an errno call: "open /x: No such file or directory".
unexpected fail_errno(std::string_view call, std::string where = {});

/// Where and how a task failed; the cause behind a failed job. `last_lines` are the task's last log lines.
struct task_failure {
  error cause;
  std::string stage;
  std::uint32_t partition = 0;
  std::int32_t rank = -1;  // -1: a parallel task
  std::uint32_t attempt = 0;
  std::string host;
  std::vector<std::string> last_lines;

  std::string message() const;

  template <class Inspector>
  friend auto inspect(Inspector& f, task_failure& x) {
    return f(x.cause, x.stage, x.partition, x.rank, x.attempt, x.host, x.last_lines);
  }
  bool operator==(const task_failure&) const = default;
};

/// What public API calls throw. Copies share the cause.
class failure : public std::runtime_error {
 public:
  explicit failure(error e);
  failure(error e, task_failure cause);

  const error& reason() const noexcept { return reason_; }
  /// The task failure behind it, or null.
  const task_failure* cause() const noexcept { return cause_.get(); }

 private:
  error reason_;
  std::shared_ptr<const task_failure> cause_;
};

/// The value, or a thrown `failure`: the step from library functions to the public API.
template <class T>
T value_or_throw(expected<T>&& x) {
  if (!x) throw failure(std::move(x.error()));
  if constexpr (!std::is_void_v<T>) return std::move(*x);
}

/// Ends the process with the message when `holds` is false: for states that no input may reach.
inline void invariant(bool holds, const char* what);
[[noreturn]] void broken_invariant(const char* what);
inline void invariant(bool holds, const char* what) {
  if (!holds) [[unlikely]]
    broken_invariant(what);
}

}  // namespace hydrogen
