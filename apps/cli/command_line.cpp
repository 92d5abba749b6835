#include "command_line.hpp"

#include <hydrogen/base/nearest.hpp>
#include <hydrogen/base/units.hpp>

#include <CLI/CLI.hpp>
#include <spdlog/fmt/fmt.h>

#include <algorithm>

namespace hydrogen::cli {
namespace {

class help_format final : public CLI::Formatter {
 public:
  explicit help_format(std::string usage) : usage_(std::move(usage)) {
    label("Positionals", "Arguments");
    column_width(28);
  }
  std::string make_usage(const CLI::App*, std::string) const override { return fmt::format("\nUsage: {}\n", usage_); }
  // CLI11 would add its names of types, and "REQUIRED" to what the usage line shows already.
  std::string make_option_opts(const CLI::Option* option) const override {
    return option->get_option_text().empty() ? "" : " " + option->get_option_text();
  }

 private:
  std::string usage_;
};

}  // namespace

struct command_line::parser : CLI::App {
  using CLI::App::App;

  std::vector<std::string> known_flags() const {
    std::vector<std::string> names;
    for (const auto* option : get_options()) {
      if (option->get_group().empty()) continue;
      for (const auto& name : option->get_lnames()) names.push_back(fmt::format("--{}", name));
    }
    return names;
  }

  template <class T>
  CLI::Option* number(const std::string& flag, T& into, T low, T high, const std::string& value,
                      const std::string& help) {
    const auto take = [&into, flag, low, high](const std::string& text) {
      T x{};
      if (!CLI::detail::lexical_cast(text, x) || !(x >= low && x <= high) ||
          (std::is_unsigned_v<T> && text.find('-') != std::string::npos)) {
        throw CLI::ValidationError(flag, fmt::format("'{}' is not a number from {} to {}", text, low, high));
      }
      into = x;
    };
    return add_option_function<std::string>(flag, take, help)->option_text(value);
  }
};

command_line::command_line(std::string name, const std::string& description, const std::string& usage)
    : name_(std::move(name)), parser_(std::make_unique<parser>(description, name_)) {
  parser_->formatter(std::make_shared<help_format>(usage));
  parser_->set_help_flag("-h,--help", "Print this help");
  // What it does not know is looked at in `read`, for a better message than CLI11's.
  parser_->allow_extras();
}
command_line::~command_line() = default;

void command_line::text(const std::string& flag, std::string& into, const std::string& value, const std::string& help,
                        flag_options options) {
  auto* option = parser_->add_option(flag, into, help)->option_text(value)->required(options.required);
  if (options.hidden) option->group("");
}

void command_line::choice(const std::string& flag, std::string& into, const std::vector<std::string>& allowed,
                          const std::string& value, const std::string& help) {
  const auto take = [&into, flag, allowed](const std::string& text) {
    if (std::find(allowed.begin(), allowed.end(), text) == allowed.end()) {
      throw CLI::ValidationError(flag, fmt::format("'{}' is none of {}", text, fmt::join(allowed, ", ")));
    }
    into = text;
  };
  parser_->add_option_function<std::string>(flag, take, help)->option_text(value);
}

void command_line::number(const std::string& flag, std::uint64_t& into, std::uint64_t low, std::uint64_t high,
                          const std::string& value, const std::string& help) {
  parser_->number(flag, into, low, high, value, help);
}
void command_line::number(const std::string& flag, std::uint32_t& into, std::uint32_t low, std::uint32_t high,
                          const std::string& value, const std::string& help) {
  parser_->number(flag, into, low, high, value, help);
}
void command_line::number(const std::string& flag, int& into, int low, int high, const std::string& value,
                          const std::string& help, flag_options options) {
  auto* option = parser_->number(flag, into, low, high, value, help)->required(options.required);
  if (options.hidden) option->group("");
}
void command_line::number(const std::string& flag, double& into, double low, double high, const std::string& value,
                          const std::string& help) {
  parser_->number(flag, into, low, high, value, help);
}

void command_line::size(const std::string& flag, std::uint64_t& into, std::uint64_t least, const std::string& help) {
  const auto take = [&into, least, flag](const std::string& text) {
    const auto parsed = parse_size(text);
    if (!parsed) throw CLI::ValidationError(flag, parsed.error().message());
    if (*parsed < least) throw CLI::ValidationError(flag, fmt::format("must be at least {}", format_size(least)));
    into = *parsed;
  };
  parser_->add_option_function<std::string>(flag, take, fmt::format("{} [{}]", help, format_size(into)))
      ->option_text("SIZE");
}

void command_line::toggle(const std::string& flag, bool& into, const std::string& help) {
  parser_->add_flag(flag, into, help);
}

void command_line::argument(const std::string& name, std::string& into, const std::string& help) {
  parser_->add_option(name, into, help)->required();
}

void command_line::arguments_left(const std::string& name, std::vector<std::string>& into, const std::string& help,
                                  bool required) {
  parser_->add_option(name, into, help)->required(required);
}

void command_line::footer(const std::string& text) {
  parser_->footer(text);
}

command_line::outcome command_line::read(arguments args, bool own_arguments) {
  if (own_arguments) {
    const auto cut = std::find(args.begin(), args.end(), "--");
    if (cut != args.end()) rest_.assign(cut + 1, args.end());
    args.erase(cut, args.end());
  }
  std::string wrong;
  try {
    std::reverse(args.begin(), args.end());  // CLI11 takes them from the back
    parser_->parse(args);
  } catch (const CLI::CallForHelp&) {
    return {true, {}};
  } catch (const CLI::ParseError& e) {
    wrong = e.what();
  }
  // Unknown flags first: a value that is missing is often the result of a flag that is misspelt.
  for (const auto& extra : parser_->remaining()) {
    if (!extra.starts_with("-") || extra == "-") continue;
    const auto flag = extra.substr(0, extra.find('='));
    const auto near = nearest_name(flag, parser_->known_flags());
    return {false, fmt::format("unknown flag '{}'{}", flag, near ? fmt::format(", did you mean '{}'?", *near) : "")};
  }
  if (!wrong.empty()) return {false, wrong};
  if (!parser_->remaining().empty()) {
    return {false, fmt::format("unexpected argument '{}'{}", parser_->remaining().front(),
                               own_arguments ? "; arguments of the application stand after '--'" : "")};
  }
  return {};
}

std::string command_line::help() const {
  return parser_->help();
}

}  // namespace hydrogen::cli
