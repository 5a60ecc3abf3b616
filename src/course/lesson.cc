#include "course/lesson.h"

#include <algorithm>
#include <chrono>

#include <fmt/format.h>

#include "base/digest.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/process.h"
#include "course/check.h"
#include "course/markdown.h"

namespace sedum::course {
namespace {
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr size_t kHashDigits = 16;

std::string short_hash(std::string_view bytes) { return sha256(bytes).substr(0, kHashDigits); }

// Arguments that make a run something else than taking the lesson.
bool is_experiment(const std::vector<std::string>& arguments) {
  return std::any_of(arguments.begin(), arguments.end(), [](const std::string& a) {
    return a.starts_with("--break") || a.starts_with("--found") || a.starts_with("--bugs") || a.starts_with("--out") ||
           a.starts_with("--help") || a == "-h";
  });
}

std::vector<fs::path> files_in(const fs::path& folder, std::initializer_list<std::string_view> suffixes) {
  std::vector<fs::path> files;
  if (fs::is_directory(folder)) {
    for (const auto& entry : fs::directory_iterator(folder))
      if (entry.is_regular_file() &&
          std::find(suffixes.begin(), suffixes.end(), entry.path().extension().string()) != suffixes.end())
        files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

// One hash for the results of a day: of the file itself where there is one.
std::string result_hash(const std::map<std::string, std::string>& results) {
  std::string all;
  for (const auto& [name, content] : results) all += content;
  return short_hash(all);
}

}  // namespace

std::vector<Program> Lessons::programs(Day day) const {
  const fs::path folder = places_.course / "code" / day.name();
  std::vector<Program> programs;
  for (const fs::path& source : files_in(folder, {".cc"})) {
    const std::string place = day.name() + "/" + source.stem().string();
    programs.push_back({place, source,
                        places_.programs.empty() ? places_.build / "bin/course" / place : places_.programs / place,
                        places_.build / "course/results" / place});
  }
  const fs::path linked = places_.course / plan_.row_of(day).link;
  std::stable_partition(programs.begin(), programs.end(), [&](const Program& p) { return p.source == linked; });
  return programs;
}

int Lessons::build(const Program& program, const RunOptions& options) const {
  if (!places_.programs.empty()) {
    if (fs::exists(program.binary)) return 0;
    throw Error(fmt::format("there is no program {}", program.binary.string()),
                "the folder of built programs lacks it");
  }
  if (!fs::exists(places_.build / "CMakeCache.txt")) {
    throw Error(fmt::format("{} is no folder that CMake built Sedum in", places_.build.string()),
                "name it with --build, or make it: cmake --preset release");
  }
  std::string target = "lesson_" + program.place;
  std::replace(target.begin(), target.end(), '/', '_');
  int ticks = 0;
  const auto tick = [&] {
    if (options.terminal && ++ticks == 20) fmt::print(stderr, "building {}\n", program.place);  // after two seconds
    return !options.tick || options.tick();
  };
  const ProcessResult result =
      run_process({"cmake", "--build", places_.build.string(), "--target", target}, {.tick = tick, .group = true});
  if (result.exit_code != 0) {
    if (options.output) options.output(result.output);
    if (options.terminal) fmt::print(stderr, "{}", result.output);
  }
  return result.exit_code;
}

int Lessons::run_program(const Program& program, const RunOptions& options) const {
  std::vector<std::string> command{fs::absolute(program.binary).string()};
  if (options.quick) command.push_back("--quick");
  const bool elsewhere = std::any_of(options.arguments.begin(), options.arguments.end(),
                                     [](const std::string& a) { return a.starts_with("--out"); });
  // An experiment must not overwrite what a check-in looks at.
  const fs::path out =
      is_experiment(options.arguments) ? places_.build / "course/experiments" / program.place : program.results;
  if (!elsewhere) command.insert(command.end(), {"--out", fs::absolute(out).string()});
  command.insert(command.end(), options.arguments.begin(), options.arguments.end());
  return run_process(
             command,
             {.output = options.output, .tick = options.tick, .terminal = options.terminal, .group = !options.terminal})
      .exit_code;
}

RunOutcome Lessons::run(Day day, const RunOptions& options) const {
  const Row& row = plan_.row_of(day);
  const auto begun = std::chrono::steady_clock::now();
  const std::vector<Program> all = programs(day);
  const bool experiment = is_experiment(options.arguments);
  RunOutcome outcome{.passed = true};
  if (all.empty()) {
    if (!row.is_note() || note_section(row).empty())
      throw Error(fmt::format("the lesson of {} is not written yet: {}", day.name(), row.link),
                  "`sedum course check` lists what is open");
    const CheckReport report = check_row(*this, plan_, row);
    for (const Finding& f : report.problems) {
      const std::string line = fmt::format("{}: {}\n", f.where, f.problem);
      if (options.output) options.output(line);
      if (options.terminal) fmt::print("{}", line);
      outcome.passed = false, outcome.exit_code = 1, outcome.failed = row.link;
    }
  } else if (row.link.starts_with("code/") && !fs::exists(places_.course / row.link)) {
    throw Error(fmt::format("the lesson of {} is not written yet: {}", day.name(), row.link),
                "`sedum course check` lists what is open");
  }
  for (const Program& program : all) {
    const bool built = build(program, options) == 0;
    outcome.exit_code = built ? 0 : 1;
    if (built && !experiment) fs::remove(program.results / "result.json");  // an old one must not look like this run's
    if (built) outcome.exit_code = run_program(program, options);
    if (outcome.exit_code == 0) continue;
    outcome.passed = false;
    outcome.failed = built ? program.place : program.place + ", which does not compile";
    break;
  }
  outcome.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  if (experiment) return outcome;
  const Json record{{"day", day.name()},        {"date", to_string(options.today)}, {"quick", options.quick},
                    {"passed", outcome.passed}, {"code", code_hash(day)},           {"seconds", outcome.seconds}};
  fs::create_directories(record_of(day).parent_path());
  write_file(record_of(day), record.dump(1) + "\n");
  return outcome;
}

fs::path Lessons::record_of(Day day) const { return places_.build / "course/results" / day.name() / "run.json"; }

std::string Lessons::code_hash(Day day) const {
  std::string code;
  for (const Program& program : programs(day)) code += read_file(program.source);
  return short_hash(code.empty() ? note_section(plan_.row_of(day)) : code);
}

Standing Lessons::standing(Day day) const {
  Standing standing;
  const auto because = [&](std::string reason) {
    standing.evidence.reset();
    standing.why_not = day.name() + reason;
    return standing;
  };
  if (!fs::exists(record_of(day))) return because(" has no run yet");
  const Json record = try_parse_json<Json>(read_file(record_of(day)));
  try {
    if (!record.at("passed").get<bool>()) return because(" failed in its latest run");
    Evidence evidence{.run = {.date = parse_date(record.at("date").get<std::string>()),
                              .quick = record.at("quick").get<bool>(),
                              .code = record.at("code").get<std::string>(),
                              .result = ""},
                      .results = {}};
    if (evidence.run.code != code_hash(day)) return because(" has changed since it passed");
    for (const Program& program : programs(day)) {
      const fs::path file = program.results / "result.json";
      if (!fs::exists(file)) return because(" left no result.json in " + program.results.string());
      const std::string content = read_file(file);
      if (!parse_json<Json>(content).at("passed").get<bool>()) return because(" has a result.json that did not pass");
      evidence.results[program.name()] = content;
    }
    evidence.run.result = result_hash(evidence.results);
    standing.evidence = std::move(evidence);
  } catch (const Json::exception&) {
    return because(" has a record that cannot be read");
  } catch (const Error&) {
    return because(" has a record that cannot be read");
  }
  return standing;
}

fs::path Lessons::note_of(const Row& row) const { return places_.course / row.link.substr(0, row.link.find('#')); }

std::string Lessons::note_section(const Row& row) const {
  const size_t hash = row.link.find('#');
  if (!row.is_note() || hash == std::string::npos || !fs::exists(note_of(row))) return "";
  const Note note = Note::read(note_of(row));
  const Heading* heading = note.find(row.link.substr(hash + 1));
  return heading ? note.section(*heading) : "";
}

std::string Lessons::shown_note(const Row& row, Language language) const {
  const fs::path chinese = places_.course / fmt::format("docs/phase{}-notes.md", row.stage);
  const fs::path english = places_.course / fmt::format("docs/phase{}-notes.en.md", row.stage);
  if (!fs::exists(chinese)) return "";
  const Note note = Note::read(chinese);
  const Heading* heading = nullptr;
  if (row.is_note()) {
    heading = note.find(row.link.substr(row.link.find('#') + 1));
  } else {
    const auto link = std::find_if(note.links.begin(), note.links.end(),
                                   [&](const NoteLink& l) { return l.url.ends_with(row.link); });
    for (const Heading& h : note.headings)
      if (link != note.links.end() && h.level > 1 && h.line <= link->line) heading = &h;
  }
  if (!heading) return "";
  if (language != Language::kEnglish || !fs::exists(english)) return note.section(*heading);
  const Note other = Note::read(english);
  const Heading* same = other.find(heading->anchor);
  if (!same && other.headings.size() == note.headings.size())
    same = &other.headings[size_t(heading - note.headings.data())];
  return same ? other.section(*same) : note.section(*heading);
}

std::vector<fs::path> Lessons::pictures(Day day) const {
  std::vector<fs::path> all;
  for (const Program& program : programs(day)) {
    auto own = files_in(program.results, {".png", ".svg"});
    if (own.empty()) own = files_in(places_.course / "results" / program.place, {".png", ".svg"});
    all.insert(all.end(), own.begin(), own.end());
  }
  return all;
}

}  // namespace sedum::course
