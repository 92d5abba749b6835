#include <hydrogen/base/unique_fd.hpp>
#include <hydrogen/gang/durable_writer.hpp>
#include <hydrogen/gang/journal.hpp>
#include <hydrogen/gang/journal_format.hpp>

#include <fcntl.h>
#include <spdlog/fmt/fmt.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

namespace hydrogen::gang {
namespace {

namespace format = journal_format;

// Space is taken from the file system ahead of the records, since a sync that changes the file's size costs about half
// as much again; and so that a disk that is full is noticed while there is room for the ends of what runs: half of this
// holds some hundred records at least. What is ahead is zero, and is given back when the journal is closed.
constexpr std::uint64_t ahead = 512 << 10;

// Of that, so much at a time is written before it is needed: the first write to a block that is only taken changes what
// the file system knows of the file, and its sync costs another half as much (ext4, where a gang fills about a block).
constexpr std::uint64_t zeroed_at_once = 128 << 10;

constexpr auto block = durable_writer::block;

/// A good record that starts at `at`, or nothing.
struct found_record {
  format::header header;
  byte_view bytes;
};
std::optional<found_record> record_at(byte_view file, std::size_t at) {
  if (file.size() - at < format::header_size) return std::nullopt;
  const auto header = decode<format::header>(file.subspan(at, format::header_size));
  if (!header || header->check != header->expected_check(at)) return std::nullopt;
  if (header->length > format::max_record || header->length > file.size() - at - format::header_size)
    return std::nullopt;
  const auto bytes = file.subspan(at + format::header_size, header->length);
  if (hash_bytes(bytes) != header->hash) return std::nullopt;
  return found_record{*header, bytes};
}

/// The place of the first good record behind `bad` that a later sync wrote, or 0.
std::size_t later_sync(byte_view file, std::size_t bad) {
  for (auto at = bad + 1; at < file.size(); ++at) {
    if (const auto found = record_at(file, at); found && found->header.batch > bad) return at;
  }
  return 0;
}

expected<byte_buffer> read_whole(int fd, const std::string& path) {
  byte_buffer all;
  for (;;) {
    const auto size = all.size();
    all.resize(size + (1 << 16));
    const auto n = ::read(fd, all.data() + size, all.size() - size);
    if (n < 0 && errno == EINTR) {
      all.resize(size);
      continue;
    }
    if (n < 0) return fail_errno("read", path);
    all.resize(size + static_cast<std::size_t>(n));
    if (n == 0) return all;
  }
}

expected<void> write_all(int fd, std::uint64_t at, byte_view bytes, const std::string& path) {
  if (write_at(fd, at, bytes) < bytes.size()) return fail_errno("write", path);
  return {};
}

expected<unique_fd> lock_directory(const std::string& directory) {
  const auto path = directory + "/" + std::string(format::lock_name);
  unique_fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd) return fail_errno("open", path);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return fail_errno("flock", path);
    char holder[32] = {};
    const auto n = ::pread(fd.get(), holder, sizeof holder - 1, 0);
    const auto pid = n > 0 ? std::string(holder, static_cast<std::size_t>(n)) : std::string("unknown");
    return fail(errc::refused, "another coordinator, process " + pid + ", uses this directory", directory,
                "stop it first, or give this one a directory of its own");
  }
  const auto pid = std::to_string(::getpid());
  if (::ftruncate(fd.get(), 0) != 0 || ::pwrite(fd.get(), pid.data(), pid.size(), 0) < 0) {
    return fail_errno("write", path);
  }
  return fd;
}

