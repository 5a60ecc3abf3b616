// POST /v1/completions, /v1/embeddings, /tokenize and /detokenize: what takes plain text or ids.
#include <limits>

#include <fmt/format.h>

#include "serve/openai/failure.h"
#include "serve/openai/fields.h"
#include "serve/openai/request.h"

namespace sedum::openai {
namespace {

constexpr double kMaxInt = std::numeric_limits<int32_t>::max();

std::vector<int32_t> parse_ids(const Fields& fields, const char* name, const json& ids) {
  std::vector<int32_t> parsed;
  for (const json& id : ids) {
    if (!is_whole(id)) fields.wrong_type(name, "text, token ids, or an array of one kind", id);
    const double value = id.get<double>();
    if (value < 0 || value > kMaxInt) fields.fail(name, "holds a token id that the model does not have: " + id.dump());
    parsed.push_back(int32_t(value));
  }
  return parsed;
}

}  // namespace

std::vector<Prompt> parse_prompts(Fields& fields, const char* name) {
  const json& value = fields.required(name);
  if (value.is_string()) return {value.get<std::string>()};
  if (!value.is_array()) fields.wrong_type(name, "a string or an array", value);
  if (value.empty()) fields.fail(name, "must not be empty");
  if (value[0].is_number()) return {parse_ids(fields, name, value)};
  if (value.size() > kMaxPrompts) fields.fail(name, fmt::format("must hold at most {} prompts", kMaxPrompts));
  std::vector<Prompt> prompts;
  for (const json& item : value) {
    if (item.type() != value[0].type()) fields.wrong_type(name, "an array of one kind", item);
    if (item.is_array() && item.empty()) fields.fail(name, "must not hold an empty array");
    if (item.is_string())
      prompts.emplace_back(item.get<std::string>());
    else if (item.is_array())
      prompts.emplace_back(parse_ids(fields, name, item));
    else
      fields.wrong_type(name, "text, token ids, or an array of one kind", item);
  }
  return prompts;
}

CompletionRequest parse_completion(std::string_view body) {
  const json object = parse_object(body);
  Fields fields(object);
  CompletionRequest request;
  parse_sampling(fields, request);
  request.sampling.max_tokens = int(fields.integer("max_tokens", 16, {1, kMaxInt}));  // OpenAI's default
  request.echo = fields.boolean("echo", false);
  if (fields.find("logprobs")) request.sampling.logprobs = int(fields.integer("logprobs", 0, {0, 20}));
  if (request.echo) request.sampling.prompt_logprobs = request.sampling.logprobs;
  request.sampling.best_of = int(fields.integer("best_of", 0, {1, kMaxAnswers}));
  if (request.sampling.best_of > 0 && request.sampling.best_of < request.sampling.n)
    fields.fail("best_of", fmt::format("must be at least n, which is {}", request.sampling.n));
  if (request.sampling.best_of > 1 && request.stream)
    fields.fail("best_of", "cannot be streamed: the best are known at the end");
  if (request.sampling.best_of > 1 && (request.sampling.num_beams > 1 || request.sampling.penalty_alpha > 0))
    fields.fail("best_of", "belongs to sampling, not to beam search or contrastive search");
  if (request.sampling.best_of == request.sampling.n) request.sampling.best_of = 0;
  add_format(fields, "response_format", true, request);
  fields.unsupported("suffix");
  request.prompts = parse_prompts(fields, "prompt");
  fields.end();
  return request;
}

EmbeddingsRequest parse_embeddings(std::string_view body) {
  const json object = parse_object(body);
  Fields fields(object);
  EmbeddingsRequest request;
  request.model = fields.text("model");
  request.inputs = parse_prompts(fields, "input");
  for (const Prompt& input : request.inputs)
    if (std::visit([](const auto& some) { return some.empty(); }, input)) fields.fail("input", "must not be empty");
  request.base64 = fields.one_of("encoding_format", {"float", "base64"}, "float") == "base64";
  request.pooling = fields.one_of("pooling", {"mean", "last"}, "mean") == "mean" ? Pooling::kMean : Pooling::kLastToken;
  if (fields.find("dimensions")) request.dimensions = fields.integer("dimensions", 0, {1, 1 << 20});
  fields.ignored({"user"});
  fields.end();
  return request;
}

TokenizeRequest parse_tokenize(std::string_view body) {
  const json object = parse_object(body);
  Fields fields(object);
  TokenizeRequest request;
  request.model = fields.text_or("model", "");
  request.add_special = fields.boolean("add_special_tokens", true);
  request.token_strings = fields.boolean("return_token_strs", false);
  if (fields.find("messages")) {
    json chat = {{"model", "x"}};
    for (const char* name : {"messages", "tools", "chat_template_kwargs"})
      if (const json* value = fields.find(name)) chat[name] = *value;
    if (fields.find("prompt")) fields.fail("prompt", "cannot stand beside messages");
    request.chat = parse_chat(chat.dump());
  } else {
    request.text = fields.text("prompt");
  }
  fields.end();
  return request;
}

DetokenizeRequest parse_detokenize(std::string_view body) {
  const json object = parse_object(body);
  Fields fields(object);
  DetokenizeRequest request;
  request.model = fields.text_or("model", "");
  fields.required("tokens");
  request.ids = parse_ids(fields, "tokens", *fields.array("tokens", size_t(kMaxInt)));
  fields.end();
  return request;
}

}  // namespace sedum::openai
