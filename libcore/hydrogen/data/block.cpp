#include <hydrogen/data/block.hpp>

#include <spdlog/fmt/fmt.h>

namespace hydrogen::data {

std::string to_string(const block_id& x) {
  if (x.is_content()) return "content " + to_string(x.content_hash());
  return fmt::format("{:08x}/j{}/s{}/p{} attempt {} #{}", x.run.high >> 32, x.job, x.stage, x.partition, x.attempt(),
                     x.index());
}

}  // namespace hydrogen::data
