#include <hydrogen/base/unique_fd.hpp>
#include <hydrogen/comm/secret.hpp>

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace hydrogen::comm {
namespace {

constexpr std::size_t digits = 2 * sizeof(secret::key);

int value_of(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string octal(unsigned mode) {
  char text[8];
  std::snprintf(text, sizeof text, "%03o", mode);
  return text;
}

}  // namespace

void fill_random(mutable_byte_view out) {
  while (!out.empty()) {
    const auto n = getrandom(out.data(), out.size(), 0);
    if (n < 0) {
      invariant(errno == EINTR, "the operating system has no random bytes");
      continue;
    }
    out = out.subspan(static_cast<std::size_t>(n));
  }
}

bool same_proof(const proof& a, const proof& b) {
  return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

secret secret::random() {
  key bytes;
  fill_random(bytes);
  secret made(bytes);
  OPENSSL_cleanse(bytes.data(), bytes.size());
  return made;
}

secret::~secret() {
  OPENSSL_cleanse(key_.data(), key_.size());
}

bool secret::operator==(const secret& other) const {
  return same_proof(key_, other.key_);
}

expected<secret> secret::load(const std::string& path) {
  // O_NONBLOCK: a named pipe in its place must not hang the start of a node.
  unique_fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!fd) {
    if (errno == ENOENT || errno == ENOTDIR) {
      return fail(errc::not_found, "there is no secret file", path, "copy the cluster's secret file to this path");
    }
    if (errno == EACCES) {
      return fail(errc::refused, "this user may not read the secret file", path, "chown it to the user who runs this");
    }
    return fail_errno("open", path);
  }
  struct stat info {};
  if (fstat(fd.get(), &info) != 0) return fail_errno("fstat", path);
  if (!S_ISREG(info.st_mode)) return fail(errc::bad_input, "the secret is not a regular file", path);
  if (info.st_uid != geteuid()) {
    return fail(errc::refused, "the secret file belongs to another user (uid " + std::to_string(info.st_uid) + ")",
                path, "chown it to the user who runs this");
  }
  if ((info.st_mode & 077) != 0) {
    return fail(errc::refused, "others may read the secret file: its mode is " + octal(info.st_mode & 07777), path,
                "chmod 600 " + path);
  }

  std::array<char, digits + 2> text;  // one more than a file with a newline at its end
  std::size_t size = 0;
  while (size < text.size()) {
    const auto n = read(fd.get(), text.data() + size, text.size() - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("read", path);
    if (n == 0) break;
    size += static_cast<std::size_t>(n);
  }
  bool good = size == digits || (size == digits + 1 && text[digits] == '\n');
  key bytes{};
  for (std::size_t i = 0; good && i < bytes.size(); ++i) {
    const int high = value_of(text[2 * i]);
    const int low = value_of(text[2 * i + 1]);
    good = high >= 0 && low >= 0;
    bytes[i] = static_cast<std::byte>(high << 4 | low);
  }
  expected<secret> result = secret(bytes);
  OPENSSL_cleanse(text.data(), text.size());
  OPENSSL_cleanse(bytes.data(), bytes.size());
  if (!good) {
    return fail(
        errc::bad_input,
        "a secret is " + std::to_string(digits) + " hexadecimal digits on one line; this file holds something else",
        path, "copy the cluster's secret file again, or remove it and make a new one for the whole cluster");
  }
  return result;
}

expected<void> secret::save_new(const std::string& path) const {
  unique_fd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd) {
    if (errno == EEXIST)
      return fail(errc::refused, "there is a secret file already", path, "remove it first if no node uses it");
    return fail_errno("create", path);
  }
  std::array<char, digits + 1> text;
  for (std::size_t i = 0; i < key_.size(); ++i) {
    const auto b = std::to_integer<unsigned>(key_[i]);
    text[2 * i] = "0123456789abcdef"[b >> 4];
    text[2 * i + 1] = "0123456789abcdef"[b & 15];
  }
  text[digits] = '\n';
  const auto n = write(fd.get(), text.data(), text.size());
  const int code = errno;
  OPENSSL_cleanse(text.data(), text.size());
  if (n == static_cast<ssize_t>(text.size()) && fsync(fd.get()) == 0) return {};
  errno = n < 0 ? code : (n == static_cast<ssize_t>(text.size()) ? errno : ENOSPC);
  auto problem = fail_errno("write", path);
  unlink(path.c_str());
  return problem;
}

proof secret::sign(byte_view message) const {
  proof out;
  unsigned size = 0;
  const auto* done = HMAC(EVP_sha256(), key_.data(), static_cast<int>(key_.size()),
                          reinterpret_cast<const unsigned char*>(message.data()), message.size(),
                          reinterpret_cast<unsigned char*>(out.data()), &size);
  invariant(done != nullptr && size == out.size(), "HMAC-SHA256 is not available in this OpenSSL");
  return out;
}

}  // namespace hydrogen::comm
