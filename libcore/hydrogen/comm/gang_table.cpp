#include <hydrogen/base/hash.hpp>
#include <hydrogen/comm/gang_table.hpp>
#include <hydrogen/comm/islands.hpp>

namespace hydrogen::comm {

gang_table::gang_table(std::vector<gang_member> members) {
  auto made = std::make_shared<content>();
  for (std::size_t i = 0; i < members.size(); ++i) {
    made->in_order &= members[i].rank == i;
    made->one_process &= same_process(members[i], members[0]);
    made->one_host &= host_of(members[i]) == host_of(members[0]);
  }
  made->hash = hash_bytes(encode(members));
  made->members = std::move(members);
  content_ = std::move(made);
}

}  // namespace hydrogen::comm
