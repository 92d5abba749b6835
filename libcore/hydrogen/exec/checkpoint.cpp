#include <hydrogen/base/unique_fd.hpp>
#include <hydrogen/exec/checkpoint.hpp>

#include <fcntl.h>
#include <spdlog/fmt/fmt.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>

namespace hydrogen::exec {
namespace {

constexpr const char* hint_to_retrain =
    "remove the run's directory under storage.dir and run again; nothing else can restore this step";

expected<void> sync_directory(const std::filesystem::path& path) {
  unique_fd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail_errno("open", path);
  if (fsync(fd.get()) != 0) return fail_errno("fsync", path);
  return {};
}

}  // namespace

std::string checkpoint_path(const std::string& storage, const request_id& request, const attempt_id& attempt,
                            std::uint64_t step, std::uint32_t rank) {
  return fmt::format("{}/{}/j{}-s{}-{}/{}/step-{}/rank-{}", storage, to_string(request.run), request.job, request.stage,
                     request.k, to_string(attempt), step, rank);
}

expected<void> write_piece(const std::string& path, byte_view bytes) {
  const std::filesystem::path target(path);
  const auto unfinished = path + ".part";
  {
    unique_fd fd;
    // Another rank that removes its piece of the same step removes the directory with it when that is empty.
    constexpr int tries = 3;
    for (int i = 0; !fd && i < tries; ++i) {
      std::error_code ec;
      std::filesystem::create_directories(target.parent_path(), ec);
      if (ec)
        return fail(errc::io, "cannot be made: " + ec.message(), target.parent_path(),
                    "storage.dir must be writable on every node");
      fd.reset(open(unfinished.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
      if (!fd && errno != ENOENT) break;
    }
    if (!fd) return fail_errno("open", unfinished);
    for (auto left = bytes; !left.empty();) {
      const auto n = write(fd.get(), left.data(), left.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return fail_errno("write", unfinished);
      left = left.subspan(static_cast<std::size_t>(n));
    }
    if (fsync(fd.get()) != 0) return fail_errno("fsync", unfinished);
  }
  if (rename(unfinished.c_str(), path.c_str()) != 0) return fail_errno("rename", path);
  // The entry of the file, and those of the directories that may be new.
  auto directory = target.parent_path();
  for (int level = 0; level < 4; ++level, directory = directory.parent_path()) {
    if (auto synced = sync_directory(directory); !synced) return synced;
  }
  return {};
}

expected<byte_buffer> read_piece(const std::string& path, const hash128& hash) {
  unique_fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) {
    if (errno == ENOENT) return fail(errc::not_found, "a piece of the checkpoint is missing", path, hint_to_retrain);
    return fail_errno("open", path);
  }
  struct stat info {};
  if (fstat(fd.get(), &info) != 0) return fail_errno("stat", path);
  byte_buffer bytes(static_cast<std::size_t>(info.st_size));
  std::size_t at = 0;
  while (at < bytes.size()) {
    const auto n = read(fd.get(), bytes.data() + at, bytes.size() - at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("read", path);
    if (n == 0) break;
    at += static_cast<std::size_t>(n);
  }
  bytes.resize(at);
  const auto found = content_hash(bytes);
  if (found != hash) {
    return fail(errc::bad_input,
                "a piece of the checkpoint is damaged: its hash is " + to_string(found) + ", it was written with " +
                    to_string(hash),
                path, hint_to_retrain);
  }
  return bytes;
}

void remove_piece(const std::string& path) {
  std::error_code ignored;
  std::filesystem::remove(path, ignored);
  std::filesystem::remove(std::filesystem::path(path).parent_path(),
                          ignored);  // fails while other ranks' pieces are there
}

expected<void> remove_checkpoints(const std::string& storage, const run_id& run) {
  const auto folder = storage + "/" + to_string(run);
  std::error_code ec;
  std::filesystem::remove_all(folder, ec);
  // Agents that share the storage may be at it together.
  if (ec && ec != std::errc::no_such_file_or_directory && ec != std::errc::directory_not_empty) {
    return fail(errc::io, "the checkpoints of a run that is over cannot be removed: " + ec.message(), folder,
                "remove the folder by hand");
  }
  return {};
}

}  // namespace hydrogen::exec
