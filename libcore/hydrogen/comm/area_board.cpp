// Parts of a gang area, and the board that says which call of which group a rank is in. And whether the private memory
// of other processes can be read.

#include <hydrogen/base/ids.hpp>
#include <hydrogen/comm/area_layout.hpp>

#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>

namespace hydrogen::comm {
namespace {

// In the private memory of this process: what others try to read.
const std::uint64_t probe_word = make_boot_id().value;

constexpr std::uint64_t begins_bit = std::uint64_t{1} << 32;  // of `kinds`

}  // namespace

std::shared_ptr<area> area::part(part_of what) {
  auto& whole = *what.whole;
  std::lock_guard lock(whole.parts_mutex_);
  std::erase_if(whole.parts_, [](const auto& p) { return p.second.expired(); });
  auto& place = whole.parts_[what.group];
  if (auto there = place.lock()) return there;
  auto made = std::make_shared<area>(static_cast<std::uint32_t>(what.ranks.size()));
  place = made;
  made->belongs_to(std::move(what));
  return made;
}

void area::belongs_to(part_of what) {
  part_ = std::move(what);
  if (!part_.whole) return;
  wait_ = part_.whole->wait_;
  bell_ = part_.whole->bell_;
  base_ = part_.whole->base_;
}

void area::use(const tuning& table) {
  header_->table = table;
}

const tuning& area::table() const {
  return header_->table;
}

void area::lend(std::byte* base, taker take) {
  base_ = base;
  take_ = std::move(take);
}

std::span<std::atomic<std::uint64_t>> area::board(std::uint32_t rank) const {
  const auto words = board_size(ranks_) / sizeof(std::atomic<std::uint64_t>);
  return {board_ + words * rank, words};
}

void area::stand(std::uint32_t rank, std::uint64_t number, const call_plan& plan, std::span<const std::uint32_t> ranks,
                 bool begins) {
  const auto words = board(rank);
  const auto get = [&](std::size_t at) { return words[at].load(std::memory_order_relaxed); };
  const auto set = [&](std::size_t at, std::uint64_t value) { words[at].store(value, std::memory_order_relaxed); };
  const auto before = get(sequence);
  const bool same_group = get(group) == plan.group && before != 0;
  auto place = get(entry);
  auto known = get(entries);
  if (!same_group) {
    const auto most = std::min<std::uint64_t>(known, listed_parts);
    for (place = 0; place < most && get(listed + 2 * place) != plan.group; ++place) {
    }
    if (place == most) place = known++ % listed_parts;
  }
  set(sequence, before + 1);
  std::atomic_thread_fence(std::memory_order_release);  // whoever reads what follows reads an odd sequence, too
  set(group, plan.group);
  set(calls, number);
  set(kinds, (begins ? begins_bit : 0) | std::uint64_t{static_cast<std::uint8_t>(plan.by)} << 24 |
                 std::uint64_t{static_cast<std::uint8_t>(plan.what)} << 16 |
                 std::uint64_t{static_cast<std::uint8_t>(plan.kind)} << 8 | static_cast<std::uint8_t>(plan.how));
  set(line, plan.line);
  set(roots, std::uint64_t{plan.root} << 32 | plan.to);
  set(count, plan.count);
  char name[64] = {};
  std::memcpy(name, plan.file, std::min(std::strlen(plan.file), sizeof name - 1));
  for (std::size_t i = 0; i < 8; ++i) {
    std::uint64_t word = 0;
    std::memcpy(&word, name + 8 * i, 8);
    set(file + i, word);
  }
  set(listed + 2 * place + 1, number);
  if (!same_group) {
    set(entries, known);
    set(entry, place);
    set(listed + 2 * place, plan.group);
    for (std::size_t i = members; i < words.size(); ++i) set(i, 0);
    for (const auto r : ranks) set(members + r / 64, get(members + r / 64) | std::uint64_t{1} << (r % 64));
  }
  words[sequence].store(before + 2, std::memory_order_release);
  if (before == 0) header_->parts.store(1, std::memory_order_release);
}

bool area::has_parts() const {
  return header_->parts.load(std::memory_order_acquire) != 0;
}

area::standing area::standing_of(std::uint32_t rank) const {
  const auto words = board(rank);
  for (int attempt = 0; attempt < 100; ++attempt) {
    const auto before = words[sequence].load(std::memory_order_acquire);
    if (before % 2 != 0) continue;
    std::vector<std::uint64_t> copy(words.size());
    // Acquire: what is read after them, the sequence, cannot be older.
    for (std::size_t i = 0; i < copy.size(); ++i) copy[i] = words[i].load(std::memory_order_acquire);
    if (words[sequence].load(std::memory_order_relaxed) == before) return standing(std::move(copy));
  }
  return {};
}

bool area::standing::needs(std::uint32_t rank) const {
  if ((words_[kinds] & begins_bit) == 0) return is_in(rank);
  for (std::uint32_t r = 0; r < rank; ++r) {
    if (is_in(r)) return false;
  }
  return is_in(rank);
}

std::optional<std::uint64_t> area::standing::calls_of(std::uint64_t part) const {
  const auto most = std::min<std::uint64_t>(words_[entries], listed_parts);
  for (std::size_t i = 0; i < most; ++i) {
    if (words_[listed + 2 * i] == part) return words_[listed + 2 * i + 1];
  }
  if (words_[entries] > listed_parts) return std::nullopt;
  return 0;
}

std::string area::standing::text(const area& whole) const {
  char name[64];
  std::memcpy(name, &words_[file], sizeof name);
  name[sizeof name - 1] = 0;
  call_plan plan;
  plan.by = static_cast<algorithm>(words_[kinds] >> 24 & 0xff);
  plan.what = static_cast<operation>(words_[kinds] >> 16 & 0xff);
  plan.kind = static_cast<element>(words_[kinds] >> 8 & 0xff);
  plan.how = static_cast<reduction>(words_[kinds] & 0xff);
  plan.line = static_cast<std::uint32_t>(words_[line]);
  plan.root = static_cast<std::uint32_t>(words_[roots] >> 32);
  plan.to = static_cast<std::uint32_t>(words_[roots]);
  plan.count = words_[count];
  plan.file = name;
  std::vector<std::uint32_t> ranks;
  for (std::uint32_t r = 0; r < whole.size(); ++r) {
    if (is_in(r)) ranks.push_back(whole.name(r));
  }
  return plan.text(ranks);
}

bool area::has_arrived(std::uint32_t self, std::uint32_t rank) const {
  return calls_of(rank) >= calls_of(self);
}

std::string area::call_of(std::uint32_t rank) const {
  const auto calls = calls_of(rank);
  return calls == 0 ? std::string("no call") : seats_[rank].said[(calls - 1) % 2].text(among());
}

std::uint64_t area::calls_of(std::uint32_t rank) const {
  return seats_[rank].entered.load(std::memory_order_acquire);
}

void area::introduce(std::uint32_t rank) {
  if (!is_on_host()) return;  // a system call, for each rank of each gang
  auto& self = seats_[rank];
  self.process = ::getpid();
  self.probe = reinterpret_cast<std::uint64_t>(&probe_word);
  self.probe_value = probe_word;
}

expected<void> area::read(std::uint32_t rank, std::uint64_t address, mutable_byte_view into) const {
  const auto& s = seats_[rank];
  // By the kernel also from this process: a rank whose wait ended early, as by an abort, may have freed it.
  while (!into.empty()) {
    const iovec here{into.data(), into.size()};
    const iovec there{reinterpret_cast<void*>(address), into.size()};
    const auto n = ::process_vm_readv(s.process, &here, 1, &there, 1, 0);
    if (n <= 0) {
      if (n < 0 && errno == EINTR) continue;
      return fail(errc::disconnected,
                  rank_on_node(name(rank), node_of(rank)) + " is gone: its memory cannot be read any more");
    }
    into = into.subspan(static_cast<std::size_t>(n));
    address += static_cast<std::uint64_t>(n);
  }
  return {};
}

bool area::can_read(std::uint32_t rank) const {
  const auto& s = seats_[rank];
  std::uint64_t value = 0;
  if (s.process <= 0) return false;
  // Numbers of processes may mean others where they are counted apart: only the right value is an answer.
  return read(rank, s.probe, std::as_writable_bytes(std::span(&value, 1))) && value == s.probe_value;
}

void area::say_reach(std::uint32_t rank, bool reads_all) {
  seats_[rank].reads_all = reads_all ? 1 : 0;
}

bool area::all_reach() const {
  return std::all_of(seats_, seats_ + ranks_, [](const seat& s) { return s.reads_all != 0; });
}

}  // namespace hydrogen::comm
