// sedum classify

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/common.h"
#include "data/labelled.h"
#include "model/classifier.h"

namespace sedum::cli {
namespace {

using nlohmann::ordered_json;

// A row of texts or words that came from anywhere.
std::vector<data::Labelled> rows_of(const std::vector<std::string>& texts, const std::string& file) {
  std::vector<data::Labelled> rows;
  for (const std::string& text : texts) {
    data::Labelled& row = rows.emplace_back();
    row.text = text;
  }
  if (file.empty()) return rows;
  if (file.ends_with(".json") || file.ends_with(".jsonl")) {
    for (data::Labelled& row : data::read_labelled(file, false)) rows.push_back(std::move(row));
    return rows;
  }
  const std::string text = read_file(file);
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    if (end > begin) rows.emplace_back().text = text.substr(begin, end - begin);
    begin = end + 1;
  }
  return rows;
}

// A text that is given to a model of words is cut at its spaces.
std::vector<std::string> words_of(const data::Labelled& row) {
  if (row.has_tokens()) return row.tokens;
  std::vector<std::string> words;
  for (size_t begin = 0; begin < row.text.size();) {
    const size_t end = std::min(row.text.find(' ', begin), row.text.size());
    if (end > begin) words.push_back(row.text.substr(begin, end - begin));
    begin = end + 1;
  }
  return words;
}

struct Answer {
  std::vector<std::string> parts;  // a text, or words
  std::vector<Classified> classes;
};

std::vector<Answer> classify(const Classifier& classifier, const std::vector<data::Labelled>& rows) {
  std::vector<Answer> answers;
  if (classifier.reads_words()) {
    std::vector<std::vector<std::string>> sentences;
    for (const data::Labelled& row : rows) sentences.push_back(words_of(row));
    const auto classes = classifier.words(sentences);
    for (size_t i = 0; i < rows.size(); ++i) answers.push_back({sentences[i], classes[i]});
    return answers;
  }
  std::vector<std::string> texts;
  for (const data::Labelled& row : rows) {
    if (row.has_tokens()) throw Error(row.origin.to_string() + ": the model labels texts, not words", "give texts");
    texts.push_back(row.text);
  }
  const auto classes = classifier.texts(texts);
  for (size_t i = 0; i < rows.size(); ++i) answers.push_back({{texts[i]}, {classes[i]}});
  return answers;
}

// Where all rows have labels: how good the answers are.
std::optional<data::LabelScores> scores_of(const Classifier& classifier, const std::vector<data::Labelled>& rows,
                                           const std::vector<Answer>& answers) {
  std::vector<std::string> names;
  for (int64_t i = 0; i < classifier.labels(); ++i) names.push_back(classifier.name(i));
  std::vector<std::vector<int32_t>> truth, predicted;
  for (size_t r = 0; r < rows.size(); ++r) {
    if (rows[r].labels.size() != answers[r].classes.size()) return std::nullopt;
    truth.emplace_back(), predicted.emplace_back();
    for (size_t i = 0; i < answers[r].classes.size(); ++i) {
      const auto found = std::find(names.begin(), names.end(), rows[r].labels[i]);
      if (found == names.end())
        throw Error(rows[r].origin.to_string() + ": the model has no label \"" + rows[r].labels[i] + "\"");
      if (answers[r].classes[i].probabilities.empty()) continue;
      truth.back().push_back(int32_t(found - names.begin()));
      predicted.back().push_back(int32_t(answers[r].classes[i].label));
    }
  }
  return data::score_labels(truth, predicted, names);
}

ordered_json to_json(const Classifier& classifier, const Answer& answer) {
  const auto one = [&](const Classified& c) -> ordered_json {
    if (c.probabilities.empty()) return nullptr;
    ordered_json probabilities = ordered_json::object();
    for (size_t i = 0; i < c.probabilities.size(); ++i) probabilities[classifier.name(int64_t(i))] = c.probabilities[i];
    return {{"label", classifier.name(c.label)}, {"probabilities", probabilities}};
  };
  if (!classifier.reads_words()) {
    ordered_json all{{"text", answer.parts[0]}};
    all.update(one(answer.classes[0]));
    return all;
  }
  ordered_json words = ordered_json::array();
  for (const Classified& c : answer.classes) words.push_back(one(c));
  return {{"tokens", answer.parts}, {"labels", words}};
}

void print_answers(const Classifier& classifier, const std::vector<Answer>& answers) {
  for (const Answer& answer : answers) {
    for (size_t i = 0; i < answer.parts.size(); ++i) {
      const Classified& c = answer.classes[i];
      if (c.probabilities.empty())
        fmt::print("{:<16} beyond the model's length  {}\n", "", answer.parts[i]);
      else
        fmt::print("{:<16} {:6.2f} %  {}\n", classifier.name(c.label), 100 * c.probabilities[size_t(c.label)],
                   answer.parts[i]);
    }
    if (classifier.reads_words()) fmt::print("\n");
  }
}

}  // namespace
}  // namespace sedum::cli

SEDUM_COMMAND(classify) {
  struct Options {
    std::string model, adapter, compute = "f32", file;
    std::vector<std::string> texts;
    int threads = 0;
    bool json = false;
  };
  auto o = std::make_shared<Options>();
  app.add_option("-m,--model", o->model, "an encoder with a head for classes, or the folder of a run that trained one")
      ->required();
  app.add_option("--adapter", o->adapter, "the folder of a PEFT adapter");
  app.add_option("--compute", o->compute, "precision: f32 (exact), bf16 or int8")
      ->capture_default_str()
      ->check(one_of({"f32", "bf16", "int8"}));
  app.add_option("--threads", o->threads, "0: all")->check(in_range(0, 1024));
  app.add_option("--text", o->texts, "a text; may be given several times");
  app.add_option("--file", o->file,
                 "texts, one on each line; or rows (.jsonl) with text, or tokens, and perhaps labels");
  app.add_flag("--json", o->json, "one JSON object");
  app.footer("example: sedum classify --model runs/reviews --text \"A fine film.\"");
  return [o] {
    const std::vector<data::Labelled> rows = rows_of(o->texts, o->file);
    if (rows.empty()) throw UsageError("there is no text", "give --text or --file");
    Runtime runtime(o->threads);
    const Classifier classifier(runtime, find_model(o->model), parse_compute(o->compute), o->adapter);
    const std::vector<Answer> answers = classify(classifier, rows);
    const auto scores = scores_of(classifier, rows, answers);
    if (!o->json) {
      print_answers(classifier, answers);
      if (scores) fmt::print("accuracy {:.4f}, F1 {:.4f}\n", scores->accuracy, scores->f1());
      return;
    }
    ordered_json out{{"model", classifier.encoder().checkpoint().name()}, {"answers", ordered_json::array()}};
    for (const Answer& answer : answers) out["answers"].push_back(to_json(classifier, answer));
    if (scores) out["accuracy"] = scores->accuracy, out["f1"] = scores->f1();
    print_json(out);
  };
}
