#pragma once
// The gang area: memory in which all ranks of a gang meet, when the whole gang is in one process or on one host. A call
// is: publish what is called and where the data is, arrive, and when all have arrived, look at the others' data.
//
//     | header | seat of each rank | board | two slots of each rank | three stages of each rank (on a host) |
//
//     arrived: | broken (1 bit) | rank that broke it (13 bits) | arrivals of all ranks since the start (50 bits) |
//
// In one process ranks read each other's buffers where they are. On a host the area lies in a memory file that every
// process has mapped; so do gang buffers, which are read where they are, too. What is in private memory of another
// process is read by the kernel, where it allows that, or goes through the stages, piece by piece. Nobody ever writes
// into private memory of another process: a process that was stopped may go on when that memory has become something
// else.
//
// Before the first call ranks come, one by one and without waiting, and wait at the gate, which somebody who knows that
// all have come opens for all of them: so each sleeps once, however the gang is spread.
//
// A barrier is complete when the count reaches P times its number. A rank that gives up writes its reason into its seat
// and sets the broken bit with a compare-and-swap while its barrier is incomplete, and nobody arrives at a broken area;
// so a barrier is complete for all ranks or for none. There is no lock: a process may be killed between any two
// instructions, and whoever watches it (`lost`) wakes the others, who then see what it had done and that it is gone.
//
// Some ranks of a gang can meet in an area of their own, a part (`part_of`). Whoever sleeps in a part sleeps at the
// bell of the whole, and a part that breaks breaks the whole. Each rank says on the board of the whole which call of
// which part it has come to, so that ranks that wait for each other in a ring, each in another group, are found
// (`ring_of`).
//
// Each rank's functions are called by one thread at a time; `wake`, `lost`, `open`, `on_start` and `break_for_all` by
// any thread.

#include <hydrogen/base/abort.hpp>
#include <hydrogen/base/bytes.hpp>
#include <hydrogen/comm/call.hpp>
#include <hydrogen/comm/gang_table.hpp>
#include <hydrogen/comm/patience.hpp>
#include <hydrogen/comm/start_gate.hpp>
#include <hydrogen/comm/tuning.hpp>
#include <hydrogen/comm/waiting.hpp>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace hydrogen::comm {

class area;

/// How a call waits. `also` is asked before each sleep, after `again` the next time, and at the deadline: an error ends
/// the wait.
struct area_wait {
  area_wait(duration timeout, abort_word& word) : deadline(timeout), abort(word) {}
  call_deadline deadline;
  abort_word& abort;
  std::function<error(area_wait&)> also;
  std::function<wait_report()> report;  // set by the area if there is `again`: what the rank knows that waits in it
  duration again = 0ns;                 // 0: when it is woken
  time_point next() { return again == 0ns ? deadline.at() : std::min(deadline.at(), now() + again); }
};

/// Some ranks of a gang that meets in `whole`; without it, of one that spans hosts (an island).
struct part_of {
  std::shared_ptr<area> whole;
  std::vector<std::uint32_t> ranks;  // of the gang, ascending
  std::uint64_t group = 0;           // of the plans of its calls
};

/// What a rank offers to the others in a call.
struct offer {
  enum class place : std::uint32_t { own_memory, gang_buffer };
  byte_view data;
  place is = place::own_memory;
  bool parted = false;               // an entry for each rank: the engine defines them
  const std::byte* aside = nullptr;  // more memory of the rank, as the call defines
};

/// The same as another rank sees it.
struct offered {
  std::size_t size = 0;
  const std::byte* here = nullptr;  // readable; null: it is in another process
  std::uint64_t there = 0;          // address in that process
  std::uint64_t aside = 0;
  offer::place is = offer::place::own_memory;
  bool parted = false;
};

class area {
 public:
  enum class reach : std::uint32_t { process, host };

