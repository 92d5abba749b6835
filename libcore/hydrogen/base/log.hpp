#pragma once
// Logging through spdlog. Every line carries the node and what the thread works for (job, gang, attempt, rank), set by
// `log_scope`; the last lines of a task are kept and come back in its error. Call sites use spdlog's own functions
// (`spdlog::info("...", ...)`). Any thread.

#include <spdlog/spdlog.h>

#include <string>
#include <vector>

namespace hydrogen {

/// Sends lines to standard error, `level` and above ("trace" ... "error", "off"). `node` names this process in each
/// line. Call once at start, and again in a process that learns its name later.
void start_logging(const std::string& node, const std::string& level);

/// While it lives, lines of this thread carry `text` ("job=3 rank=1 attempt=t1.4"), and the last `keep` lines logged
/// in it can be taken. Scopes nest; the innermost one counts.
class log_scope {
 public:
  explicit log_scope(std::string text, std::size_t keep = 0);
  ~log_scope();
  log_scope(const log_scope&) = delete;
  log_scope& operator=(const log_scope&) = delete;

  /// The last lines that this thread logged inside the scope, oldest first.
  std::vector<std::string> last_lines() const;

  static const std::string& text();
  static void remember(std::string line);

 private:
  std::string text_;
  std::size_t keep_;
  std::vector<std::string> lines_;
  log_scope* outer_;
};

}  // namespace hydrogen
