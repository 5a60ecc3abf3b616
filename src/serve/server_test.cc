#include "serve/server.h"

#include <regex>

#include "base/file.h"
#include "base/json.h"
#include "serve/server_testing.h"

namespace sedum::serve {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

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
  EXPECT_TRUE(engine.runs(20));
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
    EXPECT_TRUE(engine.runs(1));
    socket.reset();
    EXPECT_TRUE(engine.idle());
    EXPECT_EQ(engine.cancelled() - before, 1);
  }
  while (parse_json(send("GET", "/health").body)["requests"] != 0) std::this_thread::yield();
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
  while (parse_json(send("GET", "/health").body)["requests"] != 1) std::this_thread::yield();
  const Reply reply = chat();
  expect_error(reply, 429, "rate_limit_exceeded", nullptr, "1 requests");
  EXPECT_THAT(reply.head, HasSubstr("Retry-After"));
  engine.held = false;
  first.join();
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

TEST_F(ServeTest, TheDescriptionKnowsTheModels) {
  start();
  const json api = send("GET", "/openapi.json").content();
  const json& schemas = api["components"]["schemas"];
  EXPECT_EQ(schemas["ModelName"]["enum"][0], "fake");
  EXPECT_EQ(api["paths"]["/v1/completions"]["post"]["requestBody"]["content"]["application/json"]["example"]["model"],
            "fake");
  const int maximum = schemas["TokenId"]["maximum"];
  const auto status = [&](int id) { return send("POST", "/detokenize", json{{"tokens", {id}}}.dump()).status; };
  EXPECT_EQ(status(maximum), 200);
  EXPECT_EQ(status(maximum + 1), 400);
  const auto& biases = schemas["sampling_logit_bias"]["patternProperties"];
  ASSERT_EQ(biases.size(), 1u);
  const std::regex described(biases.begin().key());
  for (int id = 0; id <= maximum; ++id) EXPECT_TRUE(std::regex_search(std::to_string(id), described)) << id;
  for (const std::string& key : {std::to_string(maximum), std::to_string(maximum + 1), std::string("10000"),
                                 std::string("007"), std::string("-0"), std::string()})
    EXPECT_EQ(complete({{"prompt", "a"}, {"logit_bias", {{key, 1}}}}).status == 200, std::regex_search(key, described))
        << key;
}

TEST_F(ServeTest, TextWithoutTokensGoesOnFromABeginning) {
  start({}, false);
  ServedModel with_bos = model(), without = model();
  with_bos.first = 3, without.name = "without";
  server->serve({with_bos, without});
  EXPECT_EQ(complete({{"prompt", ""}, {"echo", true}, {"max_tokens", 1}}).content()["choices"][0]["text"], "w0");
  EXPECT_THAT(engine.last_request().prompt, ::testing::ElementsAre(3));
  const Reply refused = send("POST", "/v1/completions", R"({"model": "without", "prompt": ""})");
  expect_error(refused, 400, "invalid_value", "prompt", "must not be empty");
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

TEST_F(ServeTest, ReadyOnlyWithAModelAndUntilTheEnd) {
  start({}, false);
  EXPECT_EQ(send("GET", "/ready").status, 503);
  EXPECT_EQ(send("GET", "/health").status, 200);
  expect_error(chat(), 503, "overloaded", nullptr, "being loaded");
  server->serve({model()});
  EXPECT_EQ(send("GET", "/ready").status, 200);
  engine.held = true;
  std::thread first([&] { EXPECT_EQ(chat().status, 200); });
  while (parse_json(send("GET", "/health").body)["requests"] != 1) std::this_thread::yield();
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

}  // namespace
}  // namespace sedum::serve
