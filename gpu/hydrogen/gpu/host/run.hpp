#pragma once
// The kernels of the host backend: each runs whole on the thread that calls it, so results do not depend on threads.
// Vector code is chosen at run time by the CPU (Highway). Any thread; arguments are checked before (kernels/).

#include <hydrogen/gpu/work.hpp>

#include <cstddef>
#include <string>

namespace hydrogen::gpu::host {

/// Scratch memory for one call, and where it says what was wrong with its data.
struct run_context {
  void* scratch = nullptr;
  std::string fault;  // "row 3 has the label 12, there are 10 classes"; the first one counts
};

void run(const work::fill&, run_context&);
void run(const work::copy&, run_context&);
void run(const work::cast&, run_context&);
void run(const work::axpy&, run_context&);
void run(const work::scale&, run_context&);
void run(const work::clip_by_global_norm&, run_context&);
void run(const work::reduce_ranks&, run_context&);
void run(const work::all_reduce&, run_context&);
void run(const work::reduce_to_scalar&, run_context&);
void run(const work::argmax&, run_context&);
void run(const work::matrix_product&, run_context&);
void run(const work::add_bias&, run_context&);
void run(const work::sum_rows&, run_context&);
void run(const work::activate&, run_context&);
void run(const work::activate_gradient&, run_context&);
void run(const work::layer_norm&, run_context&);
void run(const work::layer_norm_gradient&, run_context&);
void run(const work::softmax_cross_entropy&, run_context&);
void run(const work::dropout&, run_context&);
void run(const work::gather_rows&, run_context&);
void run(const work::scatter_add_rows&, run_context&);
void run(const work::sgd_step&, run_context&);
void run(const work::adam_step&, run_context&);
void run(const work::kmeans_assign&, run_context&);
void run(const work::kmeans_accumulate&, run_context&);
void run(const work::histogram&, run_context&);
void run(const work::increment&, run_context&);
void run(const work::custom&, run_context&);

/// Bytes of scratch memory that `run` needs for it.
std::size_t scratch_for(const work::any&);

}  // namespace hydrogen::gpu::host
