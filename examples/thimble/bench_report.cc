// SPDX-License-Identifier: Apache-2.0
//
// See bench_report.h.
#include "bench_report.h"

#include <cstdarg>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "console.h"

namespace thimble::program {
namespace {

using Json = nlohmann::ordered_json;

[[gnu::format(printf, 2, 3)]] void Append(std::string* text, const char* format, ...) {
  char line[256];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  *text += line;
}

Json OrNull(double value) { return value > 0 ? Json(value) : Json(); }

Json Parts(const PartSeconds& parts) {
  Json json = Json::object();
  for (size_t i = 0; i < kParts; ++i) json[PartName(i)] = parts[i] * 1e3;
  return json;
}

Json Row(const std::string& model, const BenchFigures& f) {
  Json json;
  json["model"] = model;
  json["threads"] = f.prefill_threads;
  json["decode_threads"] = f.decode_threads;
  json["kernels"] = f.kernels;
  json["prefill_tokens"] = f.sizes.prefill;
  json["decode_tokens"] = f.sizes.decode;
  json["depth"] = f.sizes.depth;
  json["ready_ms"] = f.ready_seconds * 1e3;
  json["prefill_tps"] = OrNull(f.prefill_tps);
  json["decode_tps"] = OrNull(f.decode_tps);
  json["bytes_per_token"] = f.bytes_per_token;
  json["state_bytes_per_token"] = f.state_bytes_per_token;
  json["weights_gbps"] = OrNull(f.weights_gbps());
  json["read_gbps"] = f.read_gbps;
  json["read_fraction"] = OrNull(f.weights_gbps() / f.read_gbps);
  json["arena_bytes"] = f.arena_bytes;
  json["rss_anon_mb"] = f.peak.anonymous;
  json["rss_file_mb"] = f.peak.file;
  json["rss_peak_mb"] = f.peak_total;
  json["prefill_ms_per_token"] = Parts(f.prefill_parts);
  json["decode_ms_per_token"] = Parts(f.decode_parts);
  return json;
}

// A field of CSV; only text ever needs its quotes.
std::string Field(const Json& value) {
  if (value.is_null()) return "";
  if (!value.is_string()) return value.dump();
  std::string quoted = "\"";
  for (const char c : value.get<std::string>()) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

void AppendParts(std::string* text, const BenchFigures& f) {
  *text += "ms a token             ";
  if (f.sizes.prefill != 0) *text += "   prefill";
  if (f.sizes.decode != 0) *text += "    decode";
  *text += "\n";
  for (size_t i = 0; i < kParts; ++i) {
    std::string name = PartName(i);
    for (char& c : name) c = c == '_' ? ' ' : c;
    Append(text, "  %-21s", name.c_str());
    if (f.sizes.prefill != 0) Append(text, "%10.3f", f.prefill_parts[i] * 1e3);
    if (f.sizes.decode != 0) Append(text, "%10.3f", f.decode_parts[i] * 1e3);
    *text += "\n";
  }
}

std::string Kernels(const BenchFigures& f) {
  std::string text;
  Append(&text, "kernels  %s, %zu %s", f.kernels.c_str(), f.prefill_threads,
         f.prefill_threads == 1 ? "thread" : "threads");
  if (f.decode_threads != f.prefill_threads) Append(&text, " for prefill and %zu for decode", f.decode_threads);
  return text + "\n";
}

std::string Lines(const BenchFigures& f) {
  std::string text = Kernels(f);
  if (f.sizes.depth != 0) Append(&text, "depth    %10u tokens\n", f.sizes.depth);
  Append(&text, "ready    %10.2f ms\n", f.ready_seconds * 1e3);
  if (f.sizes.prefill != 0) Append(&text, "prefill  %10.2f tokens/s  (%u tokens)\n", f.prefill_tps, f.sizes.prefill);
  if (f.sizes.decode != 0) {
    Append(&text, "decode   %10.2f tokens/s  (%u tokens)\n", f.decode_tps, f.sizes.decode);
    const double megabytes = static_cast<double>(f.bytes_per_token) / 1e6;
    const double state = static_cast<double>(f.state_bytes_per_token) / 1e6;
    Append(&text,
           "weights  %10.2f GB/s      (%.2f MB a token; only reading them: %.2f GB/s, of which this is %.0f %%)\n",
           f.weights_gbps(), megabytes, f.read_gbps, 100 * f.weights_gbps() / f.read_gbps);
    Append(&text, "state    %10.2f GB/s      (%.2f MB a token that DeltaNet reads and writes, not counted above)\n",
           state * f.decode_tps / 1e3, state);
  }
  Append(&text, "memory   %10.2f MiB       arena; at most resident: %.1f MiB anonymous, %.1f MiB of files\n",
         static_cast<double>(f.arena_bytes) / (1024 * 1024), f.peak.anonymous, f.peak.file);
  AppendParts(&text, f);
  return text;
}

std::string Table(std::span<const BenchFigures> rows) {
  std::string text = Kernels(rows[0]);
  text += "    pp    tg   depth  prefill/s   decode/s     GB/s  of read   anon MiB   file MiB\n";
  for (const BenchFigures& f : rows) {
    Append(&text, "%6u%6u%8u%11.2f%11.2f%9.2f%8.0f%%%11.1f%11.1f\n", f.sizes.prefill, f.sizes.decode, f.sizes.depth,
           f.prefill_tps, f.decode_tps, f.weights_gbps(), 100 * f.weights_gbps() / f.read_gbps, f.peak.anonymous,
           f.peak.file);
  }
  return text;
}

}  // namespace

std::string BenchText(std::span<const BenchFigures> rows) {
  std::string text = rows.size() == 1 ? Lines(rows[0]) : Table(rows);
  text.pop_back();
  return text;
}

std::string BenchJson(const std::string& model, std::span<const BenchFigures> rows) {
  if (rows.size() == 1) return JsonLine(Row(model, rows[0]));
  Json all = Json::array();
  for (const BenchFigures& f : rows) all.push_back(Row(model, f));
  return JsonLine(all);
}

std::string BenchCsv(const std::string& model, std::span<const BenchFigures> rows) {
  std::string names, text;
  for (const BenchFigures& f : rows) {
    std::string line;
    names.clear();
    const auto add = [&](const std::string& name, const Json& value) {
      names += (names.empty() ? "" : ",") + name;
      line += (line.empty() ? "" : ",") + Field(value);
    };
    const Json row = Row(model, f);
    for (const auto& [name, value] : row.items()) {
      if (!value.is_object()) add(name, value);
      if (value.is_object()) {
        for (const auto& [part, field] : value.items()) add(name + "." + part, field);
      }
    }
    text += "\n" + line;
  }
  return names + text;
}

}  // namespace thimble::program
