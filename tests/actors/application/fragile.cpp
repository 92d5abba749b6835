// An application whose static initialisers misbehave in executors, not in the driver, as files in the folder
// $HYDROGEN_TEST_LOADS say:
//
//     anywhere    the initialiser throws, in the driver too
//     loads       gets a line for each executor that loads this library
//     kill-0 ...  the executor that removes one of them is killed while it loads
//     throw       the initialiser throws
//     stamp       the library looks like one of another build

#include <hydrogen/hydrogen.hpp>

#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

// What HYDROGEN_APPLICATION makes, with a stamp that can be changed.
extern "C" __attribute__((visibility("default"))) char hydrogen_application_abi[];
extern "C" __attribute__((visibility("default"))) void hydrogen_application_entry(hydrogen::context& ctx);
char hydrogen_application_abi[] = HYDROGEN_ABI_STAMP;

namespace {

bool is_executor() {
  std::ifstream in("/proc/self/cmdline");
  const std::string line(std::istreambuf_iterator<char>(in), {});
  return line.find(std::string("\0executor\0", 10)) != std::string::npos;
}

const int loaded = [] {
  const char* folder = std::getenv("HYDROGEN_TEST_LOADS");
  if (folder == nullptr) return 0;
  const std::string at(folder);
  if (access((at + "/anywhere").c_str(), F_OK) == 0) throw std::runtime_error("this initialiser always throws");
  if (!is_executor()) return 0;
  std::ofstream(at + "/loads", std::ios::app) << std::to_string(getpid()) + "\n" << std::flush;
  for (int i = 0; i < 8; ++i) {
    if (unlink((at + "/kill-" + std::to_string(i)).c_str()) == 0) raise(SIGKILL);
  }
  if (access((at + "/throw").c_str(), F_OK) == 0) throw std::runtime_error("this initialiser always throws");
  if (access((at + "/stamp").c_str(), F_OK) == 0) hydrogen_application_abi[0] = '?';
  return 1;
}();

}  // namespace

void hydrogen_application_entry(hydrogen::context& ctx) {
  const auto ranks = ctx.range(0, 4, {.partitions = 4})
                         .barrier({.ranks = 4})
                         .map_partitions([](hydrogen::barrier_context& gang, hydrogen::rows<std::int64_t>) {
                           return gang.all_reduce(std::int64_t{gang.rank()});
                         })
                         .collect();
  if (ranks != std::vector<std::int64_t>(4, 6)) throw std::runtime_error("a wrong result");
}
