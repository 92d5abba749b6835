#include <hydrogen/gpu/cuda/fault.hpp>
#include <hydrogen/gpu/work.hpp>

#include <spdlog/fmt/fmt.h>

namespace hydrogen::gpu::cuda {

error describe(const fault_record& r) {
  const std::uint64_t place = ~r.lowest, row = place >> 32, value = place & 0xffffffffU;
  std::string_view kernel = "none";
  std::string what;
  const auto index_of = [&](std::string_view name, std::string_view limit) {
    kernel = name;
    what = fmt::format("row {} has the index {}, {}", row, value, fmt::format(fmt::runtime(limit), r.limit));
  };
  switch (r.kind) {
    case fault_kind::none:
      break;
    case fault_kind::label:
      kernel = work::softmax_cross_entropy::name;
      what = fmt::format("row {} has the label {}, there are {} classes", row, value, r.limit);
      break;
    case fault_kind::gathered:
      index_of(work::gather_rows::name, "the table has {} rows");
      break;
    case fault_kind::scattered:
      index_of(work::scatter_add_rows::name, "the table has {} rows");
      break;
    case fault_kind::centre:
      index_of(work::kmeans_accumulate::name, "there are {} centres");
      break;
    case fault_kind::listed_row:
      kernel = work::histogram::name;
      what = fmt::format("row {} is listed, there are {} rows", value, r.limit);
      break;
    case fault_kind::bin:
      kernel = work::histogram::name;
      what = fmt::format("row {} has the bin {} of feature {}, there are {} bins", row, value & 0xffU, value >> 8,
                         r.limit);
      break;
  }
  return {errc::bad_input, fmt::format("kernel '{}': {}", kernel, what), {}, {}};
}

}  // namespace hydrogen::gpu::cuda
