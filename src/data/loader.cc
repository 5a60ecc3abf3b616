#include "data/loader.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/random.h"

namespace sedum::data {
namespace {

// Batches of this many steps are sorted by length together: enough to find neighbours of like length, few enough to
// stay random. (transformers uses the same number.)
constexpr int64_t kStepsSortedTogether = 50;

class SampleList : public SampleSource {
 public:
  explicit SampleList(std::vector<Sample> samples) : samples_(std::move(samples)) {
    for (size_t i = 0; i < samples_.size(); ++i)
      if (samples_[i].labels.size() != samples_[i].ids.size())
        throw ApiError("Loader", "sample " + std::to_string(i) + " has other counts of ids and labels");
  }
  size_t size() const override { return samples_.size(); }
  uint32_t length(size_t i) const override { return uint32_t(samples_[i].ids.size()); }
  uint32_t targets(size_t i) const override { return count_targets(samples_[i]); }
  Sample get(size_t i) const override { return samples_[i]; }

 private:
  std::vector<Sample> samples_;
};

}  // namespace

std::vector<uint32_t> pack_first_fit(const std::vector<uint32_t>& lengths, uint32_t capacity) {
  // A tree over the rows: each node knows the largest room below it, so that the first row with room is found from the
  // top.
  size_t leaves = 1;
  while (leaves < lengths.size()) leaves *= 2;
  std::vector<uint32_t> room(2 * leaves, capacity);
  std::vector<uint32_t> rows(lengths.size());
  for (size_t i = 0; i < lengths.size(); ++i) {
    SEDUM_CHECK(lengths[i] <= capacity);
    size_t node = 1;
    while (node < leaves) node = room[2 * node] >= lengths[i] ? 2 * node : 2 * node + 1;
    rows[i] = uint32_t(node - leaves);
    room[node] -= lengths[i];
    for (node /= 2; node > 0; node /= 2) room[node] = std::max(room[2 * node], room[2 * node + 1]);
  }
  return rows;
}

uint32_t count_targets(const Sample& sample) {
  uint32_t count = 0;
  for (size_t i = 1; i < sample.labels.size(); ++i) count += sample.labels[i] != kIgnored;
  for (const int32_t start : sample.starts) count -= sample.labels[size_t(start)] != kIgnored;
  return count;
}

void append_sample(StepBatch& batch, const Sample& sample, uint32_t number) {
  const int32_t count = int32_t(sample.ids.size()), first = int32_t(batch.ids.size());
  batch.ids.insert(batch.ids.end(), sample.ids.begin(), sample.ids.end());
  batch.targets.insert(batch.targets.end(), sample.labels.begin() + 1, sample.labels.end());
  batch.targets.push_back(kIgnored);  // what follows is another sequence
  for (size_t part = 0; part <= sample.starts.size(); ++part) {
    const int32_t begin = part == 0 ? 0 : sample.starts[part - 1],
                  end = part < sample.starts.size() ? sample.starts[part] : count;
    batch.segments.push_back({first + begin, end - begin});
    batch.samples.push_back(number), batch.offsets.push_back(begin);
    for (int32_t position = 0; position < end - begin; ++position) batch.positions.push_back(position);
    batch.targets[size_t(first + end - 1)] = kIgnored;
  }
  batch.label_tokens += count_targets(sample);
}

Loader::Loader(std::vector<Sample> samples, LoaderConfig config)
    : Loader(std::make_shared<const SampleList>(std::move(samples)), config) {}

Loader::Loader(std::shared_ptr<const SampleSource> source, LoaderConfig config)
    : source_(std::move(source)), config_(config) {
  check();
  build_rows();
  const int64_t size = global_batch_size();
  steps_per_epoch_ = config_.drop_last ? rows() / size : (rows() + size - 1) / size;
  if (steps_per_epoch_ == 0)
    throw Error("there are only " + std::to_string(rows()) + " rows for a batch of " + std::to_string(size),
                "lower per_device_train_batch_size or gradient_accumulation_steps, add data, or set "
                "dataloader_drop_last: false");
}

void Loader::check() const {
  const auto at_least_one = [](int value, const char* name) {
    if (value < 1) throw ApiError("Loader", std::string(name) + " is " + std::to_string(value) + ", below 1");
  };
  at_least_one(config_.batch_size, "batch_size");
  at_least_one(config_.gradient_accumulation_steps, "gradient_accumulation_steps");
  at_least_one(config_.world_size, "world_size");
  at_least_one(config_.group_size, "group_size");
  if (config_.rank < 0 || config_.rank >= config_.world_size)
    throw ApiError("Loader",
                   "rank " + std::to_string(config_.rank) + " in a world of " + std::to_string(config_.world_size));
  if (config_.sequence_length < 0) throw ApiError("Loader", "sequence_length is negative");
  const size_t count = source_->size();
  if (count == 0) throw Error("there are no samples to train on", "check the data files");
  if (count >= std::numeric_limits<uint32_t>::max()) throw Error("there are more than 2^32 samples", "train on parts");
  if (count % size_t(config_.group_size))
    throw ApiError("Loader", std::to_string(count) + " samples are no groups of " + std::to_string(config_.group_size));
  for (size_t i = 0; i < count; ++i) {
    const uint32_t length = source_->length(i);
    if (length == 0) throw ApiError("Loader", "sample " + std::to_string(i) + " is empty");
    if (config_.sequence_length > 0 && length > uint32_t(config_.sequence_length))
      throw Error("sample " + std::to_string(i + 1) + " has " + std::to_string(length) +
                      " tokens, beyond the sequence length of " + std::to_string(config_.sequence_length),
                  "set cutoff_len to cut samples, or raise the sequence length");
  }
}

void Loader::build_rows() {
  const uint32_t group = uint32_t(config_.group_size), count = uint32_t(source_->size()) / group;
  if (config_.sequence_length == 0)
    for (size_t i = 0; i < source_->size(); ++i)
      config_.sequence_length = std::max(config_.sequence_length, int(source_->length(i)));
  std::vector<uint32_t> lengths(count), row_of(count);
  for (uint32_t i = 0; i < count * group; ++i) lengths[i / group] += source_->length(i);
  // Rows are packed once, not every epoch: sequences don't see their neighbours, and an epoch keeps its number of
  // steps.
  if (config_.packing)
    row_of = pack_first_fit(lengths, uint32_t(config_.sequence_length) * group);
  else
    std::iota(row_of.begin(), row_of.end(), 0u);

  const size_t rows = size_t(*std::max_element(row_of.begin(), row_of.end())) + 1;
  row_begin_.assign(rows + 1, 0);
  row_length_.assign(rows, 0);
  row_labels_.assign(rows, 0);
  for (const uint32_t row : row_of) ++row_begin_[row + 1];
  std::partial_sum(row_begin_.begin(), row_begin_.end(), row_begin_.begin());
  row_groups_.resize(count);
  std::vector<uint32_t> next(row_begin_.begin(), row_begin_.end() - 1);
  for (uint32_t i = 0; i < count; ++i) {
    row_groups_[next[row_of[i]]++] = i;
    row_length_[row_of[i]] += lengths[i];
    for (uint32_t s = i * group; s < (i + 1) * group; ++s) row_labels_[row_of[i]] += source_->targets(s);
    tokens_ += lengths[i];
  }
  longest_row_ = *std::max_element(row_length_.begin(), row_length_.end());
}

int64_t Loader::global_batch_size() const {
  return int64_t(config_.batch_size) * config_.world_size * config_.gradient_accumulation_steps;
}

std::shared_ptr<const Loader::Order> Loader::epoch_order(int64_t epoch) const {
  const std::lock_guard lock(mutex_);
  if (epoch == cached_epoch_) return cached_order_;
  auto order = std::make_shared<Order>();
  if (config_.shuffle) {
    *order = Random(config_.seed, Purpose::kShuffle, uint32_t(epoch)).permutation(uint32_t(rows()));
    if (config_.group_by_length) group_by_length(*order, epoch);
  } else {
    order->resize(size_t(rows()));
    std::iota(order->begin(), order->end(), 0u);
  }
  cached_epoch_ = epoch, cached_order_ = order;
  return order;
}

// Sorts stretches of many steps by length, then shuffles the steps, so that long and short batches alternate at random.
// A short last batch stays last.
void Loader::group_by_length(Order& order, int64_t epoch) const {
  const int64_t size = global_batch_size(), stretch = kStepsSortedTogether * size;
  for (int64_t begin = 0; begin < rows(); begin += stretch)
    std::stable_sort(order.begin() + begin, order.begin() + std::min(begin + stretch, rows()),
                     [&](uint32_t a, uint32_t b) { return row_length_[a] > row_length_[b]; });
  const Order sorted = order;
  const Random random(config_.seed, Purpose::kShuffle, uint32_t(epoch));
  const int64_t whole = rows() / size;
  std::vector<int64_t> steps(static_cast<size_t>(whole));
  std::iota(steps.begin(), steps.end(), int64_t{0});
  constexpr uint64_t kBeyondPermutation = uint64_t{1} << 40;  // numbers that the permutation of rows has not used
  for (int64_t i = whole; i > 1; --i)
    std::swap(steps[size_t(i - 1)], steps[random.below(uint64_t(i), kBeyondPermutation + uint64_t(i))]);
  for (int64_t i = 0; i < whole; ++i)
    std::copy_n(sorted.begin() + steps[size_t(i)] * size, size, order.begin() + i * size);
}

Loader::Slice Loader::global_batch(int64_t step) const {
  if (step < 0) throw ApiError("Loader::batch", "step " + std::to_string(step) + " is negative");
  const int64_t begin = step % steps_per_epoch_ * global_batch_size();
  return {epoch_order(step / steps_per_epoch_), begin, std::min(begin + global_batch_size(), rows())};
}

StepBatch Loader::batch(int64_t step, int micro) const {
  if (micro < 0 || micro >= config_.gradient_accumulation_steps)
    throw ApiError("Loader::batch", "micro-batch " + std::to_string(micro) + " of " +
                                        std::to_string(config_.gradient_accumulation_steps));
  const Slice global = global_batch(step);
  // Ranks take neighbouring slices of one micro-batch: with group_by_length they have equal work at a time.
  const int64_t part = int64_t(micro) * config_.world_size + config_.rank;
  const int64_t parts = int64_t(config_.world_size) * config_.gradient_accumulation_steps,
                count = global.end - global.begin;
  StepBatch batch;
  for (int64_t i = global.begin + count * part / parts; i < global.begin + count * (part + 1) / parts; ++i) {
    const uint32_t row = (*global.order)[size_t(i)];
    for (uint32_t g = row_begin_[row]; g < row_begin_[row + 1]; ++g)
      for (uint32_t s = 0; s < uint32_t(config_.group_size); ++s) {
        const uint32_t sample = row_groups_[g] * uint32_t(config_.group_size) + s;
        append_sample(batch, source_->get(sample), sample);
      }
  }
  return batch;
}

int64_t Loader::label_tokens(int64_t step) const {
  const Slice global = global_batch(step);
  int64_t sum = 0;
  for (int64_t i = global.begin; i < global.end; ++i) sum += row_labels_[(*global.order)[size_t(i)]];
  return sum;
}

int64_t Loader::groups(int64_t step) const {
  const Slice global = global_batch(step);
  int64_t sum = 0;
  for (int64_t i = global.begin; i < global.end; ++i) {
    const uint32_t row = (*global.order)[size_t(i)];
    sum += int64_t(row_begin_[row + 1]) - int64_t(row_begin_[row]);
  }
  return sum;
}

}  // namespace sedum::data
