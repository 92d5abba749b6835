#include <hydrogen/comm/inproc/link.hpp>

#include <algorithm>
#include <cstring>

namespace hydrogen::comm::inproc {
namespace {

void wake(channel& c, const std::shared_ptr<waker> channel::*who) {
  std::shared_ptr<waker> target;
  {
    std::lock_guard lock(c.mutex);
    target = c.*who;
  }
  // Null while the other rank has not joined: it looks before it sleeps.
  if (target) target->wake();
}

}  // namespace

link::link(std::shared_ptr<channel> out, std::shared_ptr<channel> in, const std::shared_ptr<waker>& self)
    : out_(std::move(out)), in_(std::move(in)) {
  {
    std::lock_guard lock(out_->mutex);
    out_->sender = self;
  }
  std::lock_guard lock(in_->mutex);
  in_->receiver = self;
}

void link::push(channel::message message, bool first) {
  message.first = first;
  {
    std::lock_guard lock(out_->mutex);
    if (out_->closed) return;
    auto at = out_->queue.end();
    if (first) {
      at = out_->queue.begin();
      while (at != out_->queue.end() && at->first) ++at;
    }
    out_->queue.insert(at, std::move(message));
  }
  wake(*out_, &channel::receiver);
}

void link::send(const frame_header& header, byte_view payload, bool first) {
  push({header, payload, {}, first}, first);
}

void link::send_copy(const frame_header& header, byte_buffer payload) {
  channel::message message{header, {}, std::move(payload), true};
  message.payload = message.owned;
  push(std::move(message), true);
}

expected<void> link::flush() {
  std::lock_guard lock(out_->mutex);
  was_idle_ = is_idle();
  if (out_->closed && !was_idle_) return fail(errc::disconnected, "the rank is gone");
  return {};
}

bool link::idle() const {
  std::lock_guard lock(out_->mutex);
  return is_idle();
}

bool link::flushed() const {
  std::lock_guard lock(out_->mutex);
  return out_->queue.empty();
}

bool link::is_idle() const {
  return std::all_of(out_->queue.begin(), out_->queue.end(), [](const auto& m) { return is_remark(m.header.kind); });
}

void link::drop() {
  std::lock_guard lock(out_->mutex);
  std::erase_if(out_->queue, [](const channel::message& m) { return m.owned.empty(); });
}

expected<bool> link::receive(link_sink& sink) {
  bool any = false;
  for (;;) {
    frame_header header;
    {
      std::lock_guard lock(in_->mutex);
      if (in_->queue.empty()) {
        held_ = false;
        if (in_->closed) return fail(errc::disconnected, "the rank is gone");
        return any;
      }
      auto& front = in_->queue.front();
      mutable_byte_view place;
      auto verdict = sink.begin(front.header, place);
      if (!verdict) return unexpected(std::move(verdict.error()));
      held_ = *verdict == link_sink::verdict::hold;
      if (held_) return any;
      const bool skip = *verdict == link_sink::verdict::skip;
      invariant(skip || place.size() == front.payload.size(), "a payload and its place differ in size");
      if (!skip && !place.empty()) std::memcpy(place.data(), front.payload.data(), place.size());
      header = front.header;
      in_->queue.pop_front();
      any = true;
      if (skip) continue;
    }
    // Without the lock: it may queue frames on this link.
    if (auto ok = sink.end(header); !ok) return unexpected(std::move(ok.error()));
    wake(*in_, &channel::sender);
  }
}

bool link::ready() const {
  {
    std::lock_guard lock(in_->mutex);
    if (!held_ && (!in_->queue.empty() || in_->closed)) return true;
  }
  std::lock_guard lock(out_->mutex);
  return !was_idle_ && is_idle();
}

void link::close() {
  {
    std::lock_guard lock(out_->mutex);
    out_->closed = true;
    out_->sender = nullptr;
  }
  wake(*out_, &channel::receiver);
  std::lock_guard lock(in_->mutex);
  in_->receiver = nullptr;
}

}  // namespace hydrogen::comm::inproc
