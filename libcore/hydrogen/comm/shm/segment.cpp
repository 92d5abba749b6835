#include <hydrogen/comm/shm/memory_file.hpp>
#include <hydrogen/comm/shm/segment.hpp>

#include <fcntl.h>
#include <sys/mman.h>

namespace hydrogen::comm::shm {
namespace {

constexpr std::uint64_t segment_magic = 0x6d67657368594433;  // also the version of the layout
constexpr std::uint32_t max_entries = 256;
constexpr std::uint32_t news_words = 64;
#if defined(__SANITIZE_THREAD__)
constexpr std::size_t segment_size = std::size_t{512} << 20;  // it remembers something of every word that is mapped
#else
constexpr std::size_t segment_size = std::size_t{64} << 30;
#endif
constexpr std::size_t first_place = 64 << 10;
// Of attempts that are over: the next gang finds its pages there. More goes back to the system.
constexpr std::size_t max_resident = std::size_t{128} << 20;

}  // namespace

struct segment::head {
  std::uint64_t magic;
  std::atomic<std::uint32_t> closed;
  // Futexes, by the hash of the gang: so who waits for one sleeps on while others are made.
  alignas(128) std::atomic<std::uint32_t> news[news_words];
};

struct alignas(64) segment::entry {
  std::atomic<std::uint32_t> sequence;              // odd: being written
  std::atomic<std::uint64_t> fence, term, counter;  // of the token; counter 0: nothing here
  std::atomic<std::uint64_t> offset, size;
};

segment::head& segment::top() const {
  return *reinterpret_cast<head*>(memory_);
}

segment::entry* segment::entries() const {
  static_assert(4096 + max_entries * sizeof(entry) <= first_place);
  return reinterpret_cast<entry*>(memory_ + 4096);
}

expected<std::shared_ptr<segment>> segment::make(const tuning& table) {
  auto file = make_memory_file("hydrogen-gangs", segment_size);
  if (!file) return unexpected(std::move(file.error()));
  auto memory = map_memory_file(file->get(), segment_size);
  if (!memory) return unexpected(std::move(memory.error()));
  std::shared_ptr<segment> made(new segment(std::move(*file), *memory, table));
  made->end_ = first_place;
  made->owned_.resize(max_entries);
  new (&made->top()) head{};
  for (std::uint32_t i = 0; i < max_entries; ++i) new (made->entries() + i) entry{};
  made->top().magic = segment_magic;
  return made;
}

expected<std::shared_ptr<segment>> segment::attach(unique_fd file) {
  if (size_of_memory_file(file.get()) != segment_size) {
    return fail(errc::mismatch, "what the neighbour handed over is no shared memory of this build");
  }
  auto memory = map_memory_file(file.get(), segment_size);
  if (!memory) return unexpected(std::move(memory.error()));
  std::shared_ptr<segment> there(new segment(std::move(file), *memory));
  if (there->top().magic != segment_magic) {
    return fail(errc::mismatch, "what the neighbour handed over is no shared memory of this build");
  }
  return there;
}

segment::~segment() {
  // The areas that are kept here refer to the mapping.
  owned_.clear();
  munmap(memory_, segment_size);
}

std::atomic<std::uint32_t>& segment::news_of(const gang_fence& fence) const {
  return top().news[fence.gang % news_words];
}

void segment::wake(std::atomic<std::uint32_t>& news) noexcept {
  news.fetch_add(1, std::memory_order_seq_cst);
  futex_wake_all(news, futex_reach::host);
}

void segment::write(entry& e, const gang_token* token, place at) {
  const auto fence = token != nullptr ? fence_of(*token) : gang_fence{};
  const auto sequence = e.sequence.load(std::memory_order_relaxed);
  e.sequence.store(sequence + 1, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_release);
  e.fence.store(fence.gang, std::memory_order_relaxed);
  e.term.store(fence.attempt.term.value, std::memory_order_relaxed);
  e.counter.store(fence.attempt.counter, std::memory_order_relaxed);
  e.offset.store(at.offset, std::memory_order_relaxed);
  e.size.store(at.size, std::memory_order_relaxed);
  e.sequence.store(sequence + 2, std::memory_order_release);
}

bool segment::look_up(const gang_fence& fence, place& at) const {
  // Most lie where they are looked for first.
  for (std::uint32_t i = 0; i < max_entries; ++i) {
    const auto& e = entries()[(fence.gang + i) % max_entries];
    const auto sequence = e.sequence.load(std::memory_order_acquire);
    if (sequence % 2 != 0 || e.fence.load(std::memory_order_relaxed) != fence.gang ||
        e.term.load(std::memory_order_relaxed) != fence.attempt.term.value ||
        e.counter.load(std::memory_order_relaxed) != fence.attempt.counter) {
      continue;
    }
    at = {e.offset.load(std::memory_order_relaxed), e.size.load(std::memory_order_relaxed), 0};
    std::atomic_thread_fence(std::memory_order_acquire);
    if (e.sequence.load(std::memory_order_relaxed) == sequence) return true;
  }
  return false;
}

bool segment::has(const gang_token& token) const {
  place at;
  return look_up(fence_of(token), at);
}

expected<std::shared_ptr<area>> segment::find(const gang_token& token, std::uint32_t ranks, abort_word& abort,
                                              time_point deadline, bool of_a_group) {
  const auto fence = fence_of(token);
  auto& news = news_of(fence);
  const auto on_abort = abort.on_abort([&news] { wake(news); });
  for (;;) {
    const auto seen = news.load(std::memory_order_seq_cst);
    if (abort.is_set()) return unexpected(abort.reason());
    // Before the look: what was published earlier is found.
    const bool closed = !of_a_group && top().closed.load(std::memory_order_acquire) != 0;
    place at;
    if (look_up(fence, at)) {
      if (at.offset < first_place || at.offset > segment_size || at.offset % 4096 != 0 ||
          at.size > segment_size - at.offset || at.size < area::bytes_on_host(1)) {
        return fail(errc::mismatch, "the directory of shared memory makes no sense");
      }
      if (at.size < area::bytes_on_host(ranks)) {
        return fail(errc::mismatch, "the ranks were told different sizes of the gang");
      }
      auto there = area::attach(memory_ + at.offset, ranks, shared_from_this());
      if (there) (*there)->lend(memory_, {});
      return there;
    }
    if (closed) return std::shared_ptr<area>();
    if (!futex_wait(news, seen, deadline, futex_reach::host)) {
      return fail(errc::timed_out, "the area of the gang does not come");
    }
  }
}

expected<std::shared_ptr<area>> segment::publish(const gang_token& token, std::uint32_t ranks, part_of part) {
  std::lock_guard lock(mutex_);
  const auto fence = fence_of(token);
  std::uint32_t number = max_entries;
  std::uint32_t oldest = max_entries;
  for (std::uint32_t n = 0; n < max_entries; ++n) {
    const auto i = static_cast<std::uint32_t>((fence.gang + n) % max_entries);
    auto& o = owned_[i];
    if (o.used && o.token == token) {
      if (auto there = o.there.lock()) return there;
    }
    if (o.used && o.over && !reclaim(i) && (oldest == max_entries || o.since < owned_[oldest].since)) oldest = i;
    if (!o.used && number == max_entries) number = i;
  }
  if (top().closed.load(std::memory_order_relaxed) != 0 && !part.whole) return std::shared_ptr<area>();
  if (number == max_entries && oldest != max_entries) abandon(number = oldest);
  if (number == max_entries) {
    return fail(errc::over_limit, std::to_string(max_entries) + " gangs meet in this process already");
  }
  auto at = allocate(area::bytes_on_host(ranks));
  if (!at) return unexpected(std::move(at.error()));
  auto& o = owned_[number];
  o.used = true;
  o.over = false;
  o.since = ++published_;
  o.token = token;
  o.at = *at;
  o.last = area::create(memory_ + at->offset, ranks, nullptr);
  o.last->use(table_);
  // Not for ever: the area refers to it, and it keeps the area.
  o.last->lend(memory_, [weak = weak_from_this(), number](std::size_t size) -> expected<std::size_t> {
    const auto self = weak.lock();
    if (!self) return fail(errc::internal, "the shared memory of this process is gone");
    return self->extend(number, size);
  });
  // A part has the buffers of the whole, which may lie in another segment.
  if (!part.ranks.empty()) o.last->belongs_to(std::move(part));
  std::shared_ptr<area> given(o.last.get(), [self = shared_from_this(), number](area*) { self->take_back(number); });
  o.there = given;
  write(entries()[number], &token, *at);
  wake(news_of(fence));
  return given;
}

void segment::close() {
  std::lock_guard lock(mutex_);
  top().closed.store(1, std::memory_order_release);
  for (auto& word : top().news) wake(word);
}

expected<segment::place> segment::allocate(std::size_t size) {
  if (const auto at = free_.lower_bound(size); at != free_.end() && at->first <= 2 * size) {
    const auto found = at->second;
    resident_ -= found.used;
    free_.erase(at);
    return found;
  }
  if (size > segment_size - end_) {
    return fail(errc::over_limit, "the shared memory of this process is used up by attempts that did not end in order",
                {}, "it lasts as long as the executors of this run: start the application again");
  }
  const place fresh{end_, size, 0};
  end_ += size;
  return fresh;
}

expected<std::size_t> segment::extend(std::uint32_t number, std::size_t size) {
  std::lock_guard lock(mutex_);
  auto at = allocate(size);
  if (!at) return unexpected(std::move(at.error()));
  at->used = at->size;
  owned_[number].buffers.push_back(*at);
  return at->offset;
}

void segment::take_back(std::uint32_t number) {
  // Goes without the lock: it may be the last that holds an area, and comes here again.
  part_of held;
  std::lock_guard lock(mutex_);
  held = owned_[number].last->let_go();
  owned_[number].over = true;
  // A weak reference keeps the deleter, which keeps this segment.
  owned_[number].there.reset();
  reclaim(number);
}

/// False: somebody may still be in the memory of an attempt that is over here; perhaps its other ranks are slow to
/// leave.
bool segment::reclaim(std::uint32_t number) {
  auto& o = owned_[number];
  if (!o.last->is_deserted()) return false;
  write(entries()[number], nullptr, {});
  o.at.used = std::max(o.at.used, o.last->bytes_used());
  give_back(o.at);
  for (const auto& b : o.buffers) give_back(b);
  o = {};
  return true;
}

void segment::give_back(place p) {
  if (p.used > max_resident - resident_) {
    release(p);
    p.used = 0;
  }
  resident_ += p.used;
  free_.emplace(p.size, p);
}

void segment::release(place p) const {
  fallocate(file_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(p.offset),
            static_cast<off_t>(p.used));
}

void segment::abandon(std::uint32_t number) {
  auto& o = owned_[number];
  write(entries()[number], nullptr, {});
  o.at.used = o.at.size;
  o.buffers.push_back(o.at);
  for (const auto& b : o.buffers) release(b);
  o = {};
}

}  // namespace hydrogen::comm::shm
