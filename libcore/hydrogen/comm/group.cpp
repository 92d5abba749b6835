#include <hydrogen/base/ids.hpp>
#include <hydrogen/comm/group.hpp>

#include <algorithm>
#include <cstring>
#include <map>
#include <new>

namespace hydrogen::comm {
namespace {

template <class T>
expected<T> with(expected<void> ok, T value) {
  if (!ok) return unexpected(std::move(ok.error()));
  return value;
}

}  // namespace

/// What all groups of one rank share.
struct group::gang_state {
  error broken{errc::none, {}, {}, {}};
  std::map<std::uint64_t, std::uint64_t> made;                   // subgroups, by their ranks
  std::map<std::uint64_t, std::unique_ptr<group_engine>> pairs;  // for sending and receiving
  call_queue queue;                                              // last: its calls use the rest
};

group::group(std::uint32_t rank, std::uint32_t size, std::unique_ptr<group_engine> engine)
    : rank_(rank),
      size_(size),
      state_(std::make_shared<gang_state>()),
      engine_(std::move(engine)),
      area_(engine_ ? engine_->meets_in() : nullptr),
      gate_(area_ ? nullptr : std::make_shared<start_gate>()) {}

group::group(std::uint32_t rank, std::vector<std::uint32_t> ranks, std::uint64_t key,
             std::unique_ptr<group_engine> engine, std::shared_ptr<gang_state> state)
    : rank_(rank),
      size_(static_cast<std::uint32_t>(ranks.size())),
      ranks_(std::move(ranks)),
      key_(key),
      state_(std::move(state)),
      engine_(std::move(engine)) {}

group::~group() {
  state_->queue.drain();
  // Pairs go with the gang, not with the last of its groups.
  if (key_ == 0) state_->pairs.clear();
}

template <class T>
expected<T> group::kept(expected<T> result) {
  if (!result && state_->broken.code == errc::none) {
    state_->broken = result.error();
    if (engine_) engine_->give_up(result.error());
  }
  return result;
}

expected<void> group::await_start(const start_limits& limits, abort_word& abort) {
  return kept(area_ ? area_->await_start(rank_, limits, abort) : gate_->wait(limits, abort));
}

std::function<void()> group::opener() const {
  return [area = area_, gate = gate_] { area ? area->open() : gate->open(); };
}

void group::on_start(std::function<void()> begin) const {
  area_ ? area_->on_start(std::move(begin)) : gate_->on_open(std::move(begin));
}

group::request group::plain(operation what, const call_options& options, element kind, std::size_t count, reduction how,
                            std::uint32_t root) const {
  request r;
  call_plan plan;
  plan.what = what;
  plan.kind = kind;
  plan.how = how;
  plan.root = root < size_ ? name(root) : root;
  plan.count = count;
  plan.group = key_;
  if (what == operation::all_reduce) plan.by = options.by;
  r.plan = make_plan(options.site, plan);
  r.timeout = options.timeout;
  r.root = root;
  return r;
}

group::request group::transfer(std::uint32_t from, std::uint32_t to, element kind, byte_view out, inbox in,
                               const call_options& options) const {
  request r;
  r.root = from;
  r.to = to;
  r.timeout = options.timeout;
  r.bytes = out;
  r.one = in;
  call_plan plan;
  plan.what = operation::transfer;
  plan.kind = kind;
  plan.root = from < size_ ? name(from) : from;
  plan.to = to < size_ ? name(to) : to;
  plan.count = std::max(out.size(), in.fixed.size()) / size_of(kind);
  if (kind == element::none) plan.count = 0;
  const std::uint32_t pair[] = {std::min(plan.root, plan.to), std::max(plan.root, plan.to)};
  plan.group = hash_mix(of_ranks(pair), 1) | 1;
  r.plan = make_plan(options.site, plan);
  return r;
}

expected<void> group::check(const request& r) const {
  const auto refuse = [&](std::string what, std::string hint = {}) {
    return fail(errc::bad_input, std::move(what), r.plan.text(ranks_), std::move(hint));
  };
  const bool reduces = r.plan.what == operation::all_reduce || r.plan.what == operation::reduce ||
                       r.plan.what == operation::reduce_scatter;
  if (reduces && r.plan.how > reduction::product) return refuse("unknown reduction");
  if (r.plan.by > algorithm::rotating_ring) return refuse("unknown algorithm");
  if (reduces && r.plan.how == reduction::mean && is_integer(r.plan.kind)) {
    return refuse("the mean of integers is not an integer", "use double, or sum");
  }
  const auto ranks = "the group has " + std::to_string(size_) + " ranks";
  if (r.root >= size_ || r.to >= size_) return refuse(ranks);
  if (r.plan.what == operation::transfer && r.root == r.to) return refuse("a rank cannot send to itself");
  const bool has_parts = r.plan.what == operation::all_to_all || (r.plan.what == operation::scatter && rank_ == r.root);
  if (r.parts.size() != (has_parts ? size_ : 0)) {
    return refuse(std::to_string(r.parts.size()) + " parts; " + ranks,
                  has_parts ? "pass one part for each rank" : "only the root passes parts");
  }
  std::uint64_t most = r.bytes.size();
  for (const auto& part : r.parts) most += part.size();
  if (most > max_contribution) {
    return fail(errc::over_limit,
                "a contribution of " + std::to_string(most) + " bytes is above the limit of " +
                    std::to_string(max_contribution),
                r.plan.text(ranks_), "send it in parts");
  }
  return {};
}

expected<void> group::make(const request& r) {
  if (auto ok = check(r); !ok) return ok;
  state_->queue.drain();
  return perform(r);
}

namespace {

/// On the thread that makes calls nobody else catches anything.
expected<void> guarded(const std::function<expected<void>()>& hook) try {
  return hook ? hook() : expected<void>();
} catch (const failure& f) {
  return unexpected(f.reason());
} catch (const std::bad_alloc&) {
  return fail(errc::over_limit, "no memory for what is done around a call");
} catch (const std::exception& e) {
  return fail(errc::internal, std::string("what is done around a call: ") + e.what());
}

}  // namespace

pending group::later(request r, around_call around) {
  return state_->queue.make([this, r, around = std::move(around)]() -> expected<void> {
    if (auto ok = check(r); !ok) return ok;
    // What it would wait for may never come.
    if (state_->broken.code != errc::none) return unexpected(state_->broken);
    if (auto ok = kept(guarded(around.before)); !ok) return ok;
    if (auto ok = perform(r); !ok) return ok;
    return kept(guarded(around.after));
  });
}

expected<void> group::perform(const request& r) try {
  if (state_->broken.code != errc::none) return unexpected(state_->broken);
  if (!engine_) return perform_alone(r);
  if (r.plan.what == operation::barrier) return kept(engine_->barrier(r.plan, r.timeout));
  if (r.plan.what == operation::transfer) return kept(perform_transfer(r));
  return kept(r.plan.kind != element::none ? perform_typed(r) : perform_bytes(r));
} catch (const std::bad_alloc&) {
  // The others are told: they wait, and this may be the thread for calls that are made later.
  return kept<void>(fail(errc::over_limit, "no memory for the data of this call", r.plan.text(ranks_)));
}

/// Nobody to meet: what the rank has for itself is the result.
expected<void> group::perform_alone(const request& r) {
  const auto mine = r.parts.empty() ? r.bytes : r.parts[0];
  if (r.all != nullptr) r.all->assign(1, byte_buffer(mine.begin(), mine.end()));
  if (r.plan.what == operation::scatter) r.one.growing->assign(mine.begin(), mine.end());
  return {};
}

expected<void> group::perform_typed(const request& r) {
  reducing work{r.plan.kind, r.plan.how, r.data, r.plan.count, result_to::all, r.root};
  switch (r.plan.what) {
    case operation::all_reduce:
      return engine_->reduce(r.plan, work, r.timeout);
    case operation::reduce:
      work.whom = result_to::root;
      return engine_->reduce(r.plan, work, r.timeout);
    case operation::reduce_scatter:
      work.whom = result_to::owners;
      return engine_->reduce(r.plan, work, r.timeout);
    default:
      break;
  }
  const auto width = size_of(r.plan.kind);
  std::vector<inbox> in(size_);
  byte_view mine[1];
  if (r.plan.what == operation::broadcast) {
    if (rank_ == r.root) mine[0] = {r.data, r.plan.count * width};
    if (rank_ != r.root) in[r.root].fixed = {r.data, r.plan.count * width};
  } else {
    for (std::uint32_t m = 0; m < size_; ++m) {
      const auto part = share_of(r.plan.count, m, size_);
      in[m].fixed = {r.data + part.begin * width, part.count * width};
    }
    mine[0] = in[rank_].fixed;
  }
  return engine_->pass(r.plan, mine, in, r.timeout);
}

expected<void> group::perform_bytes(const request& r) {
  std::vector<inbox> in(size_);
  byte_view single[1] = {r.bytes};
  std::span<const byte_view> out = single;
  if (!r.parts.empty()) out = r.parts;
  if (r.all != nullptr) {
    r.all->assign(size_, {});
    const auto mine = out.size() == 1 ? out[0] : out[rank_];
    (*r.all)[rank_].assign(mine.begin(), mine.end());
    for (std::uint32_t m = 0; m < size_; ++m) in[m].growing = &(*r.all)[m];
  } else if (rank_ != r.root) {
    in[r.root] = r.one;
  } else if (r.plan.what == operation::scatter) {
    r.one.growing->assign(out[rank_].begin(), out[rank_].end());
  }
  return engine_->pass(r.plan, out, in, r.timeout);
}

expected<void> group::perform_transfer(const request& r) {
  auto& pair = state_->pairs[r.plan.group];
  if (!pair) {
    const std::uint32_t members[] = {std::min(r.root, r.to), std::max(r.root, r.to)};
    auto made = engine_->split(r.plan, members, r.timeout);
    if (!made) return unexpected(std::move(made.error()));
    pair = std::move(*made);
  }
  inbox in[2];
  const byte_view out[1] = {r.bytes};
  const bool from_first = r.root < r.to;
  if (rank_ == r.to) in[from_first ? 0 : 1] = r.one;
  return pair->pass(r.plan, out, in, r.timeout);
}

expected<std::unique_ptr<group>> group::subgroup(std::span<const std::uint32_t> ranks, call_options options) {
  auto plan = plain(operation::split, options).plan;
  std::vector<std::uint32_t> names;
  for (const auto r : ranks) names.push_back(r < size_ ? name(r) : r);
  const auto refuse = [&](std::string what) {
    return fail(errc::bad_input, std::move(what), plan.text(names), "pass ranks of this group, ascending");
  };
  if (ranks.empty()) return refuse("a group without ranks");
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    if (ranks[i] >= size_) return refuse("the group has " + std::to_string(size_) + " ranks");
    if (i > 0 && ranks[i - 1] >= ranks[i]) return refuse("the ranks of a group are not ascending");
  }
  const auto self = std::find(ranks.begin(), ranks.end(), rank_);
  if (self == ranks.end()) return refuse("rank " + std::to_string(rank_) + " makes a group that it is not in");
  const auto index = static_cast<std::uint32_t>(self - ranks.begin());
  state_->queue.drain();
  if (state_->broken.code != errc::none) return unexpected(state_->broken);
  const auto known = of_ranks(names);
  // The same ranks again are another group.
  const auto key = hash_mix(known, 2 + state_->made[known]++) | 1;
  std::unique_ptr<group_engine> engine;
  if (ranks.size() > 1) {
    plan.group = key;
    plan = make_plan(options.site, plan);
    auto made = kept(engine_->split(plan, ranks, options.timeout));
    if (!made) return unexpected(std::move(made.error()));
    engine = std::move(*made);
  }
  return std::unique_ptr<group>(new group(index, std::move(names), key, std::move(engine), state_));
}

