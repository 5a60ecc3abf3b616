#pragma once
// The engine: continuous batching over paged state, in this process.
//
//   Runtime runtime;
//   RuntimeModel model(runtime, path, {.compute = Compute::kInt8});
//   LocalEngine engine(model, {});
//   Generation answer = generate(engine, request);                 // or submit() with a listener
//
// One thread makes steps (Yu et al.: "Orca", 2022; Agrawal et al.: "Sarathi-Serve", 2024): each has the rows of all lines that are decoding
// and fills up with pieces of prompts to a token budget. A prompt begins with the pages that the prefix cache knows. When pages run out, the
// youngest unit gives its pages back and is computed again later; the oldest always gets through, so nothing starves. A result never
// depends on neighbours: every kernel treats rows alone.

#include <chrono>
#include <condition_variable>
#include <deque>
#include <list>
#include <mutex>
#include <thread>

#include "infer/decoding.h"
#include "infer/drafter.h"
#include "infer/engine.h"
#include "infer/paged_cache.h"
#include "model/runtime_model.h"

namespace sedum {

struct EngineOptions {
  int64_t context_length = 0;                 // 0: the model's own, at most 32,768
  int64_t cache_tokens = 0;                   // 0: two full contexts, at most a quarter of the machine's memory
  int64_t step_tokens = 512;                  // rows of a step at most
  int64_t max_sequences = 64;                 // lines (answers, beams) computed at once; more wait
  const RuntimeModel* draft_model = nullptr;  // guesses tokens ahead; outlives the engine
  int draft_tokens = 6;                       // at most
  int prompt_lookup =
      0;  // guesses at most so many tokens from where the last ones stood before; not beside a draft model
  int64_t draft_sequences = 8;       // with more answers under way none is guessed ahead: the processor is busy already
  bool prefix_cache = true;          // find the pages of earlier prompts and answers
  DType cache_dtype = DType::kBF16;  // or kF32, kI8; kF32 with exact mode
  std::string model_name = {};       // "": the checkpoint's
};

class LocalEngine : public GenerationEngine {
 public:
  LocalEngine(const RuntimeModel& model, EngineOptions options);
  ~LocalEngine() override;  // cancels what runs

  RequestId submit(GenerationRequest request, Listener listener) override;
  void cancel(RequestId id) override;
  const Tokenizer& tokenizer() const override { return *tokenizer_; }
  const ChatTemplate* chat_template() const override { return template_.get(); }
  const std::string& model_name() const override { return options_.model_name; }
  int context_length() const override { return int(options_.context_length); }
  std::vector<std::string> adapters() const override { return model_.adapter_names(); }

  EngineStatistics statistics() const override;

 private:
  struct Request;
  // Some rows of one line in a step.
  struct Share {
    Request* request;
    Unit* unit;
    Line* line;
    int64_t rows, logit_rows;
  };
  using Plan = std::vector<Share>;
  void check(const GenerationRequest& request) const;
  std::shared_ptr<grammar::Grammar> compile(const GrammarSpec& spec);
  void run();
  void take_new_requests();
  void emit(Request& request, const GenerationUpdate& update);
  void count(Request& request, const GenerationUpdate& update);
  void count(uint64_t EngineStatistics::*counter, uint64_t n = 1);
  void draft();
  Plan plan_step();
  void plan_decoding(Plan& plan, int64_t& budget, int64_t& slots);
  void plan_prompts(Plan& plan, int64_t& budget, int64_t& slots);
  void find_prefix(Request& request, Line& line);
  bool reserve_or_preempt(Plan& plan, Request& request, Unit& unit, Line& line, int64_t rows);
  bool plan_line(Plan& plan, Request& request, Unit& unit, Line& line, int64_t rows);
  void step();
  void advance(const Plan& plan, const Variable& hidden, float* logits);
  void fail(Request& request, const std::string& error);
  void update_statistics();

  const RuntimeModel& model_;
  EngineOptions options_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::shared_ptr<const ChatTemplate> template_;
  Context context_;
  PagedCache cache_;
  std::unique_ptr<Drafter> drafter_;            // null: no guesses
  std::list<std::unique_ptr<Request>> active_;  // in order of arrival; the engine thread's own

  mutable std::mutex statistics_mutex_;  // taken last, and for the counting alone
  EngineStatistics statistics_;          // a token is counted before its listener hears of it

  std::mutex grammar_mutex_;
  std::shared_ptr<const grammar::TokenTable> token_table_;  // made when a grammar first needs it
  std::deque<std::pair<GrammarSpec, std::shared_ptr<grammar::Grammar>>> grammars_;  // compiled lately

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::unique_ptr<Request>> incoming_;
  std::vector<RequestId> cancelled_;
  RequestId next_id_ = 1;
  bool stop_ = false;
  std::thread thread_;
};

// A whole answer, for callers that wait.
struct Generation {
  std::vector<int32_t> ids;
  std::string text;
  FinishReason finish_reason = FinishReason::kStop;
  int prompt_tokens = 0, cached_tokens = 0;
  std::vector<TokenLogprobs> logprobs = {}, prompt_logprobs = {};
  float score = 0;
  std::vector<float> embedding = {};
  double first_token_seconds = 0, total_seconds = 0;
};
// All n answers of a request; on_text hears the text of the first as it comes. Error when the engine failed.
std::vector<Generation> generate_all(GenerationEngine& engine, GenerationRequest request,
                                     const std::function<void(const std::string&)>& on_text = nullptr);
// The first of them.
Generation generate(GenerationEngine& engine, GenerationRequest request,
                    const std::function<void(const std::string&)>& on_text = nullptr);

}  // namespace sedum
