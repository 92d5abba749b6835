#include <hydrogen/comm/collective/gather.hpp>
#include <hydrogen/comm/group.hpp>

namespace hydrogen::comm {
namespace {

unexpected bad_call(const call_plan& plan, std::string what) {
  return fail(errc::bad_input, std::move(what), plan.text());
}

expected<void> check_size(const call_plan& plan, std::size_t bytes) {
  if (bytes <= max_contribution) return {};
  return fail(
      errc::over_limit,
      "a contribution of " + std::to_string(bytes) + " bytes is above the limit of " + std::to_string(max_contribution),
      plan.text(), "send it in parts");
}

}  // namespace

template <class T>
expected<T> group::kept(expected<T> result) {
  if (!result) broken_ = result.error();
  return result;
}

expected<void> group::await_start(const start_limits& limits, abort_word& abort) {
  return kept(area_ ? area_->await_start(rank_, limits, abort) : gate_->wait(limits, abort));
}

std::function<void()> group::opener() const {
  return [area = area_, gate = gate_] { area ? area->open() : gate->open(); };
}

expected<void> group::barrier(call_options options) {
  if (broken_.code != errc::none) return unexpected(broken_);
  if (!engine_) return {};
  return kept(engine_->barrier(make_plan(operation::barrier, options.site), options.timeout));
}

expected<void> group::reduce(element kind, std::byte* data, std::size_t count, reduction how,
                             const call_options& options) {
  const auto plan = make_plan(operation::all_reduce, options.site, kind, count, how);
  if (how > reduction::mean) return bad_call(plan, "unknown reduction");
  if (how == reduction::mean && kind == element::int64) {
    return fail(errc::bad_input, "the mean of integers is not an integer", plan.text(), "use double, or sum");
  }
  if (broken_.code != errc::none) return unexpected(broken_);
  if (!engine_) return {};
  return kept(engine_->all_reduce(plan, data, options.timeout));
}

expected<void> group::all_reduce(std::span<float> x, reduction how, call_options options) {
  return reduce(element::float32, reinterpret_cast<std::byte*>(x.data()), x.size(), how, options);
}
expected<void> group::all_reduce(std::span<double> x, reduction how, call_options options) {
  return reduce(element::float64, reinterpret_cast<std::byte*>(x.data()), x.size(), how, options);
}
expected<void> group::all_reduce(std::span<std::int64_t> x, reduction how, call_options options) {
  return reduce(element::int64, reinterpret_cast<std::byte*>(x.data()), x.size(), how, options);
}

expected<std::vector<byte_buffer>> group::all_gather(byte_view mine, call_options options) {
  const auto plan = make_plan(operation::all_gather, options.site);
  if (auto ok = check_size(plan, mine.size()); !ok) return unexpected(std::move(ok.error()));
  if (broken_.code != errc::none) return unexpected(broken_);
  if (!engine_) return std::vector<byte_buffer>{{mine.begin(), mine.end()}};
  return kept(engine_->all_gather(plan, mine, options.timeout));
}

expected<void> group::broadcast(std::uint32_t root, byte_buffer& bytes, call_options options) {
  const auto plan = make_plan(operation::broadcast, options.site, element::none, 0, reduction::sum, root);
  if (root >= size_) return bad_call(plan, "the gang has " + std::to_string(size_) + " ranks");
  if (rank_ == root) {
    if (auto ok = check_size(plan, bytes.size()); !ok) return ok;
  }
  if (broken_.code != errc::none) return unexpected(broken_);
  if (!engine_) return {};
  return kept(engine_->broadcast(plan, bytes, options.timeout));
}

}  // namespace hydrogen::comm
