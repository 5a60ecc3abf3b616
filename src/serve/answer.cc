#include "serve/answer.h"

#include <chrono>

namespace sedum::serve {
using openai::Failure;

namespace {
double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }
}  // namespace

Answer::Answer(http::Exchange exchange, openai::AnswerHead head, Options options)
    : exchange_(std::move(exchange)), head_(std::move(head)), options_(std::move(options)), start_(now()) {
  choices_.resize(size_t(options_.choices));
  if (options_.stream) return;
  for (size_t i = 0; i < options_.prefixes.size(); ++i) choices_[i].text = options_.prefixes[i];
}

void Answer::update(int index, const GenerationUpdate& update) {
  std::unique_lock lock(mutex_);
  if (over_) return;
  if (update.finish == FinishReason::kError || update.finish == FinishReason::kCancelled) {
    lock.unlock();
    return fail(update.finish == FinishReason::kError
                    ? Failure(500, "server_error", update.error)
                    : Failure(503, "server_error", "the server is stopping", "", "overloaded"));
  }
  if (options_.stream && !begun_) begin();
  take(index, update);
  if (finished_ == options_.choices) finish();
}

// With the first token, so that what fails before it still has a status of its own.
void Answer::begin() {
  begun_ = true;
  std::string events;
  for (int i = 0; i < options_.choices; ++i) {
    events += openai::first_event(head_, i);
    if (!options_.prefixes.empty()) events += openai::text_event(head_, i, options_.prefixes[size_t(i)]);
  }
  // A proxy in between must not wait for more before it passes a token on.
  exchange_.begin(
      {.body = events, .content_type = "text/event-stream; charset=utf-8", .headers = {{"X-Accel-Buffering", "no"}}});
}

void Answer::take(int index, const GenerationUpdate& update) {
  if (options_.stream) {
    if (!update.text.empty()) exchange_.write(openai::text_event(head_, index, update.text));
    if (update.finish) exchange_.write(openai::finish_event(head_, index, *update.finish));
  } else {
    choices_[size_t(index)].text += update.text;
    choices_[size_t(index)].finish = update.finish;
  }
  if (!update.finish) return;
  ++finished_;
  if (index % options_.choices_per_prompt == 0) usage_.prompt_tokens += update.prompt_tokens;
  usage_.completion_tokens += update.completion_tokens;
}

void Answer::finish() {
  over_ = true;
  if (options_.stream) {
    if (head_.include_usage) exchange_.write(openai::usage_event(head_, usage_));
    exchange_.write(openai::kDoneEvent);
    exchange_.finish();
  } else {
    exchange_.respond({.body = openai::whole_answer(head_, choices_, usage_)});
  }
  if (options_.done) options_.done(usage_, now() - start_);
}

void Answer::fail(const Failure& failure) {
  std::lock_guard lock(mutex_);
  if (std::exchange(over_, true)) return;
  if (begun_) {
    exchange_.write(openai::event(openai::error_json(failure)));
    exchange_.finish();
  } else {
    exchange_.respond(openai::response(failure));
  }
}

}  // namespace sedum::serve
