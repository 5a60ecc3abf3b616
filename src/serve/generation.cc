// The endpoints of the server that put a model to work.
#include <bit>
#include <cstring>
#include <random>

#include <fmt/format.h>

#include "base/error.h"
#include "base/json.h"
#include "serve/anthropic/request.h"
#include "serve/server.h"

namespace sedum::serve {
using openai::Failure;
using json = nlohmann::ordered_json;

namespace {

uint64_t new_seed() {
  thread_local std::random_device device;
  return (uint64_t(device()) << 32) | device();
}

EncodedChat encode(const ServedModel& model, const openai::ChatRequest& chat, const char* field) {
  try {
    return model.encode_chat(chat);
  } catch (const Error& e) {
    throw Failure::invalid(field, e.what(), "invalid_value");
  }
}

void check_length(const ServedModel& model, const std::vector<int32_t>& prompt, const char* field, bool answer) {
  if (prompt.empty()) throw Failure::invalid(field, std::string(field) + " must not be empty", "invalid_value");
  if (int64_t(prompt.size()) + answer <= model.engine->context_length()) return;
  throw Failure::invalid(field,
                         fmt::format("{} take {} tokens; the context of this model holds {}{}", field, prompt.size(),
                                     model.engine->context_length(), answer ? ", and the answer needs room in it" : ""),
                         "context_length_exceeded");
}

std::string base64(const std::vector<float>& values) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  static_assert(std::endian::native == std::endian::little);
  const auto* bytes = reinterpret_cast<const unsigned char*>(values.data());
  const size_t size = values.size() * sizeof(float);
  std::string text;
  for (size_t i = 0; i < size; i += 3) {
    const uint32_t three = uint32_t(bytes[i]) << 16 | (i + 1 < size ? uint32_t(bytes[i + 1]) << 8 : 0) |
                           (i + 2 < size ? uint32_t(bytes[i + 2]) : 0);
    text += kDigits[three >> 18], text += kDigits[three >> 12 & 63];
    text += i + 1 < size ? kDigits[three >> 6 & 63] : '=';
    text += i + 2 < size ? kDigits[three & 63] : '=';
  }
  return text;
}

// Collects the embeddings of one request.
class EmbeddingsAnswer {
 public:
  EmbeddingsAnswer(http::Exchange exchange, std::string model, size_t count, bool as_base64)
      : exchange_(std::move(exchange)), model_(std::move(model)), vectors_(count), base64_(as_base64) {}
  std::function<void(int64_t tokens)> done;
  std::shared_ptr<void> place;

  void update(size_t index, const GenerationUpdate& update) {
    std::lock_guard lock(mutex_);
    if (over_) return;
    if (update.finish == FinishReason::kError || update.finish == FinishReason::kCancelled) {
      over_ = true;
      exchange_.respond(
          openai::response(update.finish == FinishReason::kError
                               ? Failure(500, "server_error", update.error)
                               : Failure(503, "server_error", "the server is stopping", "", "overloaded")));
      return;
    }
    if (!update.embedding.empty()) vectors_[index] = update.embedding;
    if (!update.last) return;
    tokens_ += update.prompt_tokens;
    if (++finished_ == vectors_.size()) finish();
  }

 private:
  void finish() {
    over_ = true;
    json data = json::array();
    for (size_t i = 0; i < vectors_.size(); ++i)
      data.push_back({{"object", "embedding"},
                      {"index", i},
                      {"embedding", base64_ ? json(base64(vectors_[i])) : json(vectors_[i])}});
    exchange_.note("prompt_tokens", tokens_);
    done(tokens_);
    place.reset();
    exchange_.respond({.body = json{{"object", "list"},
                                    {"data", std::move(data)},
                                    {"model", model_},
                                    {"usage", {{"prompt_tokens", tokens_}, {"total_tokens", tokens_}}}}
                                   .dump()});
  }

