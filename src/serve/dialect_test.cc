// Calls of tools, reasoning, and the ways of asking other than OpenAI's chat.

#include "serve/dialect.h"

#include "base/json.h"
#include "serve/server_testing.h"

namespace sedum::serve {
namespace {

using ::testing::HasSubstr;

json weather_tools() {
  return parse_json(R"([{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}])");
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
  EXPECT_EQ(parse_json(call["function"]["arguments"].get<std::string>()), json({{"city", "Xi'an"}}));
  std::string arguments, name;
  for (const json& event : events(chat({{"tools", weather_tools()}, {"stream", true}}).body)) {
    if (!event.is_object() || !event["choices"][0]["delta"].contains("tool_calls")) continue;
    const json part = event["choices"][0]["delta"]["tool_calls"][0];
    name += part["function"].value("name", "");
    arguments += part["function"]["arguments"].get<std::string>();
  }
  EXPECT_EQ(name, "weather");
  EXPECT_EQ(parse_json(arguments), json({{"city", "Xi'an"}}));
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

TEST_F(ServeTest, AGrammarThatCannotBeCompiledIsRefusedByItsField) {
  start();
  json tools = weather_tools();
  tools[0]["function"]["parameters"]["properties"]["city"] = {{"type", "no such kind"}};
  for (const bool stream : {false, true}) {
    expect_error(chat({{"tools", tools}, {"tool_choice", "required"}, {"stream", stream}}), 400, "invalid_value",
                 "tools", "the schema at /type");
    expect_error(chat({{"guided_regex", "no such kind"}, {"stream", stream}}), 400, "invalid_value", "guided_regex",
                 "the schema at /type");
    const json function = tools[0]["function"];
    json body = {{"model", "fake"}, {"input", "Hello"}, {"tool_choice", "required"}, {"stream", stream}};
    body["tools"] = {{{"type", "function"}, {"name", "weather"}, {"parameters", function["parameters"]}}};
    expect_error(send("POST", "/v1/responses", body.dump()), 400, "invalid_value", "tools", "the schema at /type");
    body = {{"model", "fake"}, {"max_tokens", 2}, {"tool_choice", {{"type", "any"}}}, {"stream", stream}};
    body["messages"] = {{{"role", "user"}, {"content", "Hello"}}};
    body["tools"] = {{{"name", "weather"}, {"input_schema", function["parameters"]}}};
    const Reply reply = send("POST", "/v1/messages", body.dump());
    EXPECT_EQ(reply.status, 400) << reply.body;
    EXPECT_EQ(reply.content()["type"], "error");
    EXPECT_THAT(reply.content()["error"]["message"].get<std::string>(), HasSubstr("the schema at /type"));
  }
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
        parse_json(stream.body.substr(stream.body.find("data: ", at) + 6, end - stream.body.find("data: ", at) - 6));
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

}  // namespace
}  // namespace sedum::serve