  /// In this process.
  explicit area(std::uint32_t ranks);
  /// A part of one in this process; the same for all ranks that ask.
  static std::shared_ptr<area> part(part_of);
  /// Over memory of a host, aligned to a page; `keep` holds the mapping. `create` once, by whoever owns the memory,
  /// before anybody attaches.
  static std::size_t bytes_on_host(std::uint32_t ranks);
  /// Of these so many from the beginning, at most, have been touched. On a host.
  std::size_t bytes_used() const;
  static std::shared_ptr<area> create(std::byte* memory, std::uint32_t ranks, std::shared_ptr<void> keep);
  /// errc::mismatch when something else than an area for so many ranks lies there.
  static expected<std::shared_ptr<area>> attach(std::byte* memory, std::uint32_t ranks, std::shared_ptr<void> keep);
  area(const area&) = delete;

  /// Memory of the host that gang buffers come from: where it begins in this process, and, for its owner alone, how
  /// some of it is taken, as an offset. To be called before the first call.
  using taker = std::function<expected<std::size_t>(std::size_t bytes)>;
  void lend(std::byte* base, taker take);
  /// Makes it a part: to be called before the first call.
  void belongs_to(part_of);
  /// No rank of this process uses it any more: what it was a part of.
  part_of let_go() { return std::exchange(part_, {}); }
  std::byte* buffers() const { return base_; }
  const taker& take_buffer() const { return take_; }

  std::uint32_t size() const { return ranks_; }
  /// On which nodes the ranks of the gang run, for errors: as `use`. A part asks its whole.
  void tell_members(const gang_table& members) { members_ = members; }
  const std::string& node_of(std::uint32_t rank) const;
  /// By which its ranks pick algorithms: to be given by whoever made it, before others know it.
  void use(const tuning&);
  const tuning& table() const;
  /// The number of a rank in the gang.
  std::uint32_t name(std::uint32_t rank) const { return part_.ranks.empty() ? rank : part_.ranks[rank]; }
  bool is_on_host() const { return stage_size_ != 0; }
  /// Bytes of a rank's slot: contributions up to this size are copied there.
  std::size_t slot_size() const { return slot_size_; }
  /// Bytes of a stage; 0: none, ranks read each other's buffers.
  std::size_t stage_size() const { return stage_size_; }
  /// Where `rank` puts the small contribution of its next call. Others may still read the one of the call before.
  std::byte* slot(std::uint32_t rank);
  /// Where the piece `turn` of a rank lies. A turn has at least one barrier after its piece was written, and two before
  /// the memory is used again: three in all.
  std::byte* stage(std::uint32_t rank, std::uint64_t turn);

  /// Before all else: the rank is here, and publishes what it was told about the gang. Does not wait; true for the one
  /// that makes it complete. Errors: that of whoever has broken the area.
  expected<bool> come(std::uint32_t rank, const call_plan&);
  /// Then: waits at the gate. Errors: timed_out (naming those that have not come, or `never_opened`), mismatch,
  /// disconnected, aborted.
  expected<void> await_start(std::uint32_t rank, const start_limits&, abort_word& abort);
  /// On a host, for a thread that sleeps elsewhere and is to go to `await_start`: it need not be woken to sleep here.
  /// `expect_sleeper`, after its rank has come: false if there is something to see already. Then `move_sleeper`, from a
  /// word that has this value (futex_reach::host), or is about to have it seen; and `sleeper_woke` by the thread.
  bool expect_sleeper();
  void move_sleeper(std::atomic<std::uint32_t>& from, std::uint32_t value);
  void sleeper_woke();
  /// Who slept there when this became true has been woken, or is about to be. Stays true. Any thread.
  bool has_news() const;
  /// Opens the gate, for the ranks of all processes; they pass when all have come. Again: does nothing.
  void open();
  /// In one process: `begin` is called once, when the gate is open and all have come; by whoever makes it so, or at
  /// once. Never, if the area breaks before.
  void on_start(std::function<void()> begin);

  /// Publishes the call and waits until all ranks are in it. Data up to the slot size must be in the slot. Errors:
  /// mismatch, timed_out, disconnected (a rank has left, or its process died), aborted with the reason of the abort
  /// word; the area is broken then, and every rank gets an error.
  expected<void> enter(std::uint32_t rank, const call_plan&, const offer&, area_wait&);
  /// One more barrier inside the call; the same errors.
  expected<void> step(std::uint32_t rank, area_wait& how) { return meet(rank, how, moment::inside); }
  /// What a rank offered in the call that `reader` is in.
  offered offer_of(std::uint32_t reader, std::uint32_t rank) const;
  /// In one process: waits until all ranks are done with each other's buffers. Cannot fail: once all have arrived in a
  /// call they finish it without looking at aborts or deadlines; what is left is bounded work of threads that run,
  /// which takes no memory and throws nothing.
  void finish(std::uint32_t rank);

