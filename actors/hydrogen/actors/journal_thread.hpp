#pragma once
// Group commit: takes records from the coordinator actor, and when asked, on a thread of its own, appends what has
// come, syncs once, and says how many records are durable. A sync that fails ends the process: nothing promised may be
// forgotten. `synced` may run the coordinator itself, and so destroy the journal_thread.

#include <hydrogen/gang/admission.hpp>
#include <hydrogen/gang/journal.hpp>

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace hydrogen::actors {

class journal_thread {
 public:
  /// Runs on the thread that has written.
  using synced_handler = std::function<void(const gang::admission_event::synced&)>;
  journal_thread(std::unique_ptr<gang::journal>, synced_handler);
  /// Makes durable what was appended, then ends.
  ~journal_thread();
  /// Neither blocks: writing is for this object's thread, or for one that is lent it (scheduler::lend).
  void append(gang::record);
  /// What was appended becomes durable, soon.
  void sync();

 private:
  struct state {
    std::unique_ptr<gang::journal> journal;
    synced_handler synced;
    std::mutex writer;  // of the journal
    std::mutex mutex;   // of what follows
    std::condition_variable wake;
    std::vector<gang::record> waiting;
    bool asked = false;  // to sync
    bool stopping = false;
  };
  static void work(state&);
  static void ask(state&);
  /// Holding `writer`.
  static std::optional<gang::admission_event::synced> write_waiting(state&);

  std::shared_ptr<state> state_;  // with the thread, which outlives this when it is the one that destroys it
  std::thread thread_;
};

}  // namespace hydrogen::actors
