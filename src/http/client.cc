#include "http/client.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <optional>

#include <curl/curl.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/file.h"

namespace sedum::http {
namespace fs = std::filesystem;

namespace {

bool starts_with_without_case(std::string_view text, std::string_view start) {
  return text.size() >= start.size() && std::equal(start.begin(), start.end(), text.begin(), [](char a, char b) {
           return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
         });
}

std::string trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1));
}

// One transfer. The callbacks must not throw through curl: they note what went wrong and stop the transfer.
class Transfer {
 public:
  Transfer(const std::string& url, const RequestOptions& options) : url_(url), options_(options) {
    static std::once_flag once;
    std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
    curl_ = curl_easy_init();
    SEDUM_CHECK(curl_ != nullptr);
    set(CURLOPT_URL, url.c_str());
    set(CURLOPT_USERAGENT, "sedum/0.1");
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    set(CURLOPT_FOLLOWLOCATION, 1L);
    set(CURLOPT_MAXREDIRS, 10L);
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_CONNECTTIMEOUT_MS, long(options.connect_seconds * 1000));
    set(CURLOPT_LOW_SPEED_LIMIT, 1L);
    set(CURLOPT_LOW_SPEED_TIME, std::max(1L, long(options.stall_seconds)));
    set(CURLOPT_ERRORBUFFER, error_);
    set(CURLOPT_HEADERFUNCTION, &Transfer::header_callback);
    set(CURLOPT_HEADERDATA, this);
    set(CURLOPT_WRITEFUNCTION, &Transfer::body_callback);
    set(CURLOPT_WRITEDATA, this);
    set(CURLOPT_XFERINFOFUNCTION, &Transfer::progress_callback);
    set(CURLOPT_XFERINFODATA, this);
    set(CURLOPT_NOPROGRESS, 0L);
    for (const std::string& header : options.headers) add_header(header);
  }
  ~Transfer() {
    curl_slist_free_all(headers_);
    curl_easy_cleanup(curl_);
  }
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  template <class T>
  void set(CURLoption option, T value) {
    curl_easy_setopt(curl_, option, value);
  }
  void add_header(const std::string& header) { headers_ = curl_slist_append(headers_, header.c_str()); }

  // Returns the status; throws for what is neither 2xx nor `accepted`.
  int run(int accepted = 0) {
    set(CURLOPT_HTTPHEADER, headers_);
    started_ = Clock::now();
    const CURLcode code = curl_easy_perform(curl_);
    if (failure) std::rethrow_exception(failure);
    if (code != CURLE_OK && !(code == CURLE_WRITE_ERROR && stopped_)) throw_unreachable(code);
    if (status / 100 != 2 && status != accepted) throw_status();
    return status;
  }

  // The last answer's, after redirects.
  int status = 0;
  std::string etag, link, content_range;
  std::optional<uint64_t> length;
  // Called with the body of a 2xx answer; may set `failure`, and stop by returning false.
  std::function<bool(const char* data, size_t size)> on_body;
  std::exception_ptr failure;

 private:
  using Clock = std::chrono::steady_clock;

  void read_header(std::string_view line) {
    if (line.starts_with("HTTP/")) {
      status = 0;
      if (const size_t space = line.find(' '); space != std::string_view::npos) {
        status = std::atoi(std::string(line.substr(space + 1)).c_str());
      }
      etag.clear(), link.clear(), content_range.clear(), length.reset();
    }
    const auto value = [&](std::string_view name, std::string* to) {
      if (starts_with_without_case(line, name)) *to = trimmed(line.substr(name.size()));
    };
    std::string size;
    value("etag:", &etag);
    value("link:", &link);
    value("content-range:", &content_range);
    value("content-length:", &size);
    if (!size.empty()) length = std::strtoull(size.c_str(), nullptr, 10);
  }

  static size_t header_callback(char* data, size_t, size_t size, void* self) {
    static_cast<Transfer*>(self)->read_header({data, size});
    return size;
  }

  static size_t body_callback(char* data, size_t, size_t size, void* user) {
    auto& self = *static_cast<Transfer*>(user);
    if (self.status / 100 != 2) return size;  // the page of an error: nobody reads it
    if (!self.on_body || self.on_body(data, size)) return size;
    self.stopped_ = true;
    return CURL_WRITEFUNC_ERROR;
  }

  static int progress_callback(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    auto& self = *static_cast<Transfer*>(user);
    const std::chrono::duration<double> waited = Clock::now() - self.started_;
    return self.status == 0 && waited.count() > self.options_.connect_seconds + self.options_.answer_seconds;
  }

  [[noreturn]] void throw_unreachable(CURLcode code) {
    const std::string host = host_of(url_);
    std::string reason = error_[0] ? error_ : curl_easy_strerror(code);
    if (code == CURLE_ABORTED_BY_CALLBACK) reason = "no answer";
    if (code == CURLE_PARTIAL_FILE || (code == CURLE_RECV_ERROR && status)) reason = "the connection was cut off";
    throw HttpError("cannot fetch from " + host + ": " + reason,
                    "check the network (https_proxy is honoured), or try again: what has arrived is kept", 0);
  }

  [[noreturn]] void throw_status() {
    std::string mend = "try again later";
    if (status == 404) mend = "check the name";
    if (status == 401 || status == 403) mend = "the file may need an account: set HF_TOKEN after accepting its terms";
    throw HttpError(url_ + " answered with status " + std::to_string(status), mend, status);
  }

  CURL* curl_;
  curl_slist* headers_ = nullptr;
  const std::string url_;
  const RequestOptions& options_;
  Clock::time_point started_;
  bool stopped_ = false;
  char error_[CURL_ERROR_SIZE] = "";
};

