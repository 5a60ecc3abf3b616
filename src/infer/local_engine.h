#pragma once
// The engine: continuous batching over paged state, in this process.
//
//   Runtime runtime;
//   RuntimeModel model(runtime, path, {.compute = Compute::kInt8});
//   LocalEngine engine(model, {});
//   Generation answer = generate(engine, request);                 // or submit() with a listener
//
// One thread makes steps: each step has one row for every sequence that is decoding and fills up with prompt chunks to a token budget
// (Yu et al.: "Orca", 2022; Agrawal et al.: "Sarathi-Serve", 2024). When pages run out, the youngest sequence gives its pages back and is
// computed again later. A result never depends on neighbours: every kernel treats rows alone.

#include <condition_variable>
#include <deque>
#include <list>
#include <mutex>
#include <thread>

#include "infer/engine.h"
#include "infer/paged_cache.h"
#include "infer/sampler.h"
#include "model/runtime_model.h"

namespace sedum {

struct EngineOptions {
  int64_t context_length = 0;        // 0: the model's own, at most 32,768
  int64_t cache_tokens = 0;          // 0: two full contexts, at most a quarter of the machine's memory
  int64_t step_tokens = 512;         // rows of a step at most
  int64_t max_sequences = 64;        // running at once; more wait
  DType cache_dtype = DType::kBF16;  // kF32 with exact mode
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

 private:
  struct Sequence;
  void run();
  void take_new_requests();
  std::vector<PagedStep::Part> plan_step(std::vector<Sequence*>& chosen);
  bool reserve_or_preempt(Sequence& sequence, int64_t rows);
  void step();
  void accept(Sequence& sequence, int32_t id);
  void finish(Sequence& sequence, FinishReason reason, const std::string& error = "");

  const RuntimeModel& model_;
  EngineOptions options_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::shared_ptr<const ChatTemplate> template_;
  Context context_;
  PagedCache cache_;
  std::list<std::unique_ptr<Sequence>> active_;  // in order of arrival; the engine thread's own

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::unique_ptr<Sequence>> incoming_;
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
  int prompt_tokens = 0;
  double first_token_seconds = 0, total_seconds = 0;
};
// on_text hears the text as it comes; Error when the engine failed.
Generation generate(GenerationEngine& engine, GenerationRequest request,
                    const std::function<void(const std::string&)>& on_text = nullptr);

}  // namespace sedum
