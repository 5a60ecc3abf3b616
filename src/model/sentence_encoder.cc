#include "model/sentence_encoder.h"

#include <cmath>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace sedum {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int64_t kRowsAtOnce = 4096;  // of a step: what activations take stays within some tens of megabytes

json read_json(const fs::path& path) {
  const json document = try_parse_json(read_file(path));
  if (document.is_discarded()) throw Error(path.string() + ": not JSON", "check that the file is complete");
  return document;
}

bool flag(const json& object, const char* key) {
  return object.is_object() && object.contains(key) && object[key].is_boolean() && object[key].get<bool>();
}

}  // namespace

SentenceEncoder::SentenceEncoder(Runtime& runtime, const fs::path& path, Compute compute)
    : encoder_(runtime, path, compute), max_tokens_(encoder_.most_tokens()) {
  read_pooling(encoder_.checkpoint().path());
}

void SentenceEncoder::read_pooling(const fs::path& path) {
  if (const fs::path file = path / "sentence_bert_config.json"; fs::exists(file)) {
    const json config = read_json(file);
    if (config.is_object() && config.contains("max_seq_length") && config["max_seq_length"].is_number_integer())
      max_tokens_ = std::min(max_tokens_, std::max<int64_t>(3, config["max_seq_length"].get<int64_t>()));
  }
  if (!fs::exists(path / "modules.json")) return;
  normalise_ = false;
  for (const json& module : read_json(path / "modules.json")) {
    const std::string type = module.is_object() ? module.value("type", "") : "";
    if (type.ends_with("Normalize")) normalise_ = true;
    if (type.ends_with("Transformer") || type.ends_with("Normalize")) continue;
    if (!type.ends_with("Pooling"))
      throw Error(path.string() + "/modules.json: the module \"" + type + "\" is not known here",
                  "models of a transformer, pooling and normalisation can be loaded");
    const json pooling = read_json(path / module.value("path", "1_Pooling") / "config.json");
    first_token_ = flag(pooling, "pooling_mode_cls_token");
    if (first_token_ == flag(pooling, "pooling_mode_mean_tokens") || flag(pooling, "pooling_mode_max_tokens") ||
        flag(pooling, "pooling_mode_mean_sqrt_len_tokens"))
      throw Error(path.string() + ": it pools in a way that is not known here",
                  "the mean and the first token can be computed");
  }
}

std::vector<int32_t> SentenceEncoder::tokens(const std::string& text) const {
  Truncation truncation;
  truncation.max_length = size_t(max_tokens_);
  return checkpoint().tokenizer()->encode_single(text, truncation).ids;
}

std::vector<std::vector<float>> SentenceEncoder::encode(const std::vector<std::string>& texts) const {
  std::vector<std::vector<int32_t>> sequences;
  for (const std::string& text : texts) sequences.push_back(tokens(text));
  return encode_ids(sequences);
}

std::vector<std::vector<float>> SentenceEncoder::encode_ids(const std::vector<std::vector<int32_t>>& sequences) const {
  for (const auto& ids : sequences) {
    if (ids.empty() || int64_t(ids.size()) > max_tokens_)
      throw Error(
          "a text has " + std::to_string(ids.size()) + " tokens, the encoder takes 1 to " + std::to_string(max_tokens_),
          "shorten it");
    for (const int32_t id : ids)
      if (id < 0 || id >= encoder_.model().config().vocab_size)
        throw Error("the encoder has no token " + std::to_string(id), "use its own tokenizer");
  }
  std::vector<std::vector<float>> vectors;
  const auto width = size_t(dimensions());
  for (size_t begin = 0; begin < sequences.size();) {
    std::vector<std::vector<int32_t>> some;
    int64_t rows = 0;
    for (; begin < sequences.size() && (some.empty() || rows + int64_t(sequences[begin].size()) <= kRowsAtOnce);
         ++begin)
      rows += int64_t(sequences[begin].size()), some.push_back(sequences[begin]);
    Context ctx = encoder_.runtime().context(encoder_.compute());
    const Batch batch = Batch::of_sequences(some);
    const Variable hidden = encoder_.model().hidden_states(ctx, batch);
    for (const AttentionSegment& s : *batch.segments) {
      const float* state = hidden.value().data<float>() + size_t(s.query_begin) * width;
      std::vector<double> sum(width);
      const int64_t count = first_token_ ? 1 : s.query_count;
      for (int64_t r = 0; r < count; ++r)
        for (size_t d = 0; d < width; ++d) sum[d] += double(state[size_t(r) * width + d]);
      double square = 0;
      for (double& v : sum) v /= double(count), square += v * v;
      const double scale = normalise_ ? 1 / std::max(std::sqrt(square), 1e-12) : 1;  // 1e-12: as PyTorch's normalize()
      std::vector<float>& to = vectors.emplace_back();
      for (const double v : sum) to.push_back(float(v * scale));
    }
  }
  return vectors;
}

}  // namespace sedum
