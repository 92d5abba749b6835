#include <hydrogen/actors/driver.hpp>
#include <hydrogen/actors/job_results.hpp>
#include <hydrogen/actors/scheduler.hpp>
#include <hydrogen/exec/checkpoint.hpp>

#include <fcntl.h>
#include <spdlog/fmt/fmt.h>
#include <spdlog/spdlog.h>

#include <fstream>
#include <optional>

namespace hydrogen::actors {
namespace {

/// The request that a message of the coordinator is about; a run for those that concern all of its jobs.
template <class Message>
const request_id* request_of(const Message& m) {
  if constexpr (requires { m.request; })
    return &m.request;
  else
    return nullptr;
}

data::block_ptr block_of_bytes(byte_buffer bytes) {
  auto owner = std::make_shared<const byte_buffer>(std::move(bytes));
  auto block = std::make_shared<data::block>();
  block->bytes = *owner;
  block->owner = std::move(owner);
  return block;
}

}  // namespace

driver::driver(process& home, session_options options)
    : home_(home), options_(std::move(options)), store_(home.driver_store(options_.block_budget)) {}

std::shared_ptr<driver> driver::open(process& home, session_options options) {
  if (options.app.run == run_id{}) options.app.run = make_run_id();
  options.app.driver = home.boot();
  options.app.endpoint = home.endpoint();
  std::shared_ptr<driver> self(new driver(home, std::move(options)));
  const auto weak = std::weak_ptr(self);
  self->links_ = std::make_shared<executor_links>(
      home,
      [weak](boot_id from, exec::from_task_host&& m) {
        if (auto d = weak.lock()) d->answer(from, std::move(m));
      },
      [weak](boot_id which, const error& why, bool stood) {
        if (auto d = weak.lock()) d->unreachable(which, why, stood);
      });
  self->fetch_thread_ = std::thread([d = self.get()] { d->fetch_work(); });
  const auto& app = self->options_.app;
  if (!home.endpoint().empty() && !app.library.empty()) {
    // Nodes that do not see the same file ask for the library by its content.
    std::ifstream file(app.library, std::ios::binary);
    byte_buffer bytes(app.size);
    file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    if (auto kept = self->store_->put(data::block_id::content(app.hash), block_of_bytes(std::move(bytes))); !kept) {
      spdlog::warn("the library is not served to other nodes: {}", kept.error().message());
    }
  }
  return self;
}

driver::~driver() {
  close();
}

void driver::close() {
  std::vector<job_handle> jobs;
  {
    std::unique_lock lock(mutex_);
    if (std::exchange(closing_, true)) return;
    for (auto& [number, actor] : jobs_) jobs.push_back(actor);
    jobs_.clear();
    if (to_coordinator_) {
      to_coordinator_(gang::end_run{options_.app.run});
      changed_.wait_for(lock, options_.close_timeout, [this] { return run_over_; });
    }
    to_coordinator_ = nullptr;
    fetch_stop_ = true;
  }
  cancelled_.set({errc::cancelled, "the driver ends", {}, {}});  // fetches return at once
  changed_.notify_all();
  fetch_thread_.join();
  for (auto& job : jobs) caf::anon_send(job.actor, stop_mail{});
  links_->close();
  // Agents remove what lies where their nodes say; this run may have named another place.
  if (options_.storage_dir.empty()) return;
  if (auto ok = exec::remove_checkpoints(options_.storage_dir, options_.app.run); !ok) {
    spdlog::warn("{}", ok.error().message());
  }
}

void driver::attach(channel<gang::from_job> to_coordinator) {
  {
    std::lock_guard lock(mutex_);
    if (closing_) return;
    to_coordinator(gang::begin_run{options_.app});
    to_coordinator_ = std::move(to_coordinator);
  }
  for (auto& job : all_jobs()) tell_job(job, job::coordinator_connected{});
}

void driver::detach(const error& why) {
  {
    std::lock_guard lock(mutex_);
    to_coordinator_ = nullptr;
  }
  spdlog::warn("no connection to the coordinator: {}; tasks go on", why.message());
  for (auto& job : all_jobs()) tell_job(job, job::coordinator_lost{});
}

std::vector<job_handle> driver::all_jobs() {
  std::lock_guard lock(mutex_);
  std::vector<job_handle> jobs;
  for (auto& [number, actor] : jobs_) jobs.push_back(actor);
  return jobs;
}

void driver::deliver(gang::to_job message) {
  const auto* request = std::visit([](const auto& m) { return request_of(m); }, message);
  if (request == nullptr) {
    if (const auto* over = std::get_if<gang::run_over>(&message)) {
      std::lock_guard lock(mutex_);
      run_over_ = over->run == options_.app.run;
      changed_.notify_all();
    }
    if (const auto* gone = std::get_if<gang::executor_gone>(&message)) {
      tell_coordinator(gang::noted{gang::noted_kind::executor_gone, {gone->run, 0, 0, 0}, {}, gone->executor});
    }
    for (auto& job : all_jobs()) tell_job(job, job::from_coordinator{message});
    return;
  }
  job_handle job;
  {
    std::lock_guard lock(mutex_);
    const auto at = jobs_.find(request->job);
    if (at != jobs_.end()) job = at->second;
  }
  if (job.actor) {
    tell_job(job, job::from_coordinator{std::move(message)});
    return;
  }
  for (auto& answer : job::answer_for_ended_job(message)) tell_coordinator(std::move(answer));
}

void driver::tell_coordinator(gang::from_job message) {
  channel<gang::from_job> to;
  {
    std::lock_guard lock(mutex_);
    to = to_coordinator_;
  }
  if (to) to(std::move(message));
}

void driver::answer(boot_id from, exec::from_task_host&& message) {
  const auto number = std::visit([](const auto& m) { return m.id.job; }, message);
  job_handle job;
  {
    std::lock_guard lock(mutex_);
    const auto at = jobs_.find(number);
    if (at == jobs_.end()) return;
    job = at->second;
  }
  tell_job(job, job::from_executor{from, std::move(message)});
}

void driver::unreachable(boot_id which, const error& why, bool stood) {
  for (auto& job : all_jobs()) tell_job(job, job::executor_unreachable{which, why.message(), stood});
}

void driver::cancel() {
  cancelled_.set({errc::cancelled, "interrupted", {}, {}});
  for (auto& job : all_jobs()) tell_job(job, job::cancel{"interrupted"});
}

void driver::job_over(std::uint32_t number) {
  std::lock_guard lock(mutex_);
  jobs_.erase(number);
}

void driver::execute(const plan::job_graph& graph, const sink& take) {
  if (cancelled_.is_set()) throw failure(cancelled_.reason());
  const auto results = std::make_shared<job_results>(home_.system());
  job::setup setup;
  setup.graph = graph;
  setup.run = options_.app.run;
  setup.app = options_.app;
  setup.storage_dir = options_.storage_dir;
  setup.opt = options_.job;
  std::uint32_t number = 0;
  job_handle job;
  {
    std::lock_guard lock(mutex_);
    if (closing_) throw failure(error{errc::refused, "the driver is closed", {}, {}});
    number = setup.job = next_job_++;
    for (const auto& stage : graph.stages) {
      const auto at = stage.keep_as == 0 ? kept_.end() : kept_.find(stage.keep_as);
      if (at != kept_.end()) setup.kept.push_back(at->second);
    }
    const auto weak = weak_from_this();
    job_surroundings around;
    around.to_coordinator = [weak](gang::from_job&& m) {
      if (auto d = weak.lock()) d->tell_coordinator(std::move(m));
    };
    around.to_executor = [links = links_](const data::process_ref& at, std::vector<exec::to_task_host>&& m) {
      links->send(at, std::move(m));
    };
    around.copy_blocks = [weak](job_handle self, job::copy_blocks&& what) {
      if (auto d = weak.lock()) d->copy(std::move(self), std::move(what));
    };
    around.drop_copies = [store = store_](const std::vector<data::block_id>& ids) {
      for (const auto& id : ids) store->drop(id);
    };
    around.outcomes = [results](std::vector<job::effect>&& some) { results->put(std::move(some)); };
    around.over = [weak, number] {
      if (auto d = weak.lock()) d->job_over(number);
    };
    job = spawn_job(home_.system(), std::move(setup), std::move(around));
    jobs_[number] = job;
    if (!to_coordinator_) tell_job(job, job::coordinator_lost{});
  }
  {
    // This thread has nothing to do until the first result.
    const scheduler::helper actors(home_.system(), true);
    tell_job(job, job::start{});
  }

  std::map<std::uint32_t, std::vector<data::block_ref>> ready;
  std::uint32_t next = 0;
  std::uint64_t taken = 0;
  bool enough = false;
  const auto keep = [this](std::vector<job::kept_output>& outputs) {
    std::lock_guard lock(mutex_);
    for (auto& output : outputs) kept_[output.keep_as] = std::move(output);
  };
  std::deque<job::effect> effects;
  std::vector<job::event> consumed;  // said to the job when nothing more is there to take
  for (;;) {
    if (effects.empty()) {
      {
        // The job ends with the last of them, and this thread waits for that.
        std::optional<scheduler::helper> actors;
        if (enough || next == graph.stages.back().partitions) actors.emplace(home_.system(), true);
        tell_job(job, std::exchange(consumed, {}));
      }
      effects = results->take();
    }
    auto effect = std::move(effects.front());
    effects.pop_front();
    if (auto* end = std::get_if<job::finished>(&effect)) return keep(end->kept);
    if (auto* end = std::get_if<job::failed>(&effect)) {
      keep(end->kept);
      if (end->cause) throw failure(std::move(end->why), std::move(*end->cause));
      throw failure(std::move(end->why));
    }
    auto& result = std::get<job::result_ready>(effect);
    ready[result.partition] = std::move(result.refs);
    for (auto at = ready.find(next); at != ready.end() && !enough; at = ready.find(next)) {
      for (const auto& ref : at->second) taken += ref.info.bytes;
      if (taken > options_.max_result) {
        tell_job(job, job::cancel{"its result is too large"});
        throw failure(error{
            errc::over_limit,
            fmt::format("the result has at least {} bytes (partitions 0 to {} of {}), and a driver takes at most {}",
                        taken, next, graph.stages.back().partitions, options_.max_result),
            graph.label, "raise --max-result, or reduce before the action"});
      }
      std::vector<data::block_ref> missing;
      auto blocks = home_.fetch(at->second, cancelled_, nullptr, &missing);
      if (!blocks) {
        for (const auto& ref : at->second) taken -= ref.info.bytes;
        ready.erase(at);
        if (missing.empty()) break;  // cancelled: the job says so
        tell_job(job, job::blocks_missing{std::move(missing), blocks.error().message()});
        break;
      }
      bool more = false;
      try {
        more = take(next, *blocks);
      } catch (...) {
        tell_job(job, job::cancel{"the sink of its result failed"});
        throw;
      }
      ready.erase(at);
      consumed.push_back(job::result_consumed{next++});
      if (!more) {
        enough = true;
        consumed.push_back(job::enough{});
      }
    }
  }
}

exec::argument driver::keep(byte_buffer bytes) {
  exec::argument kept;
  if (bytes.size() <= exec::inline_argument_limit) {
    kept.bytes = std::move(bytes);
    return kept;
  }
  data::block_ref ref;
  ref.info.id = data::block_id::content(content_hash(bytes));
  ref.info.bytes = bytes.size();
  ref.at = self();
  kept.kept = value_or_throw(store_->hold(ref.info.id, block_of_bytes(std::move(bytes))));
  kept.block = ref;
  return kept;
}

void driver::forget(std::uint64_t keep_as) {
  job::kept_output output;
  {
    std::lock_guard lock(mutex_);
    const auto at = kept_.find(keep_as);
    if (at == kept_.end()) return;
    output = std::move(at->second);
    kept_.erase(at);
  }
  for (const auto& partition : output.partitions) drop(partition);
}

void driver::drop(const std::vector<data::block_ref>& refs) {
  std::map<boot_id, std::pair<data::process_ref, exec::drop_blocks>> elsewhere;
  for (const auto& ref : refs) {
    if (ref.at.boot == home_.boot()) {
      store_->drop(ref.info.id);
    } else {
      auto& [at, blocks] = elsewhere[ref.at.boot];
      at = ref.at;
      blocks.blocks.push_back(ref.info.id);
    }
  }
  for (auto& [boot, what] : elsewhere) links_->send(what.first, {std::move(what.second)});
}

void driver::copy(job_handle job, job::copy_blocks what) {
  {
    std::lock_guard lock(mutex_);
    fetches_.push_back([this, job = std::move(job), what = std::move(what)] {
      job::blocks_copied answer{what.stage, what.partition, what.attempt, {}};
      auto blocks = home_.fetch(what.refs, cancelled_, nullptr, nullptr);
      if (!blocks) {
        answer.copies = unexpected(std::move(blocks.error()));
      } else {
        std::vector<data::block_ref> copies = what.refs;
        for (std::size_t i = 0; i < copies.size(); ++i) {
          copies[i].at = self();
          if (auto kept = store_->put(copies[i].info.id, (*blocks)[i]); !kept) {
            answer.copies = unexpected(std::move(kept.error()));
            break;
          }
        }
        if (answer.copies) answer.copies = std::move(copies);
      }
      tell_job(job, std::move(answer));
    });
  }
  changed_.notify_all();
}

void driver::fetch_work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return fetch_stop_ || !fetches_.empty(); });
    if (fetch_stop_) return;
    auto work = std::move(fetches_.front());
    fetches_.pop_front();
    lock.unlock();
    work();
    lock.lock();
  }
}

}  // namespace hydrogen::actors
