#pragma once
// SQLite, as far as the server needs it. Errors are Error with the file's name.
//
//   Database db("serve.sqlite");
//   db.run("CREATE TABLE IF NOT EXISTS t (a TEXT, b INTEGER)");
//   db.query("INSERT INTO t VALUES (?, ?)", {"x", 3});
//   db.query("SELECT a, b FROM t", {}, [](const Row& row) { use(row.text(0), row.integer(1)); });
//
// One connection, used under one lock: calls from several threads take turns.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <mutex>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

struct sqlite3;
struct sqlite3_stmt;

namespace sedum::serve {

class Row {
 public:
  explicit Row(sqlite3_stmt* statement) : statement_(statement) {}
  std::string text(int column) const;
  std::string blob(int column) const;
  int64_t integer(int column) const;
  double real(int column) const;
  bool is_null(int column) const;

 private:
  sqlite3_stmt* statement_;
};

struct Blob {
  std::string bytes;
};
using Value = std::variant<std::nullptr_t, int64_t, double, std::string, Blob>;

class Database {
 public:
  explicit Database(const std::filesystem::path& path);  // made with its folder where there is none
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  void run(const std::string& statements);
  // One statement; returns the number of rows it changed.
  int64_t query(const std::string& statement, const std::vector<Value>& values,
                const std::function<void(const Row&)>& each = nullptr);
  int64_t last_id() const;
  void transaction(const std::function<void()>& body);  // all or nothing

 private:
  [[noreturn]] void fail(const std::string& doing) const;
  const std::filesystem::path path_;
  sqlite3* handle_ = nullptr;
  std::recursive_mutex mutex_;
};

}  // namespace sedum::serve
