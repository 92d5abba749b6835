#include <hydrogen/gpu/cuda/completions.cuh>
#include <hydrogen/gpu/cuda/cuda_stream.cuh>
#include <hydrogen/gpu/peers/peer_member.hpp>

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <utility>
#include <variant>

namespace hydrogen::gpu::cuda {
namespace {

/// Items after which an event is recorded though nobody asks: memory that they used is free for others only then.
constexpr std::uint64_t most_unmarked = 64;

}  // namespace

expected<std::unique_ptr<backend_stream>> cuda_stream::make(stream_state& state,
                                                            std::shared_ptr<device_context> context) {
  std::unique_ptr<cuda_stream> made(new cuda_stream(state, std::move(context)));
  auto& shared = *made->context_;
  if (const auto said = shared.begin(made->stream_); said != cudaSuccess) {
    return unexpected(shared.error_of(said, "cudaStreamCreateWithFlags"));
  }
  auto cell = shared.take_cell();
  if (!cell) return unexpected(std::move(cell.error()));
  made->faults_ = *cell;
  return made;
}

cuda_stream::~cuda_stream() {
  context_->end(stream_, product_, faults_, false);
}

// ---- by the thread that enqueues -----------------------------------------------------------------------------------

void cuda_stream::submit(recorded item, std::uint64_t at) {
  std::unique_lock lock(mutex_);
  if (!held_.empty()) {
    return hold(lock, {}, [this, item = std::move(item), at](const expected<void>&) { launch(item, at); });
  }
  launch(item, at);
  const bool begins = begins_after_launch();
  lock.unlock();
  watch(begins);
}

void cuda_stream::submit(std::shared_ptr<prepared_graph> recording, std::uint64_t at) {
  auto graph = std::static_pointer_cast<recorded_graph>(std::move(recording));
  std::unique_lock lock(mutex_);
  if (!held_.empty()) {
    return hold(lock, {}, [this, graph = std::move(graph), at](const expected<void>&) { launch(graph, at); });
  }
  launch(graph, at);
  const bool begins = mark_if_wanted();
  lock.unlock();
  watch(begins);
}

void cuda_stream::wait_for(const std::shared_ptr<stream_state>& other, std::uint64_t at, behind needs) {
  auto* there = dynamic_cast<cuda_stream*>(other->queue.get());
  const auto reached = there != nullptr ? there->event_behind(at) : nullptr;
  std::unique_lock lock(mutex_);
  if (reached == nullptr || !held_.empty()) {
    return hold(
        lock, event(other, at),
        [this, needs](const expected<void>& outcome) {
          // What it was to begin with is not there.
          if (!outcome && needs == behind::result) refuse(launched_ + 1, outcome.error(), false);
        },
        needs);
  }
  auto said = context_->use();
  if (said == cudaSuccess) said = cudaStreamWaitEvent(stream_, reached.get(), 0);
  if (said != cudaSuccess) return refuse(launched_ + 1, said, "cudaStreamWaitEvent");
  if (needs == behind::result) dependencies_.push_back({launched_ + 1, event(other, at)});
}

void cuda_stream::want(std::uint64_t at) {
  std::unique_lock lock(mutex_);
  if (at <= marked_) return;
  wanted_ = std::max(wanted_, at);
  const bool begins = mark_if_wanted();
  lock.unlock();
  watch(begins);
}

event_ptr cuda_stream::event_behind(std::uint64_t at) {
  std::unique_lock lock(mutex_);
  if (at > launched_) return nullptr;
  auto found = std::find_if(marks_.begin(), marks_.end(), [at](const mark& m) { return m.at >= at; });
  bool begins = false;
  if (found == marks_.end()) {
    if (!add_mark()) return nullptr;
    begins = begin_watch();
    found = std::prev(marks_.end());
  }
  auto reached = found->reached;
  lock.unlock();
  watch(begins);
  return reached;
}

void cuda_stream::hold(std::unique_lock<std::mutex>& lock, event after, held_back::action run, behind needs) {
  held_.push(std::move(after), std::move(run), needs);
  const bool begins = begin_watch();
  lock.unlock();
  watch(begins);
}

void cuda_stream::watch(bool begins) {
  if (begins) completions::of_process().watch(state_.shared_from_this());
}

bool cuda_stream::begin_watch() {
  return !std::exchange(watched_, true);
}

void cuda_stream::launch(const recorded& item, std::uint64_t at) {
  if (const auto* exchange = std::get_if<work::all_reduce>(&item.what)) return launch(*exchange, at);
  launched_ = at;
  if (refused_ || state_.has_failed()) return;
  const char* name = work::name_of(item.what);
  state_.begins(name);
  recent_[at % recent_.size()] = name;
  if (const auto said = context_->use(); said != cudaSuccess) return refuse(at, said, "cudaSetDevice");
  faults_.owner = at;
  launch_context launched{context_->shape(),  stream_,  item.scratch,     faults_,
                          context_->products, product_, context_->customs};
  launch_any(item.what, launched);
  if (!launched.failed()) return;
  auto why = launched.refusal.empty() ? context_->error_of(launched.status, launched.call, errc::task_failed)
                                      : error{errc::task_failed, launched.refusal, {}, {}};
  why.what = fmt::format("kernel '{}': {}", name, why.what);
  why.where.clear();  // the stream's, which names the device, too
  refuse(at, std::move(why), loses_device(launched.status));
}

void cuda_stream::launch(const work::all_reduce& what, std::uint64_t at) {
  if (refused_ || state_.has_failed()) {
    launched_ = at;
    return;
  }
  state_.begins(work::all_reduce::name.data());
  recent_[at % recent_.size()] = work::all_reduce::name.data();
  // It is not launched before NCCL has put it into the stream, and nothing behind it is: a mark there would be reached
  // before it has begun.
  held_.push_front([asked = what.among->ask(what, stream_, at)] { return asked->outcome(); },
                   [this, at](const expected<void>& outcome) {
                     launched_ = at;
                     if (outcome) return;
                     auto why = outcome.error();
                     why.what = fmt::format("kernel '{}': {}", work::all_reduce::name, why.what);
                     refuse(at, std::move(why), false);
                   });
}

void cuda_stream::launch(const std::shared_ptr<recorded_graph>& graph, std::uint64_t at) {
  launched_ = at;
  if (refused_ || state_.has_failed()) return;
  state_.begins("a recording");
  recent_[at % recent_.size()] = "a recording";
  std::uint64_t number = 0;
  auto said = context_->use();
  if (said == cudaSuccess) said = graph->replay(stream_, number);
  if (said != cudaSuccess) return refuse(at, said, "cudaGraphLaunch");
  replays_.push_back({at, number, graph});
}

void cuda_stream::refuse(std::uint64_t at, error why, bool lost) {
  if (refused_) return;
  refused_ = refusal{at, std::move(why), lost};
  wanted_ = std::max(wanted_, at);
}

void cuda_stream::refuse(std::uint64_t at, cudaError_t said, const char* call) {
  (void)cudaGetLastError();
  auto why = context_->error_of(said, call, errc::task_failed);
  why.where.clear();  // the stream's, which names the device, too
  refuse(at, std::move(why), loses_device(said));
}

bool cuda_stream::add_mark() {
  auto said = cudaSuccess;
  auto reached = context_->take_event(said);
  if (reached == nullptr && context_->closing()) return false;
  if (said == cudaSuccess) said = context_->use();
  if (said == cudaSuccess) said = cudaEventRecord(reached.get(), stream_);
  if (said != cudaSuccess) {
    reached = nullptr;
    refuse(launched_, said, "cudaEventRecord");
  }
  marked_ = launched_;
  marks_.push_back({launched_, std::move(reached)});
  return true;
}

bool cuda_stream::mark_if_wanted() {
  // Also where what is wanted is still held back: it may be so behind something that another one waits for here.
  const bool due = launched_ - marked_ >= most_unmarked;
  if (launched_ <= marked_ || (wanted_ <= marked_ && !due)) return false;
  return add_mark() && begin_watch();
}

bool cuda_stream::begins_after_launch() {
  const bool marked = mark_if_wanted();
  return (!held_.empty() && begin_watch()) || marked;
}

// ---- on the completion thread --------------------------------------------------------------------------------------

cuda_stream::progress cuda_stream::poll() {
  progress made;
  std::unique_lock lock(mutex_);
  if (!held_.empty()) {
    made.moved = held_.advance(lock, state_.has_failed());
    mark_if_wanted();
  }
  while (!marks_.empty()) {
    const mark first = marks_.front();
    lock.unlock();
    // The device is named first, or the runtime would make a context on another one.
    auto said = cudaSuccess;
    if (first.reached != nullptr) said = context_->use();
    if (first.reached != nullptr && said == cudaSuccess) said = cudaEventQuery(first.reached.get());
    const bool reached = said != cudaErrorNotReady && dependencies_settled(first.at);
    lock.lock();
    if (!reached) break;
    marks_.pop_front();
    lock.unlock();
    if (said != cudaSuccess) lose(said);
    report_up_to(first.at);
    made.moved = true;
    lock.lock();
  }
  settle_dependencies();
  mark_if_wanted();
  made.more = !marks_.empty() || !held_.empty();
  if (!made.more) watched_ = false;
  return made;
}

bool cuda_stream::dependencies_settled(std::uint64_t at) {
  std::vector<event> all;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& d : dependencies_) {
      if (d.at <= at) all.push_back(d.on);
    }
  }
  return std::all_of(all.begin(), all.end(), [](const event& e) { return e.ready(); });
}

