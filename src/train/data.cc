// The rows of a run: read, split, encoded.

#include <cmath>
#include <functional>

#include "base/error.h"
#include "base/progress.h"
#include "data/encode.h"
#include "data/labelled.h"
#include "data/preference.h"
#include "data/rows.h"
#include "data/shards.h"
#include "data/split.h"
#include "model/classifier.h"
#include "train/train.h"

namespace sedum {
namespace {

template <class Row>
std::vector<Row> read_all(const std::vector<std::string>& files, int64_t limit,
                          const std::function<std::vector<Row>(const std::string&)>& read) {
  std::vector<Row> all;
  for (const std::string& file : files) {
    auto rows = read(file);
    std::move(rows.begin(), rows.end(), std::back_inserter(all));
  }
  if (limit > 0 && int64_t(all.size()) > limit) all.resize(size_t(limit));
  return all;
}

std::string first_message(const data::Conversation& c) {
  return c.messages.empty() ? c.text : c.messages.front().content;
}

// Training and evaluation rows; without evaluation files a share of the training rows, questions kept together.
template <class Row>
struct Parts {
  std::vector<Row> train, eval;
};
template <class Row>
Parts<Row> read_parts(const TrainConfig& config, const std::function<std::vector<Row>(const std::string&)>& read,
                      const std::function<std::string(const Row&)>& key) {
  Parts<Row> parts{read_all(config.train_files, config.max_samples, read), read_all(config.eval_files, 0, read)};
  if (!parts.eval.empty() || config.eval_fraction <= 0) return parts;
  std::vector<std::string> keys;
  for (const auto& row : parts.train) keys.push_back(key(row));
  const data::Split split = data::split_rows(keys, {.eval_fraction = config.eval_fraction, .seed = config.seed});
  std::vector<Row> kept;
  for (const size_t i : split.eval) parts.eval.push_back(parts.train[i]);
  for (const size_t i : split.train) kept.push_back(std::move(parts.train[i]));
  parts.train = std::move(kept);
  return parts;
}

class Encoder {
 public:
  Encoder(const TrainConfig& config, const Checkpoint& checkpoint)
      : config_(config),
        tokenizer_(checkpoint.tokenizer()),
        chat_(checkpoint.chat_template()),
        encoder_(*tokenizer_, chat_.get(),
                 {.cutoff_length = config.cutoff_len,
                  .train_on_prompt = config.train_on_prompt || config.stage == "pretrain",
                  .last_answer_only = config.prefers()}) {}

  data::Sample one(const data::Conversation& row) { return encoder_.encode(row); }

  std::vector<data::Sample> all(const std::vector<data::Conversation>& rows) {
    std::vector<data::Sample> samples;
    Progress progress("tokenising", rows.size());
    if (config_.stage != "pretrain") {
      for (const auto& row : rows) samples.push_back(one(row)), progress.advance(1);
      return samples;
    }
    // Texts are one stream of tokens, cut into blocks; conversations stay what they are.
    std::vector<std::string> texts;
    for (const auto& row : rows) {
      if (row.is_text())
        texts.push_back(row.text);
      else
        samples.push_back(one(row));
      progress.advance(1);
    }
    for (auto& block : data::encode_documents(*tokenizer_, texts, config_.cutoff_len, config_.packing))
      samples.push_back(std::move(block));
    return samples;
  }

