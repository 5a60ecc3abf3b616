// sedum report RUN… --out F.md|F.html|F.pdf

#include <fmt/format.h>

#include "base/error.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/common.h"
#include "report/train_report.h"

SEDUM_COMMAND(report) {
  struct Options {
    std::vector<std::string> runs;
    std::string out, title = "Training runs";
    bool json = false;
  };
  auto o = std::make_shared<Options>();
  app.add_option("runs", o->runs, "output folders of training runs")->required();
  app.add_option("--out", o->out, "the report: .md (pictures beside it), .html (one file) or .pdf")->required();
  app.add_option("--title", o->title, "its heading")->capture_default_str();
  app.add_flag("--json", o->json, "what was written, as one JSON object");
  app.footer("example: sedum report runs/lora8 runs/lora16 --out compare.html");
  return [o] {
    std::vector<sedum::report::RunRecord> runs;
    std::map<std::string, int> names;
    for (const std::string& folder : o->runs) {
      runs.push_back(sedum::report::read_run(folder));
      // Two folders may have one name: a/run and b/run become "run" and "run (2)".
      if (const int nth = ++names[runs.back().name]; nth > 1) runs.back().name += fmt::format(" ({})", nth);
    }
    sedum::report::train_report(runs, o->title).save(o->out);
    if (o->json) return sedum::cli::print_json({{"out", o->out}, {"runs", runs.size()}});
    fmt::print("{}: {} run{}\n", o->out, runs.size(), runs.size() == 1 ? "" : "s");
  };
}
