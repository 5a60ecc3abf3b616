#include "cli/common.h"

#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include <fmt/format.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "cli/command.h"
#include "formats/safetensors.h"
#include "hub/cache.h"
#include "hub/settings.h"

namespace sedum::cli {

void add_model_options(Flags app, ModelOptions& options, const char* default_compute) {
  options.compute = default_compute;
  app.add_option("-m,--model", options.model,
                 "a .gguf file, a Hugging Face folder, a run's folder, or a name that was pulled")
      ->required();
  app.add_option("--adapter", options.adapter, "the folder of a PEFT adapter");
  add_named_adapters(app, options);
  app.add_option("--compute", options.compute, "precision: f32 (exact), bf16 or int8")
      ->capture_default_str()
      ->check(one_of({"f32", "bf16", "int8"}));
  app.add_option("--threads", options.threads, "threads; 0: all cores that this process may use")
      ->check(in_range(0, 1024));
  add_pack_cache_option(app, options);
}

void add_pack_cache_option(Flags app, ModelOptions& options) {
  const Option folder = app.add_option("--pack-cache", options.pack_cache,
                                       "the folder that keeps packed weights between starts (or SEDUM_PACK_CACHE)");
  app.add_flag("--no-pack-cache", options.no_pack_cache, "pack the weights anew, and keep nothing")->excludes(folder);
}

PackCacheOptions pack_cache_of(const ModelOptions& options) {
  if (options.no_pack_cache) return {};
  const auto set = [](const char* name) { return std::getenv(name) && *std::getenv(name); };
  const bool home = set("SEDUM_HOME") || set("XDG_CACHE_HOME") || set("HOME");
  if (!home && options.pack_cache.empty()) return {};  // nowhere to keep it
  PackCacheOptions result =
      pack_cache_options(std::getenv, home ? hub::settings_from(std::getenv).home : std::filesystem::path());
  if (!options.pack_cache.empty()) result.folder = options.pack_cache;
  return result;
}

std::filesystem::path find_model(const std::string& name) {
  if (std::filesystem::exists(name)) return name;
  return hub::resolve_model(name, hub::settings_from(std::getenv).home);
}

void add_named_adapters(Flags app, ModelOptions& options) {
  app.add_option("--lora", options.named_adapters,
                 "NAME=FOLDER: an adapter that requests to the server choose (elsewhere the first one answers); may be "
                 "given several times");
}

std::vector<std::pair<std::string, std::filesystem::path>> parse_named_paths(const std::vector<std::string>& texts,
                                                                             const char* option, const char* example) {
  std::vector<std::pair<std::string, std::filesystem::path>> result;
  for (const std::string& text : texts) {
    const size_t at = text.find('=');
    if (at == 0 || at == text.npos || at + 1 == text.size())
      throw UsageError(fmt::format("{} {} is not NAME=PATH", option, text), fmt::format("write such as {}", example));
    const std::string name = text.substr(0, at);
    for (const auto& [known, folder] : result)
      if (known == name)
        throw UsageError(fmt::format("{} {} is given twice", option, name), "choose another name for one");
    result.emplace_back(name, text.substr(at + 1));
  }
  return result;
}

std::vector<std::pair<std::string, std::filesystem::path>> parse_named_adapters(const std::vector<std::string>& texts) {
  return parse_named_paths(texts, "--lora", "succulent=runs/succulent/adapter");
}

LoadedModel::LoadedModel(const ModelOptions& options)
    : runtime(options.threads),
      model(runtime, find_model(options.model),
            {.compute = parse_compute(options.compute),
             .adapter = options.adapter,
             .named_adapters = parse_named_adapters(options.named_adapters),
             .pack_cache = pack_cache_of(options)}) {}

Compute parse_compute(const std::string& name) {
  if (name == "f32") return Compute::kF32;
  if (name == "bf16") return Compute::kBF16;
  if (name == "int8") return Compute::kInt8;
  throw Error("--compute " + name + " is not known", "choose f32, bf16 or int8");
}

std::vector<int32_t> parse_ids(const std::string& text) {
  std::vector<int32_t> ids;
  const char* p = text.c_str();
  for (;;) {
    while (*p && std::string_view(" \t\n\r,[]").find(*p) != std::string_view::npos) ++p;
    if (!*p) return ids;
    char* end = nullptr;
    const long id = std::strtol(p, &end, 10);
    if (end == p || id < 0 || id > INT32_MAX)
      throw Error("\"" + std::string(p).substr(0, 20) + "\" is no token id", "give numbers such as \"1 2 3\"");
    ids.push_back(int32_t(id)), p = end;
  }
}

std::vector<std::vector<int32_t>> read_ids_file(const std::filesystem::path& path) {
  const auto document = try_parse_json(read_file(path));
  try {
    auto ids = document.get<std::vector<std::vector<int32_t>>>();
    for (const auto& row : ids)
      if (row.empty()) throw Error(path.string() + ": a row has no ids", "give at least one token in each");
    if (ids.empty()) throw Error(path.string() + ": no rows", "give [[1, 2, 3]]");
    return ids;
  } catch (const nlohmann::json::exception&) {
    throw Error(path.string() + ": not a list of lists of token ids", "write [[1, 2, 3], [4, 5]]");
  }
}

uint64_t parse_bytes(const std::string& text) {
  const UsageError wrong("\"" + text + "\" is no size", "write such as 5GB, 200MB or 1GiB");
  double number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  std::string unit(static_cast<const char*>(end), text.data() + text.size());
  if (unit.starts_with(' ')) unit.erase(0, 1);
  const size_t power = unit.empty() ? 0 : std::string_view(" KMGT").find(char(std::toupper(unit[0])));
  const bool binary = power > 0 && unit.substr(1) == "iB";
  if (power == std::string_view::npos || (power > 0 ? !binary && unit.substr(1) != "B" : unit != "" && unit != "B"))
    throw wrong;
  const double bytes = number * std::pow(binary ? 1024.0 : 1000.0, double(power));
  if (failure != std::errc() || !(bytes >= 1 && bytes < 9e18)) throw wrong;
  return uint64_t(bytes);
}

void add_shard_option(Flags app, std::string& size) {
  app.add_option("--max-shard-size", size, "folders: the most that one file of weights holds, such as 5GB or 200MB")
      ->default_str("5GB");
}

uint64_t max_shard_bytes(const std::string& size, const std::filesystem::path& out) {
  if (size.empty()) return kMaxShardBytes;
  if (out.extension() == ".gguf")
    throw UsageError("--max-shard-size is for folders, and --out " + out.string() + " is a GGUF file, which is one",
                     "leave it out");
  return parse_bytes(size);
}

void print_json(const nlohmann::ordered_json& document) {
  std::fputs((document.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n").c_str(), stdout);
  std::fflush(stdout);
}

bool color_terminal() {
  static const bool colors = ::isatty(STDOUT_FILENO) && !std::getenv("NO_COLOR");
  return colors;
}

}  // namespace sedum::cli
