#include "text/answer_parser.h"

#include <cstdlib>
#include <filesystem>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/json.h"
#include "base/random.h"

namespace sedum {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

AnswerSyntax syntax(ToolSyntax tools) {
  AnswerSyntax s;
  s.tools = tools;
  return s;
}

std::vector<std::string> calls_of(const Answer& answer) {
  std::vector<std::string> calls;
  for (const ToolCall& c : answer.tool_calls)
    calls.push_back(c.name + " " + parse_json<nlohmann::ordered_json>(c.arguments).dump() +
                    (c.id.empty() ? "" : " " + c.id));
  return calls;
}

// Whatever way the text is cut, the pieces add up to the same.
Answer parse_everyhow(const AnswerSyntax& s, const std::string& text, const std::string& prompt = "",
                      bool tools = true) {
  const Answer whole = parse_answer(s, text, prompt, tools);
  const Random random(3, Purpose::kTest);
  for (uint64_t round = 0, at = 0; round < 30; round++) {
    AnswerParser parser(s, prompt, tools);
    Answer cut;
    const auto take = [&](const std::vector<AnswerPiece>& pieces) {
      for (const AnswerPiece& p : pieces) {
        if (p.kind == AnswerPiece::kReasoning) cut.reasoning += p.text;
        if (p.kind == AnswerPiece::kContent) cut.content += p.text;
        if (p.kind == AnswerPiece::kToolCall) cut.tool_calls.push_back(p.call);
      }
    };
    for (size_t begin = 0; begin < text.size();) {
      const size_t n = round == 0 ? 1 : 1 + random.below(9, at++);
      take(parser.push(text.substr(begin, n)));
      begin += n;
    }
    take(parser.finish());
    EXPECT_EQ(cut.content, whole.content) << text;
    EXPECT_EQ(cut.reasoning, whole.reasoning) << text;
    EXPECT_EQ(calls_of(cut), calls_of(whole)) << text;
  }
  return whole;
}

TEST(AnswerParser, PlainTextComesBackAsItIs) {
  for (const ToolSyntax tools : {ToolSyntax::kNone, ToolSyntax::kHermes, ToolSyntax::kLlama3, ToolSyntax::kMistral,
                                 ToolSyntax::kDeepSeek, ToolSyntax::kPhi}) {
    for (const std::string text :
         {"", " ", "Hello", "  Hello \n\n", "a < b <tool", "{\"x\": 1}", " { not json", "<thin", "x <think> y", "[TOOL",
          "{\"name\": 3}", "\n\n{\"a\": \"}\"} and more", "{", "<｜tool▁call"}) {
      const Answer answer = parse_everyhow(syntax(tools), text);
      EXPECT_EQ(answer.content, text);
      EXPECT_THAT(answer.tool_calls, IsEmpty());
      EXPECT_EQ(answer.reasoning, "");
    }
  }
}

TEST(AnswerParser, Reasoning) {
  const AnswerSyntax s = syntax(ToolSyntax::kHermes);
  Answer answer = parse_everyhow(s, "<think>\n2 + 2,\n\nso \n</think>\n\n4 \n");
  EXPECT_EQ(answer.reasoning, "2 + 2,\n\nso");
  EXPECT_EQ(answer.content, "4 \n");
  answer = parse_everyhow(s, "so\n</think>\n\n4", "<|im_start|>assistant\n<think>\n");
  EXPECT_EQ(answer.reasoning, "so");
  EXPECT_EQ(answer.content, "4");
  answer = parse_everyhow(s, "<think>never < ends ");
  EXPECT_EQ(answer.reasoning, "never < ends");
  EXPECT_EQ(answer.content, "");
  answer = parse_everyhow(s, "<think>\n\n</think>\n\nfirst");
  EXPECT_EQ(answer.reasoning, "");
  EXPECT_EQ(answer.content, "first");
  AnswerSyntax magistral = answer_syntax("{{ '[THINK]' }}[TOOL_CALLS]");
  EXPECT_EQ(parse_everyhow(magistral, "[THINK]hm[/THINK]ok").reasoning, "hm");
}

TEST(AnswerParser, HermesAndQwen) {
  const AnswerSyntax s = syntax(ToolSyntax::kHermes);
  Answer answer = parse_everyhow(
      s,
      "<think>\nuse it\n</think>\n\nI look.\n<tool_call>\n{\"name\": \"water\", \"arguments\": "
      "{\"plant\": \"Sedum </tool_call> \\u591a\", \"n\": [1, 2.5]}}\n</tool_call>\n<tool_call>\n{\"name\": "
      "\"list\", \"arguments\": {}}\n</tool_call>");
  EXPECT_EQ(answer.reasoning, "use it");
  EXPECT_EQ(answer.content, "I look.");
  EXPECT_THAT(calls_of(answer), ElementsAre("water {\"plant\":\"Sedum </tool_call> 多\",\"n\":[1,2.5]}", "list {}"));
  // Qwen3-Coder's frame.
  answer = parse_everyhow(
      s,
      "<tool_call>\n<function=run>\n<parameter=code>\nprint(1)\n  x\n</parameter>\n<parameter=n>\n3\n</parameter>\n"
      "</function>\n</tool_call>");
  EXPECT_THAT(calls_of(answer), ElementsAre("run {\"code\":\"print(1)\\n  x\",\"n\":3}"));
  EXPECT_EQ(answer.content, "");
  // Cut off by the token limit, but whole.
  EXPECT_THAT(calls_of(parse_everyhow(s, "<tool_call>{\"name\": \"f\", \"arguments\": {}}")), ElementsAre("f {}"));
  // Broken: as it was written.
  for (const std::string text :
       {"a\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": }}\n</tool_call> b ", "<tool_call>x</tool_call>",
        "<tool_call>{\"name\": \"f\", \"argum", "<tool_call>[]</tool_call>"}) {
    answer = parse_everyhow(s, text);
    EXPECT_EQ(answer.content, text);
    EXPECT_THAT(answer.tool_calls, IsEmpty());
  }
  const std::string call = "<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>";
  EXPECT_EQ(parse_everyhow(s, call, "", false).content, call);  // no tools were offered
}

