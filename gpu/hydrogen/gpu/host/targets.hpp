#pragma once
// The CPUs that vector code is compiled for, included before Highway: its fallback, AVX2 and AVX-512 on x86, NEON on
// Arm. More of them cost build time and bring nothing that was measured.

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
