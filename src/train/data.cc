// The rows of a run: read, split, encoded.

#include <cmath>

#include "base/error.h"
#include "base/progress.h"
#include "data/encode.h"
#include "data/rows.h"
#include "data/split.h"
#include "train/train.h"

namespace sedum {
namespace {

std::vector<data::Conversation> read_all(const std::vector<std::string>& files, int64_t limit) {
  std::vector<data::Conversation> all;
  for (const std::string& file : files) {
    auto rows = data::read_conversations(file);
    std::move(rows.begin(), rows.end(), std::back_inserter(all));
  }
  if (limit > 0 && int64_t(all.size()) > limit) all.resize(size_t(limit));
  return all;
}

std::vector<data::Sample> encode_all(const std::vector<data::Conversation>& rows, const TrainConfig& config,
                                     const Checkpoint& checkpoint) {
  const auto tokenizer = checkpoint.tokenizer();
  const auto chat = checkpoint.chat_template();
  data::SampleEncoder encoder(
      *tokenizer, chat.get(),
      {.cutoff_length = config.cutoff_len, .train_on_prompt = config.train_on_prompt || config.stage == "pretrain"});
  std::vector<data::Sample> samples;
  Progress progress("tokenising", rows.size());
  for (const auto& row : rows) samples.push_back(encoder.encode(row)), progress.advance(1);
  return samples;
}

std::string first_message(const data::Conversation& c) {
  return c.messages.empty() ? c.text : c.messages.front().content;
}

}  // namespace

TrainData load_train_data(const TrainConfig& config, const Checkpoint& checkpoint) {
  TrainData out;
  const int64_t context = checkpoint.config().max_position_embeddings;
  if (!config.pretokenized.empty()) {
    data::Pretokenized batches = data::read_pretokenized(config.pretokenized);
    if (batches.sequence > context)
      throw Error(config.pretokenized + ": sequences of " + std::to_string(batches.sequence) +
                      " tokens are beyond the model's context of " + std::to_string(context),
                  "cut them shorter");
    for (const auto& sample : batches.samples)
      for (const int32_t id : sample.ids)
        if (id < 0 || id >= checkpoint.config().vocab_size)
          throw Error(config.pretokenized + ": the id " + std::to_string(id) + " is not in the model's vocabulary",
                      "tokenise with this model's tokenizer");
    data::LoaderConfig loader = batches.config();
    loader.gradient_accumulation_steps = config.gradient_accumulation_steps;
    out.pretokenized_steps = batches.steps / config.gradient_accumulation_steps;
    out.train = std::make_unique<data::Loader>(std::move(batches.samples), loader);
    return out;
  }
  if (config.cutoff_len > context)
    throw Error("cutoff_len " + std::to_string(config.cutoff_len) + " is beyond the model's context of " +
                    std::to_string(context),
                "choose a smaller one");
  std::vector<data::Conversation> train = read_all(config.train_files, config.max_samples),
                                  eval = read_all(config.eval_files, 0);
  if (eval.empty() && config.eval_fraction > 0) {
    std::vector<std::string> keys;
    for (const auto& row : train) keys.push_back(first_message(row));
    const data::Split split = data::split_rows(keys, {.eval_fraction = config.eval_fraction, .seed = config.seed});
    std::vector<data::Conversation> kept;
    for (const size_t i : split.eval) eval.push_back(train[i]);
    for (const size_t i : split.train) kept.push_back(std::move(train[i]));
    train = std::move(kept);
  }
  out.eval = encode_all(eval, config, checkpoint);
  out.train = std::make_unique<data::Loader>(
      encode_all(train, config, checkpoint),
      data::LoaderConfig{.batch_size = config.per_device_train_batch_size,
                         .sequence_length = config.cutoff_len,
                         .packing = config.packing,
                         .group_by_length = config.group_by_length,
                         .shuffle = config.shuffle,
                         .seed = config.seed,
                         .gradient_accumulation_steps = config.gradient_accumulation_steps});
  return out;
}

int64_t total_steps(const TrainConfig& config, const TrainData& data) {
  if (config.max_steps > 0) return config.max_steps;
  if (data.pretokenized_steps > 0) return data.pretokenized_steps;
  return std::max<int64_t>(1,
                           int64_t(std::ceil(config.num_train_epochs * double(data.train->steps_per_epoch()) - 1e-9)));
}

}  // namespace sedum
