#pragma once
// A block: rows of one type, immutable once made, shared by reference. Flat rows lie in it as an array (64-byte
// aligned); other rows are encoded one after the other. Any thread.

#include <hydrogen/base/bytes.hpp>
#include <hydrogen/base/hash.hpp>
#include <hydrogen/base/ids.hpp>

#include <array>
#include <bit>
#include <compare>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>

namespace hydrogen::data {

/// 32 bytes. Either the output of a task (run, job, stage, partition, task attempt, number within the task), or bytes
/// named by their content (parameters, the driver's data), which are the same block in every run.
struct block_id {
  run_id run;
  std::uint32_t job = 0;
  std::uint32_t stage = 0;
  std::uint32_t partition = 0;
  std::uint32_t piece = 0;  // task attempt in the upper 12 bits, number in the lower 20

  static constexpr std::uint32_t content_job = 0xffffffff;
  static block_id output(run_id run, std::uint32_t job, std::uint32_t stage, std::uint32_t partition,
                         std::uint32_t attempt, std::uint32_t index) {
    invariant(attempt < (1u << 12) && index < (1u << 20), "a task attempt or block number beyond its field");
    return {run, job, stage, partition, attempt << 20 | index};
  }
  static block_id content(hash128 hash) { return {{hash.high, hash.low}, content_job, 0, 0, 0}; }
  bool is_content() const { return job == content_job; }
  hash128 content_hash() const { return {run.high, run.low}; }
  std::uint32_t attempt() const { return piece >> 20; }
  std::uint32_t index() const { return piece & 0xfffff; }

  auto operator<=>(const block_id&) const = default;
  template <class I>
  friend auto inspect(I& f, block_id& x) {
    return f(x.run, x.job, x.stage, x.partition, x.piece);
  }
};
static_assert(sizeof(block_id) == 32);

std::string to_string(const block_id&);

enum class layout : std::uint8_t { flat, encoded };

/// `owner` keeps `bytes` alive.
struct block {
  std::shared_ptr<const void> owner;
  byte_view bytes;
  std::uint64_t rows = 0;
  std::uint64_t type_code = 0;
  layout rows_are = layout::flat;
};
using block_ptr = std::shared_ptr<const block>;

/// A block with a copy of the bytes.
block_ptr copy_to_block(byte_view bytes, std::uint64_t rows, std::uint64_t type_code, layout rows_are);

/// What travels about a block instead of the block.
struct block_info {
  block_id id;
  std::uint64_t rows = 0;
  std::uint64_t bytes = 0;
  std::uint64_t type_code = 0;  // of the row type; the same in every process with the same build
  layout rows_are = layout::flat;
  std::uint32_t bucket = 0;  // target partition, in the output of a shuffle
  block_ptr here = {};       // a small one travels along: it lies in no store, and cannot be lost
  template <class I>
  friend auto inspect(I& f, block_info& x) {
    auto travels = x.here != nullptr;
    auto ok = f(x.id, x.rows, x.bytes, x.type_code, x.rows_are, x.bucket, travels);
    if (!travels) return ok;
    if constexpr (std::is_same_v<I, decoder>) {
      byte_buffer content;
      ok = f(content);
      x.bytes = content.size();
      if (ok) x.here = copy_to_block(content, x.rows, x.type_code, x.rows_are);
    } else {
      byte_buffer content(x.here->bytes.begin(), x.here->bytes.end());
      ok = f(content);
    }
    return ok;
  }
  /// The id names the content.
  bool operator==(const block_info& x) const {
    return id == x.id && rows == x.rows && bytes == x.bytes && type_code == x.type_code && rows_are == x.rows_are &&
           bucket == x.bucket;
  }
};

/// A process that holds blocks: an executor, or the driver. An empty endpoint: reachable within this process only.
struct process_ref {
  boot_id boot;
  std::string endpoint;
  template <class I>
  friend auto inspect(I& f, process_ref& x) {
    return f(x.boot, x.endpoint);
  }
  bool operator==(const process_ref&) const = default;
};

/// A block and who has it.
struct block_ref {
  block_info info;
  process_ref at;
  template <class I>
  friend auto inspect(I& f, block_ref& x) {
    return f(x.info, x.at);
  }
  bool operator==(const block_ref&) const = default;
};

}  // namespace hydrogen::data

template <>
struct std::hash<hydrogen::data::block_id> {
  std::size_t operator()(const hydrogen::data::block_id& x) const {
    auto h = hydrogen::hash_mix(x.run.high, x.run.low);
    h = hydrogen::hash_mix(h, std::uint64_t{x.job} << 32 | x.stage);
    return hydrogen::hash_mix(h, std::uint64_t{x.partition} << 32 | x.piece);
  }
};