class file_journal final : public journal {
 public:
  static expected<std::unique_ptr<journal>> open(const std::string& directory, file_journal_options options) {
    std::error_code failed;
    std::filesystem::create_directories(directory, failed);
    if (failed) return fail(errc::io, "cannot make the directory: " + failed.message(), directory);
    auto lock = lock_directory(directory);
    if (!lock) return tl::make_unexpected(lock.error());
    auto j = std::unique_ptr<file_journal>(new file_journal);
    j->options_ = options;
    j->lock_ = std::move(*lock);
    j->directory_ = directory;
    j->path_ = directory + "/" + std::string(format::file_name);
    ::unlink(j->path_of_new().c_str());  // of a writer that was killed before it took the place of the old one
    j->file_.reset(::open(j->path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!j->file_) return fail_errno("open", j->path_);
    if (auto ok = j->load(); !ok) return tl::make_unexpected(ok.error());
    if (auto ok = j->open_end(); !ok) return tl::make_unexpected(ok.error());
    return j;
  }

  ~file_journal() override {
    if (!has_zeros_ && allocated_ <= size_) return;
    if (::ftruncate(file_.get(), static_cast<off_t>(size_)) != 0) return;  // zeros do no harm
  }

  const digest& known() const override { return known_; }
  const error& shortage() const override { return shortage_; }

  void append(const record& r) override {
    put(end_, end_begin(), size_, r);
    known_.add(r);
    ++appended_;
  }

  expected<std::uint64_t> sync() override {
    if (broken_) return fail(errc::io, "a write of the journal failed before", path_, "restart the coordinator");
    const bool was_short = shortage_.code != errc::none;
    const auto end = end_begin() + end_.size();
    if (end == size_ && !was_short) return appended_;
    broken_ = true;
    has_zeros_ = true;
    take_space(end);
    if (end != size_) {
      if (auto ok = writer_.write(end_begin(), end_, zeros_behind(end)); !ok) return tl::make_unexpected(ok.error());
      end_.erase(end_.begin(), end_.begin() + static_cast<std::ptrdiff_t>(end / block * block - end_begin()));
      if (end_.capacity() > ahead) end_.shrink_to_fit();
      size_ = end;
    }
    const auto grown = size_ - compacted_;
    const bool is_short = shortage_.code != errc::none;
    if ((grown >= options_.compact_after && grown >= compacted_) || (is_short && !was_short && grown >= ahead)) {
      if (auto ok = compact(); !ok) return tl::make_unexpected(ok.error());
    }
    broken_ = false;
    return appended_;
  }

 private:
  std::string path_of_new() const { return path_ + ".new"; }

  /// One record at the end of `out`, which begins at `begin` of the file.
  static void put(byte_buffer& out, std::uint64_t begin, std::uint64_t batch, const record& r) {
    const auto bytes = encode_record(r);
    invariant(bytes.size() <= format::max_record, "a journal record above 64 MiB");
    format::header h;
    h.length = static_cast<std::uint32_t>(bytes.size());
    h.batch = batch;
    h.hash = hash_bytes(bytes);
    h.check = h.expected_check(begin + out.size());
    encoder(out).put(h);
    out.insert(out.end(), bytes.begin(), bytes.end());
  }

  /// So that half of what is taken ahead is there when a disk turns out to be full. No error: what does not fit says
  /// so when it is written.
  void take_space(std::uint64_t end) {
    if (!takes_space_ || (end + ahead / 2 <= allocated_ && shortage_.code == errc::none)) return;
    shortage_ = {errc::none, {}, {}, {}};
    const auto upto = (end + 2 * ahead - 1) / ahead * ahead;
    const auto from = std::max(size_, allocated_);
    if (upto <= from || ::fallocate(file_.get(), 0, static_cast<off_t>(from), static_cast<off_t>(upto - from)) == 0) {
      allocated_ = std::max(upto, allocated_);
    } else if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG) {
      shortage_ = fail_errno("no room for the coordinator's journal: fallocate", path_).value();
      shortage_.code = errc::refused;
      shortage_.hint = "free space there; nothing new is started until then";
    } else if (errno != EINTR) {
      takes_space_ = false;  // this file system cannot: the file grows as it is written
    }
  }

  /// What is ahead has been written once when records come to it: how much is to be written now.
  std::uint64_t zeros_behind(std::uint64_t end) {
    if (end <= zeroed_ || allocated_ <= end) return 0;
    const auto zeros = std::min(zeroed_at_once, allocated_ - end);
    zeroed_ = end + zeros;
    return zeros;
  }

