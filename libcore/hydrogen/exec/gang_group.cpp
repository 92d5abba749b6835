#include <hydrogen/comm/gradient_exchange.hpp>
#include <hydrogen/exec/gang_group.hpp>

#include <algorithm>
#include <cstring>

namespace hydrogen::exec {
namespace {

using barrier_detail::numbers;
using comm::element;

/// Calls `f` with a span of the type of the part.
template <class F>
auto with_span(const numbers::part& x, F f) {
  const auto span = [&]<class T>(T*) { return f(std::span<T>(reinterpret_cast<T*>(x.data), x.count)); };
  switch (x.kind) {
    case element::float32:
      return span(static_cast<float*>(nullptr));
    case element::float64:
      return span(static_cast<double*>(nullptr));
    case element::int64:
      return span(static_cast<std::int64_t*>(nullptr));
    case element::int32:
      return span(static_cast<std::int32_t*>(nullptr));
    case element::float16:
      return span(static_cast<half*>(nullptr));
    case element::bfloat16:
      return span(static_cast<bfloat16*>(nullptr));
    case element::none:
      break;
  }
  broken_invariant("numbers without a type");
}

/// One call for each type of number, for all fields of it: small fields cost a call each otherwise.
void by_type(const numbers& all, const std::function<void(const numbers::part&)>& call) {
  for (const auto kind :
       {element::float32, element::float64, element::int64, element::int32, element::float16, element::bfloat16}) {
    const auto width = comm::size_of(kind);
    numbers::part together{kind, nullptr, 0};
    std::size_t fields = 0;
    for (const auto& p : all.parts) {
      if (p.kind != kind) continue;
      ++fields;
      together.data = p.data;
      together.count += p.count;
    }
    if (fields == 0) continue;
    if (fields == 1) {
      call(together);
      continue;
    }
    byte_buffer copy(together.count * width);
    together.data = copy.data();
    const auto for_each_field = [&](const auto& f) {
      auto* at = copy.data();
      for (const auto& p : all.parts) {
        if (p.kind != kind || p.count == 0) continue;
        f(p, at);
        at += p.count * width;
      }
    };
    for_each_field([&](const numbers::part& p, std::byte* at) { std::memcpy(at, p.data, p.count * width); });
    call(together);
    for_each_field([&](const numbers::part& p, const std::byte* at) { std::memcpy(p.data, at, p.count * width); });
  }
}

std::vector<byte_view> views_of(const std::vector<byte_buffer>& parts) {
  return {parts.begin(), parts.end()};
}

}  // namespace

gang_group::gang_group(comm::group& gang, std::chrono::nanoseconds timeout) : group_(&gang), timeout_(timeout) {}
gang_group::gang_group(std::unique_ptr<comm::group> own, std::chrono::nanoseconds timeout)
    : group_(own.get()), timeout_(timeout), own_(std::move(own)) {}
gang_group::gang_group(gang_group&&) noexcept = default;
gang_group::~gang_group() = default;

std::uint32_t gang_group::rank() const {
  return group_->rank();
}
std::uint32_t gang_group::size() const {
  return group_->size();
}

gang_group gang_group::group(const std::vector<std::uint32_t>& ranks, site at) {
  return gang_group(value_or_throw(group_->subgroup(ranks, {at, timeout_})), timeout_);
}

std::shared_ptr<std::byte> gang_group::memory(std::size_t bytes, const site& at) {
  return value_or_throw(group_->memory(bytes, {at, timeout_}));
}

void gang_group::barrier(site at) {
  value_or_throw(group_->barrier({at, timeout_}));
}

void gang_group::reduce_to_all(const numbers& all, comm::reduction how, const site& at, comm::algorithm by) {
  by_type(all, [&](const part& p) {
    value_or_throw(with_span(p, [&](auto x) { return group_->all_reduce(x, how, {at, timeout_, by}); }));
  });
}

void gang_group::reduce_to_root(const numbers& all, std::uint32_t root, comm::reduction how, const site& at) {
  by_type(all, [&](const part& p) {
    value_or_throw(with_span(p, [&](auto x) { return group_->reduce(root, x, how, {at, timeout_}); }));
  });
}

void gang_group::reduce_shares(const part& p, comm::reduction how, const site& at) {
  value_or_throw(with_span(p, [&](auto x) { return group_->reduce_scatter(x, how, {at, timeout_}); }));
}

void gang_group::gather_shares(const part& p, const site& at) {
  value_or_throw(with_span(p, [&](auto x) { return group_->all_gather(x, {at, timeout_}); }));
}

void gang_group::broadcast_numbers(const part& p, std::uint32_t root, const site& at) {
  value_or_throw(with_span(p, [&](auto x) { return group_->broadcast(root, x, {at, timeout_}); }));
}

pending_call gang_group::reduce_later(const part& p, comm::reduction how, const site& at) {
  return pending_call(with_span(p, [&](auto x) { return group_->all_reduce_async(x, how, {at, timeout_}); }));
}

std::vector<byte_buffer> gang_group::gather_bytes(byte_view mine, const site& at) {
  return value_or_throw(group_->all_gather(mine, {at, timeout_}));
}

std::vector<byte_buffer> gang_group::gather_bytes_at(std::uint32_t root, byte_view mine, const site& at) {
  return value_or_throw(group_->gather(root, mine, {at, timeout_}));
}

void gang_group::send_from(std::uint32_t root, byte_buffer& bytes, const site& at) {
  value_or_throw(group_->broadcast(root, bytes, {at, timeout_}));
}

byte_buffer gang_group::scatter_bytes(std::uint32_t root, const std::vector<byte_buffer>& parts, const site& at) {
  return value_or_throw(group_->scatter(root, views_of(parts), {at, timeout_}));
}

std::vector<byte_buffer> gang_group::exchange_bytes(const std::vector<byte_buffer>& parts, const site& at) {
  return value_or_throw(group_->all_to_all(views_of(parts), {at, timeout_}));
}

void gang_group::send_bytes(std::uint32_t to, byte_view bytes, const site& at) {
  value_or_throw(group_->send(to, bytes, {at, timeout_}));
}

byte_buffer gang_group::receive_bytes(std::uint32_t from, const site& at) {
  return value_or_throw(group_->receive(from, {at, timeout_}));
}

gradient_exchange gang_group::gradients(const std::vector<std::size_t>& sizes, comm::gradient_options options,
                                        site at) {
  return gradient_exchange(std::make_unique<comm::gradient_exchange>(
      value_or_throw(comm::gradient_exchange::make(*group_, sizes, options, {at, timeout_}))));
}

gradient_exchange::gradient_exchange(std::unique_ptr<comm::gradient_exchange> made) : made_(std::move(made)) {}
gradient_exchange::gradient_exchange(gradient_exchange&&) noexcept = default;
gradient_exchange::~gradient_exchange() = default;

std::size_t gradient_exchange::tensors() const {
  return made_->tensors();
}
std::span<float> gradient_exchange::gradient(std::size_t i) {
  if (i >= tensors()) throw failure({errc::bad_input, "there is no tensor " + std::to_string(i), {}, {}});
  return made_->gradient(i);
}
void gradient_exchange::ready(std::size_t i) {
  value_or_throw(made_->ready(i));
}
double gradient_exchange::finish() {
  return value_or_throw(made_->finish());
}

}  // namespace hydrogen::exec
