// sedum forward

#include <algorithm>
#include <functional>

#include <fmt/format.h>

#include "base/error.h"
#include "base/progress.h"
#include "cli/command.h"
#include "cli/common.h"
#include "formats/numpy.h"
#include "model/architectures/bert.h"
#include "model/architectures/t5.h"

namespace sedum::cli {
namespace {

using Rows = std::vector<std::vector<int32_t>>;

struct ForwardOptions : ModelOptions {
  std::string ids, decoder_ids, types, out;
};

void check_rows(const Rows& rows, const std::string& file, int64_t context, int64_t vocabulary) {
  for (const auto& row : rows) {
    if (int64_t(row.size()) > context)
      throw Error(fmt::format("{}: a row has {} tokens, the model's context {}", file, row.size(), context),
                  "shorten it");
    for (const int32_t id : row)
      if (id < 0 || id >= vocabulary)
        throw Error(fmt::format("{}: the id {} is not in the vocabulary of {}", file, id, vocabulary),
                    "use this model's tokenizer");
  }
}

// The outputs of each row, (its tokens, width), one file: (rows, the longest's tokens, width), zeros where a row is shorter.
void write_rows(const std::string& out, const Rows& rows, int64_t width,
                const std::function<Variable(size_t)>& output) {
  size_t longest = 0;
  for (const auto& row : rows) longest = std::max(longest, row.size());
  Progress progress("forward", rows.size());
  write_npy(out, DType::kF32, {int64_t(rows.size()), int64_t(longest), width}, [&](const ByteSink& sink) {
    const std::vector<float> none(size_t(width), 0.0f);
    for (size_t r = 0; r < rows.size(); ++r) {
      const Variable values = output(r);
      sink(values.value().raw(), values.value().bytes());
      for (size_t i = rows[r].size(); i < longest; ++i) sink(none.data(), none.size() * sizeof(float));
      progress.advance(1);
    }
  });
}

void forward_causal(const ForwardOptions& o, const Rows& rows) {
  LoadedModel loaded(o);
  const CausalModel& model = loaded.model.model();
  check_rows(rows, o.ids, model.config().max_position_embeddings, model.config().vocab_size);
  Context ctx = loaded.runtime.context(loaded.model.compute());
  write_rows(o.out, rows, model.config().vocab_size,
             [&](size_t r) { return model.logits(ctx, model.hidden_states(ctx, Batch::of_sequences({rows[r]}))); });
}

// An encoder's or an encoder–decoder's weights, as they are stored.
struct LoadedLayers {
  LoadedLayers(const ForwardOptions& o, Checkpoint opened)
      : compute(parse_compute(o.compute)),
        runtime(o.threads),
        checkpoint(std::move(opened)),
        factory(checkpoint, CheckpointFactory::Use::kFrozen, runtime.pool, runtime.arena,
                compute == Compute::kInt8 ? Pack::kForward : Pack::kNone) {
    if (!o.adapter.empty()) throw Error("adapters are for models that continue texts", "leave --adapter out");
  }
  Compute compute;
  Runtime runtime;
  Checkpoint checkpoint;
  CheckpointFactory factory;
};

void forward_encoder(const ForwardOptions& o, const Rows& rows, Checkpoint checkpoint) {
  using Head = EncoderConfig::Head;
  LoadedLayers loaded(o, std::move(checkpoint));
  const BertModel model(loaded.checkpoint.config(), loaded.factory);
  const ModelConfig& config = model.config();
  check_rows(rows, o.ids, config.max_position_embeddings - config.encoder.position_offset, config.vocab_size);
  const Rows types = o.types.empty() ? Rows() : read_ids_file(o.types);
  if (!types.empty()) check_rows(types, o.types, config.max_position_embeddings, config.encoder.type_vocab_size);
  Context ctx = loaded.runtime.context(loaded.compute);
  const Head head = config.encoder.head;
  const auto outputs = [&](size_t r) {
    const Batch batch = Batch::of_sequences({rows[r]});
    if (!types.empty() && (r >= types.size() || types[r].size() != rows[r].size()))
      throw Error(fmt::format("{}: row {} is not as long as that of {}", o.types, r, o.ids), "give a type for each id");
    const Variable hidden = model.hidden_states(
        ctx, batch, types.empty() ? nullptr : std::make_shared<const std::vector<int32_t>>(types[r]));
    return head == Head::kMaskedLm   ? model.masked_lm_logits(ctx, hidden)
           : head == Head::kToken    ? model.token_logits(ctx, hidden)
           : head == Head::kSequence ? model.sequence_logits(ctx, hidden, batch)
                                     : hidden;
  };
  if (head != Head::kSequence)
    return write_rows(o.out, rows,
                      head == Head::kMaskedLm ? config.vocab_size
                      : head == Head::kToken  ? config.encoder.num_labels
                                              : config.hidden_size,
                      outputs);
  write_npy(o.out, DType::kF32, {int64_t(rows.size()), config.encoder.num_labels}, [&](const ByteSink& sink) {
    for (size_t r = 0; r < rows.size(); ++r) {
      const Variable values = outputs(r);
      sink(values.value().raw(), values.value().bytes());
    }
  });
}

void forward_seq2seq(const ForwardOptions& o, const Rows& rows, Checkpoint checkpoint) {
  if (o.decoder_ids.empty()) throw Error("an encoder-decoder needs the decoder's ids, too", "give --decoder-ids-file");
  LoadedLayers loaded(o, std::move(checkpoint));
  const T5Model model(loaded.checkpoint.config(), loaded.factory);
  const Rows targets = read_ids_file(o.decoder_ids);
  constexpr int64_t kLongest = 1 << 16;  // relative positions have no end; memory has
  check_rows(rows, o.ids, kLongest, model.config().vocab_size);
  check_rows(targets, o.decoder_ids, kLongest, model.config().vocab_size);
  if (targets.size() != rows.size())
    throw Error(fmt::format("{} has {} rows, {} has {}", o.decoder_ids, targets.size(), o.ids, rows.size()),
                "give a target for each source");
  Context ctx = loaded.runtime.context(loaded.compute);
  write_rows(o.out, targets, model.config().vocab_size, [&](size_t r) {
    const Batch source = Batch::of_sequences({rows[r]}), target = Batch::of_sequences({targets[r]});
    return model.logits(ctx, model.decode(ctx, target, model.encode(ctx, source), source));
  });
}

}  // namespace
}  // namespace sedum::cli

