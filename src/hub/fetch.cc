#include "hub/fetch.h"

#include "base/file.h"
#include "base/progress.h"
#include "http/client.h"
#include "hub/cache.h"

namespace sedum::hub {
namespace fs = std::filesystem;

namespace {

uint64_t size_or_zero(const fs::path& path) {
  std::error_code e;
  const uint64_t size = fs::file_size(path, e);
  return e ? 0 : size;
}

void remove_part(const fs::path& part) {
  fs::remove(part);
  fs::remove(part.string() + ".etag");
}

// Fetches and verifies; a resumed part that turns out wrong (another version of the file, say) is fetched again from its start.
void fetch_from(const Source& source, const Wanted& wanted, const fs::path& part) {
  const bool resumed = size_or_zero(part) > 0;
  source.fetch(wanted, part);
  const uint64_t size = size_or_zero(part);
  const bool right_size = wanted.size == 0 || size == wanted.size;
  if (right_size && wanted.checksum.matches(part)) return;
  remove_part(part);
  if (resumed) return fetch_from(source, wanted, part);
  throw SourceError(right_size ? "what " + source.name + " sent does not have the right checksum"
                               : source.name + " sent " + std::to_string(size) + " bytes, expected were " +
                                     std::to_string(wanted.size));
}

}  // namespace

std::string fetch_verified(const Wanted& wanted, const std::vector<Source>& sources,
                           const std::function<void(const std::string&)>& say) {
  const fs::path part = wanted.target.string() + ".part";
  fs::create_directories(wanted.target.parent_path());
  if (wanted.size > 0 && size_or_zero(part) > wanted.size) remove_part(part);
  const auto finish = [&] {
    fs::rename(part, wanted.target);
    fs::remove(part.string() + ".etag");
    sync_folder(wanted.target.parent_path());
  };
  if (wanted.checksum.known() && wanted.size > 0 && size_or_zero(part) == wanted.size &&
      wanted.checksum.matches(part)) {
    finish();  // interrupted after the last byte
    return "an earlier fetch";
  }
  check_space(wanted.target.parent_path(), wanted.size - std::min(wanted.size, size_or_zero(part)));
  std::string failures;
  const auto failed = [&](const Error& e) {
    failures += (failures.empty() ? "" : "; ") + e.problem();
    if (say) say(e.problem());
  };
  for (const Source& source : sources) {
    try {
      fetch_from(source, wanted, part);
    } catch (const SourceError& e) {
      failed(e);
      continue;
    } catch (const http::HttpError& e) {
      failed(e);
      continue;
    }
    finish();
    return source.name;
  }
  throw Error(
      "cannot fetch " + wanted.target.filename().string() + " from any source: " + failures,
      "check the network (https_proxy is honoured) and try again, or copy the file to " + wanted.target.string());
}

Source hub_source(const std::string& url, const std::string& token) {
  const std::string host = http::host_of(url);
  return {host, [=](const Wanted& wanted, const fs::path& part) {
            Progress progress("fetching " + wanted.target.filename().string() + " from " + host, wanted.size,
                              Progress::Unit::kBytes);
            http::DownloadOptions options{.checksum_follows = wanted.checksum.known()};
            if (!token.empty()) options.request.headers.push_back("Authorization: Bearer " + token);
            options.progress = [&](uint64_t done, uint64_t) {
              if (wanted.size > 0 && done > wanted.size)
                throw SourceError(host + " sends more than the file's " + std::to_string(wanted.size) + " bytes");
              progress.set(done);
            };
            http::download(url, part, options);
          }};
}

}  // namespace sedum::hub
