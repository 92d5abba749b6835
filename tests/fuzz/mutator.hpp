#pragma once
// Random changes of inputs, for runs without libFuzzer. One thread.

#include <hydrogen/base/bytes.hpp>
#include <hydrogen/base/random.hpp>

#include <algorithm>
#include <vector>

namespace hydrogen::fuzz {

class mutator {
 public:
  /// `corpus` is not empty, and outlives it.
  mutator(const std::vector<byte_buffer>& corpus, std::size_t largest) : corpus_(corpus), largest_(largest) {}

  /// The same input for the same seed, number and corpus.
  byte_buffer make(std::uint64_t seed, std::uint64_t number) const {
    random_source random(seed * 0x9e3779b97f4a7c15u + number);
    auto input = corpus_[random.below(corpus_.size())];
    for (auto changes = std::uint64_t{1} << random.below(5); changes != 0; --changes) change(input, random);
    input.resize(std::min(input.size(), largest_));
    return input;
  }

 private:
  void change(byte_buffer& x, random_source& random) const {
    const auto at = [&] { return static_cast<std::ptrdiff_t>(random.below(x.size())); };
    const auto some = [&] { return static_cast<std::ptrdiff_t>(1 + random.below(random.chance(0.7) ? 16 : 512)); };
    const auto end_of = [&](std::ptrdiff_t from) {
      return std::min(from + some(), static_cast<std::ptrdiff_t>(x.size()));
    };
    if (x.empty()) x.push_back(static_cast<std::byte>(random()));
    switch (random.below(8)) {
      case 0:
        x[static_cast<std::size_t>(at())] ^= static_cast<std::byte>(1u << random.below(8));
        break;
      case 1:
        x[static_cast<std::size_t>(at())] = static_cast<std::byte>(random());
        break;
      case 2: {
        const auto from = at();
        x.erase(x.begin() + from, x.begin() + end_of(from));
        break;
      }
      case 3: {
        byte_buffer more(static_cast<std::size_t>(some()), static_cast<std::byte>(random()));
        if (random.chance(0.5)) {
          for (auto& b : more) b = static_cast<std::byte>(random());
        }
        x.insert(x.begin() + at(), more.begin(), more.end());
        break;
      }
      case 4: {  // a number at which readers may go wrong
        constexpr std::uint64_t numbers[] = {0,
                                             1,
                                             7,
                                             8,
                                             0x7f,
                                             0x80,
                                             0xff,
                                             0x7fff,
                                             0x8000,
                                             0xffff,
                                             1u << 20,
                                             (1u << 20) + 1,
                                             0x7fffffff,
                                             0x80000000,
                                             0xffffffff,
                                             std::uint64_t{1} << 32,
                                             INT64_MAX,
                                             std::uint64_t{1} << 63,
                                             UINT64_MAX - 7,
                                             UINT64_MAX};
        const auto number = numbers[random.below(std::size(numbers))];
        const auto from = static_cast<std::size_t>(at());
        const auto size = std::min(std::size_t{1} << random.below(4), x.size() - from);
        std::memcpy(x.data() + from, &number, size);
        break;
      }
      case 5: {  // the front of this one and the end of another
        const auto& other = corpus_[random.below(corpus_.size())];
        x.resize(random.below(x.size() + 1));
        if (!other.empty())
          x.insert(x.end(), other.begin() + static_cast<long>(random.below(other.size())), other.end());
        break;
      }
      case 6: {  // a part of it twice
        const auto from = at();
        const byte_buffer part(x.begin() + from, x.begin() + end_of(from));
        x.insert(x.begin() + at(), part.begin(), part.end());
        break;
      }
      default: {
        const auto place = static_cast<std::size_t>(at());
        x[place] = static_cast<std::byte>(static_cast<unsigned>(x[place]) + random.below(35) - 17);
      }
    }
  }

  const std::vector<byte_buffer>& corpus_;
  std::size_t largest_;
};

}  // namespace hydrogen::fuzz
