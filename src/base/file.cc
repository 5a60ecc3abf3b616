#include "base/file.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

namespace sedum {
namespace fs = std::filesystem;

void throw_system_error(const std::string& what, const fs::path& path, const std::string& mend) {
  const int code = errno;
  std::string advice = mend;
  if (advice.empty() && code == ENOSPC) advice = "free some space, or write to another disk";
  if (advice.empty() && code == ENOENT) advice = "check the path";
  throw Error(what + " " + path.string() + ": " + std::strerror(code), advice);
}

namespace {

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

void write_all(int fd, const char* data, size_t size, const fs::path& path) {
  while (size > 0) {
    const ssize_t n = ::write(fd, data, size);
    if (n < 0) {
      if (errno == EINTR) continue;
      throw_system_error("cannot write", path);
    }
    data += n, size -= size_t(n);
  }
}

}  // namespace

MappedFile::MappedFile(const fs::path& path) : path_(path) {
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) throw_system_error("cannot open", path);
  struct stat info;
  if (::fstat(file.fd, &info) != 0) throw_system_error("cannot read", path);
  if (!S_ISREG(info.st_mode))
    throw Error("cannot read " + path.string() + ": not a regular file", "give the path of a file");
  const size_t size = size_t(info.st_size);
  if (size == 0) return;
  void* p = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (p == MAP_FAILED) throw_system_error("cannot map", path);
  owner_ = std::shared_ptr<const void>(p, [size](const void* q) { ::munmap(const_cast<void*>(q), size); });
  bytes_ = {static_cast<const std::byte*>(p), size};
}

void MappedFile::forget_pages() const {
  if (!bytes_.empty()) ::madvise(const_cast<std::byte*>(bytes_.data()), bytes_.size(), MADV_DONTNEED);
}

AtomicFile::AtomicFile(const fs::path& path)
    : path_(path), partial_(path.string() + ".partial-" + std::to_string(::getpid())) {
  descriptor_ = ::open(partial_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (descriptor_ < 0) throw_system_error("cannot create", partial_);
  buffer_.reserve(1 << 20);
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(partial_.c_str());
}

void AtomicFile::write(const void* data, size_t size) {
  SEDUM_CHECK(descriptor_ >= 0, "write after commit");
  size_ += size;
  if (buffer_.size() + size > buffer_.capacity()) flush();
  if (size >= buffer_.capacity())
    write_all(descriptor_, static_cast<const char*>(data), size, partial_);
  else
    buffer_.append(static_cast<const char*>(data), size);
}

void AtomicFile::flush() {
  write_all(descriptor_, buffer_.data(), buffer_.size(), partial_);
  buffer_.clear();
}

void AtomicFile::commit() {
  SEDUM_CHECK(descriptor_ >= 0, "commit twice");
  flush();
  if (::fsync(descriptor_) != 0) throw_system_error("cannot sync", partial_);
  ::close(std::exchange(descriptor_, -1));
  if (::rename(partial_.c_str(), path_.c_str()) != 0) {
    const int code = errno;
    ::unlink(partial_.c_str());
    errno = code;
    throw_system_error("cannot rename to", path_);
  }
  sync_folder(path_.parent_path());
}

void sync_folder(const fs::path& folder) {
  const Descriptor d{::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (d.fd < 0 || ::fsync(d.fd) != 0) throw_system_error("cannot sync", folder);
}

// Within a folder that is there: it may be a mount, or lie where nothing else may be made.
Staging::Staging(const fs::path& target) : target_(fs::weakly_canonical(fs::absolute(target))) {
  if (!target_.has_filename()) target_ = target_.parent_path();  // "out/"
  const std::string partial = ".partial-" + std::to_string(::getpid());
  folder_ = fs::is_directory(target_) ? target_ / partial : fs::path(target_.string() + partial);
  path_ = folder_ / target_.filename();
  std::error_code ignored;
  for (fs::path parent = folder_.parent_path(); !fs::exists(parent, ignored); parent = parent.parent_path())
    parents_.push_back(parent);
  make_folders(folder_);
}

Staging::~Staging() {
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
  for (const fs::path& parent : parents_) fs::remove(parent, ignored);  // refuses one that holds something
}

void make_folders(const fs::path& folder) {
  std::error_code failure;
  fs::create_directories(folder, failure);
  errno = failure.value();
  if (failure) throw_system_error("cannot create", folder);
}

void move_over(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) throw_system_error("cannot rename to", to);
}

void write_file(const fs::path& path, std::string_view content) {
  AtomicFile file(path);
  file.write(content);
  file.commit();
}

std::string read_file(const fs::path& path) { return std::string(MappedFile(path).text()); }

void append_bytes(const fs::path& path, std::string_view bytes) {
  const Descriptor file{::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)};
  if (file.fd < 0) throw_system_error("cannot open", path);
  write_all(file.fd, bytes.data(), bytes.size(), path);
}

void append_line(const fs::path& path, std::string_view line) { append_bytes(path, std::string(line) + "\n"); }

}  // namespace sedum
