#pragma once
// What a training run wrote down about itself: metrics.jsonl (one object a line) and run.json.
//
//   RunRecord run = read_run("runs/succulent");
//   run.series.at("loss").ys.back();

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace sedum::report {

struct RunSeries {
  std::vector<double> xs, ys;  // steps, ascending, and values; null in the file is NaN here
};

struct RunRecord {
  std::string name;                            // the folder's
  std::map<std::string, RunSeries> series;     // every number of metrics.jsonl by its key
  std::map<std::string, std::string> config;   // run.json's configuration, flat: "data.train" → text
  std::map<std::string, std::string> lineage;  // the rest of run.json, flat: "result.peak_bytes" → text

  // The last value that is finite, and the smallest with its step; NaN when there is none.
  double last(const std::string& key) const;
  std::pair<double, double> smallest(const std::string& key) const;  // (step, value)
  double median(const std::string& key) const;
  // lineage as a number; NaN when it is none.
  double figure(const std::string& key) const;
};

// Throws Error for a folder without metrics.jsonl, and for a line that is not a JSON object with a step (with its number; an unfinished
// last line of a run that is going on is passed over). run.json may be missing.
RunRecord read_run(const std::filesystem::path& folder);

// Means of at most `most` bins of neighbours, so that long runs stay readable.
RunSeries thinned(const RunSeries& series, size_t most);

}  // namespace sedum::report
