#pragma once
// A chart of time over size as an SVG file: both axes logarithmic, a panel beside the other. Values only; any thread.

#include <hydrogen/base/error.hpp>

#include <string>
#include <vector>

namespace hydrogen::bench {

struct chart_line {
  std::string name;
  struct point {
    double bytes = 0;
    double microseconds = 0;
  };
  std::vector<point> points;  // by size; both above 0
};

struct chart_panel {
  std::string title;
  std::vector<chart_line> lines;
};

/// `subtitle`: the machine. Lines of one name have one colour in all panels.
std::string chart_svg(const std::string& title, const std::string& subtitle, const std::vector<chart_panel>& panels);

expected<void> write_chart(const std::string& file, const std::string& svg);

}  // namespace hydrogen::bench
