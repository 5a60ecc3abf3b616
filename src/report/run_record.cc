#include "report/run_record.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace sedum::report {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
const double kNan = std::nan("");

void read_line(std::string_view line, const std::string& where, RunRecord& run) {
  const Json entry = try_parse_json<Json>(line);
  if (!entry.is_object() || !entry.contains("step") || !entry["step"].is_number())
    throw Error(where + ": not an object with a step", "metrics.jsonl is written by `sedum train`; remove the line");
  const double step = entry["step"].get<double>();
  for (const auto& [key, value] : entry.items()) {
    if (key == "step" || (!value.is_number() && !value.is_null())) continue;
    RunSeries& series = run.series[key];
    series.xs.push_back(step), series.ys.push_back(value.is_null() ? kNan : value.get<double>());
  }
}

// Settings that were floats have the digits of a double in the file: 0.8999999761581421 was written 0.9.
std::string shown(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_number_float()) return value.dump();
  const double x = value.get<double>();
  return double(float(x)) == x ? fmt::format("{}", float(x)) : fmt::format("{}", x);
}

void flatten(const Json& value, const std::string& prefix, std::map<std::string, std::string>& out) {
  if (value.is_object()) {
    for (const auto& [key, part] : value.items()) flatten(part, prefix.empty() ? key : prefix + "." + key, out);
  } else {
    out[prefix] = shown(value);
  }
}

const RunSeries* find(const RunRecord& run, const std::string& key) {
  const auto found = run.series.find(key);
  return found == run.series.end() ? nullptr : &found->second;
}

}  // namespace

double RunRecord::last(const std::string& key) const {
  if (const RunSeries* s = find(*this, key))
    for (size_t i = s->ys.size(); i-- > 0;)
      if (std::isfinite(s->ys[i])) return s->ys[i];
  return kNan;
}

std::pair<double, double> RunRecord::smallest(const std::string& key) const {
  std::pair<double, double> best{kNan, kNan};
  if (const RunSeries* s = find(*this, key))
    for (size_t i = 0; i < s->ys.size(); ++i)
      if (std::isfinite(s->ys[i]) && !(s->ys[i] >= best.second)) best = {s->xs[i], s->ys[i]};
  return best;
}

double RunRecord::median(const std::string& key) const {
  const RunSeries* s = find(*this, key);
  if (!s) return kNan;
  std::vector<double> values;
  std::copy_if(s->ys.begin(), s->ys.end(), std::back_inserter(values), [](double y) { return std::isfinite(y); });
  if (values.empty()) return kNan;
  std::nth_element(values.begin(), values.begin() + long(values.size() / 2), values.end());
  return values[values.size() / 2];
}

double RunRecord::figure(const std::string& key) const {
  const auto found = lineage.find(key);
  if (found == lineage.end()) return kNan;
  char* end = nullptr;
  const double value = std::strtod(found->second.c_str(), &end);
  return end == found->second.c_str() || *end != '\0' ? kNan : value;
}

RunRecord read_run(const fs::path& folder) {
  RunRecord run;
  run.name = (folder.filename().empty() ? folder.parent_path() : folder).filename();
  const fs::path metrics = folder / "metrics.jsonl";
  if (!fs::exists(metrics))
    throw Error(folder.string() + ": no run: metrics.jsonl is missing", "name the output_dir of a `sedum train`");
  const MappedFile file(metrics);
  std::string_view text = file.text();
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t end = text.find('\n');
    if (end == text.npos) break;  // still being written
    if (end > 0) read_line(text.substr(0, end), metrics.string() + ":" + std::to_string(number), run);
    text.remove_prefix(end + 1);
  }
  if (run.series.empty()) throw Error(metrics.string() + ": no step yet", "wait for the run's first step");
  if (!fs::exists(folder / "run.json")) return run;
  const Json lineage = try_parse_json<Json>(read_file(folder / "run.json"));
  if (!lineage.is_object())
    throw Error((folder / "run.json").string() + ": not a JSON object", "it is written by `sedum train`");
  for (const auto& [key, value] : lineage.items())
    flatten(value, key == "config" ? "" : key, key == "config" ? run.config : run.lineage);
  return run;
}

RunSeries thinned(const RunSeries& series, size_t most) {
  const size_t n = series.xs.size();
  if (n <= most) return series;
  RunSeries out;
  for (size_t bin = 0; bin < most; ++bin) {
    const size_t first = n * bin / most, end = n * (bin + 1) / most;
    double x = 0, y = 0;
    for (size_t i = first; i < end; ++i) x += series.xs[i], y += series.ys[i];
    out.xs.push_back(x / double(end - first)), out.ys.push_back(y / double(end - first));
  }
  return out;
}

}  // namespace sedum::report
