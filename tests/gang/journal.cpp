#include <hydrogen/base/random.hpp>
#include <hydrogen/gang/journal.hpp>

#include "folder.hpp"
#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

using namespace hydrogen;
using namespace hydrogen::gang;

namespace {

struct journal_folder : tests::folder {
  std::string journal() const { return file("journal"); }
};

const request_id some_request{{1, 2}, 3, 4, 5};

std::vector<record> one_of_each(term_id term) {
  slot_request what;
  what.id = some_request;
  what.kind = request_kind::gang;
  what.least = what.most = 4;
  what.app = {some_request.run, "digits", "/lib/libdigits.so", {6, 7}, 8, {9}, "127.0.0.1:1"};
  what.label = "digits: train";
  what.avoid_nodes = {"n1", "n2"};
  const attempt_ref ref{some_request, {term, 10}};
  return {{term, term_record{}},
          {term, submitted_record{what, 11}},
          {term, go_record{ref, {{"n0", {12}, {13}, "127.0.0.1:2", 4, {0, 1, 2, 3}}}}},
          {term, closed_record{ref, close_reason::failed, {errc::refused, "what", "where", "hint"}}},
          {term, cancelled_record{some_request}}};
}

void write(journal& j, const std::vector<record>& records) {
  for (const auto& r : records) j.append(r);
  REQUIRE(j.sync());
}

/// Opens, writes in one sync, closes; the size of the file then.
std::uint64_t write(const journal_folder& dir, const std::vector<record>& records) {
  {
    auto j = open_file_journal(dir.path);
    REQUIRE(j);
    write(**j, records);
  }
  return std::filesystem::file_size(dir.journal());
}

void corrupt(const std::string& path, std::uint64_t at) {
  std::fstream f(path, std::ios::in | std::ios::out | std::ios::binary);
  f.seekg(static_cast<std::streamoff>(at));
  const char was = static_cast<char>(f.get());
  f.seekp(static_cast<std::streamoff>(at));
  f.put(static_cast<char>(was ^ 0x40));
}

}  // namespace

TEST_CASE("each kind of record survives encoding") {
  for (const auto& r : one_of_each({3})) {
    const auto back = decode_record(encode_record(r));
    REQUIRE(back);
    CHECK(*back == r);
  }
}

TEST_CASE("bytes that are no record are an error, whatever they are") {
  random_source rng(7);
  for (int i = 0; i < 2000; ++i) {
    auto bytes = encode_record(one_of_each({1})[rng.below(5)]);
    for (int k = 0; k < 4; ++k) bytes[rng.below(bytes.size())] = static_cast<std::byte>(rng());
    if (rng.chance(0.3)) bytes.resize(rng.below(bytes.size()));
    (void)decode_record(bytes);  // an error or another record, never a crash
  }
  CHECK_FALSE(decode_record(byte_buffer(3)));
}

TEST_CASE("what was synced is there after a restart, what was not is gone") {
  journal_folder dir;
  {
    auto j = open_file_journal(dir.path);
    REQUIRE(j);
    CHECK((*j)->history().empty());
    for (const auto& r : one_of_each({1})) (*j)->append(r);
    CHECK(*(*j)->sync() == 5);
    (*j)->append({{1}, cancelled_record{some_request}});
  }
  auto j = open_file_journal(dir.path);
  REQUIRE(j);
  CHECK((*j)->history() == one_of_each({1}));
}

TEST_CASE("a second writer is refused and told who holds the directory") {
  journal_folder dir;
  auto first = open_file_journal(dir.path);
  REQUIRE(first);
  auto second = open_file_journal(dir.path);
  REQUIRE_FALSE(second);
  CHECK(second.error().code == errc::refused);
  CHECK(second.error().what.find(std::to_string(getpid())) != std::string::npos);
  first->reset();
  CHECK(open_file_journal(dir.path));
}