  const http::Exchange exchange_;
  const std::string model_;
  std::mutex mutex_;
  std::vector<std::vector<float>> vectors_;
  const bool base64_;
  int64_t tokens_ = 0;
  size_t finished_ = 0;
  bool over_ = false;
};

}  // namespace

void Server::chat(const Call& call) {
  openai::ChatRequest chat = openai::parse_chat(call.request.body);
  AnswerHead head = make_head("chatcmpl-", chat.model);
  head.include_usage = chat.include_usage;
  converse(call, chat, std::move(head), chat_dialect, "messages");
}

void Server::responses(const Call& call) {
  openai::ResponsesRequest chat = openai::parse_responses(call.request.body);
  AnswerHead head = make_head("resp_", chat.model);
  head.echo = chat.echo;
  converse(call, chat, std::move(head), responses_dialect, "input");
}

void Server::messages(const Call& call) {
  anthropic::MessagesRequest chat = anthropic::parse_messages(call.request.body);
  converse(call, chat, make_head("msg_", chat.model), messages_dialect, "messages");
}

void Server::count_tokens(const Call& call) {
  const anthropic::MessagesRequest chat = anthropic::parse_messages(call.request.body, true);
  const ServedModel& model = find_model(chat.model);
  call.exchange.respond({.body = json{{"input_tokens", encode(model, chat, "messages").ids.size()}}.dump()});
}

void Server::converse(const Call& call, openai::ChatRequest& chat, AnswerHead head, MakeDialect make,
                      const char* field) {
  const ServedModel& model = find_model(chat.model);
  const bool forced = chat.tool_use == openai::ToolUse::kRequired;
  const bool has_tools = !chat.tools.empty() && chat.tool_use != openai::ToolUse::kNone;
  Answer::Options options;
  if (forced) {
    chat.grammar = {.kind = GrammarSpec::Kind::kJsonSchema, .text = forced_call_schema(chat.tools, chat.tool_name)};
    chat.grammar_field = "tools";
    options.reader.kind = Reader::Kind::kOneCall;
  }
  EncodedChat prompt = encode_with_documents(model, chat, head, field);
  if (!forced && chat.grammar.kind == GrammarSpec::Kind::kNone) {
    options.reader = {.kind = Reader::Kind::kParse,
                      .syntax = model.syntax,
                      .prompt = std::move(prompt.text),
                      .tools = has_tools,
                      .parallel = chat.parallel_tool_calls};
  }
  options.decode = model.decode;
  std::vector<std::vector<int32_t>> prompts;
  prompts.push_back(std::move(prompt.ids));
  generate(call, model, chat, std::move(prompts), std::move(options), std::move(head), make, field);
}

namespace {

constexpr int kSources = 4;
constexpr int64_t kAnswerRoom = 256;  // tokens that passages leave to the answer

std::string last_question(const json& messages) {
  for (auto message = messages.rbegin(); message != messages.rend(); ++message)
    if ((*message)["role"] == "user") return (*message)["content"].get<std::string>();
  return "";
}

// Said in the question's language: small models answer in that of their instructions.
std::string passages_text(const std::vector<Source>& sources, const std::string& question) {
  const bool chinese =
      std::any_of(question.begin(), question.end(), [](unsigned char c) { return c >= 0xE3 && c <= 0xE9; });
  std::string text =
      chinese
          ? "请根据下面的资料回答。用到哪一条，就在句末用方括号注明它的编号，例如 [1]。资料没有提到的，请直接说明。"
          : "Answer from the passages below. After each statement give the number of the passage that it comes from "
            "in square brackets, such as [1]. Say so where they do not answer the question.";
  for (size_t i = 0; i < sources.size(); ++i) {
    text += fmt::format("\n\n[{}] {}", i + 1, sources[i].path);
    if (!sources[i].heading.empty()) text += " › " + sources[i].heading;
    text += "\n" + sources[i].text;
  }
  return text;
}

}  // namespace

