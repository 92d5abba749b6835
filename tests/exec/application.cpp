#include <hydrogen/exec/application.hpp>

#include "folder.hpp"
#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdlib>

using namespace hydrogen;
using namespace hydrogen::exec;

namespace {

/// Where this test compiles libraries.
struct workshop : tests::folder {
  std::string library(const std::string& name, const std::string& source) const {
    const auto from = write(name + ".cpp", source);
    const auto to = path + "/lib" + name + ".so";
    REQUIRE(std::system(("c++ -shared -fPIC -o " + to + " " + from).c_str()) == 0);
    return to;
  }
};

const std::string entry = "extern \"C\" void hydrogen_application_entry(void*) {}\n";
std::string stamp(const std::string& text) {
  return "extern \"C\" { extern const char hydrogen_application_abi[]; const char hydrogen_application_abi[] = \"" +
         text + "\"; }\n";
}

}  // namespace

TEST_CASE("a library with entry and stamp is loaded, once for the same path") {
  const workshop f;
  const auto path = f.library("good", stamp(abi_stamp()) + entry);
  const auto app = load_application(path);
  REQUIRE(app);
  CHECK(app->name == "good");
  CHECK(app->path == path);
  CHECK(app->hash == *content_hash_of_file(path));
  CHECK((app->entry != nullptr));
  const auto again = load_application(path);
  REQUIRE(again);
  CHECK((again->entry == app->entry));
}

TEST_CASE("what cannot be loaded has one clear error") {
  const workshop f;
  CHECK(load_application(f.path + "/nothing.so").error().code == errc::not_found);
  const auto text =
      load_application(f.write("text.so", "this is no library, but it is long enough to look like a header of one"));
  CHECK(text.error().code == errc::bad_input);
  CHECK(text.error().what == "is not a shared library");
  CHECK(load_application(f.write("empty.so", "")).error().code == errc::bad_input);
  const auto no_entry = load_application(f.library("no_entry", "int x;"));
  CHECK(no_entry.error().what == "has no entry function");
  CHECK(no_entry.error().hint.find("HYDROGEN_APPLICATION") != std::string::npos);
  const auto other = load_application(f.library("other", stamp("hydrogen 0, compiler 1") + entry));
  CHECK(other.error().code == errc::mismatch);
  CHECK(other.error().what.find("hydrogen 0, compiler 1") != std::string::npos);
  CHECK(other.error().what.find(abi_stamp()) != std::string::npos);
  const auto missing = load_application(
      f.library("missing", stamp(abi_stamp()) + entry + "int not_there(); int call() { return not_there(); }"));
  CHECK(missing.error().code == errc::mismatch);
  CHECK(missing.error().what.find("not_there") != std::string::npos);
}
