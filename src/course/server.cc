#include "course/server.h"

#include <algorithm>
#include <random>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "course/markdown.h"
#include "course/picture.h"
#include "course/progress.h"
#include "course/web/page.h"

namespace sedum::course {
namespace {
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using http::Request;
using http::Response;

// A request that is refused, with its status.
struct Refused : std::runtime_error {
  Refused(int code, const std::string& message) : std::runtime_error(message), status(code) {}
  const int status;
};

std::string random_token() {
  std::random_device device;
  std::string token;
  for (int i = 0; i < 8; ++i) token += fmt::format("{:08x}", device());
  return token;
}

// Takes as long for every wrong token.
bool same(std::string_view a, std::string_view b) {
  unsigned char difference = a.size() != b.size();
  for (size_t i = 0; i < a.size(); ++i) difference |= static_cast<unsigned char>(a[i] ^ b[i % b.size()]);
  return difference == 0;
}

Response json(const Json& document, int status = 200) {
  return {.status = status,
          .body = document.dump(-1, ' ', false, Json::error_handler_t::replace),
          .headers = {{"Cache-Control", "no-store"}, {"X-Content-Type-Options", "nosniff"}}};
}

std::string parameter(const Request& request, std::string_view name) {
  std::string_view rest = request.query;
  while (!rest.empty()) {
    const std::string_view pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(pair.size() + 1, rest.size()));
    const size_t equals = pair.find('=');
    if (equals != std::string_view::npos && pair.substr(0, equals) == name)
      return percent_decoded(pair.substr(equals + 1));
  }
  return "";
}

Language language_of(const Request& request) {
  return parameter(request, "lang") == "en" ? Language::kEnglish : Language::kChinese;
}

Json body_of(const Request& request) {
  Json body = try_parse_json<Json>(request.body);
  if (!body.is_object()) throw Refused(400, "the body is no JSON object");
  return body;
}

std::string text_of(const Json& body, const char* key) {
  const auto found = body.find(key);
  if (found == body.end()) return "";
  if (!found->is_string()) throw Refused(400, fmt::format("\"{}\" is no text", key));
  return found->get<std::string>();
}

std::string_view content_type(const fs::path& path) {
  const std::string suffix = path.extension().string();
  if (suffix == ".png") return "image/png";
  if (suffix == ".svg") return "image/svg+xml";
  if (suffix == ".jpg" || suffix == ".jpeg") return "image/jpeg";
  if (suffix == ".cc" || suffix == ".h" || suffix == ".md" || suffix == ".txt" || suffix == ".json" || suffix == ".tsv")
    return "text/plain; charset=utf-8";
  return "";
}

// A file as an answer. A picture in SVG is shown, but nothing in it runs.
Response file_response(const fs::path& path) {
  const std::string_view type = content_type(path);
  if (type.empty() || !fs::is_regular_file(path)) throw Refused(404, "no such file");
  return {.body = read_file(path),
          .content_type = std::string(type),
          .headers = {{"Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"},
                      {"X-Content-Type-Options", "nosniff"},
                      {"Cache-Control", "no-cache"}}};
}

std::string replaced(std::string text, std::string_view what, const std::string& by) {
  for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += by.size())
    text.replace(at, what.size(), by);
  return text;
}

const char* mark_name(Mark mark) { return mark == Mark::kDone ? "done" : mark == Mark::kDoing ? "doing" : "open"; }

// The latest pictures, with the time of the file in the address so that a new run is shown.
Json pictures_json(const Lessons& lessons, Day day) {
  Json pictures = Json::array();
  for (const fs::path& path : lessons.pictures(day)) {
    const std::string name = path.parent_path().filename().string() + "/" + path.filename().string();
    const auto written = fs::last_write_time(path).time_since_epoch().count();
    pictures.push_back(
        {{"name", name},
         {"url", fmt::format("/picture?day={}&name={}&at={}", day.name(), percent_encoded(name), written)}});
  }
  return pictures;
}

