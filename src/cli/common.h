#pragma once
// What several commands share: the options that name a model, and how answers are printed.

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "cli/flags.h"
#include "model/runtime_model.h"

namespace sedum::cli {

// --model, --adapter, --compute, --threads, --pack-cache.
struct ModelOptions {
  std::string model, adapter, compute;
  std::vector<std::string> named_adapters = {};  // NAME=FOLDER
  int threads = 0;
  std::string pack_cache = {};  // a folder; "": as the environment says
  bool no_pack_cache = false;
};
PackCacheOptions pack_cache_of(const ModelOptions& options);
void add_pack_cache_option(Flags app, ModelOptions& options);
void add_model_options(Flags app, ModelOptions& options, const char* default_compute);

// --lora NAME=FOLDER, for commands whose requests may choose. UsageError for another form.
void add_named_adapters(Flags app, ModelOptions& options);
// NAME=PATH of `option`; `example` for the mend. UsageError for another form, and for a name that is given twice.
std::vector<std::pair<std::string, std::filesystem::path>> parse_named_paths(const std::vector<std::string>& texts,
                                                                             const char* option, const char* example);
std::vector<std::pair<std::string, std::filesystem::path>> parse_named_adapters(const std::vector<std::string>& texts);

// A path, or the name of a model that was pulled.
std::filesystem::path find_model(const std::string& name);

// The program's threads and memory with a model in it.
struct LoadedModel {
  explicit LoadedModel(const ModelOptions& options);
  Runtime runtime;
  RuntimeModel model;
};

Compute parse_compute(const std::string& name);
std::vector<int32_t> parse_ids(const std::string& text);                             // "1 2 3", "[1, 2, 3]" or "1,2,3"
std::vector<std::vector<int32_t>> read_ids_file(const std::filesystem::path& path);  // JSON [[…], …]
// "5GB", "200 MB", "1.5GiB" or a number of bytes; UsageError for anything else.
uint64_t parse_bytes(const std::string& text);
// --max-shard-size, for commands that write a model as a folder; "" when it is not given.
void add_shard_option(Flags app, std::string& size);
// Of a folder's weights. UsageError when a size is given and `out` is a GGUF file, which is one.
uint64_t max_shard_bytes(const std::string& size, const std::filesystem::path& out);
void print_json(const nlohmann::ordered_json& document);  // one line, exact numbers
bool color_terminal();                                    // standard output is a terminal and NO_COLOR is unset

}  // namespace sedum::cli