TEST(AnswerParser, Llama3) {
  const AnswerSyntax s = syntax(ToolSyntax::kLlama3);
  EXPECT_THAT(calls_of(parse_everyhow(s, "{\"name\": \"water\", \"parameters\": {\"plant\": \"a}\"}}")),
              ElementsAre("water {\"plant\":\"a}\"}"));
  EXPECT_THAT(calls_of(parse_everyhow(s,
                                      "\n{\"type\": \"function\", \"name\": \"f\", \"parameters\": {}}; {\"name\": "
                                      "\"g\", \"parameters\": {\"x\": 1}}")),
              ElementsAre("f {}", "g {\"x\":1}"));
  EXPECT_THAT(calls_of(parse_everyhow(
                  s, "<|python_tag|>brave_search.call(query=\"a, \\\"b\\\")\", n=3, deep={\"x\": [1]}, yes=True)")),
              ElementsAre("brave_search {\"query\":\"a, \\\"b\\\")\",\"n\":3,\"deep\":{\"x\":[1]},\"yes\":true}"));
  EXPECT_THAT(calls_of(parse_everyhow(s, "<|python_tag|>{\"name\": \"f\", \"parameters\": {\"x\": 1}}")),
              ElementsAre("f {\"x\":1}"));
  EXPECT_THAT(calls_of(parse_everyhow(s, "<|python_tag|>print(2)\nprint(3)")),
              ElementsAre("code_interpreter {\"code\":\"print(2)\\nprint(3)\"}"));
  const Answer answer = parse_everyhow(s, "{\"name\": \"Aloe\", \"light\": \"full\"} is JSON");
  EXPECT_EQ(answer.content, "is JSON");  // a name and no arguments is a call
  EXPECT_EQ(parse_everyhow(s, "Sure: {\"name\": \"f\", \"parameters\": {}}").content,
            "Sure: {\"name\": \"f\", \"parameters\": {}}");
}

