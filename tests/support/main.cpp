#define DOCTEST_CONFIG_IMPLEMENT
#include <hydrogen/base/log.hpp>

#include <doctest/doctest.h>

#include <cstdlib>

// Log lines of the code under test appear with HYDROGEN_LOG=info or below; a passing run is quiet.
int main(int argc, char** argv) {
  const char* level = std::getenv("HYDROGEN_LOG");
  hydrogen::start_logging("test", level != nullptr ? level : "off");
  return doctest::Context(argc, argv).run();
}
