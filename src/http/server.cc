#include "http/server.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <exception>
#include <future>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <thread>

#include <boost/asio.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include "base/error.h"
#include "base/json.h"
#include "http/exchange.h"

namespace sedum::http {
namespace asio = boost::asio;
namespace beast = boost::beast;
using boost::system::error_code;
using tcp = asio::ip::tcp;
using Clock = std::chrono::steady_clock;

namespace {

std::chrono::nanoseconds seconds(double s) { return std::chrono::nanoseconds(int64_t(s * 1e9)); }

bool same_without_case(std::string_view a, std::string_view b) {
  return beast::iequals({a.data(), a.size()}, {b.data(), b.size()});
}

std::string percent_decoded(std::string_view text) {
  std::string decoded;
  const auto digit = [&](size_t i) {
    const char c = i < text.size() ? text[i] : ' ';
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
  };
  for (size_t i = 0; i < text.size(); ++i) {
    const bool escaped = text[i] == '%' && digit(i + 1) >= 0 && digit(i + 2) >= 0;
    decoded += escaped ? char(digit(i + 1) * 16 + digit(i + 2)) : text[i];
    if (escaped) i += 2;
  }
  return decoded;
}

// A client's own id goes through where it can stand in a header and a log line.
std::string request_id(std::string_view given) {
  const bool plain = !given.empty() && given.size() <= 128 && std::all_of(given.begin(), given.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
  });
  if (plain) return std::string(given);
  thread_local std::mt19937_64 random{std::random_device{}()};
  char text[40];
  std::snprintf(text, sizeof text, "req_%016llx%08llx", static_cast<unsigned long long>(random()),
                static_cast<unsigned long long>(random() & 0xffffffff));
  return text;
}

std::string default_error_body(const std::string& message) { return nlohmann::json{{"error", message}}.dump(); }

}  // namespace

std::string_view Request::header(std::string_view name) const {
  for (const auto& [key, value] : headers)
    if (same_without_case(key, name)) return value;
  return {};
}

// What all connections share. Held by each of them, so that an exchange that outlives its server is harmless.
struct Server::Core {
  explicit Core(Options o) : options(std::move(o)), acceptor(asio::make_strand(io)), retry(acceptor.get_executor()) {}

  void accept(std::shared_ptr<Core> self);

  Response error(int status, const std::string& message) const {
    return options.error ? options.error(status, message)
                         : Response{.status = status, .body = default_error_body(message)};
  }

  using Methods = std::map<std::string, Handler>;
  // The handlers of a path, or null; `rest` gets what a "/*" stands for.
  const Methods* find(const std::string& path, std::string& rest) const {
    if (const auto exact = routes.find(path); exact != routes.end()) return &exact->second;
    for (size_t end = path.rfind('/'); end != std::string::npos && end > 0; end = path.rfind('/', end - 1)) {
      const auto found = routes.find(path.substr(0, end) + "/*");
      if (found == routes.end()) continue;
      rest = path.substr(end + 1);
      return &found->second;
    }
    return nullptr;
  }

  Options options;
  std::map<std::string, Methods> routes;  // by path
  asio::io_context io;
  tcp::acceptor acceptor;
  asio::steady_timer retry;
  std::vector<std::thread> threads;
  std::atomic<bool> draining{false};

  std::mutex mutex;
  std::condition_variable changed;  // a connection has gone
  std::set<std::shared_ptr<Connection>> connections;
};

// A connection's life: watch() until bytes come, read one request, hand it over, and watch again while the answer is made. A read
// that ends during that time tells that the client has gone; bytes that come are the next request and wait for their turn.
// Members without a lock belong to the strand.
class Server::Connection : public Link, public std::enable_shared_from_this<Connection> {
 public:
  Connection(std::shared_ptr<Core> core, tcp::socket socket)
      : core_(std::move(core)),
        limits_(core_->options.limits),
        socket_(std::move(socket)),
        timer_(socket_.get_executor()) {
    error_code ignored;
    socket_.set_option(tcp::no_delay(true), ignored);
    const auto remote = socket_.remote_endpoint(ignored);
    if (!ignored) remote_ = remote.address().to_string();
  }

  void start() {
    post([](Connection& c) { c.await_request(); });
  }

  void turn_away() {
    post([](Connection& c) {
      c.refused_ = true;
      const Response response = c.error_response(503, "too many connections");
      c.send(c.head(response, true, false) + response.body, true);
    });
  }

  // Closes what waits for a request; with `busy` also what is being answered.
  void stop(bool busy) {
    post([busy](Connection& c) {
      if (busy || c.idle_) c.close();
    });
  }

