#include <hydrogen/plan/context.hpp>

#include <cstdio>

namespace hydrogen::plan {

context::context(session& engine_session, std::vector<std::string> args)
    : engine_(std::make_shared<engine>(engine_session)), args_(std::move(args)) {}

context::~context() {
  engine_->detach();
}

pipeline<exec::integer_range> context::range(std::int64_t begin, std::int64_t end, source_options options) {
  const auto n = begin < end ? static_cast<std::uint64_t>(end) - static_cast<std::uint64_t>(begin) : 0;
  const auto count = default_partitions(n, options.partitions);
  std::vector<exec::argument> arguments;
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto [first, last] = range_of(i, count, n);
    const auto at = [&](std::uint64_t k) { return static_cast<std::int64_t>(static_cast<std::uint64_t>(begin) + k); };
    arguments.push_back({exec::integer_range::argument(at(first), at(last)), std::nullopt});
  }
  return open<exec::integer_range>("range", std::move(arguments));
}

std::vector<exec::argument> context::cut_files(const std::vector<std::string>& paths, std::uint32_t partitions,
                                               bool quoted) {
  if (paths.empty()) throw failure({errc::bad_input, "no file to read", {}, "give at least one path"});
  std::vector<exec::argument> arguments;
  for (const auto& path : paths) {
    for (const auto& part : value_or_throw(data::cut_file(path, partitions, quoted)))
      arguments.push_back({data::encode_value(part), std::nullopt});
  }
  return arguments;
}

pipeline<exec::text_lines> context::read_text(const std::string& path, source_options options) {
  return read_text(std::vector<std::string>{path}, options);
}

pipeline<exec::text_lines> context::read_text(const std::vector<std::string>& paths, source_options options) {
  return open<exec::text_lines>("read_text", cut_files(paths, options.partitions, false));
}

void context::print(std::string_view line) {
  std::fwrite(line.data(), 1, line.size(), stdout);
  std::fputc('\n', stdout);
  std::fflush(stdout);
}

}  // namespace hydrogen::plan
