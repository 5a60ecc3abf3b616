#pragma once
// Files of training data, row by row.
//
//   RowReader reader("mine.jsonl");                    // JSON Lines, a JSON array, or .txt: one row {"text": …}
//   while (std::optional<Row> row = reader.next())
//     Conversation c = to_conversation(*row);
//
// The file is mapped and parsed a row at a time. Whether it is an array is told by its first character, not by its
// name. A byte order mark, CRLF and blank lines are accepted. Throws Error with file and line (row, in an array) for
// whatever is not valid: JSON, UTF-8, nesting beyond kMaxDepth, more than kMaxKeys keys, rows that are no objects.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "base/file.h"
#include "data/conversation.h"

namespace sedum::data {

inline constexpr int kMaxDepth = 64;
inline constexpr int kMaxKeys = 10'000;  // in one row; ordered objects look keys up in linear time

struct Row {
  std::shared_ptr<nlohmann::ordered_json> columns;  // an object, keys in the file's order
  Origin origin;
};

class RowReader {
 public:
  explicit RowReader(const std::filesystem::path& path);
  RowReader(std::string_view content, std::string name);  // the content must outlive the reader

  std::optional<Row> next();
  uint64_t bytes_read() const { return position_; }
  uint64_t bytes_total() const { return text_.size(); }

 private:
  void begin();
  std::optional<Row> next_line();
  std::optional<Row> next_element();
  std::optional<Row> whole_text();
  Row parse(std::string_view json) const;
  void check_utf8(std::string_view json) const;
  [[noreturn]] void fail(const std::string& problem, const std::string& mend) const;

  enum class Form { kLines, kArray, kText };
  MappedFile file_;
  std::string_view text_;
  size_t position_ = 0;
  Form form_ = Form::kLines;
  bool finished_ = false;
  Origin origin_;
};

Conversation to_conversation(const Row& row, const ColumnNames& names = {});

// All rows of a file; throws Error when there is none.
std::vector<Conversation> read_conversations(const std::filesystem::path& path, const ColumnNames& names = {});

}  // namespace sedum::data
