#include "model/runtime_encoder.h"

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace sedum {
namespace {

namespace fs = std::filesystem;
using Head = EncoderConfig::Head;
using nlohmann::ordered_json;

}  // namespace

void write_labels(const fs::path& adapter, const EncoderConfig& encoder) {
  ordered_json names = ordered_json::object();
  for (int64_t i = 0; i < encoder.num_labels; ++i) names[std::to_string(i)] = encoder.label(i);
  const ordered_json document{{"head", encoder.head == Head::kToken ? "token" : "sequence"}, {"id2label", names}};
  write_file(adapter / "labels.json", document.dump(2) + "\n");
}

Checkpoint with_labels_of(const Checkpoint& checkpoint, const fs::path& adapter) {
  const fs::path path = adapter / "labels.json";
  if (adapter.empty() || !fs::exists(path)) return checkpoint;
  const ordered_json document = try_parse_json<ordered_json>(read_file(path));
  const auto damaged = [&] {
    return Error(path.string() + ": not a list of labels", "check that the file is complete");
  };
  if (!document.is_object() || !document.contains("head") || !document["head"].is_string() ||
      !document.contains("id2label") || !document["id2label"].is_object())
    throw damaged();
  std::vector<std::string> labels;
  for (size_t i = 0; i < document["id2label"].size(); ++i) {
    const auto found = document["id2label"].find(std::to_string(i));
    if (found == document["id2label"].end() || !found->is_string()) throw damaged();
    labels.push_back(found->get<std::string>());
  }
  if (labels.empty()) throw damaged();
  return checkpoint.classifying(document["head"] == "token" ? Head::kToken : Head::kSequence, labels);
}

RuntimeEncoder::RuntimeEncoder(Runtime& runtime, const fs::path& path, Compute compute, fs::path adapter)
    : runtime_(runtime), compute_(compute) {
  const ModelPath resolved = resolve_model_path(path);
  if (adapter.empty()) adapter = resolved.adapter;
  if (fs::exists(adapter / "adapter" / "adapter_config.json")) adapter /= "adapter";
  checkpoint_ = Checkpoint::open(resolved.base);
  if (!is_encoder(checkpoint_.config().model_type) || is_seq2seq(checkpoint_.config().model_type))
    throw Error(path.string() + ": a model of the family \"" + checkpoint_.config().model_type + "\" is no encoder",
                "give a BERT or RoBERTa model");
  checkpoint_ = with_labels_of(checkpoint_, adapter);
  CheckpointFactory stored(checkpoint_, CheckpointFactory::Use::kFrozen, runtime.pool, runtime.arena,
                           compute == Compute::kInt8 ? Pack::kForward : Pack::kNone);
  if (adapter.empty()) {
    model_ = std::make_unique<BertModel>(checkpoint_.config(), stored);
    return;
  }
  // Layers that the base has not are the adapter's, whole.
  RandomFactory fresh(runtime.pool, runtime.arena, 0, true);
  CompletedFactory base(checkpoint_, stored, fresh);
  StoredAdapter weights = read_adapter(adapter, runtime.arena);
  LoraFactory factory(base, weights.config, runtime.pool, runtime.arena, std::move(weights.weights), false);
  model_ = std::make_unique<BertModel>(checkpoint_.config(), factory);
  factory.check_complete();
  for (const std::string& layer : base.fresh_layers())
    if (!weights.config.saves(layer))
      throw Error(adapter.string() + ": neither the adapter nor its base has " + layer,
                  "train it with modules_to_save that name it");
}

}  // namespace sedum
