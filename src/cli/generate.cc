// sedum generate

#include <cstdio>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/sampling.h"
#include "infer/chat.h"
#include "infer/local_engine.h"

SEDUM_COMMAND(generate) {
  struct Options : ModelOptions {
    std::string prompt, prompt_file, system, ids;
    SamplingParams sampling{.max_tokens = 512};
    bool raw = false, json = false;
  };
  auto o = std::make_shared<Options>();
  add_model_options(app, *o, "int8");
  auto* prompt = app.add_option("-p,--prompt", o->prompt, "the question");
  auto* file = app.add_option("--prompt-file", o->prompt_file, "a file with the question")->excludes(prompt);
  app.add_option("--ids", o->ids, "the prompt as token ids")->excludes(prompt)->excludes(file);
  app.add_option("--system", o->system, "a system message before the question");
  add_sampling_options(app, o->sampling);
  app.add_flag("--raw", o->raw, "go on with the text as it is, without the chat template");
  app.add_flag("--json", o->json, "one JSON object instead of streamed text");
  app.footer("example: sedum generate --model smollm2-135m --prompt \"How often do I water an Echeveria?\"");
  return [o] {
    if (o->prompt.empty() && o->prompt_file.empty() && o->ids.empty())
      throw UsageError("there is no prompt", "give --prompt, --prompt-file or --ids");
    LoadedModel loaded(*o);
    LocalEngine engine(loaded.model, {});
    const std::string text = o->prompt_file.empty() ? o->prompt : read_file(o->prompt_file);
    std::vector<int32_t> ids;
    if (!o->ids.empty()) {
      ids = parse_ids(o->ids);
    } else if (o->raw) {
      ids = engine.tokenizer().encode(text, {.add_special = true});
    } else {
      nlohmann::ordered_json messages = nlohmann::ordered_json::array();
      if (!o->system.empty()) messages.push_back({{"role", "system"}, {"content", o->system}});
      messages.push_back({{"role", "user"}, {"content", text}});
      ids = chat_prompt(engine, messages);
    }
    const auto stream = [](const std::string& piece) {
      std::fwrite(piece.data(), 1, piece.size(), stdout);
      std::fflush(stdout);
    };
    const Generation answer =
        generate(engine, {ids, o->sampling}, o->json ? std::function<void(const std::string&)>() : stream);
    const double decode_seconds = answer.total_seconds - answer.first_token_seconds;
    const double rate = answer.ids.size() > 1 ? double(answer.ids.size() - 1) / decode_seconds : 0;
    if (!o->json) return void(std::fputc('\n', stdout));
    print_json({{"prompt_ids", ids},
                {"ids", answer.ids},
                {"text", answer.text},
                {"finish_reason", name(answer.finish_reason)},
                {"tok_s", rate},
                {"prefill_tok_s", double(ids.size()) / answer.first_token_seconds},
                {"first_token_s", answer.first_token_seconds},
                {"total_s", answer.total_seconds}});
  };
}
