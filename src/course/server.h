#pragma once
// `sedum course serve`: the table, a lesson with its note and pictures, a button that runs it, the check-in form, the progress.
//
//   course::Server server(options);
//   server.start();             // http://127.0.0.1:8090
//
// Only this machine may use it: it listens on 127.0.0.1, answers only requests that name a loopback host (a foreign name that
// was pointed at 127.0.0.1 is refused), and what changes or runs something needs the token that only the page knows, from the
// page's own origin. Files are served from the course's docs/, code/ and results/ alone.

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "course/checkin.h"
#include "http/server.h"

namespace sedum::course {

struct ServerOptions {
  Folders folders;
  Places places;
  int port = 8090;
  bool commit = true;
  std::function<Date()> today = course::today;
};

class Server {
 public:
  explicit Server(ServerOptions options);
  ~Server();
  void start() { http_.start(); }
  void stop();
  std::string address() const { return http_.address(); }

 private:
  using Handle = http::Response (Server::*)(const http::Request&);
  void get(const std::string& path, Handle handle);
  void post(const std::string& path, Handle handle);
  void check_host(const http::Request& request) const;
  void check_token(const http::Request& request) const;

  http::Response page(const http::Request& request);
  http::Response state(const http::Request& request);
  http::Response lesson(const http::Request& request);
  http::Response file(const http::Request& request);
  http::Response picture(const http::Request& request);
  http::Response progress(const http::Request& request);
  http::Response check_in(const http::Request& request);
  void run(const http::Request& request, const http::Exchange& exchange);
  void run_lesson(Day day, bool quick, const http::Exchange& exchange);

  const ServerOptions options_;
  const Plan plan_;
  const Lessons lessons_;
  const std::string token_;
  std::mutex log_mutex_;  // one check-in at a time
  std::atomic<bool> running_{false}, stopping_{false};
  std::thread runner_;
  http::Server http_;
};

}  // namespace sedum::course
