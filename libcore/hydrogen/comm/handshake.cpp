#include <hydrogen/comm/handshake.hpp>

#include <openssl/sha.h>

#include <cstring>

namespace hydrogen::comm::handshake {
namespace {

constexpr char magic[9] = "HYDROGEN";

byte_buffer transcript(const char (&role)[9], const nonce& dialler, const nonce& acceptor, byte_view hello) {
  std::array<std::byte, SHA256_DIGEST_LENGTH> digest;
  SHA256(reinterpret_cast<const unsigned char*>(hello.data()), hello.size(),
         reinterpret_cast<unsigned char*>(digest.data()));
  byte_buffer out;
  encoder into(out);
  into.raw(role, 8);
  into.put(protocol_version);
  into.raw(dialler.data(), dialler.size());
  into.raw(acceptor.data(), acceptor.size());
  into.raw(digest.data(), digest.size());
  return out;
}

}  // namespace

opening make_opening() {
  opening o;
  fill_random(o.challenge);
  return o;
}

opening_bytes write_opening(const opening& o) {
  opening_bytes out;
  std::memcpy(out.data(), magic, 8);
  std::memcpy(out.data() + 8, &o.version, 4);
  std::memcpy(out.data() + 12, o.challenge.data(), 32);
  return out;
}

std::optional<opening> read_opening(byte_view bytes) {
  if (bytes.size() != opening_size || std::memcmp(bytes.data(), magic, 8) != 0) return std::nullopt;
  opening o;
  std::memcpy(&o.version, bytes.data() + 8, 4);
  std::memcpy(o.challenge.data(), bytes.data() + 12, 32);
  return o;
}

byte_buffer write_claim(const proof& by_dialler, byte_view hello) {
  byte_buffer out;
  encoder into(out);
  into.put(static_cast<std::uint32_t>(hello.size()));
  into.raw(by_dialler.data(), by_dialler.size());
  into.raw(hello.data(), hello.size());
  return out;
}

claim read_claim(byte_view bytes) {
  claim c;
  invariant(bytes.size() >= claim_size, "a claim of the handshake is read before it is complete");
  std::memcpy(&c.hello_size, bytes.data(), 4);
  std::memcpy(c.by_dialler.data(), bytes.data() + 4, 32);
  return c;
}

answer_bytes write_answer(const answer& a) {
  answer_bytes out;
  out[0] = static_cast<std::byte>(a.says);
  std::memcpy(out.data() + 1, &a.from.value, 8);
  std::memcpy(out.data() + 9, a.by_acceptor.data(), 32);
  return out;
}

answer read_answer(byte_view bytes) {
  answer a;
  invariant(bytes.size() == answer_size, "an answer of the handshake is read before it is complete");
  a.says = static_cast<verdict>(bytes[0]);
  std::memcpy(&a.from.value, bytes.data() + 1, 8);
  std::memcpy(a.by_acceptor.data(), bytes.data() + 9, 32);
  return a;
}

proof prove_as_dialler(const secret& s, const nonce& dialler, const nonce& acceptor, byte_view hello) {
  return s.sign(transcript("dialler ", dialler, acceptor, hello));
}

proof prove_as_acceptor(const secret& s, const nonce& dialler, const nonce& acceptor, byte_view hello, verdict says,
                        boot_id from) {
  auto text = transcript("acceptor", dialler, acceptor, hello);
  encoder into(text);
  into.put(says);
  into.put(from);
  return s.sign(text);
}

}  // namespace hydrogen::comm::handshake
