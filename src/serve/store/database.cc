#include "serve/store/database.h"

#include <memory>

#include <sqlite3.h>

#include "base/error.h"

namespace sedum::serve {

std::string Row::text(int column) const {
  const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  return bytes ? std::string(bytes, size_t(sqlite3_column_bytes(statement_, column))) : std::string();
}
std::string Row::blob(int column) const {
  const auto* bytes = static_cast<const char*>(sqlite3_column_blob(statement_, column));
  return bytes ? std::string(bytes, size_t(sqlite3_column_bytes(statement_, column))) : std::string();
}
int64_t Row::integer(int column) const { return sqlite3_column_int64(statement_, column); }
double Row::real(int column) const { return sqlite3_column_double(statement_, column); }
bool Row::is_null(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }

Database::Database(const std::filesystem::path& path) : path_(path) {
  if (path.has_parent_path()) {
    std::error_code error;
    std::filesystem::create_directories(path.parent_path(), error);
    if (error)
      throw Error("cannot make the folder " + path.parent_path().string() + ": " + error.message(),
                  "choose another file");
  }
  if (sqlite3_open_v2(path.c_str(), &handle_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX,
                      nullptr) != SQLITE_OK) {
    const std::string reason = handle_ ? sqlite3_errmsg(handle_) : "out of memory";
    sqlite3_close(handle_);
    throw Error("cannot open " + path.string() + ": " + reason, "choose another file, or make its folder writable");
  }
  sqlite3_busy_timeout(handle_, 5000);  // other servers and `sedum feedback` may have it open, too
  try {
    run("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL");
  } catch (...) {
    sqlite3_close(handle_);
    throw;
  }
}

Database::~Database() { sqlite3_close(handle_); }

void Database::fail(const std::string& doing) const {
  throw Error(path_.string() + ": cannot " + doing + ": " + sqlite3_errmsg(handle_),
              "free some space or move the file away to begin a new one");
}

void Database::run(const std::string& statements) {
  std::lock_guard lock(mutex_);
  if (sqlite3_exec(handle_, statements.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) fail("read or write it");
}

int64_t Database::query(const std::string& text, const std::vector<Value>& values,
                        const std::function<void(const Row&)>& each) {
  std::lock_guard lock(mutex_);
  sqlite3_stmt* raw = nullptr;
  if (sqlite3_prepare_v2(handle_, text.c_str(), int(text.size()), &raw, nullptr) != SQLITE_OK) fail("prepare a query");
  const std::unique_ptr<sqlite3_stmt, int (*)(sqlite3_stmt*)> statement(raw, sqlite3_finalize);
  for (int i = 0; i < int(values.size()); ++i) {
    const Value& value = values[size_t(i)];
    if (const auto* integer = std::get_if<int64_t>(&value))
      sqlite3_bind_int64(raw, i + 1, *integer);
    else if (const auto* real = std::get_if<double>(&value))
      sqlite3_bind_double(raw, i + 1, *real);
    else if (const auto* string = std::get_if<std::string>(&value))
      sqlite3_bind_text64(raw, i + 1, string->data(), string->size(), SQLITE_TRANSIENT, SQLITE_UTF8);
    else if (const auto* blob = std::get_if<Blob>(&value))
      sqlite3_bind_blob64(raw, i + 1, blob->bytes.data(), blob->bytes.size(), SQLITE_TRANSIENT);
    else
      sqlite3_bind_null(raw, i + 1);
  }
  int result;
  while ((result = sqlite3_step(raw)) == SQLITE_ROW)
    if (each) each(Row(raw));
  if (result != SQLITE_DONE) fail("read or write it");
  return sqlite3_changes64(handle_);
}

int64_t Database::last_id() const { return sqlite3_last_insert_rowid(handle_); }

void Database::transaction(const std::function<void()>& body) {
  std::lock_guard lock(mutex_);
  run("BEGIN IMMEDIATE");
  try {
    body();
    run("COMMIT");
  } catch (...) {
    sqlite3_exec(handle_, "ROLLBACK", nullptr, nullptr, nullptr);
    throw;
  }
}

}  // namespace sedum::serve
