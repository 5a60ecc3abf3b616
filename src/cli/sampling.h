#pragma once
// The options of generating text that generate, chat and others share.

#include "cli/flags.h"
#include "infer/local_engine.h"

namespace sedum::cli {

void add_sampling_options(Flags app, SamplingParams& sampling);

// Beams, several answers, log-probabilities: for commands that wait for whole answers.
struct SearchOptions {
  std::string early_stopping = "false";
  std::vector<std::string> logit_bias = {};  // "ID=BIAS"
};
void add_search_options(Flags app, SamplingParams& sampling, SearchOptions& options);
// Once the command line was read. UsageError for what cannot be read.
void finish_sampling(Flags app, const SearchOptions& options, SamplingParams& sampling);

struct GrammarOptions {
  std::string json_schema, regex;
  std::vector<std::string> choices = {};
  bool json_object = false;
};
void add_grammar_options(Flags app, GrammarOptions& options);
GrammarSpec grammar_of(const GrammarOptions& options);  // reads the schema's file

// How the engine works; none of it changes an answer, but for the precision of keys and values.
struct EngineChoices {
  std::string draft_model, kv_cache = "bf16";
  int draft_tokens = 6, prompt_lookup = 0;
  int64_t context = 0;
  // Of servers.
  std::string name, cache_memory;  // "": the model's own; as much as EngineOptions says
  int64_t step_tokens = EngineOptions().step_tokens, max_sequences = EngineOptions().max_sequences;
  bool no_prefix_cache = false;
};
void add_engine_options(Flags app, EngineChoices& choices);
// What a step holds, and the memory of keys and values.
void add_paging_options(Flags app, EngineChoices& choices);
// --kv-cache f32|bf16|int8
void add_kv_cache_option(Flags app, std::string& kv_cache);
DType kv_cache_type(const std::string& kv_cache);

std::string first_adapter(const GenerationEngine& engine);  // the first --lora's name, or ""

// An engine and the draft model that it may have.
class ChosenEngine {
 public:
  ChosenEngine(const RuntimeModel& model, const EngineChoices& choices);
  LocalEngine& engine() { return *engine_; }

 private:
  std::unique_ptr<RuntimeModel> draft_;
  std::unique_ptr<LocalEngine> engine_;
};

}  // namespace sedum::cli
