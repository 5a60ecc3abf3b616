#include "infer/local_engine.h"

#include <algorithm>
#include <chrono>
#include <future>

#include "base/error.h"
#include "infer/stop_text.h"

namespace sedum {

const char* name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kError:
      return "error";
  }
  return "?";
}

struct LocalEngine::Sequence {
  Sequence(RequestId number, GenerationRequest r, Listener l, const Tokenizer& tokenizer)
      : id(number),
        request(std::move(r)),
        listener(std::move(l)),
        tokens(request.prompt),
        decoder(tokenizer),
        stop(request.sampling.stop),
        sampler(request.sampling) {}

  int64_t pending() const { return int64_t(tokens.size()) - state.length; }  // tokens that are not in the cache yet
  int made() const { return int(tokens.size() - request.prompt.size()); }

  RequestId id;
  GenerationRequest request;
  Listener listener;
  std::vector<int32_t> tokens;  // prompt and answer
  PagedSequence state;
  StreamDecoder decoder;
  StopText stop;
  Sampler sampler;
  bool finished = false;
};

namespace {

int64_t choose_context(const EngineOptions& options, const ModelConfig& config) {
  if (options.context_length > config.max_position_embeddings)
    throw Error("a context of " + std::to_string(options.context_length) + " tokens is beyond the model's " +
                    std::to_string(config.max_position_embeddings),
                "choose a smaller one");
  return options.context_length > 0 ? options.context_length : std::min<int64_t>(config.max_position_embeddings, 32768);
}

int64_t choose_pages(const EngineOptions& options, const ModelConfig& config, int64_t context) {
  const int64_t token_bytes = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim *
                              int64_t(row_bytes(options.cache_dtype, 1));
  const int64_t affordable = int64_t(machine_memory() / 4) / token_bytes;
  const int64_t tokens = options.cache_tokens > 0
                             ? options.cache_tokens
                             : std::max(std::min(2 * context, affordable), PagedCache::kPageTokens * int64_t{4});
  return PagedCache::pages_for(tokens);
}

}  // namespace

LocalEngine::LocalEngine(const RuntimeModel& model, EngineOptions options)
    : model_(model),
      options_([&] {
        options.context_length = choose_context(options, model.model().config());
        if (options.model_name.empty()) options.model_name = model.checkpoint().name();
        if (model.compute() == Compute::kF32) options.cache_dtype = DType::kF32;
        return options;
      }()),
      tokenizer_(model.checkpoint().tokenizer()),
      template_(model.checkpoint().chat_template()),
      context_(model.runtime().context(model.compute())),
      cache_(model.runtime().arena, model.model().config(), options_.cache_dtype,
             choose_pages(options_, model.model().config(), options_.context_length)) {
  // A cache smaller than the context bounds it: a sequence that could not be finished must not be begun.
  options_.context_length = std::min(options_.context_length, cache_.page_count() * PagedCache::kPageTokens);
  thread_ = std::thread([this] { run(); });
}

LocalEngine::~LocalEngine() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

namespace {
// What the engine cannot do yet is refused.
void refuse_missing(const GenerationRequest& r) {
  const SamplingParams& p = r.sampling;
  const auto refuse = [](bool used, const char* what) {
    if (used) throw Error(std::string(what) + " cannot be served yet", "leave it out");
  };
  refuse(p.typical_p != 1, "typical_p");
  refuse(p.frequency_penalty != 0, "frequency_penalty");
  refuse(p.presence_penalty != 0, "presence_penalty");
  refuse(!p.logit_bias.empty(), "logit_bias");
  refuse(p.n != 1, "n");
  refuse(p.best_of > 1, "best_of");
  refuse(p.logprobs >= 0, "logprobs");
  refuse(p.prompt_logprobs >= 0, "prompt_logprobs");
  refuse(p.num_beams != 1, "num_beams");
  refuse(p.penalty_alpha != 0, "penalty_alpha");
  refuse(!r.adapter.empty(), "adapter");
  refuse(r.grammar.kind != GrammarSpec::Kind::kNone, "a grammar");
  refuse(r.embedding != Pooling::kNone, "an embedding");
}
}  // namespace

