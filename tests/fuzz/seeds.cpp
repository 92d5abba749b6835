// Writes the seed corpus of each fuzz target, made by the writers of the formats: fuzz_seeds FOLDER makes
// FOLDER/frame/..., FOLDER/link/... and so on.
#include <hydrogen/comm/frame.hpp>
#include <hydrogen/comm/handshake.hpp>
#include <hydrogen/gang/journal.hpp>
#include <hydrogen/gang/journal_format.hpp>

#include <cstdio>
#include <filesystem>
#include <fstream>

using namespace hydrogen;

namespace {

class corpus {
 public:
  corpus(const std::filesystem::path& folder, const char* target) : folder_(folder / target) {
    std::filesystem::create_directories(folder_);
  }
  void add(byte_view input) {
    char name[16];
    std::snprintf(name, sizeof name, "%03d", count_++);
    std::ofstream(folder_ / name, std::ios::binary)
        .write(reinterpret_cast<const char*>(input.data()), static_cast<std::streamsize>(input.size()));
  }
  /// Parts, one behind the other: numbers as they are, containers by their elements.
  template <class... Ts>
  void add_parts(const Ts&... parts) {
    byte_buffer all;
    encoder into(all);
    const auto put = [&](const auto& x) {
      if constexpr (requires { x.data(); }) {
        into.raw(x.data(), x.size() * sizeof(*x.data()));
      } else {
        into.put(x);
      }
    };
    (put(parts), ...);
    add(all);
  }

