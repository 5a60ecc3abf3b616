#pragma once
// The two ends of an answer inside the server: the exchange that a handler holds, and the connection as the exchange sees it.

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "http/server.h"

namespace sedum::http {

// A connection, from any thread.
class Link {
 public:
  virtual ~Link() = default;
  virtual std::string head(const Response& response, bool whole, bool chunked) = 0;  // status line and headers
  virtual bool send(std::string bytes, bool last) = 0;  // false: gone. `last`: the answer is complete
  virtual bool drain() = 0;
  virtual void abort() = 0;
  virtual Response error_response(int status, const std::string& message) const = 0;
};

// One request's way to its connection. `link` is dropped at the end of the answer, so that a late call finds nothing.
struct Exchange::State {
  enum class Phase { kOpen, kStreaming, kDone, kClosed };

  ~State();
  void answer(const Response& response, bool whole);
  bool write(std::string_view piece);
  void finish();
  bool drain();
  void close();  // by the connection: the client has gone
  void on_closing(std::function<void()> callback);
  void log_end(bool cut);  // with the mutex held

  std::mutex mutex;
  Phase phase = Phase::kOpen;
  std::shared_ptr<Link> link;
  std::function<void()> on_close;
  bool chunked = true, head_only = false;
  Record record;
  std::function<void(const Record&)> log;
  const std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
};

}  // namespace sedum::http
