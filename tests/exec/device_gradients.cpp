// Gradients on devices have the bits of gradients in memory, whichever ranks share a device, and wherever they are.
#include <hydrogen/comm/gradient_exchange.hpp>
#include <hydrogen/exec/device_gradients.hpp>
#include <hydrogen/gpu/host/virtual_faults.hpp>
#include <hydrogen/gpu/kernels/elementwise.hpp>
#include <hydrogen/gpu/peers/peer_library.hpp>
#include <hydrogen/gpu/repeated_step.hpp>

#include "../comm/gang.hpp"
#include "../comm/reference.hpp"
#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>

using namespace hydrogen;
using namespace hydrogen::comm::testing;
using comm::gradient_options;
using exec::device_exchange;
using exec::device_gradients;
using exec::task_device;

namespace {

using device_ptr = std::shared_ptr<gpu::device>;

const std::vector<std::size_t> layers{700, 3, 0, 5000, 17, 1, 300};

unexpected wrong_sums(std::string what) {
  return fail(errc::internal, std::move(what));
}

std::vector<float> numbers_of(std::uint64_t step, std::uint32_t rank, std::size_t layer) {
  return values<float>(hash_mix(hash_mix(step, rank), layer), layers[layer]);
}

/// `of_rank[r]`: which device rank r uses.
std::vector<device_ptr> open_devices(const std::vector<int>& of_rank) {
  std::vector<device_ptr> all;
  const auto count = static_cast<std::uint32_t>(*std::max_element(of_rank.begin(), of_rank.end()) + 1);
  for (const auto& info : gpu::virtual_devices(count, std::uint64_t{64} << 20, 1)) {
    all.push_back(value_or_throw(gpu::device::open(info)));
  }
  return all;
}

/// Runs `f` as each rank, with its device; an exception becomes its error.
std::vector<expected<void>> on_devices(gang& team, const std::vector<device_ptr>& devices,
                                       const std::vector<int>& of_rank,
                                       const std::function<expected<void>(comm::group&, task_device&)>& f) {
  return team.run([&](comm::group& g) -> expected<void> {
    try {
      task_device mine({devices[static_cast<std::size_t>(of_rank[g.rank()])], 0}, "rank " + std::to_string(g.rank()),
                       *team.aborts[g.rank()]);
      return f(g, mine);
    } catch (const failure& e) {
      return unexpected(e.reason());
    }
  });
}

/// The same steps in memory and on the device.
expected<void> same_as_in_memory(comm::group& g, task_device& mine, gradient_options options, const std::string& way) {
  auto in_memory = comm::gradient_exchange::make(g, layers, options);
  if (!in_memory) return unexpected(in_memory.error());
  device_gradients sums(g, mine, layers, options, device_exchange::same_bits, 30s);
  if (sums.way() != way) return wrong_sums(std::string("they go by ") + sums.way());
  auto& s = mine.stream();
  for (std::uint64_t step = 0; step < 4; ++step) {
    for (std::uint32_t part = 0; part < options.micro_batches; ++part) {
      std::vector<std::size_t> order(layers.size());
      std::iota(order.rbegin(), order.rend(), 0);
      random_source random(hash_mix(step, g.rank()));
      for (std::size_t i = order.size() - 1; step > 0 && i > 0; --i) std::swap(order[i], order[random.below(i + 1)]);
      for (const auto i : order) {
        const auto numbers = numbers_of(hash_mix(step, part), g.rank(), i);
        const auto to = in_memory->gradient(i);
        for (std::size_t k = 0; k < numbers.size(); ++k) to[k] = part == 0 ? numbers[k] : to[k] + numbers[k];
        if (auto ok = in_memory->ready(i); !ok) return ok;
      }
      const auto norm = in_memory->finish();
      if (!norm) return unexpected(norm.error());
      for (const auto i : order) {
        const auto here = s.upload(numbers_of(hash_mix(step, part), g.rank(), i));
        if (part == 0) {
          gpu::kernels::copy(s, here, sums.gradient(i));
        } else {
          gpu::kernels::axpy(s, 1.0F, here, sums.gradient(i));
        }
        sums.ready(i);
      }
      const auto on_device = sums.finish();
      if (std::abs(on_device - *norm) > 1e-5 * *norm) return wrong_sums("another norm");
    }
    for (std::size_t i = 0; i < layers.size(); ++i) {
      const auto got = mine.download(sums.gradient(i));
      const auto want = in_memory->gradient(i);
      // What is clipped is scaled by a norm that was added up in another order.
      const auto near = [&](float a, float b) { return std::abs(a - b) <= 1e-5F * std::abs(b); };
      const bool same =
          options.clip_norm == 0 ? same_bits<float>(got, want) : std::equal(got.begin(), got.end(), want.begin(), near);
      if (!same) return wrong_sums("step " + std::to_string(step) + ", layer " + std::to_string(i));
    }
  }
  return {};
}

struct sharing_case {
  layout placement;          // process of each rank
  std::vector<int> devices;  // device of each rank
  std::string way;
};

const std::vector<sharing_case>& cases() {
  static const std::vector<sharing_case> all{
      {{0}, {0}, "one kernel"},
      {{0, 0}, {0, 0}, "one kernel"},
      {{0, 0, 0, 0, 0}, {0, 0, 0, 0, 0}, "one kernel"},
      {{0, 0}, {0, 1}, "links"},
      {{0, 1}, {0, 1}, "links"},
      {layout({0, 1, 2}, medium::tcp), {0, 1, 2}, "links"},
      {{0, 0, 0, 0}, {0, 0, 1, 1}, "one kernel and links"},
      {layout({0, 0, 1, 1}, medium::tcp), {0, 0, 1, 1}, "one kernel and links"},
      {layout({0, 0, 1, 1, 2, 2}, medium::stages), {0, 0, 1, 1, 2, 2}, "one kernel and links"},
      // No branches of the tree of addition, or not all alike.
      {{0, 0, 0}, {0, 1, 1}, "links"},
      {{0, 0, 0, 0}, {0, 1, 0, 1}, "links"},
      {{0, 0, 0}, {0, 0, 1}, "links"},
  };
  return all;
}

void all_went_well(const std::vector<expected<void>>& results, const std::string& where) {
  for (std::uint32_t r = 0; r < results.size(); ++r) {
    INFO(where, ", rank ", r);
    CHECK_MESSAGE(results[r], results[r].error().message());
  }
}

void hold_in_all_cases(gradient_options options) {
  for (const auto& c : cases()) {
    gang team(c.placement);
    const auto devices = open_devices(c.devices);
    auto way = c.way;
    if (options.bfloat16_on_wire && way == "one kernel and links") way = "links";
    all_went_well(
        on_devices(team, devices, c.devices,
                   [&](comm::group& g, task_device& mine) { return same_as_in_memory(g, mine, options, way); }),
        text_of(c.placement) + ", by " + way);
  }
}

}  // namespace

