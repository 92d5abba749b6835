#include <hydrogen/base/clock.hpp>
#include <hydrogen/base/log.hpp>
#include <hydrogen/exec/perform_task.hpp>
#include <hydrogen/exec/registry.hpp>

#include <cxxabi.h>
#include <spdlog/fmt/compile.h>
#include <spdlog/fmt/fmt.h>
#include <unistd.h>

#include <utility>

namespace hydrogen::exec {
namespace {

constexpr std::uint64_t portion_bytes = 8 << 20;
constexpr std::size_t portion_blocks = 64;
constexpr std::size_t kept_lines = 20;

/// The end of the chain: names blocks, and keeps them in the store, unless all of them together are so small that they
/// travel with the answer.
class named_output final : public block_output {
 public:
  named_output(const task& what, task_environment& environment) : what_(what), environment_(environment) {}

  void put(data::block_ptr block, std::uint32_t bucket) override {
    const auto& id = what_.id;
    if (made.size() >= (1u << 20) || id.attempt >= (1u << 12)) {
      throw failure({errc::over_limit,
                     "a task made more than 1048576 blocks, or was tried more than 4096 times",
                     {},
                     "use more partitions"});
    }
    const auto name = data::block_id::output(id.run, id.job, id.stage, id.partition, id.attempt,
                                             static_cast<std::uint32_t>(made.size()));
    bytes_ += block->bytes.size();
    made.push_back(
        {name, block->rows, block->bytes.size(), block->type_code, block->rows_are, bucket, std::move(block)});
    if (made.size() <= most_with_answer && bytes_ <= what_.answer_with) return;
    for (; stored_ < made.size(); ++stored_) {
      auto& info = made[stored_];
      value_or_throw(environment_.store.put(info.id, std::exchange(info.here, nullptr)));
    }
  }
  std::vector<data::block_info> made;

 private:
  static constexpr std::size_t most_with_answer = 16;  // blocks
  const task& what_;
  task_environment& environment_;
  std::uint64_t bytes_ = 0;
  std::size_t stored_ = 0;  // of `made`
};

/// Between two operators of a stage.
class relay final : public block_output {
 public:
  void put(data::block_ptr block, std::uint32_t) override { next->block(block); }
  bool wants_more() const override { return next->wants_more(); }
  operator_body* next = nullptr;
};

/// Inputs that could not be had.
struct lost_inputs {
  error why;
  std::vector<data::block_ref> which;
};

class runner {
 public:
  runner(const task& what, task_environment& environment)
      : what_(what), environment_(environment), out_(what, environment) {}

  std::vector<data::block_info> run() {
    if (what_.chain.empty()) throw failure({errc::internal, "a task without operators", what_.label, {}});
    const auto partition_argument = bytes_of(what_.partition_argument);
    std::vector<relay> relays(what_.chain.size() - 1);
    std::vector<operator_site> sites;
    sites.reserve(what_.chain.size());
    std::vector<std::unique_ptr<operator_body>> bodies(what_.chain.size());
    for (auto i = what_.chain.size(); i-- > 0;) {
      const auto* descriptor = value_or_throw(operator_registry::instance().find(what_.chain[i].op));
      block_output& out = i + 1 < what_.chain.size() ? static_cast<block_output&>(relays[i]) : out_;
      sites.push_back({what_, environment_, bytes_of(what_.chain[i].parameters), partition_argument, out});
      bodies[i] = descriptor->make(sites.back());
      if (i > 0) relays[i - 1].next = bodies[i].get();
    }
    for (const auto& input : what_.inputs) feed(input, *bodies.front());
    for (auto& body : bodies) {
      body->finish();
      body.reset();  // its memory goes before the next one works
    }
    if (environment_.abort.is_set()) throw failure(environment_.abort.reason());
    return std::move(out_.made);
  }

  void drop_outputs() {
    for (const auto& b : out_.made) {
      if (!b.here) environment_.store.drop(b.id);
    }
  }