EncodedChat Server::encode_with_documents(const ServedModel& model, const openai::ChatRequest& chat, AnswerHead& head,
                                          const char* field) const {
  const std::string question = last_question(chat.messages);
  std::vector<Source> sources;
  if (options_.documents && chat.use_documents) sources = options_.documents->search(question, kSources);
  if (options_.documents && chat.use_documents) head.sources = json::array();
  for (; !sources.empty(); sources.pop_back()) {
    openai::ChatRequest extended = chat;
    const std::string text = passages_text(sources, question);
    if (extended.messages[0]["role"] == "system")
      extended.messages[0]["content"] = extended.messages[0]["content"].get<std::string>() + "\n\n" + text;
    else
      extended.messages.insert(extended.messages.begin(), json{{"role", "system"}, {"content", text}});
    EncodedChat encoded = encode(model, extended, field);
    const int64_t context = model.engine->context_length();
    if (int64_t(encoded.ids.size()) + std::min(kAnswerRoom, context / 4) > context) continue;
    for (size_t i = 0; i < sources.size(); ++i)
      head.sources.push_back({{"index", i + 1},
                              {"path", sources[i].path},
                              {"heading", sources[i].heading},
                              {"line", sources[i].line},
                              {"text", sources[i].text}});
    return encoded;
  }
  return encode(model, chat, field);
}

std::vector<int32_t> Server::ids_of(const ServedModel& model, const openai::Prompt& prompt, const char* field) const {
  const std::string* text = std::get_if<std::string>(&prompt);
  std::vector<int32_t> ids = text ? model.encode_text(*text, true) : std::get<std::vector<int32_t>>(prompt);
  for (const int32_t id : ids) {
    if (id < 0 || id >= model.vocabulary)
      throw Failure::invalid(field, fmt::format("the model has no token {}", id), "invalid_value");
  }
  return ids;
}

void Server::completion(const Call& call) {
  const openai::CompletionRequest completion = openai::parse_completion(call.request.body);
  const ServedModel& model = find_model(completion.model);
  std::vector<std::vector<int32_t>> prompts;
  Answer::Options options;
  for (const openai::Prompt& prompt : completion.prompts) {
    std::vector<int32_t> ids = ids_of(model, prompt, "prompt");
    const std::string* text = std::get_if<std::string>(&prompt);
    if (ids.empty() && model.first >= 0) ids.push_back(model.first);
    if (completion.echo) options.prefixes.push_back(text ? *text : model.decode(ids));
    prompts.push_back(std::move(ids));
  }
  AnswerHead head = make_head("cmpl-", completion.model);
  head.include_usage = completion.include_usage;
  generate(call, model, completion, std::move(prompts), std::move(options), std::move(head), completion_dialect,
           "prompt");
}

void Server::generate(const Call& call, const ServedModel& model, const openai::CommonRequest& common,
                      std::vector<std::vector<int32_t>> prompts, Answer::Options options, AnswerHead head,
                      MakeDialect make, const char* field) {
  const int n = common.sampling.n;
  for (const auto& prompt : prompts) check_length(model, prompt, field, true);
  for (const auto& [id, bias] : common.sampling.logit_bias)
    if (id >= model.vocabulary)
      throw Failure::invalid("logit_bias", fmt::format("the model has no token {}", id), "invalid_value");
  if (prompts.size() * size_t(n) > openai::kMaxPrompts) {
    throw Failure::invalid("n", fmt::format("a request may have at most {} answers", openai::kMaxPrompts),
                           "invalid_value");
  }
  options.place = access_->admit(call.caller);
  options.prompts = int(prompts.size()), options.choices_per_prompt = n, options.stream = common.stream;
  options.stop = common.sampling.stop;
  options.done = [access = access_, caller = call.caller](const AnswerSummary& summary) {
    access->spend(caller, summary.usage.prompt_tokens + summary.usage.completion_tokens);
  };
  call.exchange.note("model", model.name);
  for (const auto& prompt : prompts) head.prompt_tokens += int64_t(prompt.size());
  head.token_text = model.token_text;
  const auto answer = std::make_shared<Answer>(call.exchange, make(std::move(head)), std::move(options));

  GenerationRequest generation{
      .prompt = {}, .sampling = common.sampling, .adapter = model.adapter, .grammar = common.grammar};
  generation.sampling.seed = common.seed ? *common.seed : new_seed();
  std::vector<RequestId> ids;
  const auto cancel = [engine = model.engine](const std::vector<RequestId>& submitted) {
    for (const RequestId id : submitted) engine->cancel(id);
  };
  try {
    for (size_t i = 0; i < prompts.size(); ++i) {
      generation.prompt = std::move(prompts[i]);
      ids.push_back(model.engine->submit(
          generation, [answer, i](const GenerationUpdate& update) { answer->update(int(i), update); }));
    }
  } catch (const GrammarError& e) {
    answer->fail(Failure::invalid(common.grammar_field, e.what(), "invalid_value"));
    return cancel(ids);
  } catch (const Error& e) {
    answer->fail(Failure::invalid("", e.what(), "invalid_value"));
    return cancel(ids);
  }
  call.exchange.on_close([cancel, ids] { cancel(ids); });
}

