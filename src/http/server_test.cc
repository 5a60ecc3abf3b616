#include "http/server.h"

#include <atomic>
#include <chrono>
#include <mutex>
#include <optional>
#include <thread>

#include <gmock/gmock.h>

#include "base/error.h"
#include "http/socket_for_test.h"

namespace sedum::http {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using namespace std::chrono_literals;

struct ServerTest : ::testing::Test {
  Server& start(Limits limits = {}) {
    server.emplace(Server::Options{.port = 0, .limits = limits});
    server->route("GET", "/hello", [](const Request& r, Exchange e) { e.respond({.body = "hello " + r.query}); });
    server->route("POST", "/echo", [](const Request& r, Exchange e) {
      e.respond({.body = r.body, .content_type = std::string(r.header("CONTENT-type"))});
    });
    server->route("GET", "/throws", [](const Request&, Exchange) { throw Error("broken"); });
    server->route("GET", "/drops", [](const Request&, Exchange) {});
    server->route("GET", "/stream", [](const Request&, Exchange e) {
      e.begin({.content_type = "text/event-stream"});
      e.write("one");
      e.write("");
      e.write("two");
      e.finish();
      EXPECT_FALSE(e.write("late"));
    });
    server->route("GET", "/wait", [this](const Request&, Exchange e) {
      e.on_close([this] { closed.set(); });
      std::lock_guard lock(mutex);
      held = e;
      arrived.set();
    });
    server->start();
    return *server;
  }
  Exchange take() {
    EXPECT_TRUE(arrived.wait());
    std::lock_guard lock(mutex);
    return *std::exchange(held, std::nullopt);
  }