 private:
  byte_view bytes_of(const argument& a) {
    if (!a.block) return a.bytes;
    kept_.push_back(fetch(std::span(&*a.block, 1)).front());
    return kept_.back()->bytes;
  }

  std::vector<data::block_ptr> fetch(std::span<const data::block_ref> portion) {
    if (environment_.abort.is_set()) throw failure(environment_.abort.reason());
    auto blocks = environment_.fetch(portion);
    if (blocks && blocks->size() == portion.size()) return std::move(*blocks);
    if (environment_.abort.is_set()) throw failure(environment_.abort.reason());
    if (blocks)
      throw failure({errc::internal,
                     "fetched " + std::to_string(blocks->size()) + " blocks of " + std::to_string(portion.size()),
                     what_.label,
                     {}});
    throw lost_inputs{std::move(blocks.error()), {portion.begin(), portion.end()}};
  }

  void feed(std::span<const data::block_ref> input, operator_body& body) {
    while (!input.empty() && body.wants_more()) {
      std::size_t n = 0;
      std::uint64_t bytes = 0;
      while (n < input.size() && n < portion_blocks && (n == 0 || bytes + input[n].info.bytes <= portion_bytes) &&
             input[n].at == input[0].at) {
        bytes += input[n++].info.bytes;
      }
      auto blocks = fetch(input.first(n));
      for (auto& b : blocks) {
        if (!body.wants_more()) return;
        body.block(b);
        b.reset();
      }
      input = input.subspan(n);
    }
  }

  const task& what_;
  task_environment& environment_;
  named_output out_;
  std::vector<data::block_ptr> kept_;
};

std::string host_name(const task_environment& environment) {
  if (!environment.host.empty()) return environment.host;
  char name[256] = "";
  gethostname(name, sizeof name - 1);
  return name;
}

/// For messages of devices.
std::string owner_of(const task& what) {
  return fmt::format("{} {} of {}", what.rank ? "rank" : "partition", what.id.partition, what.label);
}

error from_exception(const std::exception& e) {
  return {errc::task_failed, demangled(typeid(e).name()) + ": " + e.what(), {}, {}};
}

}  // namespace

std::variant<task_done, task_failed> perform_task(const task& what, task_environment& environment) {
  const auto begin = now();
  // Made at once, not when a line needs it: a signal handler may ask for it.
  auto text = what.rank ? fmt::format(FMT_COMPILE("task={} rank={} gang attempt={}"), to_string(what.id),
                                      what.id.partition, what.rank->gang_try)
                        : "task=" + to_string(what.id);
  log_scope scope(std::move(text), kept_lines);
  runner run(what, environment);
  error why;

  std::vector<data::block_ref> missing;
  try {
    // They are gone, and their work with them, before the answer is given.
    task_devices devices(
        environment.devices, [&what] { return owner_of(what); }, environment.abort);
    const current_devices current(devices);
    auto made = run.run();
    return task_done{what.id, what.request, what.attempt, environment.self, std::move(made), now() - begin};
  } catch (lost_inputs& lost) {
    why = std::move(lost.why);
    missing = std::move(lost.which);
  } catch (const failure& f) {
    why = f.reason();
  } catch (const std::bad_alloc&) {
    why = {errc::over_limit, "out of memory", {}, "use more partitions"};
  } catch (const std::exception& e) {
    why = from_exception(e);
  } catch (...) {
    const auto* type = abi::__cxa_current_exception_type();
    why = {errc::task_failed,
           "an exception of type " + (type != nullptr ? demangled(type->name()) : std::string("unknown")),
           {},
           {}};
  }
  run.drop_outputs();
  task_failure failed{std::move(why),    what.label,
                      what.id.partition, what.rank ? static_cast<std::int32_t>(what.id.partition) : -1,
                      what.id.attempt,   host_name(environment),
                      scope.last_lines()};
  return task_failed{what.id, what.request, what.attempt, environment.self.boot, std::move(failed), std::move(missing)};
}

}  // namespace hydrogen::exec
