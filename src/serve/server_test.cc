#include "serve/server.h"

#include <algorithm>
#include <deque>
#include <filesystem>
#include <map>
#include <optional>
#include <thread>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "http/socket_for_test.h"

namespace sedum::serve {
namespace {

using nlohmann::json;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// Says "w0 w1 w2 …", one word a step, to all requests in turn; a token is a word.
class FakeEngine : public GenerationEngine {
 public:
  FakeEngine() : thread_([this] { run(); }) {}
  ~FakeEngine() override {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  RequestId submit(GenerationRequest request, Listener listener) override {
    std::lock_guard lock(mutex_);
    if (request.prompt[0] == 13) throw Error("the prompt is unlucky");
    running_[++last_] = {std::move(request), std::move(listener)};
    changed_.notify_all();
    return last_;
  }
  void cancel(RequestId id) override {
    std::lock_guard lock(mutex_);
    if (const auto found = running_.find(id); found != running_.end()) found->second.cancelled = true;
    changed_.notify_all();
  }
  const Tokenizer& tokenizer() const override { throw Error("none"); }
  const ChatTemplate* chat_template() const override { return nullptr; }
  const std::string& model_name() const override { return name_; }
  int context_length() const override { return 100; }

  // Waits until nothing runs.
  bool idle() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(5), [&] { return running_.empty(); });
  }
  int most_at_once() {
    std::lock_guard lock(mutex_);
    return most_;
  }
  int cancelled() {
    std::lock_guard lock(mutex_);
    return cancelled_;
  }
  std::atomic<bool> endless{false}, held{false};

 private:
  struct Running {
    GenerationRequest request;
    Listener listener;
    int made = 0;
    bool cancelled = false;
  };

  void run() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [&] { return stop_ || !running_.empty(); });
      if (running_.empty()) return;
      most_ = std::max(most_, int(running_.size()));
      std::vector<RequestId> ids;
      for (const auto& [id, running] : running_) ids.push_back(id);
      for (const RequestId id : ids) {
        Running& running = running_[id];
        if (held && !running.cancelled && !stop_) continue;
        GenerationUpdate update = step(running);
        const Listener listener = running.listener;
        if (update.finish) running_.erase(id);
        lock.unlock();
        listener(update);
        lock.lock();
      }
      changed_.notify_all();
      lock.unlock();
      std::this_thread::sleep_for(std::chrono::milliseconds(endless || held ? 1 : 0));
      lock.lock();
    }
  }

  GenerationUpdate step(Running& running) {
    GenerationUpdate update{.prompt_tokens = int(running.request.prompt.size())};
    const SamplingParams& sampling = running.request.sampling;
    const int words = sampling.max_tokens < 0 ? 5 : std::min(5, sampling.max_tokens);
    if (running.cancelled || stop_) {
      update.finish = FinishReason::kCancelled;
      ++cancelled_;
    } else if (running.request.prompt[0] == 66 && running.made == int(running.request.prompt.size()) - 1) {
      update.finish = FinishReason::kError;
      update.error = "the engine broke";
    } else {
      update.id = running.made;
      update.text = (running.made ? " w" : "w") + std::to_string(running.made);
      if (++running.made >= words && !endless) update.finish = words < 5 ? FinishReason::kLength : FinishReason::kStop;
    }
    update.completion_tokens = running.made;
    return update;
  }

  const std::string name_ = "fake";
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<RequestId, Running> running_;
  RequestId last_ = 0;
  int most_ = 0, cancelled_ = 0;
  bool stop_ = false;
  std::thread thread_;
};

struct Reply {
  int status = 0;
  std::string head, body;
  json content() const { return json::parse(body, nullptr, false); }
};

