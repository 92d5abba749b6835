#pragma once
// The bytes of the handshake that begins every connection. Writer and reader share this header; nothing here does I/O.
//
//   dialler                                             acceptor
//   opening: magic, version, nonce c         ->
//                                            <-         opening: magic, version, nonce s
//   claim: length, proof, hello              ->
//                                            <-         answer: verdict, boot, proof
//
// The proof of the dialler is HMAC(secret, "dialler" c s SHA-256(hello)), that of the acceptor HMAC(secret, "acceptor"
// c s SHA-256(hello) verdict boot). Each names its role, so that neither can be sent back to its maker; both nonces, so
// that neither can be used again; and the hello. The acceptor proves nothing before it has checked the dialler's proof:
// a stranger gets a verdict and no proof. Numbers are little-endian.
// After the usual shape of mutual challenge and response: Bellare and Rogaway, "Entity Authentication and Key
// Distribution", 1993. A party in the middle who forwards every byte is not kept out: that needs encryption.

#include <hydrogen/base/ids.hpp>
#include <hydrogen/comm/hello.hpp>
#include <hydrogen/comm/secret.hpp>

#include <array>
#include <cstdint>
#include <optional>

namespace hydrogen::comm::handshake {

using nonce = std::array<std::byte, 32>;

struct opening {
  std::uint32_t version = protocol_version;
  nonce challenge{};
};
inline constexpr std::size_t opening_size = 8 + 4 + 32;
using opening_bytes = std::array<std::byte, opening_size>;
/// With a fresh nonce.
opening make_opening();
opening_bytes write_opening(const opening& o);
/// Nothing when it is not Hydrogen's magic.
std::optional<opening> read_opening(byte_view bytes);

/// Before the hello: its length and the dialler's proof.
struct claim {
  std::uint32_t hello_size = 0;
  proof by_dialler{};
};
inline constexpr std::size_t claim_size = 4 + 32;
byte_buffer write_claim(const proof& by_dialler, byte_view hello);
claim read_claim(byte_view bytes);

enum class verdict : std::uint8_t {
  welcome,
  wrong_secret,  // the only verdict that comes without a proof
  wrong_boot,    // the hello is for another process than the one that listens
  bad_hello      // proven, and not to be understood
};
struct answer {
  verdict says = verdict::wrong_secret;
  boot_id from;
  proof by_acceptor{};
};
inline constexpr std::size_t answer_size = 1 + 8 + 32;
using answer_bytes = std::array<std::byte, answer_size>;
answer_bytes write_answer(const answer& a);
answer read_answer(byte_view bytes);

proof prove_as_dialler(const secret& s, const nonce& dialler, const nonce& acceptor, byte_view hello);
proof prove_as_acceptor(const secret& s, const nonce& dialler, const nonce& acceptor, byte_view hello, verdict says,
                        boot_id from);

}  // namespace hydrogen::comm::handshake
