#pragma once
// Text generation as its users see it: requests go in, tokens come out as they are made.
//
//   auto id = engine.submit({.prompt = ids, .sampling = {.temperature = 0.7f, .max_tokens = 256}},
//                           [](const GenerationUpdate& u) { std::cout << u.text; });
//   engine.cancel(id);
//
// Several requests run at once; what one gets depends on its own prompt, parameters and seed alone, never on its neighbours.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace sedum {

class Tokenizer;
class ChatTemplate;

// The names and the neutral values of Hugging Face's GenerationConfig. Applied in this order: repetition penalty, temperature,
// top-k, top-p, min-p.
struct SamplingParams {
  float temperature = 1;         // 0: greedy
  int top_k = 0;                 // 0: off
  float top_p = 1;               // Holtzman et al. 2019
  float min_p = 0;               // Nguyen et al. 2024
  float repetition_penalty = 1;  // Keskar et al. 2019, over prompt and answer
  uint64_t seed = 0;
  int max_tokens = -1;                 // −1: until the context is full
  std::vector<std::string> stop = {};  // text that ends the answer and is left out of it, also across token borders
  std::vector<int32_t> stop_ids = {};  // beside the model's own end-of-generation tokens
  bool ignore_end = false;             // go on after an end-of-generation token (benchmarks)
};

enum class FinishReason { kStop, kLength, kCancelled, kError };
const char* name(FinishReason reason);  // OpenAI's words: "stop", "length" …

struct GenerationRequest {
  std::vector<int32_t> prompt;
  SamplingParams sampling;
};

struct GenerationUpdate {
  int32_t id = -1;                          // the new token; −1 in an update that only finishes
  std::string text = {};                    // whole characters that became certain; may be empty
  std::optional<FinishReason> finish = {};  // set in the last update
  std::string error = {};                   // with kError
  int prompt_tokens = 0, completion_tokens = 0;
};

using RequestId = uint64_t;

class GenerationEngine {
 public:
  using Listener = std::function<void(const GenerationUpdate&)>;
  virtual ~GenerationEngine() = default;

  // Called from any thread; returns at once. The listener is called on the engine's thread and must not block. Throws Error when the prompt
  // is empty or leaves no room in the context, or a parameter is out of range.
  virtual RequestId submit(GenerationRequest request, Listener listener) = 0;
  virtual void cancel(RequestId id) = 0;  // the listener still gets its last update; unknown ids are ignored

  virtual const Tokenizer& tokenizer() const = 0;
  virtual const ChatTemplate* chat_template() const = 0;  // null: the model has none
  virtual const std::string& model_name() const = 0;
  virtual int context_length() const = 0;
};

}  // namespace sedum
