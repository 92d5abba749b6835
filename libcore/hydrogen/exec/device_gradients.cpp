#include <hydrogen/comm/gradient_plan.hpp>
#include <hydrogen/comm/group.hpp>
#include <hydrogen/comm/islands.hpp>
#include <hydrogen/exec/device_gradients.hpp>
#include <hydrogen/exec/shared_sums.hpp>
#include <hydrogen/gpu/kernels/elementwise.hpp>
#include <hydrogen/gpu/kernels/reductions.hpp>
#include <hydrogen/gpu/peer_group.hpp>

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <exception>
#include <mutex>

namespace hydrogen::exec {
namespace {

using comm::gradient_plan;

constexpr std::size_t page = 4096;
/// For what is under way on the device when an attempt ends: it uses memory that goes with the exchange.
constexpr auto ending_patience = std::chrono::seconds(1);

std::size_t whole_pages(std::size_t bytes) {
  return (bytes + page - 1) / page * page;
}

/// The same for ranks that have the device in the same process, and only for these.
std::string name_of(const gpu::device& on) {
  static const auto process = make_boot_id();
  return fmt::format("{}/{}", to_string(process), static_cast<const void*>(&on));
}

gpu::work::reduction on_device(comm::reduction how) {
  return how == comm::reduction::mean ? gpu::work::reduction::mean : gpu::work::reduction::sum;
}

/// Which ranks add up on their device before anything is exchanged: branches of the tree of addition (comm/islands.hpp)
/// with one device each. Those of one size that is a power of two, since the tree over their sums is then the rest of
/// the whole tree; in one type, since what is exchanged is rounded to its own. Otherwise every rank stands for itself.
std::vector<comm::island> sharing(const std::vector<byte_buffer>& devices, bool narrow) {
  std::vector<std::string_view> names;
  for (const auto& d : devices) names.emplace_back(reinterpret_cast<const char*>(d.data()), d.size());
  auto islands = comm::islands_of(names);
  const auto size = islands.front().size;
  if (size <= shared_sums::most_members) {
    if (islands.size() == 1) return islands;
    const auto alike = [&](const comm::island& i) { return i.size == size; };
    if (!narrow && std::has_single_bit(size) && std::all_of(islands.begin(), islands.end(), alike)) return islands;
  }
  islands.clear();
  for (std::uint32_t r = 0; r < devices.size(); ++r) islands.push_back({r, 1});
  return islands;
}

}  // namespace

struct device_gradients::state {
  /// Memory of each bucket is one of its own, since work is put in order by memory.
  struct bucket {
    shared_sums::part on_device;
    gpu::buffer<float> staged;  // in memory of the gang, for who exchanges
    gpu::buffer<bfloat16> narrow_staged;
    gpu::event left;  // it has been copied there
    comm::pending call;
  };

  state(comm::group& g, task_device& d, gradient_plan p, comm::call_options o)
      : gang(g), device(d), plan(std::move(p)), site(o), buckets(plan.buckets()) {
    const auto who = device.stream().label();
    out.emplace(value_or_throw(device.device().make_stream("gradients sent by " + who)));
    in.emplace(value_or_throw(device.device().make_stream("gradients received by " + who)));
  }

  ~state() {
    for (auto& b : buckets) b.call = {};
    const auto is_drained = [](const gpu::stream& s) { return [&s](time_point until) { return s.drained(until); }; };
    auto ended = patiently(is_drained(*out));
    if (!ended && peers) {
      peers->abort();
      ended = out->drained(now() + ending_patience);
    }
    if (ended) ended = patiently(is_drained(*in));
    if (ended && sums && !whole && gang.rank() == mine.first) {
      ended = patiently([this](time_point until) { return sums->close(until); });
    }
    if (ended) return;
    device.device().lose(std::move(ended.error()));
    // The device may still write into memory of the gang, which nobody else may have before this process ends, as it
    // does when a device is lost.
    static auto* const kept = new kept_for_ever;
    const std::lock_guard lock(kept->mutex);
    kept->sums.push_back(sums);
    for (auto& b : buckets) {
      kept->memory.push_back(b.staged.shared());
      kept->memory.push_back(b.narrow_staged.shared());
    }
  }

