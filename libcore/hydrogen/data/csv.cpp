#include <hydrogen/data/csv.hpp>

#include <fast_float/fast_float.h>
#include <spdlog/spdlog.h>

namespace hydrogen::data {
namespace {

constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";

template <class T>
bool parse_floating(std::string_view field, T& x) {
  field = trim_blanks(field);
  if (field.size() > 1 && field[0] == '+' && field[1] != '-') field.remove_prefix(1);
  const auto [end, ec] = fast_float::from_chars(field.data(), field.data() + field.size(), x);
  return ec == std::errc{} && end == field.data() + field.size() && !field.empty();
}

std::string shown(std::string_view value) {
  constexpr std::size_t most = 60;
  std::string text = "'";
  for (const char c : value.substr(0, most)) text += static_cast<unsigned char>(c) < ' ' || c == 127 ? '?' : c;
  return text + (value.size() > most ? "...'" : "'");
}

}  // namespace

std::string_view trim_blanks(std::string_view field) {
  while (!field.empty() && (field.front() == ' ' || field.front() == '\t')) field.remove_prefix(1);
  while (!field.empty() && (field.back() == ' ' || field.back() == '\t')) field.remove_suffix(1);
  return field;
}

bool parse_field(std::string_view field, float& x) {
  return parse_floating(field, x);
}
bool parse_field(std::string_view field, double& x) {
  return parse_floating(field, x);
}
bool parse_field(std::string_view field, bool& x) {
  field = trim_blanks(field);
  x = field == "1" || field == "true" || field == "True" || field == "TRUE";
  return x || field == "0" || field == "false" || field == "False" || field == "FALSE";
}

bool csv_record::split(std::string_view record, char separator, csv_problem& problem) {
  fields_.clear();
  if (record.find('"') != std::string_view::npos) return split_quoted(record, separator, problem);
  const char* from = record.data();
  const char* const end = from + record.size();
  for (const char* p = from; p != end; ++p) {
    if (*p != separator) continue;
    fields_.emplace_back(from, static_cast<std::size_t>(p - from));
    from = p + 1;
  }
  fields_.emplace_back(from, static_cast<std::size_t>(end - from));
  return true;
}

bool csv_record::split_quoted(std::string_view record, char separator, csv_problem& problem) {
  unquoted_.clear();
  unquoted_.reserve(record.size());  // fields point into it
  std::size_t i = 0;
  for (;;) {
    if (i < record.size() && record[i] == '"') {
      const auto start = unquoted_.size();
      for (++i;; ++i) {
        if (i >= record.size()) {
          problem = {fields_.size(), "a quoted field is not closed"};
          return false;
        }
        if (record[i] != '"') {
          unquoted_ += record[i];
        } else if (i + 1 < record.size() && record[i + 1] == '"') {
          unquoted_ += '"';
          ++i;
        } else {
          ++i;
          break;
        }
      }
      if (i < record.size() && record[i] != separator) {
        problem = {fields_.size(), "text after the closing quote of a field"};
        return false;
      }
      fields_.emplace_back(unquoted_.data() + start, unquoted_.size() - start);
    } else {
      const auto end = std::min(record.find(separator, i), record.size());
      const auto field = record.substr(i, end - i);
      if (field.find('"') != std::string_view::npos) {
        problem = {fields_.size(), "a quote inside a field without quotes: " + shown(field)};
        return false;
      }
      fields_.push_back(field);
      i = end;
    }
    if (i >= record.size()) return true;
    ++i;  // the separator
  }
}

const std::string_view* csv_fields::take() {
  if (!ok_) return nullptr;
  if (next_ >= record_.size()) {
    problem_ = {csv_problem::whole_record,
                "has only " + std::to_string(record_.size()) + " columns, the row takes more"};
    ok_ = false;
    return nullptr;
  }
  current_ = record_[next_++];
  return &current_;
}

void csv_fields::bad(std::string_view value, const char* wanted) {
  problem_ = {next_ - 1, shown(value) + " is not " + wanted};
  ok_ = false;
}

csv_reader::csv_reader(const file_part& part, const csv_options& options)
    : part_(part), options_(options), lines_(value_or_throw(line_reader::open(part, options.multiline))) {
  at_start_ = part.begin == 0;
  header_to_skip_ = options.header && at_start_;
}

bool csv_reader::next_record() {
  while (lines_.next(text_)) {
    if (at_start_ && lines_.line_start() == 0 && text_.starts_with(byte_order_mark))
      text_.remove_prefix(byte_order_mark.size());
    at_start_ = false;
    if (!header_to_skip_) return true;
    header_to_skip_ = false;
  }
  return false;
}

error csv_reader::describe(const csv_problem& problem) const {
  error e{errc::bad_input, problem.what, part_.path, {}};
  if (const auto line = line_reader::line_number(part_.path, lines_.line_start()))
    e.where += ":" + std::to_string(*line);
  if (problem.column != csv_problem::whole_record) {
    std::string column = std::to_string(problem.column + 1);
    if (options_.header) {
      auto first = part_;
      first.begin = 0;
      first.end = first.size;
      first.exact = true;
      csv_problem ignored;
      csv_record names;
      std::string_view text;
      auto reader = line_reader::open(first, options_.multiline, 4096);
      if (reader && reader->next(text)) {
        if (text.starts_with(byte_order_mark)) text.remove_prefix(byte_order_mark.size());
        if (names.split(text, options_.separator, ignored) && problem.column < names.size())
          column = names[problem.column];
      }
    }
    e.where += ": column " + column;
  }
  e.hint = "correct the file, or set csv_options::skip_bad_rows";
  return e;
}

void csv_reader::reject(const csv_problem& problem) {
  if (!options_.skip_bad_rows) throw failure(describe(problem));
  if (skipped_++ == 0) first_skipped_ = describe(problem).message();
}

void csv_reader::finish() {
  if (skipped_ == 0 || first_skipped_.empty()) return;
  spdlog::warn("{} bad rows skipped in {} from byte {} to {}; the first: {}", skipped_, part_.path, part_.begin,
               part_.end, first_skipped_);
  first_skipped_.clear();
}

}  // namespace hydrogen::data
