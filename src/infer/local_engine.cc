#include "infer/local_engine.h"

#include <algorithm>
#include <future>

#include "base/error.h"
#include "infer/local_engine_request.h"
#include "infer/sampler.h"

namespace sedum {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_between(Clock::time_point a, Clock::time_point b) {
  return std::chrono::duration<double>(b - a).count();
}

int64_t choose_context(const EngineOptions& options, const ModelConfig& config) {
  if (options.context_length > config.max_position_embeddings)
    throw Error("a context of " + std::to_string(options.context_length) + " tokens is beyond the model's " +
                    std::to_string(config.max_position_embeddings),
                "choose a smaller one");
  return options.context_length > 0 ? options.context_length : std::min<int64_t>(config.max_position_embeddings, 32768);
}

int64_t choose_pages(const EngineOptions& options, const ModelConfig& config, int64_t context) {
  const int64_t affordable = int64_t(machine_memory() / 4) / PagedCache::token_bytes(config, options.cache_dtype);
  const int64_t tokens = options.cache_tokens > 0 ? options.cache_tokens
                                                  : std::max(std::min(std::max<int64_t>(2 * context, 4096), affordable),
                                                             PagedCache::kPageTokens * int64_t{4});
  return PagedCache::pages_for(tokens);
}

// Bounds of the histograms, in seconds.
const std::vector<double> kFirstToken{0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60},
    kBetweenTokens{0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1, 5},
    kRequest{0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600};

}  // namespace

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
  options_.context_length = std::min(options_.context_length, cache_.longest(options_.step_tokens));
  if (options_.draft_model)
    drafter_ = std::make_unique<ModelDrafter>(*options_.draft_model, model_, options_.draft_tokens,
                                              cache_.page_count() * PagedCache::kPageTokens, options_.step_tokens);
  else if (options_.prompt_lookup > 0)
    drafter_ = std::make_unique<LookupDrafter>(options_.prompt_lookup);
  statistics_.first_token_seconds = Histogram(kFirstToken),
  statistics_.between_tokens_seconds = Histogram(kBetweenTokens);
  statistics_.request_seconds = Histogram(kRequest);
  update_statistics();
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

void LocalEngine::check(const GenerationRequest& request) const {
  const int64_t vocabulary = model_.model().config().vocab_size, length = int64_t(request.prompt.size());
  check_sampling(request.sampling, vocabulary);
  check_combination(request);
  model_.adapter_index(request.adapter);
  if (request.prompt.empty()) throw Error("the prompt is empty", "give at least one token");
  for (const int32_t id : request.prompt)
    if (id < 0 || id >= vocabulary)
      throw Error(
          "the prompt holds the id " + std::to_string(id) + ", the vocabulary has " + std::to_string(vocabulary),
          "use this model's own tokenizer");
  if (length >= options_.context_length + (request.embedding != Pooling::kNone))
    throw Error("the prompt has " + std::to_string(length) + " tokens, the context holds " +
                    std::to_string(options_.context_length),
                "shorten it, or choose a larger context");
  // Lines that are computed together must fit together; they share the prompt's whole pages.
  const SamplingParams& p = request.sampling;
  const int64_t lines = p.num_beams > 1 ? p.num_beams : p.penalty_alpha > 0 ? p.top_k : 1;
  if (lines == 1) return;
  const int64_t room = options_.context_length - length,
                most = p.max_tokens < 0 ? room : std::min<int64_t>(room, p.max_tokens);
  const int64_t shared = length / PagedCache::kPageTokens;
  const int64_t pages = shared + lines * (PagedCache::pages_for(length + most) - shared);
  if (pages > cache_.page_count() || lines > std::min(options_.step_tokens, options_.max_sequences))
    throw Error(std::to_string(lines) + " lines of " + std::to_string(length + most) +
                    " tokens at once are more than the engine has room for",
                "set max_tokens or the number of beams or candidates lower");
}

// On the thread that submits: the engine goes on meanwhile.
std::shared_ptr<grammar::Grammar> LocalEngine::compile(const GrammarSpec& spec) {
  if (spec.kind == GrammarSpec::Kind::kNone) return nullptr;
  std::lock_guard lock(grammar_mutex_);
  for (const auto& [known, grammar] : grammars_)
    if (known == spec) return grammar;
  if (!token_table_)
    token_table_ = std::make_shared<grammar::TokenTable>(*tokenizer_, model_.model().config().vocab_size);
  auto grammar = grammar::Grammar::compile(spec, token_table_);
  if (grammars_.size() >= 16) grammars_.pop_front();
  grammars_.emplace_back(spec, grammar);
  return grammar;
}

RequestId LocalEngine::submit(GenerationRequest request, Listener listener) {
  check(request);
  auto grammar = compile(request.grammar);
  auto waiting = std::make_unique<Request>();
  Request* const r = waiting.get();
  r->listener = std::move(listener);
  r->last_token.resize(size_t(request.sampling.n));
  r->adapter = model_.adapter_index(request.adapter);
  const ModelConfig& config = model_.model().config();
  r->decoding = make_decoding(
      {*tokenizer_, cache_, options_.context_length, config.vocab_size, config.hidden_size, std::move(grammar)},
      std::move(request), [this, r](const GenerationUpdate& update) { emit(*r, update); });
  std::lock_guard lock(mutex_);
  r->id = next_id_++;
  incoming_.push_back(std::move(waiting));
  wake_.notify_one();
  return r->id;
}

