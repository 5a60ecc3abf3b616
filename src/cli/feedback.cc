// sedum feedback
#include <cstdio>
#include <cstdlib>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/common.h"
#include "hub/settings.h"
#include "serve/store/history.h"

SEDUM_COMMAND(feedback) {
  struct Options {
    std::string kind = "examples", out, history;
  };
  auto o = std::make_shared<Options>();
  Flags sub = app.add_subcommand("export", "ratings, corrections and votes as rows to train on");
  sub->add_option("--kind", o->kind,
                  "examples: answers that were liked or corrected; preferences: pairs for DPO; all: as it was given")
      ->capture_default_str()
      ->check(one_of({"examples", "preferences", "all"}));
  sub->add_option("--out", o->out, "the file to write; standard output otherwise");
  sub->add_option("--history", o->history, "the file that `sedum serve` keeps");
  app.require_subcommand(1);
  app.footer("example: sedum feedback export --out liked.jsonl");
  return [o] {
    const std::filesystem::path path =
        o->history.empty() ? hub::settings_from(std::getenv).home / "serve.sqlite" : std::filesystem::path(o->history);
    if (!std::filesystem::exists(path))
      throw Error("no history at " + path.string(), "name the file that `sedum serve` keeps by --history");
    serve::History history(path);
    const auto kind = o->kind == "examples"      ? serve::Export::kExamples
                      : o->kind == "preferences" ? serve::Export::kPreferences
                                                 : serve::Export::kAll;
    std::string lines;
    const int64_t rows = history.export_rows(kind, "", [&](const nlohmann::ordered_json& row) {
      lines += row.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
    });
    if (o->out.empty()) {
      std::fputs(lines.c_str(), stdout);
      return;
    }
    write_file(o->out, lines);
    fmt::print("{} rows in {}\n", rows, o->out);
  };
}