RequestId LocalEngine::submit(GenerationRequest request, Listener listener) {
  const int64_t vocabulary = model_.model().config().vocab_size;
  check_sampling(request.sampling, vocabulary);
  refuse_missing(request);
  if (request.prompt.empty()) throw Error("the prompt is empty", "give at least one token");
  for (const int32_t id : request.prompt)
    if (id < 0 || id >= vocabulary)
      throw Error(
          "the prompt holds the id " + std::to_string(id) + ", the vocabulary has " + std::to_string(vocabulary),
          "use this model's own tokenizer");
  if (int64_t(request.prompt.size()) >= options_.context_length)
    throw Error("the prompt has " + std::to_string(request.prompt.size()) + " tokens, the context holds " +
                    std::to_string(options_.context_length),
                "shorten it, or choose a larger context");
  std::lock_guard lock(mutex_);
  const RequestId id = next_id_++;
  incoming_.push_back(std::make_unique<Sequence>(id, std::move(request), std::move(listener), *tokenizer_));
  wake_.notify_one();
  return id;
}

void LocalEngine::cancel(RequestId id) {
  std::lock_guard lock(mutex_);
  cancelled_.push_back(id);
  wake_.notify_one();
}

void LocalEngine::run() {
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return stop_ || !incoming_.empty() || !active_.empty() || !cancelled_.empty(); });
      take_new_requests();
      if (stop_) break;
    }
    try {
      step();
    } catch (const std::exception& e) {
      for (auto& sequence : active_)
        if (!sequence->finished) finish(*sequence, FinishReason::kError, e.what());
    }
    active_.remove_if([](const auto& sequence) { return sequence->finished; });
  }
  for (auto& sequence : active_) finish(*sequence, FinishReason::kCancelled);
  active_.clear();
}

void LocalEngine::take_new_requests() {
  for (auto& sequence : incoming_) active_.push_back(std::move(sequence));
  incoming_.clear();
  for (const RequestId id : cancelled_)
    for (auto& sequence : active_)
      if (sequence->id == id && !sequence->finished) finish(*sequence, FinishReason::kCancelled);
  cancelled_.clear();
  active_.remove_if([](const auto& sequence) { return sequence->finished; });
}

// Takes pages from the youngest others until there are enough; false when this sequence must wait itself.
bool LocalEngine::reserve_or_preempt(Sequence& sequence, int64_t rows) {
  while (!cache_.reserve(sequence.state, rows)) {
    const auto victim =
        std::find_if(active_.rbegin(), active_.rend(), [](const auto& s) { return !s->state.pages.empty(); });
    if (victim == active_.rend() || victim->get() == &sequence) return false;
    // Only younger ones: the oldest always gets through, so nothing starves.
    const bool younger = std::find_if(active_.begin(), active_.end(), [&](const auto& s) {
                           return s.get() == &sequence || s == *victim;
                         })->get() == &sequence;
    if (!younger) return false;
    cache_.release((*victim)->state);
  }
  return true;
}

std::vector<PagedStep::Part> LocalEngine::plan_step(std::vector<Sequence*>& chosen) {
  int64_t budget = options_.step_tokens, slots = options_.max_sequences;
  std::vector<PagedStep::Part> parts;
  for (auto& sequence : active_) {
    if (budget == 0 || slots == 0) break;
    const int64_t rows = std::min(sequence->pending(), budget);
    if (!reserve_or_preempt(*sequence, rows)) break;
    parts.push_back({&sequence->state, rows});
    chosen.push_back(sequence.get());
    budget -= rows, --slots;
  }
  return parts;
}

