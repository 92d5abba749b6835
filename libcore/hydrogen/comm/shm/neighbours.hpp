#pragma once
// The processes of this host with which this one shares memory: hands its segment to those that ask, attaches theirs,
// and notices at once when one of them dies, because the socket over which a segment was handed stays open.
//
//     who attaches                                owner
//     unix socket, handshake (purpose memory) ->
//                                             <-  one byte: 'S' and the descriptor of the segment, or '-': none
//     one byte: 'A', attached; or 'X' and the end, it cannot be mapped  ->
//     ... nothing more; the end of the socket is the end of the process, but for one that has not attached, whose rank
//     may have been told to stop ...
//
// Owner and neighbour prove the cluster's secret before anything is handed over. A process that cannot or shall not
// share memory says so to all, so that all ranks of a gang take the same way. A segment that one neighbour cannot map
// is used by no further gang.
//
// Any thread, unless a function says that it blocks.

#include <hydrogen/base/abort.hpp>
#include <hydrogen/base/unique_fd.hpp>
#include <hydrogen/comm/fd_wait.hpp>
#include <hydrogen/comm/hello.hpp>
#include <hydrogen/comm/secret.hpp>
#include <hydrogen/comm/shm/segment.hpp>

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace hydrogen::comm::shm {

class neighbours {
 public:
  /// Runs on a thread of its own when a process is gone, or cannot map this one's segment (`why` says so, and goes to
  /// the ranks that wait for it); must not block.
  using lost_handler = std::function<void(boot_id, const error& why)>;

  /// `share` false: this process hands out no memory. `table`: of the gangs that meet in its memory.
  neighbours(const secret& key, bool share, const tuning& table, lost_handler lost);
  ~neighbours();
  neighbours(const neighbours&) = delete;

  /// This process's own segment, made when it is first needed; null when it shares none.
  std::shared_ptr<segment> own();
  /// A proven socket of purpose memory, from the acceptor. Does not block.
  void accepted(unique_fd socket, const hello& from);
  /// The segment of the process that listens at `endpoint`; null when it shares none, or has no socket of this host.
  /// Blocks the first time. Errors of `dial`, of `segment::attach` (then it is null the next time), and the abort
  /// word's reason.
  expected<std::shared_ptr<segment>> attach(const std::string& endpoint, boot_id owner, boot_id self, abort_word&,
                                            time_point deadline);
  /// Without asking: null if it has not been attached yet.
  std::shared_ptr<segment> attached(boot_id owner);

 private:
  struct watched {
    unique_fd socket;
    boot_id who;
    bool attached = false;  // they to this one, or this one to them
  };
  expected<std::shared_ptr<segment>> ask(const std::string& endpoint, boot_id owner, boot_id self, abort_word&,
                                         time_point deadline, unique_fd& socket);
  void watch(unique_fd socket, boot_id who, bool attached);
  void run();

  const secret key_;
  const bool share_;
  const tuning table_;
  const lost_handler lost_;
  event_fd news_;
  std::mutex mutex_;
  // One question to an owner at a time: a second socket that is closed would look like a death there.
  std::map<boot_id, std::shared_ptr<std::atomic<std::uint32_t>>> asking_;  // futex: 1 while somebody asks
  std::mutex making_;
  bool made_ = false;
  std::shared_ptr<segment> own_;
  std::map<boot_id, std::shared_ptr<segment>> attached_;
  std::vector<watched> arriving_;
  bool stopping_ = false;
  std::thread thread_;  // runs once there is somebody to watch
};

}  // namespace hydrogen::comm::shm
