#include "serve/openai/request.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "base/json.h"
#include "serve/openai/failure.h"

namespace sedum::openai {
namespace {

using json = nlohmann::ordered_json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A valid request, changed.
std::string chat_with(const std::string& changes) {
  json body = {{"model", "m"}, {"messages", {{{"role", "user"}, {"content", "Hi"}}}}};
  body.merge_patch(parse_json<json>(changes));
  if (changes.find("null") != std::string::npos)
    body.update(parse_json<json>(changes));  // a patch would take nulls for removals
  return body.dump();
}

Failure failure_of(const std::function<void()>& parse) {
  try {
    parse();
  } catch (const Failure& failure) {
    return failure;
  }
  return {0, "", "was accepted"};
}
Failure chat_failure(const std::string& changes) {
  return failure_of([&] { parse_chat(chat_with(changes)); });
}

TEST(ChatRequest, Defaults) {
  const ChatRequest request = parse_chat(chat_with("{}"));
  EXPECT_EQ(request.model, "m");
  EXPECT_EQ(request.messages.size(), 1u);
  EXPECT_EQ(request.sampling.temperature, 1);
  EXPECT_EQ(request.sampling.max_tokens, -1);
  EXPECT_FALSE(request.seed);
  EXPECT_FALSE(request.stream);
}

TEST(ChatRequest, ReadsEveryField) {
  const ChatRequest request = parse_chat(chat_with(R"({"temperature": 0.5, "top_p": 0.25, "top_k": 40, "min_p": 0.125,
    "repetition_penalty": 1.5, "max_tokens": 7, "stop": ["a", "b"], "seed": -1, "n": 2, "stream": true, "ignore_eos": true,
    "stream_options": {"include_usage": true}, "user": "u", "metadata": {"a": "b"}, "store": false, "presence_penalty": -1.5, "frequency_penalty": 0.5,
    "logit_bias": {"7": -100}, "tools": [], "tool_choice": "auto", "typical_p": 0.75, "response_format": {"type": "text"}, "logprobs": true, "top_logprobs": 4})"));
  EXPECT_EQ(request.sampling.temperature, 0.5f);
  EXPECT_EQ(request.sampling.top_p, 0.25f);
  EXPECT_EQ(request.sampling.top_k, 40);
  EXPECT_EQ(request.sampling.min_p, 0.125f);
  EXPECT_EQ(request.sampling.repetition_penalty, 1.5f);
  EXPECT_EQ(request.sampling.max_tokens, 7);
  EXPECT_THAT(request.sampling.stop, ElementsAre("a", "b"));
  EXPECT_TRUE(request.sampling.ignore_end);
  EXPECT_EQ(request.seed, ~uint64_t{0});
  EXPECT_EQ(request.sampling.n, 2);
  EXPECT_EQ(request.sampling.presence_penalty, -1.5f);
  EXPECT_EQ(request.sampling.frequency_penalty, 0.5f);
  EXPECT_EQ(request.sampling.typical_p, 0.75f);
  EXPECT_EQ(request.sampling.logprobs, 4);
  EXPECT_THAT(request.sampling.logit_bias, ElementsAre(std::pair(7, -100.0f)));
  EXPECT_TRUE(request.stream);
  EXPECT_TRUE(request.include_usage);
}

TEST(ChatRequest, NullIsAbsent) {
  const ChatRequest request =
      parse_chat(chat_with(R"({"temperature": null, "stop": null, "max_tokens": null, "seed": null,
    "stream": null, "stream_options": null, "tools": null, "response_format": null, "n": null, "logit_bias": null})"));
  EXPECT_EQ(request.sampling.temperature, 1);
}

TEST(ChatRequest, NewerNames) {
  EXPECT_EQ(parse_chat(chat_with(R"({"max_completion_tokens": 9})")).sampling.max_tokens, 9);
  EXPECT_EQ(parse_chat(chat_with(R"({"messages": [{"role": "developer", "content": "x"}]})")).messages[0]["role"],
            "system");
}

TEST(ChatRequest, ContentMayComeInParts) {
  const ChatRequest request = parse_chat(chat_with(
      R"({"messages": [{"role": "user", "name": "n", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]})"));
  EXPECT_EQ(request.messages[0]["content"], "a\nb");
}

struct Bad {
  const char *changes, *param, *message;
};

TEST(ChatRequest, EveryFieldIsChecked) {
  const Bad cases[] = {
      {R"({"temperature": "hot"})", "temperature", "must be a number, it is a string"},
      {R"({"temperature": -0.1})", "temperature", "between 0 and 2, it is -0.1"},
      {R"({"temperature": 2.1})", "temperature", "between 0 and 2"},
      {R"({"top_p": 0})", "top_p", "above 0"},
      {R"({"top_p": 1.5})", "top_p", "between 0 and 1"},
      {R"({"top_k": 1.5})", "top_k", "an integer, it is a decimal number"},
      {R"({"top_k": -2})", "top_k", "between -1"},
      {R"({"min_p": 2})", "min_p", "between 0 and 1"},
      {R"({"repetition_penalty": 0})", "repetition_penalty", "between 0.01 and 10"},
      {R"({"max_tokens": 0})", "max_tokens", "between 1 and 2147483647, it is 0"},
      {R"({"max_tokens": 1e300})", "max_tokens", "between"},
      {R"({"max_tokens": true})", "max_tokens", "an integer, it is a boolean"},
      {R"({"max_completion_tokens": -5})", "max_completion_tokens", "between"},
      {R"({"stop": 3})", "stop", "a string or an array of strings"},
      {R"({"stop": [3]})", "stop", "a string or an array of strings"},
      {R"({"stop": ""})", "stop", "empty"},
      {R"({"stop": ["1","2","3","4","5","6","7","8","9","10","11","12","13","14","15","16","17"]})", "stop",
       "at most 16"},
      {R"({"seed": "1"})", "seed", "an integer"},
      {R"({"seed": 1e30})", "seed", "between"},
      {R"({"seed": 9223372036854774785})", "seed", "between"},
      {R"({"seed": -9223372036854774785})", "seed", "between"},
      {R"({"seed": -9223372036854775809})", "seed", "between"},
      {R"({"seed": 18446744073709551615})", "seed", "between"},
      {R"({"n": 0})", "n", "between 1 and 16"},
      {R"({"n": 17})", "n", "between 1 and 16"},
      {R"({"stream": 1})", "stream", "a boolean"},
      {R"({"stream_options": {"include_usage": true}})", "stream_options", "only allowed when stream"},
      {R"({"stream": true, "stream_options": []})", "stream_options", "an object"},
      {R"({"stream": true, "stream_options": {"include_usages": true}})", "stream_options.include_usages",
       "did you mean stream_options.include_usage"},
      {R"({"model": 3})", "model", "a string"},
      {R"({"messages": "Hi"})", "messages", "an array, it is a string"},
      {R"({"messages": []})", "messages", "must not be empty"},
      {R"({"messages": ["Hi"]})", "messages[0]", "an object"},
      {R"({"messages": [{"content": "Hi"}]})", "messages[0].role", "required"},
      {R"({"messages": [{"role": "user"}]})", "messages[0].content", "required"},
      {R"({"messages": [{"role": "robot", "content": "Hi"}]})", "messages[0].role", "one of system"},
      {R"({"messages": [{"role": "user", "content": 5}]})", "messages[0].content", "a string or an array"},
      {R"({"messages": [{"role": "user", "content": []}]})", "messages[0].content", "empty"},
      {R"({"messages": [{"role": "user", "content": ["x"]}]})", "messages[0].content[0]", "an object"},
      {R"({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})", "messages[0].content[0].type",
       "text only"},
      {R"({"messages": [{"role": "user", "content": [{"type": "text"}]}]})", "messages[0].content[0].text", "required"},
      {R"({"messages": [{"role": "user", "content": "x", "contents": 1}]})", "messages[0].contents",
       "did you mean messages[0].content"},
      {R"({"response_format": "text"})", "response_format", "an object"},
      {R"({"messages": [{"role": "tool", "content": "Hi"}]})", "messages[0].tool_call_id", "required"},
      {R"({"messages": [{"role": "user", "content": "x", "tool_calls": []}]})", "messages[0].tool_calls", "unknown"},
      {R"({"messages": [{"role": "assistant", "tool_calls": [1]}]})", "messages[0].tool_calls[0]", "an object"},
      {R"({"frequency_penalty": 2.5})", "frequency_penalty", "between -2 and 2"},
      {R"({"presence_penalty": "x"})", "presence_penalty", "a number"},
      {R"({"guided_regex": "a", "response_format": {"type": "json_object"}})", "response_format",
       "beside a guided_ field"},
      {R"({"typical_p": 0})", "typical_p", "above 0"},
      {R"({"logit_bias": {"x": 1}})", "logit_bias", "no token id"},
      {R"({"logit_bias": {"-5": 1}})", "logit_bias", "no token id"},
      {R"({"logit_bias": {"5": 101}})", "logit_bias.5", "between -100 and 100"},
      {R"({"logit_bias": {"5": null}})", "logit_bias.5", "is required"},
      {R"({"logit_bias": [1]})", "logit_bias", "an object"},
      {R"({"logprobs": 1})", "logprobs", "a boolean"},
      {R"({"top_logprobs": 3})", "top_logprobs", "only allowed when logprobs"},
      {R"({"logprobs": true, "top_logprobs": 21})", "top_logprobs", "between 0 and 20"},
      {R"({"num_beams": 17})", "num_beams", "between 1 and 16"},
      {R"({"early_stopping": "x"})", "early_stopping", "a boolean or"},
      {R"({"guided_choice": []})", "guided_choice", "empty"},
      {R"({"guided_choice": ["a"], "guided_regex": "b"})", "guided_json", "beside another"},
      {R"({"tools": {}})", "tools", "an array"},
      {R"({"tools": [1]})", "tools[0]", "an object"},
      {R"({"tools": [{"type": "web_search"}]})", "tools[0].type", "one of function"},
      {R"({"tools": [{"type": "function"}]})", "tools[0].function", "required"},
      {R"({"tools": [{"type": "function", "function": {"name": "a b"}}]})", "tools[0].function.name", "letters"},
      {R"({"tools": [{"type": "function", "function": {"name": "a", "parameters": 1}}]})",
       "tools[0].function.parameters", "an object"},
      {R"({"tool_choice": "sometimes"})", "tool_choice", "one of none, auto, required"},
      {R"({"tool_choice": {"type": "function"}})", "tool_choice.function", "required"},
      {R"({"functions": [{"name": "f"}]})", "functions", "not supported"},
      {R"({"response_format": {"type": "xml"}})", "response_format.type", "one of text, json_object"},
      {R"({"response_format": {"type": "json_schema"}})", "response_format.json_schema", "required"},
      {R"({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": 3}}})",
       "response_format.json_schema.schema", "an object"},
      {R"({"reasoning_effort": "huge"})", "reasoning_effort", "one of none"},
      {R"({"chat_template_kwargs": {"messages": []}})", "chat_template_kwargs", "must not hold messages"},
      {R"({"modalities": ["audio"]})", "modalities", "not supported"},
      {R"({"temprature": 1})", "temprature", "did you mean temperature?"},
      {R"({"xyzzy": 1})", "xyzzy", "unknown field xyzzy"},
  };
  for (const Bad& bad : cases) {
    const Failure failure = chat_failure(bad.changes);
    EXPECT_EQ(failure.status, 400) << bad.changes;
    EXPECT_EQ(failure.param, bad.param) << bad.changes;
    EXPECT_THAT(failure.what(), HasSubstr(bad.message)) << bad.changes;
    EXPECT_EQ(failure.type, "invalid_request_error");
    EXPECT_NE(failure.code, "") << bad.changes;
  }
  EXPECT_EQ(failure_of([] { parse_chat(R"({"messages": [{"role": "user", "content": "Hi"}]})"); }).param, "model");
  EXPECT_EQ(failure_of([] { parse_chat(R"({"model": "m"})"); }).param, "messages");
}

