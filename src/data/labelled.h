#pragma once
// Rows for classification: a text with its label, or words with a label each.
//
//   std::vector<Labelled> rows = read_labelled("reviews.jsonl");       // {"text": "A fine film.", "label": "good"}
//   std::vector<Labelled> words = read_labelled("names.jsonl");        // {"tokens": ["Ada", "sleeps"], "labels": ["B-PER", "O"]}
//   std::vector<std::string> names = label_names(rows);                // "bad", "good": what the classes are called, in order
//
// Labels are texts, numbers or truth values; numbers are named by their digits.

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/conversation.h"

namespace sedum::data {

struct Labelled {
  std::string text;                 // of a sequence
  std::vector<std::string> tokens;  // or its words
  std::vector<std::string> labels;  // one, or one for each word; empty: none is given
  Origin origin;
  bool has_tokens() const { return !tokens.empty(); }
};

// All rows of a file. Error naming the row: neither text nor tokens, other counts of tokens and labels, a label that is none, both kinds in
// one file. need_labels: rows without are refused.
std::vector<Labelled> read_labelled(const std::filesystem::path& path, bool need_labels = true);

// All labels, each once: by value where all are whole numbers, else by their bytes.
std::vector<std::string> label_names(std::span<const Labelled> rows);

// How good predictions are. truth and predicted: the sequences' classes by number (of sequence classification: one each).
struct LabelScores {
  double accuracy = 0;
  double macro_f1 =
      0;  // the mean of F1 over the classes that occur in either, as scikit-learn's f1_score(average="macro")
  // Of whole entities, where labels are in the BIO scheme ("B-PER", "I-PER", "O"): kind, begin and end must be right (Tjong Kim Sang, De
  // Meulder: "Introduction to the CoNLL-2003 Shared Task", 2003).
  std::optional<double> entity_f1;
  double f1() const { return entity_f1.value_or(macro_f1); }
};
LabelScores score_labels(const std::vector<std::vector<int32_t>>& truth,
                         const std::vector<std::vector<int32_t>>& predicted, const std::vector<std::string>& names);

}  // namespace sedum::data
