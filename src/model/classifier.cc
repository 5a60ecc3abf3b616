#include "model/classifier.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace sedum {
namespace {

constexpr int64_t kRowsAtOnce = 4096;  // of a step: what activations take stays within some tens of megabytes

Classified classified(const float* logits, int64_t classes) {
  Classified c;
  c.label = std::max_element(logits, logits + classes) - logits;
  double sum = 0;
  for (int64_t i = 0; i < classes; ++i) sum += std::exp(double(logits[i]) - double(logits[c.label]));
  for (int64_t i = 0; i < classes; ++i)
    c.probabilities.push_back(float(std::exp(double(logits[i]) - double(logits[c.label])) / sum));
  return c;
}

// visit(batch, first sequence) for as many sequences as fit into a step.
template <class F>
void in_batches(const std::vector<std::vector<int32_t>>& sequences, F&& visit) {
  for (size_t begin = 0; begin < sequences.size();) {
    std::vector<std::vector<int32_t>> some;
    const size_t first = begin;
    int64_t rows = 0;
    for (; begin < sequences.size() && (some.empty() || rows + int64_t(sequences[begin].size()) <= kRowsAtOnce);
         ++begin)
      rows += int64_t(sequences[begin].size()), some.push_back(sequences[begin]);
    visit(Batch::of_sequences(some), first);
  }
}

}  // namespace

EncodedWords encode_words(const Tokenizer& tokenizer, const ModelConfig& config, const std::vector<std::string>& words,
                          int64_t most) {
  const std::vector<int32_t> frame = tokenizer.encode_single("").ids;
  if (frame.size() > 2) throw Error("the tokenizer puts more than two tokens around a text", "choose the model's own");
  EncodedWords out;
  if (!frame.empty()) out.ids.push_back(frame[0]);
  const int64_t room = most - (frame.size() > 1 ? 1 : 0);
  for (const std::string& word : words) {
    // RoBERTa's tokens of a word are those behind a space, at the beginning of a sentence too: transformers' add_prefix_space.
    const std::vector<int32_t> ids =
        tokenizer.encode((config.model_type == "roberta" ? " " : "") + word, {.parse_special = false});
    const bool fits = !ids.empty() && int64_t(out.ids.size()) < room;
    out.first.push_back(fits ? int32_t(out.ids.size()) : -1);
    for (const int32_t id : ids)
      if (int64_t(out.ids.size()) < room) out.ids.push_back(id);
  }
  if (frame.size() > 1) out.ids.push_back(frame[1]);
  return out;
}

Classifier::Classifier(Runtime& runtime, const std::filesystem::path& path, Compute compute,
                       const std::filesystem::path& adapter)
    : encoder_(runtime, path, compute, adapter) {
  if (head() != EncoderConfig::Head::kSequence && head() != EncoderConfig::Head::kToken)
    throw Error(path.string() + ": the model has no head for classes", "train one: stage: classify");
}

std::vector<Classified> Classifier::texts(const std::vector<std::string>& texts) const {
  if (reads_words()) throw Error("the model labels words, not texts", "give rows with \"tokens\"");
  Truncation truncation;
  truncation.max_length = size_t(encoder_.most_tokens());
  std::vector<std::vector<int32_t>> sequences;
  for (const std::string& text : texts)
    sequences.push_back(encoder_.checkpoint().tokenizer()->encode_single(text, truncation).ids);
  std::vector<Classified> answers;
  in_batches(sequences, [&](const Batch& batch, size_t) {
    Context ctx = encoder_.runtime().context(encoder_.compute());
    const BertModel& model = encoder_.model();
    const Variable logits = model.sequence_logits(ctx, model.hidden_states(ctx, batch), batch);
    for (int64_t i = 0; i < logits.shape()[0]; ++i)
      answers.push_back(classified(logits.value().data<float>() + i * labels(), labels()));
  });
  return answers;
}

std::vector<std::vector<Classified>> Classifier::words(const std::vector<std::vector<std::string>>& sentences) const {
  if (!reads_words()) throw Error("the model labels texts, not words", "give texts");
  std::vector<std::vector<int32_t>> sequences, first;
  for (const auto& words : sentences) {
    EncodedWords encoded =
        encode_words(*encoder_.checkpoint().tokenizer(), encoder_.model().config(), words, encoder_.most_tokens());
    sequences.push_back(std::move(encoded.ids)), first.push_back(std::move(encoded.first));
  }
  std::vector<std::vector<Classified>> answers;
  in_batches(sequences, [&](const Batch& batch, size_t begin) {
    Context ctx = encoder_.runtime().context(encoder_.compute());
    const BertModel& model = encoder_.model();
    const Variable logits = model.token_logits(ctx, model.hidden_states(ctx, batch));
    for (size_t s = 0; s < batch.segments->size(); ++s) {
      auto& answer = answers.emplace_back();
      for (const int32_t at : first[begin + s])
        answer.push_back(
            at < 0 ? Classified{}
                   : classified(logits.value().data<float>() + ((*batch.segments)[s].query_begin + at) * labels(),
                                labels()));
    }
  });
  return answers;
}

}  // namespace sedum