std::string event(const char* kind, const Json& data) {
  return fmt::format("event: {}\ndata: {}\n\n", kind, data.dump(-1, ' ', false, Json::error_handler_t::replace));
}

// Pieces of output cut at characters: what an unfinished one needs stays for the next piece.
class Characters {
 public:
  std::string take(std::string_view piece) {
    rest_ += piece;
    size_t end = rest_.size();
    for (size_t back = 1; back <= std::min<size_t>(3, rest_.size()); ++back) {
      const auto byte = static_cast<unsigned char>(rest_[rest_.size() - back]);
      if (byte >> 6 == 2) continue;
      const size_t length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
      if (length > back) end = rest_.size() - back;
      break;
    }
    std::string whole = rest_.substr(0, end);
    rest_.erase(0, end);
    return whole;
  }

 private:
  std::string rest_;
};

}  // namespace

Server::Server(ServerOptions options)
    : options_(std::move(options)),
      plan_(Plan::read(options_.folders.plan_file())),
      lessons_(options_.places, plan_),
      token_(random_token()),
      http_({.host = "127.0.0.1",
             .port = options_.port,
             .threads = 3,
             .limits = {.body_bytes = 64 << 10, .connections = 64}}) {
  read_log(options_.folders);  // a log that cannot be read is said at once
  get("/", &Server::page);
  get("/api/state", &Server::state);
  get("/api/lesson", &Server::lesson);
  get("/file", &Server::file);
  get("/picture", &Server::picture);
  get("/progress.png", &Server::progress);
  post("/api/checkin", &Server::check_in);
  http_.route("POST", "/api/run", [this](const Request& request, const http::Exchange& exchange) {
    try {
      check_host(request);
      check_token(request);
      run(request, exchange);
    } catch (const Refused& e) {
      exchange.respond(json({{"error", e.what()}}, e.status));
    } catch (const Error& e) {
      exchange.respond(json({{"error", e.what()}}, 400));
    }
  });
}

Server::~Server() { stop(); }

void Server::stop() {
  stopping_ = true;
  http_.stop(1);
  if (runner_.joinable()) runner_.join();
}

void Server::get(const std::string& path, Handle handle) {
  http_.route("GET", path, [this, handle](const Request& request, const http::Exchange& exchange) {
    try {
      check_host(request);
      exchange.respond((this->*handle)(request));
    } catch (const Refused& e) {
      exchange.respond(json({{"error", e.what()}}, e.status));
    } catch (const Error& e) {
      exchange.respond(json({{"error", e.what()}}, 400));
    }
  });
}

void Server::post(const std::string& path, Handle handle) {
  http_.route("POST", path, [this, handle](const Request& request, const http::Exchange& exchange) {
    try {
      check_host(request);
      check_token(request);
      exchange.respond((this->*handle)(request));
    } catch (const Refused& e) {
      exchange.respond(json({{"error", e.what()}}, e.status));
    } catch (const Error& e) {
      exchange.respond(json({{"error", e.what()}}, 400));
    }
  });
}

void Server::check_host(const Request& request) const {
  const std::string_view host = request.header("host");
  const std::string_view name =
      host.starts_with('[') ? host.substr(0, host.find(']') + 1) : host.substr(0, host.find(':'));
  if (name != "127.0.0.1" && name != "localhost" && name != "[::1]")
    throw Refused(403, "this page is for this machine: open it as " + http_.address());
}

void Server::check_token(const Request& request) const {
  const std::string_view origin = request.header("origin");
  if (!origin.empty() && origin != "http://" + std::string(request.header("host")))
    throw Refused(403, "pages of other sites may not do this");
  if (!same(request.header("x-sedum-token"), token_))
    throw Refused(403, "the page's token is missing or old: load the page again");
}

