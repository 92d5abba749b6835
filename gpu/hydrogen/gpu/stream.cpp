#include <hydrogen/gpu/backend.hpp>
#include <hydrogen/gpu/stream.hpp>

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <limits>

namespace hydrogen::gpu {
namespace {

constexpr std::size_t slab_bytes = std::size_t{4} << 20;     // of staging, at a time
constexpr std::size_t most_staged = std::size_t{64} << 20;   // of one upload, before it waits
constexpr auto staging_patience = std::chrono::seconds(60);  // for a slab of that

void keep(std::vector<memory_ptr>& all, memory* m) {
  if (m == nullptr) return;
  const auto known = [m](const memory_ptr& p) { return p.get() == m; };
  if (std::none_of(all.begin(), all.end(), known)) all.push_back(m->shared_from_this());
}

/// Among the others, one of each stream.
void keep_unreached(const event& e, std::vector<event>& all) {
  if (!e.of() || e.of()->reached(e.at())) return;
  const auto known = std::find_if(all.begin(), all.end(), [&](const event& other) { return other.of() == e.of(); });
  if (known == all.end()) {
    all.push_back(e);
  } else if (known->at() < e.at()) {
    *known = e;
  }
}

std::vector<memory*> plain(const std::vector<memory_ptr>& all) {
  std::vector<memory*> out;
  for (const auto& p : all) out.push_back(p.get());
  return out;
}

}  // namespace

void refuse(const char* what, const std::string& why) {
  throw failure(error{errc::bad_input, std::string(what) + ": " + why, {}, {}});
}

stream& stream::operator=(stream&& other) noexcept {
  std::swap(on_, other.on_);
  std::swap(state_, other.state_);
  return *this;
}

stream::~stream() {
  if (state_ && !state_->reached(state_->submitted)) state_->queue->want(state_->submitted);
}

const std::string& stream::label() const {
  return state_->label;
}

void stream::refuse_sizes(const char* what, std::size_t from, std::size_t to) const {
  refuse(what, fmt::format("{} elements do not fit {}", from, to));
}

void stream::not_while_recording(const char* what) const {
  if (state_->capture) refuse(what, "the stream is recording; only kernels can be recorded");
}

memory_ptr stream::allocate_bytes(std::size_t n, std::size_t each, memory_kind kind) {
  if (n == 0) return nullptr;
  if (n > std::numeric_limits<std::size_t>::max() / each)
    refuse("allocate", fmt::format("{} elements of {} bytes", n, each));
  auto& pool = kind == memory_kind::device ? on_->device_memory() : on_->pinned_memory();
  return value_or_throw(pool.allocate(n * each, state_));
}

void stream::order(std::span<memory* const> reads, std::span<memory* const> writes, std::uint64_t at) {
  const auto behind_it = [&](const event& e, behind needs) {
    if (!e.of() || e.of() == state_) return;
    // A reader waits for what has failed, too: so its reason comes here, whenever it does.
    const bool over = needs == behind::result ? e.of()->is_done(e.at()) : e.of()->reached(e.at());
    if (!over) state_->queue->wait_for(e.of(), e.at(), needs);
  };
  for (auto* m : reads) {
    if (m == nullptr) continue;
    behind_it(m->written_, behind::result);
    std::erase_if(m->read_, [&](const event& e) { return e.of() == state_ || e.of()->reached(e.at()); });
    m->read_.emplace_back(state_, at);
  }
  for (auto* m : writes) {
    if (m == nullptr) continue;
    // A writer in place, or of a part, needs what was there.
    behind_it(m->written_, behind::result);
    for (const auto& e : m->read_) behind_it(e, behind::end);
    // Those before stay known until they have come to their end: a stream that has failed does not wait for them.
    keep_unreached(m->written_, m->read_);
    std::erase_if(m->read_, [&](const event& e) { return e.of() == state_ || e.of()->reached(e.at()); });
    m->written_ = event(state_, at);
  }
}

void stream::submit(std::span<memory* const> reads, std::span<memory* const> writes,
                    const std::function<void(std::uint64_t)>& put) {
  // Memory of other devices has an order of its own.
  std::vector<device*> devices{on_.get()};
  for (const auto& all : {reads, writes}) {
    for (auto* m : all) {
      if (m != nullptr && &m->owner() != on_.get()) devices.push_back(&m->owner());
    }
  }
  std::sort(devices.begin(), devices.end());
  devices.erase(std::unique(devices.begin(), devices.end()), devices.end());
  std::vector<std::unique_lock<std::mutex>> locks;
  for (auto* d : devices) locks.emplace_back(d->order_);
  const auto at = state_->submitted + 1;
  order(reads, writes, at);
  state_->submitted = at;
  put(at);
}

void stream::enqueue(work::any what, std::span<memory* const> reads, std::span<memory* const> writes) {
  recorded item{std::move(what), nullptr};
  memory_ptr scratch;
  if (const auto bytes = backend_of(*on_).scratch_for(item.what); bytes != 0) {
    scratch = value_or_throw(on_->device_memory().allocate(bytes, state_));
    item.scratch = scratch->at();
  }
  on_->counters_.items.fetch_add(1, std::memory_order_relaxed);
  if (state_->capture) {
    for (auto* m : reads) keep(state_->capture->reads, m);
    for (auto* m : writes) keep(state_->capture->writes, m);
    keep(state_->capture->writes, scratch.get());
    state_->capture->items.push_back(std::move(item));
    return;
  }
  std::vector<memory*> written(writes.begin(), writes.end());
  written.push_back(scratch.get());
  submit(reads, written, [&](std::uint64_t at) { state_->queue->submit(std::move(item), at); });
}

void stream::prepare(const kernel& code) {
  if (!code) refuse("launch", "no kernel");
  value_or_throw(backend_of(*on_).can_run(work::custom{code, {}, {}}));
}

expected<stream> stream::another(std::string label) const {
  return on_->make_stream(std::move(label), state_->share);
}

void stream::launch(const kernel& code, launch_shape shape, std::vector<argument> arguments,
                    std::span<memory* const> reads, std::span<memory* const> writes) {
  if (!code) refuse("launch", "no kernel");
  value_or_throw(check(*code, arguments));
  work::any what = work::custom{code, std::move(arguments), shape};
  value_or_throw(backend_of(*on_).can_run(what));
  enqueue(std::move(what), reads, writes);
}

void stream::upload_bytes(std::span<const std::byte> from, void* to, memory* owner) {
  not_while_recording("upload");
  std::deque<event> slabs;
  for (std::size_t done = 0; done < from.size();) {
    const auto n = std::min(slab_bytes, from.size() - done);
    if (slabs.size() * slab_bytes >= most_staged) {
      value_or_throw(slabs.front().wait(now() + staging_patience));
      slabs.pop_front();
    }
    const auto slab = value_or_throw(on_->pinned_memory().allocate(n, state_));
    std::memcpy(slab->at(), from.data() + done, n);
    enqueue(work::copy{slab->at(), static_cast<std::byte*>(to) + done, n}, {slab.get()}, {owner});
    slabs.push_back(here());
    done += n;
  }
}

expected<void> stream::download_bytes(const void* from, memory* owner, std::span<std::byte> to, time_point deadline,
                                      const abort_word* abort) {
  not_while_recording("download");
  // The device must not write into `to` after a wait that has ended early, so it writes into memory that outlives it.
  struct part {
    memory_ptr slab;
    std::size_t at, n;
    event written;
  };
  std::deque<part> under_way;
  for (std::size_t asked = 0; asked < to.size() || !under_way.empty();) {
    if (asked < to.size() && under_way.size() * slab_bytes < most_staged) {
      const auto n = std::min(slab_bytes, to.size() - asked);
      auto slab = on_->pinned_memory().allocate(n, state_);
      if (!slab) return unexpected(std::move(slab.error()));
      enqueue(work::copy{static_cast<const std::byte*>(from) + asked, (*slab)->at(), n}, {owner}, {slab->get()});
      under_way.push_back({std::move(*slab), asked, n, here()});
      asked += n;
      continue;
    }
    const auto& first = under_way.front();
    if (auto done = first.written.wait(deadline, abort); !done) return done;
    std::memcpy(to.data() + first.at, first.slab->at(), first.n);
    under_way.pop_front();
  }
  return {};
}

event stream::here() const {
  not_while_recording("event");
  return {state_, state_->submitted};
}

void stream::wait_for(const event& e) {
  not_while_recording("wait_for");
  if (!e.of() || e.of() == state_ || e.of()->is_done(e.at())) return;
  const std::lock_guard lock(on_->order_);
  state_->queue->wait_for(e.of(), e.at(), behind::result);
}

expected<void> stream::drained(time_point deadline) const {
  return state_->drained(state_->submitted, deadline);
}

void stream::begin_capture() {
  not_while_recording("begin_capture");
  state_->capture = std::make_unique<recording>();
}

expected<graph_ptr> stream::end_capture() {
  if (!state_->capture) refuse("end_capture", "no recording was begun");
  const auto taken = std::move(state_->capture);
  auto made = std::make_shared<graph>();
  made->on = on_;
  made->items = taken->items.size();
  made->reads = std::move(taken->reads);
  made->writes = std::move(taken->writes);
  auto prepared = backend_of(*on_).prepare(std::move(taken->items));
  if (!prepared) return unexpected(std::move(prepared.error()));
  made->prepared = std::move(*prepared);
  on_->counters_.captures.fetch_add(1, std::memory_order_relaxed);
  return made;
}

void stream::drop_capture() {
  state_->capture.reset();
}

void stream::replay(const graph_ptr& g) {
  not_while_recording("replay");
  if (!g || g->on != on_) refuse("replay", "the recording was made for another device");
  on_->counters_.replays.fetch_add(1, std::memory_order_relaxed);
  submit(plain(g->reads), plain(g->writes), [&](std::uint64_t at) { state_->queue->submit(g->prepared, at); });
}

}  // namespace hydrogen::gpu
