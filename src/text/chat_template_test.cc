#include "text/chat_template.h"

#include <cstdlib>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace sedum {
namespace {

using Json = nlohmann::ordered_json;
using testing::HasSubstr;
namespace fs = std::filesystem;

const fs::path kGolden = fs::path(SEDUM_SOURCE_DIR) / "tests/golden/text";

void use_utc() {
  setenv("TZ", "UTC", 1);
  tzset();
}

// The string behind a key of a GGUF file: type 8, length, bytes. Enough for a template; the reader of the format is elsewhere.
std::string gguf_string(const fs::path& path, std::string_view key) {
  const MappedFile file(path);
  const size_t at = file.text().find(key);
  if (at == std::string_view::npos) return "";
  uint64_t length;
  std::memcpy(&length, file.text().data() + at + key.size() + 4, 8);
  return std::string(file.text().substr(at + key.size() + 12, length));
}

// Source of a golden template, or nothing when the folder it lies in is not there.
std::optional<std::string> template_source(const std::string& name) {
  const std::string file = name.substr(name.find('/') + 1);
  if (name.starts_with("own/")) return read_file(kGolden / "templates" / file);
  const char* folder = std::getenv(name.starts_with("data/") ? "SEDUM_TEST_DATA" : "SEDUM_TEST_MODELS");
  if (!folder) return std::nullopt;
  if (name.starts_with("data/")) return read_file(fs::path(folder) / "chat_templates" / file);
  return gguf_string(fs::path(folder) / file, "tokenizer.chat_template");
}

class GoldenTemplates : public testing::TestWithParam<const char*> {};

TEST_P(GoldenTemplates, RenderAsTransformersDoes) {
  use_utc();
  const Json golden = parse_json<Json>(read_file(kGolden / "templates.json"));
  std::map<std::string, ChatTemplate> templates;
  int rendered = 0;
  for (const Json& c : golden["cases"]) {
    const std::string name = c["template"];
    if (!name.starts_with(GetParam())) continue;
    if (!templates.contains(name)) {
      const auto source = template_source(name);
      if (!source) GTEST_SKIP() << "SEDUM_TEST_DATA or SEDUM_TEST_MODELS is not set";
      templates.emplace(name, ChatTemplate(*source));
    }
    const Json& messages = golden["conversations"][c["conversation"].get<std::string>()];
    TemplateOptions options;
    options.bos_token = "<s>", options.eos_token = "</s>";
    options.now = golden["now"].get<std::time_t>();
    SCOPED_TRACE(Json(c).dump().substr(0, 200));
    rendered++;
    if (c.contains("spans")) {
      const RenderedChat chat = templates.at(name).assistant_spans(messages, options);
      EXPECT_EQ(chat.text, c["text"]);
      Json spans = Json::array();
      for (Span s : chat.spans) spans.push_back({s.begin, s.end});
      EXPECT_EQ(spans, c["spans"]);
      continue;
    }
    options.add_generation_prompt = c["add_generation_prompt"];
    if (c["tools"]) options.tools = std::make_shared<Json>(golden["tools"]);
    if (c.contains("variables")) options.variables = std::make_shared<Json>(c["variables"]);
    if (c.contains("error")) {
      EXPECT_THROW(templates.at(name).render(messages, options), Error);
    } else {
      EXPECT_EQ(templates.at(name).render(messages, options), c["text"]);
    }
  }
  EXPECT_GT(rendered, 0);
}

INSTANTIATE_TEST_SUITE_P(ChatTemplate, GoldenTemplates, testing::Values("own/", "data/", "models/"));

TEST(Jinja, SnippetsComeOutAsInPython) {
  use_utc();
  const Json golden = parse_json<Json>(read_file(kGolden / "jinja.json"));
  TemplateOptions options;
  options.now = golden["now"].get<std::time_t>();
  options.variables = std::make_shared<Json>(golden["variables"]);
  for (const Json& c : golden["cases"]) {
    SCOPED_TRACE(c["source"].get<std::string>());
    if (c.contains("error")) {
      EXPECT_THROW(ChatTemplate(c["source"]).render(Json::array(), options), Error);
      continue;
    }
    try {
      EXPECT_EQ(ChatTemplate(c["source"]).render(Json::array(), options), c["text"]);
    } catch (const Error& e) {
      ADD_FAILURE() << e.what();
    }
  }
}

std::string render_error(const std::string& source, TemplateLimits limits) {
  try {
    TemplateOptions options;
    options.limits = limits;
    ChatTemplate(source).render(Json::array(), options);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

std::string error_of(const std::string& source) { return render_error(source, {}); }

// Found by fuzzing: numbers beyond a double's range ended the program.
TEST(Jinja, NumbersBeyondTheRange) {
  const auto text = [](const std::string& source) { return ChatTemplate(source).render(Json::array(), {}); };
  EXPECT_EQ(text("{{ 1e999 }} {{ -1e999 }} {{ 0703e685 < 2387904 }}"), "inf -inf False");
  EXPECT_EQ(text("{{ 1e-999 }} {{ 4e-320 > 0 }}"), "0.0 True");
}

TEST(Jinja, ErrorsNameLineAndReason) {
  EXPECT_THAT(error_of("a\nb\n{{ missing.x }}"), HasSubstr("line 3: 'missing' is undefined"));
  EXPECT_THAT(error_of("{{ raise_exception('no system role') }}"), HasSubstr("line 1: no system role"));
  EXPECT_THAT(error_of("{% if x %}\n{{ 1 +\n}}"), HasSubstr("line 3"));
  EXPECT_THAT(error_of("{% frobnicate %}"), HasSubstr("unknown statement 'frobnicate'"));
  EXPECT_THAT(error_of("\n{% for x in xs %}"), HasSubstr("'endfor' is missing"));
}

TEST(Jinja, LimitsStopWhatWouldNotEnd) {
  const auto stopped = [](const std::string& source,
                          TemplateLimits limits = {.steps = 200'000, .output_bytes = 1 << 20, .depth = 100}) {
    return render_error(source, limits);
  };
  const std::string loop = "{% for a in range(10000) %}{% for b in range(10000) %}{% endfor %}{% endfor %}";
  EXPECT_THAT(stopped(loop), HasSubstr("steps"));
  EXPECT_THAT(stopped("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"), HasSubstr("too deep"));
  EXPECT_THAT(stopped("{{ 'x' * 100000000000 }}"), HasSubstr("too long"));
  EXPECT_THAT(
      error_of("{% set ns = namespace(s='x') %}{% for i in range(100) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}"),
      testing::AnyOf(HasSubstr("bytes"), HasSubstr("steps")));
  // Holds itself twice, twice, twice: small in memory, endless when written.
  EXPECT_THAT(stopped("{% set ns = namespace(s=[1]) %}{% for i in range(100) %}{% set ns.s = [ns.s, ns.s] %}{% endfor "
                      "%}{{ ns.s }}"),
              HasSubstr("parts"));
  EXPECT_THAT(stopped("{% set ns = namespace(s=[]) %}{% for i in range(1000) %}{% set ns.s = [ns.s] %}{% endfor %}"),
              HasSubstr("deeper"));
  EXPECT_THAT(stopped("{{ " + std::string(100000, '(') + "1" + std::string(100000, ')') + " }}"), HasSubstr("deeper"));
  EXPECT_THAT(stopped("{{ " + std::string(100000, '-') + "1 }}"), HasSubstr("deeper"));
  std::string chain = "{{ 1";
  for (int i = 0; i < 100000; i++) chain += "+1";
  EXPECT_THAT(stopped(chain + " }}"), HasSubstr("longer"));
  EXPECT_THAT(stopped("{{ range(1000000) }}"), HasSubstr("range"));
  TemplateLimits small;
  small.output_bytes = 10;
  EXPECT_THAT(stopped("0123456789a", small), HasSubstr("10 bytes of output"));
  EXPECT_EQ(stopped("0123456789", small), "");
}

TEST(Jinja, CyclesAreFreed) {  // the address sanitizer sees what is not
  EXPECT_EQ(
      error_of("{% set ns = namespace() %}{% set ns.me = ns %}{% macro m() %}{% endmacro %}{% set ns.m = m %}{{ ns }}"),
      "");
  EXPECT_EQ(error_of("{% set ns = namespace() %}{% for i in range(2000) %}{% set p = ns.l %}{% for j in [1] recursive "
                     "%}{% set ns.l = loop %}"
                     "{% endfor %}{% endfor %}"),
            "");
}

Json conversation() {
  return parse_json<Json>(R"([{"role": "user", "content": "a"}, {"role": "assistant", "content": "bé"},
                         {"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}])");
}

std::vector<std::string> said(const RenderedChat& chat) {
  std::vector<std::string> parts;
  for (Span s : chat.spans) parts.push_back(chat.text.substr(s.begin, s.end - s.begin));
  return parts;
}

TEST(AssistantSpans, ByPrefixesWithTheTokenThatEndsTheTurn) {
  const ChatTemplate chat(
      "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>\n{% endfor %}{% if add_generation_prompt "
      "%}<|assistant|>{% endif %}");
  TemplateOptions options;
  options.add_generation_prompt = true;  // is of no account here
  const RenderedChat rendered = chat.assistant_spans(conversation(), options);
  EXPECT_EQ(rendered.text, "<|user|>a<|end|>\n<|assistant|>bé<|end|>\n<|user|>c<|end|>\n<|assistant|>d<|end|>\n");
  EXPECT_THAT(said(rendered), testing::ElementsAre("bé<|end|>\n", "d<|end|>\n"));
  EXPECT_THAT(chat.assistant_spans(Json::array()).spans, testing::IsEmpty());
}

TEST(AssistantSpans, ByGenerationBlocks) {
  const ChatTemplate chat(
      "{% for m in messages %}{% if m.role == 'assistant' %}A:{% generation %}{{ m.content }};{% endgeneration %}{% "
      "else %}U:{{ m.content }};{% endif %}{% endfor %}");
  EXPECT_TRUE(chat.has_generation_blocks());
  EXPECT_THAT(said(chat.assistant_spans(conversation())), testing::ElementsAre("bé;", "d;"));
}

TEST(AssistantSpans, RefusedWhereTheTemplateRewritesThePast) {
  // Drops the assistant's earlier words, as templates for reasoning models do.
  const ChatTemplate chat("{% for m in messages %}[{{ m.content if m.role == 'user' or loop.last }}]{% endfor %}");
  EXPECT_THROW(chat.assistant_spans(conversation()), Error);
}

TEST(ChatTemplate, RefusesWhatIsNoConversation) {
  const ChatTemplate chat("{{ messages }}");
  EXPECT_THROW(chat.render(Json::object()), Error);
  EXPECT_THROW(chat.render(parse_json<Json>(R"(["hello"])")), Error);
  Json deep = Json::array();
  Json* inner = &deep;
  for (int i = 0; i < 300; i++) inner->push_back(Json::array()), inner = &inner->back();
  EXPECT_THROW(chat.render(Json::array({Json{{"role", deep}}})), Error);
}

}  // namespace
}  // namespace sedum