  /// On a host: says where the memory of this rank is; for a part, before its first call.
  void introduce(std::uint32_t rank);
  /// Whether the kernel lets this process read the private memory of that rank. `say_reach`: tells the others; after
  /// the next barrier `all_reach` is the same for everyone.
  bool can_read(std::uint32_t rank) const;
  void say_reach(std::uint32_t rank, bool reads_all);
  bool all_reach() const;
  /// Reads it. errc::disconnected when it is not there any more.
  expected<void> read(std::uint32_t rank, std::uint64_t address, mutable_byte_view into) const;

  /// Board of the whole, in its ranks: a rank has come to the call of this number of a part of these ranks. Who
  /// begins a part (`begins`) waits for the first of them alone.
  void stand(std::uint32_t rank, std::uint64_t calls, const call_plan&, std::span<const std::uint32_t> among,
             bool begins = false);
  /// Whether any rank has ever stood there.
  bool has_parts() const;
  /// A rank of the whole that is about to sleep: its call, what it awaits there, and how many calls it has come to of
  /// each part that it is in.
  struct waiter {
    std::uint32_t rank = 0;
    std::function<std::string()> call;
    std::function<bool(std::uint32_t rank)> awaits;  // of the whole
    const std::map<std::uint64_t, std::uint64_t>* calls = nullptr;
  };
  /// errc::mismatch when ranks of the whole, this one among them, wait for each other in a ring; names all of them with
  /// their calls. Asked after the rank has stood on the board and counted itself at the bell, so the last one of a ring
  /// sees it. Calls of parts that fell off the board (`listed_parts`) are not seen.
  error ring_of(const waiter&) const;
  /// Whether a rank has arrived in the call that `self` is in.
  bool has_arrived(std::uint32_t self, std::uint32_t rank) const;
  std::uint64_t calls_of(std::uint32_t rank) const;
  /// The last call that a rank has come to.
  std::string call_of(std::uint32_t rank) const;

  /// Says in the whole for whom a rank waits that has waited for long, while this lives; to who gives up and would name
  /// this rank (`known_to_wait`).
  class mark {
   public:
    /// It waits since now, by the coarse clock.
    mark(const area& whole, std::uint32_t rank) : whole_(whole), rank_(rank) {}
    ~mark() { clear(); }
    mark(const mark&) = delete;
    time_point since() const { return since_; }
    /// In a call of this group, to which that rank has come or not.
    void set(std::uint64_t group, std::uint32_t awaited, bool has_come);
    void clear();

   private:
    const area& whole_;
    const std::uint32_t rank_;
    const time_point since_ = coarse_now();
    bool is_set_ = false;
  };
  /// Of the whole. A rank that was stopped when it slept inside a call of a part seems to wait on.
  known_waits known_to_wait() const;

  /// Why a rank will not come any more, to who waits for it in `call`: it is dead, has left, or the area is broken.
  error absence_of(std::uint32_t rank, const std::string& call) const;
  /// The same of its death alone.
  error death_of(std::uint32_t rank, const std::string& call) const;
  /// Breaks the area for all, whatever barrier it is at.
  void break_for_all(std::uint32_t rank, const error& why);
  /// The rank makes no more calls.
  void leave(std::uint32_t rank);
  /// The process of this rank is dead.
  void lost(std::uint32_t rank);
  /// Whether every rank has come and left, or is dead, so that nobody will touch this memory again.
  bool is_deserted() const;
  /// Makes waiting ranks look at their abort words.
  void wake() noexcept;
  /// The same, after a step that they may have to see, if there are any.
  void wake_sleepers() noexcept;

 private:
  struct header;
  struct seat;
  struct publication;
  static constexpr std::uint64_t broken_bit = std::uint64_t{1} << 63;
  static constexpr int rank_shift = 50;
  static constexpr std::uint64_t count_mask = (std::uint64_t{1} << rank_shift) - 1;

