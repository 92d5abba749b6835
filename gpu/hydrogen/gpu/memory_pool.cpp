#include <hydrogen/base/units.hpp>
#include <hydrogen/gpu/backend.hpp>
#include <hydrogen/gpu/memory_pool.hpp>
#include <hydrogen/gpu/trimmer.hpp>

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <bit>
#include <iterator>

namespace hydrogen::gpu {
namespace {

/// Sizes that buffers are rounded up to: four steps to each power of two, so that at most a fifth is unused, and a
/// freed piece fits the next buffer of about its size.
std::size_t rounded(std::size_t bytes) {
  constexpr std::size_t least = 512;
  if (bytes <= least) return least;
  const std::size_t step = std::bit_floor(bytes - 1) / 4;
  return (bytes + step - 1) / step * step;
}

bool reached(const event& e) {
  return !e.of() || e.of()->reached(e.at());
}

void forget_reached(std::vector<event>& users, std::vector<event>& to) {
  const auto left = std::partition(users.begin(), users.end(), [](const event& e) { return !reached(e); });
  std::move(left, users.end(), std::back_inserter(to));
  users.erase(left, users.end());
}

}  // namespace

memory::~memory() {
  foreign_ ? backend_of(*owner_).unpin(at_) : pool_.take_back(*this);
}

memory_kind memory::kind() const {
  return pool_.kind();
}

memory_pool::afterwards::~afterwards() {
  for (const auto& e : wanted) e.of()->queue->want(e.at());
}

memory_pool::~memory_pool() {
  // The device's own work is done; that of others may still use what they were handed, pinned memory for instance.
  for (const auto& [size, blocks] : free_) {
    for (const auto& b : blocks) {
      for (const auto& e : b.users) {
        if (e.of()) (void)e.of()->drained(e.at(), never);
      }
    }
  }
  trim(0);
}

// ---- a buffer begins -----------------------------------------------------------------------------------------------

expected<memory_ptr> memory_pool::allocate(std::size_t bytes, const std::shared_ptr<stream_state>& first) {
  if (bytes > limit_) {
    return fail(errc::over_limit, fmt::format("a buffer of {} on {}, of which {} may be used", format_size(bytes),
                                              owner_.description(), format_size(limit_)));
  }
  const auto size = rounded(bytes);
  auto self = owner_.shared_from_this();
  afterwards later;
  std::unique_lock lock(mutex_);
  const auto share = first && kind_ == memory_kind::device ? first->share : nullptr;
  if (share && share->taken + size > share->limit) {
    return fail(errc::over_limit,
                fmt::format("a buffer of {}: {} of a share of {} of {} are in use", format_size(bytes),
                            format_size(share->taken), format_size(share->limit), owner_.description()),
                first->label, "use smaller batches, or let fewer ranks share a device");
  }
  if (share) share->taken += size;
  auto got = find_or_make(size, first, bytes, lock, later);
  if (!got) {
    if (share) share->taken -= size;
    return unexpected(std::move(got.error()));
  }
  usage_.used += size;
  usage_.peak = std::max(usage_.peak, usage_.used);
  lock.unlock();
  auto made = std::make_shared<memory>(std::move(self), *this, got->at, bytes, size);
  made->charged_ = share;
  made->read_ = std::move(got->users);
  return made;
}

expected<memory_pool::found> memory_pool::find_or_make(std::size_t size, const std::shared_ptr<stream_state>& first,
                                                       std::size_t asked, std::unique_lock<std::mutex>& lock,
                                                       afterwards& later) {
  const bool may_wait = kind_ == memory_kind::device && first;
  found got;
  error refused{errc::none, {}, {}, {}};  // by the device, which may have more when all that is free has left
  while (true) {
    if (take(size, first, false, got, later)) return got;
    const auto taken = taken_from_device();
    if (taken + size <= limit_ && refused.code == errc::none) {
      auto made = make(size, lock);
      if (made) return found{*made, {}};
      if (made.error().code != errc::over_limit) return unexpected(std::move(made.error()));
      refused = std::move(made.error());
      continue;
    }
    const auto too_much = taken + size > limit_ ? taken + size - limit_ : 0;
    const bool all = refused.code != errc::none || too_much >= usage_.kept;
    if (const auto out = take_out(all ? 0 : usage_.kept - too_much, later); !out.empty()) {
      refused.code = errc::none;
      give_back(out, lock);
      continue;
    }
    if (may_wait && take(size, first, true, got, later)) return got;
    // What others are giving back is enough, or may be.
    if (usage_.leaving != 0 && taken - usage_.leaving + size <= limit_) {
      const auto before = usage_.leaving;
      changed_.wait(lock, [&] { return usage_.leaving < before || !owner_.health(); });
      if (auto well = owner_.health(); !well) return unexpected(std::move(well.error()));
      refused.code = errc::none;
      continue;
    }
    if (refused.code != errc::none) return unexpected(std::move(refused));
    return fail(errc::over_limit,
                fmt::format("a buffer of {} on {}: {} of {} are in use", format_size(asked), owner_.description(),
                            format_size(taken), format_size(limit_)),
                first ? first->label : std::string(), "use smaller batches, or free buffers that are not needed");
  }
}

bool memory_pool::take(std::size_t size, const std::shared_ptr<stream_state>& first, bool pending, found& got,
                       afterwards& later) {
  const auto sizes = free_.find(size);
  if (sizes == free_.end()) return false;
  auto& blocks = sizes->second;
  for (auto b = blocks.rbegin(); b != blocks.rend(); ++b) {
    forget_reached(b->users, later.reached);
    // The host writes pinned memory out of any stream's order.
    const bool in_order =
        kind_ == memory_kind::device && first &&
        std::all_of(b->users.begin(), b->users.end(), [&](const event& e) { return e.of() == first; });
    if (!b->users.empty() && !in_order && !pending) {
      // Nobody else may ask for the end of a copy, and a backend that is not asked does not look for it.
      if (kind_ == memory_kind::pinned) later.wanted.insert(later.wanted.end(), b->users.begin(), b->users.end());
      continue;
    }
    got.at = b->at;
    got.users = std::move(b->users);
    blocks.erase(std::next(b).base());
    usage_.kept -= size;
    ++usage_.given_again;
    return true;
  }
  return false;
}

expected<void*> memory_pool::make(std::size_t size, std::unique_lock<std::mutex>& lock) {
  usage_.coming += size;
  lock.unlock();
  auto made = backend_of(owner_).allocate(kind_, size);
  lock.lock();
  usage_.coming -= size;
  if (made) ++usage_.taken_from_device;
  return made;
}

// ---- a buffer ends -------------------------------------------------------------------------------------------------

void memory_pool::take_back(memory& m) noexcept {
  free_block block{m.at_, std::move(m.read_)};
  block.users.push_back(std::move(m.written_));
  std::erase_if(block.users, reached);
  std::unique_lock lock(mutex_);
  usage_.used -= m.taken_;
  if (m.charged_) m.charged_->taken -= m.taken_;
  usage_.kept += m.taken_;
  free_[m.taken_].push_back(std::move(block));
  const bool too_much = usage_.kept > keep_;
  lock.unlock();
  if (too_much) owner_.trimmer_->ask();
}

pool_usage memory_pool::usage() const {
  const std::lock_guard lock(mutex_);
  auto now = usage_;
  now.limit = limit_;
  return now;
}

void memory_pool::wake() {
  const std::lock_guard lock(mutex_);
  changed_.notify_all();
}

void memory_pool::trim(std::uint64_t keep) {
  afterwards later;
  std::unique_lock lock(mutex_);
  give_back(take_out(keep, later), lock);
}

bool memory_pool::trim_excess() {
  afterwards later;
  std::unique_lock lock(mutex_);
  give_back(take_out(keep_, later), lock);
  if (usage_.kept <= keep_) return false;
  // A backend that is not asked does not look for the end of work.
  for (const auto& [size, blocks] : free_) {
    for (const auto& b : blocks) later.wanted.insert(later.wanted.end(), b.users.begin(), b.users.end());
  }
  return true;
}

std::vector<memory_pool::piece> memory_pool::take_out(std::uint64_t keep, afterwards& later) {
  std::vector<piece> out;
  // The largest first: giving back takes the device's time for each.
  for (auto sizes = free_.rbegin(); sizes != free_.rend() && usage_.kept > keep; ++sizes) {
    std::erase_if(sizes->second, [&](free_block& b) {
      if (usage_.kept <= keep) return false;
      forget_reached(b.users, later.reached);
      if (!b.users.empty()) return false;
      out.push_back({b.at, sizes->first});
      usage_.kept -= sizes->first;
      usage_.leaving += sizes->first;
      return true;
    });
  }
  std::erase_if(free_, [](const auto& entry) { return entry.second.empty(); });
  return out;
}

void memory_pool::give_back(const std::vector<piece>& all, std::unique_lock<std::mutex>& lock) noexcept {
  for (const auto& p : all) {
    lock.unlock();
    backend_of(owner_).free(kind_, p.at, p.size);
    lock.lock();
    usage_.leaving -= p.size;
    changed_.notify_all();
  }
}

}  // namespace hydrogen::gpu
