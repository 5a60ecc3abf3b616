#include "course/archive.h"

#include <memory>

#include <archive.h>
#include <archive_entry.h>
#include <fmt/format.h>

#include "base/digest.h"
#include "base/error.h"
#include "base/file.h"

namespace sedum::course {
namespace {
namespace fs = std::filesystem;

struct Free {
  void operator()(archive* a) const { archive_write_free(a); }
  void operator()(archive_entry* e) const { archive_entry_free(e); }
};
using Writer = std::unique_ptr<archive, Free>;

la_ssize_t append(archive*, void* target, const void* bytes, size_t size) {
  static_cast<std::string*>(target)->append(static_cast<const char*>(bytes), size);
  return la_ssize_t(size);
}

void must(archive* writer, int result) {
  if (result != ARCHIVE_OK) throw Error(fmt::format("cannot pack: {}", archive_error_string(writer)));
}

Writer open_writer(const fs::path& path, std::string& target) {
  const std::string name = path.filename().string();
  Writer writer(archive_write_new());
  if (name.ends_with(".zip")) {
    must(writer.get(), archive_write_set_format_zip(writer.get()));
    must(writer.get(), archive_write_set_options(writer.get(), "zip:hdrcharset=UTF-8"));
  } else if (name.ends_with(".tar.zst")) {
    must(writer.get(), archive_write_set_format_pax_restricted(writer.get()));
    must(writer.get(), archive_write_add_filter_zstd(writer.get()));
  } else {
    throw Error(fmt::format("{} names no kind of archive", path.string()), "let it end in .zip or .tar.zst");
  }
  must(writer.get(), archive_write_set_bytes_in_last_block(writer.get(), 1));
  must(writer.get(), archive_write_open(writer.get(), &target, nullptr, append, nullptr));
  return writer;
}

void put(archive* writer, const std::string& name, const std::string& content) {
  const std::unique_ptr<archive_entry, Free> entry(archive_entry_new());
  archive_entry_set_pathname_utf8(entry.get(), name.c_str());
  archive_entry_set_size(entry.get(), la_int64_t(content.size()));
  archive_entry_set_filetype(entry.get(), AE_IFREG);
  archive_entry_set_perm(entry.get(), 0644);
  archive_entry_set_mtime(entry.get(), 315532800, 0);  // 1980, the first year that a zip knows
  must(writer, archive_write_header(writer, entry.get()));
  if (archive_write_data(writer, content.data(), content.size()) != la_ssize_t(content.size()))
    throw Error(fmt::format("cannot pack {}: {}", name, archive_error_string(writer)));
}

}  // namespace

void Archive::add(const std::string& name, std::string content) {
  if (!files_.emplace(name, std::move(content)).second) throw ApiError("Archive::add", name + " twice");
}

void Archive::add_file(const std::string& name, const fs::path& file) { add(name, read_file(file)); }

void Archive::add_folder(const std::string& name, const fs::path& folder) {
  if (!fs::is_directory(folder)) return;
  for (auto it = fs::recursive_directory_iterator(folder); it != fs::recursive_directory_iterator(); ++it) {
    if (it->path().filename().string().starts_with('.')) {
      it.disable_recursion_pending();
    } else if (it->is_regular_file() && !it->is_symlink()) {
      add_file(name + "/" + it->path().lexically_relative(folder).generic_string(), it->path());
    }
  }
}

void Archive::write(const fs::path& path) const {
  std::string bytes, sums;
  const Writer writer = open_writer(path, bytes);
  for (const auto& [name, content] : files_) {
    sums += fmt::format("{}  {}\n", sha256(content), name);
    put(writer.get(), name, content);
  }
  put(writer.get(), "SHA256SUMS", sums);
  must(writer.get(), archive_write_close(writer.get()));
  write_file(path, bytes);
}

}  // namespace sedum::course
