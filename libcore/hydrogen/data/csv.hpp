#pragma once
// CSV (RFC 4180) into typed rows. Fields go to the fields of the row by position; a nested struct, pair, tuple or
// std::array<T, N> takes as many columns as it has values; a std::vector at the end takes all that are left. A number
// may stand between blanks; an empty field is only good for text and std::optional; bool is 0, 1, true or false. A bad
// field is an error with file, line, column (its name if there is a header) and value.

#include <hydrogen/data/line_reader.hpp>
#include <hydrogen/data/row.hpp>

#include <charconv>
#include <optional>

namespace hydrogen::data {

struct csv_options {
  char separator = ',';
  /// The first record names the columns.
  bool header = false;
  /// Bad records are counted, logged and left out, instead of an error.
  bool skip_bad_rows = false;
  /// A field in quotes may hold line ends; a file of several partitions is then read once more, by the driver, to find
  /// where records start. False: each line is a record.
  bool multiline = true;
  /// 0: by size, 8 to 32 MiB each.
  std::uint32_t partitions = 0;
  template <class I>
  friend auto inspect(I& f, csv_options& x) {
    return f(x.separator, x.header, x.skip_bad_rows, x.multiline, x.partitions);
  }
};

/// What is wrong with a field or record.
struct csv_problem {
  std::size_t column = 0;  // from 0; `whole_record` when it is no single field
  std::string what;
  static constexpr std::size_t whole_record = ~std::size_t{0};
};

/// One record cut into fields. Fields without quotes point into the record, the others into memory of this object.
class csv_record {
 public:
  /// False: a quote in the wrong place; `problem` says where.
  bool split(std::string_view record, char separator, csv_problem& problem);
  std::size_t size() const { return fields_.size(); }
  std::string_view operator[](std::size_t i) const { return fields_[i]; }

 private:
  bool split_quoted(std::string_view record, char separator, csv_problem& problem);
  std::vector<std::string_view> fields_;
  std::string unquoted_;
};

/// Number parsers: whole field, blanks around it allowed.
bool parse_field(std::string_view field, float& x);
bool parse_field(std::string_view field, double& x);
bool parse_field(std::string_view field, bool& x);
std::string_view trim_blanks(std::string_view field);

template <class T>
requires(std::is_integral_v<T> && !std::is_same_v<T, bool>) bool parse_field(std::string_view field, T& x) {
  field = trim_blanks(field);
  if (field.size() > 1 && field[0] == '+' && field[1] != '-') field.remove_prefix(1);
  const auto [end, ec] = std::from_chars(field.data(), field.data() + field.size(), x);
  return ec == std::errc{} && end == field.data() + field.size() && !field.empty();
}

/// Takes the fields of a record one after the other; also an inspector, for rows with `inspect`.
class csv_fields {
 public:
  using result_type = bool;
  csv_fields(const csv_record& record, csv_problem& problem) : record_(record), problem_(problem) {}

  bool ok() const { return ok_; }
  std::size_t taken() const { return next_; }

  template <class... Ts>
  bool operator()(Ts&... xs) {
    (get(xs), ...);
    return ok_;
  }

  template <class T>
  void get(T& x) {
    using namespace codec_detail;
    if constexpr (std::is_same_v<T, std::string>) {
      if (const auto* field = take()) x.assign(*field);
    } else if constexpr (std::is_arithmetic_v<T>) {
      const auto* field = take();
      if (field != nullptr && !parse_field(*field, x)) bad(*field, kind<T>());
    } else if constexpr (std::is_enum_v<T>) {
      std::underlying_type_t<T> number{};
      get(number);
      x = static_cast<T>(number);
    } else if constexpr (is_optional<T>) {
      if (next_ < record_.size() && record_[next_].empty())
        ++next_, x.reset();
      else
        get(x.emplace());
    } else if constexpr (is_vector<T>) {
      x.clear();
      while (ok_ && next_ < record_.size()) {
        typename T::value_type v{};
        get(v);
        x.push_back(std::move(v));
      }
    } else if constexpr (is_array<T>) {
      for (auto& v : x) get(v);
    } else if constexpr (is_tuple<T>) {
      std::apply([this](auto&... v) { (get(v), ...); }, x);
    } else if constexpr (has_inspect<T>) {
      inspect(*this, x);
    } else {
      static_assert(plain_aggregate<T>, "hydrogen: a CSV column cannot be read into a field of this type");
      with_fields([this](auto&... v) { (get(v), ...); }, x);
    }
  }

 private:
  template <class T>
  static const char* kind() {
    if constexpr (std::is_same_v<T, bool>)
      return "a truth value (0, 1, true, false)";
    else if constexpr (std::is_floating_point_v<T>)
      return "a number";
    else if constexpr (std::is_unsigned_v<T>)
      return sizeof(T) == 1   ? "an integer from 0 to 255"
             : sizeof(T) == 2 ? "an integer from 0 to 65535"
                              : "an integer from 0 up, in range";
    else
      return sizeof(T) == 1 ? "an integer from -128 to 127" : "an integer in range";
  }
  const std::string_view* take();
  void bad(std::string_view value, const char* wanted);

  const csv_record& record_;
  csv_problem& problem_;
  std::string_view current_;
  std::size_t next_ = 0;
  bool ok_ = true;
};

/// Reads the records of one part of a CSV file as rows. One thread. Throws `failure` for the first bad record, unless
/// bad records are skipped.
class csv_reader {
 public:
  csv_reader(const file_part& part, const csv_options& options);

  template <class T>
  bool next(T& row) {
    while (next_record()) {
      csv_problem problem;
      bool good = record_.split(text_, options_.separator, problem);
      if (good) {
        if constexpr (!codec_detail::is_vector<T>) {
          // An empty line is no record, unless a record may be one empty field.
          if (text_.empty() && !std::is_same_v<T, std::string>) continue;
        }
        csv_fields fields(record_, problem);
        fields.get(row);
        good = fields.ok();
        if (good && fields.taken() != record_.size()) {
          problem = {csv_problem::whole_record, "has " + std::to_string(record_.size()) + " columns, the row takes " +
                                                    std::to_string(fields.taken())};
          good = false;
        }
      }
      if (good) return true;
      reject(problem);
    }
    finish();
    return false;
  }
  std::uint64_t skipped() const { return skipped_; }

 private:
  bool next_record();
  void reject(const csv_problem& problem);
  error describe(const csv_problem& problem) const;
  void finish();

  file_part part_;
  csv_options options_;
  line_reader lines_;
  csv_record record_;
  std::string_view text_;
  bool header_to_skip_ = false;
  bool at_start_ = false;
  std::uint64_t skipped_ = 0;
  std::string first_skipped_;
};

}  // namespace hydrogen::data
