#include "model/checkpoint/model_folder.h"

#include <string>
#include <vector>

#include "base/error.h"

namespace sedum {
namespace fs = std::filesystem;
namespace {

constexpr const char* kConfig = "config.json";  // without it nobody takes a folder for a model

// What export.cc and the quantisers write, whole or in shards.
bool is_of_model(const std::string& name) {
  for (const char* own : {kConfig, "tokenizer.json", "tokenizer_config.json", "model.safetensors.index.json"})
    if (name == own) return true;
  return name == "model.safetensors" ||
         (name.starts_with("model-") && name.find("-of-") != name.npos && name.ends_with(".safetensors"));
}

std::vector<fs::path> entries(const fs::path& folder) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(folder)) found.push_back(entry.path());
  return found;
}

void replace_model(const fs::path& from, const fs::path& to) {
  fs::remove(to / kConfig);
  sync_folder(to);
  for (const fs::path& old : entries(to))
    if (is_of_model(old.filename().string())) fs::remove(old);
  for (const fs::path& file : entries(from))
    if (file.filename() != kConfig) move_over(file, to / file.filename());
  sync_folder(to);
  move_over(from / kConfig, to / kConfig);
  sync_folder(to);
}

}  // namespace

NewModelFolder::NewModelFolder(const fs::path& folder) : staging_(folder) {
  if (fs::exists(staging_.target()) && !fs::is_directory(staging_.target()))
    throw Error(folder.string() + " is there and no folder", "remove it, or choose another name");
  make_folders(path());
}

void NewModelFolder::commit() { put_in_place(staging_); }

void put_in_place(const Staging& staging) {
  if (fs::is_directory(staging.path()) && fs::is_directory(staging.target()))
    return replace_model(staging.path(), staging.target());
  move_over(staging.path(), staging.target());
  sync_folder(staging.target().parent_path());
}

}  // namespace sedum
