// Libraries that are good in the driver and cannot be used by executors, and executors that die while they load one.

#include "folder.hpp"
#include "support.hpp"
#include <dlfcn.h>

#include <cstdlib>

using namespace hydrogen;
using namespace hydrogen::test;
using actors::cluster_kind;

namespace {

const exec::application& fragile() {
  static const auto app = value_or_throw(exec::load_application(HYDROGEN_TEST_FRAGILE));
  return app;
}

/// A folder that says how the fragile application misbehaves; node processes hand its name on to their executors.
class loads {
 public:
  loads() { setenv("HYDROGEN_TEST_LOADS", folder_.path.c_str(), 1); }
  ~loads() { unsetenv("HYDROGEN_TEST_LOADS"); }
  void put(const std::string& name) const { open_gate(folder_.file(name)); }
  /// How often an executor has loaded the library since the last call.
  std::size_t take() const {
    const auto n = lines_of(folder_.file("loads")).size();
    std::filesystem::remove(folder_.file("loads"));
    return n;
  }

 private:
  tests::folder folder_;
};

}  // namespace

TEST_CASE("an executor that is killed while it starts is started again; the third time in a row is an error") {
  const loads loads;
  auto cluster = start(cluster_kind::processes, 2, 2);
  loads.put("kill-0");
  run(*cluster, {}, {.app = fragile()});
  CHECK(loads.take() >= 3);  // the one that died, and one on each node
  CHECK(all_slots_become_free(*cluster, 4));

  for (int i = 0; i < 8; ++i) loads.put("kill-" + std::to_string(i));
  const auto why = error_of(*cluster, {}, {.app = fragile()});
  CHECK_MESSAGE(why.what.find("failed to start 3 times") != std::string::npos, why.what);
  CHECK_MESSAGE(why.what.find("signal 9") != std::string::npos, why.what);
  CHECK_MESSAGE(why.what.find("while it started") != std::string::npos, why.what);
  CHECK_MESSAGE(why.what.find("n1") + why.what.find("n2") != 2 * std::string::npos, why.what);
  CHECK(all_slots_become_free(*cluster, 4));
}

TEST_CASE("an executor that is killed while it starts is one failure, however many slots wait for it") {
  const loads loads;
  auto cluster = start(cluster_kind::processes, 1, 4);
  for (int i = 0; i < 2; ++i) loads.put("kill-" + std::to_string(i));
  run(*cluster, {}, {.app = fragile()});
  CHECK(loads.take() == 3);
  CHECK(all_slots_become_free(*cluster, 4));
}

TEST_CASE("a library that an executor cannot use ends the job at once, with what is wrong with it") {
  struct expectation {
    const char* how;
    const char* says;
  };
  for (const auto& [how, says] :
       {expectation{"throw", "this initialiser always throws"}, expectation{"stamp", "built for"}}) {
    CAPTURE(how);
    const loads loads;
    loads.put(how);
    auto cluster = start(cluster_kind::processes, 1, 4);
    const auto why = error_of(*cluster, {}, {.app = fragile()});
    CHECK_MESSAGE(why.what.find(says) != std::string::npos, why.what);
    CHECK_MESSAGE(why.what.find("test_fragile") != std::string::npos, why.what);
    CHECK_MESSAGE(why.what.find("failed to start") == std::string::npos, why.what);
    CHECK(loads.take() == 1);
    CHECK(all_slots_become_free(*cluster, 4));
  }
}

TEST_CASE("a library whose dependency is not on the node ends the job at once, with the loader's words") {
  REQUIRE(dlopen(HYDROGEN_TEST_DEPENDENCY, RTLD_NOW | RTLD_GLOBAL) != nullptr);
  const auto app = exec::load_application(HYDROGEN_TEST_DEPENDENT);
  REQUIRE_MESSAGE(app.has_value(), app.error().message());
  auto cluster = start(cluster_kind::processes, 1, 4);
  const auto why = error_of(*cluster, {}, {.app = *app});
  CHECK_MESSAGE(why.what.find("libtest_dependency.so") != std::string::npos, why.what);
  CHECK_MESSAGE(why.what.find("failed to start") == std::string::npos, why.what);
  CHECK(all_slots_become_free(*cluster, 4));
}
