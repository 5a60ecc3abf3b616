// sedum pull

#include "hub/pull.h"

#include <cstdio>
#include <cstdlib>

#include <fmt/format.h>

#include "base/error.h"
#include "base/json.h"
#include "base/progress.h"
#include "cli/command.h"
#include "cli/common.h"
#include "hub/cache.h"
#include "hub/settings.h"

namespace sedum::cli {
namespace {

bool fetched(const hub::CatalogueEntry& entry, const hub::Settings& settings) {
  return std::filesystem::exists(hub::models_folder(settings.home) / entry.name / entry.file);
}

std::string wheel_names(const hub::CatalogueEntry& entry) {
  const std::string& first = entry.wheels.front().requirement;
  return entry.wheels.size() == 1 ? first : fmt::format("{} and {} more", first, entry.wheels.size() - 1);
}

void list_catalogue(const hub::Settings& settings, bool json) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const hub::CatalogueEntry& entry : hub::catalogue()) {
    nlohmann::ordered_json wheels = nlohmann::ordered_json::array();
    for (const hub::WheelMember& wheel : entry.wheels) wheels.push_back(wheel.requirement);
    list.push_back({{"name", entry.name},
                    {"description", entry.description},
                    {"size", entry.size},
                    {"license", entry.license},
                    {"repository", entry.repository},
                    {"wheels", wheels},
                    {"sha256", entry.sha256},
                    {"fetched", fetched(entry, settings)}});
    if (json) continue;
    fmt::print("{:<20} {:>7}  {}{}\n", entry.name, format_bytes(entry.size), entry.description,
               fetched(entry, settings) ? " (fetched)" : "");
    fmt::print("{:<20} {:>7}  {}; hub: {}; wheels: {}\n", "", "", entry.license, entry.repository, wheel_names(entry));
    fmt::print("{:<20} {:>7}  SHA-256 {}\n\n", "", "", entry.sha256);
  }
  if (json) return print_json(list);
  fmt::print(
      "The hub is asked first, then its mirror, then the wheels. The wheels are put up by third parties: a way to "
      "carry the file, not a "
      "source of trust.\nWhatever the way, only a file with the SHA-256 above is accepted.\n");
}

}  // namespace
}  // namespace sedum::cli

SEDUM_COMMAND(pull) {
  struct Options {
    std::string name;
    bool list = false, json = false;
  };
  auto o = std::make_shared<Options>();
  app.add_option("name", o->name, "a name of the catalogue, or OWNER/REPO[:FILE] of the model hub");
  app.add_flag("--list", o->list, "show the catalogue");
  app.add_flag("--json", o->json, "one JSON object instead of text");
  app.footer(
      "example: sedum pull smollm2-135m\n         sedum pull Qwen/Qwen2.5-0.5B-Instruct-GGUF:q4_0\n"
      "environment: HF_ENDPOINT (another hub), HF_TOKEN, https_proxy, SEDUM_HOME (where models are kept)");
  return [o] {
    hub::Settings settings = hub::settings_from(std::getenv);
    if (o->list) return list_catalogue(settings, o->json);
    if (o->name.empty()) throw UsageError("no model is named", "`sedum pull --list` shows the catalogue");
    settings.say = [](const std::string& line) { fmt::print(stderr, "{}\n", line); };
    const hub::Pulled pulled = hub::pull(o->name, settings);
    if (o->json) return print_json({{"path", pulled.path.string()}, {"source", pulled.source}});
    if (pulled.source.empty()) return fmt::print("{} is here already: {}\n", o->name, pulled.path.string());
    fmt::print("{}\nfetched from {}, verified\n", pulled.path.string(), pulled.source);
  };
}
