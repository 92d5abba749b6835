#include <hydrogen/actors/kernel_actor.hpp>

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <utility>

namespace hydrogen::actors {
namespace {

constexpr std::uint32_t block_threads = 256;

gpu::launch_shape one_thread_each(const gpu::kernel_code& code, std::span<const gpu::argument> arguments) {
  gpu::launch_shape shape;
  shape.block[0] = block_threads;
  std::optional<std::size_t> first;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const auto& a = arguments[i];
    if (a.how == gpu::direction::value) continue;
    if (!first) first = i;
    if (const auto n = arguments[*first].n; a.n != n) {
      gpu::refuse(code.label, fmt::format("port '{}' has {} numbers, port '{}' has {}: without a shape of its own it "
                                          "takes buffers of one size",
                                          code.ports[*first].name, n, code.ports[i].name, a.n));
    }
  }
  const auto blocks = first ? (arguments[*first].n + block_threads - 1) / block_threads : 1;
  if (blocks > std::numeric_limits<std::int32_t>::max()) {
    gpu::refuse(code.label,
                fmt::format("{} numbers are more than a grid of blocks of {}", arguments[*first].n, block_threads));
  }
  shape.grid[0] = static_cast<std::uint32_t>(std::max<std::size_t>(1, blocks));
  return shape;
}

class kernel_actor : public caf::event_based_actor {
 public:
  kernel_actor(caf::actor_config& cfg, device_queue_ptr queue, gpu::kernel code, kernel_actor_options options)
      : event_based_actor(cfg), queue_(std::move(queue)), code_(std::move(code)), options_(std::move(options)) {}

  caf::behavior make_behavior() override {
    return {[this](const kernel_call& call) -> caf::result<kernel_result> {
              try {
                return answer(call);
              } catch (const failure& f) {
                const bool theirs = f.reason().code == errc::bad_input || f.reason().code == errc::refused;
                return caf::make_error(theirs ? caf::sec::invalid_argument : caf::sec::runtime_error,
                                       f.reason().message());
              }
            },
            [this](const device_done& m) { deliver(m); }, [this](const stop_mail&) { quit(); }};
  }

  void on_exit() override {
    pending_.clear();
    queue_.reset();
  }

 private:
  struct output {
    gpu::argument is;
    gpu::memory_ptr memory;
  };

  caf::result<kernel_result> answer(const kernel_call& call) {
    const auto& ports = code_->ports;
    if (call.arguments.size() != ports.size()) {
      gpu::refuse(code_->label,
                  fmt::format("it has {} ports, {} arguments are given", ports.size(), call.arguments.size()));
    }
    std::vector<gpu::argument> arguments;
    std::vector<gpu::memory_ptr> reads, writes;
    std::vector<output> outputs;
    for (std::size_t i = 0; i < ports.size(); ++i) {
      gpu::memory_ptr memory;
      arguments.push_back(
          std::visit([&](const auto& given) { return take(ports[i], given, memory); }, call.arguments[i]));
      const auto how = ports[i].how;
      if (how == gpu::direction::in || how == gpu::direction::in_out) reads.push_back(memory);
      if (how == gpu::direction::out || how == gpu::direction::in_out) {
        writes.push_back(memory);
        outputs.push_back({arguments.back(), memory});
      }
    }
    const auto shape = options_.shape ? options_.shape(arguments) : one_thread_each(*code_, arguments);
    queue_->stream().launch(code_, shape, std::move(arguments), plain(reads), plain(writes));
    return options_.results_as_values ? answer_values(outputs) : answer_references(outputs);
  }

  gpu::argument take(const gpu::port& port, const host_numbers& given, gpu::memory_ptr& memory) {
    check_type(port, given.type);
    gpu::argument a{port.how, port.type, nullptr, given.size(), 0};
    if (port.how == gpu::direction::value) {
      if (given.size() != 1) refuse(port, fmt::format("takes one number, not {}", given.size()));
      std::memcpy(&a.bits, given.bytes.data(), given.bytes.size());
      a.n = 0;
      return a;
    }
    const auto bytes = queue_->stream().upload(
        given.bytes.empty() ? std::span<const std::uint8_t>()
                            : std::span(reinterpret_cast<const std::uint8_t*>(given.bytes.data()), given.bytes.size()));
    memory = bytes.shared();
    a.at = bytes.data();
    return a;
  }

  gpu::argument take(const gpu::port& port, const device_numbers& given, gpu::memory_ptr& memory) {
    check_type(port, given.type);
    if (port.how == gpu::direction::value) refuse(port, "takes a single number, not a buffer");
    check_place(port, given);
    memory = given.memory;
    return {port.how, port.type, given.at, given.n, 0};
  }

