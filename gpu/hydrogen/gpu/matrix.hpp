#pragma once
// Views of row-major float matrices without gaps: element (r, c) is values[r * columns + c]. They own nothing; the
// memory must outlive the call they are given to. Making a view whose memory has another size than rows x columns
// throws `failure` with both. Plain values, any thread.

#include <cstddef>
#include <span>

namespace hydrogen::gpu {

class const_matrix {
 public:
  const_matrix(std::span<const float> values, std::size_t rows, std::size_t columns);

  std::size_t rows() const { return rows_; }
  std::size_t columns() const { return columns_; }
  const float* data() const { return values_.data(); }
  std::span<const float> row(std::size_t r) const { return values_.subspan(r * columns_, columns_); }

 private:
  std::span<const float> values_;
  std::size_t rows_, columns_;
};

class matrix {
 public:
  matrix(std::span<float> values, std::size_t rows, std::size_t columns);

  std::size_t rows() const { return rows_; }
  std::size_t columns() const { return columns_; }
  float* data() const { return values_.data(); }
  std::span<float> row(std::size_t r) const { return values_.subspan(r * columns_, columns_); }
  operator const_matrix() const { return {values_, rows_, columns_}; }

 private:
  std::span<float> values_;
  std::size_t rows_, columns_;
};

}  // namespace hydrogen::gpu
