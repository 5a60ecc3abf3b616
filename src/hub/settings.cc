#include "hub/settings.h"

#include <algorithm>

#include "base/error.h"

namespace sedum::hub {

Settings settings_from(const std::function<const char*(const char*)>& environment) {
  const auto value = [&](const char* name) -> std::string {
    const char* text = environment(name);
    return text ? text : "";
  };
  Settings settings;
  if (const std::string own = value("SEDUM_HOME"); !own.empty()) {
    settings.home = own;
  } else if (const std::string cache = value("XDG_CACHE_HOME"); !cache.empty()) {
    settings.home = std::filesystem::path(cache) / "sedum";
  } else if (const std::string home = value("HOME"); !home.empty()) {
    settings.home = std::filesystem::path(home) / ".cache" / "sedum";
  } else {
    throw Error("no folder for models: neither SEDUM_HOME nor HOME is set", "set SEDUM_HOME to a folder");
  }
  settings.token = value("HF_TOKEN");
  if (std::string endpoint = value("HF_ENDPOINT"); !endpoint.empty()) {
    if (endpoint.find("://") == std::string::npos) endpoint = "https://" + endpoint;
    while (endpoint.ends_with('/')) endpoint.pop_back();
    std::erase(settings.endpoints, endpoint);
    settings.endpoints.front() = endpoint;
  }
  return settings;
}

}  // namespace sedum::hub