struct ServeTest : ::testing::Test {
  void start(ServerOptions options = {}) {
    options.port = 0;
    ServedModel model{
        .name = "fake", .engine = &engine, .encode_chat = {}, .encode_text = {}, .decode = {}, .vocabulary = 1000};
    model.encode_chat = [](const std::vector<openai::ChatMessage>& messages) {
      if (messages[0].content == "refuse") throw Error("the template says no");
      std::vector<int32_t> ids;
      for (const auto& message : messages) ids.insert(ids.end(), message.content.size(), 7);
      return ids;
    };
    model.encode_text = [](std::string_view text) { return std::vector<int32_t>(text.begin(), text.end()); };
    model.decode = [](std::span<const int32_t> ids) { return std::string(ids.size(), '#'); };
    server.emplace(std::vector{model}, std::move(options));
    server->start();
    const std::string address = server->address();
    port = std::stoi(address.substr(address.rfind(':') + 1));
  }

  std::string request_text(const std::string& method, const std::string& path, const std::string& body,
                           const std::string& headers) const {
    return method + " " + path + " HTTP/1.1\r\nHost: localhost:" + std::to_string(port) + "\r\nConnection: close\r\n" +
           headers + (method == "POST" ? "Content-Length: " + std::to_string(body.size()) + "\r\n" : "") + "\r\n" +
           body;
  }
  Reply send(const std::string& method, const std::string& path, const std::string& body = "",
             const std::string& headers = "") const {
    http::Socket socket(port);
    socket.send(request_text(method, path, body, headers));
    const std::string all = socket.read_all();
    const size_t split = all.find("\r\n\r\n");
    if (split == std::string::npos) return {};
    Reply reply{.status = std::stoi(all.substr(9)), .head = all.substr(0, split), .body = all.substr(split + 4)};
    if (reply.head.find("chunked") != std::string::npos) reply.body = unchunked(reply.body);
    return reply;
  }
  static std::string unchunked(const std::string& text) {
    std::string whole;
    for (size_t at = 0; at < text.size();) {
      const size_t size = std::stoul(text.substr(at), nullptr, 16);
      at = text.find("\r\n", at) + 2;
      whole += text.substr(at, size);
      at += size + 2;
    }
    return whole;
  }
  Reply chat(json body = json::object(), const std::string& headers = "") const {
    json whole = {{"model", "fake"}, {"messages", {{{"role", "user"}, {"content", "Hello"}}}}};
    whole.update(body);
    return send("POST", "/v1/chat/completions", whole.dump(), headers);
  }
  Reply complete(json body) const {
    body["model"] = "fake";
    return send("POST", "/v1/completions", body.dump());
  }
  static std::vector<json> events(const std::string& body) {
    std::vector<json> all;
    for (size_t at = 0; at < body.size();) {
      const size_t end = body.find("\n\n", at);
      const std::string line = body.substr(at, end - at);
      EXPECT_THAT(line, StartsWith("data: "));
      all.push_back(line == "data: [DONE]" ? json("[DONE]") : json::parse(line.substr(6)));
      at = end + 2;
    }
    return all;
  }

  int port = 0;
  FakeEngine engine;
  std::optional<Server> server;
};

