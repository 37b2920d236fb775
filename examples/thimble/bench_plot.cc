// SPDX-License-Identifier: Apache-2.0
//
// See bench_plot.h.
#include "bench_plot.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

namespace thimble::program {
namespace {

constexpr double kWidth = 960, kHeight = 400;               // of the picture, in pixels
constexpr double kPanelWidth = 380, kPanelHeight = 260;     // of the area inside the axes
constexpr double kTop = 80, kLeft[] = {75, 555};            // of that area
constexpr const char* kColours[] = {"#0072b2", "#d55e00"};  // told apart by everybody, also in print

struct Point {
  double x, y;
};

struct Series {
  std::string name;
  std::vector<Point> points;
};

struct Panel {
  std::string title;
  std::vector<Series> series;
};

std::string Number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", value);
  return text;
}

std::string Escaped(const std::string& text) {
  std::string safe;
  for (const char c : text) {
    if (c == '&') {
      safe += "&amp;";
    } else if (c == '<') {
      safe += "&lt;";
    } else if (static_cast<unsigned char>(c) >= 0x20) {
      safe += c;
    }
  }
  return safe;
}

// The distance of ticks, 1, 2 or 5 times a power of ten, that gives at most six of them up to `largest`.
double TickStep(double largest) {
  const double power = std::pow(10, std::floor(std::log10(largest / 6)));
  for (const double factor : {1, 2, 5}) {
    if (largest / (factor * power) <= 6) return factor * power;
  }
  return 10 * power;
}

// From 0 to a tick at or above the largest value.
struct Axis {
  double step, end;
  explicit Axis(double largest) : step(TickStep(std::max(largest, 1e-6))), end(std::ceil(largest / step) * step) {
    if (end <= 0) end = step;
  }
  double Share(double value) const { return value / end; }
};

std::string Text(double x, double y, const char* anchor, const std::string& text, const char* more = "") {
  return "<text x=\"" + Number(x) + "\" y=\"" + Number(y) + "\" text-anchor=\"" + anchor + "\"" + more + ">" +
         Escaped(text) + "</text>\n";
}

std::string Line(double x1, double y1, double x2, double y2, const char* colour) {
  return "<line x1=\"" + Number(x1) + "\" y1=\"" + Number(y1) + "\" x2=\"" + Number(x2) + "\" y2=\"" + Number(y2) +
         "\" stroke=\"" + colour + "\"/>\n";
}

std::string DrawAxes(double left, const Axis& x, const Axis& y) {
  const double bottom = kTop + kPanelHeight;
  std::string svg;
  for (double value = 0; value <= y.end * 1.0001; value += y.step) {
    const double at = bottom - y.Share(value) * kPanelHeight;
    svg += Line(left, at, left + kPanelWidth, at, value == 0 ? "#333333" : "#dddddd");
    svg += Text(left - 8, at + 4, "end", Number(value));
  }
  for (double value = 0; value <= x.end * 1.0001; value += x.step) {
    const double at = left + x.Share(value) * kPanelWidth;
    svg += Line(at, bottom, at, bottom + 5, "#333333");
    svg += Text(at, bottom + 20, "middle", Number(value));
  }
  svg += Line(left, kTop, left, bottom, "#333333");
  return svg + Text(left + kPanelWidth / 2, bottom + 42, "middle", "tokens in the context before");
}

std::string DrawSeries(double left, const Axis& x, const Axis& y, const Series& series, const char* colour) {
  std::string line, dots;
  for (const Point& point : series.points) {
    const std::string at_x = Number(left + x.Share(point.x) * kPanelWidth);
    const std::string at_y = Number(kTop + kPanelHeight - y.Share(point.y) * kPanelHeight);
    line += at_x + "," + at_y + " ";
    dots += "<circle cx=\"" + at_x + "\" cy=\"" + at_y + "\" r=\"3.5\" fill=\"" + colour + "\"><title>" +
            Escaped(series.name) + " at " + Number(point.x) + ": " + Number(point.y) + "</title></circle>\n";
  }
  return "<polyline points=\"" + line + "\" fill=\"none\" stroke=\"" + colour + "\" stroke-width=\"2\"/>\n" + dots;
}

std::string DrawPanel(double left, const Panel& panel) {
  double largest_x = 0, largest_y = 0;
  for (const Series& series : panel.series) {
    for (const Point& point : series.points) {
      largest_x = std::max(largest_x, point.x);
      largest_y = std::max(largest_y, point.y);
    }
  }
  const Axis x(largest_x), y(largest_y);
  std::string svg = DrawAxes(left, x, y) + Text(left, kTop - 30, "start", panel.title, " font-weight=\"bold\"");
  double legend = left;
  for (size_t i = 0; i < panel.series.size(); ++i) {
    svg += DrawSeries(left, x, y, panel.series[i], kColours[i]);
    svg += "<rect x=\"" + Number(legend) + "\" y=\"" + Number(kTop - 21) + "\" width=\"18\" height=\"4\" fill=\"" +
           kColours[i] + "\"/>\n" + Text(legend + 24, kTop - 14, "start", panel.series[i].name);
    legend += 24 + 8.0 * static_cast<double>(panel.series[i].name.size()) + 20;
  }
  return svg;
}

Series Collect(const char* name, std::span<const BenchFigures> rows, double (*value)(const BenchFigures&)) {
  Series series{name, {}};
  for (const BenchFigures& f : rows) series.points.push_back({static_cast<double>(f.sizes.depth), value(f)});
  std::sort(series.points.begin(), series.points.end(), [](Point a, Point b) { return a.x < b.x; });
  return series;
}

}  // namespace

std::string BenchSvg(const std::string& title, std::span<const BenchFigures> rows) {
  Panel speed{"tokens per second", {}}, memory{"resident memory at most, MiB", {}};
  if (rows[0].sizes.prefill != 0) {
    const std::string name = "prefill of " + std::to_string(rows[0].sizes.prefill);
    speed.series.push_back(Collect(name.c_str(), rows, [](const BenchFigures& f) { return f.prefill_tps; }));
  }
  if (rows[0].sizes.decode != 0) {
    const std::string name = "decode of " + std::to_string(rows[0].sizes.decode);
    speed.series.push_back(Collect(name.c_str(), rows, [](const BenchFigures& f) { return f.decode_tps; }));
  }
  memory.series.push_back(Collect("anonymous", rows, [](const BenchFigures& f) { return f.peak.anonymous; }));
  memory.series.push_back(Collect("mapped files", rows, [](const BenchFigures& f) { return f.peak.file; }));
  return "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + Number(kWidth) + " " + Number(kHeight) +
         "\" font-family=\"sans-serif\" font-size=\"13\" fill=\"#222222\">\n"
         "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n" +
         Text(kWidth / 2, 26, "middle", title, " font-size=\"16\"") + DrawPanel(kLeft[0], speed) +
         DrawPanel(kLeft[1], memory) + "</svg>\n";
}

}  // namespace thimble::program