  /// Takes the place of the file with one of what its records come to. Where that cannot be written, all stays as it is
  /// until the file has grown again. Errors: it is not known which of the two a restart would find.
  expected<void> compact() {
    compacted_ = size_;
    const auto magic = as_byte_view(format::magic);
    byte_buffer records;
    // Each as a sync of its own: the file takes its place whole, so what is bad in it later is damage.
    for (const auto& r : known_.records()) put(records, magic.size(), magic.size() + records.size(), r);
    const auto path = path_of_new();
    unique_fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!file || !write_all(file.get(), 0, magic, path) || !write_all(file.get(), magic.size(), records, path) ||
        ::fsync(file.get()) != 0 || ::rename(path.c_str(), path_.c_str()) != 0) {
      ::unlink(path.c_str());
      return {};
    }
    if (auto ok = sync_directory(); !ok) return ok;
    file_ = std::move(file);
    size_ = compacted_ = magic.size() + records.size();
    allocated_ = zeroed_ = 0;
    if (auto ok = open_end(); !ok) return ok;
    take_space(size_);
    return {};
  }

  expected<void> sync_directory() const {
    const unique_fd dir(::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!dir || ::fsync(dir.get()) != 0) return fail_errno("fsync", directory_);
    return {};
  }

  /// Where the first block begins in which something is to be written.
  std::uint64_t end_begin() const { return size_ / block * block; }

  expected<void> open_end() {
    auto writer = durable_writer::open(path_);
    if (!writer) return tl::make_unexpected(writer.error());
    writer_ = std::move(*writer);
    end_.resize(size_ - end_begin());
    const auto n = ::pread(file_.get(), end_.data(), end_.size(), static_cast<off_t>(end_begin()));
    if (n != static_cast<ssize_t>(end_.size())) return fail_errno("read", path_);
    return {};
  }

  expected<void> load() {
    const auto file = read_whole(file_.get(), path_);
    if (!file) return tl::make_unexpected(file.error());
    const byte_view bytes = *file;
    const auto magic = as_byte_view(format::magic);
    if (bytes.size() < magic.size()) return begin();
    if (as_text(bytes.first(magic.size())) != format::magic) {
      return fail(errc::bad_input, "this is no journal of Hydrogen, or of another version of its format", path_,
                  "point the coordinator to another directory");
    }
    std::size_t at = magic.size();
    while (at < bytes.size()) {
      const auto found = record_at(bytes, at);
      if (!found) break;
      auto r = decode_record(found->bytes);
      if (!r) {
        r.error().where = fmt::format("{}, offset {}", path_, at);
        r.error().hint = "was it written by another build?";
        return tl::make_unexpected(r.error());
      }
      known_.add(*r);
      at += format::header_size + found->bytes.size();
    }
    const auto rest = bytes.subspan(at);
    if (std::all_of(rest.begin(), rest.end(), [](std::byte b) { return b == std::byte{}; })) {
      allocated_ = bytes.size();  // the writer was killed
    } else {
      if (const auto next = later_sync(bytes, at); next != 0) {
        return fail(errc::bad_input, fmt::format("the record is damaged; the next good one is at offset {}", next),
                    fmt::format("{}, offset {}", path_, at),
                    "restore the file from a copy, or move it away and lose what the coordinator knew");
      }
      if (::ftruncate(file_.get(), static_cast<off_t>(at)) != 0) return fail_errno("ftruncate", path_);
      if (::fdatasync(file_.get()) != 0) return fail_errno("fdatasync", path_);
    }
    size_ = at;
    return {};
  }

  /// A new file, or one whose first write was torn: nothing was durable yet.
  expected<void> begin() {
    if (::ftruncate(file_.get(), 0) != 0) return fail_errno("ftruncate", path_);
    if (auto ok = write_all(file_.get(), 0, as_byte_view(format::magic), path_); !ok) return ok;
    if (::fdatasync(file_.get()) != 0) return fail_errno("fdatasync", path_);
    size_ = format::magic.size();
    return sync_directory();
  }

  file_journal_options options_;
  unique_fd lock_;
  unique_fd file_;
  std::string directory_;
  std::string path_;
  digest known_;
  durable_writer writer_;
  byte_buffer end_;              // the file from `end_begin` on, with what is not durable yet
  std::uint64_t size_ = 0;       // durable bytes
  std::uint64_t allocated_ = 0;  // of the file, ahead; 0: none
  std::uint64_t zeroed_ = 0;     // bytes that have been written, if only with zeros
  std::uint64_t compacted_ = 0;  // size when it was last written anew, or would have been
  bool has_zeros_ = false;       // perhaps, behind the records
  bool takes_space_ = true;      // false: this file system cannot
  error shortage_{errc::none, {}, {}, {}};
  std::uint64_t appended_ = 0;
  bool broken_ = false;
};

class memory_journal final : public journal {
 public:
  explicit memory_journal(memory_disk disk) : disk_(std::move(disk)) {}
  const digest& known() const override { return *disk_; }
  void append(const record& r) override { pending_.push_back(r); }
  expected<std::uint64_t> sync() override {
    synced_ += pending_.size();
    for (const auto& r : pending_) disk_->add(r);
    pending_.clear();
    return synced_;
  }
  const error& shortage() const override {
    static const error none{errc::none, {}, {}, {}};
    return none;
  }

 private:
  memory_disk disk_;
  std::vector<record> pending_;
  std::uint64_t synced_ = 0;
};

}  // namespace

expected<std::unique_ptr<journal>> open_file_journal(const std::string& directory, file_journal_options options) {
  return file_journal::open(directory, options);
}

std::unique_ptr<journal> open_memory_journal(memory_disk disk) {
  return std::make_unique<memory_journal>(std::move(disk));
}

}  // namespace hydrogen::gang
