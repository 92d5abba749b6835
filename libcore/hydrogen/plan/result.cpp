#include <hydrogen/exec/registry.hpp>
#include <hydrogen/plan/pipeline.hpp>
#include <hydrogen/plan/result.hpp>

#include <cmath>
#include <filesystem>

namespace hydrogen::plan {

namespace plan_detail {

byte_buffer flatten(const parameter_list& list) {
  byte_buffer all;
  for (const auto& piece : list) all.insert(all.end(), piece->begin(), piece->end());
  return all;
}

}  // namespace plan_detail

namespace {
std::string place(const std::source_location& at) {
  return at.line() == 0 ? ""
                        : std::filesystem::path(at.file_name()).filename().string() + ":" + std::to_string(at.line());
}
}  // namespace

std::string label_at(const char* action, const call_site& at) {
  const auto where = place(at);
  return where.empty() ? action : std::string(action) + " at " + where;
}

void result_reader::add(const data::block& b) {
  bytes_ += b.bytes.size();
  if (bytes_ > limit_) {
    throw failure(
        {errc::over_limit,
         "the result has " + std::to_string(bytes_) + " bytes so far, " + std::to_string(limit_) + " is the limit",
         label_, "raise --max-result, or reduce, filter or take before"});
  }
}

void run_job(const node& last, std::string label, const session::sink& sink) {
  last.from->engine_of->get().execute(cut(last, std::move(label)), sink);
}

node_ptr make_node(const origin_ptr& from, const std::string& label, const exec::operator_descriptor* descriptor,
                   const std::vector<std::shared_ptr<const byte_buffer>>& parameters, std::uint32_t buckets,
                   std::shared_ptr<kept_outputs> kept) {
  const auto id = value_or_throw(exec::operator_registry::instance().id_of(descriptor));
  const auto application = from->engine_of->get().library();
  if (id.library != application) {
    throw failure({errc::refused,
                   "an operator comes from library " + to_string(id.library) + ", the application of this session is " +
                       to_string(application),
                   label, "all dataset calls of a run must be compiled into the application's library"});
  }
  node n;
  n.from = from;
  n.label = label.empty() ? "rows" : label;
  n.call = {id, from->engine_of->argument(plan_detail::flatten(parameters))};
  n.buckets = buckets;
  n.kept = std::move(kept);
  return std::make_shared<const node>(std::move(n));
}

void require_rows(bool none, const char* action, const std::source_location& at) {
  if (none) throw failure({errc::bad_input, std::string(action) + " of a dataset without rows", place(at), {}});
}

void check_ranks(const barrier_options& options) {
  if (options.ranks == 0) throw failure({errc::bad_input, "a gang of 0 ranks", "barrier", "set .ranks to 1 or more"});
  if (options.least_ranks > options.ranks) {
    throw failure({errc::bad_input,
                   "a gang of at least " + std::to_string(options.least_ranks) + " ranks and at most " +
                       std::to_string(options.ranks),
                   "barrier", "set .least_ranks to .ranks or less, or leave it out for exactly .ranks"});
  }
  if (auto why = problem_of(options.needs); !why.empty())
    throw failure({errc::bad_input, std::move(why), "barrier", {}});
}

void check_needs(const demand& what) {
  auto why = problem_of(what);
  if (why.empty() && what.how != placement::pack) why = "only the ranks of a gang can be placed";
  if (!why.empty()) throw failure({errc::bad_input, std::move(why), "needs", {}});
}

std::uint32_t check_partitions(std::uint32_t count) {
  constexpr std::uint32_t most = 1 << 16;
  if (count == 0 || count > most) {
    throw failure({errc::bad_input, std::to_string(count) + " partitions", "reduce_by_key",
                   "1 to " + std::to_string(most) + " are possible"});
  }
  return count;
}

bounds_of_split split_bounds(const double* weights, std::size_t n) {
  double total = 0;
  for (std::size_t i = 0; i < n; ++i) {
    if (!std::isfinite(weights[i]) || weights[i] < 0)
      throw failure({errc::bad_input, "a weight of " + std::to_string(weights[i]), "split", "weights are 0 or more"});
    total += weights[i];
  }
  if (total <= 0) throw failure({errc::bad_input, "all weights are 0", "split", "give at least one above 0"});
  bounds_of_split out;
  double sum = 0;
  out.bounds.push_back(0);
  for (std::size_t i = 0; i < n; ++i) out.bounds.push_back((sum += weights[i]) / total);
  // What is left of the interval by rounding belongs to the last part that has a weight.
  for (std::size_t i = n; i > 0 && out.bounds[i] >= out.bounds[n]; --i) out.bounds[i] = 1;
  return out;
}

}  // namespace hydrogen::plan
