#include "engine.hpp"

#include <hydrogen/exec/application.hpp>

#include "process.hpp"

#include <cstdlib>
#include <filesystem>

namespace hydrogen::bench {

gang::application_ref bench_application() {
  const auto library = value_or_throw(exec::load_application(program_folder() + "/../lib/hydrogen/libbench_jobs.so"));
  gang::application_ref app;
  app.run = make_run_id();
  app.name = library.name;
  app.library = library.path;
  app.hash = library.hash;
  app.size = std::filesystem::file_size(library.path);
  return app;
}

engine::engine(actors::cluster_options options, job::options of_jobs) : of_jobs_(of_jobs) {
  options.program = program_folder() + "/hydrogen";
  options.log_level = "error";  // benchmarks kill and end processes on purpose
  cluster_ = value_or_throw(actors::local_cluster::start(std::move(options)));
}

engine::~engine() {
  end_run();
}

context& engine::ctx() {
  if (!context_) {
    actors::session_options settings;
    settings.storage_dir = cluster_->options().directory + "/storage";
    settings.job = of_jobs_;
    driver_ = value_or_throw(cluster_->open(bench_application(), settings));
    context_.emplace(*driver_, std::vector<std::string>{});
  }
  return *context_;
}

void engine::end_run() {
  context_.reset();
  if (driver_) driver_->close();
  driver_.reset();
}

engine embedded(std::uint32_t slots, job::options of_jobs) {
  actors::cluster_options options;
  options.slots = slots;
  return engine(std::move(options), of_jobs);
}

engine on_processes(std::uint32_t nodes, std::uint32_t slots) {
  actors::cluster_options options;
  options.kind = actors::cluster_kind::processes;
  options.nodes = nodes;
  options.slots = slots;
  return engine(std::move(options));
}

scratch_folder::scratch_folder() {
  auto pattern = (std::filesystem::temp_directory_path() / "hydrogen-bench-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) throw failure(fail_errno("cannot make a folder", pattern).value());
  path_ = pattern;
}

scratch_folder::~scratch_folder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace hydrogen::bench