 private:
  const TrainConfig& config_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::shared_ptr<const ChatTemplate> chat_;
  data::SampleEncoder encoder_;
};

data::LoaderConfig loader_config(const TrainConfig& config) {
  return {.batch_size = config.per_device_train_batch_size,
          .sequence_length = config.cutoff_len,
          .packing = config.packing,
          .group_by_length = config.group_by_length,
          .shuffle = config.shuffle,
          .seed = config.seed,
          .gradient_accumulation_steps = config.gradient_accumulation_steps};
}

TrainData load_pretokenized(const TrainConfig& config, const ModelConfig& model) {
  TrainData out;
  data::Pretokenized batches = data::read_pretokenized(config.pretokenized);
  if (batches.sequence > model.max_position_embeddings)
    throw Error(config.pretokenized + ": sequences of " + std::to_string(batches.sequence) +
                    " tokens are beyond the model's context of " + std::to_string(model.max_position_embeddings),
                "cut them shorter");
  for (const auto& sample : batches.samples)
    for (const int32_t id : sample.ids)
      if (id < 0 || id >= model.vocab_size)
        throw Error(config.pretokenized + ": the id " + std::to_string(id) + " is not in the model's vocabulary",
                    "tokenise with this model's tokenizer");
  data::LoaderConfig loader = batches.config();
  loader.gradient_accumulation_steps = config.gradient_accumulation_steps;
  out.pretokenized_steps = batches.steps / config.gradient_accumulation_steps;
  out.train = std::make_unique<data::Loader>(std::move(batches.samples), loader);
  return out;
}

TrainData load_shards(const TrainConfig& config, const Checkpoint& checkpoint) {
  TrainData out;
  const auto source =
      std::make_shared<data::TokenShards>(config.train_files.front(), config.cutoff_len, config.packing);
  if (source->vocab_size() > checkpoint.config().vocab_size)
    throw Error(config.train_files.front() + ": tokens of a vocabulary of " + std::to_string(source->vocab_size()) +
                    ", the model has " + std::to_string(checkpoint.config().vocab_size),
                "pack them with this model's tokenizer");
  if (checkpoint.has_tokenizer() && checkpoint.tokenizer()->hash() != source->tokenizer_hash())
    throw Error(config.train_files.front() + " was packed with another tokenizer",
                "pack again: `sedum data pack --model …`");
  data::LoaderConfig loader = loader_config(config);
  loader.packing = false;  // blocks are full already
  out.train = std::make_unique<data::Loader>(source, loader);
  if (!config.eval_files.empty())
    out.eval = Encoder(config, checkpoint).all(read_all<data::Conversation>(config.eval_files, 0, [](const auto& file) {
      return data::read_conversations(file);
    }));
  return out;
}

TrainData load_pairs(const TrainConfig& config, Encoder& encoder) {
  const auto parts = read_parts<data::Preference>(
      config, [](const std::string& file) { return data::read_preferences(file); },
      [](const data::Preference& p) { return first_message(p.chosen); });
  const auto encode = [&](const std::vector<data::Preference>& rows) {
    std::vector<data::Sample> samples;
    Progress progress("tokenising", rows.size());
    for (const auto& row : rows)
      samples.push_back(encoder.one(row.chosen)), samples.push_back(encoder.one(row.rejected)), progress.advance(1);
    return samples;
  };
  TrainData out;
  out.eval = encode(parts.eval);
  data::LoaderConfig loader = loader_config(config);
  loader.group_size = 2;
  out.train = std::make_unique<data::Loader>(encode(parts.train), loader);
  return out;
}

// Each row's question with the answer of the row before it, as TRL pairs them.
std::vector<data::Sample> mismatched(const std::vector<data::Sample>& samples, int cutoff) {
  const auto answer_begin = [](const data::Sample& s) {
    size_t i = 0;
    while (i < s.labels.size() && s.labels[i] == data::kIgnored) ++i;
    return i;
  };
  std::vector<data::Sample> all;
  for (size_t i = 0; i < samples.size(); ++i) {
    const data::Sample& other = samples[(i + samples.size() - 1) % samples.size()];
    const size_t question = answer_begin(samples[i]);
    data::Sample s;
    s.ids.assign(samples[i].ids.begin(), samples[i].ids.begin() + ptrdiff_t(question));
    s.labels.assign(question, data::kIgnored);
    for (size_t t = answer_begin(other); t < other.ids.size() && int(s.ids.size()) < cutoff; ++t)
      s.ids.push_back(other.ids[t]), s.labels.push_back(other.labels[t]);
    all.push_back(std::move(s));
  }
  return all;
}

TrainData load_judgements(const TrainConfig& config, Encoder& encoder) {
  const auto parts = read_parts<data::Judgement>(
      config, [](const std::string& file) { return data::read_judgements(file); },
      [](const data::Judgement& j) { return first_message(j.conversation); });
  const auto encode = [&](const std::vector<data::Judgement>& rows, std::vector<bool>& desirable) {
    std::vector<data::Sample> samples;
    Progress progress("tokenising", rows.size());
    for (const auto& row : rows)
      samples.push_back(encoder.one(row.conversation)), desirable.push_back(row.desirable), progress.advance(1);
    return samples;
  };
  TrainData out;
  out.eval = encode(parts.eval, out.eval_desirable);
  std::vector<data::Sample> train = encode(parts.train, out.desirable);
  out.mismatched = mismatched(train, config.cutoff_len);
  out.train = std::make_unique<data::Loader>(std::move(train), loader_config(config));
  return out;
}

// Texts as an encoder takes them, cut into pieces of cutoff_len tokens, [CLS] and [SEP] around each: only what is between can be masked.
std::vector<data::Sample> pieces_of(const std::vector<data::Conversation>& rows, const Tokenizer& tokenizer,
                                    int cutoff) {
  const std::vector<int32_t> frame = tokenizer.encode_single("").ids;
  if (frame.size() > 2 || int(frame.size()) >= cutoff)
    throw Error("the tokenizer puts " + std::to_string(frame.size()) + " tokens around a text of at most " +
                    std::to_string(cutoff),
                "raise cutoff_len, or choose the model's own tokenizer");
  const size_t most = size_t(cutoff) - frame.size();
  std::vector<data::Sample> samples;
  Progress progress("tokenising", rows.size());
  for (const data::Conversation& row : rows) {
    const std::vector<int32_t> ids = tokenizer.encode(data::joined_text(row), {.parse_special = false});
    for (size_t begin = 0; begin < ids.size(); begin += most) {
      data::Sample& s = samples.emplace_back();
      const size_t end = std::min(ids.size(), begin + most);
      if (frame.size() > 0) s.ids.push_back(frame[0]), s.labels.push_back(data::kIgnored);
      s.ids.insert(s.ids.end(), ids.begin() + ptrdiff_t(begin), ids.begin() + ptrdiff_t(end));
      s.labels.insert(s.labels.end(), ids.begin() + ptrdiff_t(begin), ids.begin() + ptrdiff_t(end));
      if (frame.size() > 1) s.ids.push_back(frame[1]), s.labels.push_back(data::kIgnored);
    }
    progress.advance(1);
  }
  return samples;
}

// The last answer is the target, what was said before it the source. Two sequences of one sample: the source with its end token; the target
// behind decoder_start_token_id, each of whose tokens is predicted from those before it.
data::Sample source_and_target(const data::Conversation& row, const Tokenizer& tokenizer, const ModelConfig& model,
                               int cutoff) {
  if (row.messages.size() < 2 || row.messages.back().role != "assistant")
    throw Error(row.origin.to_string() + ": no source and target", "give instruction and output, or messages");
  data::Conversation before = row;
  before.messages.pop_back();
  const auto encode = [&](const std::string& text) {
    std::vector<int32_t> ids = tokenizer.encode(text, {.add_special = true, .parse_special = false});
    if (!ids.empty() && ids.back() == model.eos_token_id) ids.pop_back();
    if (int(ids.size()) >= cutoff) ids.resize(size_t(cutoff) - 1);
    if (model.eos_token_id >= 0) ids.push_back(model.eos_token_id);
    return ids;
  };
  data::Sample s;
  s.ids = encode(data::joined_text(before));
  s.labels.assign(s.ids.size() + 1, data::kIgnored);
  s.starts = {int32_t(s.ids.size())};
  s.ids.push_back(model.encoder.decoder_start_token_id);
  for (const int32_t id : encode(row.messages.back().content)) s.ids.push_back(id), s.labels.push_back(id);
  return s;
}

// Two texts that belong together, each as the encoder takes it; one label, so that a step's labels count its pairs.
data::Sample paired_texts(const data::Conversation& row, const Tokenizer& tokenizer, int cutoff) {
  if (row.messages.size() < 2)
    throw Error(row.origin.to_string() + ": no pair of texts", "give instruction and output");
  data::Conversation before = row;
  before.messages.pop_back();
  Truncation truncation;
  truncation.max_length = size_t(cutoff);
  data::Sample s;
  s.ids = tokenizer.encode_single(data::joined_text(before), truncation).ids;
  s.starts = {int32_t(s.ids.size())};
  for (const int32_t id : tokenizer.encode_single(row.messages.back().content, truncation).ids) s.ids.push_back(id);
  if (s.starts[0] < 2 || s.ids.size() < size_t(s.starts[0]) + 1)
    throw Error(row.origin.to_string() + ": an empty text", "give both texts");
  s.labels.assign(s.ids.size(), data::kIgnored);
  s.labels[1] = s.ids[1];
  return s;
}

// Labels stand where the loader looks for what is predicted: the class of token t is label t + 1, that of a text the label behind its first
// token.
data::Sample labelled_sample(const data::Labelled& row, const Checkpoint& checkpoint, int cutoff) {
  const EncoderConfig& encoder = checkpoint.config().encoder;
  const auto class_of = [&](const std::string& label) {
    for (int64_t i = 0; i < encoder.num_labels; ++i)
      if (encoder.label(i) == label) return int32_t(i);
    throw Error(row.origin.to_string() + ": the model has no label \"" + label + "\"",
                "each label must be in the training rows");
  };
  if (row.has_tokens() != (encoder.head == EncoderConfig::Head::kToken))
    throw Error(row.origin.to_string() + ": texts and tokens are mixed",
                "give training and evaluation rows of one kind");
  data::Sample s;
  const Tokenizer& tokenizer = *checkpoint.tokenizer();
  std::vector<int32_t> first{0};
  if (row.has_tokens()) {
    EncodedWords words = encode_words(tokenizer, checkpoint.config(), row.tokens, cutoff);
    s.ids = std::move(words.ids), first = std::move(words.first);
  } else {
    Truncation truncation;
    truncation.max_length = size_t(cutoff);
    s.ids = tokenizer.encode_single(row.text, truncation).ids;
  }
  if (s.ids.size() < 2)
    throw Error(row.origin.to_string() + ": no tokens around the text", "choose the model's own tokenizer");
  s.labels.assign(s.ids.size(), data::kIgnored);
  for (size_t i = 0; i < first.size(); ++i)
    if (first[i] >= 0 && size_t(first[i]) + 1 < s.labels.size())
      s.labels[size_t(first[i]) + 1] = class_of(row.labels[i]);
  return s;
}

TrainData load_labelled(const TrainConfig& config, const Checkpoint& checkpoint) {
  const auto parts = read_parts<data::Labelled>(
      config, [](const std::string& file) { return data::read_labelled(file); },
      [](const data::Labelled& row) { return row.has_tokens() ? row.origin.to_string() : row.text; });
  const auto encode = [&](const std::vector<data::Labelled>& rows) {
    std::vector<data::Sample> samples;
    Progress progress("tokenising", rows.size());
    for (const data::Labelled& row : rows)
      samples.push_back(labelled_sample(row, checkpoint, config.cutoff_len)), progress.advance(1);
    return samples;
  };
  TrainData out;
  out.eval = encode(parts.eval);
  out.train = std::make_unique<data::Loader>(encode(parts.train), loader_config(config));
  return out;
}

TrainData load_encoder_data(const TrainConfig& config, const Checkpoint& checkpoint) {
  const auto parts = read_parts<data::Conversation>(
      config, [](const std::string& file) { return data::read_conversations(file); }, first_message);
  const Tokenizer& tokenizer = *checkpoint.tokenizer();
  const auto encode = [&](const std::vector<data::Conversation>& rows) {
    if (config.stage == "mlm") return pieces_of(rows, tokenizer, config.cutoff_len);
    std::vector<data::Sample> samples;
    for (const auto& row : rows)
      samples.push_back(config.stage == "embed"
                            ? paired_texts(row, tokenizer, config.cutoff_len)
                            : source_and_target(row, tokenizer, checkpoint.config(), config.cutoff_len));
    return samples;
  };
  TrainData out;
  out.eval = encode(parts.eval);
  data::LoaderConfig loader = loader_config(config);
  if (config.stage != "mlm") loader.sequence_length = 2 * config.cutoff_len + 1;
  out.train = std::make_unique<data::Loader>(encode(parts.train), loader);
  return out;
}

}  // namespace

TrainData load_train_data(const TrainConfig& config, const Checkpoint& checkpoint) {
  const int64_t context = checkpoint.config().max_position_embeddings - checkpoint.config().encoder.position_offset;
  if (!config.pretokenized.empty()) return load_pretokenized(config, checkpoint.config());
  if (config.cutoff_len > context)
    throw Error("cutoff_len " + std::to_string(config.cutoff_len) + " is beyond the model's context of " +
                    std::to_string(context),
                "choose a smaller one");
  for (const std::string& file : config.train_files)
    if (data::is_shards(file)) {
      if (config.stage != "pretrain")
        throw Error(file + " holds packed tokens, which are for stage: pretrain", "give rows, or change the stage");
      if (config.train_files.size() > 1)
        throw Error("data.train: shards stand alone", "pack all texts into one folder");
      return load_shards(config, checkpoint);
    }
  if (config.stage == "classify") return load_labelled(config, checkpoint);
  if (config.encodes()) return load_encoder_data(config, checkpoint);
  Encoder encoder(config, checkpoint);
  if (config.stage == "kto") return load_judgements(config, encoder);
  if (config.prefers()) return load_pairs(config, encoder);
  const auto parts = read_parts<data::Conversation>(
      config, [](const std::string& file) { return data::read_conversations(file); }, first_message);
  TrainData out;
  out.eval = encoder.all(parts.eval);
  out.train = std::make_unique<data::Loader>(encoder.all(parts.train), loader_config(config));
  return out;
}

int64_t total_steps(const TrainConfig& config, const TrainData& data) {
  if (config.max_steps > 0) return config.max_steps;
  if (data.pretokenized_steps > 0) return data.pretokenized_steps;
  return std::max<int64_t>(1,
                           int64_t(std::ceil(config.num_train_epochs * double(data.train->steps_per_epoch()) - 1e-9)));
}

}  // namespace sedum
