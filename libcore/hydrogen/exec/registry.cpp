#include <hydrogen/exec/registry.hpp>

#include <cxxabi.h>
#include <dlfcn.h>
#include <link.h>

#include <algorithm>
#include <cstdlib>

namespace hydrogen::exec {
namespace {

const std::byte* address(const void* p) {
  return static_cast<const std::byte*>(p);
}

}  // namespace

std::string demangled(const char* name) {
  int status = 0;
  std::unique_ptr<char, decltype(&std::free)> text(abi::__cxa_demangle(name, nullptr, nullptr, &status), &std::free);
  return status == 0 ? text.get() : name;
}

operator_registry& operator_registry::instance() {
  // Never destroyed: libraries may still be unloading their statics when the program ends.
  static auto* registry = new operator_registry;
  return *registry;
}

void operator_registry::add(const operator_descriptor* descriptor) {
  Dl_info info{};
  invariant(dladdr(descriptor, &info) != 0, "an operator's descriptor lies in no loaded library");
  std::lock_guard lock(mutex_);
  auto& lib = libraries_[address(info.dli_fbase)];
  lib.path = info.dli_fname != nullptr ? info.dli_fname : "";
  lib.offsets.insert(static_cast<std::uint64_t>(address(descriptor) - address(info.dli_fbase)));
}

void operator_registry::bind_library(const void* base, hash128 hash) {
  std::lock_guard lock(mutex_);
  auto& lib = libraries_[address(base)];
  lib.bound = true;
  lib.hash = hash;
}

expected<const operator_descriptor*> operator_registry::find(const operator_id& id) const {
  std::lock_guard lock(mutex_);
  std::string known;
  for (const auto& [base, lib] : libraries_) {
    if (!lib.bound) continue;
    if (lib.hash != id.library) {
      known += (known.empty() ? "" : ", ") + to_string(lib.hash);
      continue;
    }
    if (!lib.offsets.contains(id.offset)) {
      return fail(errc::mismatch,
                  "library " + to_string(id.library) + " has no operator at offset " + std::to_string(id.offset),
                  lib.path, "task and library are of different builds");
    }
    return reinterpret_cast<const operator_descriptor*>(base + id.offset);
  }
  return fail(errc::mismatch,
              "an operator of library " + to_string(id.library) + " is asked for, and this process has loaded " +
                  (known.empty() ? "none" : known),
              {}, "driver and executor must run the same build of the application");
}

expected<operator_id> operator_registry::id_of(const operator_descriptor* descriptor) {
  Dl_info info{};
  if (dladdr(descriptor, &info) == 0) return fail(errc::internal, "an operator's descriptor lies in no loaded library");
  const auto* base = address(info.dli_fbase);
  const auto offset = static_cast<std::uint64_t>(address(descriptor) - base);
  for (int round = 0; round < 2; ++round) {
    {
      std::lock_guard lock(mutex_);
      const auto& lib = libraries_[base];
      if (lib.bound) return operator_id{lib.hash, offset};
    }
    bind_program();
  }
  return fail(errc::refused,
              "operator " + demangled(descriptor->type->name()) + " belongs to a library that is no loaded application",
              info.dli_fname, "dataset calls may stand in the application's library or in the program itself");
}

hash128 bind_program() {
  static const hash128 hash = [] {
    const auto h = content_hash_of_file("/proc/self/exe");
    invariant(h.has_value(), "the program's own file cannot be read");
    // The first object listed is the program; its base, as dladdr gives it, is where its first segment lies.
    const std::byte* base = nullptr;
    dl_iterate_phdr(
        [](dl_phdr_info* info, std::size_t, void* to) {
          auto least = ~ElfW(Addr){0};
          for (int i = 0; i < info->dlpi_phnum; ++i) {
            if (info->dlpi_phdr[i].p_type == PT_LOAD)
              least = std::min(least, info->dlpi_phdr[i].p_vaddr & ~ElfW(Addr){4095});
          }
          *static_cast<const std::byte**>(to) = reinterpret_cast<const std::byte*>(info->dlpi_addr + least);
          return 1;
        },
        &base);
    operator_registry::instance().bind_library(base, *h);
    return *h;
  }();
  return hash;
}

}  // namespace hydrogen::exec
