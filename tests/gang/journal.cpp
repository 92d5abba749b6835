#include <hydrogen/base/random.hpp>
#include <hydrogen/gang/journal.hpp>

#include "folder.hpp"
#include <doctest/doctest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <future>

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
  what.needs = {{14, {{"gpu", 2}, {"tpu", 1}}}, {"zone=a", "ssd"}, placement::one_node};
  what.priority = -15;
  const attempt_ref ref{some_request, {term, 10}};
  return {{term, term_record{}},
          {term, submitted_record{what, 11}},
          {term, go_record{ref, {{"n0", {12}, {13}, "127.0.0.1:2", 4, {0, 1, 2, 3}}}}},
          {term, closed_record{ref, close_reason::failed, {errc::refused, "what", "where", "hint"}}},
          {term, cancelled_record{some_request}},
          {term, run_over_record{some_request.run}},
          {term, drain_record{"n1", true}}};
}

/// A request at this place of the queue.
record submitted(std::uint32_t n) {
  slot_request what;
  what.id = {{1, 2}, 3, n, 0};
  what.kind = request_kind::gang;
  what.least = what.most = 4;
  what.app.run = what.id.run;
  what.label = "digits: train";
  return {{1}, submitted_record{what, n}};
}
/// Records that come to nothing shorter.
std::vector<record> some_requests(std::uint32_t n) {
  std::vector<record> all{{{1}, term_record{}}};
  for (std::uint32_t i = 1; i <= n; ++i) all.push_back(submitted(i));
  return all;
}
std::vector<record> records_in(const journal_folder& dir) {
  auto j = open_file_journal(dir.path);
  REQUIRE(j);
  return (*j)->known().records();
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

TEST_CASE("a record's bytes have nothing of the one before it, however large that was") {
  const auto fresh = [](const record& r) {
    return std::async(std::launch::async, [&] { return encode_record(r); }).get();
  };
  const auto wide = [](std::uint32_t members) {
    go_record go{{some_request, {{1}, 10}}, {}};
    for (std::uint32_t i = 0; i < members; ++i) go.members.push_back({"n" + std::to_string(i), {12}, {13}, "", 1, {i}});
    return record{{1}, go};
  };
  for (const auto& r : one_of_each({3})) {
    // 20 members fit into the memory that is kept, 500 do not.
    for (const auto& before : {wide(20), wide(500)}) {
      CHECK(encode_record(before) == fresh(before));
      CHECK(encode_record(r) == fresh(r));
    }
  }
}

TEST_CASE("bytes that are no record are an error, whatever they are") {
  random_source rng(7);
  for (int i = 0; i < 2000; ++i) {
    auto bytes = encode_record(one_of_each({1})[rng.below(6)]);
    for (int k = 0; k < 4; ++k) bytes[rng.below(bytes.size())] = static_cast<std::byte>(rng());
    if (rng.chance(0.3)) bytes.resize(rng.below(bytes.size()));
    (void)decode_record(bytes);  // an error or another record, never a crash
  }
  CHECK_FALSE(decode_record(byte_buffer(3)));
}

TEST_CASE("a record that announces more than it has bytes for is an error") {
  auto bytes = encode_record({{1}, go_record{{some_request, {{1}, 10}}, {{"n0", {12}, {13}, "", 1, {0}}}}});
  // The tag of the member table: one member of three words and three pointers.
  const std::uint64_t one_member = std::uint64_t{0x00030003} << 32 | 1 << 2;
  const std::uint64_t empty_members = std::uint64_t{4'000'000} << 2;
  int tags = 0;
  for (std::size_t at = 0; at < bytes.size(); at += 8) {
    if (std::memcmp(bytes.data() + at, &one_member, 8) != 0) continue;
    std::memcpy(bytes.data() + at, &empty_members, 8);
    ++tags;
  }
  CHECK(tags == 1);
  CHECK_FALSE(decode_record(bytes));
}

TEST_CASE("what was synced is there after a restart, what was not is gone") {
  journal_folder dir;
  {
    auto j = open_file_journal(dir.path);
    REQUIRE(j);
    CHECK((*j)->known().records().empty());
    for (const auto& r : some_requests(3)) (*j)->append(r);
    CHECK(*(*j)->sync() == 4);
    (*j)->append(submitted(4));
  }
  CHECK(records_in(dir) == some_requests(3));
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
  const auto good = write(dir, some_requests(3));
  const auto whole = write(dir, {submitted(4)});
  const auto copy = dir.path + "/copy";
  std::filesystem::copy_file(dir.journal(), copy);
  for (auto size = good + 1; size < whole; size += 7) {
    std::filesystem::copy_file(copy, dir.journal(), std::filesystem::copy_options::overwrite_existing);
    std::filesystem::resize_file(dir.journal(), size);
    {
      auto j = open_file_journal(dir.path);
      REQUIRE(j);
      CHECK((*j)->known().records() == some_requests(3));
      write(**j, {submitted(5)});
    }
    CHECK(records_in(dir).size() == 5);
  }
}

TEST_CASE(
    "records of many blocks, written by many openings, are all there; a tear in a later block drops its sync alone") {
  journal_folder dir;
  write(dir, some_requests(0));
  std::uint32_t n = 0;
  while (n < 300) {
    auto j = open_file_journal(dir.path);
    REQUIRE(j);
    for (std::uint32_t some = 0; some < 3 + n % 40; ++some) write(**j, {submitted(++n)});
    REQUIRE((*j)->known().records() == some_requests(n));
  }
  CHECK(records_in(dir) == some_requests(n));
  const auto good = std::filesystem::file_size(dir.journal());
  CHECK(good > 5 * 4096);
  write(dir, {submitted(n + 1), submitted(n + 2)});
  const auto whole = std::filesystem::file_size(dir.journal());
  for (const auto size : {whole - 1, good + 70, good + 1}) {
    std::filesystem::resize_file(dir.journal(), size);
    const auto found = records_in(dir);
    CHECK(found.size() <= some_requests(n + 1).size());
    CHECK(std::equal(found.begin(), found.begin() + n + 1, some_requests(n).begin()));
  }
  CHECK(records_in(dir) == some_requests(n));
  write(dir, {submitted(n + 1)});
  CHECK(records_in(dir) == some_requests(n + 1));
}

TEST_CASE("space that a killed writer had taken ahead is no damage, whether a write into it was torn or not") {
  journal_folder dir, left;
  std::uint64_t end = 0;
  {
    auto j = open_file_journal(dir.path);
    write(**j, some_requests(3));
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
      CHECK((*j)->known().records() == some_requests(3));
    }
    CHECK(std::filesystem::file_size(left.journal()) == end);
    write(left, {submitted(4)});
    CHECK(records_in(left) == some_requests(4));
    std::filesystem::copy_file(dir.journal(), left.journal(), std::filesystem::copy_options::overwrite_existing);
    std::filesystem::resize_file(left.journal(), taken);
  }
}

