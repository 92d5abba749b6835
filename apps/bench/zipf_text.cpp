#include "zipf_text.hpp"

#include <hydrogen/base/random.hpp>

#include <cmath>
#include <fstream>
#include <vector>

namespace hydrogen::bench {
namespace {

/// Draws from a finite distribution in constant time: the alias method (Walker 1977; set-up by Vose 1991).
class alias_table {
 public:
  explicit alias_table(std::vector<double> weights) : keep_(weights.size(), 1.0), other_(weights.size()) {
    double total = 0;
    for (const auto w : weights) total += w;
    std::vector<std::uint32_t> small, large;
    for (std::uint32_t i = 0; i < weights.size(); ++i) {
      weights[i] *= static_cast<double>(weights.size()) / total;
      (weights[i] < 1 ? small : large).push_back(i);
    }
    while (!small.empty() && !large.empty()) {
      const auto s = small.back(), l = large.back();
      small.pop_back();
      keep_[s] = weights[s];
      other_[s] = l;
      weights[l] -= 1 - weights[s];
      if (weights[l] < 1) {
        large.pop_back();
        small.push_back(l);
      }
    }
  }
  std::uint32_t draw(random_source& random) const {
    const auto i = static_cast<std::uint32_t>(random.below(keep_.size()));
    return random.unit() < keep_[i] ? i : other_[i];
  }

 private:
  std::vector<double> keep_;
  std::vector<std::uint32_t> other_;
};

}  // namespace

expected<void> write_zipf_text(const std::string& path, std::uint64_t words, std::uint32_t dictionary, double exponent,
                               std::uint64_t seed) {
  random_source random(seed);
  std::vector<std::string> names(dictionary);
  std::vector<double> weights(dictionary);
  for (std::uint32_t i = 0; i < dictionary; ++i) {
    names[i].resize(2 + random.below(8));
    for (auto& letter : names[i]) letter = static_cast<char>('a' + random.below(26));
    weights[i] = std::pow(i + 1.0, -exponent);
  }
  // The tail beyond the dictionary, by the integral.
  if (exponent > 1) weights.back() += std::pow(dictionary + 0.5, 1 - exponent) / (exponent - 1);
  const alias_table table(std::move(weights));

  std::ofstream file(path, std::ios::binary);
  std::string buffer;
  for (std::uint64_t i = 0; i < words; ++i) {
    buffer += names[table.draw(random)];
    buffer += (i + 1) % 11 == 0 || i + 1 == words ? '\n' : ' ';
    if (buffer.size() > (1 << 20)) {
      file.write(buffer.data(), static_cast<std::streamsize>(buffer.size()));
      buffer.clear();
    }
  }
  file.write(buffer.data(), static_cast<std::streamsize>(buffer.size()));
  if (!file.flush()) return fail_errno("cannot write", path);
  return {};
}

}  // namespace hydrogen::bench