expected<std::shared_ptr<std::byte>> group::memory(std::size_t bytes, call_options options) {
  const auto r = plain(operation::buffer, options);
  if (key_ != 0) return fail(errc::bad_input, "a buffer of some ranks", r.plan.text(ranks_), "the whole gang makes it");
  if (bytes > max_buffer) {
    return fail(errc::over_limit, std::to_string(bytes) + " bytes are more than a gang buffer can have", r.plan.text());
  }
  state_->queue.drain();
  if (state_->broken.code != errc::none) return unexpected(state_->broken);
  if (!engine_) return private_memory(bytes);
  auto made = engine_->buffer(r.plan, bytes, r.timeout);
  // No room: everyone knows, and nothing is broken.
  if (!made && made.error().code == errc::over_limit) return made;
  return kept(std::move(made));
}

expected<std::shared_ptr<std::byte>> private_memory(std::size_t bytes) {
  constexpr std::align_val_t page{4096};
  auto* memory = static_cast<std::byte*>(::operator new(std::max<std::size_t>(bytes, 1), page, std::nothrow));
  if (memory == nullptr) return fail(errc::over_limit, "no memory for " + std::to_string(bytes) + " bytes");
  return std::shared_ptr<std::byte>(memory, [](std::byte* p) { ::operator delete(p, page); });
}

