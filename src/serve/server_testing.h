#pragma once
// A server on a port of its own over an engine that says what a test wants. Of the tests in this folder only.

#include <algorithm>
#include <map>
#include <optional>
#include <thread>

#include <gmock/gmock.h>

#include "base/error.h"
#include "base/json.h"
#include "http/socket_for_test.h"
#include "serve/server.h"

namespace sedum::serve {

using json = nlohmann::ordered_json;

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
    if (request.grammar.text.find("no such kind") != std::string::npos)
      throw GrammarError(Error("the schema at /type is none"));
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
    return changed_.wait_for(lock, http::kPatience, [&] { return running_.empty(); });
  }
  // Waits until so many requests run: /health counts them before the engine has them.
  bool runs(size_t count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, http::kPatience, [&] { return running_.size() == count; });
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
  json content() const { return try_parse_json<json>(body); }
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
      EXPECT_THAT(line, ::testing::StartsWith("data: "));
      all.push_back(line == "data: [DONE]" ? json("[DONE]") : parse_json<json>(line.substr(6)));
      at = end + 2;
    }
    return all;
  }

  int port = 0;
  FakeEngine engine;
  std::optional<Server> server;
};

inline void expect_error(const Reply& reply, int status, const std::string& code, const json& param,
                         const std::string& message) {
  EXPECT_EQ(reply.status, status) << reply.body;
  const json error = reply.content()["error"];
  ASSERT_TRUE(error.is_object()) << reply.body;
  EXPECT_EQ(error["code"], code);
  EXPECT_EQ(error["param"], param);
  EXPECT_TRUE(error["type"].is_string());
  EXPECT_THAT(error["message"].get<std::string>(), ::testing::HasSubstr(message));
}

}  // namespace sedum::serve
