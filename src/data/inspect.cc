#include <algorithm>
#include <map>
#include <numeric>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/progress.h"
#include "data/encode.h"
#include "data/rows.h"
#include "data/steps.h"
#include "data/units.h"

namespace sedum::data {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kExamples = 3, kExampleCharacters = 200;

// Lengths of something over all rows.
class Lengths {
 public:
  void add(size_t length) { values_.push_back(int64_t(length)); }
  Json summary() {
    if (values_.empty()) return nullptr;
    std::sort(values_.begin(), values_.end());
    const int64_t sum = std::accumulate(values_.begin(), values_.end(), int64_t{0});
    return {{"sum", sum},
            {"mean", double(sum) / double(values_.size())},
            {"min", values_.front()},
            {"median", quantile(0.5)},
            {"p95", quantile(0.95)},
            {"max", values_.back()}};
  }

 private:
  int64_t quantile(double q) const { return values_[size_t(q * double(values_.size() - 1) + 0.5)]; }
  std::vector<int64_t> values_;
};

std::string shortened(const std::string& text) {
  const char *p = text.data(), *const end = p + text.size();
  for (size_t n = 0; p < end && n < kExampleCharacters; ++n) p += unicode::decode(p, end).length;
  return text.substr(0, size_t(p - text.data())) + (p < end ? "…" : "");
}

Json example(const Conversation& conversation) {
  Json shown = {{"row", conversation.origin.to_string()}};
  if (conversation.is_text()) shown["text"] = shortened(conversation.text);
  for (const Message& message : conversation.messages)
    shown["messages"].push_back({{"role", message.role}, {"content", shortened(message.content)}});
  return shown;
}

class Inspector {
 public:
  Inspector(const StepFiles& files, SampleEncoder* encoder) : files_(files), encoder_(encoder) {}

  void add(const Row& row) {
    ++rows_;
    for (const auto& [name, value] : row.columns->items()) ++columns_[name];
    try {
      const Conversation conversation = to_conversation(row, files_.columns);
      if (encoder_) add_tokens(encoder_->encode(conversation));
      add_conversation(conversation);
    } catch (const Error& e) {
      ++bad_;
      if (problems_.size() < kListed) problems_.push_back(e.what());
    }
  }

  Json report() {
    Json report = {{"step", "inspect"}, {"inputs", Json::array()}};
    for (const auto& input : files_.inputs) report["inputs"].push_back(input.string());
    report["rows"] = rows_, report["rows_good"] = rows_ - bad_, report["rows_bad"] = bad_;
    report["columns"] = columns_, report["forms"] = forms_, report["languages"] = languages_;
    report["characters"] = {{"prompt", prompt_.summary()}, {"answer", answer_.summary()}, {"text", text_.summary()}};
    if (encoder_) {
      report["tokens"] = tokens_.summary(), report["label_tokens"] = labels_.summary();
      report["rows_truncated"] = encoder_->statistics().truncated;
    }
    report["exact_repetitions"] = repetitions_;
    report["problems"] = problems_, report["examples"] = examples_;
    return report;
  }

 private:
  void add_tokens(const Sample& sample) {
    tokens_.add(sample.ids.size());
    labels_.add(size_t(
        std::count_if(sample.labels.begin(), sample.labels.end(), [](int32_t label) { return label != kIgnored; })));
  }

  void add_conversation(const Conversation& conversation) {
    size_t prompt = 0, answer = 0, turns = 0;
    for (const Message& message : conversation.messages) {
      const bool spoken = message.role == "assistant";
      (spoken ? answer : prompt) += unicode::count_characters(message.content);
      turns += spoken;
    }
    if (conversation.is_text())
      text_.add(unicode::count_characters(conversation.text));
    else
      prompt_.add(prompt), answer_.add(answer);
    ++forms_[conversation.is_text() ? "text" : turns == 1 ? "one turn" : "several turns"];
    const std::string all = joined_text(conversation);
    ++languages_[language_of(all)];
    repetitions_ += seen_.add(all).has_value();
    if (examples_.size() < kExamples) examples_.push_back(example(conversation));
  }

  const StepFiles& files_;
  SampleEncoder* encoder_;
  int64_t rows_ = 0, bad_ = 0, repetitions_ = 0;
  std::map<std::string, int64_t> columns_, forms_, languages_;
  Lengths prompt_, answer_, text_, tokens_, labels_;
  Deduplicator seen_{{.near = false}};
  Json problems_ = Json::array(), examples_ = Json::array();
};

}  // namespace

Json inspect(const StepFiles& files, SampleEncoder* encoder) {
  Inspector inspector(files, encoder);
  for (const auto& input : files.inputs) {
    RowReader reader(input);
    Progress progress("reading " + input.filename().string(), reader.bytes_total(), Progress::Unit::kBytes);
    while (const auto row = reader.next()) {
      inspector.add(*row);
      progress.set(reader.bytes_read());
    }
  }
  Json report = inspector.report();
  if (!files.output.empty())
    write_file(files.output, report.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
  return report;
}

}  // namespace sedum::data
