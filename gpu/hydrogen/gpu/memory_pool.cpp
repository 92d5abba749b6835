#include <hydrogen/base/units.hpp>
#include <hydrogen/gpu/backend.hpp>
#include <hydrogen/gpu/memory_pool.hpp>

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <bit>

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

}  // namespace

memory::~memory() {
  foreign_ ? backend_of(*owner_).unpin(at_) : pool_.take_back(*this);
}

memory_kind memory::kind() const {
  return pool_.kind();
}

memory_pool::~memory_pool() {
  trim_locked(0);
}

expected<memory_ptr> memory_pool::allocate(std::size_t bytes, const std::shared_ptr<stream_state>& first) {
  if (bytes > limit_) {
    return fail(errc::over_limit, fmt::format("a buffer of {} on {}, of which {} may be used", format_size(bytes),
                                              owner_.description(), format_size(limit_)));
  }
  const auto size = rounded(bytes);
  auto self = owner_.shared_from_this();
  std::unique_lock lock(mutex_);
  const bool shares = first && kind_ == memory_kind::device && first->share != 0;
  if (shares && first->taken + size > first->share) {
    return fail(errc::over_limit,
                fmt::format("a buffer of {}: {} of a share of {} of {} are in use", format_size(bytes),
                            format_size(first->taken), format_size(first->share), owner_.description()),
                first->label, "use smaller batches, or let fewer ranks share a device");
  }
  std::vector<event> wait_for;
  void* at = nullptr;
  const auto take = [&](bool pending) {
    const auto found = free_.find(size);
    if (found == free_.end()) return false;
    auto& blocks = found->second;
    for (auto b = blocks.rbegin(); b != blocks.rend(); ++b) {
      std::erase_if(b->users, reached);
      // The host writes pinned memory out of any stream's order.
      const bool in_order =
          kind_ == memory_kind::device && first &&
          std::all_of(b->users.begin(), b->users.end(), [&](const event& e) { return e.of() == first; });
      if (!b->users.empty() && !in_order && !pending) {
        // Nobody else may ask for the end of a copy, and a backend that is not asked does not look for it.
        if (kind_ == memory_kind::pinned) {
          for (const auto& e : b->users) e.of()->queue->want(e.at());
        }
        continue;
      }
      at = b->at;
      if (!in_order) wait_for = std::move(b->users);
      blocks.erase(std::next(b).base());
      usage_.kept -= size;
      ++usage_.given_again;
      return true;
    }
    return false;
  };
  const auto room = [&] { return usage_.used + usage_.kept + size <= limit_; };
  if (!take(false)) {
    if (!room()) trim_locked(0);
    const bool may_wait = kind_ == memory_kind::device && first;
    if (!room() && !(may_wait && take(true))) {
      return fail(errc::over_limit,
                  fmt::format("a buffer of {} on {}: {} of {} are in use", format_size(bytes), owner_.description(),
                              format_size(usage_.used + usage_.kept), format_size(limit_)),
                  first ? first->label : std::string(), "use smaller batches, or free buffers that are not needed");
    }
    if (at == nullptr) {
      auto made = backend_of(owner_).allocate(kind_, size);
      if (!made && usage_.kept != 0) {
        trim_locked(0);
        made = backend_of(owner_).allocate(kind_, size);
      }
      if (!made) return unexpected(std::move(made.error()));
      at = *made;
      ++usage_.taken_from_device;
    }
  }
  usage_.used += size;
  if (shares) first->taken += size;
  usage_.peak = std::max(usage_.peak, usage_.used);
  lock.unlock();
  auto made = std::make_shared<memory>(std::move(self), *this, at, bytes, size);
  if (shares) made->charged_ = first;
  if (!wait_for.empty()) {
    const std::lock_guard order(owner_.order_);
    for (const auto& e : wait_for) first->queue->wait_for(e.of(), e.at());
  }
  return made;
}

void memory_pool::take_back(memory& m) noexcept {
  free_block block{m.at_, std::move(m.read_)};
  block.users.push_back(std::move(m.written_));
  std::erase_if(block.users, reached);
  const std::lock_guard lock(mutex_);
  usage_.used -= m.taken_;
  if (m.charged_) m.charged_->taken -= m.taken_;
  usage_.kept += m.taken_;
  free_[m.taken_].push_back(std::move(block));
  if (usage_.kept > keep_) trim_locked(keep_);
}

pool_usage memory_pool::usage() const {
  const std::lock_guard lock(mutex_);
  auto now = usage_;
  now.limit = limit_;
  return now;
}

void memory_pool::trim(std::uint64_t keep) {
  const std::lock_guard lock(mutex_);
  trim_locked(keep);
}

void memory_pool::trim_locked(std::uint64_t keep) {
  // The largest first: giving back takes the device's time for each.
  for (auto sizes = free_.rbegin(); sizes != free_.rend() && usage_.kept > keep; ++sizes) {
    std::erase_if(sizes->second, [&](free_block& b) {
      if (usage_.kept <= keep) return false;
      std::erase_if(b.users, reached);
      if (!b.users.empty()) return false;
      backend_of(owner_).free(kind_, b.at, sizes->first);
      usage_.kept -= sizes->first;
      return true;
    });
  }
  std::erase_if(free_, [](const auto& entry) { return entry.second.empty(); });
}

}  // namespace hydrogen::gpu
