#include <algorithm>
#include <array>

#include "base/error.h"
#include "data/loader.h"
#include "formats/numpy.h"

namespace sedum::data {

Pretokenized read_pretokenized(const std::filesystem::path& path) {
  const NpyArray array = read_npy(path);
  const auto fail = [&](const std::string& problem, const std::string& mend) {
    throw Error(path.string() + ": " + problem, mend);
  };
  if (array.dtype != DType::kI32 || array.is_bool)
    fail("the batches must be int32", "save them with .astype(numpy.int32)");
  if (array.shape.size() != 3)
    fail("the batches have " + std::to_string(array.shape.size()) + " dimensions, not 3",
         "give them the shape (steps, batch, sequence)");
  const auto [steps, batch, sequence] = std::array{array.shape[0], array.shape[1], array.shape[2]};
  if (steps < 1 || batch < 1 || sequence < 2)
    fail("the batches have the shape (" + std::to_string(steps) + ", " + std::to_string(batch) + ", " +
             std::to_string(sequence) + ")",
         "give at least one step, one row and two tokens");
  const std::span<const int32_t> ids = array.values<int32_t>();
  if (const auto negative = std::find_if(ids.begin(), ids.end(), [](int32_t id) { return id < 0; });
      negative != ids.end())
    fail("token " + std::to_string(negative - ids.begin()) + " is " + std::to_string(*negative),
         "ids begin at 0; there is no padding");
  Pretokenized result{.samples = {}, .steps = steps, .batch = int(batch), .sequence = int(sequence)};
  result.samples.reserve(size_t(steps * batch));
  for (size_t begin = 0; begin < ids.size(); begin += size_t(sequence)) {
    const auto row = ids.subspan(begin, size_t(sequence));
    Sample& sample = result.samples.emplace_back();
    sample.ids.assign(row.begin(), row.end());
    sample.labels = sample.ids;
  }
  return result;
}

}  // namespace sedum::data