SEDUM_COMMAND(forward) {
  auto o = std::make_shared<ForwardOptions>();
  add_model_options(app, *o, "f32");
  app.add_option("--ids-file", o->ids,
                 "a JSON file with token ids: [[1, 2, 3]]; rows may differ in length, missing logits are 0")
      ->required();
  app.add_option("--decoder-ids-file", o->decoder_ids, "the same for the decoder of an encoder-decoder");
  app.add_option("--token-types-file", o->types, "0 or 1 for each id: the first and the second text, of BERT");
  app.add_option("--out", o->out,
                 "the .npy file for the logits (batch, seq, vocab), float32; of an encoder without a head the hidden "
                 "states (batch, seq, hidden)")
      ->required();
  app.footer("example: sedum forward --model smollm2-135m --ids-file ids.json --out logits.npy");
  return [o] {
    const Rows rows = read_ids_file(o->ids);
    const std::filesystem::path base = resolve_model_path(find_model(o->model)).base;
    const std::string family = std::filesystem::is_directory(base) ? Checkpoint::open(base).config().model_type : "";
    if (is_seq2seq(family)) return forward_seq2seq(*o, rows, Checkpoint::open(base));
    if (is_encoder(family)) return forward_encoder(*o, rows, Checkpoint::open(base));
    forward_causal(*o, rows);
  };
}
