#pragma once
// A report of headings, paragraphs, tables and pictures, as Markdown, HTML or PDF.
//
//   Document document("Runs");
//   document.heading("Loss").picture("loss", plot).table(table);
//   document.save("runs.md");        // or .html, .pdf
//
// Markdown has its pictures beside it, in NAME_files/; HTML is one file with everything in it; PDF is A4.

#include <filesystem>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "report/picture.h"
#include "report/table.h"

namespace sedum::report {

class Document {
 public:
  explicit Document(std::string title) : title_(std::move(title)) {}
  Document& heading(std::string text);
  Document& paragraph(std::string text);
  Document& table(Table table);
  template <class P>
  Document& picture(std::string name, P picture) {
    parts_.push_back(NamedPicture{std::move(name), std::make_shared<P>(std::move(picture))});
    return *this;
  }

  void save(const std::filesystem::path& path) const;  // throws Error for another ending
  std::string html() const;
  std::string pdf() const;

 private:
  struct Heading {
    std::string text;
  };
  struct Paragraph {
    std::string text;
  };
  struct NamedPicture {
    std::string name;  // of its file; letters, digits, _
    std::shared_ptr<const Picture> picture;
  };
  std::string markdown(const std::filesystem::path& path) const;  // writes the pictures
  std::string title_;
  std::vector<std::variant<Heading, Paragraph, Table, NamedPicture>> parts_;
};

}  // namespace sedum::report