void LocalEngine::cancel(RequestId id) {
  std::lock_guard lock(mutex_);
  cancelled_.push_back(id);
  wake_.notify_one();
}

EngineStatistics LocalEngine::statistics() const {
  std::scoped_lock lock(mutex_, statistics_mutex_);
  EngineStatistics now = statistics_;
  now.waiting += int64_t(incoming_.size()), now.requests += incoming_.size();
  return now;
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
      for (auto& request : active_)
        if (!request->decoding->finished()) fail(*request, e.what());
    }
    active_.remove_if([](const auto& request) { return request->decoding->finished(); });
    update_statistics();
  }
  for (auto& request : active_)
    if (!request->decoding->finished()) request->decoding->abort(FinishReason::kCancelled, "");
  active_.clear();
}

// With the lock held; listeners are called all the same: they must not call back.
void LocalEngine::take_new_requests() {
  count(&EngineStatistics::requests, incoming_.size());
  for (auto& request : incoming_) active_.push_back(std::move(request));
  incoming_.clear();
  for (const RequestId id : std::exchange(cancelled_, {}))
    for (auto& request : active_)
      if (request->id == id && !request->decoding->finished()) request->decoding->abort(FinishReason::kCancelled, "");
  active_.remove_if([](const auto& request) { return request->decoding->finished(); });
}

void LocalEngine::fail(Request& request, const std::string& error) {
  request.decoding->abort(FinishReason::kError, error);
  if (request.decoding->request().grammar.kind == GrammarSpec::Kind::kNone) return;
  std::lock_guard lock(grammar_mutex_);  // perhaps it grew too large: the next one begins anew
  std::erase_if(grammars_, [&](const auto& each) { return each.first == request.decoding->request().grammar; });
}

void LocalEngine::emit(Request& request, const GenerationUpdate& update) {
  count(request, update);
  request.listener(update);
}

void LocalEngine::count(uint64_t EngineStatistics::*counter, uint64_t n) {
  std::lock_guard counting(statistics_mutex_);
  statistics_.*counter += n;
}

void LocalEngine::count(Request& request, const GenerationUpdate& update) {
  const Clock::time_point now = Clock::now();
  std::lock_guard counting(statistics_mutex_);
  EngineStatistics& s = statistics_;
  if (update.id >= 0) {
    ++s.generated_tokens;
    Clock::time_point& last = request.last_token[size_t(update.index)];
    if (last == Clock::time_point{})
      s.first_token_seconds.add(seconds_between(request.arrival, now));
    else
      s.between_tokens_seconds.add(seconds_between(last, now));
    last = now;
  }
  if (update.last) {
    s.request_seconds.add(seconds_between(request.arrival, now));
    ++(update.finish == FinishReason::kCancelled ? s.cancelled
       : update.finish == FinishReason::kError   ? s.failed
                                                 : s.finished);
  }
}

void LocalEngine::update_statistics() {
  std::lock_guard counting(statistics_mutex_);
  EngineStatistics& s = statistics_;
  s.waiting = s.running = 0;
  int64_t stored = 0, room = 0;
  for (const auto& request : active_) {
    int64_t length = 0;
    for (const Unit& unit : request->decoding->units())
      for (const auto& line : unit.lines) {
        length += line->state.length;
        const PagedSequence& held = line->state;
        stored += held.length - held.first * PagedCache::kPageTokens, room += held.held() * PagedCache::kPageTokens;
      }
    ++(length > 0 ? s.running : s.waiting);
  }
  s.pages = cache_.page_count(), s.pages_cached = cache_.cached_pages();
  s.pages_free = cache_.free_pages() - s.pages_cached, s.pages_used = s.pages - s.pages_free - s.pages_cached;
  s.page_tokens = PagedCache::kPageTokens, s.page_bytes = cache_.page_bytes();
  s.wasted_share = room > 0 ? 1 - double(stored) / double(room) : 0;
}

// A whole answer.
std::vector<Generation> generate_all(GenerationEngine& engine, GenerationRequest request,
                                     const std::function<void(const std::string&)>& on_text) {
  const auto start = Clock::now();
  const auto since = [&] { return seconds_between(start, Clock::now()); };
  std::vector<Generation> results(size_t(std::max(1, request.sampling.n)));
  std::promise<void> done;
  engine.submit(std::move(request), [&](const GenerationUpdate& update) {
    Generation& result = results[size_t(update.index)];
    if (update.id >= 0) {
      if (result.ids.empty()) result.first_token_seconds = since();
      result.ids.push_back(update.id);
    }
    if (update.logprobs) result.logprobs.push_back(*update.logprobs);
    if (!update.prompt_logprobs.empty()) result.prompt_logprobs = update.prompt_logprobs;
    result.text += update.text;
    if (on_text && update.index == 0 && !update.text.empty()) on_text(update.text);
    if (update.finish) {
      result.finish_reason = *update.finish, result.prompt_tokens = update.prompt_tokens;
      result.cached_tokens = update.cached_tokens, result.score = update.score, result.embedding = update.embedding;
      result.total_seconds = since();
    }
    if (!update.last) return;
    if (*update.finish == FinishReason::kError)
      done.set_exception(std::make_exception_ptr(Error(update.error)));
    else
      done.set_value();
  });
  done.get_future().get();
  return results;
}

Generation generate(GenerationEngine& engine, GenerationRequest request,
                    const std::function<void(const std::string&)>& on_text) {
  return generate_all(engine, std::move(request), on_text)[0];
}

}  // namespace sedum
