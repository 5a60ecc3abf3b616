#pragma once
// What tests of the rooms from model/ up share: the tiny models of tests/golden, and a folder that is gone afterwards.

#include <filesystem>
#include <string>
#include <vector>

#include <unistd.h>

#include "base/error.h"
#include "model/runtime_model.h"

namespace sedum::testing {

inline std::filesystem::path golden(const std::string& name) {
  return std::filesystem::path(SEDUM_SOURCE_DIR) / "tests/golden" / name;
}
inline std::filesystem::path tiny_model(const std::string& name = "llama") { return golden("models/" + name); }

class ScratchFolder {
 public:
  ScratchFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "sedum-test-XXXXXX").string();
    if (!mkdtemp(pattern.data())) throw Error("cannot make a folder for a test");
    path_ = pattern;
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// Logits of one sequence, (ids, vocabulary) flat.
inline std::vector<float> logits_of(const RuntimeModel& model, const std::vector<int32_t>& ids) {
  Context ctx = model.runtime().context(model.compute());
  const Variable out = model.model().logits(ctx, model.model().hidden_states(ctx, Batch::of_sequences({ids})));
  return {out.value().data<float>(), out.value().data<float>() + out.value().count()};
}

// The text of the Error that `work` throws; "" when it throws none.
template <class F>
std::string problem_of(F&& work) {
  try {
    work();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

}  // namespace sedum::testing
