#pragma once
// An encoder behind the interface that servers speak to: requests for embeddings are answered, others refused.
//
//   EmbeddingEngine engine(runtime, "all-MiniLM-L6-v2");
//   engine.submit({.prompt = ids, .embedding = Pooling::kMean}, listener);

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "infer/engine.h"
#include "model/sentence_encoder.h"

namespace sedum {

class EmbeddingEngine : public GenerationEngine {
 public:
  EmbeddingEngine(Runtime& runtime, const std::filesystem::path& path, std::string name = "");
  ~EmbeddingEngine() override;  // what waits is cancelled

  RequestId submit(GenerationRequest request, Listener listener) override;
  void cancel(RequestId id) override;
  const Tokenizer& tokenizer() const override { return *encoder_.checkpoint().tokenizer(); }
  const ChatTemplate* chat_template() const override { return nullptr; }
  const std::string& model_name() const override { return name_; }
  int context_length() const override { return int(encoder_.max_tokens()); }
  bool generates() const override { return false; }
  EngineStatistics statistics() const override;

  // The same for callers in the program.
  std::vector<std::vector<float>> encode(const std::vector<std::string>& texts) const;

 private:
  struct Waiting {
    RequestId id;
    std::vector<int32_t> ids;
    Listener listener;
  };
  void work();
  void answer(std::vector<Waiting>& some);

  SentenceEncoder encoder_;
  std::string name_;
  mutable std::mutex computing_;  // held while the encoder computes
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Waiting> waiting_;
  EngineStatistics statistics_;
  RequestId last_ = 0;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace sedum