void LocalEngine::step() {
  std::vector<Sequence*> chosen;
  const std::vector<PagedStep::Part> parts = plan_step(chosen);
  if (chosen.empty()) return;
  auto ids = std::make_shared<std::vector<int32_t>>();
  auto ends = std::make_shared<std::vector<int32_t>>();  // rows whose logits are wanted
  std::vector<Sequence*> sampling;
  Batch batch;
  for (size_t i = 0; i < chosen.size(); ++i) {
    Sequence& s = *chosen[i];
    for (int64_t r = 0; r < parts[i].rows; ++r) {
      ids->push_back(s.tokens[size_t(s.state.length + r)]);
      batch.positions.push_back(int32_t(s.state.length + r));
    }
    if (parts[i].rows == s.pending()) ends->push_back(int32_t(ids->size()) - 1), sampling.push_back(&s);
  }
  batch.ids = std::move(ids);
  PagedStep state(cache_, parts);
  batch.state = &state;
  const Variable hidden = model_.model().hidden_states(context_, batch);
  state.commit();
  if (sampling.empty()) return;
  Variable logits = model_.model().logits(context_, ops::select_rows(context_, hidden, ends));
  const size_t vocabulary = size_t(logits.shape()[1]);
  for (size_t i = 0; i < sampling.size(); ++i) {
    Sequence& s = *sampling[i];
    accept(s,
           s.sampler.sample({logits.value().data<float>() + i * vocabulary, vocabulary}, s.tokens, uint64_t(s.made())));
  }
}

void LocalEngine::accept(Sequence& s, int32_t id) {
  const SamplingParams& sampling = s.request.sampling;
  s.tokens.push_back(id);
  const bool chosen_end = std::find(sampling.stop_ids.begin(), sampling.stop_ids.end(), id) != sampling.stop_ids.end();
  const bool end = chosen_end || (!sampling.ignore_end && tokenizer_->ends_generation(id));
  GenerationUpdate update{.id = id, .prompt_tokens = int(s.request.prompt.size()), .completion_tokens = s.made()};
  if (!end)
    update.text = s.stop.push(id < tokenizer_->vocab_size() ? s.decoder.push(id)
                                                            : "");  // tables may be padded beyond the vocabulary
  if (end || s.stop.found()) {
    s.listener(update);
    return finish(s, FinishReason::kStop);
  }
  s.listener(update);
  if (s.made() == sampling.max_tokens || int64_t(s.tokens.size()) >= options_.context_length)
    finish(s, FinishReason::kLength);
}

void LocalEngine::finish(Sequence& s, FinishReason reason, const std::string& error) {
  s.finished = true;
  cache_.release(s.state);
  GenerationUpdate update{.finish = reason,
                          .last = true,
                          .error = error,
                          .prompt_tokens = int(s.request.prompt.size()),
                          .completion_tokens = s.made()};
  if (!s.stop.found()) update.text = s.stop.push(s.decoder.finish()) + s.stop.finish();
  s.listener(update);
}

Generation generate(GenerationEngine& engine, GenerationRequest request,
                    const std::function<void(const std::string&)>& on_text) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  const auto since = [&] { return std::chrono::duration<double>(Clock::now() - start).count(); };
  Generation result;
  std::promise<void> done;
  engine.submit(std::move(request), [&](const GenerationUpdate& update) {
    if (update.id >= 0) {
      if (result.ids.empty()) result.first_token_seconds = since();
      result.ids.push_back(update.id);
    }
    result.text += update.text;
    if (on_text && !update.text.empty()) on_text(update.text);
    if (!update.finish) return;
    result.finish_reason = *update.finish, result.prompt_tokens = update.prompt_tokens;
    result.total_seconds = since();
    if (*update.finish == FinishReason::kError)
      done.set_exception(std::make_exception_ptr(Error(update.error)));
    else
      done.set_value();
  });
  done.get_future().get();
  return result;
}

}  // namespace sedum
