#pragma once
// An answer's text as its tokens come: whole characters, without what a stop string cuts off.
//
//   AnswerText text(tokenizer, sampling.stop);
//   update.text = text.push(id); if (text.stopped()) …
//   update.text = text.finish();                       // what was held back

#include <string>
#include <vector>

#include "infer/stop_text.h"
#include "text/tokenizer.h"

namespace sedum {

class AnswerText {
 public:
  AnswerText(const Tokenizer& tokenizer, std::vector<std::string> stops)
      : tokenizer_(&tokenizer), decoder_(tokenizer), stop_(std::move(stops)) {}
  // Tables may be padded beyond the vocabulary: such ids have no text.
  std::string push(int32_t id) { return stop_.push(id < tokenizer_->vocab_size() ? decoder_.push(id) : ""); }
  std::string finish() { return stop_.found() ? "" : stop_.push(decoder_.finish()) + stop_.finish(); }
  bool stopped() const { return stop_.found(); }

 private:
  const Tokenizer* tokenizer_;
  StreamDecoder decoder_;
  StopText stop_;
};

}  // namespace sedum
