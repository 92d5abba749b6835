#include <hydrogen/base/random.hpp>
#include <hydrogen/hydrogen.hpp>

#include "../data/files.hpp"
#include "local_session.hpp"
#include <doctest/doctest.h>

using namespace hydrogen;
using tests::local_session;
using tests::temporary_file;

namespace {

using word_and_count = std::pair<std::string, std::int64_t>;

void words_of(std::string_view line, emitter<word_and_count>& out) {
  constexpr std::string_view blanks = " \t\n\v\f\r";
  for (std::size_t at = 0; (at = line.find_first_not_of(blanks, at)) != std::string_view::npos;) {
    const auto end = std::min(line.find_first_of(blanks, at), line.size());
    out(line.substr(at, end - at), 1);
    at = end;
  }
}

std::map<std::string, std::int64_t> reference(std::string_view text) {
  std::map<std::string, std::int64_t> counts;
  std::string word;
  for (const char c : text) {
    if (c == ' ' || (c >= '\t' && c <= '\r')) {
      if (!word.empty()) ++counts[word];
      word.clear();
    } else {
      word += c;
    }
  }
  if (!word.empty()) ++counts[word];
  return counts;
}

std::vector<std::pair<std::int64_t, double>> sums(local_session& session, std::int64_t rows, std::int64_t keys,
                                                  std::uint32_t partitions) {
  context ctx(session, {});
  return ctx.range(rows, {.partitions = 5})
      .map(
          [](std::int64_t i, std::int64_t keys) {
            return std::pair(static_cast<std::int64_t>(hash_mix(3, static_cast<std::uint64_t>(i)) %
                                                       static_cast<std::uint64_t>(keys)),
                             1.0 / static_cast<double>(i + 1));
          },
          keys)
      .reduce_by_key(hydrogen::partitions{partitions}, [](double a, double b) { return a + b; })
      .collect();
}

}  // namespace

TEST_CASE("word count equals a naive count on random bytes, empty and binary files included") {
  random_source random(21);
  std::vector<std::string> texts{
      "", " ", "\n\n", "one", "a b a\r\nb  a\tc\n", std::string("\0 \0\0 \0", 6), std::string(3000, 'x')};
  for (int i = 0; i < 40; ++i) {
    std::string text(random.below(5000), ' ');
    for (auto& c : text)
      c = random.chance(0.3)   ? static_cast<char>(random())
          : random.chance(0.3) ? ' '
                               : static_cast<char>('a' + random.below(4));
    texts.push_back(std::move(text));
  }
  for (const auto& text : texts) {
    const temporary_file file(text);
    local_session session;
    context ctx(session, {});
    const auto rows = ctx.read_text(file.path(), {.partitions = static_cast<std::uint32_t>(1 + random.below(6))})
                          .flat_map(fn<words_of>)
                          .reduce_by_key([](std::int64_t a, std::int64_t b) { return a + b; })
                          .collect();
    CHECK(rows.size() == reference(text).size());
    CHECK(std::map<std::string, std::int64_t>(rows.begin(), rows.end()) == reference(text));
  }
}

TEST_CASE("inexact sums have the same bits and order for every block size and number of threads") {
  for (const std::int64_t keys : {10, 3000, 1'000'000}) {
    local_session plain;
    const auto want = sums(plain, 200'000, keys, 4);
    local_session other;
    other.block_bytes = 4096;
    other.threads = 3;
    CHECK(sums(other, 200'000, keys, 4) == want);
    CHECK(plain.last_graph.stages.size() == 2);
    CHECK(plain.last_graph.stages[0].buckets == 4);
  }
}

TEST_CASE("few keys, many keys that hardly repeat, one bucket or many: always every key once") {
  for (const std::int64_t keys : {1, 50, 40'000, 10'000'000}) {
    for (const std::uint32_t p : {1u, 7u}) {
      local_session session;
      auto rows = sums(session, 120'000, keys, p);
      std::map<std::int64_t, double> want;
      for (std::int64_t i = 0; i < 120'000; ++i) {
        want[static_cast<std::int64_t>(hash_mix(3, static_cast<std::uint64_t>(i)) %
                                       static_cast<std::uint64_t>(keys))] += 1.0 / static_cast<double>(i + 1);
      }
      REQUIRE(rows.size() == want.size());
      std::sort(rows.begin(), rows.end());
      auto at = want.begin();
      for (const auto& [k, v] : rows) {
        CHECK(k == at->first);
        CHECK(v == doctest::Approx((at++)->second));
      }
    }
  }
}

TEST_CASE("keys and values of any kind; steps after the shuffle are fused with the merge") {
  local_session session;
  context ctx(session, {});
  const auto lists =
      ctx.range(100)
          .map([](std::int64_t i) { return std::pair(std::vector<std::int64_t>{i % 3}, std::vector<std::int64_t>{i}); })
          .reduce_by_key([](std::vector<std::int64_t> a, const std::vector<std::int64_t>& b) {
            a.insert(a.end(), b.begin(), b.end());
            return a;
          })
          .map([](const std::pair<std::vector<std::int64_t>, std::vector<std::int64_t>>& p) {
            return std::pair(p.first[0], p.second);
          })
          .collect();
  REQUIRE(lists.size() == 3);
  for (const auto& [k, v] : lists) {
    for (std::size_t n = 0; n < v.size(); ++n) CHECK(v[n] == k + static_cast<std::int64_t>(3 * n));
  }
  CHECK(session.last_graph.stages[1].chain.size() == 1);
  const auto twice = ctx.range(100)
                         .map([](std::int64_t i) { return std::pair(i % 10, std::int64_t{1}); })
                         .reduce_by_key([](std::int64_t a, std::int64_t b) { return a + b; })
                         .map([](std::pair<std::int64_t, std::int64_t> p) { return std::pair(p.second, p.first); })
                         .reduce_by_key([](std::int64_t a, std::int64_t b) { return a + b; })
                         .collect();
  CHECK(twice == std::vector{std::pair<std::int64_t, std::int64_t>(10, 45)});
  CHECK(session.last_graph.stages.size() == 3);
}
