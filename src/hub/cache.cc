#include "hub/cache.h"

#include <algorithm>
#include <cerrno>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/progress.h"
#include "hub/catalogue.h"

namespace sedum::hub {
namespace fs = std::filesystem;
using nlohmann::json;

fs::path models_folder(const fs::path& home) { return home / "models"; }

FolderLock::FolderLock(const fs::path& folder, const std::function<void(const std::string&)>& say) {
  const fs::path path = folder / ".lock";
  descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor_ < 0) throw_system_error("cannot create", path);
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) == 0) return;
  if (say) say("another process is fetching into " + folder.string() + ": waiting for it");
  while (::flock(descriptor_, LOCK_EX) != 0) {
    if (errno == EINTR) continue;
    ::close(descriptor_);
    throw_system_error("cannot lock", path);
  }
}
FolderLock::~FolderLock() { ::close(descriptor_); }

namespace {

bool file_state(const fs::path& path, uint64_t* size, int64_t* modified) {
  struct stat info;
  if (::stat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return false;
  *size = uint64_t(info.st_size);
  *modified = int64_t(info.st_mtim.tv_sec) * 1'000'000'000 + info.st_mtim.tv_nsec;
  return true;
}

}  // namespace

Manifest::Manifest(fs::path folder) : folder_(std::move(folder)) {
  const fs::path path = folder_ / "verified.json";
  if (!fs::exists(path)) return;
  // A damaged manifest only costs a new verification.
  const json content = try_parse_json(read_file(path));
  try {
    for (const auto& [file, entry] : content.at("files").items()) {
      entries_[file] = {entry.at("size").get<uint64_t>(), entry.at("modified").get<int64_t>(),
                        entry.at("checksum").get<std::string>()};
    }
    whole_ = content.at("whole").get<std::vector<std::string>>();
  } catch (const json::exception&) {
    entries_.clear();
    whole_.clear();
  }
}

bool Manifest::verified(const std::string& file, const Checksum& checksum) const {
  const auto entry = entries_.find(file);
  uint64_t size;
  int64_t modified;
  return entry != entries_.end() && file_state(folder_ / file, &size, &modified) && size == entry->second.size &&
         modified == entry->second.modified && (!checksum.known() || checksum.hex == entry->second.checksum);
}

void Manifest::add(const std::string& file, const Checksum& checksum) {
  Entry entry{.checksum = checksum.hex};
  SEDUM_CHECK(file_state(folder_ / file, &entry.size, &entry.modified), file);
  entries_[file] = entry;
}

void Manifest::set_whole(const std::vector<std::string>& files) { whole_ = files; }

fs::path Manifest::whole() const {
  const bool all = std::all_of(whole_.begin(), whole_.end(), [&](const std::string& file) { return verified(file); });
  if (whole_.empty() || !all) return {};
  return whole_[0].ends_with(".gguf") ? folder_ / whole_[0] : folder_;
}

fs::path Manifest::find(const std::string& file) const {
  if (verified(file)) return folder_ / file;
  const auto lower = [](std::string text) {
    std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
    return text;
  };
  for (const auto& [name, entry] : entries_) {  // in order of names: the first part of a split file comes first
    if (name.ends_with(".gguf") && lower(name).find(lower(file)) != std::string::npos && verified(name))
      return folder_ / name;
  }
  return {};
}

void Manifest::save() const {
  json files = json::object();
  for (const auto& [file, entry] : entries_) {
    files[file] = {{"size", entry.size}, {"modified", entry.modified}, {"checksum", entry.checksum}};
  }
  write_file(folder_ / "verified.json", json{{"files", files}, {"whole", whole_}}.dump(1) + "\n");
}

void check_space(const fs::path& folder, uint64_t needed) {
  const uint64_t available = fs::space(folder).available;
  if (needed <= available) return;
  throw Error("not enough space in " + folder.string() + ": " + format_bytes(needed) + " needed, " +
                  format_bytes(available) + " free",
              "free some, or set SEDUM_HOME to a folder on another disk");
}

bool parse_repository(std::string_view name, RepositoryName* parsed) {
  const size_t colon = name.find(':');
  const std::string_view repository = name.substr(0, colon);
  const size_t slash = repository.find('/');
  const auto plain = [](std::string_view part) {
    return !part.empty() && part != "." && part != ".." && std::all_of(part.begin(), part.end(), [](unsigned char c) {
      return std::isalnum(c) || c == '-' || c == '_' || c == '.';
    });
  };
  if (slash == std::string_view::npos || !plain(repository.substr(0, slash)) || !plain(repository.substr(slash + 1)))
    return false;
  if (colon != std::string_view::npos && colon + 1 == name.size()) return false;
  parsed->repository = repository;
  parsed->file = colon == std::string_view::npos ? "" : name.substr(colon + 1);
  return true;
}

namespace {

fs::path resolve_catalogued(const CatalogueEntry& entry, const fs::path& home) {
  const fs::path folder = models_folder(home) / entry.name, path = folder / entry.file;
  if (!fs::exists(path)) {
    throw Error("the model " + entry.name + " has not been fetched yet",
                "fetch it with `sedum pull " + entry.name + "`");
  }
  Manifest manifest(folder);
  const Checksum checksum{Checksum::Kind::kSha256, entry.sha256};
  if (manifest.verified(entry.file, checksum)) return path;
  if (!checksum.matches(path)) {  // copied there by hand, or changed since
    throw Error(path.string() + " does not have the checksum of " + entry.name,
                "fetch it anew with `sedum pull " + entry.name + "`");
  }
  manifest.add(entry.file, checksum);
  try {
    manifest.save();
  } catch (const Error&) {  // a cache that may only be read is verified each time
  }
  return path;
}

// Empty if it has not been fetched.
fs::path resolve_repository(const RepositoryName& name, const fs::path& home) {
  const fs::path folder = models_folder(home) / name.repository;
  if (!fs::exists(folder / "verified.json")) return {};
  const Manifest manifest(folder);
  return name.file.empty() ? manifest.whole() : manifest.find(name.file);
}

}  // namespace

fs::path resolve_model(std::string_view name, const fs::path& home) {
  const fs::path as_path{std::string(name)};
  if (name.empty()) throw Error("no model is named", "give a path or a name of `sedum pull --list`");
  if (fs::exists(as_path)) return as_path;
  if (const CatalogueEntry* entry = find_catalogued(name)) return resolve_catalogued(*entry, home);
  RepositoryName repository;
  if (parse_repository(name, &repository)) {
    if (const fs::path found = resolve_repository(repository, home); !found.empty()) return found;
    throw Error("cannot find the model " + std::string(name) + ": no such path, and it has not been fetched",
                "check the path, or fetch it with `sedum pull " + std::string(name) + "`");
  }
  std::vector<std::string> names;
  for (const CatalogueEntry& entry : catalogue()) names.push_back(entry.name);
  const std::string near = nearest_name(name, names);
  throw Error("cannot find the model " + std::string(name) + ": no such path, and not in the catalogue",
              near.empty() ? "check the path; `sedum pull --list` shows the catalogue" : "did you mean " + near + "?");
}

}  // namespace sedum::hub