void Server::embeddings(const Call& call) {
  const openai::EmbeddingsRequest request = openai::parse_embeddings(call.request.body);
  const ServedModel& model = find_model(request.model);
  if (request.dimensions)
    throw Failure::invalid("dimensions", "this model's embeddings cannot be shortened; leave dimensions out",
                           "unsupported_parameter");
  std::vector<std::vector<int32_t>> prompts;
  for (const openai::Prompt& input : request.inputs) {
    prompts.push_back(ids_of(model, input, "input"));
    check_length(model, prompts.back(), "input", false);
  }
  const auto answer = std::make_shared<EmbeddingsAnswer>(call.exchange, model.name, prompts.size(), request.base64);
  answer->place = access_->admit(call.caller);
  answer->done = [access = access_, caller = call.caller](int64_t tokens) { access->spend(caller, tokens); };
  call.exchange.note("model", model.name);
  std::vector<RequestId> ids;
  for (size_t i = 0; i < prompts.size(); ++i) {
    GenerationRequest generation{
        .prompt = std::move(prompts[i]), .adapter = model.adapter, .grammar = {}, .embedding = request.pooling};
    try {
      ids.push_back(model.engine->submit(std::move(generation),
                                         [answer, i](const GenerationUpdate& update) { answer->update(i, update); }));
    } catch (const Error& e) {
      for (const RequestId id : ids) model.engine->cancel(id);
      throw Failure::invalid("input", e.what(), "invalid_value");
    }
  }
  call.exchange.on_close([engine = model.engine, ids] {
    for (const RequestId id : ids) engine->cancel(id);
  });
}

void Server::tokenize(const Call& call) {
  const openai::TokenizeRequest request = openai::parse_tokenize(call.request.body);
  check_running();
  const ServedModel& model = request.model.empty() ? models_.front() : find_model(request.model);
  const std::vector<int32_t> ids = request.chat ? encode(model, *request.chat, "messages").ids
                                                : model.encode_text(request.text, request.add_special);
  json answer = {{"count", ids.size()}, {"max_model_len", model.engine->context_length()}, {"tokens", ids}};
  if (request.token_strings) {
    answer["token_strs"] = json::array();
    for (const int32_t id : ids) answer["token_strs"].push_back(model.token_text(id));
  }
  call.exchange.respond({.body = dump(answer)});
}

void Server::detokenize(const Call& call) {
  const openai::DetokenizeRequest request = openai::parse_detokenize(call.request.body);
  check_running();
  const ServedModel& model = request.model.empty() ? models_.front() : find_model(request.model);
  const std::vector<int32_t> ids = ids_of(model, request.ids, "tokens");
  call.exchange.respond({.body = dump(json{{"prompt", model.decode(ids)}})});
}

}  // namespace sedum::serve
