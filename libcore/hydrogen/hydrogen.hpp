#pragma once
// The public API of Hydrogen: include this, write a function that takes a `hydrogen::context&`, and end the source file
// with HYDROGEN_APPLICATION(function).
//
//   void squares(hydrogen::context& ctx) {
//     auto sum = ctx.range(1'000'000).map([](std::int64_t x) { return x * x; }).sum();
//     ctx.print(std::to_string(sum));
//   }
//   HYDROGEN_APPLICATION(squares)
//
// Functions given to datasets run in other processes. They capture nothing: write [] and pass what they need after the
// function. They must not use mutable globals: each process has its own.

#include <hydrogen/exec/application.hpp>
#include <hydrogen/plan/context.hpp>

namespace hydrogen {

using comm::gradient_options;
using comm::reduction;
using data::csv_options;
using data::rows;
using exec::barrier_context;
using exec::checkpoint_options;
using exec::device;
using exec::device_exchange;
using exec::device_gradients;
using exec::emitter;
using exec::gang_group;
using exec::gradient_exchange;
using exec::pending_call;
using exec::task_device;
using exec::visible_devices;
using plan::barrier_options;
using plan::context;
using plan::dataset;
using plan::partitions;
using plan::source_options;

}  // namespace hydrogen

/// Makes `function(hydrogen::context&)` the entry of this shared library. Once per library.
#define HYDROGEN_APPLICATION(function)                                                                              \
  extern "C" __attribute__((visibility("default"))) const char hydrogen_application_abi[];                          \
  extern "C" __attribute__((visibility("default"))) const char hydrogen_application_abi[] = HYDROGEN_ABI_STAMP;     \
  extern "C" __attribute__((visibility("default"))) void hydrogen_application_entry(hydrogen::plan::context& ctx) { \
    function(ctx);                                                                                                  \
  }
