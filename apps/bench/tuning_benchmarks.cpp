// The table by which algorithms are picked on this machine: measured, beside the one that is in use.

#include <hydrogen/base/units.hpp>
#include <hydrogen/comm/tuner.hpp>

#include "bench.hpp"
#include <spdlog/fmt/fmt.h>

#include <algorithm>

namespace hydrogen::bench {
namespace {

/// `endless`: what a size that no call has stands for.
void show(const char* name, std::uint64_t used, std::uint64_t measured, const char* endless = "never") {
  const auto text = [&](std::uint64_t bytes) { return bytes >= std::uint64_t{1} << 40 ? endless : format_size(bytes); };
  fmt::print("  {:<42} {:>12} {:>12}\n", name, text(used), text(measured));
}

void tune(session& s) {
  const auto path = comm::tuning_file();
  const auto kept = path ? comm::read_tuning(*path) : unexpected(path.error());
  const auto used = kept ? *kept : comm::tuning();
  fmt::print("{}\n{}\n", comm::machine_in_words(),
             kept ? "in use: " + *path : "in use: what is built in (" + kept.error().message() + ")");
  const auto measured = value_or_throw(comm::measure_tuning([] { return false; }));
  for (const auto& series : measured.all) {
    const auto bar = series.what.find(" | ");
    for (const auto& p : series.points) {
      const bool has_two = bar != std::string::npos;
      s.report(
          {.name = series.what.substr(0, bar),
           .size = format_size(p.bytes),
           .unit = "us",
           .samples = {p.below_us},
           .beside = has_two ? std::optional(reference{series.what.substr(bar + 3), p.above_us, {}}) : std::nullopt,
           .aim = {},
           .note = {}});
    }
  }
  fmt::print("\n  {:<42} {:>12} {:>12}\n", "bytes", "in use", "measured");
  show("one shot up to, 2 members", used.one_shot[0], measured.table.one_shot[0]);
  show("one shot up to, 4 members", used.one_shot[1], measured.table.one_shot[1]);
  show("one shot up to, 8 members", used.one_shot[2], measured.table.one_shot[2]);
  show("reductions read memory from", used.reduce_by_reading, measured.table.reduce_by_reading);
  show("broadcasts and the like read memory from", used.pass_by_reading, measured.table.pass_by_reading);
  show("what goes both ways is read up to", used.exchange_by_reading, measured.table.exchange_by_reading, "always");
  show("bucket of gradients", used.bucket, measured.table.bucket);
  if (!s.options().write_table) return s.remark("not kept; --write keeps it");
  if (!path) return s.remark("not kept: " + path.error().message());
  value_or_throw(comm::write_tuning(*path, measured.table));
  s.remark("kept in " + *path);
}

const registration tune_registered{"tune", "which algorithm from which size on; --write keeps it for this machine",
                                   tune};

}  // namespace
}  // namespace hydrogen::bench
