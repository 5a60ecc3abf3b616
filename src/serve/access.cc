#include "serve/access.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <set>
#include <sstream>

#include <fmt/format.h>
#include <openssl/evp.h>

#include "base/error.h"
#include "base/file.h"
#include "serve/openai/failure.h"

namespace sedum::serve {
using openai::Failure;

namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Takes as long for every wrong key: time must not tell how much of one is right.
bool same_key(std::string_view a, std::string_view b) {
  unsigned char difference = a.size() != b.size();
  for (size_t i = 0; i < a.size(); ++i)
    difference |= static_cast<unsigned char>(a[i] ^ b[b.empty() ? 0 : i % b.size()]);
  return difference == 0 && !b.empty();
}

std::string_view host_name(std::string_view authority) {
  if (authority.starts_with('[')) return authority.substr(0, authority.find(']') + 1);
  return authority.substr(0, authority.find(':'));
}

std::string fingerprint(std::string_view key) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  SEDUM_CHECK(EVP_Digest(key.data(), key.size(), digest, &length, EVP_sha256(), nullptr) == 1);
  std::string text;
  for (int i = 0; i < 8; ++i) text += fmt::format("{:02x}", digest[i]);
  return text;
}

[[noreturn]] void too_many(const std::string& message, double seconds) {
  Failure failure(429, "rate_limit_error", message, "", "rate_limit_exceeded");
  failure.retry_seconds = int(std::clamp(std::ceil(seconds), 1.0, 60.0));
  throw failure;
}

void read_setting(ApiKey& key, const std::string& word, const std::string& where) {
  const size_t split = word.find('=');
  const std::string name = word.substr(0, split), value = split == std::string::npos ? "" : word.substr(split + 1);
  if (name == "name" && !value.empty()) {
    key.name = value;
    return;
  }
  int64_t number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  const bool good = error == std::errc() && end == value.data() + value.size() && number > 0 && number <= 1'000'000'000;
  if (good && name == "requests_per_minute")
    key.requests_per_minute = double(number);
  else if (good && name == "tokens_per_minute")
    key.tokens_per_minute = double(number);
  else if (good && name == "concurrent")
    key.concurrent = int(number);
  else
    throw Error(where + ": \"" + word + "\" is no bound of a key",
                "write name=…, requests_per_minute=N, tokens_per_minute=N or concurrent=N, N a whole number above 0");
}

}  // namespace

bool is_loopback(std::string_view host) {
  return host == "localhost" || host.ends_with(".localhost") || host.starts_with("127.") || host == "[::1]" ||
         host == "::1";
}

std::vector<ApiKey> read_api_keys(const std::string& path) {
  std::vector<ApiKey> keys;
  std::set<std::string> seen;
  std::istringstream lines(read_file(path));
  std::string line, word;
  for (int number = 1; std::getline(lines, line); ++number) {
    std::istringstream words(line.substr(0, line.find('#')));
    if (!(words >> word)) continue;
    const std::string where = path + ", line " + std::to_string(number);
    if (!seen.insert(word).second) throw Error(where + ": this key stands there twice", "take one out");
    keys.push_back({.key = word});
    while (words >> word) read_setting(keys.back(), word, where);
    if (keys.back().name.empty()) keys.back().name = "key " + std::to_string(keys.size());
  }
  if (keys.empty()) throw Error("no key in " + path, "write one into it, on a line of its own");
  return keys;
}

bool Bucket::has_room(double at) {
  if (per_minute <= 0) return true;
  level = std::min(per_minute, level + (at - filled_at) * per_minute / 60);
  filled_at = at;
  return level > 0;
}

double Bucket::seconds_until_room() const { return (1 - level) * 60 / per_minute; }

Access::Access(const std::vector<ApiKey>& keys, Options options)
    : has_keys_(!keys.empty()), options_(std::move(options)) {
  for (const ApiKey& key : keys) {
    callers_.push_back(std::shared_ptr<Caller>(new Caller(key.name, fingerprint(key.key))));
    Caller& caller = *callers_.back();
    caller.key_ = key.key, caller.concurrent_limit_ = key.concurrent;
    caller.requests_ = {key.requests_per_minute, key.requests_per_minute, now()};
    caller.tokens_ = {key.tokens_per_minute, key.tokens_per_minute, now()};
  }
  if (keys.empty()) callers_.push_back(std::shared_ptr<Caller>(new Caller("", "")));
}

// Pages of other sites can make a browser send requests here; without a key nothing else would tell them from our own.
void Access::check_origin(const http::Request& request) const {
  const std::string_view authority = request.header("host"), origin = request.header("origin"),
                         host = host_name(authority);
  const auto& allowed = options_.allowed_hosts;
  const bool known =
      host.empty() || is_loopback(host) || std::find(allowed.begin(), allowed.end(), host) != allowed.end();
  const bool foreign_name = options_.local && !known;  // a name of somebody else's that points here (DNS rebinding)
  const bool foreign_page =
      !origin.empty() && origin != "http://" + std::string(authority) && origin != "https://" + std::string(authority);
  if (foreign_name || foreign_page) {
    throw Failure(403, "invalid_request_error", "pages of other sites may not use this server unless it has an API key",
                  "", "forbidden_origin");
  }
}

Caller* Access::check(const http::Request& request) {
  if (!has_keys_) {
    check_origin(request);
    return callers_[0].get();
  }
  std::string_view key = request.header("x-api-key");  // Anthropic's
  if (const std::string_view header = request.header("authorization"); key.empty()) {
    if (header.empty())
      throw Failure(401, "invalid_request_error", "an API key is needed: Authorization: Bearer KEY", "",
                    "missing_api_key");
    key = header.starts_with("Bearer ") ? header.substr(7) : "";
  }
  Caller* found = nullptr;
  for (const auto& caller : callers_)
    if (same_key(key, caller->key_)) found = caller.get();
  if (!found) throw Failure(401, "invalid_request_error", "this API key is not known", "", "invalid_api_key");
  return found;
}

std::shared_ptr<void> Access::admit(Caller* caller) {
  std::lock_guard lock(*mutex_);
  if (in_flight_->load() >= options_.max_requests)
    too_many(fmt::format("{} requests are in flight already; try again shortly", options_.max_requests), 1);
  if (caller->concurrent_limit_ > 0 && caller->running_ >= caller->concurrent_limit_)
    too_many(fmt::format("this key may have {} requests in flight", caller->concurrent_limit_), 1);
  const double at = now();
  if (!caller->tokens_.has_room(at))
    too_many(fmt::format("this key may use {:.0f} tokens a minute", caller->tokens_.per_minute),
             caller->tokens_.seconds_until_room());
  if (!caller->requests_.has_room(at) || (caller->requests_.per_minute > 0 && caller->requests_.level < 1))
    too_many(fmt::format("this key may make {:.0f} requests a minute", caller->requests_.per_minute),
             caller->requests_.seconds_until_room());
  --caller->requests_.level;
  ++caller->running_, ++*in_flight_;
  const auto shared = *std::find_if(callers_.begin(), callers_.end(), [&](const auto& c) { return c.get() == caller; });
  return std::shared_ptr<void>(shared.get(), [shared, count = in_flight_, mutex = mutex_](void*) {
    std::lock_guard again(*mutex);
    --shared->running_, --*count;
  });
}

void Access::spend(Caller* caller, int64_t tokens) {
  std::lock_guard lock(*mutex_);
  caller->tokens_.level -= double(tokens);
}

}  // namespace sedum::serve
