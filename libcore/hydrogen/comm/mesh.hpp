#pragma once
// One rank's links to all other ranks, and the loop that drives them through one collective call.
//
// The members of a call are all ranks or some of them. Each sends at least one frame to every other member, so each
// hears whether the others are in the same call: mismatches are seen by everyone, and no call returns before all
// members have entered it. Calls are counted per link, since two ranks make the calls that both take part in in one
// order; frames of the next one wait in their link. One non-blocking loop reads and writes all links of the call, so no
// pair of full socket buffers can lock ranks up. A failed call tells all ranks why (bye) and ends the mesh. Ranks that
// wait for long tell each other, so that those that wait in a ring find out, and who is named when a call fails is
// not one that waits as well (waiting.hpp). Used by one thread at a time.

#include <hydrogen/base/abort.hpp>
#include <hydrogen/comm/call.hpp>
#include <hydrogen/comm/exchange.hpp>
#include <hydrogen/comm/link.hpp>
#include <hydrogen/comm/patience.hpp>
#include <hydrogen/comm/token.hpp>
#include <hydrogen/comm/waiting.hpp>
#include <hydrogen/comm/waker.hpp>

#include <poll.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <vector>

namespace hydrogen::comm {

/// What was refused or thrown away, per process (see rendezvous). Atomic counters.
struct link_counters {
  std::atomic<std::uint64_t> strays{0};   // frames or handshakes of another token
  std::atomic<std::uint64_t> refused{0};  // frames that break the plan or the format, handshakes without sense
  std::atomic<std::uint64_t> expired{0};  // parked connections whose rank did not come
};

class mesh final : public exchange_port {
 public:
  struct options {
    gang_token token;
    std::uint32_t rank = 0;
    std::vector<std::string> nodes;  // per rank, for messages
    patience wait;
    std::shared_ptr<waker> self;
    std::shared_ptr<link_counters> counters;
  };
  /// `links[r]` leads to rank r; its own entry is null. `abort` must outlive the mesh.
  mesh(options, std::vector<std::unique_ptr<link>> links, abort_word& abort);
  /// Tells the others that this rank leaves.
  ~mesh();
  mesh(const mesh&) = delete;

  /// This rank's number in the gang, and how many there are.
  std::uint32_t gang_rank() const { return options_.rank; }
  std::uint32_t gang_size() const { return static_cast<std::uint32_t>(links_.size()); }
  /// The same within the current call.
  std::uint32_t rank() const override { return self_; }
  std::uint32_t size() const override { return static_cast<std::uint32_t>(members_.size()); }

  /// One call of all ranks, or of `members`, ascending, this rank among them. After an error every further call gives
  /// the same error.
  expected<void> run(const call_plan&, exchange&, duration timeout, std::span<const std::uint32_t> members = {});

  /// Some link goes through this.
  bool has(link_medium medium) const {
    return std::any_of(links_.begin(), links_.end(), [&](const auto& l) { return l && l->medium() == medium; });
  }

  /// A call of the whole gang that uses links between few ranks, perhaps later: islands. It is counted, and the rank
  /// counts as being in it.
  class whole_call {
   public:
    whole_call(mesh& m, const call_plan& plan) : mesh_(m) { m.begin_whole(plan); }
    ~whole_call() { mesh_.take_back(); }
    whole_call(const whole_call&) = delete;

   private:
    mesh& mesh_;
  };
  /// What the links say that the rank does not use in such a call, without waiting; for one that waits in it for long,
  /// about every 100 ms and at the deadline, and can say for whom it waits. errc::mismatch: another rank waits for this
  /// one in a call of some ranks, and has not begun this call; the reason of a rank that has failed; disconnected: one
  /// is gone, or has left without this call; timed_out: at the deadline.
  error look_around(call_deadline& until, const std::function<wait_report()>& report);

  /// Many calls come to few links: nobody counts them.
  void sees_some_calls() { sees_all_calls_ = false; }

  /// A call of this rank has failed in some other place: tells the others, and ends the mesh.
  void give_up(const error& why);

  /// A join that failed before all links were there (the missing ones are null): reads what the present ranks say,
  /// tells them `why`, and returns it; with errc::none in `why`, the error that names the ranks that did not come.
  error fail_join(const call_plan&, error why, duration waited);

  void send(std::uint32_t to, frame_header header, byte_view payload, bool first = false) override;
  std::byte* scratch(std::size_t size) override;
  void combine(element kind, reduction how, std::span<const std::byte* const> sources, std::size_t count,
               std::byte* destination, std::span<const std::uint32_t> weights) override {
    comm::combine(kind, how, sources, count, {&destination, 1}, weights);
  }