TEST(ChatRequest, MalformedBodies) {
  for (const std::string& body :
       {std::string(), std::string("{"), std::string("[]"), std::string("null"), std::string("{\"model\": \"\xff\"}"),
        std::string("{} {}"), std::string(1 << 20, '['), std::string("{\"a\":") + std::string(1 << 20, '['),
        R"({"model": "m", "stop": )" + std::string(1 << 20, '[') + std::string(1 << 20, ']') + "}"}) {
    EXPECT_EQ(failure_of([&] { parse_chat(body); }).status, 400) << body.substr(0, 20);
  }
}

TEST(CompletionRequest, PromptsOfEveryForm) {
  const auto prompts = [](const std::string& prompt) {
    return parse_completion(R"({"model": "m", "prompt": )" + prompt + "}").prompts;
  };
  EXPECT_THAT(prompts(R"("a")"), ElementsAre(Prompt("a")));
  EXPECT_THAT(prompts(R"(["a", "b"])"), ElementsAre(Prompt("a"), Prompt("b")));
  EXPECT_THAT(prompts("[1, 2]"), ElementsAre(Prompt(std::vector<int32_t>{1, 2})));
  EXPECT_THAT(prompts("[[1], [2, 3]]"),
              ElementsAre(Prompt(std::vector<int32_t>{1}), Prompt(std::vector<int32_t>{2, 3})));
  EXPECT_THAT(prompts("[1, 2.0]"), ElementsAre(Prompt(std::vector<int32_t>{1, 2})));  // whole, as JSON schemas have it
  for (const char* bad : {"3", "{}", "[]", "[1, \"a\"]", "[\"a\", 1]", "[\"a\", [1]]", "[1.5]", "[-1]", "[9999999999]",
                          "[[\"a\"]]", "[[]]", "[true]", "[[[1]]]", "null"}) {
    EXPECT_EQ(failure_of([&] { prompts(bad); }).param, "prompt") << bad;
  }
  EXPECT_EQ(parse_completion(R"({"model": "m", "prompt": "a"})").sampling.max_tokens, 16);
  EXPECT_TRUE(parse_completion(R"({"model": "m", "prompt": "a", "echo": true, "best_of": 1})").echo);
  EXPECT_EQ(parse_completion(R"({"model": "m", "prompt": "a", "best_of": 3, "n": 2})").sampling.best_of, 3);
  EXPECT_EQ(failure_of([] { parse_completion(R"({"model": "m", "prompt": "a", "best_of": 1, "n": 2})"); }).param,
            "best_of");
  for (const char* others : {R"("stream": true)", R"("temperature": 0, "num_beams": 4)", R"("penalty_alpha": 0.5)"}) {
    const auto with_best_of = [&](int best) {
      return failure_of([&] {
        parse_completion(
            fmt::format(R"({{"model": "m", "prompt": "a", "best_of": {}, "n": {}, {}}})", best, best, others));
      });
    };
    EXPECT_EQ(with_best_of(2).param, "best_of") << others;
    EXPECT_STREQ(with_best_of(1).what(), "was accepted") << others;
  }
  EXPECT_EQ(failure_of([] { parse_completion(R"({"model": "m", "prompt": "a", "suffix": "b"})"); }).param, "suffix");
  EXPECT_EQ(failure_of([] { parse_completion(R"({"model": "m", "prompt": "a", "messages": []})"); }).param, "messages");
}