TEST_CASE(
    "gradients on devices have the bits of gradients in memory, for every sharing of devices and size of buckets") {
  for (const std::size_t bucket : {1U, 4096U, 1U << 20}) hold_in_all_cases({.bucket_bytes = bucket});
}

TEST_CASE("sums on devices: not divided, over micro-batches, as bfloat16 on the wire, and clipped") {
  hold_in_all_cases({.how = comm::reduction::sum, .bucket_bytes = 4096});
  hold_in_all_cases({.micro_batches = 3, .bucket_bytes = 4096});
  hold_in_all_cases({.bfloat16_on_wire = true, .bucket_bytes = 4096});
  hold_in_all_cases({.clip_norm = 2.5F, .bucket_bytes = 4096});
}

TEST_CASE("ranks that share a device wait for no device when they exchange gradients") {
  gang team({0, 0});
  const std::vector<int> shared{0, 0};
  all_went_well(on_devices(team, open_devices(shared), shared,
                           [&](comm::group& g, task_device& mine) -> expected<void> {
                             device_gradients sums(g, mine, layers, {}, device_exchange::same_bits, 30s);
                             const auto before = gpu::device_waits_of_this_thread();
                             for (int step = 0; step < 3; ++step) {
                               for (std::size_t i = layers.size(); i-- > 0;) sums.ready(i);
                               sums.finish();
                             }
                             if (gpu::device_waits_of_this_thread() != before) return wrong_sums("it waited");
                             return {};
                           }),
                "one device");
}

