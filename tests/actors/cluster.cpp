#include "support.hpp"

using namespace hydrogen;
using namespace hydrogen::test;
using actors::cluster_kind;

TEST_CASE("parallel stages, shuffles and gangs give their results, in one process and on node processes") {
  for (const auto kind : {cluster_kind::in_process, cluster_kind::processes}) {
    CAPTURE(static_cast<int>(kind));
    for (const std::uint32_t nodes : {1u, 2u}) {
      CAPTURE(nodes);
      auto cluster = start(kind, nodes, 4);
      const auto notes = cluster->options().directory + "/notes";
      run(*cluster, {"parallel"});
      run(*cluster, {"shuffle"});
      run(*cluster, {"elastic_gang"});
      run(*cluster, {"gang", "4", notes, "5", "-1", "-1"});
      CHECK(free_slots(*cluster) == nodes * 4);
      std::size_t steps = 0;
      for (const auto& line : lines_of(notes)) steps += line.starts_with("step") ? 1 : 0;
      CHECK(steps == 5);
    }
  }
}
