#include "chart.hpp"

#include <hydrogen/base/units.hpp>

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <set>

namespace hydrogen::bench {
namespace {

//     | left | plot | right |     the legend lies below the plot, two lines a row
constexpr double panel_width = 640, plot_left = 70, plot_right = 20, plot_top = 96, plot_height = 340;
constexpr double plot_width = panel_width - plot_left - plot_right;
constexpr double legend_top = plot_top + plot_height + 64, legend_row = 20;

struct axis {
  double low = 1, high = 10;  // of the values, not their logarithms
  double at(double value) const { return std::log(value / low) / std::log(high / low); }
};

struct axes {
  axis x, y;
  std::vector<double> sizes;  // all that occur
};

axes axes_of(const std::vector<chart_panel>& panels) {
  std::set<double> sizes, times;
  for (const auto& p : panels) {
    for (const auto& l : p.lines) {
      for (const auto& at : l.points) {
        sizes.insert(at.bytes);
        times.insert(at.microseconds);
      }
    }
  }
  if (sizes.empty()) return {};
  const auto decade = [](double value, auto round) { return std::pow(10, round(std::log10(value))); };
  axes all;
  all.x = {*sizes.begin() / 2, *sizes.rbegin() * 2};
  all.y = {decade(*times.begin(), [](double v) { return std::floor(v); }),
           decade(*times.rbegin() * 1.01, [](double v) { return std::ceil(v); })};
  all.sizes.assign(sizes.begin(), sizes.end());
  return all;
}

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) out += c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '&' ? "&amp;" : std::string(1, c);
  return out;
}

std::string label(double x, double y, const char* anchor, double size, const std::string& text,
                  const std::string& more = {}) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\" font-size=\"{}\" {}>{}</text>\n", x, y, anchor,
                     size, more, escaped(text));
}

std::string stroke(double x1, double y1, double x2, double y2, const char* colour) {
  return fmt::format("<path d=\"M{:.1f} {:.1f}L{:.1f} {:.1f}\" stroke=\"{}\"/>\n", x1, y1, x2, y2, colour);
}

std::string time_label(double microseconds) {
  if (microseconds >= 1e6) return fmt::format("{} s", microseconds / 1e6);
  if (microseconds >= 1e3) return fmt::format("{} ms", microseconds / 1e3);
  return fmt::format("{} µs", microseconds);
}

std::string frame_of(const axes& a, double left) {
  std::string out;
  const double bottom = plot_top + plot_height;
  for (double t = a.y.low; t <= a.y.high * 1.01; t *= 10) {
    const double y = bottom - a.y.at(t) * plot_height;
    out += stroke(left, y, left + plot_width, y, "#ddd") + label(left - 8, y + 4, "end", 12, time_label(t));
  }
  for (const double size : a.sizes) {
    const double x = left + a.x.at(size) * plot_width;
    out += stroke(x, plot_top, x, bottom, "#eee") +
           label(x, bottom + 18, "middle", 11, format_size(static_cast<std::uint64_t>(size)));
  }
  out += stroke(left, bottom, left + plot_width, bottom, "#333") + stroke(left, plot_top, left, bottom, "#333");
  const double middle = plot_top + plot_height / 2;
  out += label(left + plot_width / 2, bottom + 40, "middle", 13, "size of each rank's buffer");
  out += label(left - 56, middle, "middle", 13, "time per call, median",
               fmt::format("transform=\"rotate(-90 {:.1f} {:.1f})\"", left - 56, middle));
  return out;
}

/// The names of all lines, as they first occur: a name has one colour in all panels.
std::vector<std::string> names_of(const std::vector<chart_panel>& panels) {
  std::vector<std::string> names;
  for (const auto& p : panels) {
    for (const auto& l : p.lines) {
      if (std::find(names.begin(), names.end(), l.name) == names.end()) names.push_back(l.name);
    }
  }
  return names;
}

std::string lines_of(const chart_panel& panel, const axes& a, const std::vector<std::string>& names, double left) {
  // Told apart by those who see no red or green, too (the colours of Okabe and Ito).
  constexpr const char* colours[] = {"#000000", "#0072b2", "#56b4e9", "#009e73", "#d55e00", "#cc79a7", "#e69f00"};
  std::string out;
  std::size_t n = 0;
  for (const auto& line : panel.lines) {
    const auto place = std::find(names.begin(), names.end(), line.name) - names.begin();
    const auto* colour = colours[static_cast<std::size_t>(place) % std::size(colours)];
    std::string path, dots;
    for (const auto& p : line.points) {
      const double x = left + a.x.at(p.bytes) * plot_width;
      const double y = plot_top + (1 - a.y.at(p.microseconds)) * plot_height;
      path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? 'M' : 'L', x, y);
      dots += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.5\" fill=\"{}\"/>\n", x, y, colour);
    }
    out += fmt::format("<path d=\"{}\" stroke=\"{}\" stroke-width=\"2\" fill=\"none\"/>\n", path, colour) + dots;
    const double x = left + static_cast<double>(n % 2) * plot_width / 2;
    const double y = legend_top + static_cast<double>(n / 2) * legend_row;
    out += fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"18\" height=\"4\" fill=\"{}\"/>\n", x, y - 6, colour) +
           label(x + 26, y, "start", 13, line.name);
    ++n;
  }
  return out;
}

}  // namespace

std::string chart_svg(const std::string& title, const std::string& subtitle, const std::vector<chart_panel>& panels) {
  std::size_t most_lines = 0;
  for (const auto& p : panels) most_lines = std::max(most_lines, p.lines.size());
  const double width = panel_width * static_cast<double>(std::max<std::size_t>(panels.size(), 1));
  const double height = legend_top + static_cast<double>((most_lines + 1) / 2) * legend_row;
  auto out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" height=\"{1:.0f}\" "
      "font-family=\"sans-serif\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
      width, height);
  out += label(plot_left, 30, "start", 19, title, "font-weight=\"bold\"") +
         label(plot_left, 52, "start", 13, subtitle, "fill=\"#555\"");
  const auto all = axes_of(panels);
  const auto names = names_of(panels);
  double left = plot_left;
  for (const auto& p : panels) {
    out += label(left, plot_top - 12, "start", 15, p.title, "font-weight=\"bold\"") + frame_of(all, left) +
           lines_of(p, all, names, left);
    left += panel_width;
  }
  return out + "</svg>\n";
}

expected<void> write_chart(const std::string& file, const std::string& svg) {
  std::ofstream stream(file);
  stream << svg;
  if (!stream.flush()) return fail_errno("cannot write", file);
  return {};
}

}  // namespace hydrogen::bench