TEST(ChatRequest, ConversationsWithTools) {
  const ChatRequest request = parse_chat(chat_with(R"({"messages": [
      {"role": "user", "content": "Weather?"},
      {"role": "assistant", "content": null, "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "w", "arguments": "{\"b\": 1, \"a\": 2}"}}]},
      {"role": "tool", "tool_call_id": "c1", "content": "sun"}],
    "tools": [{"type": "function", "function": {"name": "w", "description": "d", "parameters": {"type": "object"}, "strict": true}}],
    "tool_choice": {"type": "function", "function": {"name": "w"}}, "parallel_tool_calls": false})"));
  EXPECT_EQ(request.messages[1]["tool_calls"][0]["function"]["arguments"].dump(), R"({"b":1,"a":2})");
  EXPECT_EQ(request.messages[2]["tool_call_id"], "c1");
  EXPECT_EQ(request.tools[0]["function"]["description"], "d");
  EXPECT_EQ(request.tool_use, ToolUse::kRequired);
  EXPECT_EQ(request.tool_name, "w");
  EXPECT_FALSE(request.parallel_tool_calls);
}

TEST(ChatRequest, ArgumentsThatAreNoObjectStayText) {
  for (const char* slip : {"[1]", "{", "Tokyo"}) {
    const nlohmann::json call = {{"id", "c"}, {"type", "function"}, {"function", {{"name", "w"}, {"arguments", slip}}}};
    const nlohmann::json messages = {{{"role", "assistant"}, {"tool_calls", {call}}}};
    const ChatRequest request = parse_chat(chat_with(nlohmann::json{{"messages", messages}}.dump()));
    EXPECT_EQ(request.messages[0]["tool_calls"][0]["function"]["arguments"], slip);
  }
}

