#pragma once
// Text generation as its users see it: requests go in, tokens come out as they are made.
//
//   auto id = engine.submit({.prompt = ids, .sampling = {.temperature = 0.7f, .max_tokens = 256}},
//                           [](const GenerationUpdate& u) { std::cout << u.text; });
//   engine.cancel(id);
//
// Several requests run at once; what one gets depends on its own prompt, parameters and seed alone, never on its neighbours, on what the
// prefix cache holds or on speculation.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"

namespace sedum {

class Tokenizer;
class ChatTemplate;

enum class EarlyStopping { kFalse, kTrue, kNever };  // of beam search, as GenerationConfig has it

// The names and the neutral values of Hugging Face's GenerationConfig and of OpenAI's API. Applied in this order: logit bias, repetition
// penalty, frequency and presence penalties, grammar, temperature, top-k, top-p, min-p, typical.
struct SamplingParams {
  float temperature = 1;         // 0: greedy
  int top_k = 0;                 // 0: off
  float top_p = 1;               // Holtzman et al. 2019
  float min_p = 0;               // Nguyen et al. 2024
  float typical_p = 1;           // Meister et al.: "Locally Typical Sampling", 2022
  float repetition_penalty = 1;  // Keskar et al. 2019, over prompt and answer
  float frequency_penalty = 0;   // OpenAI's, −2 … 2: subtracted for each time that the answer has the token
  float presence_penalty = 0;    // subtracted once if the answer has it
  std::vector<std::pair<int32_t, float>> logit_bias = {};  // (id, added to its logit); −100 and less bans it
  uint64_t seed = 0;                                       // answer i of n draws with seed + i
  int max_tokens = -1;                                     // −1: until the context is full
  std::vector<std::string> stop = {};  // text that ends the answer and is left out of it, also across token borders
  std::vector<int32_t> stop_ids = {};  // beside the model's own end-of-generation tokens
  bool ignore_end = false;             // go on after an end-of-generation token (benchmarks)

  int n = 1;                 // answers, at most 64
  int best_of = 0;           // make so many, return the n likeliest by log-probability per token; 0: n
  int logprobs = -1;         // of the tokens made, and of so many likeliest ones beside them (at most 20); −1: none
  int prompt_logprobs = -1;  // the same of the prompt's tokens

  // Beam search, when num_beams > 1; temperature must be 0. The n best beams come at the end, at most num_beams.
  int num_beams = 1;
  float length_penalty = 1;  // score = Σ log p / length^penalty
  EarlyStopping early_stopping = EarlyStopping::kFalse;
  int num_beam_groups = 1;      // Vijayakumar et al.: "Diverse Beam Search", 2018
  float diversity_penalty = 0;  // with groups: subtracted for each earlier group that chose the token in this step
  // Contrastive search (Su et al. 2022), when above 0: top_k candidates, (1 − α) p − α · the greatest likeness to what came before.
  float penalty_alpha = 0;
};

// What the text of an answer may be.
struct GrammarSpec {
  enum class Kind { kNone, kJson, kJsonSchema, kRegex, kChoices };
  Kind kind = Kind::kNone;
  std::string text = {};                  // the JSON schema, or the regular expression (it must match the whole answer)
  std::vector<std::string> choices = {};  // with kChoices
  bool operator==(const GrammarSpec&) const = default;
};

enum class FinishReason { kStop, kLength, kCancelled, kError };
const char* name(FinishReason reason);  // OpenAI's words: "stop", "length" …

enum class Pooling { kNone, kMean, kLastToken };

struct GenerationRequest {
  std::vector<int32_t> prompt;
  SamplingParams sampling = {};
  std::string adapter = {};  // one of adapters(); "": as the model was loaded
  GrammarSpec grammar = {};
  Pooling embedding = Pooling::kNone;  // other: no text, but the pooled last hidden state of the prompt, of length 1
};

// Log-probabilities are the model's own: of the logits before any parameter changed them.
struct TokenLogprobs {
  int32_t id = -1;
  float logprob = 0;
  std::vector<std::pair<int32_t, float>> top = {};  // (id, log-probability), likeliest first
};

struct GenerationUpdate {
  int index = 0;                                    // which of the n answers
  int32_t id = -1;                                  // the new token; −1 in an update that only finishes
  std::string text = {};                            // whole characters that became certain; may be empty
  std::optional<FinishReason> finish = {};          // set in the last update of each answer
  bool last = false;                                // the request's last update: all n answers are finished
  std::string error = {};                           // with kError
  int prompt_tokens = 0, completion_tokens = 0;     // of this answer
  int cached_tokens = 0;                            // of the prompt, found in the prefix cache
  std::optional<TokenLogprobs> logprobs = {};       // of `id`, if asked for
  std::vector<TokenLogprobs> prompt_logprobs = {};  // in the first update, if asked for; the first token has none (0)
  float score = 0;                                  // of a finished beam, or the mean log-probability with best_of
  std::vector<float> embedding = {};                // (hidden_size), in the only update
};

// Counts of values up to and including each bound, not cumulative; the last count is of those above all bounds.
struct Histogram {
  Histogram() : Histogram(std::vector<double>{}) {}
  explicit Histogram(std::vector<double> b) : bounds(std::move(b)), counts(bounds.size() + 1) {}
  void add(double value) {
    size_t i = 0;
    while (i < bounds.size() && value > bounds[i]) ++i;
    ++counts[i], ++count, sum += value;
  }
  std::vector<double> bounds;
  std::vector<uint64_t> counts;
  uint64_t count = 0;
  double sum = 0;
};

// Since the engine's start, but for those that say "now".
struct EngineStatistics {
  int64_t waiting = 0, running = 0;                                     // requests, now
  int64_t pages = 0, pages_used = 0, pages_cached = 0, pages_free = 0;  // now; cached: of nobody, but known by content
  int64_t page_tokens = 0, page_bytes = 0;
  double wasted_share = 0;  // now: of the tokens that used pages have room for, those that hold nothing
  uint64_t requests = 0, finished = 0, cancelled = 0, failed = 0, preemptions = 0, steps = 0;
  uint64_t prompt_tokens = 0, cached_tokens = 0, generated_tokens = 0;  // cached: prompt tokens that were not computed
  uint64_t drafted_tokens = 0, accepted_tokens = 0;                     // of speculation
  Histogram first_token_seconds, between_tokens_seconds, request_seconds;
};

// What submit() throws of a grammar that cannot be compiled.
struct GrammarError : Error {
  explicit GrammarError(const Error& e) : Error(e) {}
};

using RequestId = uint64_t;

class GenerationEngine {
 public:
  using Listener = std::function<void(const GenerationUpdate&)>;
  virtual ~GenerationEngine() = default;

  // Called from any thread; returns at once. The listener is called on the engine's thread and must not block. Throws Error when the prompt
  // is empty or leaves no room in the context or a parameter is out of range, GrammarError when the grammar cannot be compiled.
  virtual RequestId submit(GenerationRequest request, Listener listener) = 0;
  virtual void cancel(RequestId id) = 0;  // the listener still gets its last update; unknown ids are ignored

  virtual const Tokenizer& tokenizer() const = 0;
  virtual const ChatTemplate* chat_template() const = 0;  // null: the model has none
  virtual const std::string& model_name() const = 0;
  virtual int context_length() const = 0;
  virtual bool generates() const { return true; }                   // false: embeddings only
  virtual std::vector<std::string> adapters() const { return {}; }  // names that requests may give
  virtual EngineStatistics statistics() const { return {}; }        // from any thread
};

}  // namespace sedum
