#include "serve/answer.h"

#include <chrono>

namespace sedum::serve {
using openai::Failure;

namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// The engine leaves the stop string out of the text: it stands where the tokens, read as they are, hold it first.
std::string find_stop(const std::string& text, const std::vector<std::string>& stops) {
  std::string found;
  size_t first = std::string::npos;
  for (const std::string& stop : stops) {
    const size_t at = text.find(stop);
    if (at < first) first = at, found = stop;
  }
  return found;
}

}  // namespace

Answer::Answer(http::Exchange exchange, std::unique_ptr<Dialect> dialect, Options options)
    : exchange_(std::move(exchange)), dialect_(std::move(dialect)), options_(std::move(options)), start_(now()) {
  const size_t count = size_t(options_.prompts * options_.choices_per_prompt);
  choices_.resize(count), waiting_.resize(count), made_.resize(count);
  for (size_t i = 0; i < count; ++i) {
    readers_.emplace_back(options_.reader);
    if (!options_.prefixes.empty()) choices_[i].prefix = options_.prefixes[i / size_t(options_.choices_per_prompt)];
  }
}

Answer::~Answer() { over(); }

void Answer::update(int prompt, const GenerationUpdate& update) {
  std::unique_lock lock(mutex_);
  if (over_) return;
  if (update.finish == FinishReason::kError || update.finish == FinishReason::kCancelled) {
    lock.unlock();
    return fail(update.finish == FinishReason::kError
                    ? Failure(500, "server_error", update.error)
                    : Failure(503, "server_error", "the server is stopping", "", "overloaded"));
  }
  if (summary_.first_token_seconds == 0) summary_.first_token_seconds = now() - start_;
  const size_t base = size_t(prompt * options_.choices_per_prompt);
  if (!update.prompt_logprobs.empty())
    for (int i = 0; i < options_.choices_per_prompt; ++i)
      choices_[base + size_t(i)].prompt_logprobs = update.prompt_logprobs;
  if (options_.stream && !begun_) begin();
  take(base + size_t(update.index), update);
  if (update.last) {
    summary_.usage.prompt_tokens += update.prompt_tokens;
    summary_.usage.cached_tokens += update.cached_tokens;
  }
  if (finished_ == choices_.size() && update.last) finish();
}

// With the first token, so that what fails before it still has a status of its own.
void Answer::begin() {
  begun_ = true;
  // A proxy in between must not wait for more before it passes a token on.
  exchange_.begin({.body = dialect_->begin(choices_),
                   .content_type = "text/event-stream; charset=utf-8",
                   .headers = {{"X-Accel-Buffering", "no"}}});
}

void Answer::take(size_t index, const GenerationUpdate& update) {
  Choice& choice = choices_[index];
  if (update.id >= 0) choice.ids.push_back(update.id);
  if (update.logprobs) waiting_[index].push_back(*update.logprobs);
  summary_.usage.completion_tokens += update.completion_tokens - made_[index];
  made_[index] = update.completion_tokens;
  if (!update.text.empty()) add(index, readers_[index].push(update.text));
  if (!update.finish) return;
  add(index, readers_[index].finish());
  finish_choice(index, *update.finish);
}

void Answer::add(size_t index, Delta delta) {
  Choice& choice = choices_[index];
  // The probabilities of tokens that reasoning or calls were made of belong to no content.
  if (!delta.content.empty()) delta.logprobs = std::move(waiting_[index]);
  if (!delta.empty()) waiting_[index].clear();
  if (delta.empty()) return;
  choice.reasoning += delta.reasoning, choice.content += delta.content;
  choice.logprobs.insert(choice.logprobs.end(), delta.logprobs.begin(), delta.logprobs.end());
  for (const Delta::CallPart& part : delta.calls) {
    if (!part.id.empty()) choice.calls.push_back({part.id, part.name, ""});
    choice.calls.back().arguments += part.arguments;
  }
  if (options_.stream) exchange_.write(dialect_->delta(int(index), delta));
}

void Answer::finish_choice(size_t index, FinishReason reason) {
  Choice& choice = choices_[index];
  if (!waiting_[index].empty()) {  // of the token that ended it
    Delta rest;
    rest.logprobs = std::move(waiting_[index]);
    waiting_[index].clear();
    choice.logprobs.insert(choice.logprobs.end(), rest.logprobs.begin(), rest.logprobs.end());
    if (options_.stream && choice.calls.empty()) exchange_.write(dialect_->delta(int(index), rest));
  }
  choice.finish = reason == FinishReason::kLength ? "length" : choice.calls.empty() ? "stop" : "tool_calls";
  if (choice.finish == "stop" && !options_.stop.empty() && options_.decode)
    choice.stop_string = find_stop(options_.decode(choice.ids), options_.stop);
  if (options_.stream) exchange_.write(dialect_->finish(int(index), choice));
  ++finished_;
}

void Answer::finish() {
  over();
  if (options_.stream) {
    exchange_.write(dialect_->end(choices_, summary_.usage));
    exchange_.finish();
  } else {
    exchange_.respond({.body = dialect_->whole(choices_, summary_.usage)});
  }
}

void Answer::fail(const Failure& failure) {
  std::lock_guard lock(mutex_);
  if (over_) return;
  exchange_.note("error", failure.what());
  over();
  if (begun_) {
    exchange_.write(dialect_->failure_event(failure));
    exchange_.finish();
  } else {
    exchange_.respond(dialect_->failure(failure));
  }
}

// Before the last bytes go out: whoever has the whole answer may look at figures and limits at once.
void Answer::over() {
  if (std::exchange(over_, true)) return;
  summary_.seconds = now() - start_;
  exchange_.note("prompt_tokens", summary_.usage.prompt_tokens);
  exchange_.note("cached_tokens", summary_.usage.cached_tokens);
  exchange_.note("completion_tokens", summary_.usage.completion_tokens);
  exchange_.note("first_token_seconds", summary_.first_token_seconds);
  if (options_.done) options_.done(summary_);
  options_.place.reset();
}

}  // namespace sedum::serve
