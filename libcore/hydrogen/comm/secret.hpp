#pragma once
// The secret of a cluster: 32 random bytes that every process of it knows and nobody else. It is kept as 64 hexadecimal
// digits in a file of mode 0600 that belongs to the user who runs the process; whoever can read that file can join.
// It proves identity when a connection is made; it encrypts nothing.
//
// A plain value, wiped when it goes. Any thread. Errors of files: `where` is the path, the hint is the command to run.

#include <hydrogen/base/bytes.hpp>

#include <array>
#include <string>

namespace hydrogen::comm {

/// An HMAC-SHA256 under the secret.
using proof = std::array<std::byte, 32>;

class secret {
 public:
  using key = std::array<std::byte, 32>;

  /// Fresh from the operating system's random source.
  static secret random();
  static secret from_key(const key& bytes) { return secret(bytes); }
  /// errc::not_found: no such file; errc::refused: others may read it, or it belongs to somebody else; errc::bad_input:
  /// it holds something else.
  static expected<secret> load(const std::string& path);

  secret(const secret&) = default;
  secret& operator=(const secret&) = default;
  ~secret();

  /// Writes a new file of mode 0600; an existing file is never replaced (errc::refused).
  expected<void> save_new(const std::string& path) const;

  proof sign(byte_view message) const;

  /// The bytes, to hand the secret to a child process over an inherited socket. Never to be logged.
  const key& bytes() const { return key_; }
  bool operator==(const secret& other) const;

 private:
  explicit secret(const key& bytes) : key_(bytes) {}
  key key_;
};

/// Compares in a time that does not depend on where they differ.
bool same_proof(const proof& a, const proof& b);

/// Fills `out` from the operating system's random source.
void fill_random(mutable_byte_view out);

}  // namespace hydrogen::comm
