#pragma once
// The BLAS of the host backend: OpenBLAS, loaded at its first use. Linked, it would cost every process several
// milliseconds at its start, and a thread per core that spins for a while; most processes never multiply matrices.
//
// Any thread. One thread per call: slots are the parallelism, and results do not depend on the number of cores.

#include <cblas.h>

namespace hydrogen::gpu {

struct host_blas {
  decltype(&cblas_sgemm) sgemm = nullptr;
};

/// Loads it the first time. Throws `failure` (errc::not_found: what the loader said, and what to install).
const host_blas& load_host_blas();

}  // namespace hydrogen::gpu