void cuda_stream::settle_dependencies() {
  std::erase_if(dependencies_, [&](const dependency& d) {
    const auto& other = *d.on.of();
    if (!other.settled(d.on.at())) return false;
    // What it was to begin with is not there.
    if (auto outcome = other.outcome(d.on.at()); !outcome) refuse(d.at, std::move(outcome.error()), false);
    return true;
  });
}

void cuda_stream::lose(cudaError_t said) {
  auto why = context_->error_of(said, "work on the device", errc::task_failed);
  why.where.clear();
  {
    const std::lock_guard lock(mutex_);
    std::string names;
    for (std::size_t i = 1; i <= recent_.size(); ++i) {
      const char* name = recent_[(launched_ + i) % recent_.size()];
      if (name != nullptr) names += (names.empty() ? "" : ", ") + std::string(name);
    }
    why.what += fmt::format("; seen by '{}', whose last kernels were {}", state_.label,
                            names.empty() ? std::string("none") : names);
  }
  const auto kept = state_.on.weak_from_this().lock();  // a callback may end it while it tells its streams
  if (loses_device(said)) return state_.on.lose(std::move(why));
  state_.fail(state_.completed() + 1, std::move(why));
}

void cuda_stream::report_up_to(std::uint64_t at) {
  std::vector<dependency> dependencies;
  std::vector<replay> replays;
  std::optional<refusal> first;
  {
    const std::lock_guard lock(mutex_);
    for (; !dependencies_.empty() && dependencies_.front().at <= at; dependencies_.pop_front()) {
      dependencies.push_back(std::move(dependencies_.front()));
    }
    for (; !replays_.empty() && replays_.front().at <= at; replays_.pop_front()) {
      replays.push_back(std::move(replays_.front()));
    }
    if (refused_ && refused_->at <= at) first = *refused_;
  }
  const auto consider = [&](std::uint64_t where, error why) {
    if (!first || where < first->at) first = refusal{where, std::move(why), false};
  };
  for (const auto& r : replays) {
    if (auto why = r.of->take_fault(r.number)) consider(r.at, std::move(*why));
  }
  if (!state_.has_failed()) {
    if (const auto found = context_->look(faults_); found && found->owner != 0 && found->owner <= at) {
      consider(found->owner, describe(*found));
    }
  }
  for (const auto& d : dependencies) {
    if (auto outcome = d.on.of()->outcome(d.on.at()); !outcome) consider(d.at, std::move(outcome.error()));
  }
  if (first && first->lost) {
    const auto kept = state_.on.weak_from_this().lock();
    state_.on.lose(first->why);
  } else if (first) {
    state_.fail(first->at, std::move(first->why));
  }
  // A callback may have ended the device, and more than this been reported.
  if (at > state_.completed()) state_.complete(at);
}

}  // namespace hydrogen::gpu::cuda
