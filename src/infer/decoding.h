#pragma once
// What becomes of a request's logits: the part of the engine that differs between sampling, beam search, contrastive search and
// embeddings. The engine's steps compute lines; a Decoding says which rows' logits it wants and what to compute next.
//
//   auto decoding = make_decoding(setting, request, emit);
//   … a step computes rows of the lines of decoding->units() …
//   decoding->advance(unit, computed);                        // new tokens are on the lines, updates went out
//
// A unit is what must be computed together: one line of an answer that is sampled, or all beams of a search.

#include <list>
#include <memory>

#include "infer/answer_text.h"
#include "infer/engine.h"
#include "infer/grammar/grammar.h"
#include "infer/paged_cache.h"

namespace sedum {

class Sampler;

// What a draft model has computed of a line; gives its pages back.
struct DraftState {
  explicit DraftState(PagedCache& c) : cache(c) {}
  ~DraftState() { cache.release(pages); }
  DraftState(const DraftState&) = delete;
  DraftState& operator=(const DraftState&) = delete;
  PagedCache& cache;
  PagedSequence pages;
  std::vector<int32_t> tokens = {};  // computed, or in the step at hand
};

// Tokens, and how many of them are computed.
struct Line {
  std::vector<int32_t> tokens;
  PagedSequence state;
  int drafted = 0;  // tokens at the end that are guesses, to be judged in the next step
  std::unique_ptr<DraftState> draft = nullptr;
  int next_draft = 4;        // guesses to make next time: more after success, fewer after failure
  bool use_prefixes = true;  // may begin with pages from the prefix cache
  int64_t pending() const { return int64_t(tokens.size()) - state.length; }
};

struct Unit {
  std::vector<std::unique_ptr<Line>> lines;
  int answer = 0;  // which one, with sampling
  // Where guesses may be put on its only line: who draws, and how many tokens the answer has.
  Sampler* sampler = nullptr;
  const int* made = nullptr;
  // All lines lack nothing but the tokens whose logits come next.
  bool decoding() const;
};

// Rows of one line that a step computed.
struct Computed {
  Line* line;
  int64_t begin, rows;      // positions
  const float* hidden;      // (rows, hidden_size)
  std::span<float> logits;  // of the last rows, as asked for; may be changed
};

// What decodings share of their engine.
struct DecodingSetting {
  const Tokenizer& tokenizer;
  PagedCache& cache;
  int64_t context_length, vocab_size, hidden_size;
  std::shared_ptr<grammar::Grammar> grammar = nullptr;  // of this request; null: none
};

using Emit = std::function<void(GenerationUpdate)>;

class Decoding {
 public:
  Decoding(const DecodingSetting& setting, GenerationRequest request, Emit emit);
  virtual ~Decoding() = default;
  // Of the rows [begin, begin + rows) of a line, the last so many need logits.
  virtual int64_t logit_rows(const Line& line, int64_t begin, int64_t rows) const;
  virtual int64_t most_rows() const { return INT64_MAX; }  // in a step of one line
  // Called after each step with what it computed of the unit. Lines may have tokens pending still: a prompt comes in pieces.
  virtual void advance(Unit& unit, std::span<const Computed> computed) = 0;
  // Ends what is not ended.
  virtual void abort(FinishReason reason, const std::string& error);

  const GenerationRequest& request() const { return request_; }
  std::list<Unit>& units() { return units_; }
  bool finished() const { return open_ == 0; }
  void release();          // all pages
  int cached_tokens = -1;  // −1: not known yet
  int64_t drafted_tokens = 0, accepted_tokens = 0;

 protected:
  void send(GenerationUpdate update);            // completes what all updates have
  void send_finish(GenerationUpdate update);     // counts the answers
  std::unique_ptr<Line> new_line() const;        // with the prompt
  void drop(Line& line);                         // its pages
  std::unique_ptr<Line> fork(const Line& line);  // shares pages
  bool is_end(int32_t id) const;
  int64_t most_tokens() const;  // of an answer

  const DecodingSetting setting_;
  const GenerationRequest request_;
  const Emit emit_;
  std::list<Unit> units_;
  int open_;  // answers that are not finished
};

// Throws Error for combinations that make no sense.
void check_combination(const GenerationRequest& request);
std::unique_ptr<Decoding> make_decoding(const DecodingSetting& setting, GenerationRequest request, Emit emit);

// log softmax of one row: the value that log-probabilities are counted from, and those of the likeliest tokens.
double log_sum_exp(std::span<const float> logits);
TokenLogprobs token_logprobs(std::span<const float> logits, int32_t id, int top);

}  // namespace sedum
