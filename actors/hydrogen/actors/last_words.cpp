#include <hydrogen/actors/last_words.hpp>
#include <hydrogen/actors/scratch_folder.hpp>
#include <hydrogen/base/log.hpp>

#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>

namespace hydrogen::actors {
namespace {

int words_fd = -1;
pid_t words_of = 0;  // a child that user code forked is none of ours
char words_prefix[64];
constexpr int exit_code = 1;

void append(char* line, std::size_t size, const char* text) {
  const auto used = std::strlen(line);
  std::strncat(line, text, size - used - 1);
}

/// Calls only what is safe in a signal handler.
void say(const char* what, const char* which) {
  if (getpid() != words_of) return;
  char line[512] = "";
  append(line, sizeof line, words_prefix);
  append(line, sizeof line, log_scope::text().empty() ? "a thread that runs no task" : log_scope::text().c_str());
  append(line, sizeof line, ": user code ");
  append(line, sizeof line, what);
  append(line, sizeof line, which);
  append(line, sizeof line, "\n");
  if (write(words_fd, line, std::strlen(line)) < 0) return;
}

void on_signal(int number) {
  const char* name = number == SIGSEGV  ? "SIGSEGV, a bad memory access"
                     : number == SIGBUS ? "SIGBUS, a bad memory access"
                     : number == SIGFPE ? "SIGFPE, a bad arithmetic operation"
                     : number == SIGILL ? "SIGILL, a bad instruction"
                                        : "SIGABRT, an abort";
  say("crashed with signal ", name);
  raise(number);  // the handler was reset: this ends the process, with a core file where the system makes one
}

void on_exit() {
  if (getpid() != words_of || log_scope::text().empty()) return;
  say("called exit()", "");
  remove_scratch_folders();
  _exit(exit_code);  // static destructors of the application must not run while slot threads do
}

}  // namespace

void install_last_words(int fd, std::string prefix) {
  words_fd = fd;
  words_of = getpid();
  static_cast<void>(log_scope::text());  // its static is made now, not inside a handler
  std::strncpy(words_prefix, prefix.c_str(), sizeof words_prefix - 1);
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_NODEFER);
  for (const int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) sigaction(number, &action, nullptr);
  std::atexit(on_exit);
}

}  // namespace hydrogen::actors