expected<std::shared_ptr<std::byte>> group_engine::buffer(const call_plan& plan, std::size_t bytes, duration timeout) {
  return all_or_none(*this, plan, private_memory(bytes), timeout);
}

expected<std::shared_ptr<std::byte>> all_or_none(group_engine& engine, const call_plan& plan,
                                                 expected<std::shared_ptr<std::byte>> mine, duration timeout) {
  const auto found = std::byte{mine.has_value()};
  const byte_view out[1] = {{&found, 1}};
  std::vector<std::byte> all(engine.size(), found);
  std::vector<inbox> in(all.size());
  for (std::size_t m = 0; m < all.size(); ++m) in[m].fixed = {&all[m], 1};
  if (auto ok = engine.pass(plan, out, in, timeout); !ok) return unexpected(std::move(ok.error()));
  if (!mine || std::all_of(all.begin(), all.end(), [](auto there) { return there != std::byte{0}; })) return mine;
  return fail(errc::over_limit, "another rank has no memory for its buffer", plan.text());
}

group::request group::bytes_of(operation what, std::uint32_t root, byte_view mine, std::span<const byte_view> parts,
                               byte_buffer* one, std::vector<byte_buffer>* all, const call_options& options) const {
  auto r = plain(what, options, element::none, 0, reduction::sum, root);
  r.bytes = mine;
  r.parts = parts;
  r.one.growing = one;
  // Of a gather only the root gets something.
  if (what != operation::gather || rank_ == root) r.all = all;
  return r;
}

