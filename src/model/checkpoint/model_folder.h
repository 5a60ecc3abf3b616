#pragma once
// A model's folder that appears under its name only when it is complete.
//
//   NewModelFolder folder("out");
//   SafetensorsWriter weights(folder.path() / "model.safetensors"); …      // and config.json, and the tokenizer
//   folder.commit();                                                        // without it nothing is left

#include <filesystem>

#include "base/file.h"

namespace sedum {

class NewModelFolder {
 public:
  // Error where something else than a folder has the name.
  explicit NewModelFolder(const std::filesystem::path& folder);
  const std::filesystem::path& path() const { return staging_.path(); }
  void commit();

 private:
  Staging staging_;
};

// Moves a model (a GGUF file, or a folder) to the name that it was made for. A folder that is there loses the model that it holds and keeps its
// other files: config.json goes first and comes last, so that a machine that stops in between leaves no mixture of two models, but
// what is refused as none. Within the folder of an unfinished move lie the files that had not come.
void put_in_place(const Staging& staging);

}  // namespace sedum
