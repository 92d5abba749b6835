#include <hydrogen/comm/handshake.hpp>

#include <doctest/doctest.h>

using namespace hydrogen;
using namespace hydrogen::comm;
using namespace hydrogen::comm::handshake;

TEST_CASE("every part of the handshake reads back as it was written") {
  const auto o = make_opening();
  const auto read = read_opening(write_opening(o));
  REQUIRE(read);
  CHECK(read->version == protocol_version);
  CHECK(read->challenge == o.challenge);
  CHECK(make_opening().challenge != o.challenge);

  proof p;
  fill_random(p);
  const auto said = as_byte_view("the hello");
  const auto bytes = write_claim(p, said);
  CHECK(bytes.size() == claim_size + said.size());
  const auto c = read_claim(bytes);
  CHECK(c.hello_size == said.size());
  CHECK(c.by_dialler == p);

  const auto a = read_answer(write_answer({verdict::wrong_boot, {42}, p}));
  CHECK(a.says == verdict::wrong_boot);
  CHECK(a.from == boot_id{42});
  CHECK(a.by_acceptor == p);
}

TEST_CASE("an opening without the magic is none") {
  auto bytes = write_opening(make_opening());
  bytes[0] = std::byte{'h'};
  CHECK_FALSE(read_opening(bytes));
  CHECK_FALSE(read_opening({}));
}

TEST_CASE("a proof is bound to secret, role, both nonces, hello, verdict and boot") {
  const auto key = secret::random();
  const auto c = make_opening().challenge;
  const auto s = make_opening().challenge;
  const auto said = as_byte_view("hello");
  const auto dialler = prove_as_dialler(key, c, s, said);
  CHECK(dialler == prove_as_dialler(key, c, s, said));
  CHECK(dialler != prove_as_dialler(secret::random(), c, s, said));
  CHECK(dialler != prove_as_dialler(key, s, c, said));
  CHECK(dialler != prove_as_dialler(key, c, c, said));
  CHECK(dialler != prove_as_dialler(key, c, s, as_byte_view("hellp")));

  const auto acceptor = prove_as_acceptor(key, c, s, said, verdict::welcome, {1});
  CHECK(acceptor != dialler);
  CHECK(acceptor != prove_as_acceptor(key, s, c, said, verdict::welcome, {1}));
  CHECK(acceptor != prove_as_acceptor(key, c, s, as_byte_view("hellp"), verdict::welcome, {1}));
  CHECK(acceptor != prove_as_acceptor(key, c, s, said, verdict::wrong_boot, {1}));
  CHECK(acceptor != prove_as_acceptor(key, c, s, said, verdict::welcome, {2}));
}
