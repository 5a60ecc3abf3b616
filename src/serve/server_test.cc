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

using json = nlohmann::ordered_json;
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
    const int n = request.sampling.n;
    last_request_ = request;
    running_[++last_] = {std::move(request), std::move(listener), n};
    changed_.notify_all();
    return last_;
  }
  GenerationRequest last_request() {
    std::lock_guard lock(mutex_);
    return last_request_;
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
  EngineStatistics statistics() const override {
    EngineStatistics s;
    s.generated_tokens = 42;
    s.first_token_seconds = Histogram({0.5, 1});
    s.first_token_seconds.add(0.7);
    return s;
  }
  std::atomic<bool> endless{false}, held{false};
  std::string script = {};  // what it says in place of words, three bytes a token; set before requests come

 private:
  struct Running {
    GenerationRequest request;
    Listener listener;
    int n = 1;
    int index = 0, made = 0;
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
        if (update.last) running_.erase(id);
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

  // The answers of a request one after the other.
  GenerationUpdate step(Running& running) {
    const GenerationRequest& request = running.request;
    GenerationUpdate update{.index = running.index, .prompt_tokens = int(request.prompt.size())};
    const SamplingParams& sampling = request.sampling;
    const int words = sampling.max_tokens < 0 ? 5 : std::min(5, sampling.max_tokens);
    if (running.cancelled || stop_) {
      update.finish = FinishReason::kCancelled, update.last = true;
      ++cancelled_;
    } else if (request.prompt[0] == 66 && running.made == int(request.prompt.size()) - 1) {
      update.finish = FinishReason::kError, update.last = true;
      update.error = "the engine broke";
    } else if (request.embedding != Pooling::kNone) {
      update.embedding = {0.5f, request.embedding == Pooling::kMean ? 1.0f : 2.0f};
      update.finish = FinishReason::kStop, update.last = true;
    } else {
      update.id = running.made;
      const bool scripted = !script.empty();
      update.text = scripted ? script.substr(size_t(running.made) * 3, 3)
                             : (running.made ? " w" : "w") + std::to_string(running.made);
      if (sampling.logprobs >= 0)
        update.logprobs = TokenLogprobs{.id = update.id, .logprob = -0.5f, .top = {{1, -0.5f}}};
      ++running.made;
      const bool over = scripted ? size_t(running.made) * 3 >= script.size() : running.made >= words;
      if (over && !endless) {
        update.finish = !scripted && words < 5 ? FinishReason::kLength : FinishReason::kStop;
        update.last = running.index + 1 == running.n;
      }
    }
    update.completion_tokens = running.made;
    if (update.finish) ++running.index, running.made = 0;
    return update;
  }

  const std::string name_ = "fake";
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<RequestId, Running> running_;
  GenerationRequest last_request_;
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
  ServedModel model() {
    ServedModel fake{.name = "fake", .engine = &engine};
    fake.encode_chat = [](const openai::ChatRequest& chat) {
      if (chat.messages[0]["content"] == "refuse") throw Error("the template says no");
      EncodedChat encoded;
      for (const auto& message : chat.messages)
        encoded.ids.insert(encoded.ids.end(), message["content"].get<std::string>().size(), 7);
      return encoded;
    };
    fake.encode_text = [](std::string_view text, bool) { return std::vector<int32_t>(text.begin(), text.end()); };
    fake.decode = [](std::span<const int32_t> ids) { return std::string(ids.size(), '#'); };
    fake.token_text = [](int32_t id) { return "t" + std::to_string(id); };
    fake.syntax.tools = ToolSyntax::kHermes;
    fake.vocabulary = 1000;
    return fake;
  }
  void start(ServerOptions options = {}, bool with_model = true) {
    options.port = 0;
    server.emplace(std::move(options));
    if (with_model) server->serve({model()});
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
  EXPECT_EQ(answer["usage"]["prompt_tokens"], 5);
  EXPECT_EQ(answer["usage"]["completion_tokens"], 5);
  EXPECT_EQ(answer["usage"]["total_tokens"], 10);
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
  EXPECT_EQ(answer["usage"]["prompt_tokens"], 5);
  EXPECT_EQ(answer["usage"]["completion_tokens"], 4);
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
    EXPECT_EQ(engine.cancelled() - before, 1);
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
  expect_error(chat({{"tools", {1}}}), 400, "invalid_type", "tools[0]", "an object");
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
  expect_error(send("GET", "/v1/embedding"), 404, "unknown_url", nullptr, "/v1/embedding");
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
  start({.api_keys = {{.key = "right", .name = "r"}, {.key = "other", .name = "o"}}});
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
  EXPECT_EQ(send("GET", "/v1/models/none").status, 404);
}

TEST_F(ServeTest, WarnsWhenEverybodyMayAsk) {
  const auto exposed = [&](const std::string& host, std::vector<ApiKey> keys) {
    return Server({.host = host, .api_keys = std::move(keys)}).exposed();
  };
  EXPECT_FALSE(exposed("127.0.0.1", {}));
  EXPECT_FALSE(exposed("localhost", {}));
  EXPECT_FALSE(exposed("::1", {}));
  EXPECT_TRUE(exposed("0.0.0.0", {}));
  EXPECT_FALSE(exposed("0.0.0.0", {{.key = "key"}}));
}

TEST_F(ServeTest, LogprobsAreTold) {
  start();
  const json choice = chat({{"logprobs", true}, {"top_logprobs", 1}, {"max_tokens", 2}}).content()["choices"][0];
  ASSERT_EQ(choice["logprobs"]["content"].size(), 2u);
  EXPECT_EQ(choice["logprobs"]["content"][1]["token"], "t1");
  EXPECT_EQ(choice["logprobs"]["content"][1]["logprob"], -0.5);
  EXPECT_EQ(choice["logprobs"]["content"][1]["bytes"], json({116, 49}));
  EXPECT_EQ(choice["logprobs"]["content"][1]["top_logprobs"][0]["token"], "t1");
  const json old = complete({{"prompt", "ab"}, {"logprobs", 1}, {"max_tokens", 2}}).content()["choices"][0]["logprobs"];
  EXPECT_EQ(old["tokens"], json({"t0", "t1"}));
  EXPECT_EQ(old["text_offset"], json({0, 2}));
  EXPECT_EQ(old["top_logprobs"][0], json({{"t1", -0.5}}));
}

json weather_tools() {
  return json::parse(R"([{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}])");
}

TEST_F(ServeTest, CallsOfToolsAreTakenOutOfTheText) {
  engine.script =
      "Let me see.\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Xi'an\"}}\n</tool_call>";
  start();
  const json choice = chat({{"tools", weather_tools()}}).content()["choices"][0];
  EXPECT_EQ(choice["finish_reason"], "tool_calls");
  EXPECT_EQ(choice["message"]["content"], "Let me see.");
  const json call = choice["message"]["tool_calls"][0];
  EXPECT_EQ(call["function"]["name"], "weather");
  EXPECT_EQ(json::parse(call["function"]["arguments"].get<std::string>()), json({{"city", "Xi'an"}}));
  std::string arguments, name;
  for (const json& event : events(chat({{"tools", weather_tools()}, {"stream", true}}).body)) {
    if (!event.is_object() || !event["choices"][0]["delta"].contains("tool_calls")) continue;
    const json part = event["choices"][0]["delta"]["tool_calls"][0];
    name += part["function"].value("name", "");
    arguments += part["function"]["arguments"].get<std::string>();
  }
  EXPECT_EQ(name, "weather");
  EXPECT_EQ(json::parse(arguments), json({{"city", "Xi'an"}}));
  EXPECT_EQ(chat().content()["choices"][0]["finish_reason"], "stop");  // nobody offered tools: it is text
}

TEST_F(ServeTest, AForcedCallIsAGrammarAndItsArgumentsAreStreamed) {
  engine.script = "{\"name\": \"weather\", \"arguments\": {\"city\": {\"n\": 1}}}";
  start();
  const json body = {{"tools", weather_tools()}, {"tool_choice", "required"}};
  const json choice = chat(body).content()["choices"][0];
  EXPECT_EQ(engine.last_request().grammar.kind, GrammarSpec::Kind::kJsonSchema);
  EXPECT_THAT(engine.last_request().grammar.text, HasSubstr(R"("const":"weather")"));
  EXPECT_EQ(choice["finish_reason"], "tool_calls");
  EXPECT_TRUE(choice["message"]["content"].is_null());
  EXPECT_EQ(choice["message"]["tool_calls"][0]["function"]["arguments"], R"({"city": {"n": 1}})");
  json streamed = body;
  streamed["stream"] = true;
  int parts = 0;
  std::string arguments;
  for (const json& event : events(chat(streamed).body)) {
    if (!event.is_object() || !event["choices"][0]["delta"].contains("tool_calls")) continue;
    arguments += event["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"].get<std::string>();
    ++parts;
  }
  EXPECT_GT(parts, 3);
  EXPECT_EQ(arguments, R"({"city": {"n": 1}})");
  expect_error(
      chat({{"tools", weather_tools()}, {"tool_choice", {{"type", "function"}, {"function", {{"name", "x"}}}}}}), 400,
      "invalid_value", "tool_choice", "none of the tools");
}

TEST_F(ServeTest, ReasoningStandsApart) {
  engine.script = "<think>\nhm, hm\n</think>\n\nYes.";
  start();
  const json message = chat().content()["choices"][0]["message"];
  EXPECT_EQ(message["content"], "Yes.");
  EXPECT_THAT(message["reasoning_content"].get<std::string>(), HasSubstr("hm, hm"));
}

TEST_F(ServeTest, Responses) {
  start();
  const Reply reply = send("POST", "/v1/responses", R"({"model": "fake", "input": "Hello"})");
  ASSERT_EQ(reply.status, 200) << reply.body;
  const json answer = reply.content();
  EXPECT_EQ(answer["object"], "response");
  EXPECT_EQ(answer["status"], "completed");
  EXPECT_EQ(answer["output"][0]["content"][0]["text"], "w0 w1 w2 w3 w4");
  EXPECT_EQ(answer["usage"]["output_tokens"], 5);
  const Reply stream = send("POST", "/v1/responses", R"({"model": "fake", "input": "Hello", "stream": true})");
  std::vector<std::string> types;
  int sequence = 0;
  for (size_t at = 0, end; (end = stream.body.find("\n\n", at)) != std::string::npos; at = end + 2) {
    const json data =
        json::parse(stream.body.substr(stream.body.find("data: ", at) + 6, end - stream.body.find("data: ", at) - 6));
    EXPECT_EQ(data["sequence_number"], sequence++);
    types.push_back(data["type"]);
  }
  EXPECT_EQ(types.front(), "response.created");
  EXPECT_EQ(types.back(), "response.completed");
  EXPECT_EQ(std::count(types.begin(), types.end(), "response.output_text.delta"), 5);
}

TEST_F(ServeTest, AnthropicsMessages) {
  start();
  const auto ask = [&](json more) {
    json body = {{"model", "fake"}, {"max_tokens", 2}, {"messages", {{{"role", "user"}, {"content", "Hello"}}}}};
    body.update(more);
    return send("POST", "/v1/messages", body.dump());
  };
  const json answer = ask(json::object()).content();
  EXPECT_EQ(answer["type"], "message");
  EXPECT_EQ(answer["content"][0]["text"], "w0 w1");
  EXPECT_EQ(answer["stop_reason"], "max_tokens");
  EXPECT_EQ(answer["usage"]["input_tokens"], 5);
  const std::string stream = ask({{"stream", true}}).body;
  size_t at = 0;
  for (const char* type : {"message_start", "content_block_start", "content_block_delta", "content_block_stop",
                           "message_delta", "message_stop"}) {
    at = stream.find(std::string("event: ") + type + "\n", at);
    ASSERT_NE(at, std::string::npos) << type;
  }
  const Reply bad = ask({{"max_tokens", "x"}});
  EXPECT_EQ(bad.status, 400);
  EXPECT_EQ(bad.content()["type"], "error");
  EXPECT_EQ(bad.content()["error"]["type"], "invalid_request_error");
  const Reply count = send("POST", "/v1/messages/count_tokens",
                           R"({"model": "fake", "messages": [{"role": "user", "content": "Hello"}]})");
  EXPECT_EQ(count.content()["input_tokens"], 5);
}

TEST_F(ServeTest, EmbeddingsAndTokens) {
  start();
  const json answer = send("POST", "/v1/embeddings", R"({"model": "fake", "input": ["ab", "c"]})").content();
  ASSERT_EQ(answer["data"].size(), 2u);
  EXPECT_EQ(answer["data"][1]["embedding"], json({0.5, 1.0}));
  EXPECT_EQ(answer["usage"]["prompt_tokens"], 3);
  EXPECT_EQ(send("POST", "/v1/embeddings",
                 R"({"model": "fake", "input": "ab", "pooling": "last", "encoding_format": "base64"})")
                .content()["data"][0]["embedding"],
            "AAAAPwAAAEA=");
  const json tokens = send("POST", "/tokenize", R"({"prompt": "ab", "return_token_strs": true})").content();
  EXPECT_EQ(tokens["tokens"], json({97, 98}));
  EXPECT_EQ(tokens["token_strs"][0], "t97");
  EXPECT_EQ(send("POST", "/detokenize", R"({"tokens": [1, 2, 3]})").content()["prompt"], "###");
}

TEST_F(ServeTest, ReadyOnlyWithAModelAndUntilTheEnd) {
  start({}, false);
  EXPECT_EQ(send("GET", "/ready").status, 503);
  EXPECT_EQ(send("GET", "/health").status, 200);
  expect_error(chat(), 503, "overloaded", nullptr, "being loaded");
  server->serve({model()});
  EXPECT_EQ(send("GET", "/ready").status, 200);
  engine.held = true;
  std::thread first([&] { EXPECT_EQ(chat().status, 200); });
  while (json::parse(send("GET", "/health").body)["requests"] != 1) std::this_thread::yield();
  std::thread drain([&] { server->drain(10); });
  while (send("GET", "/ready").status != 503) std::this_thread::yield();
  expect_error(chat(), 503, "overloaded", nullptr, "stopping");
  engine.held = false;  // what runs is finished
  drain.join(), first.join();
}

TEST_F(ServeTest, MetricsAreCounted) {
  start();
  chat();
  chat({{"model", "none"}});
  const std::string text = send("GET", "/metrics").body;
  EXPECT_THAT(text, HasSubstr(R"(sedum_http_requests_total{path="/v1/chat/completions",status="200"} 1)"));
  EXPECT_THAT(text, HasSubstr(R"(sedum_http_requests_total{path="/v1/chat/completions",status="404"} 1)"));
  EXPECT_THAT(text, HasSubstr(R"(sedum_generated_tokens_total{model="fake"} 42)"));
  EXPECT_THAT(text, HasSubstr(R"(sedum_time_to_first_token_seconds_bucket{model="fake",le="1"} 1)"));
}

TEST_F(ServeTest, KeysHaveBounds) {
  start({.api_keys = {{.key = "slow", .name = "s", .requests_per_minute = 2},
                      {.key = "few", .name = "f", .tokens_per_minute = 8},
                      {.key = "one", .name = "o", .concurrent = 1}}});
  const auto with = [&](const char* key) {
    return chat(json::object(), std::string("Authorization: Bearer ") + key + "\r\n");
  };
  EXPECT_EQ(with("slow").status, 200);
  EXPECT_EQ(with("slow").status, 200);
  const Reply third = with("slow");
  expect_error(third, 429, "rate_limit_exceeded", nullptr, "2 requests a minute");
  EXPECT_THAT(third.head, HasSubstr("Retry-After: 30"));
  EXPECT_EQ(with("few").status, 200);  // ten tokens: now it has to wait
  expect_error(with("few"), 429, "rate_limit_exceeded", nullptr, "8 tokens a minute");
  engine.held = true;
  std::thread first([&] { EXPECT_EQ(with("one").status, 200); });
  while (json::parse(send("GET", "/health").body)["requests"] != 1) std::this_thread::yield();
  expect_error(with("one"), 429, "rate_limit_exceeded", nullptr, "1 requests in flight");
  engine.held = false;
  first.join();
  EXPECT_EQ(with("one").status, 200);
}

TEST(ApiKeys, AreReadFromAFile) {
  const auto path = std::filesystem::temp_directory_path() / ("sedum_keys_" + std::to_string(::getpid()));
  write_file(path, "# ours\n  one  \r\n\ntwo name=bob concurrent=3 requests_per_minute=60 # second\n");
  const std::vector<ApiKey> keys = read_api_keys(path);
  ASSERT_EQ(keys.size(), 2u);
  EXPECT_EQ(keys[0].key, "one");
  EXPECT_EQ(keys[1].name, "bob");
  EXPECT_EQ(keys[1].concurrent, 3);
  EXPECT_EQ(keys[1].requests_per_minute, 60);
  for (const char* bad : {"# none\n", "a\na\n", "a concurrent=0\n", "a concurrent=x\n", "a speed=3\n"}) {
    write_file(path, bad);
    EXPECT_THROW(read_api_keys(path), Error) << bad;
  }
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace sedum::serve
