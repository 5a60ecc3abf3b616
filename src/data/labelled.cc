#include "data/labelled.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "base/error.h"
#include "base/json.h"
#include "data/rows.h"

namespace sedum::data {
namespace {

using Json = nlohmann::ordered_json;

std::string label_of(const Json& value, const Origin& origin) {
  if (value.is_string() && !value.get_ref<const std::string&>().empty()) return value.get<std::string>();
  if (value.is_number_integer() || value.is_boolean()) return value.dump();
  throw Error(origin.to_string() + ": the label " + value.dump().substr(0, 60) + " is none",
              "labels are texts, whole numbers or truth values");
}

const Json* column(const Json& columns, const char* name) {
  return columns.contains(name) && !columns[name].is_null() ? &columns[name] : nullptr;
}

Labelled to_labelled(const Row& row, bool need_labels) {
  Labelled out;
  out.origin = row.origin;
  const std::string at = row.origin.to_string();
  const Json &columns = *row.columns, *text = column(columns, "text"), *tokens = column(columns, "tokens");
  const char* const key = tokens ? "labels" : "label";
  const Json* labels = column(columns, key);
  if (!text == !tokens) throw Error(at + ": a row has text and label, or tokens and labels", "give one of the two");
  if (!labels && need_labels) throw Error(at + ": \"" + key + "\" is missing", "give each row its label");
  if (text) {
    if (!text->is_string()) throw Error(at + ": \"text\" is no text");
    out.text = text->get<std::string>();
    if (labels) out.labels = {label_of(*labels, row.origin)};
    return out;
  }
  if (!tokens->is_array() || tokens->empty()) throw Error(at + ": \"tokens\" is no list of words");
  for (const Json& token : *tokens) {
    if (!token.is_string()) throw Error(at + ": \"tokens\" holds something that is no word");
    out.tokens.push_back(token.get<std::string>());
  }
  if (!labels) return out;
  if (!labels->is_array() || labels->size() != tokens->size())
    throw Error(at + ": " + std::to_string(tokens->size()) + " tokens have " +
                    std::to_string(labels->is_array() ? labels->size() : 0) + " labels",
                "give each token one");
  for (const Json& label : *labels) out.labels.push_back(label_of(label, row.origin));
  return out;
}

bool is_whole_number(const std::string& text) {
  const size_t first = text[0] == '-' ? 1 : 0;
  return text.size() > first && text.size() < 18 &&
         std::all_of(text.begin() + ptrdiff_t(first), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// The entities of a sequence: (kind, first word, behind the last). An "I-" of another kind than what is before it begins one.
using Entity = std::tuple<std::string, size_t, size_t>;
std::set<Entity> entities(const std::vector<int32_t>& classes, const std::vector<std::string>& names) {
  std::set<Entity> found;
  std::string open;
  size_t begin = 0;
  for (size_t i = 0; i <= classes.size(); ++i) {
    const std::string name = i < classes.size() ? names[size_t(classes[i])] : "O";
    const std::string kind = name.size() > 2 && name[1] == '-' ? name.substr(2) : "";
    if (!open.empty() && (kind != open || name[0] == 'B')) found.emplace(open, begin, i), open.clear();
    if (open.empty() && !kind.empty()) open = kind, begin = i;
  }
  return found;
}

bool is_bio(const std::vector<std::string>& names) {
  bool any = false;
  for (const std::string& name : names) {
    const bool entity = name.starts_with("B-") || name.starts_with("I-");
    if (name != "O" && !entity) return false;
    any = any || entity;
  }
  return any;
}

double f1_of(double hits, double truths, double guesses) {
  return truths + guesses > 0 ? 2 * hits / (truths + guesses) : 0;
}

}  // namespace

std::vector<Labelled> read_labelled(const std::filesystem::path& path, bool need_labels) {
  RowReader reader(path);
  std::vector<Labelled> rows;
  while (const std::optional<Row> row = reader.next()) {
    rows.push_back(to_labelled(*row, need_labels));
    if (rows.back().has_tokens() != rows.front().has_tokens())
      throw Error(rows.back().origin.to_string() + ": texts and tokens are mixed", "make two files of them");
  }
  if (rows.empty()) throw Error(path.string() + " holds no rows", "check that the file is complete");
  return rows;
}

std::vector<std::string> label_names(std::span<const Labelled> rows) {
  std::set<std::string> all;
  for (const Labelled& row : rows) all.insert(row.labels.begin(), row.labels.end());
  std::vector<std::string> names(all.begin(), all.end());
  if (std::all_of(names.begin(), names.end(), is_whole_number))
    std::sort(names.begin(), names.end(),
              [](const std::string& a, const std::string& b) { return std::stoll(a) < std::stoll(b); });
  return names;
}

LabelScores score_labels(const std::vector<std::vector<int32_t>>& truth,
                         const std::vector<std::vector<int32_t>>& predicted, const std::vector<std::string>& names) {
  struct Counts {
    double hits = 0, truths = 0, guesses = 0;
  };
  std::map<int32_t, Counts> classes;
  Counts whole;
  double right = 0, all = 0;
  const bool bio = is_bio(names);
  for (size_t s = 0; s < truth.size(); ++s) {
    for (size_t i = 0; i < truth[s].size(); ++i) {
      const bool hit = truth[s][i] == predicted[s][i];
      right += hit, all += 1;
      ++classes[truth[s][i]].truths, ++classes[predicted[s][i]].guesses;
      if (hit) ++classes[truth[s][i]].hits;
    }
    if (!bio) continue;
    const std::set<Entity> real = entities(truth[s], names), guessed = entities(predicted[s], names);
    whole.truths += double(real.size()), whole.guesses += double(guessed.size());
    for (const Entity& e : guessed) whole.hits += double(real.count(e));
  }
  LabelScores scores;
  if (all == 0) return scores;
  scores.accuracy = right / all;
  for (const auto& [number, c] : classes)
    scores.macro_f1 += f1_of(c.hits, c.truths, c.guesses) / double(classes.size());
  if (bio) scores.entity_f1 = f1_of(whole.hits, whole.truths, whole.guesses);
  return scores;
}

}  // namespace sedum::data
