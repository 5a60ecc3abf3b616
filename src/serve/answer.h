#pragma once
// One request on its way from the engine to the client: updates come in on the engine's thread, JSON or events go out.
//
//   auto answer = std::make_shared<Answer>(exchange, chat_dialect(head), Answer::Options{.choices = 2, .stream = true});
//   engine.submit(request, [answer](const GenerationUpdate& u) { answer->update(0, u); });   // 0: the prompt's number
//
// Nothing here blocks: the engine serves others meanwhile.

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "http/server.h"
#include "infer/engine.h"
#include "serve/dialect.h"
#include "serve/reader.h"

namespace sedum::serve {

// What a request came to, for limits and figures.
struct AnswerSummary {
  Usage usage;
  double first_token_seconds = 0, seconds = 0;
};

class Answer {
 public:
  struct Options {
    int prompts = 1;
    int choices_per_prompt = 1;
    bool stream = false;
    std::vector<std::string> prefixes = {};  // text before the choices of each prompt (`echo`)
    Reader::Options reader = {};
    std::vector<std::string> stop = {};
    std::function<std::string(const std::vector<int32_t>&)> decode = {};  // to tell which stop string was hit
    std::function<void(const AnswerSummary&)> done = {};                  // also when it was cut short
    std::shared_ptr<void> place = {};                                     // held until the answer is over
  };
  Answer(http::Exchange exchange, std::unique_ptr<Dialect> dialect, Options options);
  ~Answer();

  void update(int prompt, const GenerationUpdate& update);
  void fail(const openai::Failure& failure);

 private:
  void begin();
  void take(size_t index, const GenerationUpdate& update);
  void add(size_t index, Delta delta);
  void finish_choice(size_t index, FinishReason reason);
  void finish();
  void over();

  const http::Exchange exchange_;
  const std::unique_ptr<Dialect> dialect_;
  Options options_;
  const double start_;
  std::mutex mutex_;
  std::vector<Choice> choices_;
  std::vector<Reader> readers_;
  std::vector<std::vector<TokenLogprobs>> waiting_;  // of tokens whose text has not come out
  AnswerSummary summary_;
  std::vector<int> made_;  // tokens of each choice
  size_t finished_ = 0;
  bool begun_ = false, over_ = false;
};

}  // namespace sedum::serve
