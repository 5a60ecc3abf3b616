#pragma once
// One request on its way from the engine to the client: updates come in on the engine's thread, JSON or events go out.
//
//   auto answer = std::make_shared<Answer>(exchange, head, Answer::Options{.choices = 2, .stream = true});
//   engine.submit(request, [answer](const GenerationUpdate& u) { answer->update(0, u); });
//
// Nothing here blocks: the engine serves others meanwhile.

#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "http/server.h"
#include "infer/engine.h"
#include "serve/openai/failure.h"
#include "serve/openai/response.h"

namespace sedum::serve {

class Answer {
 public:
  struct Options {
    int choices = 1;
    int choices_per_prompt = 1;  // their prompt is counted once
    bool stream = false;
    std::vector<std::string> prefixes = {};  // text before each choice (`echo`)
    std::function<void(const openai::Usage&, double seconds)> done = {};
  };
  Answer(http::Exchange exchange, openai::AnswerHead head, Options options);

  void update(int index, const GenerationUpdate& update);
  void fail(const openai::Failure& failure);

 private:
  void begin();
  void take(int index, const GenerationUpdate& update);
  void finish();

  const http::Exchange exchange_;
  const openai::AnswerHead head_;
  const Options options_;
  const double start_;
  std::mutex mutex_;
  std::vector<openai::Choice> choices_;  // text only without a stream
  openai::Usage usage_;
  int finished_ = 0;
  bool begun_ = false, over_ = false;
};

}  // namespace sedum::serve