Response Server::page(const Request&) {
  const std::string nonce = random_token();
  std::string html = replaced(std::string(web::page()), "{{token}}", token_);
  return {
      .body = replaced(std::move(html), "{{nonce}}", nonce),
      .content_type = "text/html; charset=utf-8",
      .headers = {
          {"Content-Security-Policy",
           fmt::format(
               "default-src 'none'; script-src 'nonce-{0}'; style-src 'nonce-{0}'; img-src 'self' data:; connect-src "
               "'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
               nonce)},
          {"X-Content-Type-Options", "nosniff"},
          {"Referrer-Policy", "no-referrer"},
          {"Cache-Control", "no-store"}}};
}

Response Server::state(const Request& request) {
  const Log log = read_log(options_.folders);
  const Date today = options_.today();
  const Language language = language_of(request);
  const Progress p = measure(plan_, log, today);
  Json stages = Json::array(), days = Json::array();
  for (const StageProgress& stage : p.stages) {
    stages.push_back({{"percent", stage.percent},
                      {"due", stage.due},
                      {"awaiting", stage.awaiting},
                      {"text", stage_percent(stage, language)}});
  }
  std::optional<Calendar> calendar;
  if (log.start) calendar = log.calendar();
  std::string now = day_at(kDays - 1).name();  // today's lesson: the first that is not done, up to today
  bool found = false;
  for (int i = 0; i < kDays; ++i) {
    const Day day = day_at(i);
    const Row& row = plan_.row_of(day);
    const Entry& e = log.at(day);
    if (!found && !e.done()) now = day.name(), found = true;
    const Wording& w = row.wording(language);
    Json d{{"day", day.name()},
           {"week", day.week},
           {"number", fmt::format("{}.{}", day.week, day.day)},
           {"mark", mark_name(e.mark)},
           {"task", w.task},
           {"difficulty", w.difficulty},
           {"remedy", w.remedy},
           {"link", row.link},
           {"late", e.late},
           {"minutes", e.minutes},
           {"problem", e.problem},
           {"solution", e.solution},
           {"override", e.override_reason}};
    d["progress"] = fmt::format("{}{}{}%", language == Language::kChinese ? "阶段" : "stage ", row.stage,
                                fmt::format("{}{}", language == Language::kChinese ? "：" : ": ", row.cumulative));
    d["date"] = calendar ? to_string(calendar->date_of(day)) : row.month;
    d["future"] = calendar && calendar->date_of(day) > today;
    d["overdue"] = calendar && is_overdue(day, log, *calendar, today);
    d["checked"] = e.date ? Json(to_string(*e.date)) : Json();
    const Standing standing = lessons_.standing(day);
    if (standing.evidence)
      d["passed"] = {
          {"date", to_string(standing.evidence->run.date)}, {"quick", standing.evidence->run.quick}, {"stale", false}};
    else if (e.run)
      d["passed"] = {{"date", to_string(e.run->date)},
                     {"quick", e.run->quick},
                     {"stale", standing.why_not.find("changed") != std::string::npos}};
    else
      d["passed"] = nullptr;
    days.push_back(std::move(d));
  }
  return json({{"today", to_string(today)},
               {"start", log.start ? Json(to_string(*log.start)) : Json()},
               {"line", progress_line(p, language)},
               {"stages", stages},
               {"now", now},
               {"days", days}});
}

Response Server::lesson(const Request& request) {
  const Day day = parse_day(parameter(request, "day"));
  const Row& row = plan_.row_of(day);
  const auto& course = options_.places.course;
  const std::string section = lessons_.shown_note(row, language_of(request));
  Json sources = Json::array();
  for (const Program& program : lessons_.programs(day)) {
    sources.push_back(
        {{"name", program.source.lexically_relative(course).generic_string()}, {"text", read_file(program.source)}});
  }
  return json({{"day", day.name()},
               {"note", section.empty() ? Json() : Json(render_markdown(section))},
               {"sources", sources},
               {"pictures", pictures_json(lessons_, day)}});
}