expected<std::vector<byte_buffer>> group::all_gather(byte_view mine, call_options options) {
  std::vector<byte_buffer> all;
  auto ok = make(bytes_of(operation::all_gather, 0, mine, {}, nullptr, &all, options));
  return with(std::move(ok), std::move(all));
}
pending group::all_gather_async(byte_view mine, std::vector<byte_buffer>& all, call_options options) {
  return later(bytes_of(operation::all_gather, 0, mine, {}, nullptr, &all, options));
}

expected<std::vector<byte_buffer>> group::gather(std::uint32_t root, byte_view mine, call_options options) {
  std::vector<byte_buffer> all;
  auto ok = make(bytes_of(operation::gather, root, mine, {}, nullptr, &all, options));
  return with(std::move(ok), std::move(all));
}
pending group::gather_async(std::uint32_t root, byte_view mine, std::vector<byte_buffer>& all, call_options options) {
  return later(bytes_of(operation::gather, root, mine, {}, nullptr, &all, options));
}

expected<void> group::broadcast(std::uint32_t root, byte_buffer& bytes, call_options options) {
  return make(bytes_of(operation::broadcast, root, rank_ == root ? byte_view(bytes) : byte_view(), {}, &bytes, nullptr,
                       options));
}
pending group::broadcast_async(std::uint32_t root, byte_buffer& bytes, call_options options) {
  return later(bytes_of(operation::broadcast, root, rank_ == root ? byte_view(bytes) : byte_view(), {}, &bytes, nullptr,
                        options));
}

expected<byte_buffer> group::scatter(std::uint32_t root, std::span<const byte_view> parts, call_options options) {
  byte_buffer mine;
  auto ok = make(bytes_of(operation::scatter, root, {}, parts, &mine, nullptr, options));
  return with(std::move(ok), std::move(mine));
}
pending group::scatter_async(std::uint32_t root, std::span<const byte_view> parts, byte_buffer& mine,
                             call_options options) {
  return later(bytes_of(operation::scatter, root, {}, parts, &mine, nullptr, options));
}

expected<std::vector<byte_buffer>> group::all_to_all(std::span<const byte_view> parts, call_options options) {
  std::vector<byte_buffer> all;
  auto ok = make(bytes_of(operation::all_to_all, 0, {}, parts, nullptr, &all, options));
  return with(std::move(ok), std::move(all));
}
pending group::all_to_all_async(std::span<const byte_view> parts, std::vector<byte_buffer>& all, call_options options) {
  return later(bytes_of(operation::all_to_all, 0, {}, parts, nullptr, &all, options));
}

expected<void> group::send(std::uint32_t to, byte_view bytes, call_options options) {
  return make(transfer(rank_, to, element::none, bytes, {}, options));
}
pending group::send_async(std::uint32_t to, byte_view bytes, call_options options) {
  return later(transfer(rank_, to, element::none, bytes, {}, options));
}
expected<byte_buffer> group::receive(std::uint32_t from, call_options options) {
  byte_buffer bytes;
  auto ok = make(transfer(from, rank_, element::none, {}, {&bytes, {}}, options));
  return with(std::move(ok), std::move(bytes));
}
pending group::receive_async(std::uint32_t from, byte_buffer& bytes, call_options options) {
  return later(transfer(from, rank_, element::none, {}, {&bytes, {}}, options));
}

}  // namespace hydrogen::comm
