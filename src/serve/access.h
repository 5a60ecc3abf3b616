#pragma once
// Who may ask, and how much.
//
//   # keys.txt: a key a line, then what bounds it
//   sk-alice  name=alice  requests_per_minute=60  tokens_per_minute=20000  concurrent=4
//
//   Access access(read_api_keys("keys.txt"), {.max_requests = 256});
//   Caller* caller = access.check(request);          // Failure 401 or 403
//   std::shared_ptr<void> place = access.admit(caller);   // Failure 429
//   access.spend(caller, tokens);

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "http/server.h"

namespace sedum::serve {

struct ApiKey {
  std::string key, name = {};                             // the name stands in logs; "": the key's number in the file
  double requests_per_minute = 0, tokens_per_minute = 0;  // 0: without bound
  int concurrent = 0;
};

std::vector<ApiKey> read_api_keys(const std::string& path);  // Error names the line

// A bucket that fills at the rate and holds one minute of it (a "token bucket").
struct Bucket {
  double per_minute = 0, level = 0;
  double filled_at = 0;               // seconds
  bool has_room(double now);          // fills it first
  double seconds_until_room() const;  // after has_room() was false
};

class Caller {
 public:
  const std::string name, id;  // id: the same for the same key, and nobody can tell the key by it

 private:
  friend class Access;
  Caller(std::string caller_name, std::string caller_id) : name(std::move(caller_name)), id(std::move(caller_id)) {}
  std::string key_;
  int concurrent_limit_ = 0, running_ = 0;
  Bucket requests_, tokens_;
};

class Access {
 public:
  struct Options {
    int max_requests = 256;                       // in flight
    bool local = true;                            // only this machine's programs can reach the server
    std::vector<std::string> allowed_hosts = {};  // names that it may be asked by beside this machine's own
  };
  Access(const std::vector<ApiKey>& keys, Options options);
  Caller* check(const http::Request& request);  // without keys: the one caller that everybody is
  std::shared_ptr<void> admit(Caller* caller);  // a place among the requests in flight, given back with the last copy
  void spend(Caller* caller, int64_t tokens);
  bool has_keys() const { return has_keys_; }
  int in_flight() const { return in_flight_->load(); }

 private:
  void check_origin(const http::Request& request) const;
  const bool has_keys_;
  const Options options_;
  const std::shared_ptr<std::atomic<int>> in_flight_ = std::make_shared<std::atomic<int>>(0);
  const std::shared_ptr<std::mutex> mutex_ = std::make_shared<std::mutex>();
  std::vector<std::shared_ptr<Caller>> callers_;
};

bool is_loopback(std::string_view host);

}  // namespace sedum::serve