TEST_CASE("a torn end is dropped, wherever it is torn, and writing goes on") {
  journal_folder dir;
  const auto good = write(dir, one_of_each({1}));
  const auto whole = write(dir, {{{1}, cancelled_record{some_request}}});
  const auto copy = dir.path + "/copy";
  std::filesystem::copy_file(dir.journal(), copy);
  for (auto size = good + 1; size < whole; size += 7) {
    std::filesystem::copy_file(copy, dir.journal(), std::filesystem::copy_options::overwrite_existing);
    std::filesystem::resize_file(dir.journal(), size);
    {
      auto j = open_file_journal(dir.path);
      REQUIRE(j);
      CHECK((*j)->history() == one_of_each({1}));
      write(**j, {{{2}, term_record{}}});
    }
    auto j = open_file_journal(dir.path);
    REQUIRE(j);
    CHECK((*j)->history().size() == 6);
  }
}

TEST_CASE("space that a killed writer had taken ahead is no damage, whether a write into it was torn or not") {
  journal_folder dir, left;
  std::uint64_t end = 0;
  {
    auto j = open_file_journal(dir.path);
    write(**j, one_of_each({1}));
    std::filesystem::copy_file(dir.journal(), left.journal());  // as a kill leaves it
  }
  end = std::filesystem::file_size(dir.journal());
  const auto taken = std::filesystem::file_size(left.journal());
  if (taken == end) return;  // this file system takes no space ahead
  for (const bool torn : {false, true}) {
    if (torn) corrupt(left.journal(), end + 40);
    {
      auto j = open_file_journal(left.path);
      REQUIRE(j);
      CHECK((*j)->history() == one_of_each({1}));
    }
    CHECK(std::filesystem::file_size(left.journal()) == end);
    write(left, {{{2}, term_record{}}});
    CHECK((*open_file_journal(left.path))->history().size() == 6);
    std::filesystem::copy_file(dir.journal(), left.journal(), std::filesystem::copy_options::overwrite_existing);
    std::filesystem::resize_file(left.journal(), taken);
  }
}

TEST_CASE("of a sync that was torn in its middle nothing behind the tear counts") {
  journal_folder dir;
  const auto first = write(dir, {{{1}, term_record{}}});
  write(dir, one_of_each({1}));  // one sync of five records
  corrupt(dir.journal(), first + 30);
  auto j = open_file_journal(dir.path);
  REQUIRE(j);
  CHECK((*j)->history().size() == 1);
}

TEST_CASE("damage before a later sync is an error with file and offset") {
  journal_folder dir;
  const auto first = write(dir, {{{1}, term_record{}}});
  {
    auto j = open_file_journal(dir.path);
    write(**j, {{{1}, cancelled_record{some_request}}});
    write(**j, one_of_each({1}));
  }
  for (const auto at : {first + 1, first + 5, first + 10, first + 30}) {  // length, check, batch, content
    corrupt(dir.journal(), at);
    auto j = open_file_journal(dir.path);
    REQUIRE_FALSE(j);
    CHECK(j.error().code == errc::bad_input);
    CHECK(j.error().where == dir.journal() + ", offset " + std::to_string(first));
    corrupt(dir.journal(), at);  // and back
  }
  CHECK(open_file_journal(dir.path));
}

TEST_CASE("a file that is no journal is refused") {
  journal_folder dir;
  std::ofstream(dir.journal()) << "something else altogether";
  auto j = open_file_journal(dir.path);
  REQUIRE_FALSE(j);
  CHECK(j.error().where == dir.journal());
}

TEST_CASE("replay ignores what an old coordinator wrote after a newer term began") {
  const std::vector<record> all{{{1}, term_record{}},
                                {{1}, cancelled_record{some_request}},
                                {{2}, term_record{}},
                                {{1}, cancelled_record{some_request}},
                                {{2}, cancelled_record{some_request}}};
  CHECK(replayable(all) == std::vector<record>{all[0], all[1], all[2], all[4]});
}

TEST_CASE("a memory journal forgets what was not synced, as a disk does") {
  auto store = std::make_shared<std::vector<record>>();
  {
    auto j = open_memory_journal(store);
    write(*j, {{{1}, term_record{}}});
    j->append({{1}, cancelled_record{some_request}});
  }
  CHECK(open_memory_journal(store)->history().size() == 1);
}
