// digits: prepare in parallel, train in a gang, score in parallel. See README.md beside this file.

#include <hydrogen/hydrogen.hpp>

#include "../application_options.hpp"
#include "network.hpp"
#include <spdlog/fmt/fmt.h>

#include <chrono>
#include <numeric>

namespace examples {
namespace {

struct settings {
  std::string data = shipped_file("digits.csv");
  std::string model = "softmax";
  std::uint32_t width = 0;  // 256, where there are hidden layers
  std::uint32_t gpus = 0;
  std::uint32_t gpu_shared_by = 1;
  std::uint64_t steps = 0;  // as many as the model needs
  std::uint32_t ranks = 4;
  std::uint64_t seed = 7;
  std::uint32_t rows_repeat = 1;
  std::uint64_t checkpoint_every = 50;
  std::uint32_t retries = 3;
};

/// How a training went.
struct course {
  std::uint64_t steps = 0;
  std::uint64_t restored = 0;  // the step at which the attempt that ended well began
  double loss = 0;             // mean over the training rows, before the last step
  double seconds = 0;          // of that attempt
  template <class I>
  friend auto inspect(I& f, course& x) {
    return f(x.steps, x.restored, x.loss, x.seconds);
  }
};

/// What the ranks get.
struct training_options {
  network_shape shape;
  std::uint64_t seed;
  std::uint64_t steps;
  std::uint64_t checkpoint_every;
  adam_settings adam;
  template <class I>
  friend auto inspect(I& f, training_options& x) {
    return f(x.shape.hidden, x.shape.width, x.seed, x.steps, x.checkpoint_every, x.adam);
  }
};

/// What a rank returns; all ranks hold the same model.
struct trained {
  network model;
  course how;
  std::string device;  // of rank 0
  std::uint64_t replayed = 0;
  template <class I>
  friend auto inspect(I& f, trained& x) {
    return f(x.model, x.how, x.device, x.replayed);
  }
};

class stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count(); }

 private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

digit scale(digit d) {
  if (d.label >= class_count) {
    throw hydrogen::failure({hydrogen::errc::bad_input, fmt::format("a row has the label {}", d.label), "digits",
                             "the last column is the digit, 0 to 9"});
  }
  for (auto& p : d.pixels) p /= 16.0F;
  return d;
}

/// Of all ranks together.
std::int64_t count_rows(hydrogen::barrier_context& gang, std::size_t mine) {
  const auto all = gang.all_reduce(static_cast<std::int64_t>(mine));
  if (all == 0) throw hydrogen::failure({hydrogen::errc::bad_input, "there are no rows to train on", "digits", {}});
  return all;
}

void say_begin(const hydrogen::barrier_context& gang, std::uint64_t first, std::uint64_t steps) {
  if (gang.rank() != 0) return;
  spdlog::info("digits: trains steps {} to {} in attempt {} with {} ranks", first, steps, gang.attempt(), gang.size());
}

template <class State>
void keep(hydrogen::barrier_context& gang, std::uint64_t done, const State& state) {
  gang.checkpoint(done, state, {.replicated = true});
  if (gang.rank() == 0) spdlog::info("digits: step {} is checkpointed", done);
}

trained train(hydrogen::barrier_context& gang, hydrogen::rows<digit> rows, const training_options& options) {
  const stopwatch watch;
  std::vector<float> pixels;
  std::vector<std::uint32_t> labels;
  for (const auto& d : rows) {
    pixels.insert(pixels.end(), d.pixels.begin(), d.pixels.end());
    labels.push_back(d.label);
  }
  const auto row_count = count_rows(gang, labels.size());
  auto [first, state] =
      gang.restore_or(std::uint64_t{0}, network_state{initial_network(options.shape, options.seed), {}, {}, 0});
  say_begin(gang, first, options.steps);
  network_trainer trainer(gang, gang.device(), std::move(state), pixels, labels);
  for (auto step_number = first; step_number < options.steps; ++step_number) {
    trainer.step(row_count, options.adam);
    const auto done = step_number + 1;
    if (done % options.checkpoint_every == 0 && done < options.steps) keep(gang, done, trainer.state());
  }
  const auto loss = static_cast<double>(trainer.loss()) / static_cast<double>(row_count);
  return {trainer.state().model,
          {options.steps, first, loss, watch.seconds()},
          fmt::format("{}, gradients by {}", gang.device().device().description(), trainer.way()),
          trainer.replayed()};
}

using cell_count = std::pair<std::uint32_t, std::int64_t>;

/// Which cell of the confusion matrix each image counts for.
void score(hydrogen::rows<digit> rows, hydrogen::emitter<cell_count>& out, const network& model) {
  std::vector<float> pixels;
  std::vector<std::uint8_t> labels;
  for (const auto& d : rows) {
    pixels.insert(pixels.end(), d.pixels.begin(), d.pixels.end());
    labels.push_back(d.label);
  }
  const auto classes = classify(hydrogen::device(), model, pixels);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    out(cell_count(labels[i] * static_cast<std::uint32_t>(class_count) + classes[i], 1));
  }
}

void print_confusion(hydrogen::context& ctx, const std::array<std::int64_t, class_count * class_count>& counts) {
  ctx.print("\nconfusion (row: the digit, column: what the model says)");
  std::string head = "    ";
  for (std::size_t c = 0; c < class_count; ++c) head += fmt::format("{:>5}", c);
  ctx.print(head);
  for (std::size_t r = 0; r < class_count; ++r) {
    auto line = fmt::format("{:>4}", r);
    for (std::size_t c = 0; c < class_count; ++c) {
      const auto n = counts[r * class_count + c];
      line += n == 0 ? "    ." : fmt::format("{:>5}", n);
    }
    ctx.print(line);
  }
}

