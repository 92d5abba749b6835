#pragma once
// The table behind reduce_by_key: key -> value, combined in the order of arrival, listed in the order of first arrival.
// So what it holds depends on the rows alone, never on memory, timing or hash collisions. Keys are equal when their
// bytes are (0.0 and -0.0 differ). Open addressing with linear probing over 8-byte slots (32 bits of the hash, index of
// the entry); entries lie densely; text keys lie in an arena and are looked up without a copy. One thread.

#include <hydrogen/base/ids.hpp>
#include <hydrogen/data/codec.hpp>

#include <bit>
#include <deque>

namespace hydrogen::exec {

namespace key_detail {

inline std::uint64_t load8(const char* p) {
  std::uint64_t x;
  std::memcpy(&x, p, 8);
  return x;
}
inline std::uint64_t load4(const char* p) {
  std::uint32_t x;
  std::memcpy(&x, p, 4);
  return x;
}
inline std::uint64_t fold(std::uint64_t a, std::uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

/// Folded multiplication of 16 bytes at a time, as in wyhash (Wang Yi).
inline std::uint64_t hash_text(std::string_view text) {
  constexpr std::uint64_t k0 = 0xa0761d6478bd642fULL, k1 = 0xe7037ed1a0b428dbULL;
  const char* p = text.data();
  std::size_t n = text.size();
  std::uint64_t seed = k0 ^ n;
  while (n > 16) {
    seed = fold(load8(p) ^ k1, load8(p + 8) ^ seed);
    p += 16;
    n -= 16;
  }
  std::uint64_t a = 0, b = 0;
  if (n >= 8) {
    a = load8(p);
    b = load8(p + n - 8);
  } else if (n >= 4) {
    a = load4(p);
    b = load4(p + n - 4);
  } else if (n > 0) {
    a = static_cast<std::uint64_t>(static_cast<unsigned char>(p[0])) << 16 |
        static_cast<std::uint64_t>(static_cast<unsigned char>(p[n / 2])) << 8 | static_cast<unsigned char>(p[n - 1]);
  }
  return fold(fold(a ^ k1, b ^ seed), k0);
}

inline bool same_text(const char* a, const char* b, std::size_t n) {
  if (n >= 8) {
    if (n <= 16) return load8(a) == load8(b) && load8(a + n - 8) == load8(b + n - 8);
    return std::memcmp(a, b, n) == 0;
  }
  if (n >= 4) return load4(a) == load4(b) && load4(a + n - 4) == load4(b + n - 4);
  for (std::size_t i = 0; i < n; ++i) {
    if (a[i] != b[i]) return false;
  }
  return true;
}

/// Memory that only grows; what was stored does not move until `clear`.
class arena {
 public:
  const char* keep(std::string_view text) {
    if (text.size() > left_) {
      const auto size = std::max<std::size_t>(text.size(), chunk_bytes);
      chunks_.emplace_back(new char[size]);
      bytes_ += size;
      at_ = chunks_.back().get();
      left_ = size;
    }
    char* to = at_;
    if (!text.empty()) std::memcpy(to, text.data(), text.size());
    at_ += text.size();
    left_ -= text.size();
    return to;
  }
  std::size_t bytes() const { return bytes_; }
  void clear() {
    chunks_.clear();
    at_ = nullptr;
    left_ = bytes_ = 0;
  }

 private:
  static constexpr std::size_t chunk_bytes = 256 * 1024;
  std::vector<std::unique_ptr<char[]>> chunks_;
  char* at_ = nullptr;
  std::size_t left_ = 0;
  std::size_t bytes_ = 0;
};

/// How keys are hashed and stored. Flat keys: their bytes, in place.
template <class K>
class keys {
 public:
  struct stored {
    alignas(alignof(K)) std::array<std::byte, sizeof(K)> bytes;
  };
  struct probe {
    stored key;
    std::uint64_t hash;
  };
  using out = K;

  probe look(const K& key) {
    probe p;
    data::copy_flat(p.key.bytes.data(), key);
    if constexpr (sizeof(K) <= 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, p.key.bytes.data(), sizeof(K));
      p.hash = fold(word ^ 0xa0761d6478bd642fULL, 0xe7037ed1a0b428dbULL ^ (word << 32));
      p.hash = hash_mix(0x9e37, p.hash);
    } else {
      p.hash = hash_text({reinterpret_cast<const char*>(p.key.bytes.data()), sizeof(K)});
    }
    return p;
  }
  static bool same(const stored& a, const probe& b) {
    return std::memcmp(a.bytes.data(), b.key.bytes.data(), sizeof(K)) == 0;
  }
  stored keep(const probe& p) { return p.key; }
  static K give(const stored& s) {
    K key{};
    std::memcpy(static_cast<void*>(&key), s.bytes.data(), sizeof(K));
    return key;
  }
  std::size_t bytes() const { return 0; }
  void clear() {}
};

/// Text, and other keys by their encoding.
class text_keys {
 public:
  struct stored {
    const char* text;
    std::size_t size;
  };
  struct probe {
    std::string_view text;
    std::uint64_t hash;
  };
  static probe look_text(std::string_view text) { return {text, hash_text(text)}; }
  static bool same(const stored& a, const probe& b) {
    return a.size == b.text.size() && same_text(a.text, b.text.data(), a.size);
  }
  stored keep(const probe& p) { return {arena_.keep(p.text), p.text.size()}; }
  std::size_t bytes() const { return arena_.bytes(); }
  void clear() { arena_.clear(); }

