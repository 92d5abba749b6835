#include <hydrogen/base/nearest.hpp>

#include <doctest/doctest.h>

#include <vector>

using namespace hydrogen;

TEST_CASE("edit distance counts insertions, deletions, replacements and swaps") {
  CHECK(edit_distance("", "") == 0);
  CHECK(edit_distance("", "abc") == 3);
  CHECK(edit_distance("abc", "") == 3);
  CHECK(edit_distance("kitten", "sitting") == 3);
  CHECK(edit_distance("clutser", "cluster") == 1);
  CHECK(edit_distance("slots", "slots") == 0);
}

TEST_CASE("the nearest name is offered only when it is near") {
  const std::vector<std::string> known{"run", "node", "submit", "status", "version"};
  CHECK(nearest_name("sumbit", known) == "submit");
  CHECK(nearest_name("stauts", known) == "status");
  CHECK(nearest_name("rum", known) == "run");
  CHECK(!nearest_name("configure", known));
  CHECK(!nearest_name("", std::vector<std::string>{}));
}