void digits(hydrogen::context& ctx) {
  settings s;
  hydrogen::cli::command_line line("digits", "Learn to read handwritten digits", "hydrogen run digits -- [OPTIONS]");
  line.text("--data", s.data, "FILE", "CSV: 64 pixels from 0 to 16, then the digit [the file that is shipped]");
  line.number("--steps", s.steps, 1, 1'000'000'000, "N", "Steps over all rows [softmax: 300, network: 150]");
  line.number("--ranks", s.ranks, 1, 1024, "N", "Ranks of the gang [4]");
  line.choice("--model", s.model, {"softmax", "network"}, "KIND",
              "softmax: softmax regression; network: two hidden layers [softmax]");
  line.number("--width", s.width, 1, 65536, "N", "network: units of each hidden layer [256]");
  line.number("--gpus", s.gpus, 0, 64, "N", "GPUs of each rank [0: the CPU]");
  line.number("--gpu-shared-by", s.gpu_shared_by, 1, 64, "N", "Ranks of a node that share them [1]");
  line.number("--seed", s.seed, 0, ~std::uint64_t{0}, "N",
              "Decides which rows are for the test, and where a network begins [7]");
  line.number("--rows-repeat", s.rows_repeat, 1, 1'000'000, "K", "Train on each row K times over: more work [1]");
  line.number("--checkpoint-every", s.checkpoint_every, 1, 1'000'000'000, "N", "Steps between checkpoints [50]");
  line.number("--retries", s.retries, 0, 1000, "N", "Attempts of the gang after the first [3]");
  if (!read_arguments(line, ctx)) return;
  const bool is_network = s.model == "network";
  if (s.width > 0 && !is_network) {
    throw hydrogen::failure({hydrogen::errc::bad_input, "--width is for --model network", "digits", {}});
  }
  if (s.steps == 0) s.steps = is_network ? 150 : 300;
  const network_shape shape{is_network ? 2U : 0U, !is_network ? 0U : s.width == 0 ? 256U : s.width};
  const adam_settings adam = is_network ? adam_settings{} : adam_settings{.rate = 0.05F, .decay = 1e-4F};

  // Partitions are counted from the arguments alone, so that the model does not depend on the machine.
  const auto partitions = std::max(8U, 2 * s.ranks);
  const stopwatch preparing;
  const auto [train_part, test_part] =
      ctx.read_csv<digit>(s.data, {.multiline = false, .partitions = partitions}).split({0.8, 0.2}, s.seed);
  const hydrogen::dataset<digit> train_rows =
      train_part.map(hydrogen::fn<scale>)
          .flat_map(
              [](const digit& d, hydrogen::emitter<digit>& out, std::uint32_t times) {
                for (std::uint32_t i = 0; i < times; ++i) out(d);
              },
              s.rows_repeat)
          .cache();
  const hydrogen::dataset<digit> test_rows = test_part.map(hydrogen::fn<scale>).cache();
  const auto train_count = train_rows.count(), test_count = test_rows.count();
  const auto prepare_seconds = preparing.seconds();

  hydrogen::barrier_options gang{.ranks = s.ranks, .retries = s.retries};
  if (s.gpus > 0) gang.needs.each.devices.push_back({"gpu", s.gpus, s.gpu_shared_by});
  const auto add_up = [](std::int64_t a, std::int64_t b) { return a + b; };
  const stopwatch training;
  const auto result =
      train_rows.barrier(gang)
          .map_partitions(hydrogen::fn<train>, training_options{shape, s.seed, s.steps, s.checkpoint_every, adam})
          .first();
  const auto& how = result.how;
  const auto train_seconds = training.seconds();
  const stopwatch scoring;
  const auto cells = test_rows.map_partitions(hydrogen::fn<score>, result.model).reduce_by_key(add_up).collect();
  const auto score_seconds = scoring.seconds();

  std::array<std::int64_t, class_count * class_count> confusion{};
  for (const auto& [cell, n] : cells) confusion[cell] = n;
  std::int64_t right = 0;
  for (std::size_t c = 0; c < class_count; ++c) right += confusion[c * class_count + c];
  const auto scored = std::accumulate(confusion.begin(), confusion.end(), std::int64_t{0});

  ctx.print(fmt::format("rows: {} to train, {} to test, seed {}", train_count, test_count, s.seed));
  ctx.print(fmt::format("steps: {} by {} ranks, loss {:.4f}{}", how.steps, s.ranks, how.loss,
                        how.restored == 0 ? "" : fmt::format(", the last attempt from step {}", how.restored)));
  ctx.print(scored == 0 ? std::string("accuracy: none, there are no rows to test")
                        : fmt::format("accuracy: {:.4f}", static_cast<double>(right) / static_cast<double>(scored)));
  ctx.print(
      fmt::format("model: {}", to_string(hydrogen::content_hash(std::as_bytes(std::span(result.model.parameters))))));
  ctx.print(
      fmt::format("device: {}, {} of {} steps replayed", result.device, result.replayed, how.steps - how.restored));
  ctx.print(fmt::format("time: prepare {:.1f} ms, train {:.1f} ms ({:.1f} ms of it in the ranks), score {:.1f} ms",
                        prepare_seconds * 1e3, train_seconds * 1e3, how.seconds * 1e3, score_seconds * 1e3));
  print_confusion(ctx, confusion);
}

}  // namespace
}  // namespace examples

HYDROGEN_APPLICATION(examples::digits)
