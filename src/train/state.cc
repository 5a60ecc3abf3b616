#include "train/state.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "formats/safetensors.h"

namespace sedum {
namespace fs = std::filesystem;
namespace {

constexpr int kVersion = 1;
constexpr const char* kPrefix = "checkpoint-";
constexpr const char* kUnfinished = ".unfinished";

// (step, folder) of the finished checkpoints, oldest first.
std::vector<std::pair<int64_t, fs::path>> checkpoints(const fs::path& run) {
  std::vector<std::pair<int64_t, fs::path>> found;
  if (!fs::exists(run)) return found;
  for (const auto& entry : fs::directory_iterator(run)) {
    const std::string name = entry.path().filename().string();
    const std::string digits = name.starts_with(kPrefix) ? name.substr(std::strlen(kPrefix)) : "";
    if (!digits.empty() && digits.size() < 19 && digits.find_first_not_of("0123456789") == std::string::npos)
      found.emplace_back(std::stoll(digits), entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::vector<int64_t> sizes(const Shape& shape) {
  std::vector<int64_t> v;
  for (int i = 0; i < shape.rank(); ++i) v.push_back(shape[i]);
  return v;
}

void load_tensor(const SafetensorsFile& file, const std::string& name, Tensor to) {
  const StoredTensor& stored = static_cast<const TensorSource&>(file).get(name);
  if (stored.dtype != to.dtype() || stored.shape != sizes(to.shape()))
    throw Error(file.where() + ": " + name + " does not fit the model",
                "set overwrite_output_dir: true to begin again");
  std::memcpy(to.raw(), stored.data, stored.bytes);
}

}  // namespace

void save_state(const fs::path& folder, const RunState& state, const Optimizer& optimizer) {
  const fs::path unfinished = folder.string() + kUnfinished;
  fs::remove_all(unfinished);
  fs::create_directories(unfinished);
  {
    SafetensorsWriter out(unfinished / "state.safetensors", {});
    const auto add = [&](const std::string& name, const Tensor& t) {
      out.add(name, t.dtype(), sizes(t.shape()), [t](const ByteSink& sink) { sink(t.raw(), t.bytes()); });
    };
    for (const Variable& p : optimizer.parameters()) add("parameter." + p.name(), p.value());
    for (const auto& [name, tensor] : optimizer.states()) add(name, tensor);
    out.finish();
  }
  const nlohmann::ordered_json document{{"version", kVersion},
                                        {"step", state.step},
                                        {"world_size", state.world_size},
                                        {"tokens", state.tokens},
                                        {"losses", state.losses.to_json()},
                                        {"gradient_norms", state.gradient_norms.to_json()},
                                        {"best", state.best.to_json()},
                                        {"loss_scale", state.loss_scale.to_json()},
                                        {"config", state.config}};
  write_file(unfinished / "state.json", document.dump(2) + "\n");
  fs::remove_all(folder);
  fs::rename(unfinished, folder);
  sync_folder(folder.parent_path());
}

std::optional<RunState> load_latest(const fs::path& run, Optimizer& optimizer, const std::string& config) {
  const auto all = checkpoints(run);
  if (all.empty()) return std::nullopt;
  const fs::path folder = all.back().second;
  const fs::path json = folder / "state.json";
  const auto document = try_parse_json(read_file(json));
  const auto damaged = [&](const std::string& what) {
    return Error(json.string() + ": " + what, "delete the folder to go on from the checkpoint before it");
  };
  if (!document.is_object() || !document.contains("version") || !document.contains("step") ||
      !document.contains("config"))
    throw damaged("not a checkpoint's state");
  if (document["version"] != kVersion)
    throw damaged("version " + document["version"].dump() + ", this program reads " + std::to_string(kVersion));
  RunState state;
  try {
    document["step"].get_to(state.step), document["config"].get_to(state.config);
    state.world_size = document.value("world_size", 1), state.tokens = document.value("tokens", uint64_t{0});
    if (document.contains("losses")) state.losses.from_json(document["losses"]);
    if (document.contains("gradient_norms")) state.gradient_norms.from_json(document["gradient_norms"]);
    if (document.contains("best")) state.best.from_json(document["best"]);
    if (document.contains("loss_scale")) state.loss_scale.from_json(document["loss_scale"]);
  } catch (const nlohmann::json::exception&) {
    throw damaged("a value has the wrong type");
  }
  if (state.config != config)
    throw Error(folder.string() + " belongs to a run with other settings",
                "keep them to go on, choose another output_dir, or set overwrite_output_dir: true");
  const SafetensorsFile file(folder / "state.safetensors");
  for (const Variable& p : optimizer.parameters()) load_tensor(file, "parameter." + p.name(), p.value());
  for (const auto& [name, tensor] : optimizer.states()) load_tensor(file, name, tensor);
  return state;
}

void load_parameters(const fs::path& run, int64_t step, const std::vector<Variable>& parameters) {
  const SafetensorsFile file(run / (kPrefix + std::to_string(step)) / "state.safetensors");
  for (const Variable& p : parameters) load_tensor(file, "parameter." + p.name(), p.value());
}

void rotate(const fs::path& run, int keep, int64_t kept) {
  const auto all = checkpoints(run);
  for (size_t i = 0; i + size_t(keep) < all.size(); ++i)
    if (all[i].first != kept) fs::remove_all(all[i].second);
  for (const auto& entry : fs::directory_iterator(run))
    if (entry.path().filename().string().ends_with(kUnfinished)) fs::remove_all(entry.path());
}

}  // namespace sedum
