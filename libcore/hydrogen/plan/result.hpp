#pragma once
// The parts of pipelines that do not depend on the types of rows. Driver thread.

#include <hydrogen/plan/node.hpp>

#include <array>
#include <source_location>

namespace hydrogen::exec {
struct operator_descriptor;
}

namespace hydrogen::plan {

/// Counts what an action brings to the driver; throws when it is above the limit.
class result_reader {
 public:
  result_reader(std::uint64_t limit, std::string label) : limit_(limit), label_(std::move(label)) {}
  void add(const data::block& b);

 private:
  std::uint64_t limit_;
  std::uint64_t bytes_ = 0;
  std::string label_;
};

/// Cuts the graph and runs it.
void run_job(const node& last, std::string label, const session::sink& sink);

node_ptr make_node(const origin_ptr& from, const std::string& label, const exec::operator_descriptor* descriptor,
                   const std::vector<std::shared_ptr<const byte_buffer>>& parameters, std::uint32_t buckets,
                   std::shared_ptr<kept_outputs> kept);

/// Throws when an action that needs a row got none.
void require_rows(bool none, const char* action, const std::source_location& at);
/// Throws on a number of ranks or partitions that cannot be meant.
void check_ranks(const barrier_options& options);
/// Throws `failure` (bad_input) for a demand that makes no sense for tasks of parallel stages.
void check_needs(const demand&);
std::uint32_t check_partitions(std::uint32_t count);

/// Bounds of the parts of [0, 1) with these weights; throws on weights that are negative, not finite or all 0.
struct bounds_of_split {
  std::vector<double> bounds;
  template <std::size_t N>
  std::array<double, N> as() const {
    std::array<double, N> a{};
    std::copy(bounds.begin(), bounds.end(), a.begin());
    return a;
  }
};
bounds_of_split split_bounds(const double* weights, std::size_t n);

}  // namespace hydrogen::plan
