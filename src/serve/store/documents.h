#pragma once
// A folder of documents that answers can be drawn from: Markdown, text and HTML, found by their words (BM25 over SQLite's FTS5).
//
//   Documents documents("notes", home / "documents" / "notes.sqlite");
//   documents.refresh();                                    // reads what is new or changed, forgets what is gone
//   for (const Source& s : documents.search("冬天多久浇一次水？", 4)) ...

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "serve/store/database.h"

namespace sedum::serve {

struct Source {
  std::string path;  // below the folder
  std::string heading, text;
  int64_t line = 1;
  double score = 0;  // BM25, or of both rankings; larger is better
  int64_t id = 0;    // of the passage
};

struct RefreshCount {
  int64_t files = 0, read = 0, removed = 0, skipped = 0, passages = 0;  // passages: in the index now
  int64_t embedded = 0;                                                 // passages whose vectors were computed
};

class Documents {
 public:
  // Error when the folder does not exist. `index` is made where there is none; another folder's index is begun anew.
  Documents(std::filesystem::path folder, const std::filesystem::path& index);
  ~Documents();

  // Texts to vectors of length 1. Passages are then found by their meaning, too, and what both rankings have comes first (reciprocal rank
  // fusion: Cormack et al. 2009). Call it before refresh(), which makes the vectors. They are kept in the index by the passage's SHA-256
  // and `model`, which names the encoder by its content: neither a new start nor a passage that moved is computed again.
  using Embed = std::function<std::vector<std::vector<float>>(const std::vector<std::string>&)>;
  void embed_by(Embed embed, std::string model) { embed_ = std::move(embed), model_ = std::move(model); }

  RefreshCount refresh();
  void refresh_every(double seconds);  // on a thread of its own
  std::vector<Source> search(std::string_view question, int count);

 private:
  void read_document(const std::string& name, const std::filesystem::path& path, int64_t size, int64_t changed);
  void forget(int64_t document);
  int64_t embed_passages();
  void make_vectors(const std::map<std::string, std::string>& texts);
  std::vector<Source> by_words(std::string_view question, int count);
  std::vector<Source> by_meaning(std::string_view question, int count);

  const std::filesystem::path folder_;
  Database database_;
  Embed embed_;
  std::string model_;
  std::map<int64_t, std::vector<float>> vectors_;  // of passages, under mutex_
  std::mutex refreshing_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace sedum::serve
