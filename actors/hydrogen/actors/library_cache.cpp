#include <hydrogen/actors/library_cache.hpp>
#include <hydrogen/base/unique_fd.hpp>
#include <hydrogen/comm/block_client.hpp>
#include <hydrogen/data/block.hpp>

#include <fcntl.h>
#include <spdlog/fmt/fmt.h>
#include <sys/stat.h>

#include <cstring>
#include <filesystem>

namespace hydrogen::actors {
namespace {

bool has_content(const std::string& path, const gang::application_ref& app) {
  std::error_code ignored;
  if (path.empty() || std::filesystem::file_size(path, ignored) != app.size || ignored) return false;
  const auto hash = content_hash_of_file(path);
  return hash && *hash == app.hash;
}

expected<void> write_whole(const std::string& path, byte_view bytes) {
  unique_fd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700));
  if (!fd) return fail_errno("open", path);
  while (!bytes.empty()) {
    const auto n = write(fd.get(), bytes.data(), bytes.size());
    if (n < 0) return fail_errno("write", path);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

}  // namespace

expected<std::string> library_in_cache(const gang::application_ref& app, const std::string& cache_dir,
                                       const comm::secret& secret, boot_id self) {
  const auto cached = fmt::format("{}/{}.so", cache_dir, to_string(app.hash));
  if (has_content(cached, app)) return cached;
  if (has_content(app.library, app)) return app.library;
  if (app.endpoint.empty()) {
    return fail(errc::not_found, fmt::format("the library with content {} is not on this node", to_string(app.hash)),
                app.library);
  }
  const auto id = data::block_id::content(app.hash);
  comm::block_key key;
  std::memcpy(key.data(), &id, sizeof id);
  comm::block_client client(secret, self);
  auto fetched = client.fetch(app.endpoint, app.driver, std::span(&key, 1), nullptr, 30s);
  if (!fetched) return unexpected(std::move(fetched.error()));
  const byte_view bytes = fetched->front().bytes();
  if (content_hash(bytes) != app.hash) {
    return fail(errc::mismatch, "the library that the driver sent has another content than it announced", app.library,
                "was it rebuilt while the driver ran?");
  }
  const auto temporary = fmt::format("{}.{}", cached, getpid());
  unlink(temporary.c_str());  // of a process that had this number before and was killed
  if (auto written = write_whole(temporary, bytes); !written) {
    unlink(temporary.c_str());
    return unexpected(std::move(written.error()));
  }
  if (rename(temporary.c_str(), cached.c_str()) != 0) {
    auto why = fail_errno("rename", cached);
    unlink(temporary.c_str());
    return why;
  }
  return cached;
}

}  // namespace hydrogen::actors
