// word_count: how often each word occurs in some files. See README.md beside this file.

#include "../application_options.hpp"
#include "count_words.hpp"

#include <algorithm>
#include <limits>

namespace examples {
namespace {

/// The first `most` rows of a partition in the order of the output.
void best(hydrogen::rows<word_total> rows, hydrogen::emitter<word_total>& out, std::uint64_t most) {
  const auto found = rows.contiguous();
  std::vector<word_total> all(found.begin(), found.end());
  const auto kept = static_cast<std::ptrdiff_t>(std::min<std::uint64_t>(most, all.size()));
  std::partial_sort(all.begin(), all.begin() + kept, all.end(), comes_before);
  for (auto i = all.begin(); i != all.begin() + kept; ++i) out(i->first, i->second);
}

void word_count(hydrogen::context& ctx) {
  std::vector<std::string> files;
  std::uint64_t top = 0;
  hydrogen::cli::command_line line("word_count", "Count the words of some files",
                                   "hydrogen run word_count -- FILE... [--top N]");
  line.arguments_left("FILE", files, "Files; words are separated by white space", true);
  line.number("--top", top, 1, ~std::uint64_t{0}, "N", "Only the N words that occur most often [all]");
  if (!read_arguments(line, ctx)) return;

  const auto totals = count_words(ctx, files);
  auto words = top == 0 ? totals.collect() : totals.map_partitions(hydrogen::fn<best>, top).collect();
  std::sort(words.begin(), words.end(), comes_before);
  if (top != 0 && words.size() > top) words.resize(top);

  std::string text;
  for (const auto& [word, count] : words) {
    if (!text.empty()) text += '\n';
    text += word;
    text += '\t';
    text += std::to_string(count);
  }
  if (!text.empty()) ctx.print(text);
}

}  // namespace
}  // namespace examples

HYDROGEN_APPLICATION(examples::word_count)