// `Link: <https://…>; rel="next"`
std::string next_link(const std::string& header) {
  const size_t rel = header.find("rel=\"next\"");
  if (rel == std::string::npos) return {};
  const size_t begin = header.rfind('<', rel), end = header.rfind('>', rel);
  if (begin == std::string::npos || end == std::string::npos || end < begin) return {};
  return header.substr(begin + 1, end - begin - 1);
}

// A file that grows while it is fetched.
class PartFile {
 public:
  explicit PartFile(const fs::path& path) : path_(path) {
    descriptor_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (descriptor_ < 0) throw_system_error("cannot write", path);
    const off_t end = ::lseek(descriptor_, 0, SEEK_END);
    if (end < 0) throw_system_error("cannot write", path);
    size_ = uint64_t(end);
  }
  ~PartFile() { ::close(descriptor_); }
  PartFile(const PartFile&) = delete;
  PartFile& operator=(const PartFile&) = delete;

  uint64_t size() const { return size_; }
  void clear() {
    if (size_ == 0) return;
    if (::ftruncate(descriptor_, 0) != 0 || ::lseek(descriptor_, 0, SEEK_SET) != 0) {
      throw_system_error("cannot write", path_);
    }
    size_ = 0;
  }
  void write(const char* data, size_t bytes) {
    while (bytes > 0) {
      const ssize_t n = ::write(descriptor_, data, bytes);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) throw_system_error("cannot write", path_);
      data += n, bytes -= size_t(n), size_ += uint64_t(n);
    }
  }

 private:
  const fs::path path_;
  int descriptor_;
  uint64_t size_ = 0;
};

}  // namespace

std::string host_of(const std::string& url) {
  const size_t scheme = url.find("://");
  const size_t begin = scheme == std::string::npos ? 0 : scheme + 3;
  const std::string authority = url.substr(begin, url.find_first_of("/?#", begin) - begin);
  return authority.substr(authority.rfind('@') + 1);  // npos + 1 is 0
}

RemoteFile head(const std::string& url, const RequestOptions& options) {
  Transfer transfer(url, options);
  transfer.set(CURLOPT_NOBODY, 1L);
  transfer.run();
  return {transfer.length.value_or(0), transfer.etag};
}

Page get_page(const std::string& url, const RequestOptions& options, size_t max_bytes) {
  Transfer transfer(url, options);
  Page page;
  transfer.on_body = [&](const char* data, size_t size) {
    if (page.body.size() + size > max_bytes) {
      transfer.failure = std::make_exception_ptr(Error(url + " sends more than " + std::to_string(max_bytes) + " bytes",
                                                       "this is not what was expected there"));
      return false;
    }
    page.body.append(data, size);
    return true;
  };
  transfer.set(CURLOPT_ACCEPT_ENCODING, "");
  transfer.run();
  page.next = next_link(transfer.link);
  return page;
}

std::string get(const std::string& url, const RequestOptions& options, size_t max_bytes) {
  return get_page(url, options, max_bytes).body;
}

void download(const std::string& url, const fs::path& part, const DownloadOptions& options) {
  const fs::path tag_file = part.string() + ".etag";
  PartFile file(part);
  std::string tag = fs::exists(tag_file) ? trimmed(read_file(tag_file)) : "";
  if (file.size() > 0 && tag.empty() && !options.checksum_follows) file.clear();
  const uint64_t start = file.size();

  Transfer transfer(url, options.request);
  if (start > 0) {
    transfer.add_header("Range: bytes=" + std::to_string(start) + "-");
    if (!options.checksum_follows) transfer.add_header("If-Range: " + tag);
  }
  bool begun = false;
  uint64_t total = 0;
  const auto begin = [&] {
    begun = true;
    const std::string expected = "bytes " + std::to_string(start) + "-";
    if (transfer.status != 206)
      file.clear();  // the file has changed, or the server gives whole files only
    else if (!transfer.content_range.starts_with(expected))
      throw HttpError(url + " sent another part than was asked for: " + transfer.content_range, "try again", 206);
    total = transfer.length ? file.size() + *transfer.length : 0;
    const bool strong = !transfer.etag.empty() && !transfer.etag.starts_with("W/");
    if (strong)
      write_file(tag_file, transfer.etag);
    else
      fs::remove(tag_file);
  };
  transfer.on_body = [&](const char* data, size_t size) {
    try {
      if (!begun) begin();
      file.write(data, size);
      if (options.progress) options.progress(file.size(), total);
    } catch (...) {
      transfer.failure = std::current_exception();
    }
    return !transfer.failure;
  };
  const int status = transfer.run(start > 0 ? 416 : 0);
  if (status == 416) {  // nothing follows: complete if the server says that its size is ours ("bytes */123")
    if (transfer.content_range.ends_with("/" + std::to_string(start))) return;
    fs::resize_file(part, 0);
    throw HttpError("the part of " + url + " that was here does not belong to it", "try again: it starts anew", 416);
  }
  if (!begun) begin();  // an empty body
}

}  // namespace sedum::http