  struct kept_for_ever {
    std::mutex mutex;
    std::vector<std::shared_ptr<shared_sums>> sums;
    std::vector<gpu::memory_ptr> memory;
  };
  /// As long as a call may take, but only briefly when the attempt is ended or the function has failed.
  template <class F>
  expected<void> patiently(F drained_until) const {
    constexpr auto between_looks = std::chrono::milliseconds(20);
    auto until = now() + site.timeout;
    for (bool hurries = false;;) {
      if (!hurries && (device.abort().is_set() || std::uncaught_exceptions() > exceptions)) {
        hurries = true;
        until = std::min(until, now() + ending_patience);
      }
      auto ended = drained_until(std::min(until, now() + between_looks));
      if (ended || now() >= until) return ended;
    }
  }

  comm::group& who_exchanges() { return leaders ? *leaders : gang; }
  bool narrow() const { return plan.options().bfloat16_on_wire; }

  void allocate();
  void meet(device_exchange by);
  void meet_peers(const std::vector<byte_buffer>& devices);
  void send_to_peers(std::size_t b);
  void stage();
  void begin(std::size_t b);
  template <class T>
  void exchange(std::size_t b, const gpu::buffer<T>& staged);
  void bring_back(std::size_t b);
  double clip();

  comm::group& gang;
  task_device& device;
  gradient_plan plan;
  const comm::call_options site;
  const int exceptions = std::uncaught_exceptions();
  comm::island mine;
  bool whole = false;  // all ranks are of one island
  std::shared_ptr<shared_sums> sums;
  std::vector<std::vector<shared_sums::part>> others;  // of an island, where its first rank brings them the sums
  std::unique_ptr<comm::group> leaders;
  std::unique_ptr<gpu::peer_group> peers;  // NCCL's, on `out`
  std::optional<gpu::stream> out, in;      // `in` is used by the thread that makes the calls
  std::vector<gpu::buffer<float>> tensors;
  gpu::buffer<float> norm;
  std::vector<bucket> buckets;  // after what their calls use
};

void device_gradients::state::allocate() {
  auto& s = device.stream();
  for (std::size_t b = 0; b < buckets.size(); ++b) {
    const auto n = plan.bucket(b).count;
    auto& on_device = buckets[b].on_device;
    on_device.numbers = s.allocate<float>(n);
    gpu::kernels::fill(s, 0.0F, on_device.numbers);  // also what lies between tensors
    if (narrow()) on_device.narrow = s.allocate<bfloat16>(n);
  }
  for (std::size_t i = 0; i < plan.tensors(); ++i) {
    const auto at = plan.tensor(i);
    const auto b = plan.bucket_of(i);
    tensors.push_back(buckets[b].on_device.numbers.part(at.begin - plan.bucket(b).begin, at.count));
  }
  if (plan.options().clip_norm != 0) norm = s.allocate<float>(1);
}

/// Who shares the device, and where they add up.
void device_gradients::state::meet(device_exchange by) {
  const auto name = (by == device_exchange::nccl ? "NCCL " : "") + name_of(device.device());
  const auto names = value_or_throw(gang.all_gather(std::as_bytes(std::span(name)), site));
  const auto goes_by_nccl = [](const byte_buffer& name) {
    return name.size() > 0 && static_cast<char>(name[0]) == 'N';
  };
  for (const auto& other : names) {
    if (goes_by_nccl(other) == (by == device_exchange::nccl)) continue;
    throw failure({errc::mismatch, "some ranks exchange by NCCL and others do not", "gradient exchange",
                   "all ranks pass the same options"});
  }
  if (by == device_exchange::nccl) return meet_peers(names);
  const auto islands = sharing(names, narrow());
  const auto rank = gang.rank();
  mine = *std::find_if(islands.begin(), islands.end(), [&](const auto& i) { return i.has(rank); });
  whole = islands.size() == 1;
  const bool first = rank == mine.first;
  const bool shares = islands.front().size > 1;  // and so do all others
  std::uint64_t key = 0;
  if (shares && first) {
    sums = value_or_throw(
        shared_sums::open(device.device(), "gradients shared with " + device.stream().label(), mine.size, key));
  }
  if (!whole) stage();
  if (!shares) return;
  if (first) {
    shared_sums::plan p{mine.size, gpu::work::reduction::sum, {}};
    if (whole) p.how = on_device(plan.options().how);
    if (!whole) {
      for (const auto& b : buckets) p.staged.push_back(b.staged);
    }
    sums->decide(std::move(p));
  }
  const auto keys = value_or_throw(gang.all_gather(std::as_bytes(std::span(&key, 1)), site));
  if (!first) {
    std::memcpy(&key, keys[mine.first].data(), sizeof key);
    sums = value_or_throw(shared_sums::find(key));
  }
  std::vector<shared_sums::part> parts;
  for (const auto& b : buckets) parts.push_back(b.on_device);
  sums->join(rank - mine.first, std::move(parts));
  value_or_throw(gang.barrier(site));
  if (whole || !first) return;
  others = sums->of_others();
  std::vector<std::uint32_t> firsts;
  for (const auto& i : islands) firsts.push_back(i.first);
  leaders = value_or_throw(gang.subgroup(firsts, site));
}

void device_gradients::state::meet_peers(const std::vector<byte_buffer>& devices) {
  for (std::size_t r = 0; r < devices.size(); ++r) {
    for (std::size_t other = 0; other < r; ++other) {
      if (devices[other] != devices[r]) continue;
      throw failure({errc::bad_input,
                     fmt::format("ranks {} and {} share a device, and NCCL needs one for each", other, r),
                     "gradient exchange", "ask for a device for each rank, or leave out device_exchange::nccl"});
    }
  }
  gpu::peer_id id;
  if (gang.rank() == 0) id = value_or_throw(gpu::peer_group::make_id());
  const auto ids = value_or_throw(gang.all_gather(std::as_bytes(std::span(&id, 1)), site));
  std::memcpy(&id, ids.front().data(), sizeof id);
  peers =
      value_or_throw(gpu::peer_group::join(*out, id, gang.rank(), gang.size(), now() + site.timeout, &device.abort()));
}

/// All of it in the order of the device.
void device_gradients::state::send_to_peers(std::size_t b) {
  const auto& [numbers, short_numbers] = buckets[b].on_device;
  const auto how = on_device(plan.options().how);
  if (!narrow()) return peers->all_reduce(*out, how, numbers);
  peers->all_reduce(*out, how, short_numbers);
  gpu::kernels::cast(*out, short_numbers, numbers);
}

/// Memory of the gang for the buckets of who exchanges, which the device reaches.
void device_gradients::state::stage() {
  const auto each = narrow() ? sizeof(bfloat16) : sizeof(float);
  std::size_t bytes = 0;
  if (gang.rank() == mine.first) {
    for (std::size_t b = 0; b < buckets.size(); ++b) bytes += whole_pages(plan.bucket(b).count * each);
  }
  const auto memory = value_or_throw(gang.memory(bytes == 0 ? 0 : bytes + page, site));
  if (bytes == 0) return;
  // Pages of their own, since each bucket is made known to the device by itself.
  auto* at = reinterpret_cast<std::byte*>(whole_pages(reinterpret_cast<std::uintptr_t>(memory.get())));
  for (std::size_t b = 0; b < buckets.size(); ++b) {
    const auto n = plan.bucket(b).count;
    if (n == 0) continue;
    auto pinned = value_or_throw(device.device().pin(std::shared_ptr<std::byte>(memory, at), whole_pages(n * each)));
    if (narrow()) {
      buckets[b].narrow_staged = {std::move(pinned), reinterpret_cast<bfloat16*>(at), n};
    } else {
      buckets[b].staged = {std::move(pinned), reinterpret_cast<float*>(at), n};
    }
    at += whole_pages(n * each);
  }
}

void device_gradients::state::begin(std::size_t b) {
  auto& here = buckets[b];
  const auto& [numbers, short_numbers] = here.on_device;
  if (narrow()) gpu::kernels::cast(device.stream(), numbers, short_numbers);
  if (peers) return send_to_peers(b);
  if (sums) {
    sums->come(b);
  } else if (!whole) {
    narrow() ? gpu::kernels::copy(*out, short_numbers, here.narrow_staged)
             : gpu::kernels::copy(*out, numbers, here.staged);
    here.left = out->here();
  }
  if (whole || gang.rank() != mine.first) return;
  narrow() ? exchange(b, here.narrow_staged) : exchange(b, here.staged);
}

template <class T>
void device_gradients::state::exchange(std::size_t b, const gpu::buffer<T>& staged) {
  // The sum of an island is no mean yet.
  const auto how = sums ? comm::reduction::sum : plan.options().how;
  comm::around_call around;
  around.before = [this, b]() -> expected<void> {
    const auto deadline = now() + site.timeout;
    if (!sums) return buckets[b].left.wait(deadline, &device.abort());
    const auto there = sums->staged(b, deadline, device.abort());
    if (!there) return unexpected(there.error());
    return there->wait(deadline, &device.abort());
  };
  around.after = [this, b]() -> expected<void> {
    bring_back(b);
    return {};
  };
  buckets[b].call = who_exchanges().all_reduce_async(std::span<T>(staged.data(), staged.size()), how, site, around);
}

/// From memory of the gang to the device.
void device_gradients::state::bring_back(std::size_t b) {
  auto& here = buckets[b];
  const auto& [numbers, short_numbers] = here.on_device;
  if (narrow()) {
    gpu::kernels::copy(*in, here.narrow_staged, short_numbers);
    gpu::kernels::cast(*in, short_numbers, numbers);
    return;
  }
  if (sums && plan.options().how == comm::reduction::mean) {
    comm::divide(comm::element::float32, here.staged.size(), gang.size(),
                 reinterpret_cast<std::byte*>(here.staged.data()));
  }
  gpu::kernels::copy(*in, here.staged, numbers);
  for (const auto& other : others) gpu::kernels::copy(*in, numbers, other[b].numbers);
}

double device_gradients::state::clip() {
  const double most = plan.options().clip_norm;
  if (most == 0) return 0;
  // Every rank has the same numbers, and so the same norm.
  gpu::kernels::clip_by_global_norm(device.stream(), tensors, most, norm);
  return double{device.download(norm, site.timeout)[0]};
}

device_gradients::device_gradients(comm::group& gang, task_device& device, const std::vector<std::size_t>& sizes,
                                   comm::gradient_options options, device_exchange by, std::chrono::nanoseconds timeout,
                                   std::source_location at) {
  const comm::call_options site(at, timeout);
  state_ =
      std::make_unique<state>(gang, device, value_or_throw(gradient_plan::agree(gang, sizes, options, site)), site);
  state_->allocate();
  state_->meet(by);
}

device_gradients::~device_gradients() = default;

std::size_t device_gradients::tensors() const {
  return state_->plan.tensors();
}

std::size_t device_gradients::buckets() const {
  return state_->plan.buckets();
}

gpu::buffer<float> device_gradients::gradient(std::size_t i) const {
  if (i >= tensors()) throw failure({errc::bad_input, "there is no tensor " + std::to_string(i), {}, {}});
  return state_->tensors[i];
}

void device_gradients::ready(std::size_t i) {
  (void)state_->device.stream().here();  // a stream that records refuses: what is exchanged must happen now
  value_or_throw(state_->plan.ready(i));
  while (const auto bucket = state_->plan.next_bucket()) state_->begin(*bucket);
}

double device_gradients::finish() {
  auto& s = *state_;
  if (!value_or_throw(s.plan.finish())) return 0;
  for (auto& b : s.buckets) {
    value_or_throw(b.call.wait());
    b.call = {};
  }
  // The last rank to come with a bucket, or the first of an island, has enqueued what gives this rank its sums.
  if (s.sums) {
    auto site = s.site;
    if (!s.whole) site.timeout *= s.buckets.size() + 1;  // of the first, with one call for each
    value_or_throw(s.gang.barrier(site));
  }
  if (s.whole && s.narrow()) {
    for (const auto& b : s.buckets) {
      gpu::kernels::cast(s.device.stream(), b.on_device.narrow, b.on_device.numbers);
    }
  }
  return s.clip();
}

const char* device_gradients::way() const {
  if (state_->peers) return "NCCL";
  if (state_->whole) return "one kernel";
  return state_->sums ? "one kernel and links" : "links";
}

}  // namespace hydrogen::exec