TEST_CASE("the work of a step can be recorded around the exchange, which itself is refused in a recording") {
  gang team({0, 0});
  const std::vector<int> apart{0, 1};
  all_went_well(on_devices(team, open_devices(apart), apart,
                           [&](comm::group& g, task_device& mine) -> expected<void> {
                             device_gradients sums(g, mine, {4}, {.how = comm::reduction::sum},
                                                   device_exchange::same_bits, 30s);
                             gpu::repeated_step whole, write;
                             for (int step = 1; step <= 4; ++step) {
                               write.run(mine.stream(), 0, [&] {
                                 gpu::kernels::fill(mine.stream(), static_cast<float>(1 + g.rank()), sums.gradient(0));
                               });
                               // Refused while it records, before anything has happened, and done as it is then.
                               whole.run(mine.stream(), 0, [&] { sums.ready(0); });
                               sums.finish();
                               if (mine.download(sums.gradient(0)) != std::vector<float>(4, 3.0F)) {
                                 return wrong_sums("step " + std::to_string(step));
                               }
                             }
                             if (write.replayed() != 3 || whole.replayed() != 0) return wrong_sums("replayed");
                             return {};
                           }),
                "two devices");
}

TEST_CASE("ranks that declare other tensors on their devices are told so") {
  gang team({0, 0});
  const std::vector<int> shared{0, 0};
  for (const auto& result :
       on_devices(team, open_devices(shared), shared, [&](comm::group&g, task_device&mine) -> expected<void> {
         device_gradients sums(g, mine, {10, 20 + g.rank()}, {}, device_exchange::same_bits, 30s);
         return {};
       })) {
    REQUIRE_FALSE(result);
    CHECK(result.error().code == errc::mismatch);
  }
}

TEST_CASE("a kernel that fails on one rank fails the others, with its name, also where they share a device") {
  for (const auto& c : cases()) {
    if (c.devices.size() == 1) continue;
    gang team(c.placement);
    const auto devices = open_devices(c.devices);
    const auto results = on_devices(team, devices, c.devices, [&](comm::group& g, task_device& mine) -> expected<void> {
      device_gradients sums(g, mine, layers, {.bucket_bytes = 4096}, device_exchange::same_bits, 30s);
      if (g.rank() == 1) {
        gpu::faults_of(mine.device()).plan("scale", gpu::virtual_fault::fail);
        gpu::kernels::scale(mine.stream(), 2.0F, sums.gradient(0));
      }
      for (std::size_t i = layers.size(); i-- > 0;) sums.ready(i);
      sums.finish();
      mine.download(sums.gradient(0));
      return {};
    });
    for (std::uint32_t r = 0; r < results.size(); ++r) {
      INFO(text_of(c.placement), " by ", c.way, ", rank ", r);
      REQUIRE_FALSE(results[r]);
      const auto text = results[r].error().message();
      CHECK_MESSAGE((text.find("scale") != text.npos || text.find("rank 1") != text.npos), text);
    }
  }
}

TEST_CASE("a rank that does not come with its gradients is waited for until the deadline, or until the attempt ends") {
  for (const bool ended : {false, true}) {
    for (const auto& c : cases()) {
      if (c.devices.size() == 1) continue;
      gang team(c.placement);
      const auto devices = open_devices(c.devices);
      std::atomic<std::uint32_t> made{0}, over{0};
      const auto wait_until = [&](std::atomic<std::uint32_t>& count, std::uint32_t all) {
        for (auto n = count.load(); n < all; n = count.load()) count.wait(n);
      };
      const auto results =
          on_devices(team, devices, c.devices, [&](comm::group& g, task_device& mine) -> expected<void> {
            device_gradients sums(g, mine, layers, {.bucket_bytes = 4096}, device_exchange::same_bits,
                                  ended ? 60s : 300ms);
            ++made;
            made.notify_all();
            if (g.rank() == 1) {
              wait_until(over, team.size() - 1);  // it stays away, and does not leave
              return {};
            }
            if (ended) {
              wait_until(made, team.size());
              for (auto& a : team.aborts) a->set({errc::aborted, "the attempt ends", {}, {}});
            }
            const auto done = [&]() -> expected<void> {
              try {
                for (std::size_t i = layers.size(); i-- > 0;) sums.ready(i);
                sums.finish();
                return {};
              } catch (const failure& f) {
                return unexpected(f.reason());
              }
            }();
            ++over;
            over.notify_all();
            return done;
          });
      for (std::uint32_t r = 0; r < results.size(); ++r) {
        if (r == 1) continue;
        INFO(text_of(c.placement), " by ", c.way, ", rank ", r);
        REQUIRE_FALSE(results[r]);
        CHECK_MESSAGE(results[r].error().code == (ended ? errc::aborted : errc::timed_out),
                      results[r].error().message());
      }
    }
  }
}

