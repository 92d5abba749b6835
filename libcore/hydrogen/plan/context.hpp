#pragma once
// `context`: what the entry function of an application receives. It makes datasets from the driver's values, ranges of
// integers and files. Driver thread. Datasets must not be used after it is gone. Errors are thrown as `failure`.

#include <hydrogen/plan/dataset.hpp>

#include <spdlog/spdlog.h>

#include <initializer_list>
#include <ranges>

namespace hydrogen::plan {

struct source_options {
  /// 0: 8 for ranges and values (one per row if there are fewer); for files by size, 8 to 32 MiB each.
  std::uint32_t partitions = 0;
};

class context {
 public:
  /// `args`: what follows the application on the command line. The session must outlive the context.
  context(session& engine_session, std::vector<std::string> args);
  ~context();
  context(const context&) = delete;

  const std::vector<std::string>& args() const { return args_; }

  /// The values of the driver.
  template <std::ranges::forward_range Range>
  auto parallelize(const Range& values, source_options options = {}) {
    using T = std::ranges::range_value_t<Range>;
    data::require_row<T>();
    const auto n = static_cast<std::uint64_t>(std::ranges::distance(values));
    const auto count = default_partitions(n, options.partitions);
    std::vector<exec::argument> arguments;
    auto at = std::ranges::begin(values);
    for (std::uint32_t i = 0; i < count; ++i) {
      const auto [first, last] = range_of(i, count, n);
      auto end = std::ranges::next(at, static_cast<std::ranges::range_difference_t<Range>>(last - first));
      arguments.push_back(engine_->argument(exec::given_rows<T>::argument(at, end)));
      at = end;
    }
    return open<exec::given_rows<T>>("parallelize", std::move(arguments));
  }
  template <class T>
  auto parallelize(std::initializer_list<T> values, source_options options = {}) {
    return parallelize(std::span<const T>(values.begin(), values.size()), options);
  }

  /// The integers of [begin, end), or [0, end).
  pipeline<exec::integer_range> range(std::int64_t begin, std::int64_t end, source_options options = {});
  pipeline<exec::integer_range> range(std::int64_t end, source_options options = {}) { return range(0, end, options); }

  /// The lines of text files, one after the other, without their ends.
  pipeline<exec::text_lines> read_text(const std::string& path, source_options options = {});
  pipeline<exec::text_lines> read_text(const std::vector<std::string>& paths, source_options options = {});

  /// The records of a CSV file as rows of T: fields by position (see <hydrogen/data/csv.hpp>).
  template <class T>
  auto read_csv(const std::string& path, data::csv_options options = {}) {
    data::require_row<T>();
    return open<exec::csv_rows<T>>("read_csv", cut_files({path}, options.partitions, options.multiline),
                                   plan_detail::encode_parameters(options));
  }

  /// A log line of the driver: `ctx.log("{} rows", n)`.
  template <class... A>
  void log(spdlog::format_string_t<A...> text, A&&... args) {
    spdlog::info(text, std::forward<A>(args)...);
  }
  /// A line for the user, on standard output.
  void print(std::string_view line);

 private:
  static std::pair<std::uint64_t, std::uint64_t> range_of(std::uint32_t i, std::uint32_t parts, std::uint64_t n) {
    const auto bound = [&](std::uint64_t k) {
      return static_cast<std::uint64_t>(static_cast<unsigned __int128>(n) * k / parts);
    };
    return {bound(i), bound(i + 1)};
  }
  template <class Head>
  pipeline<Head> open(std::string label, std::vector<exec::argument> arguments,
                      std::shared_ptr<const byte_buffer> parameters = plan_detail::encode_parameters()) {
    const auto count = static_cast<std::uint32_t>(arguments.size());
    auto from = std::make_shared<const origin>(
        origin{engine_, label, feed::source, nullptr, count, std::move(arguments), stage_kind::parallel, {}, {}});
    return pipeline<Head>(std::move(from), std::move(label), {std::move(parameters)});
  }
  std::vector<exec::argument> cut_files(const std::vector<std::string>& paths, std::uint32_t partitions, bool quoted);

  std::shared_ptr<engine> engine_;
  std::vector<std::string> args_;
};

}  // namespace hydrogen::plan
