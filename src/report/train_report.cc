#include "report/train_report.h"

#include <algorithm>
#include <cmath>
#include <set>

#include <fmt/format.h>

#include "base/progress.h"
#include "report/plot.h"

namespace sedum::report {
namespace {

constexpr size_t kPoints = 300;  // of a curve; more are averaged

// Keys with a plot of their own, in this order, and what their axis is called.
const std::vector<std::pair<std::string, std::string>> kCurves = {
    {"loss", "training loss"},          {"eval_loss", "evaluation loss"},
    {"learning_rate", "learning rate"}, {"grad_norm", "gradient norm"},
    {"tokens_per_second", "tokens/s"},  {"data_share", "share of a step that waited for data"}};
// Counters, and what another curve shows already.
const std::set<std::string> kNoCurve = {"step", "tokens", "tokens_seen", "eval_perplexity", "epoch"};

std::string number(double value, int digits = 4) { return std::isnan(value) ? "–" : short_number(value, digits); }

std::string count(double value) {
  if (std::isnan(value)) return "–";
  if (value < 1e4) return fmt::format("{:.0f}", value);
  return value < 1e6   ? fmt::format("{:.1f} K", value / 1e3)
         : value < 1e9 ? fmt::format("{:.1f} M", value / 1e6)
                       : fmt::format("{:.2f} B", value / 1e9);
}

std::string text(const std::map<std::string, std::string>& map, const std::string& key) {
  const auto found = map.find(key);
  return found == map.end() || found->second.empty() || found->second == "null" ? "–" : found->second;
}

// At most 60 bytes, cut between characters.
std::string shortened(const std::string& text) {
  size_t end = 60;
  if (text.size() <= end) return text;
  while ((uint8_t(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end) + "…";
}

std::string file_name(const std::string& path) {
  const std::string name = std::filesystem::path(path).filename();
  return name.empty() ? path : name;
}

// Mean of the last tenth of the steps: one batch alone is noise.
double final_loss(const RunRecord& run) {
  const auto found = run.series.find("loss");
  if (found == run.series.end()) return std::nan("");
  const std::vector<double>& ys = found->second.ys;
  const size_t last = std::max<size_t>(1, ys.size() / 10);
  double sum = 0;
  for (size_t i = ys.size() - last; i < ys.size(); ++i) sum += ys[i];
  return sum / double(last);
}

Table results(const std::vector<RunRecord>& runs) {
  Table table({"run", "steps", "tokens", "loss", "eval loss", "best eval (step)", "tokens/s", "peak memory"});
  for (const RunRecord& run : runs) {
    const auto loss = run.series.find("loss");
    const auto [step, best] = run.smallest("eval_loss");
    const auto eval = run.series.find("eval_loss");
    const bool evaluated = eval != run.series.end();
    const double before = evaluated && eval->second.xs.front() == 0 ? eval->second.ys.front() : std::nan("");
    const double peak = run.figure("result.peak_bytes");
    table.row(
        {run.name, loss == run.series.end() ? "–" : fmt::format("{:.0f}", loss->second.xs.back()),
         count(run.last("tokens_seen")), number(final_loss(run)),
         std::isnan(before) ? number(run.last("eval_loss")) : number(before) + " → " + number(run.last("eval_loss")),
         std::isnan(best) ? "–" : number(best) + fmt::format(" ({:.0f})", step),
         number(run.median("tokens_per_second"), 3), std::isnan(peak) ? "–" : format_bytes(uint64_t(peak))});
  }
  return table;
}

Table origins(const std::vector<RunRecord>& runs) {
  Table table({"run", "base model", "stage", "fine-tuning", "parameters", "trainable", "rows", "instruction set"});
  for (const RunRecord& run : runs)
    table.row({run.name, shortened(file_name(text(run.lineage, "base_model"))), text(run.config, "stage"),
               text(run.config, "finetuning_type"), count(run.figure("data.parameters")),
               count(run.figure("data.trainable_parameters")), count(run.figure("data.rows")),
               text(run.lineage, "instruction_set")});
  return table;
}

// Keys of the configuration whose value is not the same in all runs; of a single run, all of them.
Table differences(const std::vector<RunRecord>& runs) {
  std::set<std::string> keys;
  for (const RunRecord& run : runs)
    for (const auto& [key, value] : run.config) keys.insert(key);
  std::vector<std::string> headers{"key"};
  for (const RunRecord& run : runs) headers.push_back(run.name);
  Table table(headers);
  for (const std::string& key : keys) {
    std::vector<std::string> row{key};
    for (const RunRecord& run : runs) row.push_back(text(run.config, key));
    const bool same =
        std::all_of(row.begin() + 1, row.end(), [&](const std::string& value) { return value == row[1]; });
    for (std::string& cell : row) cell = shortened(cell);
    if (runs.size() == 1 ? row[1] != "–" : !same) table.row(row);
  }
  return table;
}

// A log axis where values span more than a factor of thirty.
bool wants_log(const std::vector<RunRecord>& runs, const std::string& key) {
  Range range;
  for (const RunRecord& run : runs)
    if (const auto found = run.series.find(key); found != run.series.end()) range.include(range_of(found->second.ys));
  return range.low > 0 && range.high / range.low > 30;
}

}  // namespace

Document train_report(const std::vector<RunRecord>& runs, const std::string& title) {
  Document document(title);
  document.heading("Results").table(results(runs));
  document.paragraph("loss: the mean over the last tenth of the steps; tokens/s: the median.");
  document.heading("Runs").table(origins(runs));

  std::vector<std::pair<std::string, std::string>> curves = kCurves;
  std::set<std::string> known = kNoCurve;
  for (const auto& [key, label] : kCurves) known.insert(key);
  for (const RunRecord& run : runs)
    for (const auto& [key, series] : run.series)
      if (known.insert(key).second) curves.push_back({key, key});
  Figure figure("", 2);
  size_t longest = 0;
  for (const auto& [key, label] : curves) {
    Plot plot(label, "step", "");
    bool any = false;
    for (const RunRecord& run : runs) {
      const auto found = run.series.find(key);
      // A series that is not there takes its place all the same, so that a run looks the same in every plot.
      const RunSeries series = found == run.series.end() ? RunSeries{} : thinned(found->second, kPoints);
      if (found != run.series.end()) any = true, longest = std::max(longest, found->second.xs.size());
      plot.line(runs.size() > 1 && !series.xs.empty() ? run.name : "", series.xs, series.ys);
    }
    if (!any) continue;
    if (wants_log(runs, key)) plot.log_y();
    figure.add(plot.sized({400, 270}));
  }
  document.heading("Curves").picture("curves", figure);
  if (longest > kPoints)
    document.paragraph(fmt::format("Curves of more than {} points show means of neighbours.", kPoints));

  const Table table = differences(runs);
  if (table.rows() > 0)
    document.heading(runs.size() == 1 ? "Configuration" : "What differs in the configurations").table(table);
  return document;
}

}  // namespace sedum::report
