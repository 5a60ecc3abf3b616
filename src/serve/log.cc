#include "serve/log.h"

#include <chrono>
#include <ctime>

#include <fmt/format.h>

#include "base/progress.h"
#include "serve/dialect.h"

namespace sedum::serve {
namespace {

std::string time_with_milliseconds() {
  const auto now = std::chrono::system_clock::now();
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char text[32];
  return fmt::format("{}.{:03}Z", std::string(text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc)), ms);
}

}  // namespace

std::string log_json(const http::Record& record) {
  nlohmann::ordered_json line = {{"time", time_with_milliseconds()}, {"level", record.status >= 500 ? "error" : "info"},
                                 {"request_id", record.id},          {"remote", record.remote},
                                 {"method", record.method},          {"path", record.path},
                                 {"status", record.status},          {"bytes", record.bytes},
                                 {"seconds", record.seconds}};
  if (record.cut) line["cut"] = true;
  for (const auto& [name, value] : record.notes.items()) line[name] = value;
  return dump(line);
}

std::string log_text(const http::Record& record) {
  std::string text =
      fmt::format("{} {} {} in {}", record.method, record.path, record.status, format_duration(record.seconds));
  if (record.notes.contains("completion_tokens"))
    text += fmt::format(": {} + {} tokens", record.notes.value("prompt_tokens", 0),
                        record.notes.value("completion_tokens", 0));
  if (record.cut) text += ", the client left";
  if (record.notes.contains("error")) text += ": " + record.notes.value("error", "");
  if (record.notes.contains("body")) text += "\n" + record.notes.value("body", "");
  return text;
}

}  // namespace sedum::serve
