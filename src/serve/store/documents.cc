#include "serve/store/documents.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <sstream>

#include "base/digest.h"
#include "base/error.h"
#include "base/file.h"
#include "serve/store/passages.h"

namespace sedum::serve {
namespace {

namespace fs = std::filesystem;

constexpr uintmax_t kMaxFileBytes = 16 << 20;
constexpr int64_t kVersion = 1;  // of the tables and of how passages are cut

// Terms are made by index_terms(); `porter` then joins the forms of an English word.
constexpr char kTables[] = R"(
CREATE TABLE IF NOT EXISTS about (folder TEXT, version INTEGER);
CREATE TABLE IF NOT EXISTS documents (id INTEGER PRIMARY KEY, path TEXT UNIQUE, size INTEGER, changed INTEGER);
CREATE TABLE IF NOT EXISTS passages (id INTEGER PRIMARY KEY, document INTEGER, heading TEXT, text TEXT, line INTEGER);
CREATE INDEX IF NOT EXISTS passages_of ON passages (document);
CREATE TABLE IF NOT EXISTS vectors (passage TEXT PRIMARY KEY, model TEXT, vector BLOB);
CREATE VIRTUAL TABLE IF NOT EXISTS terms USING fts5(heading, text, tokenize = 'porter unicode61 remove_diacritics 2');
)";

std::optional<DocumentKind> kind_of(const fs::path& path) {
  const std::string ending = path.extension().string();
  if (ending == ".md" || ending == ".markdown") return DocumentKind::kMarkdown;
  if (ending == ".txt") return DocumentKind::kText;
  if (ending == ".html" || ending == ".htm") return DocumentKind::kHtml;
  return {};
}

// Words that stand in every question and tell passages apart by accident only.
const std::set<std::string>& common_words() {
  static const std::set<std::string> kWords{
      "a",    "about", "an",     "and",   "are",  "as",   "at",   "be",   "by",   "can",  "do",   "does",
      "for",  "from",  "how",    "i",     "in",   "is",   "it",   "me",   "my",   "not",  "of",   "on",
      "or",   "s",     "should", "t",     "tell", "that", "the",  "them", "they", "this", "to",   "was",
      "what", "when",  "where",  "which", "who",  "why",  "will", "with", "you",  "your", "什么", "怎么",
      "如何", "为什",  "么是",   "请问",  "是什", "吗",   "呢",   "的"};
  return kWords;
}

std::string fts_query(std::string_view question) {
  std::istringstream terms(index_terms(question));
  std::set<std::string> seen;
  std::string query, term;
  while (terms >> term && seen.size() < 64) {
    if (common_words().count(term) || !seen.insert(term).second) continue;
    query += (query.empty() ? "\"" : " OR \"") + term + "\"";  // a term has no quotation marks
  }
  return query;
}

}  // namespace

Documents::Documents(fs::path folder, const fs::path& index) : folder_(std::move(folder)), database_(index) {
  if (!fs::is_directory(folder_)) throw Error("no folder " + folder_.string(), "give a folder of documents");
  const std::string name = fs::absolute(folder_).lexically_normal().string();
  database_.run(kTables);
  bool ours = false;
  database_.query("SELECT folder, version FROM about", {},
                  [&](const Row& row) { ours = row.text(0) == name && row.integer(1) == kVersion; });
  if (ours) return;
  database_.transaction([&] {
    database_.run("DELETE FROM about; DELETE FROM documents; DELETE FROM passages; DELETE FROM terms");
    database_.query("INSERT INTO about VALUES (?, ?)", {name, kVersion});
  });
}

Documents::~Documents() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Documents::forget(int64_t document) {
  database_.query("DELETE FROM terms WHERE rowid IN (SELECT id FROM passages WHERE document = ?)", {document});
  database_.query("DELETE FROM passages WHERE document = ?", {document});
  database_.query("DELETE FROM documents WHERE id = ?", {document});
}

