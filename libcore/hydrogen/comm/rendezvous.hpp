#pragma once
// Where the ranks of a gang attempt meet and get their links: one per process; in-process executors of one embedded
// cluster share one.
//
// Ranks of one process find each other in memory. When all ranks are on this host, they meet in an area that the
// process of rank 0 makes in its shared memory. Otherwise, or when that process shares none, rank i dials the ranks
// below it, over TCP or, on its host, for a link in memory (shm/link.hpp), and those of one host meet in islands
// besides (islands.hpp); a host is an address without the port. A
// socket that arrives before its rank is parked, for a bounded time and in bounded number. What carries an older token
// than the newest one seen for its gang, or one that has been forgotten, is closed and counted. All functions may be
// called by any thread; `meet` and `join` block. It outlives the groups that it made.

#include <hydrogen/base/abort.hpp>
#include <hydrogen/base/unique_fd.hpp>
#include <hydrogen/comm/gang_table.hpp>
#include <hydrogen/comm/group.hpp>
#include <hydrogen/comm/hello.hpp>
#include <hydrogen/comm/islands.hpp>
#include <hydrogen/comm/mesh.hpp>
#include <hydrogen/comm/secret.hpp>
#include <hydrogen/comm/shm/neighbours.hpp>
#include <hydrogen/comm/token.hpp>

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

namespace hydrogen::comm {

struct rendezvous_options {
  std::size_t max_parked = 256;  // sockets whose rank has not come; the oldest makes room
  duration park_time = 30s;      // then a parked socket is closed, when the next one comes
  bool share_memory = true;      // with the processes of this host; without it gangs led by this process use links
  bool link_memory = true;       // links to processes of this host go through memory; without it, over TCP
  bool read_memory = true;       // of processes of this host, where the kernel allows it; without it data is staged
  tuning table = {};             // of the gangs that this process leads
};

/// What follows from one rank having met the others.
enum class arrival : std::uint8_t {
  alone,      // it has met all; the others say for themselves that they have
  early,      // others are still to come, and wait with it at one gate; the last one tells
  completing  // all are here
};

struct met_rank {
  std::unique_ptr<group> with;
  arrival how = arrival::alone;
};

class rendezvous {
 public:
  /// Without a secret only gangs that live in this process can meet.
  explicit rendezvous(std::optional<secret> key, rendezvous_options options = {});
  ~rendezvous();
  rendezvous(const rendezvous&) = delete;

  /// A proven socket of purpose gang (its token is an encoded `link_token`) or memory, from the acceptor. Does not
  /// block.
  void accepted(unique_fd socket, hello from);

  /// For the slot thread of `rank`, or, when all ranks live in this process, for anybody: nothing blocks then.
  /// `members` is the whole table, by rank, the same for all. `abort` must outlive the group. Its gate is still shut
  /// (group::await_start). errc::timed_out: names the ranks that have not joined; mismatch: other tables; disconnected:
  /// a process is gone; refused: an old attempt, or a rank that has already joined; aborted (the abort word's reason);
  /// bad_input.
  expected<met_rank> meet(const gang_token& token, std::uint32_t rank, const gang_table& members, abort_word& abort,
                          time_point deadline);
  /// Whether `meet` would not block for this rank of a gang whose processes share the memory of a host. Any thread.
  bool is_ready(const gang_token& token, std::uint32_t rank, const gang_table& members);
  /// The same where nobody else decides when to begin: returns when all ranks of the attempt are here.
  expected<std::unique_ptr<group>> join(const gang_token& token, std::uint32_t rank, const gang_table& members,
                                        abort_word& abort, time_point deadline);

  /// The attempt is over: its parked sockets are closed and nobody joins it any more. Groups that exist go on.
  void forget(const gang_token& token);

  const link_counters& counters() const { return *counters_; }
  /// Sockets that wait for their rank.
  std::size_t parked() const;

 private:
  struct meeting;
  struct pair {
    std::uint32_t from = 0;
    std::uint32_t to = 0;
    auto operator<=>(const pair&) const = default;
  };
  struct seen {
    attempt_id newest;     // named by a join or a handshake
    attempt_id forgotten;  // over, like all before it
  };

  expected<std::shared_ptr<meeting>> enter(const gang_token&, std::uint32_t rank, const gang_table&, std::size_t local);
  void leave(const gang_token&, meeting&);
  /// The area on this host; null when the process of rank 0 shares no memory, or some process cannot map it.
  expected<std::shared_ptr<area>> meet_on_host(const gang_token&, std::uint32_t rank, const gang_table&, meeting&,
                                               abort_word&, time_point deadline);
  /// The area of some ranks of a gang that has one area, for one of them.
  expected<std::shared_ptr<area>> meet_part(const gang_token&, std::uint32_t rank, const gang_table&, const part_of&,
                                            area_wait&);
  /// `led`: it lies in memory of this process. Under the mutex, in which such a one is also made.
  void remember(const std::shared_ptr<area>&, const gang_table&, std::span<const std::uint32_t> ranks, bool led);
  expected<met_rank> come_to(std::shared_ptr<area>, const gang_token&, std::uint32_t rank, const gang_table&,
                             abort_word&);
  /// The end of a process; or why it takes no part in the areas that this process leads, though it lives.
  void process_lost(boot_id, const error& why);
  expected<met_rank> meet_linked(const gang_token&, std::uint32_t rank, const gang_table&,
                                 const std::vector<bool>& local, meeting&, abort_word&, time_point deadline);
  /// Where the island of a rank meets; null as above.
  expected<std::shared_ptr<area>> meet_on_island(const gang_token&, std::uint32_t rank, const gang_table&,
                                                 const island&, meeting&, abort_word&, time_point deadline);
  /// The engine of a gang with links, when all ranks have joined.
  expected<std::unique_ptr<group_engine>> settle(const gang_token&, std::uint32_t rank, const gang_table&,
                                                 std::shared_ptr<mesh>, meeting&, abort_word&, time_point deadline);
  /// The link behind a socket of this side, or of one that was dialled.
  std::unique_ptr<link> link_over(unique_fd socket, bool dialled, std::uint32_t neighbours) const;
  expected<std::unique_ptr<link>> dial_rank(const gang_token&, const gang_member& self, const gang_member& peer,
                                            std::uint32_t neighbours, abort_word&, time_point deadline);
  /// A socket of any higher rank that has no link yet, and which rank; `rank` itself at the deadline.
  expected<std::uint32_t> wait_for(meeting&, const gang_table&, std::uint32_t rank,
                                   const std::vector<std::unique_ptr<link>>& links, unique_fd& socket, abort_word&,
                                   time_point deadline);
  seen& history(const request_id&);
  void expire(time_point at);

  const std::optional<secret> key_;
  const rendezvous_options options_;
  const std::shared_ptr<link_counters> counters_;
  mutable std::mutex mutex_;
  std::map<gang_token, std::shared_ptr<meeting>> meetings_;
  std::unordered_map<request_id, seen> history_;
  std::deque<request_id> history_order_;  // the oldest gang is forgotten wholly when there are too many
  struct shared_area {
    std::weak_ptr<area> where;
    gang_table members;
    std::vector<std::uint32_t> ranks;  // of an area of some
    bool led = false;                  // in memory of this process
  };
  std::vector<shared_area> areas_;               // on this host, to be told of deaths
  std::unique_ptr<shm::neighbours> neighbours_;  // last: its thread calls process_lost
};

}  // namespace hydrogen::comm