TEST(ChatRequest, TheLeastShareAboveZeroIsNoZero) {
  const ChatRequest request = parse_chat(chat_with(R"({"top_p": 5e-324, "typical_p": 1e-300})"));
  EXPECT_GT(request.sampling.top_p, 0);
  EXPECT_GT(request.sampling.typical_p, 0);
}

TEST(ChatRequest, LengthsAreThoseOfJsonSchema) {
  const auto times = [](int count, const char* character) {
    std::string text;
    for (int i = 0; i < count; ++i) text += character;
    return text;
  };
  for (const char* character : {"a", "é", "多", "🌵"}) {  // of one to four bytes
    const auto problem = [&](const char* field, int count) {
      return std::string(chat_failure(json{{field, times(count, character)}}.dump()).what());
    };
    EXPECT_EQ(problem("stop", 1000), "was accepted");
    EXPECT_THAT(problem("stop", 1001), HasSubstr("over 1000 characters"));
    EXPECT_EQ(problem("guided_regex", 10'000), "was accepted");
    EXPECT_THAT(problem("guided_regex", 10'001), HasSubstr("longer than 10000 characters"));
  }
}

TEST(ChatRequest, SeedsAreExact) {
  const auto seed = [](const char* text) { return parse_chat(chat_with(fmt::format("{{\"seed\": {}}}", text))).seed; };
  EXPECT_EQ(seed("9223372036854774784"), 9223372036854774784u);
  EXPECT_EQ(seed("-9223372036854774784"), uint64_t{0} - 9223372036854774784u);
  EXPECT_EQ(seed("9007199254740993"), 9007199254740993u);  // 2^53 + 1
  EXPECT_EQ(seed("7.0"), 7u);
}

TEST(ChatRequest, ThePenaltiesLeastAboveZeroIsNoZero) {
  const ChatRequest request = parse_chat(chat_with(R"({"diversity_penalty": 5e-324, "penalty_alpha": 1e-300})"));
  EXPECT_GT(request.sampling.diversity_penalty, 0);
  EXPECT_GT(request.sampling.penalty_alpha, 0);
  EXPECT_EQ(parse_chat(chat_with(R"({"diversity_penalty": 0, "penalty_alpha": 0.0})")).sampling.penalty_alpha, 0);
}

TEST(ChatRequest, FormatsBecomeGrammars) {
  const auto grammar = [](const std::string& changes) { return parse_chat(chat_with(changes)).grammar; };
  EXPECT_EQ(grammar(R"({"response_format": {"type": "json_object"}})").kind, GrammarSpec::Kind::kJson);
  const GrammarSpec schema = grammar(
      R"({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "strict": true, "schema": {"type": "object", "b": 1, "a": 2}}}})");
  EXPECT_EQ(schema.kind, GrammarSpec::Kind::kJsonSchema);
  EXPECT_EQ(schema.text, R"({"type":"object","b":1,"a":2})");  // the order is kept
  EXPECT_EQ(grammar(R"({"guided_regex": "[ab]+"})").text, "[ab]+");
  EXPECT_THAT(grammar(R"({"guided_choice": ["yes", "no"]})").choices, ElementsAre("yes", "no"));
}

TEST(ResponsesRequest, ItemsBecomeMessages) {
  const ResponsesRequest request = parse_responses(R"({"model": "m", "instructions": "Be brief.", "input": [
      {"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
      {"type": "reasoning", "id": "r", "summary": []},
      {"type": "function_call", "call_id": "c1", "name": "w", "arguments": "{}"},
      {"type": "function_call_output", "call_id": "c1", "output": "sun"}],
    "tools": [{"type": "function", "name": "w", "parameters": {"type": "object"}}], "max_output_tokens": 9,
    "text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": "object"}}}})");
  EXPECT_EQ(
      request.messages.dump(),
      R"([{"role":"system","content":"Be brief."},{"role":"user","content":"Weather?"},)"
      R"({"role":"assistant","content":"","tool_calls":[{"id":"c1","type":"function","function":{"name":"w","arguments":{}}}]},)"
      R"({"role":"tool","tool_call_id":"c1","content":"sun"}])");
  EXPECT_EQ(request.tools[0]["function"]["name"], "w");
  EXPECT_EQ(request.sampling.max_tokens, 9);
  EXPECT_EQ(request.grammar.kind, GrammarSpec::Kind::kJsonSchema);
  for (const auto& [body, param] :
       {std::pair{R"({"model": "m"})", "input"},
        {R"({"model": "m", "input": []})", "input"},
        {R"({"model": "m", "input": [{"type": "computer_call"}]})", "input[0].type"},
        {R"({"model": "m", "input": "x", "previous_response_id": "y"})", "previous_response_id"},
        {R"({"model": "m", "input": "x", "max_tokens": 5})", "max_tokens"}})
    EXPECT_EQ(failure_of([&] { parse_responses(body); }).param, param) << body;
}

