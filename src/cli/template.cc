// sedum template

#include <cstdio>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/common.h"

namespace sedum::cli {
namespace {

nlohmann::ordered_json read_json(const std::string& path) {
  auto document = try_parse_json<nlohmann::ordered_json>(read_file(path));
  if (document.is_discarded()) throw Error(path + ": not JSON", "mend the file");
  return document;
}

}  // namespace
}  // namespace sedum::cli

SEDUM_COMMAND(template) {
  struct Options {
    std::string model, file, messages, tools, bos, eos;
    bool generation = false;
  };
  auto o = std::make_shared<Options>();
  const Option model = app.add_option("-m,--model", o->model, "the model whose template is rendered");
  app.add_option("--template", o->file, "a file with a Jinja template")->excludes(model);
  app.add_option("--messages", o->messages, "a JSON file: [{\"role\": \"user\", \"content\": \"Hi\"}]")->required();
  app.add_option("--tools", o->tools, "a JSON file with a list of functions");
  app.add_flag("--add-generation-prompt", o->generation, "end with the beginning of the assistant's turn");
  app.add_option("--bos", o->bos, "the BOS token's text (default: the model's)");
  app.add_option("--eos", o->eos, "the EOS token's text (default: the model's)");
  app.footer("example: sedum template --model smollm2-135m --messages chat.json --add-generation-prompt");
  return [o] {
    if (o->model.empty() && o->file.empty()) throw UsageError("there is no template", "give --model or --template");
    TemplateOptions options;
    options.add_generation_prompt = o->generation, options.bos_token = o->bos, options.eos_token = o->eos;
    std::string source;
    if (o->file.empty()) {
      const Checkpoint checkpoint = Checkpoint::open(resolve_model_path(find_model(o->model)).base);
      const TokenizerSpec& spec = checkpoint.tokenizer_spec();
      if (spec.chat_template.empty()) throw Error(o->model + " has no chat template", "give one with --template");
      source = spec.chat_template;
      const auto token = [&](int32_t id) {
        return id >= 0 && size_t(id) < spec.tokens.size() ? spec.tokens[size_t(id)] : std::string();
      };
      if (o->bos.empty()) options.bos_token = token(spec.bos);
      if (o->eos.empty()) options.eos_token = token(spec.eos);
    } else {
      source = read_file(o->file);
    }
    if (!o->tools.empty()) options.tools = std::make_shared<const nlohmann::ordered_json>(read_json(o->tools));
    const std::string text = ChatTemplate(source).render(read_json(o->messages), options);
    std::fwrite(text.data(), 1, text.size(), stdout);
  };
}
