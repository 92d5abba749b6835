#include <hydrogen/base/error.hpp>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace hydrogen {

std::string_view to_string(errc code) {
  switch (code) {
    case errc::none:
      return "no error";
    case errc::bad_input:
      return "bad input";
    case errc::not_found:
      return "not found";
    case errc::refused:
      return "refused";
    case errc::over_limit:
      return "over a limit";
    case errc::timed_out:
      return "timed out";
    case errc::cancelled:
      return "cancelled";
    case errc::aborted:
      return "aborted";
    case errc::disconnected:
      return "disconnected";
    case errc::io:
      return "input/output error";
    case errc::task_failed:
      return "task failed";
    case errc::mismatch:
      return "mismatch";
    case errc::internal:
      return "internal error";
  }
  return "unknown error";
}

std::string error::message() const {
  std::string text = where.empty() ? what : where + ": " + what;
  if (!hint.empty()) text += " (" + hint + ")";
  return text;
}

unexpected fail(errc code, std::string what, std::string where, std::string hint) {
  return unexpected(error{code, std::move(what), std::move(where), std::move(hint)});
}

unexpected fail_errno(std::string_view call, std::string where) {
  const int code = errno;
  char buffer[128];
  return fail(errc::io, std::string(call) + ": " + strerror_r(code, buffer, sizeof buffer), std::move(where));
}

std::string task_failure::message() const {
  std::string text = stage;
  text += rank >= 0 ? ", rank " + std::to_string(rank) : ", partition " + std::to_string(partition);
  text += ", attempt " + std::to_string(attempt);
  if (!host.empty()) text += ", on " + host;
  text += ": " + cause.message();
  for (const auto& line : last_lines) text += "\n    " + line;
  return text;
}

failure::failure(error e) : std::runtime_error(e.message()), reason_(std::move(e)) {}

failure::failure(error e, task_failure cause)
    : std::runtime_error(e.message() + "\n  " + cause.message()),
      reason_(std::move(e)),
      cause_(std::make_shared<const task_failure>(std::move(cause))) {}

void broken_invariant(const char* what) {
  std::fprintf(stderr, "hydrogen: broken invariant: %s\n", what);
  std::abort();
}

}  // namespace hydrogen
