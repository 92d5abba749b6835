#include <hydrogen/actors/scratch_folder.hpp>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <set>

namespace hydrogen::actors {
namespace {

namespace fs = std::filesystem;

constexpr const char* name_start = "hydrogen-";
constexpr std::size_t name_size = 15;  // with the six characters of mkdtemp
constexpr const char* owner_file = "/owner";

struct owned_folders {
  std::mutex mutex;
  std::set<std::string> paths;
};
owned_folders& owned() {
  static auto* all = new owned_folders;  // used while the process ends
  return *all;
}

void remove_all(const std::string& path) {
  std::error_code ignored;
  fs::remove_all(path, ignored);
  fs::remove_all(path, ignored);  // what another process made meanwhile
}

/// Folders whose owner is gone: nobody holds the lock.
void sweep(const fs::path& where) {
  std::error_code ignored;
  for (fs::directory_iterator at(where, ignored), end; !ignored && at != end; at.increment(ignored)) {
    const auto name = at->path().filename().string();
    if (!name.starts_with(name_start) || name.size() != name_size) continue;
    const unique_fd owner(open((at->path().string() + owner_file).c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
    if (owner && flock(owner.get(), LOCK_EX | LOCK_NB) == 0) remove_all(at->path().string());
  }
}

}  // namespace

expected<scratch_folder> scratch_folder::make() {
  const auto where = fs::temp_directory_path();
  sweep(where);
  scratch_folder made;
  auto pattern = (where / (std::string(name_start) + "XXXXXX")).string();
  if (mkdtemp(pattern.data()) == nullptr) return fail_errno("mkdtemp", pattern);
  made.path_ = pattern;
  {
    std::lock_guard lock(owned().mutex);
    owned().paths.insert(pattern);
  }
  // Locked under another name: a file `owner` is never there without its lock.
  const auto fresh = pattern + owner_file + ".new";
  made.owner_ = unique_fd(open(fresh.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!made.owner_ || flock(made.owner_.get(), LOCK_EX | LOCK_NB) != 0) return fail_errno("lock", fresh);
  if (rename(fresh.c_str(), (pattern + owner_file).c_str()) != 0) return fail_errno("rename", fresh);
  return made;
}

scratch_folder::~scratch_folder() {
  if (path_.empty()) return;
  remove_all(path_);
  std::lock_guard lock(owned().mutex);
  owned().paths.erase(path_);
}

void remove_scratch_folders() {
  std::lock_guard lock(owned().mutex);
  for (const auto& path : owned().paths) remove_all(path);
}

}  // namespace hydrogen::actors