  gpu::argument take(const gpu::port& port, const output_size& given, gpu::memory_ptr& memory) {
    if (port.how != gpu::direction::out) {
      refuse(port, fmt::format("is {}: it takes numbers, not the size of an output", to_string(port.how)));
    }
    const auto each = size_of(port.type);
    if (given.n > SIZE_MAX / each) refuse(port, fmt::format("{} numbers do not fit any memory", given.n));
    const auto bytes = queue_->stream().allocate<std::uint8_t>(given.n * each);
    memory = bytes.shared();
    return {port.how, port.type, bytes.data(), given.n, 0};
  }

  void check_type(const gpu::port& port, gpu::element type) const {
    if (type != port.type) refuse(port, fmt::format("takes {}, not {}", to_string(port.type), to_string(type)));
  }

  /// A kernel that follows a wrong address can cost the whole process its device.
  void check_place(const gpu::port& port, const device_numbers& given) const {
    if (given.n == 0) return;
    if (!given.memory) refuse(port, fmt::format("is given {} numbers without memory", given.n));
    const auto& here = queue_->stream().on();
    if (given.memory->kind() == gpu::memory_kind::device && &given.memory->owner() != &here) {
      refuse(port, fmt::format("is on {}, its kernel on {}", given.memory->owner().description(), here.description()));
    }
    const auto begin = reinterpret_cast<std::uintptr_t>(given.memory->at());
    const auto at = reinterpret_cast<std::uintptr_t>(given.at);
    const auto each = size_of(given.type);
    const bool inside = at >= begin && at - begin <= given.memory->bytes() && at % each == 0 &&
                        given.n <= (given.memory->bytes() - (at - begin)) / each;
    if (!inside) refuse(port, fmt::format("is given {} numbers that do not lie in their memory", given.n));
  }

  [[noreturn]] void refuse(const gpu::port& port, const std::string& why) const {
    gpu::refuse(code_->label, fmt::format("port '{}' {}", port.name, why));
  }

  static std::vector<gpu::memory*> plain(const std::vector<gpu::memory_ptr>& all) {
    std::vector<gpu::memory*> out;
    for (const auto& m : all) out.push_back(m.get());
    return out;
  }

  static caf::result<kernel_result> answer_references(const std::vector<output>& outputs) {
    kernel_result result;
    for (const auto& o : outputs) result.outputs.emplace_back(device_numbers{o.is.type, o.memory, o.is.at, o.is.n});
    return result;
  }

  caf::result<kernel_result> answer_values(const std::vector<output>& outputs) {
    pending answer;
    for (const auto& o : outputs) {
      const auto bytes = o.is.n * size_of(o.is.type);
      auto& copy = answer.values.emplace_back(o.is.type, queue_->stream().allocate_pinned<std::uint8_t>(bytes));
      queue_->stream().enqueue(gpu::work::copy{o.is.at, copy.second.data(), bytes}, {o.memory.get()},
                               {copy.second.owner()});
    }
    const auto promise = answer.promise = make_response_promise<kernel_result>();
    const auto id = ++last_;
    pending_.emplace(id, std::move(answer));
    queue_->notify(caf::actor_cast<caf::actor>(this), id);
    return promise;
  }

  void deliver(const device_done& what) {
    const auto at = pending_.find(what.tag);
    if (at == pending_.end()) return;
    auto answer = std::move(at->second);
    pending_.erase(at);
    if (what.why.code != errc::none) {
      answer.promise.deliver(caf::make_error(caf::sec::runtime_error, what.why.message()));
      return;
    }
    kernel_result result;
    for (const auto& [type, numbers] : answer.values) {
      const auto bytes = std::as_bytes(numbers.on_host());
      result.outputs.emplace_back(host_numbers{type, {bytes.begin(), bytes.end()}});
    }
    answer.promise.deliver(std::move(result));
  }

  /// An answer whose values are on their way from the device, into pinned memory.
  struct pending {
    caf::typed_response_promise<kernel_result> promise;
    std::vector<std::pair<gpu::element, gpu::buffer<std::uint8_t>>> values;
  };
  std::map<std::uint64_t, pending> pending_;
  std::uint64_t last_ = 0;
  device_queue_ptr queue_;
  const gpu::kernel code_;
  kernel_actor_options options_;
};

}  // namespace

caf::actor spawn_kernel_actor(device_queue_ptr queue, gpu::kernel code, kernel_actor_options options,
                              caf::actor_system& system) {
  queue->stream().prepare(code);
  return system.spawn<kernel_actor, caf::detached>(std::move(queue), std::move(code), std::move(options));
}

}  // namespace hydrogen::actors
