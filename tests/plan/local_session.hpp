#pragma once
// A session for tests: runs each task by perform_task over one block store. Parallel stages run in the calling thread,
// or on `threads` of them; ranks of a barrier stage run on threads of their own and meet through a real comm::group.
// Tasks travel as bytes, so that whatever cannot be encoded is found here.

#include <hydrogen/comm/rendezvous.hpp>
#include <hydrogen/exec/perform_task.hpp>
#include <hydrogen/exec/registry.hpp>
#include <hydrogen/plan/context.hpp>

#include <atomic>
#include <map>
#include <thread>

namespace hydrogen::tests {

class local_session final : public plan::session {
 public:
  explicit local_session(std::uint64_t budget = std::uint64_t{8} << 30) : store(budget) {}

  run_id run() const override { return run_; }
  hash128 library() const override { return exec::bind_program(); }
  std::uint64_t max_result() const override { return result_limit; }
  void forget(std::uint64_t keep_as) override {
    forgotten.push_back(keep_as);
    kept_.erase(keep_as);
  }
  exec::argument keep(byte_buffer bytes) override {
    if (bytes.size() <= exec::inline_argument_limit) return {std::move(bytes), {}};
    ++kept_arguments;
    data::block_ref ref;
    ref.info.id = data::block_id::content(content_hash(bytes));
    ref.info.bytes = bytes.size();
    value_or_throw(store.put(ref.info.id, data::copy_to_block(bytes, 0, 0, data::layout::encoded)));
    return {{}, ref};
  }

  void execute(const plan::job_graph& graph, const sink& sink) override {
    last_graph = graph;
    const auto job = ++jobs;
    const auto needed = stages_to_run(graph);
    std::vector<outputs> made(graph.stages.size());
    std::vector<data::block_id> temporary;
    for (std::uint32_t s = 0; s < graph.stages.size(); ++s) {
      const auto& stage = graph.stages[s];
      if (const auto found = kept_.find(stage.keep_as); stage.keep_as != 0 && found != kept_.end()) {
        made[s] = found->second;
        continue;
      }
      if (!needed[s]) continue;
      const auto gang = stage.kind == plan::stage_kind::barrier;
      const auto width =
          gang && slots != 0 ? std::clamp(slots, stage.least_ranks(), stage.partitions) : stage.partitions;
      std::vector<exec::task> tasks;
      for (std::uint32_t i = 0; i < width; ++i) tasks.push_back(task_of(graph, job, s, i, width, made));
      made[s] = gang ? run_gang(tasks) : run_parallel(tasks);
      made[s].resize(stage.partitions);
      if (stage.keep_as != 0)
        kept_[stage.keep_as] = made[s];
      else {
        for (const auto& partition : made[s]) {
          for (const auto& b : partition) temporary.push_back(b.info.id);
        }
      }
    }
    for (std::uint32_t i = 0; i < made.back().size(); ++i) {
      std::vector<data::block_ptr> blocks;
      for (const auto& b : made.back()[i]) blocks.push_back(store.get(b.info.id));
      if (!sink(i, blocks)) break;
    }
    for (const auto& id : temporary) store.drop(id);
  }

  data::block_store store;
  std::uint64_t result_limit = std::uint64_t{4} << 30;
  std::size_t block_bytes = data::default_block_bytes;
  unsigned threads = 1;
  std::uint32_t slots = 0;  // free when a gang starts; 0: as many as it wants
  std::string storage_dir;
  std::optional<exec::restore_point> restore;
  plan::job_graph last_graph;
  std::uint32_t jobs = 0;
  std::uint32_t tasks_run = 0;
  std::uint32_t gangs_run = 0;
  std::uint32_t kept_arguments = 0;
  std::vector<std::uint64_t> forgotten;
  std::mutex mutex;
  std::vector<exec::checkpointed> checkpoints;
  exec::known_steps known;  // what ranks are told

 private:
  using outputs = std::vector<std::vector<data::block_ref>>;  // by partition

  std::vector<bool> stages_to_run(const plan::job_graph& graph) const {
    std::vector<bool> needed(graph.stages.size(), false);
    needed.back() = true;
    for (auto s = graph.stages.size(); s-- > 0;) {
      if (!needed[s] || kept_.contains(graph.stages[s].keep_as)) continue;
      for (const auto& in : graph.stages[s].inputs) needed[in.producer] = true;
    }
    return needed;
  }

