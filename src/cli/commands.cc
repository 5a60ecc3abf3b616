#include "cli/command.h"

namespace sedum::cli {

#define SEDUM_COMMANDS(X)                                            \
  X(info, "the machine, or what a model's files hold")               \
  X(pull, "fetch a model, verified and resumable")                   \
  X(tokenize, "text to token ids")                                   \
  X(detokenize, "token ids to text")                                 \
  X(tokenizer, "train a tokenizer of one's own")                     \
  X(template, "a conversation as the model's prompt, exactly")       \
  X(embed, "texts to vectors, by an encoder")                        \
  X(classify, "labels of texts or words, by an encoder")             \
  X(forward, "logits of token ids, as a NumPy file")                 \
  X(generate, "one answer")                                          \
  X(chat, "a conversation in the terminal")                          \
  X(serve, "OpenAI's and Anthropic's APIs and a web page")           \
  X(feedback, "what people said of answers, as rows to train on")    \
  X(data, "inspect, clean, deduplicate, split training data")        \
  X(plan, "the memory, time and disk that a training run will take") \
  X(train, "train or fine-tune by a recipe")                         \
  X(merge, "fold an adapter into its model")                         \
  X(convert, "from one model format to another")                     \
  X(quantize, "fewer bits a weight, and what that costs")            \
  X(compile, "weights packed and products tuned for this machine")   \
  X(eval, "perplexity, and two models side by side")                 \
  X(report, "tables and plots of training runs")                     \
  X(bench, "speed of products, training, prefill and decoding")      \
  X(course, "the twelve-week course: lessons, check-in, progress")

#define SEDUM_DECLARE(NAME, SUMMARY) Run setup_##NAME(Flags app);
SEDUM_COMMANDS(SEDUM_DECLARE)
#undef SEDUM_DECLARE

const std::vector<Command>& commands() {
#define SEDUM_ENTRY(NAME, SUMMARY) {#NAME, SUMMARY, setup_##NAME},
  static const std::vector<Command> all{SEDUM_COMMANDS(SEDUM_ENTRY)};
#undef SEDUM_ENTRY
  return all;
}

}  // namespace sedum::cli
