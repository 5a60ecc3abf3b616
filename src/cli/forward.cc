// sedum forward

#include <algorithm>

#include <fmt/format.h>

#include "base/error.h"
#include "base/progress.h"
#include "cli/command.h"
#include "cli/common.h"
#include "formats/numpy.h"

SEDUM_COMMAND(forward) {
  struct Options : cli::ModelOptions {
    std::string ids, out;
  };
  auto o = std::make_shared<Options>();
  add_model_options(app, *o, "f32");
  app.add_option("--ids-file", o->ids,
                 "a JSON file with token ids: [[1, 2, 3]]; rows may differ in length, missing logits are 0")
      ->required();
  app.add_option("--out", o->out, "the .npy file for the logits (batch, seq, vocab), float32")->required();
  app.footer("example: sedum forward --model smollm2-135m --ids-file ids.json --out logits.npy");
  return [o] {
    const auto rows = read_ids_file(o->ids);
    LoadedModel loaded(*o);
    const CausalModel& model = loaded.model.model();
    size_t longest = 0;
    for (const auto& row : rows) {
      longest = std::max(longest, row.size());
      if (int64_t(row.size()) > model.config().max_position_embeddings)
        throw Error(fmt::format("{}: a row has {} tokens, the model's context {}", o->ids, row.size(),
                                model.config().max_position_embeddings),
                    "shorten it");
      for (const int32_t id : row)
        if (id < 0 || id >= model.config().vocab_size)
          throw Error(
              fmt::format("{}: the id {} is not in the vocabulary of {}", o->ids, id, model.config().vocab_size),
              "use this model's tokenizer");
    }
    const int64_t vocabulary = model.config().vocab_size, count = int64_t(rows.size());
    Context ctx = loaded.runtime.context(loaded.model.compute());
    Progress progress("forward", rows.size());
    write_npy(o->out, DType::kF32, {count, int64_t(longest), vocabulary}, [&](const ByteSink& sink) {
      for (const auto& row : rows) {
        const Variable out = model.logits(ctx, model.hidden_states(ctx, Batch::of_sequences({row})));
        sink(out.value().raw(), out.value().bytes());
        const std::vector<float> none(size_t(vocabulary), 0.0f);
        for (size_t i = row.size(); i < longest; ++i) sink(none.data(), none.size() * sizeof(float));
        progress.advance(1);
      }
    });
  };
}