Response Server::file(const Request& request) {
  const fs::path wanted = parameter(request, "path");
  std::error_code error;
  const fs::path root = fs::canonical(options_.places.course), path = fs::canonical(root / wanted, error);
  if (error) throw Refused(404, "no such file");
  const fs::path inside = path.lexically_relative(root);
  const std::string first = inside.empty() ? "" : inside.begin()->string();
  if (first != "docs" && first != "code" && first != "results") throw Refused(404, "no such file");
  return file_response(path);
}

Response Server::picture(const Request& request) {
  const std::string name = parameter(request, "name");
  for (const fs::path& path : lessons_.pictures(parse_day(parameter(request, "day"))))
    if (path.parent_path().filename().string() + "/" + path.filename().string() == name) return file_response(path);
  throw Refused(404, "no such picture");
}

Response Server::progress(const Request& request) {
  return {.body = progress_picture(plan_, read_log(options_.folders), options_.today(), language_of(request),
                                   report::Canvas::Format::kPng),
          .content_type = "image/png",
          .headers = {{"Cache-Control", "no-store"}}};
}

Response Server::check_in(const Request& request) {
  const Json body = body_of(request);
  CheckIn c{.day = parse_day(text_of(body, "day"))};
  const std::string status = text_of(body, "status");
  if (status != "done" && status != "doing" && status != "open") throw Refused(400, "status is done, doing or open");
  c.mark = status == "done" ? Mark::kDone : status == "doing" ? Mark::kDoing : Mark::kOpen;
  if (body.contains("problem")) c.problem = text_of(body, "problem");
  if (body.contains("solution")) c.solution = text_of(body, "solution");
  c.override_reason = text_of(body, "override");
  if (body.contains("minutes")) {
    const Json& minutes = body["minutes"];
    if (!minutes.is_number_integer() || minutes < 1 || minutes > kMostMinutes)
      throw Refused(400, "minutes are a number from 1 to 1440");
    c.minutes = minutes.get<int>();
  }
  const std::lock_guard lock(log_mutex_);
  const CommitResult result = course::check_in(options_.folders, plan_, c, lessons_.standing(c.day),
                                               {.today = options_.today(), .commit = options_.commit});
  return json({{"commit", result.hash}});
}

void Server::run(const Request& request, const http::Exchange& exchange) {
  const Json body = body_of(request);
  const Day day = parse_day(text_of(body, "day"));
  const bool quick = body.value("quick", Json(true)) != Json(false);
  if (running_.exchange(true)) throw Refused(409, "a lesson is running already");
  if (runner_.joinable()) runner_.join();  // it has ended: running_ was false
  runner_ = std::thread([this, day, quick, exchange] {
    run_lesson(day, quick, exchange);
    running_ = false;
  });
}

void Server::run_lesson(Day day, bool quick, const http::Exchange& exchange) {
  exchange.begin({.content_type = "text/event-stream",
                  .headers = {{"Cache-Control", "no-store"}, {"X-Content-Type-Options", "nosniff"}}});
  Characters characters;
  Json end{{"passed", false}, {"exit_code", 1}, {"seconds", 0.0}};
  try {
    const RunOutcome outcome =
        lessons_.run(day, {.today = options_.today(),
                           .quick = quick,
                           .output =
                               [&](std::string_view piece) {
                                 exchange.write(event("output", {{"text", characters.take(piece)}}));
                               },
                           .tick = [&] { return !exchange.closed() && !stopping_; }});
    end = {{"passed", outcome.passed}, {"exit_code", outcome.exit_code}, {"seconds", outcome.seconds}};
  } catch (const std::exception& e) {
    end["error"] = e.what();
  }
  end["pictures"] = pictures_json(lessons_, day);
  exchange.write(event("end", end));
  exchange.finish();
}

}  // namespace sedum::course