  exec::task task_of(const plan::job_graph& graph, std::uint32_t job, std::uint32_t s, std::uint32_t i,
                     std::uint32_t width, const std::vector<outputs>& made) {
    const auto& stage = graph.stages[s];
    exec::task t;
    t.id = {run_, job, s, i, 0};
    t.request = {run_, job, s, 0};
    t.attempt = {{1}, ++attempts_};
    t.label = stage.label;
    t.chain = stage.chain;
    if (!stage.partition_arguments.empty()) t.partition_argument = stage.partition_arguments[i];
    t.buckets = stage.buckets;
    t.storage_dir = storage_dir;
    for (const auto& in : stage.inputs) {
      auto& list = t.inputs.emplace_back();
      const auto p = static_cast<std::uint32_t>(made[in.producer].size());
      const auto range = in.kind == plan::input_kind::range ? plan::range_of(i, width, p) : plan::partition_range{0, p};
      for (auto k = range.first; k < range.last; ++k) {
        for (const auto& b : made[in.producer][k]) {
          if (in.kind != plan::input_kind::bucket || b.info.bucket == i) list.push_back(b);
        }
      }
    }
    if (stage.kind == plan::stage_kind::barrier) {
      t.attempt = {{1}, 1000 + job};
      t.rank = exec::rank_part{width, 0, restore, stage.barrier.call_timeout};
    }
    return value_or_throw(decode<exec::task>(encode(t)));
  }

  exec::task_environment environment(abort_word& abort, comm::group* gang) {
    return {store,
            [this](std::span<const data::block_ref> refs) -> expected<std::vector<data::block_ptr>> {
              std::vector<data::block_ptr> out;
              for (const auto& r : refs) {
                out.push_back(store.get(r.info.id));
                if (!out.back()) return fail(errc::not_found, "block " + to_string(r.info.id) + " is not here");
              }
              return out;
            },
            gang,
            abort,
            [this](const exec::checkpointed& c) -> expected<void> {
              std::lock_guard lock(mutex);
              checkpoints.push_back(c);
              return {};
            },
            [this] { return known; },
            {},
            "here",
            block_bytes};
  }

  std::vector<data::block_ref> result_of(std::variant<exec::task_done, exec::task_failed> end) {
    if (auto* failed = std::get_if<exec::task_failed>(&end)) {
      throw failure({errc::task_failed, "the job failed", last_graph.label, {}}, failed->why);
    }
    std::vector<data::block_ref> refs;
    for (const auto& b : std::get<exec::task_done>(end).outputs) refs.push_back({b, {}});
    return refs;
  }

  outputs run_parallel(const std::vector<exec::task>& tasks) {
    std::vector<std::optional<std::variant<exec::task_done, exec::task_failed>>> ends(tasks.size());
    std::atomic<std::size_t> next{0};
    const auto work = [&] {
      abort_word abort;
      auto lent = environment(abort, nullptr);
      for (std::size_t i; (i = next++) < tasks.size();) ends[i] = exec::perform_task(tasks[i], lent);
    };
    std::vector<std::jthread> others;
    for (unsigned k = 1; k < threads; ++k) others.emplace_back(work);
    work();
    others.clear();
    outputs out;
    for (auto& e : ends) out.push_back(result_of(std::move(*e)));
    tasks_run += static_cast<std::uint32_t>(tasks.size());
    return out;
  }

  outputs run_gang(const std::vector<exec::task>& tasks) {
    ++gangs_run;
    comm::rendezvous meeting{std::nullopt};
    const auto size = static_cast<std::uint32_t>(tasks.size());
    std::vector<comm::gang_member> members;
    for (std::uint32_t r = 0; r < size; ++r) members.push_back({r, {1}, {}, "here"});
    abort_word abort;
    std::vector<std::optional<std::variant<exec::task_done, exec::task_failed>>> ends(size);
    {
      std::vector<std::jthread> ranks;
      for (std::uint32_t r = 0; r < size; ++r) {
        ranks.emplace_back([&, r] {
          auto gang = meeting.join({tasks[r].request, tasks[r].attempt}, r, members, abort, now() + 30s);
          if (!gang) {
            ends[r] = exec::task_failed{
                tasks[r].id, {}, {}, {}, {gang.error(), {}, r, static_cast<std::int32_t>(r), 0, {}, {}}, {}};
            return;
          }
          auto lent = environment(abort, gang->get());
          ends[r] = exec::perform_task(tasks[r], lent);
        });
      }
    }
    // The rank that failed first, not those that only saw it leave.
    for (auto& e : ends) {
      const auto* f = std::get_if<exec::task_failed>(&*e);
      if (f != nullptr && f->why.cause.code != errc::disconnected) result_of(std::move(*e));
    }
    outputs out;
    for (auto& e : ends) out.push_back(result_of(std::move(*e)));
    tasks_run += size;
    return out;
  }

  run_id run_ = make_run_id();
  std::uint64_t attempts_ = 0;
  std::map<std::uint64_t, outputs> kept_;
};

}  // namespace hydrogen::tests
