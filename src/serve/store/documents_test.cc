#include "serve/store/documents.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "serve/store/passages.h"

namespace sedum::serve {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(Terms, PairsOfHanAndWordsOfOtherScripts) {
  EXPECT_EQ(index_terms("夏天浇水 in Summer, 2 times"), "夏天 天浇 浇水 in summer 2 times");
  EXPECT_EQ(index_terms("水"), "水");
  EXPECT_EQ(index_terms("a水b"), "a 水 b");
  EXPECT_EQ(index_terms("\"quoted\" (text)"), "quoted text");
  EXPECT_EQ(index_terms("Ünïcode\xff!"), "ünïcode");
  EXPECT_EQ(index_terms(""), "");
}

TEST(Passages, KeepTheirHeadingsAndLines) {
  const auto passages =
      cut_passages("# Care\n\nWater rarely.\n\n## Summer\nShade it.\nA lot.\n\n```\n# no heading\n```\n# Other\nx\n",
                   DocumentKind::kMarkdown);
  ASSERT_EQ(passages.size(), 3u);
  EXPECT_EQ(passages[0].heading, "Care");
  EXPECT_EQ(passages[0].text, "Water rarely.");
  EXPECT_EQ(passages[0].line, 3);
  EXPECT_EQ(passages[1].heading, "Care › Summer");
  EXPECT_THAT(passages[1].text, HasSubstr("# no heading"));
  EXPECT_EQ(passages[2].heading, "Other");
  EXPECT_EQ(cut_passages("# not a heading here\n", DocumentKind::kText)[0].text, "# not a heading here");
}

TEST(Passages, LongTextsAreCutBetweenSentencesAndNeverInACharacter) {
  std::string text;
  for (int i = 0; i < 200; ++i) text += "多肉植物喜欢阳光。";
  for (const Passage& p : cut_passages(text, DocumentKind::kText)) {
    EXPECT_LE(p.text.size(), 900u);
    EXPECT_TRUE(p.text.ends_with("。"));
  }
  std::string whole;
  for (const Passage& p : cut_passages(std::string(5000, 'x') + "水", DocumentKind::kText)) whole += p.text;
  EXPECT_EQ(whole, std::string(5000, 'x') + "水");
}

TEST(Html, BecomesWhatAReaderSees) {
  const std::string text = html_to_text(
      "<!doctype html><head><title>Care</title><style>p { color: red }</style><script>alert('<p>')</script></head>"
      "<body><!-- secret --><h2 class=\"a>b\">Water &amp; light</h2><p>Once a "
      "<b>week</b>&nbsp;&#20013;&#x6587;</p><ul><li>a<li>b</ul> 1 < 2 &unknown;");
  EXPECT_THAT(text, HasSubstr("## Water & light"));
  EXPECT_THAT(text, HasSubstr("Once a week 中文"));
  EXPECT_THAT(text, HasSubstr("\na"));
  EXPECT_THAT(text, HasSubstr("1 < 2 &unknown;"));
  for (const char* hidden : {"secret", "alert", "color"}) EXPECT_THAT(text, Not(HasSubstr(hidden)));
  for (const char* broken : {"<", "<p", "<p class='", "<script>", "&#", "&#99999999;", "<!--", "</"})
    html_to_text(broken);
}

struct DocumentsTest : ::testing::Test {
  DocumentsTest() : home(fs::temp_directory_path() / ("sedum_documents_" + std::to_string(::getpid()))) {
    fs::remove_all(home);
    write("care.md", "# Jade plant\n\nWater it once the soil is dry.\n\n## 冬天\n\n冬天休眠，一个月浇一次水就够了。\n");
    write("deep/light.txt", "Bright light keeps the leaves red.");
    write("page.html", "<h1>Propagation</h1><p>Leaves root in three weeks.</p>");
    write("ignored.png", "water water water");
    write(".hidden/secret.md", "water water water");
  }
  ~DocumentsTest() override { fs::remove_all(home); }
  void write(const std::string& name, const std::string& text) const {
    fs::create_directories((home / "docs" / name).parent_path());
    write_file(home / "docs" / name, text);
  }
  const fs::path home;
};

TEST_F(DocumentsTest, AreFoundInBothLanguages) {
  Documents documents(home / "docs", home / "index.sqlite");
  const RefreshCount count = documents.refresh();
  EXPECT_EQ(count.files, 3);
  EXPECT_EQ(count.read, 3);
  EXPECT_EQ(count.passages, 4);
  const auto best = [&](const char* question) {
    const auto found = documents.search(question, 4);
    return found.empty() ? std::string() : found[0].path + ": " + found[0].heading;
  };
  EXPECT_EQ(best("When should I water my jade plant?"), "care.md: Jade plant");
  EXPECT_EQ(best("冬天多久浇一次水？"), "care.md: Jade plant › 冬天");
  EXPECT_EQ(best("how do leaves take root"), "page.html: Propagation");
  EXPECT_EQ(best("what makes it red"), "deep/light.txt: ");
  EXPECT_EQ(best("quantum chromodynamics"), "");
  EXPECT_EQ(best("\" OR NEAR( * ' --"), "");  // no query language comes through
  EXPECT_EQ(best(""), "");
}

// A stand-in for an encoder: it knows that leaves taking root are cuttings, and nothing else.
std::vector<std::vector<float>> embed_cuttings(const std::vector<std::string>& texts) {
  std::vector<std::vector<float>> vectors;
  for (const std::string& text : texts) {
    const bool near = text.find("root") != std::string::npos || text.find("cuttings") != std::string::npos;
    vectors.push_back({near ? 1.0f : 0.0f, near ? 0.0f : 1.0f});
  }
  return vectors;
}

TEST_F(DocumentsTest, AreFoundByMeaningToo) {
  Documents words(home / "docs", home / "words.sqlite"), both(home / "docs", home / "both.sqlite");
  both.embed_by(embed_cuttings, "cuttings");
  words.refresh(), both.refresh();
  EXPECT_TRUE(words.search("cuttings", 4).empty());
  const auto found = both.search("cuttings", 4);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].heading, "Propagation");
  // In both rankings: before what is in one.
  const auto fused = both.search("jade plant with leaves, cuttings", 4);
  ASSERT_GE(fused.size(), 2u);
  EXPECT_EQ(fused[0].heading, "Propagation");
  EXPECT_GT(fused[0].score, 1.9 * fused[1].score);
  // Passages that are gone are not found, new ones are.
  fs::remove(home / "docs" / "page.html");
  write("new.md", "# Cuttings\n\nThey root in sand.\n");
  both.refresh();
  ASSERT_EQ(both.search("propagate my cuttings", 4).size(), 1u);
  EXPECT_EQ(both.search("propagate my cuttings", 4)[0].path, "new.md");
}

