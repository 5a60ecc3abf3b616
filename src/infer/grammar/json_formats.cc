#include "infer/grammar/json_formats.h"

#include <map>

namespace sedum::grammar {
namespace {

// RFC 3339 with days that every year has; years of four digits from 1000.
const std::string kDate =
    "[1-9][0-9]{3}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-"
    "8]))";
const std::string kTime =
    "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])";
const std::string kByte = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
const std::string kLabel = "[a-zA-Z0-9]([a-zA-Z0-9-]{0,30}[a-zA-Z0-9])?";
const std::string kHost = kLabel + "(\\." + kLabel + "){0,4}";

const std::map<std::string, std::string> kPatterns{
    {"date", kDate},
    {"time", kTime},
    {"date-time", kDate + "T" + kTime},
    {"duration", "P([0-9]{1,4}W|[0-9]{1,4}D(T[0-9]{1,4}H)?|T[0-9]{1,4}[HMS])"},
    {"email", "[a-zA-Z0-9_+-]{1,24}(\\.[a-zA-Z0-9_+-]{1,24}){0,3}@" + kLabel + "(\\." + kLabel + "){1,3}"},
    {"hostname", kHost},
    {"ipv4", kByte + "(\\." + kByte + "){3}"},
    {"ipv6", "[0-9a-f]{1,4}(:[0-9a-f]{1,4}){7}"},
    {"uuid", "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"},
    {"uri", "https?://" + kHost + "(/[a-zA-Z0-9._~-]{0,40}){0,8}(\\?[a-zA-Z0-9._~=&-]{0,60})?"},
};

}  // namespace

std::string format_pattern(const std::string& format) {
  const auto found = kPatterns.find(format);
  return found == kPatterns.end() ? "" : found->second;
}

}  // namespace sedum::grammar
