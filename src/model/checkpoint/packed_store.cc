#include "model/checkpoint/packed_store.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/error.h"
#include "base/json.h"
#include "base/progress.h"
#include "compute/kernels/isa.h"
#include "compute/ops/check.h"

namespace sedum {
namespace fs = std::filesystem;
using Json = nlohmann::json;

namespace {

// "SEDUMPK1", length of the header, its SHA-256 in hexadecimal, the header (JSON), zeros to kAlignment, panels.
constexpr std::string_view kMagic = "SEDUMPK1";
constexpr size_t kPrefix = 8 + 8 + 64;
constexpr uint64_t kAlignment = 4096;  // of every tensor's panels: a page
constexpr const char* kExtension = ".packed";
constexpr size_t kSample = 4096;

uint64_t aligned(uint64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

std::span<const std::byte> bytes_of(const Tensor& t) { return {static_cast<const std::byte*>(t.raw()), t.bytes()}; }

// Which file this is, and in which state. ctime moves whenever content, size or inode change, and no program can set it.
void append_state(const fs::path& path, std::string& text) {
  struct stat s;
  if (::stat(path.c_str(), &s) != 0) throw_system_error("cannot read", path);
  for (const int64_t v : {int64_t(s.st_dev), int64_t(s.st_ino), int64_t(s.st_size), int64_t(s.st_mtim.tv_sec),
                          int64_t(s.st_mtim.tv_nsec), int64_t(s.st_ctim.tv_sec), int64_t(s.st_ctim.tv_nsec)})
    text += std::to_string(v) + ' ';
}

// All files that a model at `path` may be read from: the folder's, or those whose names begin like a split GGUF file's.
std::vector<fs::path> model_files(const fs::path& path) {
  if (fs::is_directory(path)) {
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(path)) {
      const std::string kind = entry.path().extension().string();
      if (entry.is_regular_file() && (kind == ".safetensors" || kind == ".json")) files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    return files;
  }
  const std::string name = path.filename().string();  // NAME-00001-of-00003.gguf
  const size_t of = name.rfind("-of-");
  if (of == std::string::npos || of < 6 || name[of - 6] != '-') return {path};
  std::vector<fs::path> files;
  const fs::path folder = path.has_parent_path() ? path.parent_path() : ".";
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string other = entry.path().filename().string();
    if (other.size() == name.size() && other.starts_with(name.substr(0, of - 5)) && other.ends_with(name.substr(of)))
      files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::string key_of(const Checkpoint& checkpoint) {
  std::string text = "layout " + std::to_string(kPanelLayout) + " int8 ";
  for (const fs::path& file : model_files(checkpoint.path())) append_state(file, text);
  for (const std::string& name : checkpoint.source().names()) {
    const StoredTensor* t = checkpoint.source().find(name);
    const std::span<const std::byte> all(static_cast<const std::byte*>(t->data), t->bytes);
    const size_t sample = std::min(kSample, all.size());
    text += name + ' ' + std::to_string(int(t->dtype)) + ' ' + std::to_string(quick_sum(all.first(sample))) + ' ' +
            std::to_string(quick_sum(all.last(sample))) + ' ';
  }
  return sha256(text).substr(0, 32);
}

// One writer at a time, of all processes and threads: a lock belongs to the open file. Freed by the system if its holder dies.
class WriterLock {
 public:
  explicit WriterLock(const fs::path& folder) : path_(folder / ".lock") {
    descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (descriptor_ < 0) throw_system_error("cannot create", path_);
    while (::flock(descriptor_, LOCK_EX) != 0)
      if (errno != EINTR) {
        ::close(descriptor_);
        throw_system_error("cannot lock", path_);
      }
  }
  ~WriterLock() { ::close(descriptor_); }
  WriterLock(const WriterLock&) = delete;
  WriterLock& operator=(const WriterLock&) = delete;

 private:
  fs::path path_;
  int descriptor_;
};

}  // namespace

PackCacheOptions pack_cache_options(const std::function<const char*(const char*)>& environment, const fs::path& home) {
  PackCacheOptions options;
  const char* folder = environment("SEDUM_PACK_CACHE");
  const std::string chosen = folder ? folder : "";
  if (chosen == "off") return options;
  options.folder = chosen.empty() ? home / "packed" : fs::path(chosen);
  if (const char* text = environment("SEDUM_PACK_CACHE_GIB")) {
    char* end = nullptr;
    const double gib = std::strtod(text, &end);
    if (end == text || *end || !(gib >= 0 && gib < 1e6))
      throw Error(std::string("SEDUM_PACK_CACHE_GIB=") + text + " is no size in GiB", "write such as 16");
    options.limit = uint64_t(gib * double(uint64_t{1} << 30));
  }
  return options;
}

std::string machine_name(int threads) {
  std::ifstream file("/proc/cpuinfo");
  std::string processor = "unknown";
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name")) {
      processor = line.substr(std::min(line.size(), line.find(':') + 2));
      break;
    }
  return processor + ", " + name(isa()) + ", " + std::to_string(threads) + " threads";
}

PackedStore::PackedStore(const Checkpoint& checkpoint, PackCacheOptions options, int threads)
    : options_(std::move(options)), machine_(machine_name(threads)) {
  try {
    model_ = fs::absolute(checkpoint.path()).lexically_normal().string();
    key_ = key_of(checkpoint);
    path_ = options_.folder / (key_ + kExtension);
    file_ = read(path_, key_);
    if (file_) load(*file_, threads);
  } catch (const std::exception& e) {
    file_.reset(), problem_ = e.what();  // then nothing is found
  }
  if (!file_) return;
  tuned_ = file_->tuned;
  touch();
}

PackedStore::~PackedStore() { wait(); }

std::unique_ptr<PackedStore::File> PackedStore::read(const fs::path& path, const std::string& key) {
  if (!fs::exists(path)) return nullptr;
  auto file = std::make_unique<File>();
  file->mapping = MappedFile(path);
  const std::string_view text = file->mapping.text();
  uint64_t length = 0;
  if (text.size() < kPrefix || !text.starts_with(kMagic)) return nullptr;
  std::memcpy(&length, text.data() + 8, sizeof length);
  if (length > text.size() - kPrefix) return nullptr;
  const std::string_view header = text.substr(kPrefix, length);
  if (sha256(header) != text.substr(16, 64)) return nullptr;
  const Json json = try_parse_json(header);
  try {
    if (json.at("layout") != kPanelLayout || json.at("size").get<uint64_t>() != text.size()) return nullptr;
    if (!key.empty() && json.at("key") != key) return nullptr;
    file->model = json.at("model");
    for (const auto& [name, t] : json.at("tensors").items()) {
      Entry e;
      e.stored = DType(t.at(0).get<int>()), e.panels = DType(t.at(1).get<int>());
      e.rows = t.at(2), e.cols = t.at(3), e.offset = t.at(4), e.bytes = t.at(5), e.sum = t.at(6), e.source = t.at(7);
      if (e.offset % kAlignment || e.offset > text.size() || e.bytes > text.size() - e.offset) return nullptr;
      file->entries[name] = e;
    }
    for (const auto& t : json.at("tuned"))
      file->tuned.push_back({t.at(0), DType(t.at(1).get<int>()), t.at(2), t.at(3), {t.at(4), t.at(5)}});
  } catch (const Json::exception&) {
    return nullptr;
  }
  return file;
}

// In pieces, whose pages of the file leave this process again: else it would hold the weights twice for a moment.
void PackedStore::load(File& file, int threads) {
  constexpr size_t kPiece = size_t{8} << 20;
  const std::span<const std::byte> all = file.mapping.bytes();
  file.copy = std::make_shared<Buffer>(all.size());
  std::atomic<size_t> next = 0;
  const auto copy_pieces = [&] {
    for (size_t at; (at = next.fetch_add(kPiece)) < all.size();) {
      const std::span<const std::byte> piece = all.subspan(at, std::min(kPiece, all.size() - at));
      std::memcpy(file.copy->as<std::byte>() + at, piece.data(), piece.size());
      ::madvise(const_cast<std::byte*>(piece.data()), piece.size(), MADV_DONTNEED);
    }
  };
  std::vector<std::jthread> helpers;
  for (int i = 1; i < threads; i++) helpers.emplace_back(copy_pieces);
  copy_pieces();
}

void PackedStore::touch() const {
  ::utimensat(AT_FDCWD, path_.c_str(), nullptr,
              0);  // last use is what eviction goes by; in a read-only folder: not known
}

std::shared_ptr<const PackedMatrix> PackedStore::matrix(const File& file, const Entry& entry) const {
  const std::span<const std::byte> all =
      file.copy ? std::span<const std::byte>(file.copy->as<std::byte>(), file.copy->size()) : file.mapping.bytes();
  const std::shared_ptr<const void> owner = file.copy ? file.copy : file.mapping.owner();
  std::shared_ptr<PackedMatrix> packed =
      packed_int8_from(entry.panels, entry.rows, entry.cols, all.subspan(entry.offset, entry.bytes), owner);
  if (!packed) return nullptr;
  for (const TunedCut& t : tuned_)
    if (t.machine == machine_ && t.panels == entry.panels && t.rows == entry.rows && t.cols == entry.cols)
      set_product_cut(*packed, t.cut);
  return packed;
}

std::shared_ptr<const PackedMatrix> PackedStore::find(const std::string& name, const Tensor& stored) {
  const auto fits = [&](const Entry& e) {
    return e.stored == stored.dtype() && e.rows == stored.size(0) && e.cols == stored.size(1);
  };
  if (file_) {
    const auto found = file_->entries.find(name);
    if (found == file_->entries.end() || !fits(found->second)) return nullptr;
    auto packed = matrix(*file_, found->second);
    if (packed) matrices_.push_back(packed);
    return packed;
  }
  if (!older_ || !stored.defined()) return nullptr;  // known by its bytes
  const uint64_t source = quick_sum(bytes_of(stored));
  for (const auto& [other, entry] : older_->entries) {
    if (!fits(entry) || entry.source != source) continue;
    auto packed = matrix(*older_, entry);
    if (packed) ++reused_, add(name, stored, packed);
    return packed;
  }
  return nullptr;
}

void PackedStore::add(const std::string& name, const Tensor& stored, std::shared_ptr<const PackedMatrix> packed) {
  matrices_.push_back(packed);
  if (!key_.empty()) added_.push_back({name, stored, std::move(packed)});
}

void PackedStore::save() {
  if (key_.empty() || (added_.empty() && !tuned_changed_)) return;
  uint64_t bytes = 0;
  for (const Added& each : added_) bytes += each.packed->bytes();
  if (!file_ && bytes < options_.smallest) return;
  wait();
  writer_ = std::thread([this] {
    try {
      write();
    } catch (const std::exception& e) {
      problem_ = e.what();
    }
  });
}

void PackedStore::wait() {
  if (writer_.joinable()) writer_.join();
}

std::string PackedStore::problem() const { return problem_; }

void PackedStore::write() const {
  fs::create_directories(options_.folder);
  const WriterLock lock(options_.folder);
  if (!file_ && !tuned_changed_ && read(path_, key_)) return;  // another process was first
  struct Piece {
    const std::byte* data;
    uint64_t bytes;
  };
  std::vector<Piece> pieces;
  std::map<std::string, Entry> entries;
  uint64_t end = 0;  // behind the header; offsets are moved by its length afterwards
  const auto place = [&](const std::string& name, Entry entry, const std::byte* data) {
    entry.offset = end, end += aligned(entry.bytes);
    pieces.push_back({data, entry.bytes}), entries[name] = entry;
  };
  if (file_)
    for (const auto& [name, entry] : file_->entries) place(name, entry, file_->mapping.bytes().data() + entry.offset);
  for (const Added& each : added_) {
    if (entries.contains(each.name)) continue;
    const PackedPanels panels = packed_int8_panels(*each.packed);
    place(each.name,
          {each.stored.dtype(), panels.dtype, each.packed->rows(), each.packed->cols(), 0, panels.bytes.size(),
           quick_sum(panels.bytes), quick_sum(bytes_of(each.stored))},
          panels.bytes.data());
  }
  const auto header_at = [&](uint64_t begin) {
    Json json{{"layout", kPanelLayout}, {"key", key_}, {"model", model_}, {"size", begin + end}};
    json["tensors"] = Json::object(), json["tuned"] = Json::array();
    for (const auto& [name, e] : entries)
      json["tensors"][name] = {int(e.stored),    int(e.panels), e.rows, e.cols,
                               begin + e.offset, e.bytes,       e.sum,  e.source};
    for (const TunedCut& t : tuned_)
      json["tuned"].push_back({t.machine, int(t.panels), t.rows, t.cols, t.cut.tile_rows, t.cut.block_kib});
    return json.dump();
  };
  // Offsets have at most 20 digits: room for those of every tensor, and for the size.
  const uint64_t begin = aligned(kPrefix + header_at(0).size() + 20 * (entries.size() + 1));
  const std::string header = header_at(begin);
  const uint64_t length = header.size(), total = begin + end;
  const uint64_t available = fs::space(options_.folder).available;
  if (total + (uint64_t{256} << 20) > available)
    throw Error("not enough space in " + options_.folder.string() + " for packed weights: " + format_bytes(total) +
                    " needed, " + format_bytes(available) + " free",
                "free some, or choose a folder on another disk with --pack-cache");
  if (total > options_.limit)
    throw Error("packed weights of " + format_bytes(total) + " are beyond the cache's limit",
                "raise SEDUM_PACK_CACHE_GIB");
  evict(total);
  AtomicFile out(path_);
  out.write(kMagic), out.write(&length, sizeof length), out.write(sha256(header)), out.write(header);
  const std::string zeros(kAlignment, '\0');
  out.write(zeros.data(), begin - out.size());
  for (const Piece& piece : pieces) {
    out.write(piece.data, piece.bytes);
    out.write(zeros.data(), aligned(piece.bytes) - piece.bytes);
  }
  out.commit();
}

// Old files, until there is room for `needed` bytes more. What a writer that died left behind is dropped after an hour.
void PackedStore::evict(uint64_t needed) const {
  struct Cached {
    fs::file_time_type used;
    uint64_t bytes;
    fs::path path;
  };
  std::vector<Cached> files;
  uint64_t total = needed;
  std::error_code ignored;
  const auto now = fs::file_time_type::clock::now();
  for (const auto& entry : fs::directory_iterator(options_.folder)) {
    const std::string name = entry.path().filename().string();
    const auto used = entry.last_write_time(ignored);
    if (name.find(std::string(kExtension) + ".partial-") != std::string::npos && now - used > std::chrono::hours(1))
      fs::remove(entry.path(), ignored);
    if (!name.ends_with(kExtension) || entry.path() == path_) continue;
    files.push_back({used, entry.file_size(ignored), entry.path()});
    total += files.back().bytes;
  }
  std::sort(files.begin(), files.end(), [](const Cached& a, const Cached& b) { return a.used < b.used; });
  for (const Cached& file : files) {
    const bool replaced = older_ && file.path == older_->mapping.path();
    if (total <= options_.limit && !replaced) continue;
    if (fs::remove(file.path, ignored)) total -= file.bytes;  // who has it mapped keeps it
  }
}

bool PackedStore::verify() {
  if (!file_) return false;
  for (const auto& [name, e] : file_->entries)
    if (quick_sum(file_->mapping.bytes().subspan(e.offset, e.bytes)) != e.sum) {
      file_.reset();
      tuned_changed_ = true;  // so that it is written over
      return false;
    }
  return true;
}

void PackedStore::reuse_from_older() {
  if (file_ || key_.empty() || !fs::is_directory(options_.folder)) return;
  for (const auto& entry : fs::directory_iterator(options_.folder)) {
    if (entry.path().extension() != kExtension || entry.path() == path_) continue;
    auto file = read(entry.path(), "");
    if (!file || file->model != model_) continue;
    for (const TunedCut& t : file->tuned) tuned_.push_back(t);
    older_ = std::move(file);
    return;
  }
}

void PackedStore::set_tuned(std::vector<TunedCut> tuned) {
  for (const TunedCut& t : tuned_)
    if (t.machine != machine_) tuned.push_back(t);
  if (tuned == tuned_) return;
  tuned_ = std::move(tuned), tuned_changed_ = true;
}

}  // namespace sedum
