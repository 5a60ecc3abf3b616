#include "cli/sampling.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "cli/command.h"
#include "cli/common.h"

namespace sedum::cli {

void add_sampling_options(Flags app, SamplingParams& s) {
  app.add_option("--max-tokens", s.max_tokens, "the longest answer; -1: until the context is full")
      ->capture_default_str();
  app.add_option("--temperature", s.temperature, "0: always the likeliest token")->capture_default_str();
  app.add_option("--top-k", s.top_k, "keep the k likeliest tokens; 0: off")->capture_default_str();
  app.add_option("--top-p", s.top_p, "keep the likeliest tokens up to this probability together")
      ->capture_default_str();
  app.add_option("--min-p", s.min_p, "drop tokens below this share of the likeliest one's probability")
      ->capture_default_str();
  app.add_option("--typical-p", s.typical_p, "keep tokens of usual surprise up to this probability together; 1: off")
      ->capture_default_str();
  app.add_option("--repetition-penalty", s.repetition_penalty, "above 1: less repetition")->capture_default_str();
  app.add_option("--frequency-penalty", s.frequency_penalty, "-2 to 2, for each time the answer has a token already")
      ->capture_default_str();
  app.add_option("--presence-penalty", s.presence_penalty, "-2 to 2, once if the answer has a token already")
      ->capture_default_str();
  app.add_option("--seed", s.seed, "the same seed gives the same answer")->capture_default_str();
  app.add_option("--stop", s.stop, "text that ends the answer; may be given several times");
}

void add_search_options(Flags app, SamplingParams& s, SearchOptions& o) {
  app.add_option("-n", s.n, "answers")->capture_default_str();
  app.add_option("--best-of", s.best_of, "make so many and keep the n likeliest; 0: n")->capture_default_str();
  app.add_option("--logprobs", s.logprobs,
                 "with --json: log-probabilities, and of so many likeliest tokens beside each");
  app.add_option("--logit-bias", o.logit_bias, "ID=BIAS, added to a token's logit; may be given several times");
  app.add_option("--num-beams", s.num_beams, "beam search with so many beams")->capture_default_str();
  app.add_option("--length-penalty", s.length_penalty, "above 0: beams may be longer")->capture_default_str();
  app.add_option("--early-stopping", o.early_stopping, "of beam search: true, false or never")
      ->capture_default_str()
      ->check(one_of({"true", "false", "never"}));
  app.add_option("--num-beam-groups", s.num_beam_groups, "groups of beams that avoid each other's tokens")
      ->capture_default_str();
  app.add_option("--diversity-penalty", s.diversity_penalty, "how much they do")->capture_default_str();
  app.add_option("--penalty-alpha", s.penalty_alpha, "above 0: contrastive search among --top-k candidates")
      ->capture_default_str();
}

void finish_sampling(Flags app, const SearchOptions& o, SamplingParams& s) {
  s.early_stopping = o.early_stopping == "never"  ? EarlyStopping::kNever
                     : o.early_stopping == "true" ? EarlyStopping::kTrue
                                                  : EarlyStopping::kFalse;
  if (s.num_beams > 1 && app.get_option("--temperature")->count() == 0) s.temperature = 0;
  for (const std::string& text : o.logit_bias) {
    const size_t at = text.find('=');
    char *id_end = nullptr, *bias_end = nullptr;
    const long id = std::strtol(text.c_str(), &id_end, 10);
    const float bias = at == text.npos ? 0 : std::strtof(text.c_str() + at + 1, &bias_end);
    if (at == text.npos || at == 0 || id_end != text.c_str() + at || *bias_end || bias_end == text.c_str() + at + 1 ||
        id < 0 || id > INT32_MAX)
      throw UsageError("--logit-bias " + text + " is not ID=BIAS", "write a token's id and a number, such as 42=-5");
    s.logit_bias.emplace_back(int32_t(id), bias);
  }
}

void add_grammar_options(Flags app, GrammarOptions& o) {
  const Option schema =
      app.add_option("--json-schema", o.json_schema, "a file with a JSON schema that the answer satisfies");
  const Option regex =
      app.add_option("--regex", o.regex, "a regular expression that the whole answer matches")->excludes(schema);
  const Option choice = app.add_option("--choice", o.choices, "the answer is one of these; given several times")
                            ->excludes(schema)
                            ->excludes(regex);
  app.add_flag("--json-object", o.json_object, "the answer is a JSON object")
      ->excludes(schema)
      ->excludes(regex)
      ->excludes(choice);
}

GrammarSpec grammar_of(const GrammarOptions& o) {
  if (!o.json_schema.empty()) return {.kind = GrammarSpec::Kind::kJsonSchema, .text = read_file(o.json_schema)};
  if (!o.regex.empty()) return {.kind = GrammarSpec::Kind::kRegex, .text = o.regex};
  if (!o.choices.empty()) return {.kind = GrammarSpec::Kind::kChoices, .choices = o.choices};
  if (o.json_object) return {.kind = GrammarSpec::Kind::kJsonSchema, .text = R"({"type": "object"})"};
  return {};
}

void add_kv_cache_option(Flags app, std::string& kv_cache) {
  app.add_option("--kv-cache", kv_cache,
                 "precision of keys and values: f32 (always so with --compute f32), bf16 or int8")
      ->capture_default_str()
      ->check(one_of({"f32", "bf16", "int8"}));
}

DType kv_cache_type(const std::string& kv_cache) {
  return kv_cache == "f32" ? DType::kF32 : kv_cache == "int8" ? DType::kI8 : DType::kBF16;
}

void add_engine_options(Flags app, EngineChoices& c) {
  app.add_option("--context", c.context, "tokens of a conversation; 0: the model's own, at most 32,768")
      ->check(in_range(0, 1 << 24));
  add_kv_cache_option(app, c.kv_cache);
  app.add_option("--draft-model", c.draft_model, "a smaller model of the same family that guesses tokens ahead");
  app.add_option("--draft-tokens", c.draft_tokens, "how many it guesses at most")
      ->capture_default_str()
      ->check(in_range(1, 32));
  app.add_option("--prompt-lookup", c.prompt_lookup,
                 "guess up to so many tokens from where the last ones stood before; 0: off")
      ->capture_default_str()
      ->check(in_range(0, 32));
}

void add_paging_options(Flags app, EngineChoices& c) {
  app.add_option("--cache-memory", c.cache_memory,
                 "for the keys and values of a model, such as 2GB; requests wait when it is full. Default: two full "
                 "contexts, at most a "
                 "quarter of the machine's memory");
  app.add_option(
         "--step-tokens", c.step_tokens,
         "tokens computed in one step at most: fewer let answers under way flow more evenly while prompts come in, "
         "more read prompts faster")
      ->capture_default_str()
      ->check(in_range(16, 65536));
  app.add_option("--max-sequences", c.max_sequences, "answers and beams computed at once; more wait")
      ->capture_default_str()
      ->check(in_range(1, 4096));
  app.add_flag("--no-prefix-cache", c.no_prefix_cache, "compute every prompt from its beginning");
}

std::string first_adapter(const GenerationEngine& engine) {
  const std::vector<std::string> names = engine.adapters();
  return names.empty() ? "" : names.front();
}

ChosenEngine::ChosenEngine(const RuntimeModel& model, const EngineChoices& c) {
  EngineOptions options;
  options.cache_dtype = kv_cache_type(c.kv_cache);
  options.model_name = c.name, options.step_tokens = c.step_tokens, options.max_sequences = c.max_sequences;
  options.prefix_cache = !c.no_prefix_cache;
  if (!c.cache_memory.empty()) {
    const ModelConfig& config = model.model().config();
    const DType dtype = model.compute() == Compute::kF32 ? DType::kF32 : options.cache_dtype;
    options.cache_tokens = int64_t(parse_bytes(c.cache_memory)) / PagedCache::token_bytes(config, dtype);
    if (options.cache_tokens < PagedCache::kPageTokens)
      throw Error(
          "--cache-memory " + c.cache_memory + " holds no page of this model's keys and values",
          fmt::format("give at least {} bytes", PagedCache::kPageTokens * PagedCache::token_bytes(config, dtype)));
  }
  options.context_length = c.context, options.prompt_lookup = c.prompt_lookup, options.draft_tokens = c.draft_tokens;
  if (!c.draft_model.empty()) {
    draft_ =
        std::make_unique<RuntimeModel>(model.runtime(), find_model(c.draft_model),
                                       RuntimeOptions{.compute = model.compute(), .pack_cache = model.pack_cache()});
    options.draft_model = draft_.get();
  }
  engine_ = std::make_unique<LocalEngine>(model, options);
}

}  // namespace sedum::cli
