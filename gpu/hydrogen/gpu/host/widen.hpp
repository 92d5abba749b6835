#pragma once
// Conversions of arrays to and from float: what `cast` says of one number. No overlap. Any thread.

#include <hydrogen/gpu/element.hpp>

#include <cstddef>

namespace hydrogen::gpu::host {

/// From double, half or bfloat16.
void widen(const void* from, element type, float* to, std::size_t n);
void narrow(const float* from, double* to, std::size_t n);
void narrow(const float* from, half* to, std::size_t n);
void narrow(const float* from, bfloat16* to, std::size_t n);

}  // namespace hydrogen::gpu::host