TEST_CASE("memory of the gang that the device may still write into is kept when its rank goes") {
  gang team({0, 0});
  const std::vector<int> apart{0, 1};
  const auto devices = open_devices(apart);
  gpu::faults_of(*devices[1]).plan("copy", gpu::virtual_fault::hang);
  const auto results = on_devices(team, devices, apart, [&](comm::group& g, task_device& mine) -> expected<void> {
    device_gradients sums(g, mine, layers, {}, device_exchange::same_bits, 100ms);
    for (std::size_t i = layers.size(); i-- > 0;) sums.ready(i);
    sums.finish();
    return {};
  });
  for (const auto& result : results) REQUIRE_FALSE(result);
  CHECK(devices[0]->health());
  CHECK_FALSE(devices[1]->health());
  gpu::faults_of(*devices[1]).release();  // it writes now, which the address sanitizer watches
}

TEST_CASE("by NCCL, where it is asked for: the sums, no wait for a device, and what makes no sense is refused") {
  gpu::peer_library::use_for_tests(HYDROGEN_FAKE_NCCL);
  const std::vector<int> apart{0, 1, 2, 3}, shared{0, 0, 1, 1};
  const auto step = [](comm::group& g, task_device& mine, gradient_options options) -> expected<void> {
    device_gradients sums(g, mine, layers, options, device_exchange::nccl, 30s);
    if (sums.way() != std::string("NCCL")) return wrong_sums(sums.way());
    for (int n = 1; n <= 3; ++n) {
      for (std::size_t i = layers.size(); i-- > 0;) {
        gpu::kernels::fill(mine.stream(), static_cast<float>(n * (1 << g.rank())), sums.gradient(i));
        sums.ready(i);
      }
      const auto before = gpu::device_waits_of_this_thread();
      sums.finish();
      if (gpu::device_waits_of_this_thread() != before) return wrong_sums("it waited");
      for (std::size_t i = 0; i < layers.size(); ++i) {
        const std::vector<float> want(layers[i], static_cast<float>(n * 15));
        if (mine.download(sums.gradient(i)) != want) return wrong_sums("layer " + std::to_string(i));
      }
    }
    return {};
  };
  for (const bool narrow : {false, true}) {
    const gradient_options options{.how = comm::reduction::sum, .bfloat16_on_wire = narrow, .bucket_bytes = 4096};
    gang team({0, 0, 0, 0});
    const auto devices = open_devices(apart);
    all_went_well(
        on_devices(team, devices, apart, [&](comm::group& g, task_device& mine) { return step(g, mine, options); }),
        "NCCL");
    gang sharing({0, 0, 0, 0});
    for (const auto& result : on_devices(sharing, open_devices(shared), shared,
                                         [&](comm::group&g, task_device&mine) { return step(g, mine, options); })) {
      REQUIRE_FALSE(result);
      CHECK_MESSAGE(result.error().what == "ranks 0 and 1 share a device, and NCCL needs one for each",
                    result.error().message());
    }
  }
  gang differing({0, 0, 0, 0});
  for (const auto& result :
       on_devices(differing, open_devices(apart), apart, [&](comm::group&g, task_device&mine) -> expected<void> {
         const auto by = g.rank() == 2 ? device_exchange::nccl : device_exchange::same_bits;
         device_gradients sums(g, mine, layers, {}, by, 30s);
         return {};
       })) {
    REQUIRE_FALSE(result);
    CHECK(result.error().code == errc::mismatch);
  }
  gpu::peer_library::use_for_tests(nullptr);
  gang without({0, 0, 0, 0});
  for (const auto& result : on_devices(without, open_devices(apart), apart,
                                       [&](comm::group&g, task_device&mine) { return step(g, mine, {}); })) {
    REQUIRE_FALSE(result);  // devices are virtual, or there is no NCCL
  }
}
