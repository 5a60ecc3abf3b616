#pragma once
// Which samples a step of training sees: a function of (seed, step) alone, whatever the number of threads and ranks and
// however often the run was interrupted.
//
//   Loader loader(std::move(samples), {.batch_size = 4, .packing = true, .gradient_accumulation_steps = 2});
//   for (int64_t step = resumed_at; step < epochs * loader.steps_per_epoch(); ++step)
//     for (int micro = 0; micro < 2; ++micro)
//       train_on(loader.batch(step, micro), loader.label_tokens(step));   // the sum of losses divided by the latter
//
// A row is one sample or, with packing, as many as fit into sequence_length tokens; they stay sequences of their own. A
// global batch is world_size × batch_size × gradient_accumulation_steps rows of one order, each micro-batch of each
// rank a slice of it: another world size with the same product trains on the same union. Nothing is padded.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <vector>

#include "data/encode.h"

namespace sedum::data {

struct LoaderConfig {
  int batch_size = 1;       // rows of a micro-batch on one device
  int sequence_length = 0;  // the most tokens a row may have; 0: the longest sample
  // So many neighbouring samples stay together, in order: the two answers of a preference. Rows consist of such groups.
  int group_size = 1;
  bool packing = false;
  bool group_by_length = false;  // rows of like length into one batch; needs shuffle
  bool shuffle = true;
  bool drop_last = false;  // leaves an epoch's last global batch out when it is short
  uint64_t seed = 42;
  int gradient_accumulation_steps = 1;
  int world_size = 1, rank = 0;
};

// A sequence of a batch: tokens [begin, begin + count) attend to one another and to nothing else.
struct Segment {
  int32_t begin, count;
  bool operator==(const Segment&) const = default;
};

// Rows one after the other. A short global batch is spread over ranks and micro-batches, so one may have no tokens at
// all.
struct StepBatch {
  std::vector<int32_t> ids;      // (tokens)
  std::vector<int32_t> targets;  // (tokens): the next token of the same sequence where it carries a loss, else kIgnored
  std::vector<int32_t> positions;  // (tokens): from 0 in each sequence
  std::vector<Segment> segments;   // (sequences), ascending, without gaps
  std::vector<uint32_t> samples;   // of each segment: the sample that it is, or is a part of
  std::vector<int32_t> offsets;    // of each segment: where in its sample it begins
  int64_t label_tokens = 0;        // targets that are not kIgnored
};

// Where samples come from: memory, or files larger than it. Safe to read from several threads.
class SampleSource {
 public:
  virtual ~SampleSource() = default;
  virtual size_t size() const = 0;
  virtual uint32_t length(size_t sample) const = 0;   // tokens
  virtual uint32_t targets(size_t sample) const = 0;  // tokens with a loss, as count_targets() counts them
  virtual Sample get(size_t sample) const = 0;
};

// Tokens that are predicted with a loss: the first of a sequence has nothing to be predicted from.
uint32_t count_targets(const Sample& sample);
// Puts a sample at the end of a batch.
void append_sample(StepBatch& batch, const Sample& sample, uint32_t number);

class Loader {
 public:
  Loader(std::vector<Sample> samples, LoaderConfig config);
  // Throws Error: no samples, one that is longer than sequence_length, fewer rows than a global batch with drop_last.
  // ApiError: sizes below 1, a rank beyond the world.
  Loader(std::shared_ptr<const SampleSource> source, LoaderConfig config);

  // Steps count global batches over all epochs. Safe to call from several threads.
  StepBatch batch(int64_t step, int micro = 0) const;
  // Of all micro-batches of all ranks: what a token-weighted gradient is divided by, known without asking the others.
  int64_t label_tokens(int64_t step) const;
  // The same for groups of samples: what a mean over preferences is divided by.
  int64_t groups(int64_t step) const;

  int64_t steps_per_epoch() const { return steps_per_epoch_; }
  int64_t rows() const { return int64_t(row_begin_.size()) - 1; }
  int64_t tokens() const { return tokens_; }  // of one epoch
  int64_t longest_row() const { return longest_row_; }
  const LoaderConfig& config() const { return config_; }
  const SampleSource& source() const { return *source_; }

 private:
  using Order = std::vector<uint32_t>;
  struct Slice {
    std::shared_ptr<const Order> order;  // of the epoch
    int64_t begin, end;
  };
  void check() const;
  void build_rows();
  Slice global_batch(int64_t step) const;
  std::shared_ptr<const Order> epoch_order(int64_t epoch) const;
  void group_by_length(Order& order, int64_t epoch) const;
  int64_t global_batch_size() const;

  std::shared_ptr<const SampleSource> source_;
  LoaderConfig config_;
  std::vector<uint32_t> row_begin_,
      row_groups_;  // row r: groups row_groups_[row_begin_[r]] … up to row_begin_[r + 1]
  std::vector<uint32_t> row_length_, row_labels_;  // tokens, targets
  int64_t steps_per_epoch_ = 0, tokens_ = 0, longest_row_ = 0;

  mutable std::mutex mutex_;
  mutable int64_t cached_epoch_ = -1;
  mutable std::shared_ptr<const Order> cached_order_;
};

// First fit: each length goes into the first row that has room for it. Returns the row of each, numbered as they are
// opened. No length may exceed `capacity`. O(n log n).
std::vector<uint32_t> pack_first_fit(const std::vector<uint32_t>& lengths, uint32_t capacity);

// Batches made elsewhere, for exact experiments: a NumPy file of int32 (steps, batch, sequence).
struct Pretokenized {
  std::vector<Sample> samples;  // in order; labels = ids
  int64_t steps = 0;
  int batch = 0, sequence = 0;
  // To be used in order: batch rows a step on one rank.
  LoaderConfig config() const {
    return {.batch_size = batch, .sequence_length = sequence, .shuffle = false, .drop_last = true};
  }
};
Pretokenized read_pretokenized(const std::filesystem::path& path);

}  // namespace sedum::data
