#include <hydrogen/gpu/repeated_step.hpp>

#include <algorithm>

namespace hydrogen::gpu {
namespace {

constexpr std::size_t most_known = 8;  // recordings keep memory

}  // namespace

void repeated_step::run(stream& s, std::uint64_t key, const std::function<void()>& enqueue) {
  const auto at = std::find_if(known_.begin(), known_.end(), [&](const known& k) { return k.key == key; });
  if (at != known_.end()) {
    known_.splice(known_.begin(), known_, at);
    if (!at->recording) return enqueue();
    ++replayed_;
    return s.replay(at->recording);
  }
  const bool again = has_last_ && last_ == key;
  has_last_ = true;
  last_ = key;
  if (!again) return enqueue();
  known_.push_front({key, nullptr});
  if (known_.size() > most_known) known_.pop_back();
  s.begin_capture();
  try {
    enqueue();
  } catch (const failure&) {
    s.drop_capture();
    return enqueue();  // what it says without a recording counts
  } catch (...) {
    s.drop_capture();
    throw;
  }
  known_.front().recording = value_or_throw(s.end_capture());
  ++recorded_;
  ++replayed_;
  s.replay(known_.front().recording);
}

}  // namespace hydrogen::gpu
