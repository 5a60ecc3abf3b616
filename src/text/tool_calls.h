#pragma once
// The bodies of tool calls as model families write them. answer_parser.h finds where they begin and end.

#include <string_view>
#include <vector>

#include "text/answer_parser.h"

namespace sedum {

// Every one appends the calls that `body` holds and says true, or leaves `calls` alone and says false when it holds anything else.
bool parse_json_calls(std::string_view body, std::vector<ToolCall>& calls);  // one object, an array, or several objects
bool parse_xml_call(std::string_view body,
                    std::vector<ToolCall>& calls);  // <function=f><parameter=x>…</parameter></function>
bool parse_python_tag(std::string_view body,
                      std::vector<ToolCall>& calls);  // f.call(x="…"), JSON, or code for "code_interpreter"
bool parse_mistral_calls(std::string_view body,
                         std::vector<ToolCall>& calls);  // an array, or f[ARGS]{…} with [TOOL_CALLS] between
bool parse_deepseek_call(std::string_view body, std::vector<ToolCall>& calls);

// The end of the JSON value that begins at text[0] ('{' or '['), or npos while it is not closed. kTooDeep beyond 200 levels.
inline constexpr size_t kTooDeep = size_t(-2);
size_t json_end(std::string_view text);

}  // namespace sedum
