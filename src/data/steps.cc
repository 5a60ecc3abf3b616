#include "data/steps.h"

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/progress.h"
#include "data/rows.h"
#include "data/units.h"

namespace sedum::data {
namespace {

using Json = nlohmann::ordered_json;

// Calls visit(row) for every row of every input.
template <class Visit>
void for_each_row(const StepFiles& files, const char* label, Visit&& visit) {
  for (const auto& input : files.inputs) {
    RowReader reader(input);
    Progress progress(std::string(label) + " " + input.filename().string(), reader.bytes_total(),
                      Progress::Unit::kBytes);
    while (auto row = reader.next()) {
      visit(*row);
      progress.set(reader.bytes_read());
    }
  }
}

void write_row(AtomicFile& file, const Json& columns) {
  file.write(columns.dump());
  file.write("\n");
}

Json begin_report(const char* step, const StepFiles& files) {
  Json report = {{"step", step}, {"inputs", Json::array()}};
  for (const auto& input : files.inputs) report["inputs"].push_back(input.string());
  report["output"] = files.output.string();
  return report;
}

void write_report(const std::filesystem::path& output, const Json& report) {
  write_file(report_path(output), report.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

// What is compared or grouped by: the column's text, or its JSON when it is something else.
std::string column_value(const Row& row, const std::string& column) {
  const auto found = row.columns->find(column);
  if (found == row.columns->end())
    throw Error(row.origin.to_string() + ": the row has no column \"" + column + "\"",
                "add it, or group by another column");
  return found->is_string() ? found->get<std::string>() : found->dump();
}

std::string question(const Conversation& conversation) {
  std::string all = conversation.text;
  for (const Message& message : conversation.messages)
    if (message.role == "user") all += message.content + "\n";
  return comparable_text(all);
}

// Cleans every text in a value; says whether one changed.
bool clean_value(Json& value) {
  bool changed = false;
  if (value.is_string()) {
    std::string& text = value.get_ref<std::string&>();
    std::string cleaned = clean_text(text);
    changed = cleaned != text;
    text = std::move(cleaned);
  } else if (value.is_structured()) {
    for (Json& element : value) changed |= clean_value(element);
  }
  return changed;
}

}  // namespace

std::filesystem::path report_path(const std::filesystem::path& output) { return output.string() + ".report.json"; }

Json clean(const StepFiles& files) {
  const ColumnNames& names = files.columns;
  AtomicFile out(files.output);
  int64_t rows_in = 0, rows_out = 0, changed = 0;
  Json dropped = Json::array();
  for_each_row(files, "cleaning", [&](Row& row) {
    ++rows_in;
    bool row_changed = false;
    for (const std::string* name : {&names.prompt, &names.query, &names.response, &names.system, &names.history,
                                    &names.messages, &names.conversations, &names.text})
      if (const auto column = row.columns->find(*name); column != row.columns->end())
        row_changed |= clean_value(*column);
    try {
      to_conversation(row, names);
    } catch (const Error& e) {
      if (dropped.size() < kListed) dropped.push_back(e.problem());
      return;
    }
    write_row(out, *row.columns);
    ++rows_out, changed += row_changed;
  });
  out.commit();
  Json report = begin_report("clean", files);
  report["rows_in"] = rows_in, report["rows_out"] = rows_out, report["rows_changed"] = changed;
  report["rows_dropped"] = rows_in - rows_out, report["dropped"] = std::move(dropped);
  write_report(files.output, report);
  return report;
}

Json dedup(const StepFiles& files, const DedupOptions& options, const std::string& column) {
  Deduplicator seen(options);
  AtomicFile out(files.output);
  std::vector<std::string> kept;  // origins
  int64_t rows_in = 0, exact = 0, near = 0;
  Json dropped = Json::array();
  for_each_row(files, "deduplicating", [&](const Row& row) {
    ++rows_in;
    const std::string text =
        column.empty() ? joined_text(to_conversation(row, files.columns)) : column_value(row, column);
    if (const auto repeat = seen.add(text)) {
      (repeat->exact ? exact : near) += 1;
      if (dropped.size() < kListed)
        dropped.push_back({{"row", row.origin.to_string()},
                           {"repeats", kept[size_t(repeat->of)]},
                           {"similarity", repeat->similarity}});
      return;
    }
    kept.push_back(row.origin.to_string());
    write_row(out, *row.columns);
  });
  out.commit();
  Json report = begin_report("dedup", files);
  report["threshold"] = options.threshold;
  report["rows_in"] = rows_in, report["rows_out"] = int64_t(kept.size());
  report["exact_duplicates"] = exact, report["near_duplicates"] = near, report["dropped"] = std::move(dropped);
  write_report(files.output, report);
  return report;
}

Json split(const StepFiles& files, const std::filesystem::path& eval_output, const SplitOptions& options,
           const std::string& column) {
  if (eval_output == files.output)
    throw Error("both parts would be written to " + files.output.string(), "give two names");
  std::vector<std::string> keys;
  for_each_row(files, "reading", [&](const Row& row) {
    keys.push_back(column.empty() ? question(to_conversation(row, files.columns)) : column_value(row, column));
  });
  const Split parts = split_rows(keys, options);
  AtomicFile train(files.output), eval(eval_output);
  size_t number = 0, next_eval = 0;
  for_each_row(files, "splitting", [&](const Row& row) {
    const bool held_out = next_eval < parts.eval.size() && parts.eval[next_eval] == number;
    next_eval += held_out, ++number;
    write_row(held_out ? eval : train, *row.columns);
  });
  train.commit();
  eval.commit();
  std::sort(keys.begin(), keys.end());
  Json report = begin_report("split", files);
  report["eval_output"] = eval_output.string(), report["seed"] = options.seed,
  report["eval_fraction"] = options.eval_fraction;
  report["grouped_by"] = column.empty() ? "question" : column;
  report["groups"] = std::unique(keys.begin(), keys.end()) - keys.begin();
  report["rows_in"] = int64_t(number), report["rows_train"] = parts.train.size(),
  report["rows_eval"] = parts.eval.size();
  write_report(files.output, report);
  return report;
}

}  // namespace sedum::data
