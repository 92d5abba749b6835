// A coordinator's journal whose file has any content. It is refused, or what it comes to stays the same when the file
// is opened, written anew and opened again.
//
//     input: | flags u8 | operation u8, size u16, bytes, length u32 of record_of_other_length | ...
#include <hydrogen/base/unique_fd.hpp>
#include <hydrogen/gang/journal.hpp>
#include <hydrogen/gang/journal_format.hpp>

#include "target.hpp"
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>

using namespace hydrogen;
namespace format = gang::journal_format;

namespace {

enum flag : std::uint8_t { whole_file = 1, compacts = 2 };
enum operation : std::uint8_t {
  record,
  record_of_next_sync,
  record_of_wrong_hash,
  record_of_other_length,
  bytes,
  zeros,
  operations
};

/// A folder of this process in the folder for temporary files.
struct scratch {
  scratch() : path((std::filesystem::temp_directory_path() / "hydrogen-fuzz-XXXXXX").string()) {
    fuzz::must(::mkdtemp(path.data()) != nullptr, "no folder for a journal");
  }
  ~scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::string path;
};

byte_buffer content_of(std::uint8_t flags, fuzz::reader& in) {
  byte_buffer file;
  encoder into(file);
  if ((flags & whole_file) != 0) {
    const auto rest = in.rest();
    into.raw(rest.data(), rest.size());
    return file;
  }
  into.raw(format::magic.data(), format::magic.size());
  std::uint64_t batch = file.size();
  while (!in.empty()) {
    const auto what = in.number<std::uint8_t>() % operations;
    const auto size = in.number<std::uint16_t>();
    if (what == zeros) {
      file.resize(file.size() + size % 300);  // behind damage, a reader looks at every byte
      continue;
    }
    const auto body = in.take(size);
    if (what != bytes) {
      if (what == record_of_next_sync) batch = file.size();
      format::header h;
      h.length = what == record_of_other_length ? in.number<std::uint32_t>() : static_cast<std::uint32_t>(body.size());
      h.batch = batch;
      h.hash = hash_bytes(body) ^ (what == record_of_wrong_hash ? 1u : 0u);
      h.check = h.expected_check(file.size());
      into.put(h);
    }
    into.raw(body.data(), body.size());
  }
  return file;
}

void write(const std::string& path, byte_view content) {
  const unique_fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  fuzz::must(fd && ::write(fd.get(), content.data(), content.size()) == static_cast<ssize_t>(content.size()),
             "the file of a journal cannot be written");
}

/// What a journal comes to; requests of one place stand in any order.
std::vector<byte_buffer> sum_of(const gang::digest& known) {
  std::vector<byte_buffer> all;
  for (const auto& r : known.records()) all.push_back(encode_record(r));
  std::sort(all.begin(), all.end());
  return all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const scratch folder;
  fuzz::reader in(data, size);
  const auto flags = in.number<std::uint8_t>();
  const auto content = content_of(flags, in);
  write(folder.path + "/journal", content);
  const gang::file_journal_options options{(flags & compacts) != 0 ? 1u : 4u << 20};

  const fuzz::allocation_limit limit((2 << 20) + 1024 * content.size());
  std::vector<byte_buffer> first;
  {
    auto opened = gang::open_file_journal(folder.path, options);
    if (!opened) {
      fuzz::must(opened.error().code == errc::bad_input, "a journal is refused for another reason than its content");
      return 0;
    }
    auto& journal = **opened;
    const auto term = std::max(journal.known().term(), term_id{1});
    journal.append({term, gang::drain_record{"node", true}});
    fuzz::must(journal.sync().has_value(), "a journal that was read cannot be written");
    first = sum_of(journal.known());
  }
  auto again = gang::open_file_journal(folder.path, options);
  fuzz::must(again.has_value(), "a journal cannot be read again");
  fuzz::must(sum_of((*again)->known()) == first, "a journal comes to something else when it is read again");
  fuzz::must((*again)->known().drained().contains("node"), "a journal has lost a record that was synced");
  return 0;
}