TEST_CASE("of a sync that was torn in its middle nothing behind the tear counts") {
  journal_folder dir;
  const auto first = write(dir, {{{1}, term_record{}}});
  write(dir, {submitted(1), submitted(2)});  // one sync
  corrupt(dir.journal(), first + 30);
  CHECK(records_in(dir) == some_requests(0));
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

TEST_CASE("a memory journal forgets what was not synced, as a disk does") {
  auto disk = std::make_shared<digest>();
  {
    auto j = open_memory_journal(disk);
    write(*j, some_requests(1));
    j->append(submitted(2));
  }
  CHECK(open_memory_journal(disk)->known().records() == some_requests(1));
}

TEST_CASE("a journal stays small whatever it lives through, and keeps what is not over") {
  const journal_folder dir;
  constexpr std::uint64_t limit = 16 << 10;
  std::uint64_t most = 0;
  {
    auto j = open_file_journal(dir.path, {.compact_after = limit});
    REQUIRE(j);
    write(**j, some_requests(3));
    for (std::uint32_t i = 0; i < 2000; ++i) {
      const request_id id{{1, 2}, 9, i, 0};
      auto what = std::get<submitted_record>(submitted(4).body).request;
      what.id = id;
      write(**j, {{{1}, submitted_record{what, 4 + i}}, {{1}, closed_record{{id, {}}, close_reason::released, {}}}});
      most = std::max(most, static_cast<std::uint64_t>(std::filesystem::file_size(dir.journal())));
    }
    CHECK_FALSE(std::filesystem::exists(dir.journal() + ".new"));
    // As a kill leaves it, and with a new file that was not finished.
    const journal_folder left;
    std::filesystem::copy_file(dir.journal(), left.journal());
    left.write("journal.new", "HYDJ");
    CHECK(records_in(left) == (*j)->known().records());
    CHECK_FALSE(std::filesystem::exists(left.journal() + ".new"));
  }
  // A thousand ends are kept, of about 150 bytes each; beside them stands what is taken ahead.
  CHECK(most < 2 * (200'000 + limit) + (1 << 20));
  const auto kept = records_in(dir);
  CHECK(std::vector(kept.end() - 3, kept.end()) == std::vector{submitted(1), submitted(2), submitted(3)});
  CHECK(kept.size() == 1 + 1000 + 3);
}

TEST_CASE("what is written after a journal was written anew is there after a restart; damage in it is told apart") {
  const journal_folder dir;
  {
    auto j = open_file_journal(dir.path, {.compact_after = 1});
    REQUIRE(j);
    for (std::uint32_t n = 1; n < 40; ++n) write(**j, {submitted(n)});
  }
  CHECK(records_in(dir) == some_requests(39));
  const auto size = std::filesystem::file_size(dir.journal());
  write(dir, {submitted(40)});
  corrupt(dir.journal(), 40);
  auto j = open_file_journal(dir.path);
  REQUIRE_FALSE(j);
  CHECK(j.error().where == dir.journal() + ", offset 8");
  corrupt(dir.journal(), 40);
  corrupt(dir.journal(), size + 30);
  CHECK(records_in(dir) == some_requests(39));
  // Also where nothing was written since.
  write(**open_file_journal(dir.path, {.compact_after = 1}), {submitted(40)});
  CHECK(records_in(dir) == some_requests(40));
  corrupt(dir.journal(), 40);
  CHECK_FALSE(open_file_journal(dir.path));
}

TEST_CASE("a full disk is noticed while there is room for what ends, and over when there is room again") {
  const journal_folder dir;
  // To this process a disk ends where its files may not grow any more.
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const auto limit = [&](rlim_t size) {
    const rlimit now{size, before.rlim_max};
    REQUIRE(setrlimit(RLIMIT_FSIZE, &now) == 0);
  };
  auto j = open_file_journal(dir.path);
  REQUIRE(j);
  write(**j, some_requests(0));
  const auto taken = std::filesystem::file_size(dir.journal());
  if (taken > 1000) {  // else this file system takes no space ahead
    limit(taken);
    std::uint32_t n = 0;
    while ((*j)->shortage().code == errc::none && n < 100'000) write(**j, {submitted(++n)});
    CHECK((*j)->shortage().message().find(dir.journal()) != std::string::npos);
    CHECK((*j)->shortage().message().find("free space") != std::string::npos);
    for (std::uint32_t more = 0; more < 500; ++more) write(**j, {{{1}, cancelled_record{{{1, 2}, 3, more, 0}}}});
    limit(before.rlim_cur);
    CHECK((*j)->shortage().code != errc::none);
    REQUIRE((*j)->sync());  // of nothing
    CHECK((*j)->shortage().code == errc::none);
  }
  limit(before.rlim_cur);
  std::signal(SIGXFSZ, handler);
}
