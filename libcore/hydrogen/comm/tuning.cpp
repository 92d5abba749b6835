#include <hydrogen/base/cpus.hpp>
#include <hydrogen/base/hash.hpp>
#include <hydrogen/comm/tuning.hpp>

#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_UNRELEASED_FEATURES 0
#include <spdlog/fmt/fmt.h>
#include <spdlog/spdlog.h>
#include <sys/utsname.h>
#include <toml++/toml.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace hydrogen::comm {
namespace {

struct key {
  const char* name;
  std::uint64_t& (*of)(tuning&);
};
constexpr key keys[] = {
    {"one_shot_2", [](tuning& t) -> std::uint64_t& { return t.one_shot[0]; }},
    {"one_shot_4", [](tuning& t) -> std::uint64_t& { return t.one_shot[1]; }},
    {"one_shot_8", [](tuning& t) -> std::uint64_t& { return t.one_shot[2]; }},
    {"reduce_by_reading", [](tuning& t) -> std::uint64_t& { return t.reduce_by_reading; }},
    {"pass_by_reading", [](tuning& t) -> std::uint64_t& { return t.pass_by_reading; }},
    {"exchange_by_reading", [](tuning& t) -> std::uint64_t& { return t.exchange_by_reading; }},
    {"bucket", [](tuning& t) -> std::uint64_t& { return t.bucket; }},
};
constexpr std::int64_t least_bucket = 4096;

std::string processor() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("model name") && line.find(": ") != std::string::npos) return line.substr(line.find(": ") + 2);
  }
  return "unknown processor";
}

}  // namespace

std::string machine_in_words() {
  const auto cpus = usable_cpus();
  utsname system{};
  ::uname(&system);
  return fmt::format("{}, {} CPU{}, {} {}", processor(), cpus, cpus == 1 ? "" : "s", system.sysname, system.release);
}

expected<std::string> tuning_file() {
  std::string folder;
  if (const auto* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache == '/') {
    folder = cache;
  } else if (const auto* home = std::getenv("HOME"); home != nullptr && *home == '/') {
    folder = std::string(home) + "/.cache";
  } else {
    return fail(errc::not_found, "neither XDG_CACHE_HOME nor HOME names a folder", "cache directory");
  }
  return fmt::format("{}/hydrogen/tuning-{:016x}.toml", folder, hash_bytes(as_byte_view(machine_in_words()), 1));
}

expected<tuning> read_tuning(const std::string& path) {
  const std::string hint = "'hydrogen-bench tune --write' makes it anew";
  if (!std::filesystem::exists(path)) return fail(errc::not_found, "there is no such file", path, hint);
  const auto file = toml::parse_file(path);
  if (!file) {
    const auto& e = file.error();
    return fail(errc::bad_input, std::string(e.description()), fmt::format("{}:{}", path, e.source().begin.line), hint);
  }
  if (file["machine"].value_or(std::string()) != machine_in_words()) {
    return fail(errc::bad_input, "is of another machine", path, hint);
  }
  tuning t;
  for (const auto& k : keys) {
    const auto value = file[k.name].value<std::int64_t>();
    if (!value || *value < 0)
      return fail(errc::bad_input, fmt::format("'{}' is no number of bytes", k.name), path, hint);
    k.of(t) = static_cast<std::uint64_t>(*value);
  }
  if (t.bucket < least_bucket) return fail(errc::bad_input, "'bucket' is below 4096 bytes", path, hint);
  return t;
}

expected<void> write_tuning(const std::string& path, const tuning& what) {
  auto t = what;
  toml::table all{{"machine", machine_in_words()}};
  for (const auto& k : keys) all.insert(k.name, static_cast<std::int64_t>(k.of(t)));
  std::error_code code;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), code);
  if (code) return fail(errc::io, code.message(), path);
  const auto fresh = fmt::format("{}.{}", path, ::getpid());
  {
    std::ofstream out(fresh);
    out << "# How this machine moves data between ranks: from or up to how many bytes which way is faster.\n"
        << all << "\n";
    out.flush();
    if (!out) return fail_errno("write", fresh);
  }
  std::filesystem::rename(fresh, path, code);
  if (code) return fail(errc::io, code.message(), path);
  return {};
}

tuning tuning_of_machine() {
  const auto path = tuning_file();
  if (!path) return {};
  const auto found = read_tuning(*path);
  if (found) return *found;
  if (found.error().code != errc::not_found) spdlog::warn("{}; what is built in is used", found.error().message());
  return {};
}

}  // namespace hydrogen::comm
