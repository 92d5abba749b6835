#pragma once
// The dataflow of word_count, for the application and for the benchmark of the same work.

#include <hydrogen/hydrogen.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace examples {

using word_total = std::pair<std::string, std::int64_t>;

/// What `isspace` calls white space in the C locale.
constexpr bool is_space(char c) {
  return c == ' ' || static_cast<unsigned char>(c - '\t') < 5;
}

/// Gives each word of the text, a maximal run of bytes without white space, to `word(std::string_view)`.
template <class F>
void for_each_word(std::string_view text, F&& word) {
  const char* at = text.data();
  const char* const end = at + text.size();
  while (true) {
    while (at != end && is_space(*at)) ++at;
    if (at == end) return;
    const char* const begin = at;
    do ++at;
    while (at != end && !is_space(*at));
    word(std::string_view(begin, static_cast<std::size_t>(at - begin)));
  }
}

/// One row (word, how often it occurs) per word of the files.
inline auto count_words(hydrogen::context& ctx, const std::vector<std::string>& files) {
  return ctx.read_text(files)
      .flat_map([](std::string_view line, hydrogen::emitter<word_total>& out) {
        for_each_word(line, [&](std::string_view word) { out(word, std::int64_t{1}); });
      })
      .reduce_by_key([](std::int64_t a, std::int64_t b) { return a + b; });
}

/// Orders by count downwards, then by the bytes of the word.
inline bool comes_before(const word_total& a, const word_total& b) {
  return a.second != b.second ? a.second > b.second : a.first < b.first;
}

}  // namespace examples