void Documents::read_document(const std::string& name, const fs::path& path, int64_t size, int64_t changed) {
  const std::string text = read_file(path);
  database_.transaction([&] {
    std::vector<int64_t> old;
    database_.query("SELECT id FROM documents WHERE path = ?", {name},
                    [&](const Row& row) { old.push_back(row.integer(0)); });
    for (const int64_t id : old) forget(id);
    database_.query("INSERT INTO documents (path, size, changed) VALUES (?, ?, ?)", {name, size, changed});
    const int64_t document = database_.last_id();
    for (const Passage& passage : cut_passages(text, *kind_of(path))) {
      database_.query("INSERT INTO passages (document, heading, text, line) VALUES (?, ?, ?, ?)",
                      {document, passage.heading, passage.text, int64_t(passage.line)});
      database_.query("INSERT INTO terms (rowid, heading, text) VALUES (?, ?, ?)",
                      {database_.last_id(), index_terms(name + " " + passage.heading), index_terms(passage.text)});
    }
  });
}

RefreshCount Documents::refresh() {
  std::lock_guard once(refreshing_);
  struct Known {
    int64_t id, size, changed;
  };
  std::map<std::string, Known> known;
  database_.query("SELECT path, id, size, changed FROM documents", {}, [&](const Row& row) {
    known[row.text(0)] = {row.integer(1), row.integer(2), row.integer(3)};
  });
  RefreshCount count;
  std::error_code error;
  for (fs::recursive_directory_iterator it(folder_, fs::directory_options::skip_permission_denied, error), end;
       it != end; it.increment(error)) {
    if (error) break;
    if (it->path().filename().string().starts_with('.')) {
      if (it->is_directory(error)) it.disable_recursion_pending();
      continue;
    }
    if (!it->is_regular_file(error) || !kind_of(it->path())) continue;
    const uintmax_t size = it->file_size(error);
    const auto time = it->last_write_time(error);
    const std::string name = it->path().lexically_relative(folder_).generic_string();
    if (error || size > kMaxFileBytes) {
      ++count.skipped, error.clear();
      continue;
    }
    ++count.files;
    const auto changed = int64_t(time.time_since_epoch().count());
    const auto found = known.find(name);
    const bool same = found != known.end() && found->second.size == int64_t(size) && found->second.changed == changed;
    if (found != known.end()) known.erase(found);
    if (same) continue;
    try {
      read_document(name, it->path(), int64_t(size), changed);
      ++count.read;
    } catch (const Error&) {  // gone meanwhile, or not ours to read
      --count.files, ++count.skipped;
    }
  }
  for (const auto& [name, document] : known) {
    database_.transaction([&, id = document.id] { forget(id); });
    ++count.removed;
  }
  if (embed_) count.embedded = embed_passages();
  database_.query("SELECT count(*) FROM passages", {}, [&](const Row& row) { count.passages = row.integer(0); });
  return count;
}

// Vectors of all passages: those in memory, those in the index, and the rest made now. Those that no passage has any more go, and those
// of other models with them. Returns how many were made.
int64_t Documents::embed_passages() {
  std::map<int64_t, std::string> hashes;     // by passage
  std::map<std::string, std::string> texts;  // by hash
  database_.query("SELECT id, heading, text FROM passages", {}, [&](const Row& row) {
    std::string text = row.text(1).empty() ? row.text(2) : row.text(1) + "\n" + row.text(2);
    texts.emplace(hashes[row.integer(0)] = sha256(text), std::move(text));
  });
  database_.query("DELETE FROM vectors WHERE model <> ?", {model_});
  std::vector<std::string> gone;
  database_.query("SELECT passage FROM vectors", {}, [&](const Row& row) {
    const std::string hash = row.text(0);
    if (texts.erase(hash) == 0) gone.push_back(hash);
  });
  for (const std::string& hash : gone) database_.query("DELETE FROM vectors WHERE passage = ?", {hash});
  make_vectors(texts);
  std::map<std::string, std::vector<float>> kept;
  database_.query("SELECT passage, vector FROM vectors", {}, [&](const Row& row) {
    const std::string bytes = row.blob(1);
    std::vector<float>& vector = kept[row.text(0)];
    vector.resize(bytes.size() / sizeof(float));
    std::memcpy(vector.data(), bytes.data(), vector.size() * sizeof(float));
  });
  const std::lock_guard lock(mutex_);
  vectors_.clear();
  for (const auto& [id, hash] : hashes)
    if (const auto found = kept.find(hash); found != kept.end()) vectors_[id] = found->second;
  return int64_t(texts.size());
}