TEST(AnswerParser, MistralDeepSeekPhi) {
  const AnswerSyntax mistral = syntax(ToolSyntax::kMistral);
  EXPECT_THAT(calls_of(parse_everyhow(mistral,
                                      "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {\"x\": \"]\"}, \"id\": "
                                      "\"abc123def\"}, {\"name\": \"g\", \"arguments\": \"{}\"}]")),
              ElementsAre("f {\"x\":\"]\"} abc123def", "g {}"));
  const Answer answer = parse_everyhow(mistral, "I call.[TOOL_CALLS]f[CALL_ID]a1[ARGS]{\"x\": 1}[TOOL_CALLS]g[ARGS]{}");
  EXPECT_EQ(answer.content, "I call.");
  EXPECT_THAT(calls_of(answer), ElementsAre("f {\"x\":1} a1", "g {}"));
  EXPECT_THAT(calls_of(parse_everyhow(mistral, "[TOOL_CALLS]f{\"x\": \"[ARGS]\"}")),
              ElementsAre("f {\"x\":\"[ARGS]\"}"));
  EXPECT_EQ(parse_everyhow(mistral, "[TOOL_CALLS]f[ARGS]").content, "[TOOL_CALLS]f[ARGS]");
  const AnswerSyntax deepseek = syntax(ToolSyntax::kDeepSeek);
  EXPECT_THAT(calls_of(parse_everyhow(
                  deepseek,
                  "<think>a</"
                  "think>\n<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{\"x\": 1}\n```"
                  "<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>g\n```json\n{}\n```<"
                  "｜tool▁call▁end｜><｜tool▁calls▁end｜>")),
              ElementsAre("f {\"x\":1}", "g {}"));
  EXPECT_THAT(calls_of(parse_everyhow(deepseek,
                                      "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{\"x\": "
                                      "1}<｜tool▁call▁end｜><｜tool▁calls▁end｜>")),
              ElementsAre("f {\"x\":1}"));
  EXPECT_THAT(calls_of(parse_everyhow(syntax(ToolSyntax::kPhi),
                                      "<|tool_call|>[{\"name\": \"f\", \"arguments\": {}}]<|/tool_call|>")),
              ElementsAre("f {}"));
  EXPECT_THAT(calls_of(parse_everyhow(syntax(ToolSyntax::kPhi), "<|tool_call|>[{\"name\": \"f\", \"arguments\": {}}]")),
              ElementsAre("f {}"));
}

TEST(AnswerParser, FamilyByTemplate) {
  EXPECT_EQ(answer_syntax("{{ '<tool_call>' }}").tools, ToolSyntax::kHermes);
  EXPECT_EQ(answer_syntax("x <|python_tag|>").tools, ToolSyntax::kLlama3);
  EXPECT_EQ(answer_syntax("[AVAILABLE_TOOLS] [TOOL_CALLS]").tools, ToolSyntax::kMistral);
  EXPECT_EQ(answer_syntax("<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>").tools, ToolSyntax::kDeepSeek);
  EXPECT_EQ(answer_syntax("<start_of_turn>").tools, ToolSyntax::kNone);
}

// What the published templates of the families say of their answers.
TEST(AnswerParser, PublishedTemplates) {
  const char* folder = std::getenv("SEDUM_TEST_DATA");
  if (!folder) GTEST_SKIP() << "SEDUM_TEST_DATA is not set";
  const std::map<std::string, ToolSyntax> families = {
      {"HuggingFaceTB-SmolLM3-3B", ToolSyntax::kNone},  // this version of it knows no tools
      {"NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use", ToolSyntax::kHermes},
      {"Qwen-Qwen2.5-7B-Instruct", ToolSyntax::kHermes},
      {"Qwen-Qwen3-0.6B", ToolSyntax::kHermes},
      {"deepseek-ai-DeepSeek-R1-Distill-Llama-8B", ToolSyntax::kDeepSeek},
      {"google-gemma-2-2b-it", ToolSyntax::kNone},
      {"meta-llama-Llama-3.1-8B-Instruct", ToolSyntax::kLlama3},
      {"meta-llama-Llama-3.2-3B-Instruct", ToolSyntax::kLlama3},
      {"microsoft-Phi-3.5-mini-instruct", ToolSyntax::kNone},
      {"mistralai-Mistral-Nemo-Instruct-2407", ToolSyntax::kMistral}};
  for (const auto& [name, tools] : families)
    EXPECT_EQ(answer_syntax(read_file(std::filesystem::path(folder) / "chat_templates" / (name + ".jinja"))).tools,
              tools)
        << name;
  EXPECT_EQ(answer_syntax("{{ '<|tool|>' + message['tools'] + '<|/tool|>' }}").tools, ToolSyntax::kPhi);
}

TEST(AnswerParser, DeepNestingIsNoCall) {
  const std::string deep = "<tool_call>{\"name\": \"f\", \"arguments\": {\"x\": " + std::string(100000, '[') +
                           std::string(100000, ']') + "}}</tool_call>";
  EXPECT_EQ(parse_answer(syntax(ToolSyntax::kHermes), deep).content, deep);
  const std::string text = std::string(100000, '{');
  EXPECT_EQ(parse_answer(syntax(ToolSyntax::kLlama3), text).content, text);
}

}  // namespace
}  // namespace sedum