TEST_F(DocumentsTest, VectorsAreKeptByPassageAndModel) {
  size_t made = 0;
  const auto embed = [&](const std::vector<std::string>& texts) {
    made += texts.size();
    return embed_cuttings(texts);
  };
  const auto refreshed = [&](const char* model) {
    Documents documents(home / "docs", home / "index.sqlite");
    documents.embed_by(embed, model);
    made = 0;
    const RefreshCount count = documents.refresh();
    EXPECT_EQ(count.embedded, int64_t(made));
    const int64_t before = int64_t(made);
    EXPECT_EQ(documents.search("cuttings", 4).size(), 1u) << model;  // embeds the question
    EXPECT_EQ(documents.search("cuttings", 4)[0].heading, "Propagation");
    return before;
  };
  EXPECT_EQ(refreshed("a"), 4);
  EXPECT_EQ(refreshed("a"), 0);  // a new start
  EXPECT_EQ(refreshed("b"), 4);  // another encoder
  fs::rename(home / "docs" / "page.html", home / "docs" / "moved.html");
  EXPECT_EQ(refreshed("b"), 0);  // a passage that moved
  write("deep/light.txt", "Less light makes them green.");
  EXPECT_EQ(refreshed("b"), 1);
  write("deep/light.txt", "Bright light keeps the leaves red.");
  EXPECT_EQ(refreshed("b"), 1);  // it was forgotten with its passage
}

TEST_F(DocumentsTest, OnlyWhatChangedIsReadAgain) {
  {
    Documents documents(home / "docs", home / "index.sqlite");
    documents.refresh();
  }
  Documents documents(home / "docs", home / "index.sqlite");
  EXPECT_EQ(documents.refresh().read, 0);
  EXPECT_EQ(documents.search("light", 4).size(), 1u);
  write("care.md", "# Cactus\n\nNever water it.\n");
  fs::remove(home / "docs" / "deep" / "light.txt");
  const RefreshCount count = documents.refresh();
  EXPECT_EQ(count.read, 1);
  EXPECT_EQ(count.removed, 1);
  EXPECT_EQ(count.passages, 2);
  EXPECT_TRUE(documents.search("bright light", 4).empty());
  EXPECT_EQ(documents.search("water", 4)[0].heading, "Cactus");
}

TEST_F(DocumentsTest, AnotherFoldersIndexIsBegunAnew) {
  Documents(home / "docs", home / "index.sqlite").refresh();
  Documents other(home / "docs" / "deep", home / "index.sqlite");
  EXPECT_EQ(other.refresh().passages, 1);
  EXPECT_THROW(Documents(home / "none", home / "index.sqlite"), Error);
}

}  // namespace
}  // namespace sedum::serve
