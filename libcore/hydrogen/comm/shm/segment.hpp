#pragma once
// A memory file that the processes of one host share: its owner makes gang areas in it, neighbours attach and find
// them. It has no name and is gone with the last process that has mapped it; it is sealed against shrinking, so that
// nobody can take pages away under a reader.
//
//     | head: magic, news, closed | directory: token, place of each of 256 areas | areas and gang buffers (sparse, 64
//     GiB) |
//
// An entry of the directory is published by its sequence number (odd while it is written), and `news` are futexes of
// which one changes with every entry. Memory of an attempt is used again only when every rank of it has left or is
// dead: a process that was stopped and goes on after its gang was given up may still write there. When such attempts
// fill the directory, the pages of the oldest go back to the system, and its place stays unused as long as the owner
// lives.
//
// Any thread.

#include <hydrogen/base/abort.hpp>
#include <hydrogen/base/unique_fd.hpp>
#include <hydrogen/comm/area.hpp>
#include <hydrogen/comm/token.hpp>

#include <map>
#include <memory>
#include <mutex>
#include <vector>

namespace hydrogen::comm::shm {

class segment : public std::enable_shared_from_this<segment> {
 public:
  /// A new one; its areas get the table. errc::io when the system gives no memory file or no address space.
  static expected<std::shared_ptr<segment>> make(const tuning& = {});
  /// One that its owner has handed over. errc::mismatch when it is no sealed segment of this build.
  static expected<std::shared_ptr<segment>> attach(unique_fd file);
  ~segment();
  segment(const segment&) = delete;

  int file() const { return file_.get(); }

  /// Owner: makes the area of an attempt, or of a part of one, and tells everybody; the same one when asked again. It
  /// is taken back when the returned pointer and its copies are gone. Null for a whole gang or an island after
  /// `close`. errc::over_limit: the place is used up.
  expected<std::shared_ptr<area>> publish(const gang_token&, std::uint32_t ranks, part_of = {});
  /// Owner: a neighbour cannot map it, so new gangs meet elsewhere, and all their processes learn that here. Those that
  /// have met go on, and make groups.
  void close();
  /// Neighbour: waits for the area of an attempt; null when there will be none. `of_a_group`: of one whose whole has
  /// met, which is made in any case. errc::timed_out; mismatch: other size; the abort word's reason.
  expected<std::shared_ptr<area>> find(const gang_token&, std::uint32_t ranks, abort_word&, time_point deadline,
                                       bool of_a_group = false);
  /// It is there now.
  bool has(const gang_token&) const;

 private:
  struct head;
  struct entry;
  struct place {
    std::size_t offset = 0;
    std::size_t size = 0;
    std::size_t used = 0;  // bytes from its beginning that may have memory
  };
  segment(unique_fd file, std::byte* memory, const tuning& table = {})
      : file_(std::move(file)), memory_(memory), table_(table) {}
  head& top() const;
  entry* entries() const;
  bool look_up(const gang_fence&, place& at) const;
  void write(entry&, const gang_token*, place);
  std::atomic<std::uint32_t>& news_of(const gang_fence&) const;
  static void wake(std::atomic<std::uint32_t>& news) noexcept;
  expected<place> allocate(std::size_t size);
  /// More memory for the area with this number: an offset.
  expected<std::size_t> extend(std::uint32_t number, std::size_t size);
  void take_back(std::uint32_t number);
  bool reclaim(std::uint32_t number);
  void abandon(std::uint32_t number);
  void give_back(place);
  /// Its pages go back to the system; the place stays.
  void release(place) const;

  const unique_fd file_;
  std::byte* const memory_;
  const tuning table_;  // of the areas made in it
  // The owner's.
  struct owned {
    bool used = false;
    bool over = false;        // no rank of this process needs it any more
    std::uint64_t since = 0;  // in the order of their beginning
    gang_token token;
    place at;
    std::vector<place> buffers;
    std::weak_ptr<area> there;
    std::shared_ptr<area> last;  // to see whether the ranks of others have left
  };
  std::mutex mutex_;
  std::vector<owned> owned_;
  std::multimap<std::size_t, place> free_;  // by size: what can be used again
  std::size_t resident_ = 0;                // bytes of it that keep their memory
  std::size_t end_ = 0;                     // of what was ever used
  std::uint64_t published_ = 0;
};

}  // namespace hydrogen::comm::shm