TEST(OtherRequests, AreChecked) {
  EXPECT_TRUE(parse_embeddings(R"({"model": "m", "input": ["a", "b"], "encoding_format": "base64"})").base64);
  EXPECT_EQ(parse_embeddings(R"({"model": "m", "input": "a", "pooling": "last"})").pooling, Pooling::kLastToken);
  EXPECT_EQ(failure_of([] { parse_embeddings(R"({"model": "m", "input": ["a", ""]})"); }).param, "input");
  EXPECT_EQ(parse_tokenize(R"({"prompt": "a", "add_special_tokens": false})").text, "a");
  EXPECT_TRUE(parse_tokenize(R"({"messages": [{"role": "user", "content": "a"}]})").chat);
  EXPECT_EQ(failure_of([] { parse_tokenize("{}"); }).param, "prompt");
  EXPECT_THAT(parse_detokenize(R"({"tokens": [1, 2]})").ids, ElementsAre(1, 2));
  EXPECT_EQ(failure_of([] { parse_detokenize(R"({"tokens": "a"})"); }).param, "tokens");
}

TEST(Failure, QuotesNulsAndGoesOn) {
  EXPECT_STREQ(Failure::invalid("a", std::string("\"x\0\0y\" is none", 14)).what(), "\"x\\0\\0y\" is none");
}

TEST(Bodies, WithTooManyFieldsAreRefused) {
  std::string body = "{\"a\": {";
  for (int i = 0; i < 2100; ++i) body += "\"" + std::to_string(i) + "\": 1,";
  body.back() = '}';
  EXPECT_THAT(failure_of([&] { parse_chat(body + "}"); }).what(), HasSubstr("more than 2000 fields"));
}

}  // namespace
}  // namespace sedum::openai
