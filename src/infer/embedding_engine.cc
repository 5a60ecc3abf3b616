#include "infer/embedding_engine.h"

#include "base/error.h"

namespace sedum {
namespace {

constexpr size_t kAtOnce = 64;  // texts of a step

}  // namespace

EmbeddingEngine::EmbeddingEngine(Runtime& runtime, const std::filesystem::path& path, std::string name)
    : encoder_(runtime, path), name_(name.empty() ? encoder_.checkpoint().name() : std::move(name)) {
  tokenizer();  // a model without one is refused here
  thread_ = std::thread([this] { work(); });
}

EmbeddingEngine::~EmbeddingEngine() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  thread_.join();
  for (Waiting& each : waiting_) each.listener({.finish = FinishReason::kCancelled, .last = true});
}

RequestId EmbeddingEngine::submit(GenerationRequest request, Listener listener) {
  if (request.embedding == Pooling::kNone)
    throw Error("the model " + name_ + " embeds texts and writes none", "choose a model that generates");
  if (request.embedding != Pooling::kMean)
    throw Error("the model " + name_ + " pools as it was trained to", "leave pooling out");
  if (request.prompt.empty() || int64_t(request.prompt.size()) > encoder_.max_tokens())
    throw Error("the text has " + std::to_string(request.prompt.size()) + " tokens, the model takes 1 to " +
                    std::to_string(encoder_.max_tokens()),
                "shorten it");
  for (const int32_t id : request.prompt)
    if (id < 0 || id >= encoder_.checkpoint().config().vocab_size)
      throw Error("the model has no token " + std::to_string(id));
  const std::lock_guard lock(mutex_);
  waiting_.push_back({++last_, std::move(request.prompt), std::move(listener)});
  ++statistics_.requests;
  wake_.notify_one();
  return last_;
}

void EmbeddingEngine::cancel(RequestId id) {
  std::unique_lock lock(mutex_);
  for (auto it = waiting_.begin(); it != waiting_.end(); ++it)
    if (it->id == id) {
      const Listener listener = std::move(it->listener);
      waiting_.erase(it);
      ++statistics_.cancelled;
      lock.unlock();
      return listener({.finish = FinishReason::kCancelled, .last = true});
    }
}

void EmbeddingEngine::work() {
  for (;;) {
    std::vector<Waiting> some;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return stop_ || !waiting_.empty(); });
      if (stop_) return;
      for (; !waiting_.empty() && some.size() < kAtOnce; waiting_.pop_front())
        some.push_back(std::move(waiting_.front()));
    }
    answer(some);
  }
}

void EmbeddingEngine::answer(std::vector<Waiting>& some) {
  std::vector<std::vector<int32_t>> sequences;
  for (const Waiting& each : some) sequences.push_back(each.ids);
  std::vector<std::vector<float>> vectors;
  std::string problem;
  try {
    const std::lock_guard lock(computing_);
    vectors = encoder_.encode_ids(sequences);
  } catch (const std::exception& e) {
    problem = e.what();
  }
  {
    const std::lock_guard lock(mutex_);
    ++statistics_.steps;
    (problem.empty() ? statistics_.finished : statistics_.failed) += some.size();
    for (const Waiting& each : some) statistics_.prompt_tokens += each.ids.size();
  }
  for (size_t i = 0; i < some.size(); ++i) {
    GenerationUpdate update{.finish = problem.empty() ? FinishReason::kStop : FinishReason::kError, .last = true};
    update.error = problem, update.prompt_tokens = int(some[i].ids.size());
    if (problem.empty()) update.embedding = std::move(vectors[i]);
    some[i].listener(update);
  }
}

EngineStatistics EmbeddingEngine::statistics() const {
  const std::lock_guard lock(mutex_);
  EngineStatistics now = statistics_;
  now.waiting = int64_t(waiting_.size());
  return now;
}

std::vector<std::vector<float>> EmbeddingEngine::encode(const std::vector<std::string>& texts) const {
  const std::lock_guard lock(computing_);
  return encoder_.encode(texts);
}

}  // namespace sedum