  area(std::byte* memory, std::uint32_t ranks, reach, std::shared_ptr<void> keep);
  struct places {
    std::size_t seats, board, slots, stages;
  };
  static places places_for(std::uint32_t ranks);
  void lie_at(std::byte* memory);
  void construct();
  std::span<std::atomic<std::uint64_t>> board(std::uint32_t rank) const;
  class standing;
  class ring_search;
  standing standing_of(std::uint32_t rank) const;
  /// Calls of an island are calls of the whole gang.
  std::span<const std::uint32_t> among() const {
    return part_.whole ? std::span<const std::uint32_t>(part_.ranks) : std::span<const std::uint32_t>();
  }
  /// In an island a call has several meetings, and some have none: nobody counts calls there.
  std::uint64_t number_of(std::uint64_t calls) const {
    return part_.whole || part_.ranks.empty() || calls <= 1 ? calls : unnumbered;
  }
  header& bell() const { return *bell_; }
  /// The rank comes to its next barrier: how many arrivals make it complete.
  std::uint64_t next_target(std::uint32_t rank);
  enum class arrival { broken, early, last };
  arrival arrive(std::uint64_t target);
  expected<void> all_alike(std::uint32_t rank, std::uint64_t call) const;
  bool is_complete(std::uint64_t target) const;
  /// Where a rank waits: for others to come to a call, or inside one that all have come to.
  enum class moment { entering, inside };
  /// Looks for a while without sleeping; true when complete.
  bool look(std::uint32_t rank, std::uint64_t target, moment) const;
  expected<void> meet(std::uint32_t rank, area_wait&, moment);
  expected<void> wait(std::uint32_t rank, std::uint64_t target, area_wait&, moment);
  /// When ranks do not outnumber CPUs, and one that is awaited was last on this one. Whether this rank has a CPU then
  /// that none of those needs.
  bool leave_cpu_to_others(std::uint32_t rank) const;
  /// Ranks do not outnumber CPUs, and none but this one was last on the CPU of the calling thread.
  bool has_own_cpu(std::uint32_t rank) const;
  /// What speaks against going on: a rank that has left, is dead, or called something else; the whole is broken.
  error trouble(std::uint32_t rank) const;
  wait_report report_of(std::uint32_t rank, duration waited) const;
  /// The deadline of a call has passed.
  error overdue(std::uint32_t rank, duration waited) const;
  struct absent_rank {
    std::uint32_t rank = 0;
    bool has_come = false;  // to the call, and not to the barrier
  };
  /// The first one that a rank waits for at its barrier here.
  std::optional<absent_rank> absent_for(std::uint32_t rank) const;
  void set_mark(mark&, std::uint32_t rank) const;
  struct marked {
    absent_rank awaited;
    std::uint64_t group = 0;
    time_point since;
  };
  /// For whom a rank of the whole waits by its mark and by what the others have done since; none: for nobody.
  std::optional<marked> mark_of(std::uint32_t rank) const;
  duration silence_of(std::uint32_t rank) const;
  /// Breaks the area unless the barrier is complete; the error that counts, or none.
  error give_up(std::uint32_t rank, std::uint64_t target, const error& why);
  error reason() const;
  std::uint32_t presence_of(std::uint32_t rank) const;

  const std::uint32_t ranks_;
  patience wait_;
  const std::size_t slot_size_;
  const std::size_t stage_size_;
  const futex_reach futex_;
  std::shared_ptr<void> keep_;
  header* header_;
  header* bell_;  // its own, or that of the whole
  seat* seats_;
  std::atomic<std::uint64_t>* board_;
  std::byte* slots_;
  std::byte* stages_;
  part_of part_;
  gang_table members_;  // empty: unknown
  std::byte* base_ = nullptr;
  taker take_;
  void start();
  std::mutex start_mutex_;
  bool started_ = false;
  std::vector<std::function<void()>> on_start_;
  std::mutex parts_mutex_;
  std::map<std::uint64_t, std::weak_ptr<area>> parts_;  // in one process
};

}  // namespace hydrogen::comm