 private:
  class sink;
  static constexpr std::size_t max_reason = 4096;    // bytes of why a rank says bye
  static constexpr std::size_t max_plan_text = 512;  // a longer text than any plan's
  struct peer {
    bool entered = false;    // in the current call
    bool finished = false;   // the current call needs nothing more from it
    bool gone = false;       // its link has ended, or it has said bye
    bool left = false;       // it has said bye
    std::uint64_t call = 0;  // the current or next one with it
    std::uint64_t calls = 0;
    time_point heard{};     // when something last came from it, coarse
    std::string last_call;  // before the current one
    std::string this_call;
    struct told {
      std::uint64_t plan = 0;
      std::string text;
    };
    static constexpr std::size_t plan_places = 32;
    std::array<told, plan_places> plans;                 // what it has described
    byte_buffer text;                                    // of a description or a bye, as it comes
    std::array<std::uint64_t, plan_places> described{};  // to it: same places
    std::uint64_t told_in = 0;                           // the call in which it was told notes
    std::size_t told = 0;                                // so many of them
    std::uint64_t asked = 0;                             // the number of its last question that is not answered
    std::uint64_t waits_in = 0;                          // the call in which a frame of a later one came from it
    std::uint32_t report = 0;  // which one it was last told of this rank; 0: none, or it was taken back
  };

  expected<void> progress(exchange&, bool& any);
  static timespec until(time_point deadline);
  expected<void> sleep(time_point deadline);
  bool complete() const;
  bool is_member(std::uint32_t rank) const;
  /// This rank, to a call in which rank `by` waits for it.
  bool has_come_to(const awaited_rank&, std::uint32_t by) const;
  /// A note of a member: errc::mismatch when this rank and those of the note wait for each other in a ring.
  expected<void> hear(std::uint32_t from, byte_view note);
  void add_note(const waiting_note&);
  /// Before a sleep: tells the others who may wait for this one, when it has waited for long. When to do it again.
  time_point tell_others();
  void add_own_note();
  /// To those that will not ask; false when there are none.
  bool tell_report(const std::function<wait_report()>&);
  void send_report(std::uint32_t to, std::uint64_t asked, wait_report);
  /// What was told is no longer true.
  void take_back();
  void ask_all();
  /// After its link was read, and has not ended.
  void answer(std::uint32_t to);
  expected<void> hear_answer(std::uint32_t from, std::uint64_t asked, byte_view report);
  void begin_whole(const call_plan&);
  /// Reads the links of those that are not members: as `look_around`.
  error listen();
  error gone_error(std::uint32_t rank) const;
  /// The deadline has passed.
  error overdue();
  known_waits known() const;
  wait_report report(duration waited) const;
  error fail(error why);
  void say_bye(const error& why);
  frame_header header(frame_kind kind, std::uint32_t to) const;
  /// Some ranks can make a step of a call of all.
  std::string text() const { return plan_.text(plan_.group == 0 ? std::span<const std::uint32_t>() : members_); }
  std::string name(std::uint32_t rank) const;
  error left(std::uint32_t rank, const std::string& last_call) const;

  options options_;
  gang_fence fence_;
  std::vector<std::unique_ptr<link>> links_;
  std::vector<peer> peers_;
  abort_word& abort_;
  std::unique_ptr<abort_word::registration> on_abort_;
  // Of the current call.
  call_plan plan_;
  std::vector<std::uint32_t> members_;  // gang ranks
  std::vector<std::uint32_t> index_;    // of a gang rank, if it is a member
  std::uint32_t self_ = 0;
  std::uint32_t unfinished_ = 0;
  std::uint32_t whole_ = 0;  // calls of the whole gang that this rank has begun, where they are counted
  std::uint64_t runs_ = 0;   // calls, this one included
  call_deadline until_{0ns};
  bool has_told_ = false;         // that this rank waits
  time_point tell_at_ = never;    // notes
  time_point report_at_ = never;  // and not before
  struct encoded_note {
    std::uint32_t origin = 0;
    std::uint64_t serial = 0;
    byte_buffer bytes;
  };
  std::vector<encoded_note> notes_;      // to be told, of this rank and of those that it waits for
  std::vector<std::uint32_t> reported_;  // who was missing in the last report that was told without being asked
  std::uint32_t reports_ = 0;            // so many of them, with different ranks
  std::uint64_t asked_in_ = 0;           // the call in which this rank has asked who waits
  const std::function<wait_report()>* report_ = nullptr;  // where the rank waits elsewhere
  known_waits told_;                                      // until they take it back
  known_waits answered_;                                  // in this call
  bool sees_all_calls_ = true;
  bool all_links_ = false;  // the next look is at all links, also of ranks that have sent everything
  error broken_{errc::none, {}, {}, {}};
  std::vector<pollfd> polled_;
  std::unique_ptr<std::byte[], void (*)(std::byte*)> scratch_{nullptr, [](std::byte*) {}};
  std::size_t scratch_size_ = 0;
};

}  // namespace hydrogen::comm