 private:
  std::filesystem::path folder_;
  int count_ = 0;
};

using u8 = std::uint8_t;

std::vector<gang::record> records() {
  const request_id id{{1, 2}, 3, 4, 5};
  gang::slot_request what;
  what.id = id;
  what.kind = gang::request_kind::gang;
  what.least = what.most = 4;
  what.app = {id.run, "digits", "/lib/libdigits.so", {6, 7}, 8, {9}, "127.0.0.1:1"};
  what.label = "digits: train";
  what.avoid_nodes = {"n1", "n2"};
  what.needs = {{14, {{"gpu", 2}, {"tpu", 1}}}, {"zone=a", "ssd"}, placement::one_node};
  const gang::attempt_ref ref{id, {{1}, 10}};
  return {{{1}, gang::term_record{}},
          {{1}, gang::submitted_record{what, 11}},
          {{1}, gang::go_record{ref, {{"n0", {12}, {13}, "127.0.0.1:2", 2, {0, 1}}, {"n1", {}, {}, "", 2, {2, 3}}}}},
          {{1}, gang::closed_record{ref, gang::close_reason::again, {errc::none, {}, {}, {}}}},
          {{1}, gang::cancelled_record{id}},
          {{2}, gang::term_record{}},
          {{2}, gang::closed_record{ref, gang::close_reason::failed, {errc::refused, "what", "where", "hint"}}},
          {{2}, gang::drain_record{"n1", true}},
          {{2}, gang::run_over_record{id.run}}};
}

void write_frames(const std::filesystem::path& folder) {
  corpus out(folder, "frame");
  for (const std::uint64_t length : {0, 1, 8, 1000, 1 << 20}) {
    for (const auto kind : {comm::frame_kind::describe, comm::frame_kind::piece, comm::frame_kind::bye,
                            comm::frame_kind::waiting, comm::frame_kind::ask, comm::frame_kind::answer}) {
      comm::frame_header h{{1, {{2}, 3}}, 4, 5, 6, length, length, 7, 1, kind, 2, 8};
      comm::frame_prefix prefix;
      comm::encode_frame(h, prefix);
      out.add(prefix.bytes);
    }
  }
}

void write_streams(const std::filesystem::path& folder) {
  corpus out(folder, "link");
  enum : u8 { as_it_should, left_out, changed, damaged, cut, any, bye, raw, all_rest };
  for (u8 calls = 0; calls < 10; ++calls) {
    for (const u8 portions : {0, 1, 200}) out.add_parts(calls, portions, u8{all_rest});
    out.add_parts(calls, u8{0}, as_it_should, as_it_should, as_it_should);
    out.add_parts(calls, u8{3}, as_it_should, left_out, u8{all_rest});
    out.add_parts(calls, u8{4}, as_it_should, any, u8{0}, any, u8{1}, u8{all_rest});
    for (u8 field = 0; field < 12; ++field) {
      out.add_parts(calls, u8{0}, as_it_should, changed, field, std::uint64_t{1}, u8{all_rest});
      out.add_parts(calls, u8{0}, as_it_should, changed, field, std::uint64_t{1} << 32, u8{all_rest});
    }
    out.add_parts(calls, u8{5}, as_it_should, damaged, u8{8}, u8{1}, u8{all_rest});
    out.add_parts(calls, u8{5}, as_it_should, cut, std::uint32_t{60}, u8{all_rest});
    const auto why = encode(error{errc::timed_out, "rank 7 has not arrived", "somewhere", "look there"});
    out.add_parts(calls, u8{6}, as_it_should, bye, u8{5}, static_cast<std::uint16_t>(why.size()), why);
    comm::frame_prefix prefix;
    comm::encode_frame({}, prefix);
    out.add_parts(calls, u8{7}, raw, static_cast<std::uint16_t>(prefix.bytes.size()), prefix.bytes, u8{all_rest});
  }
}

void write_handshakes(const std::filesystem::path& folder) {
  const auto said = *comm::encode_hello(
      {comm::link_purpose::gang, {7}, {77}, "executor 7 on node-1", "127.0.0.1:4711", byte_buffer(40, std::byte{3})});
  auto to_another = said;
  to_another[9] ^= std::byte{1};
  auto bad = said;
  bad[0] = std::byte{9};
  const auto opening = comm::handshake::write_opening({});
  auto old = opening;
  old[8] = std::byte{0};
  const byte_buffer answer(comm::handshake::answer_size);

  corpus accept(folder, "accept");
  enum : u8 { raw_opening = 1, raw_claim = 2, other_size = 4, wrong_proof = 8 };
  for (const u8 portions : {0, 1}) {
    for (const auto& hello : {said, to_another, bad}) {
      accept.add_parts(u8{0}, portions, hello);
      accept.add_parts(u8{wrong_proof}, portions, hello);
    }
    accept.add_parts(u8{other_size}, portions, std::uint32_t{4097}, said);
    accept.add_parts(u8{other_size}, portions, std::uint32_t{10}, said);
    accept.add_parts(u8{raw_claim}, portions, answer);
    accept.add_parts(u8{raw_opening}, portions, opening, said);
    accept.add_parts(u8{raw_opening}, portions, old, said);
    accept.add_parts(u8{0}, portions, byte_buffer(5000));
  }

  corpus dial(folder, "dial");
  enum : u8 { raw_answer = 2, wrong_proof_of_answer = 4, other_verdict_proven = 8 };
  for (const u8 portions : {0, 1}) {
    for (const u8 verdict : {0, 1, 2, 3, 4}) {
      for (const u8 flags : {u8{0}, u8{wrong_proof_of_answer}, u8{other_verdict_proven}}) {
        dial.add_parts(flags, portions, verdict, std::uint64_t{5});
      }
    }
    dial.add_parts(u8{raw_answer}, portions, u8{0}, std::uint64_t{5}, answer);
    dial.add_parts(u8{raw_opening}, portions, u8{0}, std::uint64_t{5}, opening);
    dial.add_parts(u8{raw_opening}, portions, u8{0}, std::uint64_t{5}, old);
  }

  corpus control(folder, "control");
  const auto why = encode(error{errc::cancelled, "this process is ending", {}, {}});
  for (const u8 portions : {0, 1, 77}) {
    const auto frame = [](std::uint32_t size, u8 kind) {
      byte_buffer head;
      encoder into(head);
      into.put(size);
      into.put(kind);
      return head;
    };
    const byte_buffer body(100, std::byte{5});
    control.add_parts(portions, frame(100, 0), body, frame(0, 1), frame(0, 0), frame(0, 2), frame(100, 0), body);
    control.add_parts(portions, frame(100, 0), body, frame(static_cast<std::uint32_t>(why.size()), 3), why);
    control.add_parts(portions, frame(512, 0), byte_buffer(512), frame(513, 0), byte_buffer(513));
    control.add_parts(portions, frame(8193, 3), body);
    control.add_parts(portions, frame(0, 1), frame(1, 1), body);
    control.add_parts(portions, frame(0, 4));
    control.add_parts(portions, frame(100, 0), byte_buffer(50));
  }
}

void write_journals(const std::filesystem::path& folder) {
  corpus single(folder, "record");
  corpus out(folder, "journal");
  enum : u8 { whole_file = 1, compacts = 2 };
  enum : u8 { record, record_of_next_sync, record_of_wrong_hash, record_of_other_length, bytes, zeros };
  byte_buffer all;
  for (const auto& r : records()) {
    const auto encoded = encode_record(r);
    single.add(encoded);
    const auto size = static_cast<std::uint16_t>(encoded.size());
    encoder into(all);
    into.put(u8{record_of_next_sync});
    into.put(size);
    into.raw(encoded.data(), encoded.size());
    for (const std::uint32_t length : {0u, 1000u, 64u << 20, UINT32_MAX}) {
      out.add_parts(u8{0}, u8{record_of_other_length}, size, encoded, length, u8{record}, size, encoded);
    }
    for (const u8 what : {record, record_of_wrong_hash, bytes}) {
      out.add_parts(u8{0}, what, size, encoded, u8{record}, size, encoded);
      out.add_parts(u8{0}, what, size, encoded, u8{record_of_next_sync}, size, encoded);
    }
    for (const u8 flags : {u8{0}, u8{compacts}}) {
      out.add_parts(flags, all);
      out.add_parts(flags, all, u8{zeros}, std::uint16_t{1000});
      out.add_parts(flags, all, u8{zeros}, std::uint16_t{30}, u8{bytes}, std::uint16_t{1}, u8{1});
    }
  }
  const auto path = (folder / "written").string();
  std::filesystem::remove_all(path);
  if (auto j = gang::open_file_journal(path)) {
    for (const auto& r : records()) {
      (*j)->append(r);
      (void)(*j)->sync();
    }
  }
  std::ifstream file(path + "/journal", std::ios::binary);
  const std::string content{std::istreambuf_iterator<char>(file), {}};
  out.add_parts(u8{whole_file}, content);
  out.add_parts(u8{whole_file | compacts}, content);
  std::filesystem::remove_all(path);
}

}  // namespace

int main(int count, char** words) {
  if (count != 2) {
    std::fprintf(stderr, "usage: %s FOLDER\n", words[0]);
    return 2;
  }
  write_frames(words[1]);
  write_streams(words[1]);
  write_handshakes(words[1]);
  write_journals(words[1]);
  return 0;
}
