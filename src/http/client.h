#pragma once
// Fetching over HTTP(S), for downloads of any size. Proxies from the environment are honoured as curl does.
//
//   http::RemoteFile file = http::head("https://host/model.gguf");
//   http::download("https://host/model.gguf", "model.gguf.part", {.progress = [](uint64_t done, uint64_t total) {}});
//   std::string listing = http::get("https://host/api/list");
//
// A download that was cut off goes on where it stopped when it is called again.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/error.h"

namespace sedum::http {

// Why a request failed. `status` 0: no answer at all (no route, refused, timed out, cut off).
class HttpError : public Error {
 public:
  HttpError(const std::string& problem, const std::string& mend, int status_code)
      : Error(problem, mend), status(status_code) {}
  const int status;
};

struct RequestOptions {
  std::vector<std::string> headers = {};  // "Authorization: Bearer …"; not sent on to another host by a redirect
  double connect_seconds = 5;             // name, connection and TLS together
  double answer_seconds = 15;             // until the answer begins
  double stall_seconds = 30;              // without a single byte
};

struct DownloadOptions {
  RequestOptions request = {};
  // The caller has a checksum: go on with what is there whatever its source was. Without it the server must confirm by its
  // entity tag (kept in PART.etag) that the file is still the same, or all of it is fetched again.
  bool checksum_follows = false;
  std::function<void(uint64_t done, uint64_t total)> progress = {};  // total 0: not known
};

struct RemoteFile {
  uint64_t size = 0;  // 0: not told
  std::string etag;
};

RemoteFile head(const std::string& url, const RequestOptions& options = {});

struct Page {
  std::string body, next;  // `next`: the address in a header "Link: <…>; rel="next""
};
Page get_page(const std::string& url, const RequestOptions& options = {}, size_t max_bytes = 64 << 20);
std::string get(const std::string& url, const RequestOptions& options = {}, size_t max_bytes = 64 << 20);

// Fetches into `part`, appending to what an earlier call left there. What comes is on disk also when it throws.
void download(const std::string& url, const std::filesystem::path& part, const DownloadOptions& options = {});

// "host:port" of an address, for messages.
std::string host_of(const std::string& url);

}  // namespace sedum::http