 private:
  arena arena_;
};

template <>
class keys<std::string> : public text_keys {
 public:
  using out = std::string_view;
  static probe look(std::string_view key) { return look_text(key); }
  static std::string_view give(const stored& s) { return {s.text, s.size}; }
};

template <class K>
requires(!data::is_flat<K>) class keys<K> : public text_keys {
 public:
  using out = K;
  probe look(const K& key) {
    scratch_.clear();
    data::row_writer<byte_buffer>(scratch_).put(key);
    return look_text(as_text(scratch_));
  }
  static K give(const stored& s) {
    return value_or_throw(data::decode_value<K>(as_byte_view({s.text, s.size}), "a key"));
  }

 private:
  byte_buffer scratch_;
};

}  // namespace key_detail

template <class K, class V>
class key_table {
 public:
  using key_store = key_detail::keys<K>;
  using probe = typename key_store::probe;
  struct entry {
    typename key_store::stored key;
    V value;
    std::uint64_t hash;
  };

  template <class Key>
  probe look(const Key& key) {
    return keys_.look(key);
  }

  /// The value of the key becomes combine(old, value), or `value` if the key is new.
  template <class Value, class Combine>
  void add(const probe& key, Value&& value, Combine&& combine) {
    if (entries_.size() >= limit_) grow();
    const auto tag = key.hash & tag_bits;
    for (auto i = key.hash & mask_;; i = (i + 1) & mask_) {
      const auto slot = slots_[i];
      if (slot == 0) {
        slots_[i] = tag | (entries_.size() + 1);
        entries_.push_back({keys_.keep(key), V(std::forward<Value>(value)), key.hash});
        return;
      }
      if ((slot & tag_bits) != tag) continue;
      auto& e = entries_[(slot & ~tag_bits) - 1];
      if (!key_store::same(e.key, key)) continue;
      e.value = combine(std::move(e.value), std::forward<Value>(value));
      return;
    }
  }

  std::size_t size() const { return entries_.size(); }
  std::vector<entry>& entries() { return entries_; }
  static typename key_store::out key_of(const entry& e) { return key_store::give(e.key); }
  /// Memory in use, about.
  std::size_t bytes() const { return entries_.capacity() * sizeof(entry) + slots_.size() * 8 + keys_.bytes(); }
  void clear() {
    entries_.clear();
    keys_.clear();
    std::fill(slots_.begin(), slots_.end(), 0);
  }

 private:
  static constexpr std::uint64_t tag_bits = 0xffffffff00000000ULL;
  void grow() {
    const auto size = std::max<std::size_t>(1024, slots_.size() * 2);
    if (size > (std::size_t{1} << 32)) {
      throw failure(
          {errc::over_limit, "more than 2147483648 different keys in one partition", {}, "use more partitions"});
    }
    slots_.assign(size, 0);
    mask_ = size - 1;
    limit_ = size / 2;
    for (std::size_t n = 0; n < entries_.size(); ++n) {
      auto i = entries_[n].hash & mask_;
      while (slots_[i] != 0) i = (i + 1) & mask_;
      slots_[i] = (entries_[n].hash & tag_bits) | (n + 1);
    }
  }

  key_store keys_;
  std::vector<entry> entries_;
  std::vector<std::uint64_t> slots_;
  std::uint64_t mask_ = 0;
  std::size_t limit_ = 0;
};

}  // namespace hydrogen::exec