TEST_F(ServeTest, ChatAnswersWhole) {
  start();
  const Reply reply = chat();
  ASSERT_EQ(reply.status, 200);
  const json answer = reply.content();
  EXPECT_EQ(answer["object"], "chat.completion");
  EXPECT_THAT(answer["id"].get<std::string>(), StartsWith("chatcmpl-"));
  EXPECT_EQ(answer["model"], "fake");
  EXPECT_EQ(answer["choices"][0]["message"]["role"], "assistant");
  EXPECT_EQ(answer["choices"][0]["message"]["content"], "w0 w1 w2 w3 w4");
  EXPECT_EQ(answer["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(answer["usage"], (json{{"prompt_tokens", 5}, {"completion_tokens", 5}, {"total_tokens", 10}}));
  EXPECT_EQ(chat({{"max_tokens", 2}}).content()["choices"][0]["finish_reason"], "length");
}

TEST_F(ServeTest, ChatStreams) {
  start();
  const Reply reply = chat({{"stream", true}, {"stream_options", {{"include_usage", true}}}, {"max_tokens", 2}});
  EXPECT_THAT(reply.head, HasSubstr("text/event-stream"));
  const std::vector<json> all = events(reply.body);
  ASSERT_EQ(all.size(), 6u);
  EXPECT_EQ(all[0]["object"], "chat.completion.chunk");
  EXPECT_EQ(all[0]["choices"][0]["delta"], (json{{"role", "assistant"}, {"content", ""}}));
  EXPECT_TRUE(all[0]["usage"].is_null());
  EXPECT_EQ(all[1]["choices"][0]["delta"]["content"], "w0");
  EXPECT_TRUE(all[1]["choices"][0]["finish_reason"].is_null());
  EXPECT_EQ(all[2]["choices"][0]["delta"]["content"], " w1");
  EXPECT_EQ(all[3]["choices"][0]["delta"], json::object());
  EXPECT_EQ(all[3]["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(all[4]["choices"], json::array());
  EXPECT_EQ(all[4]["usage"]["completion_tokens"], 2);
  EXPECT_EQ(all[5], "[DONE]");
  for (size_t i = 1; i < 5; ++i) EXPECT_EQ(all[i]["id"], all[0]["id"]);
  EXPECT_FALSE(events(chat({{"stream", true}}).body)[0].contains("usage"));
}

TEST_F(ServeTest, SeveralAnswersAndPrompts) {
  start();
  EXPECT_EQ(chat({{"n", 3}}).content()["choices"].size(), 3u);
  EXPECT_EQ(chat({{"n", 3}}).content()["usage"]["prompt_tokens"], 5);
  const json answer = complete({{"prompt", {"ab", "cde"}}, {"n", 2}, {"echo", true}, {"max_tokens", 1}}).content();
  EXPECT_EQ(answer["object"], "text_completion");
  ASSERT_EQ(answer["choices"].size(), 4u);
  EXPECT_EQ(answer["choices"][1]["text"], "abw0");
  EXPECT_EQ(answer["choices"][2]["text"], "cdew0");
  EXPECT_EQ(answer["usage"], (json{{"prompt_tokens", 5}, {"completion_tokens", 4}, {"total_tokens", 9}}));
  const std::vector<json> streamed =
      events(complete({{"prompt", {1, 2}}, {"stream", true}, {"echo", true}, {"max_tokens", 1}}).body);
  ASSERT_EQ(streamed.size(), 4u);
  EXPECT_EQ(streamed[0]["choices"][0]["text"], "##");
  EXPECT_EQ(streamed[1]["choices"][0]["text"], "w0");
  EXPECT_EQ(streamed[2]["choices"][0]["finish_reason"], "length");
}

TEST_F(ServeTest, ManyRequestsAreInFlightAtOnce) {
  start();
  engine.held = true;
  std::vector<std::thread> clients;
  std::atomic<int> right{0};
  for (int i = 0; i < 20; ++i) {
    clients.emplace_back([&, i] {
      const Reply reply = chat({{"stream", i % 2 == 0}});
      right += reply.status == 200 && reply.body.find("w4") != std::string::npos;
    });
  }
  while (json::parse(send("GET", "/health").body)["requests"] != 20) std::this_thread::yield();
  engine.held = false;
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(right, 20);
  EXPECT_EQ(engine.most_at_once(), 20);
  EXPECT_TRUE(engine.idle());
}

TEST_F(ServeTest, AClientThatLeavesCancelsItsRequests) {
  start();
  engine.endless = true;
  for (const bool stream : {true, false}) {
    const int before = engine.cancelled();
    std::optional<http::Socket> socket(std::in_place, port);
    const json body = {
        {"model", "fake"}, {"messages", {{{"role", "user"}, {"content", "x"}}}}, {"stream", stream}, {"n", 2}};
    socket->send(request_text("POST", "/v1/chat/completions", body.dump(), ""));
    if (stream) {
      EXPECT_THAT(socket->read_until("w3"), EndsWith("w3"));
    }
    while (json::parse(send("GET", "/health").body)["requests"] != 1) std::this_thread::yield();
    socket.reset();
    EXPECT_TRUE(engine.idle());
    EXPECT_EQ(engine.cancelled() - before, 2);
  }
  while (json::parse(send("GET", "/health").body)["requests"] != 0) std::this_thread::yield();
}

TEST_F(ServeTest, StoppingEndsWhatRuns) {
  start();
  engine.endless = true;
  http::Socket socket(port);
  socket.send(request_text("POST", "/v1/chat/completions",
                           R"({"model": "fake", "messages": [{"role": "user", "content": "x"}], "stream": true})", ""));
  socket.read_until("w3");
  server->stop(0.1);
  EXPECT_THAT(socket.read_all(), Not(HasSubstr("[DONE]")));
  EXPECT_TRUE(engine.idle());
}

void expect_error(const Reply& reply, int status, const std::string& code, const json& param,
                  const std::string& message) {
  EXPECT_EQ(reply.status, status) << reply.body;
  const json error = reply.content()["error"];
  ASSERT_TRUE(error.is_object()) << reply.body;
  EXPECT_EQ(error["code"], code);
  EXPECT_EQ(error["param"], param);
  EXPECT_TRUE(error["type"].is_string());
  EXPECT_THAT(error["message"].get<std::string>(), HasSubstr(message));
}

TEST_F(ServeTest, ErrorsAreOpenAIs) {
  start({.limits = {.body_bytes = 5000}});
  expect_error(send("POST", "/v1/chat/completions", "{"), 400, "invalid_json", nullptr, "not valid JSON");
  expect_error(chat({{"temperature", 3}}), 400, "invalid_value", "temperature", "between 0 and 2");
  expect_error(chat({{"tools", {1}}}), 400, "unsupported_parameter", "tools", "not supported");
  expect_error(chat({{"model", "gpt-4o"}}), 404, "model_not_found", "model", "there is fake");
  expect_error(chat({{"messages", {{{"role", "user"}, {"content", std::string(100, 'x')}}}}}), 400,
               "context_length_exceeded", "messages", "take 100 tokens");
  EXPECT_EQ(chat({{"messages", {{{"role", "user"}, {"content", std::string(99, 'x')}}}}}).status, 200);
  expect_error(chat({{"messages", {{{"role", "user"}, {"content", ""}}}}}), 400, "invalid_value", "messages", "empty");
  const Reply refused = chat({{"messages", {{{"role", "user"}, {"content", "refuse"}}}}});
  EXPECT_THAT(refused.body, HasSubstr("the template says no"));
  EXPECT_EQ(refused.status, 400);
  expect_error(complete({{"prompt", {5, 1000}}}), 400, "invalid_value", "prompt", "no token 1000");
  EXPECT_EQ(complete({{"prompt", {13}}}).status, 400);
  expect_error(complete({{"prompt", std::vector<std::string>(100, "a")}, {"n", 2}}), 400, "invalid_value", "n",
               "at most 128 answers");
  expect_error(send("POST", "/v1/chat/completions", std::string(6000, ' ')), 413, "request_too_large", nullptr,
               "5000 bytes");
  expect_error(send("GET", "/v1/embeddings"), 404, "unknown_url", nullptr, "/v1/embeddings");
  const Reply method = send("GET", "/v1/chat/completions");
  expect_error(method, 405, "method_not_allowed", nullptr, "GET");
  EXPECT_THAT(method.head, HasSubstr("Allow: POST"));
}

TEST_F(ServeTest, AnEngineThatFailsIsSaid) {
  start();
  Reply reply = complete({{"prompt", {66}}, {"stream", true}});  // before the first token
  EXPECT_EQ(reply.status, 500);
  EXPECT_EQ(reply.content()["error"]["message"], "the engine broke");
  reply = complete({{"prompt", {66, 0, 0}}, {"stream", true}});  // after two
  EXPECT_EQ(reply.status, 200);
  const std::vector<json> all = events(reply.body);
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[2]["error"]["message"], "the engine broke");
}

TEST_F(ServeTest, TooManyRequestsAreRefused) {
  start({.max_requests = 1});
  engine.held = true;
  std::thread first([&] { EXPECT_EQ(chat().status, 200); });
  while (json::parse(send("GET", "/health").body)["requests"] != 1) std::this_thread::yield();
  const Reply reply = chat();
  expect_error(reply, 429, "rate_limit_exceeded", nullptr, "1 requests");
  EXPECT_THAT(reply.head, HasSubstr("Retry-After"));
  engine.held = false;
  first.join();
}

TEST_F(ServeTest, KeysAreAskedFor) {
  start({.api_keys = {"right", "other"}});
  expect_error(chat(), 401, "missing_api_key", nullptr, "API key");
  for (const char* wrong : {"Bearer wrong", "Bearer righ", "Bearer rightt", "Bearer ", "right", "Basic right"}) {
    expect_error(chat(json::object(), std::string("Authorization: ") + wrong + "\r\n"), 401, "invalid_api_key", nullptr,
                 "not known");
  }
  EXPECT_EQ(chat(json::object(), "Authorization: Bearer other\r\n").status, 200);
  EXPECT_EQ(send("GET", "/v1/models").status, 401);
  EXPECT_EQ(send("GET", "/v1/models/fake").status, 401);
  EXPECT_EQ(send("GET", "/health").status, 200);
  EXPECT_EQ(send("GET", "/").status, 200);  // the page asks for the key
}

TEST_F(ServeTest, OtherSitesPagesMayNotUseIt) {
  start();
  const std::string own = "Origin: http://localhost:" + std::to_string(port) + "\r\n";
  EXPECT_EQ(chat(json::object(), own).status, 200);
  expect_error(chat(json::object(), "Origin: https://evil.example\r\n"), 403, "forbidden_origin", nullptr,
               "other sites");
  EXPECT_EQ(chat(json::object(), "Origin: null\r\n").status, 403);
  http::Socket rebound(port);  // a name of theirs that points here
  rebound.send("GET /v1/models HTTP/1.1\r\nHost: evil.example:8080\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(rebound.read_all(), StartsWith("HTTP/1.1 403"));
}

TEST_F(ServeTest, ListsModelsAndShowsThePage) {
  start();
  const json list = send("GET", "/v1/models").content();
  EXPECT_EQ(list["object"], "list");
  EXPECT_EQ(list["data"][0]["id"], "fake");
  EXPECT_EQ(list["data"][0]["object"], "model");
  EXPECT_EQ(send("GET", "/v1/models/fake").content()["id"], "fake");
  const Reply page = send("GET", "/");
  EXPECT_THAT(page.head, HasSubstr("text/html"));
  EXPECT_THAT(page.head, HasSubstr("Content-Security-Policy: default-src 'none'"));
  EXPECT_THAT(page.body, StartsWith("<!doctype html>"));
  EXPECT_THAT(page.body, EndsWith("</html>\n"));
  EXPECT_EQ(page.body, read_file(std::string(SEDUM_SOURCE_DIR) + "/src/serve/web/page.html"));
}

TEST_F(ServeTest, WarnsWhenEverybodyMayAsk) {
  const auto exposed = [&](const std::string& host, std::vector<std::string> keys) {
    return Server({ServedModel{.name = "fake", .engine = &engine, .encode_chat = {}, .encode_text = {}, .decode = {}}},
                  {.host = host, .api_keys = std::move(keys)})
        .exposed();
  };
  EXPECT_FALSE(exposed("127.0.0.1", {}));
  EXPECT_FALSE(exposed("localhost", {}));
  EXPECT_FALSE(exposed("::1", {}));
  EXPECT_TRUE(exposed("0.0.0.0", {}));
  EXPECT_FALSE(exposed("0.0.0.0", {"key"}));
}

TEST(ApiKeys, AreReadFromAFile) {
  const auto path = std::filesystem::temp_directory_path() / ("sedum_keys_" + std::to_string(::getpid()));
  write_file(path, "# ours\n  one  \r\n\ntwo # second\n");
  EXPECT_THAT(read_api_keys(path), ::testing::ElementsAre("one", "two"));
  write_file(path, "# none\n");
  EXPECT_THROW(read_api_keys(path), Error);
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace sedum::serve