// texts: by hash. Each few are written as they are made: a server that is stopped in between goes on where it was.
void Documents::make_vectors(const std::map<std::string, std::string>& texts) {
  constexpr size_t kAtOnce = 32;
  for (auto at = texts.begin(); at != texts.end();) {
    std::vector<std::string> hashes, some;
    for (; at != texts.end() && some.size() < kAtOnce; ++at) hashes.push_back(at->first), some.push_back(at->second);
    const std::vector<std::vector<float>> made = embed_(some);
    database_.transaction([&] {
      for (size_t i = 0; i < some.size(); ++i) {
        Blob blob{std::string(reinterpret_cast<const char*>(made[i].data()), made[i].size() * sizeof(float))};
        database_.query("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", {hashes[i], model_, std::move(blob)});
      }
    });
  }
}

void Documents::refresh_every(double seconds) {
  thread_ = std::thread([this, seconds] {
    std::unique_lock lock(mutex_);
    while (!wake_.wait_for(lock, std::chrono::duration<double>(seconds), [&] { return stop_; })) {
      lock.unlock();
      try {
        refresh();
      } catch (const std::exception&) {  // the next time may be better; questions are answered from what is known
      }
      lock.lock();
    }
  });
}

std::vector<Source> Documents::search(std::string_view question, int count) {
  if (!embed_) return by_words(question, count);
  constexpr double kRankOffset = 60;  // Cormack et al.: small, so that the first ranks of either list count
  std::map<int64_t, Source> found;
  for (const auto& ranking : {by_words(question, 4 * count), by_meaning(question, 4 * count)})
    for (size_t rank = 0; rank < ranking.size(); ++rank) {
      const auto [at, fresh] = found.try_emplace(ranking[rank].id, ranking[rank]);
      at->second.score = (fresh ? 0 : at->second.score) + 1 / (kRankOffset + double(rank) + 1);
    }
  std::vector<Source> sources;
  for (auto& each : found) sources.push_back(std::move(each.second));
  std::stable_sort(sources.begin(), sources.end(), [](const Source& a, const Source& b) { return a.score > b.score; });
  if (sources.size() > size_t(count)) sources.resize(size_t(count));
  return sources;
}

std::vector<Source> Documents::by_meaning(std::string_view question, int count) {
  constexpr double kUnrelated = 0.3;  // cosines of sentence encoders between texts of other subjects lie below
  if (question.empty()) return {};
  const std::vector<float> asked = embed_({std::string(question)})[0];
  std::vector<std::pair<double, int64_t>> near;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, vector] : vectors_) {
      double cosine = 0;
      for (size_t d = 0; d < vector.size() && d < asked.size(); ++d) cosine += double(vector[d]) * double(asked[d]);
      if (cosine >= kUnrelated) near.emplace_back(-cosine, id);
    }
  }
  std::sort(near.begin(), near.end());
  std::vector<Source> sources;
  for (const auto& [distance, id] : near) {
    if (sources.size() == size_t(count)) break;
    database_.query(
        "SELECT d.path, p.heading, p.text, p.line FROM passages p JOIN documents d ON d.id = p.document WHERE p.id = ?",
        {id}, [&, distance = distance, id = id](const Row& row) {
          sources.push_back({row.text(0), row.text(1), row.text(2), row.integer(3), -distance, id});
        });
  }
  return sources;
}

std::vector<Source> Documents::by_words(std::string_view question, int count) {
  std::vector<Source> sources;
  const std::string query = fts_query(question);
  if (query.empty()) return sources;
  // A heading says more about a passage than a sentence in it does.
  database_.query(
      "SELECT d.path, p.heading, p.text, p.line, -bm25(terms, 2.0, 1.0) AS score, p.id FROM terms JOIN passages p ON "
      "p.id = "
      "terms.rowid "
      "JOIN documents d ON d.id = p.document WHERE terms MATCH ? ORDER BY score DESC, p.id LIMIT ?",
      {query, int64_t(count)}, [&](const Row& row) {
        sources.push_back({row.text(0), row.text(1), row.text(2), row.integer(3), row.real(4), row.integer(5)});
      });
  // What shares but a word with the question lies far below what answers it.
  const double enough = sources.empty() ? 0 : 0.3 * sources.front().score;
  std::erase_if(sources, [&](const Source& s) { return s.score < enough; });
  return sources;
}

}  // namespace sedum::serve
