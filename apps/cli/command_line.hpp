#pragma once
// Command lines as people know them from git and cargo: flags with defaults in the help, "--" before what is not ours,
// one clear message for what is wrong, with the nearest known flag. CLI11 does the work, in one source file: it takes
// long to compile. Variables that are given to it must outlive it. One thread.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace hydrogen::cli {

using arguments = std::vector<std::string>;

struct flag_options {
  bool required = false;
  bool hidden = false;
};

class command_line {
 public:
  /// `name` is "hydrogen run"; `usage` is what stands behind "Usage: ".
  command_line(std::string name, const std::string& description, const std::string& usage);
  ~command_line();
  command_line(const command_line&) = delete;

  // ---- what there is: the variable holds the default; `value` names the value in the help
  // -----------------------------

  void text(const std::string& flag, std::string& into, const std::string& value, const std::string& help,
            flag_options = {});
  void choice(const std::string& flag, std::string& into, const std::vector<std::string>& allowed,
              const std::string& value, const std::string& help);
  void number(const std::string& flag, std::uint64_t& into, std::uint64_t low, std::uint64_t high,
              const std::string& value, const std::string& help);
  void number(const std::string& flag, std::uint32_t& into, std::uint32_t low, std::uint32_t high,
              const std::string& value, const std::string& help);
  void number(const std::string& flag, int& into, int low, int high, const std::string& value, const std::string& help,
              flag_options = {});
  void number(const std::string& flag, double& into, double low, double high, const std::string& value,
              const std::string& help);
  /// A size such as "64 MiB", in bytes.
  void size(const std::string& flag, std::uint64_t& into, std::uint64_t least, const std::string& help);
  void toggle(const std::string& flag, bool& into, const std::string& help);
  /// An argument without a flag, required; the next ones in order.
  void argument(const std::string& name, std::string& into, const std::string& help);
  /// All arguments without a flag that are left.
  void arguments_left(const std::string& name, std::vector<std::string>& into, const std::string& help, bool required);
  void footer(const std::string& text);

  // ---- reading
  // -------------------------------------------------------------------------------------------------------

  struct outcome {
    bool wants_help = false;
    std::string problem;  // empty: all is well
  };
  /// With `own_arguments` what follows a "--" is not read but kept in `rest`.
  outcome read(arguments args, bool own_arguments = false);

  const arguments& rest() const { return rest_; }
  const std::string& name() const { return name_; }
  std::string help() const;

 private:
  struct parser;
  std::string name_;
  std::unique_ptr<parser> parser_;
  arguments rest_;
};

}  // namespace hydrogen::cli
