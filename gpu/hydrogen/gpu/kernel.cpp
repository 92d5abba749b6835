#include <hydrogen/gpu/kernel.hpp>
#include <hydrogen/gpu/work.hpp>

#include <spdlog/fmt/fmt.h>

#include <mutex>
#include <set>

namespace hydrogen::gpu {
namespace {

constexpr std::size_t most_ports = 64;

/// Names in messages outlive their kernels.
const char* lasting(const std::string& name) {
  static std::mutex mutex;
  static std::set<std::string> names;
  const std::lock_guard lock(mutex);
  return names.insert(name).first->c_str();
}

}  // namespace

const char* to_string(direction how) {
  constexpr const char* names[] = {"value", "in", "out", "in-out"};
  return names[static_cast<std::size_t>(how)];
}

expected<kernel> make_kernel(kernel_code code) {
  const auto refused = [&](std::string why) { return fail(errc::bad_input, "kernel '" + code.name + "': " + why); };
  if (code.name.empty()) return refused("it needs a name");
  if (code.source.empty() && !code.host) return refused("it needs code: CUDA C++ source, a host function, or both");
  if (code.ports.size() > most_ports) {
    return refused(fmt::format("{} ports, {} are possible", code.ports.size(), most_ports));
  }
  for (std::size_t i = 0; i < code.ports.size(); ++i) {
    if (code.ports[i].name.empty()) return refused(fmt::format("port {} needs a name", i));
  }
  code.label = lasting(code.name);
  return std::make_shared<const kernel_code>(std::move(code));
}

expected<void> check(const kernel_code& code, std::span<const argument> arguments) {
  if (arguments.size() != code.ports.size()) {
    return fail(errc::bad_input, fmt::format("kernel '{}' has {} ports, {} arguments are given", code.name,
                                             code.ports.size(), arguments.size()));
  }
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const auto& port = code.ports[i];
    const auto& given = arguments[i];
    if (given.how != port.how || given.type != port.type) {
      return fail(errc::bad_input,
                  fmt::format("kernel '{}', port '{}' takes {} {}, not {} {}", code.name, port.name,
                              to_string(port.how), to_string(port.type), to_string(given.how), to_string(given.type)));
    }
  }
  return {};
}

namespace work {

const char* name_of(const any& what) {
  return std::visit(
      []<class W>(const W& w) -> const char* {
        if constexpr (std::is_same_v<W, custom>) {
          return w.code->label;
        } else {
          return W::name.data();
        }
      },
      what);
}

}  // namespace work

}  // namespace hydrogen::gpu
