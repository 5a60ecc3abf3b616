#pragma once
// The steps of `sedum data`: files of rows in, JSON Lines out, a report beside it.
//
//   Json report = clean({.inputs = {"raw.json"}, .output = "clean.jsonl"});   // also written to clean.jsonl.report.json
//
// Rows keep their form, their other columns and their order. The output appears under its name only when it is
// complete, so a step may write over its own input. Where a step drops rows, the report says which and why (the first
// kListed of them).

#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "data/conversation.h"
#include "data/dedup.h"
#include "data/split.h"

namespace sedum::data {

class SampleEncoder;

inline constexpr size_t kListed = 100;

struct StepFiles {
  std::vector<std::filesystem::path> inputs;
  std::filesystem::path output;  // inspect: of the report; may be empty
  ColumnNames columns;
};

// Counts, forms, columns, languages, lengths (in characters, and in tokens with an encoder), what is wrong with which
// rows, examples.
nlohmann::ordered_json inspect(const StepFiles& files, SampleEncoder* encoder = nullptr);

// clean_text() over every text of the known columns; drops rows that then have no question or no answer, or are
// otherwise of no use.
nlohmann::ordered_json clean(const StepFiles& files);

// Drops rows that repeat an earlier one: over everything that is said, or over one column.
nlohmann::ordered_json dedup(const StepFiles& files, const DedupOptions& options, const std::string& column = "");

// `files.output` gets the rows to train on, `eval_output` the held-out ones. Rows with the same value in `column`
// (without one: the same question) stay together.
nlohmann::ordered_json split(const StepFiles& files, const std::filesystem::path& eval_output,
                             const SplitOptions& options, const std::string& column = "");

// OUTPUT.report.json
std::filesystem::path report_path(const std::filesystem::path& output);

}  // namespace sedum::data
