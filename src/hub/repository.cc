#include "hub/repository.h"

#include <algorithm>
#include <regex>

#include "base/error.h"
#include "base/json.h"
#include "http/client.h"

namespace sedum::hub {
using nlohmann::json;

namespace {

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

bool is_hex(const std::string& text, size_t size) {
  return text.size() == size && std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isxdigit(c); });
}

// A path that stays inside the folder it is put into.
bool harmless(const std::string& path) {
  if (path.empty() || path.size() > 500 || path.front() == '/' || path.find('\\') != std::string::npos) return false;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string part = path.substr(begin, end - begin);
    if (part.empty() || part == "." || part == "..") return false;
    begin = end + 1;
  }
  return std::all_of(path.begin(), path.end(), [](unsigned char c) { return c >= 0x20 && c != 0x7f; });
}

bool is_gguf(const RepositoryFile& file) { return lower(file.path).ends_with(".gguf"); }

// "model-00001-of-00003.gguf" → "model", or "" for a file that is not split.
std::string split_stem(const std::string& path) {
  static const std::regex pattern("(.*)-[0-9]{5}-of-[0-9]{5}\\.gguf");
  std::smatch match;
  return std::regex_match(path, match, pattern) ? match[1].str() : "";
}

// One name for each GGUF model: the parts of a split one count once.
std::vector<std::string> gguf_models(const std::vector<RepositoryFile>& files) {
  std::vector<std::string> names;
  for (const RepositoryFile& file : files) {
    if (!is_gguf(file) || lower(file.path).find("mmproj") != std::string::npos)
      continue;  // a vision encoder, not a model
    const std::string stem = split_stem(file.path);
    if (stem.empty() || file.path.find("-00001-of-") != std::string::npos) names.push_back(file.path);
  }
  return names;
}

std::vector<RepositoryFile> with_siblings(const std::vector<RepositoryFile>& files, const std::string& path) {
  const std::string stem = split_stem(path);
  std::vector<RepositoryFile> chosen;
  for (const RepositoryFile& file : files)
    if (file.path == path || (!stem.empty() && split_stem(file.path) == stem)) chosen.push_back(file);
  return chosen;
}

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < std::min<size_t>(names.size(), 12); ++i) text += (i ? ", " : "") + names[i];
  return names.size() > 12 ? text + ", …" : text;
}

bool belongs_to_a_model(const std::string& path) {
  static const char* const kNames[] = {"config.json",
                                       "generation_config.json",
                                       "model.safetensors.index.json",
                                       "tokenizer.json",
                                       "tokenizer_config.json",
                                       "special_tokens_map.json",
                                       "added_tokens.json",
                                       "vocab.json",
                                       "vocab.txt",
                                       "merges.txt",
                                       "chat_template.jinja",
                                       "chat_template.json",
                                       "LICENSE",
                                       "adapter_config.json"};
  if (path.find('/') != std::string::npos) return false;
  if (path.ends_with(".safetensors")) return !path.starts_with("consolidated");  // the same weights under other names
  return path.ends_with(".model") || std::find(std::begin(kNames), std::end(kNames), path) != std::end(kNames);
}

}  // namespace

std::vector<RepositoryFile> parse_listing(const std::string& text) {
  const json listing = try_parse_json(text);
  if (!listing.is_array()) throw Error("the hub's list of files is not a JSON array", "try again later");
  std::vector<RepositoryFile> files;
  for (const json& item : listing) {
    if (!item.is_object() || item.value("type", json()) != "file") continue;
    RepositoryFile file;
    try {
      file.path = item.at("path").get<std::string>();
      file.size = item.at("size").get<uint64_t>();
      if (item.contains("lfs")) {
        file.checksum = {Checksum::Kind::kSha256, lower(item.at("lfs").at("oid").get<std::string>())};
        file.size = item.at("lfs").at("size").get<uint64_t>();
      } else if (item.contains("oid")) {
        file.checksum = {Checksum::Kind::kGitBlob, lower(item.at("oid").get<std::string>())};
      }
    } catch (const json::exception&) {
      throw Error("the hub's list of files has an entry that cannot be read", "try again later");
    }
    if (file.checksum.hex.starts_with("sha256:")) file.checksum.hex.erase(0, 7);
    if (!is_hex(file.checksum.hex, file.checksum.kind == Checksum::Kind::kSha256 ? 64 : 40)) file.checksum = {};
    if (harmless(file.path)) files.push_back(std::move(file));
  }
  return files;
}

std::vector<RepositoryFile> list_repository(const std::string& endpoint, const std::string& repository,
                                            const std::string& token) {
  http::RequestOptions options;
  if (!token.empty()) options.headers.push_back("Authorization: Bearer " + token);
  std::vector<RepositoryFile> files;
  std::string url = endpoint + "/api/models/" + repository + "/tree/main?recursive=true";
  for (int pages = 0; !url.empty() && pages < 20; ++pages) {
    const http::Page page = http::get_page(url, options);
    for (RepositoryFile& file : parse_listing(page.body)) files.push_back(std::move(file));
    url = page.next.starts_with(endpoint) ? page.next : "";  // the token goes nowhere else
  }
  return files;
}

std::vector<RepositoryFile> choose_files(const std::vector<RepositoryFile>& files, const std::string& wanted,
                                         const std::string& repository) {
  const std::vector<std::string> models = gguf_models(files);
  if (!wanted.empty()) {
    if (auto exact = with_siblings(files, wanted); !exact.empty()) return exact;
    std::vector<std::string> matching;
    for (const std::string& name : models)
      if (lower(name).find(lower(wanted)) != std::string::npos) matching.push_back(name);
    if (matching.size() == 1) return with_siblings(files, matching[0]);
    if (matching.empty()) {
      throw Error(repository + " has no file " + wanted,
                  models.empty() ? "check the name" : "it has " + listed(models));
    }
    throw Error(wanted + " means several files of " + repository, "choose one of " + listed(matching));
  }
  std::vector<RepositoryFile> chosen;
  for (const RepositoryFile& file : files)
    if (belongs_to_a_model(file.path)) chosen.push_back(file);
  const auto has = [&](const char* end) {
    return std::any_of(chosen.begin(), chosen.end(), [&](const RepositoryFile& f) { return f.path.ends_with(end); });
  };
  if (has(".safetensors") && has("config.json")) return chosen;
  if (models.size() == 1) return with_siblings(files, models[0]);
  if (models.empty()) {
    throw Error(repository + " has neither safetensors with a config.json nor a GGUF file",
                "choose another repository of the model");
  }
  throw Error(repository + " has several models",
              "choose one, as in `sedum pull " + repository + ":" + models[0] + "`: " + listed(models));
}

std::string file_url(const std::string& endpoint, const std::string& repository, const std::string& path) {
  std::string url = endpoint + "/" + repository + "/resolve/main/";
  for (const unsigned char c : path) {
    const bool plain = std::isalnum(c) || c == '-' || c == '_' || c == '.' || c == '~' || c == '/';
    if (plain)
      url += char(c);
    else
      url += '%', url += "0123456789ABCDEF"[c >> 4], url += "0123456789ABCDEF"[c & 15];
  }
  return url;
}

}  // namespace sedum::hub