  std::mutex mutex;
  std::optional<Exchange> held;
  Flag arrived, closed;
  std::optional<Server> server;  // last: its threads use the others
};

constexpr char kGetHello[] = "GET /hello?a=1 HTTP/1.1\r\nHost: x\r\n\r\n";

TEST_F(ServerTest, AnswersAndKeepsTheConnection) {
  Socket client(start().port());
  for (int i = 0; i < 3; ++i) {
    client.send(kGetHello);
    const std::string answer = client.read_answer();
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
    EXPECT_THAT(answer, HasSubstr("Connection: keep-alive"));
    EXPECT_THAT(answer, EndsWith("\r\n\r\nhello a=1"));
  }
}

TEST_F(ServerTest, PipelinedRequestsAreAnsweredInOrder) {
  Socket client(start().port());
  client.send(std::string(kGetHello) + "POST /echo HTTP/1.1\r\nContent-Length: 3\r\nContent-Type: text/x\r\n\r\nabc" +
              kGetHello);
  EXPECT_THAT(client.read_answer(), EndsWith("hello a=1"));
  const std::string echo = client.read_answer();
  EXPECT_THAT(echo, HasSubstr("Content-Type: text/x"));
  EXPECT_THAT(echo, EndsWith("abc"));
  EXPECT_THAT(client.read_answer(), EndsWith("hello a=1"));
}

TEST_F(ServerTest, ARequestMayComeByteByByte) {
  Socket client(start().port());
  for (const char c :
       std::string("POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"))
    client.send(std::string(1, c));
  EXPECT_THAT(client.read_answer(), EndsWith("abc"));
}

TEST_F(ServerTest, StreamsInChunks) {
  Socket client(start().port());
  client.send("GET /stream HTTP/1.1\r\n\r\n");
  const std::string answer = client.read_until("0\r\n\r\n");
  EXPECT_THAT(answer, HasSubstr("Transfer-Encoding: chunked"));
  EXPECT_THAT(answer, EndsWith("\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"));
  client.send(kGetHello);
  EXPECT_THAT(client.read_answer(), EndsWith("hello a=1"));
}

TEST_F(ServerTest, StreamsToAnOldClientUntilTheEnd) {
  Socket client(start().port());
  client.send("GET /stream HTTP/1.0\r\n\r\n");
  const std::string answer = client.read_all();
  EXPECT_THAT(answer, HasSubstr("Connection: close"));
  EXPECT_THAT(answer, EndsWith("\r\n\r\nonetwo"));
}

TEST_F(ServerTest, HeadHasNoBody) {
  Socket client(start().port());
  client.send("HEAD /hello HTTP/1.1\r\nConnection: close\r\n\r\n");
  const std::string answer = client.read_all();
  EXPECT_THAT(answer, HasSubstr("Content-Length: 6\r\n"));
  EXPECT_THAT(answer, EndsWith("\r\n\r\n"));
}

TEST_F(ServerTest, UnknownPathsAndMethods) {
  Socket client(start().port());
  client.send("GET /nowhere HTTP/1.1\r\n\r\n");
  EXPECT_THAT(client.read_answer(), StartsWith("HTTP/1.1 404 Not Found"));
  client.send("DELETE /hel%6Co HTTP/1.1\r\n\r\n");
  const std::string answer = client.read_answer();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 405"));
  EXPECT_THAT(answer, HasSubstr("Allow: GET\r\n"));
}

TEST_F(ServerTest, AHandlerThatFailsOrForgetsIsAnswered) {
  Socket client(start().port());
  client.send("GET /throws HTTP/1.1\r\n\r\n");
  EXPECT_THAT(client.read_answer(), EndsWith(R"({"error":"broken"})"));
  client.send("GET /drops HTTP/1.1\r\n\r\n");
  EXPECT_THAT(client.read_answer(), StartsWith("HTTP/1.1 500"));
}

TEST_F(ServerTest, RefusesWhatIsNotHttp) {
  Socket client(start().port());
  client.send("\x16\x03\x01 not http at all\r\n\r\n");
  EXPECT_THAT(client.read_all(), StartsWith("HTTP/1.1 400"));
}

TEST_F(ServerTest, RefusesBodiesOverTheLimit) {
  start({.body_bytes = 1000});
  Socket announced(server->port());
  announced.send("POST /echo HTTP/1.1\r\nContent-Length: 1001\r\n\r\n" + std::string(1001, 'x'));
  EXPECT_THAT(announced.read_all(), StartsWith("HTTP/1.1 413"));
  Socket chunked(server->port());
  chunked.send("POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 20; ++i) chunked.send("64\r\n" + std::string(100, 'x') + "\r\n");
  EXPECT_THAT(chunked.read_all(), StartsWith("HTTP/1.1 413"));
  Socket waiting(server->port());  // asks first
  waiting.send("POST /echo HTTP/1.1\r\nContent-Length: 99999\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_THAT(waiting.read_until("\r\n"), StartsWith("HTTP/1.1 413"));
  Socket exact(server->port());
  exact.send("POST /echo HTTP/1.1\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_THAT(exact.read_until("\r\n\r\n"), StartsWith("HTTP/1.1 100"));
  exact.send(std::string(1000, 'y'));
  EXPECT_THAT(exact.read_answer(), EndsWith(std::string(1000, 'y')));
}

TEST_F(ServerTest, ALargeRefusedBodyStillGetsItsAnswer) {
  start({.body_bytes = 1000});
  Socket client(server->port());
  client.send("POST /echo HTTP/1.1\r\nContent-Length: 4000000\r\n\r\n" + std::string(4000000, 'x'));
  EXPECT_THAT(client.read_all(), StartsWith("HTTP/1.1 413"));
}

TEST_F(ServerTest, RefusesHeadersOverTheLimit) {
  start({.header_bytes = 1000});
  Socket client(server->port());
  client.send("GET /hello HTTP/1.1\r\nX: " + std::string(2000, 'x') + "\r\n\r\n");
  EXPECT_THAT(client.read_all(), StartsWith("HTTP/1.1 431"));
}

TEST_F(ServerTest, SlowRequestsTimeOutAndIdleConnectionsClose) {
  start({.request_seconds = 0.2});  // a client whose first byte is late on a busy machine must not be taken for idle
  Socket slow(server->port());
  slow.send("POST /echo HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc");
  EXPECT_THAT(slow.read_all(), StartsWith("HTTP/1.1 408"));
  start({.idle_seconds = 0.2});
  Socket idle(server->port());
  EXPECT_EQ(idle.read_all(), "");
}

TEST_F(ServerTest, NoticesAClientThatLeavesWhileItWaits) {
  start();
  std::optional<Socket> client(std::in_place, server->port());
  client->send("GET /wait HTTP/1.1\r\n\r\n");
  const Exchange exchange = take();
  EXPECT_FALSE(exchange.closed());
  EXPECT_FALSE(closed.wait(50ms));
  client.reset();
  EXPECT_TRUE(closed.wait());
  EXPECT_TRUE(exchange.closed());
  exchange.respond({.body = "nobody"});
  EXPECT_FALSE(exchange.write("nobody"));
  bool at_once = false;
  exchange.on_close([&] { at_once = true; });
  EXPECT_TRUE(at_once);
}

TEST_F(ServerTest, NoticesAClientThatLeavesDuringAStream) {
  start();
  std::optional<Socket> client(std::in_place, server->port());
  client->send("GET /wait HTTP/1.1\r\n\r\n");
  const Exchange exchange = take();
  exchange.begin({.body = "first"});
  EXPECT_THAT(client->read_until("first"), EndsWith("first"));
  EXPECT_TRUE(exchange.write("second"));
  client.reset();
  EXPECT_TRUE(closed.wait());
  EXPECT_FALSE(exchange.write("third"));
  EXPECT_FALSE(exchange.drain());
}

TEST_F(ServerTest, ADroppedStreamIsNotTakenForWhole) {
  start();
  Socket client(server->port());
  client.send("GET /wait HTTP/1.1\r\n\r\n");
  take().begin({.body = "part"});
  EXPECT_THAT(client.read_all(), Not(EndsWith("0\r\n\r\n")));
}

TEST_F(ServerTest, DrainWaitsForASlowClientAndLosesNothing) {
  start();
  Socket client(server->port());
  client.send("GET /wait HTTP/1.1\r\nConnection: close\r\n\r\n");
  const Exchange exchange = take();
  const std::string piece(256 << 10, 'x');
  constexpr int kPieces = 64;  // 16 MiB: four times what may wait
  std::atomic<int> written{0};
  std::thread producer([&] {
    exchange.begin({});
    for (int i = 0; i < kPieces && exchange.write(piece) && exchange.drain(); ++i) ++written;
    exchange.finish();
  });
  std::this_thread::sleep_for(200ms);
  EXPECT_LT(written, kPieces);  // it waits for the client
  const std::string all = client.read_all();
  producer.join();
  EXPECT_EQ(written, kPieces);
  EXPECT_THAT(all, EndsWith("\r\n0\r\n\r\n"));
  EXPECT_EQ(size_t(std::count(all.begin(), all.end(), 'x')), piece.size() * kPieces);
}

TEST_F(ServerTest, AClientThatTakesNothingIsGivenUp) {
  start({.queue_bytes = 1 << 20});
  Socket client(server->port());
  client.send("GET /wait HTTP/1.1\r\n\r\n");
  const Exchange exchange = take();
  exchange.begin({});
  const std::string piece(256 << 10, 'x');
  bool taken = true;
  for (int i = 0; i < 1000 && taken; ++i) taken = exchange.write(piece);
  EXPECT_FALSE(taken);
  EXPECT_TRUE(closed.wait());
}

TEST_F(ServerTest, AClientThatStopsReadingTimesOut) {
  start({.queue_bytes = 64 << 20, .write_seconds = 0.2});
  Socket client(server->port());
  client.send("GET /wait HTTP/1.1\r\n\r\n");
  const Exchange exchange = take();
  exchange.begin({.body = std::string(32 << 20, 'x')});
  EXPECT_TRUE(closed.wait());
}

TEST_F(ServerTest, StopLetsAnswersEnd) {
  start();
  Socket client(server->port()), idle(server->port());
  idle.send(kGetHello);
  idle.read_answer();
  client.send("GET /wait HTTP/1.1\r\n\r\n");
  const Exchange exchange = take();
  std::thread stopper([&] { server->stop(5); });
  EXPECT_EQ(idle.read_all(), "");
  EXPECT_FALSE(Socket(server->port()).connected);
  exchange.respond({.body = "done"});
  const std::string answer = client.read_all();
  EXPECT_THAT(answer, HasSubstr("Connection: close"));
  EXPECT_THAT(answer, EndsWith("done"));
  stopper.join();
}

TEST_F(ServerTest, StopEndsWhatDoesNotEnd) {
  start();
  Socket client(server->port());
  client.send("GET /wait HTTP/1.1\r\n\r\n");
  const Exchange exchange = take();
  server->stop(0.1);
  EXPECT_TRUE(closed.wait(0ms));
  EXPECT_EQ(client.read_all(), "");
  server.reset();
  EXPECT_FALSE(exchange.write("after the server's end"));
}

TEST_F(ServerTest, ManyConnectionsWaitWithoutAThreadEach) {
  start();
  std::vector<std::unique_ptr<Socket>> clients;
  for (int i = 0; i < 200; ++i) {
    clients.push_back(std::make_unique<Socket>(server->port()));
    clients.back()->send("GET /wait HTTP/1.1\r\n");  // half a request
  }
  Socket other(server->port());
  other.send(kGetHello);
  EXPECT_THAT(other.read_answer(), EndsWith("hello a=1"));
}

TEST_F(ServerTest, TurnsAwayConnectionsOverTheLimit) {
  start({.connections = 1});
  Socket first(server->port());
  first.send(kGetHello);
  first.read_answer();
  EXPECT_THAT(Socket(server->port()).read_all(), StartsWith("HTTP/1.1 503"));
  first.close();
  for (int i = 0; i < 100; ++i) {
    Socket next(server->port());
    next.send(kGetHello);
    if (next.read_answer().starts_with("HTTP/1.1 200")) return;
    std::this_thread::sleep_for(10ms);
  }
  FAIL() << "the place of the first connection never became free";
}

TEST(Server, SaysWhyItCannotListen) {
  Server first({.port = 0});
  first.start();
  const auto problem = [](Server::Options options) -> std::string {
    try {
      Server(std::move(options)).start();
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_EQ(problem({.port = first.port()}),
            "cannot listen on 127.0.0.1:" + std::to_string(first.port()) + ": address in use. choose another --port");
  EXPECT_THAT(problem({.host = "192.0.2.1"}), HasSubstr("choose another --host"));
  EXPECT_THAT(problem({.port = 70000}), HasSubstr("choose a --port from 1 to 65535"));
}

TEST(Routes, APrefixTakesWhatNoOtherRouteNames) {
  Server server({.port = 0});
  const auto say = [](const char* what) {
    return [what](const Request& r, const Exchange& e) { e.respond({.body = std::string(what) + ":" + r.rest}); };
  };
  server.route("GET", "/a/*", say("any"));
  server.route("GET", "/a/b", say("b"));
  server.start();
  const auto get = [&](const std::string& path) {
    Socket socket(server.port());
    socket.send("GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    const std::string all = socket.read_all();
    return all.substr(all.find("\r\n\r\n") + 4);
  };
  EXPECT_EQ(get("/a/b"), "b:");
  EXPECT_EQ(get("/a/c/d%2Fe"), "any:c/d/e");
  EXPECT_THAT(get("/a"), HasSubstr("no such path"));
}

TEST(Log, HearsOfEveryAnswerAndKnowsTheRequestsId) {
  std::mutex mutex;
  std::vector<Record> records;
  Server::Options options{.port = 0, .limits = {.body_bytes = 10}};
  options.log = [&](const Record& record) {
    std::lock_guard lock(mutex);
    records.push_back(record);
  };
  Server server(std::move(options));
  server.route("GET", "/x", [](const Request& r, const Exchange& e) {
    e.note("seen", r.id.size());
    e.respond({.body = "12345"});
  });
  server.start();
  const auto get = [&](const std::string& head) {
    Socket socket(server.port());
    socket.send(head + "Host: x\r\nConnection: close\r\n\r\n");
    return socket.read_all();
  };
  EXPECT_THAT(get("GET /x HTTP/1.1\r\nX-Request-Id: abc-1\r\n"), HasSubstr("X-Request-Id: abc-1\r\n"));
  EXPECT_THAT(get("GET /x HTTP/1.1\r\nX-Request-Id: a\"b\r\n"), HasSubstr("X-Request-Id: req_"));
  EXPECT_THAT(get("GET /none HTTP/1.1\r\n"), HasSubstr("X-Request-Id: req_"));
  EXPECT_THAT(get("POST /x HTTP/1.1\r\nContent-Length: 11\r\n"), HasSubstr("X-Request-Id: req_"));
  server.stop(1);
  ASSERT_EQ(records.size(), 4u);
  EXPECT_EQ(records[0].id, "abc-1");
  EXPECT_EQ(records[0].path, "/x");
  EXPECT_EQ(records[0].bytes, 5u);
  EXPECT_EQ(records[0].notes["seen"], 5);
  EXPECT_FALSE(records[0].cut);
  EXPECT_EQ(records[2].status, 404);
  EXPECT_EQ(records[3].status, 413);
}

}  // namespace
}  // namespace sedum::http
