#pragma once
// One text by a model that no engine serves: between two steps of its training.
//
//   std::string text = continue_text(ctx, model, tokenizer, tokenizer.encode("Once upon"), {.temperature = 0, .max_tokens = 64});
//
// ctx: without a tape; its arena takes keys and values (f32) of this one sequence. Text ends with an end-of-generation token, which is left
// out, after max_tokens (which must be given), or where the model's context does.

#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "infer/engine.h"
#include "model/causal_model.h"
#include "text/tokenizer.h"

namespace sedum {

// The token ids of a conversation by a model's own template, ending where the assistant begins.
std::vector<int32_t> chat_prompt(const Tokenizer& tokenizer, const ChatTemplate& chat,
                                 const nlohmann::ordered_json& messages);

std::string continue_text(Context& ctx, const CausalModel& model, const Tokenizer& tokenizer,
                          std::vector<int32_t> prompt, const SamplingParams& sampling);

}  // namespace sedum
