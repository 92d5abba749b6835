#pragma once
// Content blocks that a process fetches now, so that the tasks of one executor fetch a large argument once, not each.
// Who claims a block fetches it and puts it into its store; the others wait until it is not claimed any more and look
// there. Nobody waits while it holds a claim. Any thread.

#include <hydrogen/base/abort.hpp>
#include <hydrogen/data/block.hpp>

#include <condition_variable>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

namespace hydrogen::data {
class block_store;
}

namespace hydrogen::actors {

class fetches_under_way {
 public:
  /// Gives its claims up when it goes.
  class claims {
   public:
    claims(fetches_under_way& all, const data::block_store& into) : all_(all), into_(into) {}
    ~claims();
    claims(const claims&) = delete;
    /// False when somebody else fetches the block into this store.
    bool add(const data::block_id&);

   private:
    fetches_under_way& all_;
    const data::block_store& into_;
    std::vector<data::block_id> mine_;
  };

  /// Until nobody has claimed the block for this store, or the abort word is set.
  void wait(const data::block_store& into, const data::block_id&, abort_word&);

 private:
  using key = std::pair<const data::block_store*, data::block_id>;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::set<key> claimed_;
};

}  // namespace hydrogen::actors