  // From any thread. `last`: the answer is complete.
  bool send(std::string bytes, bool last) override {
    std::lock_guard lock(out_mutex_);
    if (gone_) return false;
    if (queue_.size() + bytes.size() > limits_.queue_bytes && !queue_.empty()) {  // one large body may exceed it alone
      post([](Connection& c) { c.close(); });
      return false;
    }
    if (queue_.empty())
      queue_ = std::move(bytes);
    else
      queue_ += bytes;
    answered_ = last;
    if (!std::exchange(writing_, true)) post([](Connection& c) { c.write_some(); });
    return true;
  }

  bool drain() override {
    if (core_->io.get_executor().running_in_this_thread())
      throw ApiError("http::Exchange::drain", "called by a handler");
    std::unique_lock lock(out_mutex_);
    taken_.wait(lock, [&] { return gone_ || queue_.empty(); });
    return !gone_;
  }

  Response error_response(int status, const std::string& message) const override {
    return core_->error(status, message);
  }

  void abort() override {
    post([](Connection& c) { c.close(); });
  }

  std::string head(const Response& response, bool whole, bool chunked) override {
    if (core_->draining) keep_alive_ = false;
    std::string text = "HTTP/1.1 " + std::to_string(response.status) + " ";
    text += std::string(beast::http::obsolete_reason(beast::http::int_to_status(unsigned(response.status)))) + "\r\n";
    if (!response.content_type.empty()) text += "Content-Type: " + response.content_type + "\r\n";
    if (whole)
      text += "Content-Length: " + std::to_string(response.body.size()) + "\r\n";
    else
      text += chunked ? "Transfer-Encoding: chunked\r\nCache-Control: no-store\r\n" : "Cache-Control: no-store\r\n";
    for (const auto& [name, value] : response.headers) text += name + ": " + value + "\r\n";
    return text + (keep_alive_ ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n");
  }

 private:
  using Parser = beast::http::request_parser<beast::http::string_body>;

  template <class F>
  void post(F f) {
    asio::post(socket_.get_executor(), [self = shared_from_this(), f] { f(*self); });
  }

  // At the deadline `then` runs; a later call replaces it.
  void set_deadline(double in_seconds, void (Connection::*then)()) {
    if (gone_) return;
    timer_.expires_after(seconds(in_seconds));
    timer_.async_wait([self = shared_from_this(), this, then, set = ++deadline_](error_code e) {
      if (!e && set == deadline_) (this->*then)();
    });
  }
  void clear_deadline() {
    ++deadline_;
    timer_.cancel();
  }

  void await_request() {
    idle_ = true;
    if (core_->draining) return close();
    set_deadline(limits_.idle_seconds, &Connection::close);
    if (buffer_.size() > 0)
      read_request();  // it came while the last one was answered
    else if (!watching_)
      watch();
  }

  void watch() {
    watching_ = true;
    socket_.async_read_some(buffer_.prepare(4096), [self = shared_from_this(), this](error_code e, size_t n) {
      watching_ = false;
      if (e) return close();
      buffer_.commit(n);
      if (idle_) read_request();
    });
  }

  void read_request() {
    idle_ = false;
    keep_alive_ = false;  // until the request is known to be a good one
    parser_.emplace();
    parser_->header_limit(limits_.header_bytes);
    parser_->body_limit(limits_.body_bytes);
    set_deadline(limits_.request_seconds, &Connection::request_too_slow);
    beast::http::async_read_header(socket_, buffer_, *parser_, [self = shared_from_this(), this](error_code e, size_t) {
      if (e) return refuse(e);
      if (!same_without_case(std::string(parser_->get()[beast::http::field::expect]), "100-continue"))
        return read_body();
      static const std::string go_on = "HTTP/1.1 100 Continue\r\n\r\n";
      asio::async_write(socket_, asio::buffer(go_on), [self, this](error_code failed, size_t) {
        if (failed) return close();
        read_body();
      });
    });
  }

  void read_body() {
    beast::http::async_read(socket_, buffer_, *parser_, [self = shared_from_this(), this](error_code e, size_t) {
      if (e) return refuse(e);
      clear_deadline();
      dispatch(parser_->release());
    });
  }

  void request_too_slow() {
    timed_out_ = true;
    error_code ignored;
    socket_.cancel(ignored);
  }

  // An answer of the server's own, after which the connection ends: what follows in the stream cannot be trusted.
  void refuse(error_code e) {
    using beast::http::error;
    const bool malformed = e.category() == error_code(error::end_of_stream).category() && e != error::end_of_stream;
    if (gone_ || (!malformed && !timed_out_)) return close();
    refused_ = true;
    const auto over = [](const char* what, uint64_t limit) {
      return std::string("the request's ") + what + " exceeds the limit of " + std::to_string(limit) + " bytes";
    };
    Response response = timed_out_                 ? error_response(408, "the request did not arrive in time")
                        : e == error::body_limit   ? error_response(413, over("body", limits_.body_bytes))
                        : e == error::header_limit ? error_response(431, over("head", limits_.header_bytes))
                                                   : error_response(400, "malformed request: " + e.message());
    response.headers.emplace_back("X-Request-Id", request_id(""));
    if (core_->options.log)
      core_->options.log({.id = response.headers.back().second,
                          .remote = remote_,
                          .method = "",
                          .path = "",
                          .status = response.status,
                          .bytes = response.body.size()});
    send(head(response, true, false) + response.body, true);
  }

  void dispatch(beast::http::request<beast::http::string_body> message) {
    keep_alive_ = message.keep_alive() && message.version() >= 11;
    Request request{.method = std::string(message.method_string()),
                    .path = std::string(message.target()),
                    .rest = {},
                    .query = {},
                    .headers = {},
                    .body = std::move(message.body()),
                    .remote = remote_,
                    .id = {}};
    if (const size_t mark = request.path.find('?'); mark != std::string::npos) {
      request.query = request.path.substr(mark + 1);
      request.path.resize(mark);
    }
    request.path = percent_decoded(request.path);
    for (const auto& field : message)
      request.headers.emplace_back(std::string(field.name_string()), std::string(field.value()));

    auto state = std::make_shared<Exchange::State>();
    state->link = shared_from_this();
    state->chunked = message.version() >= 11;
    state->head_only = request.method == "HEAD";
    request.id = request_id(request.header("x-request-id"));
    state->record.id = request.id, state->record.remote = remote_;
    state->record.method = request.method, state->record.path = request.path;
    state->log = core_->options.log;
    exchange_ = state;
    if (!watching_ && buffer_.size() == 0) watch();
    answer(request, Exchange(std::move(state)));
  }

  void answer(Request& request, const Exchange& exchange) const {
    const auto* methods = core_->find(request.path, request.rest);
    if (!methods) return exchange.respond(error_response(404, "no such path: " + request.path));
    const auto handler = methods->find(request.method == "HEAD" ? "GET" : request.method);
    if (handler == methods->end()) {
      Response response = error_response(405, request.method + " is not allowed for " + request.path);
      std::string allowed;
      for (const auto& [method, unused] : *methods) allowed += (allowed.empty() ? "" : ", ") + method;
      response.headers.emplace_back("Allow", allowed);
      return exchange.respond(response);
    }
    try {
      handler->second(request, exchange);
    } catch (const std::exception& e) {
      exchange.respond(error_response(500, e.what()));
    }
  }

  void write_some() {
    {
      std::lock_guard lock(out_mutex_);
      if (gone_) return;
      in_flight_.clear();
      in_flight_.swap(queue_);
    }
    taken_.notify_all();
    set_deadline(limits_.write_seconds, &Connection::close);
    asio::async_write(socket_, asio::buffer(in_flight_), [self = shared_from_this(), this](error_code e, size_t) {
      if (e || gone_) return close();
      clear_deadline();
      bool complete;
      {
        std::lock_guard lock(out_mutex_);
        writing_ = !queue_.empty();
        complete = !writing_ && std::exchange(answered_, false);
        if (writing_ && !gone_) post([](Connection& c) { c.write_some(); });
      }
      if (complete) after_answer();
    });
  }

  void after_answer() {
    exchange_.reset();
    if (keep_alive_) return await_request();
    if (!refused_) return close();
    // Closing with unread bytes would reset the connection and could cost the client our answer: say that it is the end, and
    // read a little of what still comes.
    error_code ignored;
    socket_.shutdown(tcp::socket::shutdown_send, ignored);
    set_deadline(2, &Connection::close);
    discard(std::make_shared<std::string>(64 << 10, '\0'));
  }

  void discard(std::shared_ptr<std::string> scratch) {
    socket_.async_read_some(asio::buffer(*scratch), [self = shared_from_this(), this, scratch](error_code e, size_t) {
      if (e) return close();
      discard(scratch);
    });
  }

  void close() {
    {
      std::lock_guard lock(out_mutex_);
      if (gone_.exchange(true)) return;
      queue_.clear();
    }
    taken_.notify_all();
    clear_deadline();
    error_code ignored;
    socket_.shutdown(tcp::socket::shutdown_both, ignored);
    socket_.close(ignored);
    if (const auto state = exchange_.lock()) state->close();
    {
      std::lock_guard lock(core_->mutex);
      core_->connections.erase(shared_from_this());
    }
    core_->changed.notify_all();
  }

  const std::shared_ptr<Core> core_;
  const Limits& limits_;
  tcp::socket socket_;
  asio::steady_timer timer_;
  uint64_t deadline_ = 0;
  std::string remote_;
  beast::flat_buffer buffer_;
  std::optional<Parser> parser_;
  std::weak_ptr<Exchange::State> exchange_;
  bool idle_ = false, watching_ = false, timed_out_ = false, refused_ = false;
  std::atomic<bool> keep_alive_{false};

  std::mutex out_mutex_;
  std::condition_variable taken_;
  std::string queue_, in_flight_;  // in_flight_ belongs to the strand
  bool writing_ = false, answered_ = false;
  std::atomic<bool> gone_{false};
};

namespace {

[[noreturn]] void listen_error(const std::string& where, const error_code& e) {
  std::string reason = e.message(), mend = "choose another --host or --port";
  if (e == asio::error::address_in_use) reason = "address in use", mend = "choose another --port";
  if (e == asio::error::access_denied) reason = "permission denied", mend = "choose a --port above 1023";
  if (e.value() == EADDRNOTAVAIL) reason = "this machine does not have that address", mend = "choose another --host";
  throw Error("cannot listen on " + where + ": " + reason, mend);
}

std::string authority(const std::string& host, int port) {
  const bool v6 = host.find(':') != std::string::npos;
  return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

}  // namespace

// Accepts until the acceptor is closed. `self` keeps the core while it waits.
void Server::Core::accept(std::shared_ptr<Core> self) {
  acceptor.async_accept(asio::make_strand(io), [self, this](error_code e, tcp::socket socket) {
    if (!acceptor.is_open()) return;
    if (e) {  // out of file descriptors, most likely: let some connections end
      retry.expires_after(std::chrono::milliseconds(100));
      return retry.async_wait([self, this](error_code stopped) {
        if (!stopped) accept(self);
      });
    }
    auto connection = std::make_shared<Connection>(self, std::move(socket));
    bool full;
    {
      std::lock_guard lock(mutex);
      full = int(connections.size()) >= options.limits.connections;
      connections.insert(connection);
    }
    if (full)
      connection->turn_away();
    else
      connection->start();
    accept(self);
  });
}

Server::Server(Options options) : core_(std::make_shared<Core>(std::move(options))) {}
Server::~Server() { stop(0); }

void Server::route(std::string method, std::string path, Handler handler) {
  if (!core_->threads.empty()) throw ApiError("http::Server::route", "called after start()");
  core_->routes[std::move(path)][std::move(method)] = std::move(handler);
}

void Server::start() {
  Core& core = *core_;
  if (!core.threads.empty()) throw ApiError("http::Server::start", "called twice");
  const std::string where = authority(core.options.host, core.options.port);
  if (core.options.port < 0 || core.options.port > 65535)
    throw Error("cannot listen on " + where + ": no such port", "choose a --port from 1 to 65535");
  error_code e;
  const auto found = tcp::resolver(core.io).resolve(core.options.host, std::to_string(core.options.port),
                                                    tcp::resolver::passive | tcp::resolver::numeric_service, e);
  if (e) throw Error("cannot listen on " + where + ": " + e.message(), "choose another --host");
  const tcp::endpoint endpoint = found.begin()->endpoint();
  core.acceptor.open(endpoint.protocol(), e);
  if (!e) core.acceptor.set_option(tcp::acceptor::reuse_address(true), e);
  if (!e) core.acceptor.bind(endpoint, e);
  if (!e) core.acceptor.listen(asio::socket_base::max_listen_connections, e);
  if (e) {
    error_code ignored;
    core.acceptor.close(ignored);
    listen_error(where, e);
  }
  core.options.port = core.acceptor.local_endpoint().port();
  core.accept(core_);
  for (int i = 0; i < std::max(1, core.options.threads); ++i) core.threads.emplace_back([&core] { core.io.run(); });
}

void Server::stop(double drain_seconds) {
  Core& core = *core_;
  if (core.threads.empty()) return;
  core.draining = true;
  // Before anything ends: who has seen a connection close must not find the door still open.
  std::packaged_task<void()> shut([&core] {
    error_code ignored;
    core.acceptor.close(ignored);
    core.retry.cancel();
  });
  asio::post(core.acceptor.get_executor(), std::move(shut)).wait();
  const auto stop_all = [&](bool busy) {
    std::lock_guard lock(core.mutex);
    for (const auto& connection : core.connections) connection->stop(busy);
  };
  stop_all(false);
  {
    std::unique_lock lock(core.mutex);
    core.changed.wait_for(lock, seconds(drain_seconds), [&] { return core.connections.empty(); });
  }
  stop_all(true);
  for (std::thread& thread : core.threads) thread.join();  // they end when there is nothing left to wait for
  core.threads.clear();
}

int Server::port() const { return core_->options.port; }
std::string Server::address() const { return "http://" + authority(core_->options.host, core_->options.port); }

}  // namespace sedum::http
