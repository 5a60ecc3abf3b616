#include "course/markdown.h"

#include <gmock/gmock.h>

namespace sedum::course {
namespace {
using ::testing::HasSubstr;
using ::testing::Not;

TEST(GithubAnchor, KeepsLettersOfEveryScriptAndDropsPunctuation) {
  EXPECT_EQ(github_anchor("Day3 极大似然vs贝叶斯"), "day3-极大似然vs贝叶斯");
  EXPECT_EQ(github_anchor("Day3 Transformer论文"), "day3-transformer论文");
  EXPECT_EQ(github_anchor("Week1 数学复盘"), "week1-数学复盘");
  EXPECT_EQ(github_anchor("project_final_report"), "project_final_report");
  EXPECT_EQ(github_anchor("Day2 LoRA: r 的选择（8/16/32）？"), "day2-lora-r-的选择81632");
  EXPECT_EQ(github_anchor("A  b — c"), "a--b--c");  // blanks are not merged
  EXPECT_EQ(github_anchor("Q-LoRA、GPTQ…✅"), "q-loragptq");
  EXPECT_EQ(github_anchor("ÉCOLE Ж"), "école-ж");
  EXPECT_EQ(github_anchor("\xff bad"), "-bad");
}

TEST(GithubAnchor, NumbersWhatComesTwice) {
  EXPECT_EQ(github_anchor("A", {"a"}), "a-1");
  EXPECT_EQ(github_anchor("A", {"a", "a-1"}), "a-2");
}

constexpr const char* kNote = R"(# Notes

Text with [a link](../code/week1/day1/x.cc) and ![a picture](images/%E5%9B%BE.png).

## Day1 `code` and *emphasis*

one

### below

two

Setext 标题
-----------

```
## no heading
```

## below
)";

TEST(Note, FindsHeadingsAndLinks) {
  const Note note = Note::parse(kNote, "n.md");
  ASSERT_EQ(note.headings.size(), 5u);
  EXPECT_EQ(note.headings[1].anchor, "day1-code-and-emphasis");
  EXPECT_EQ(note.headings[1].line, 5);
  EXPECT_EQ(note.headings[3].anchor, "setext-标题");
  EXPECT_EQ(note.headings[4].anchor, "below-1");
  EXPECT_EQ(note.find("no-heading"), nullptr);
  ASSERT_EQ(note.links.size(), 2u);
  EXPECT_EQ(note.links[0].url, "../code/week1/day1/x.cc");
  EXPECT_EQ(note.links[0].line, 3);
  EXPECT_EQ(note.links[1].url, "images/图.png");
  EXPECT_TRUE(note.links[1].image);
}

TEST(Note, ASectionEndsAtTheNextHeadingOfItsLevel) {
  const Note note = Note::parse(kNote, "n.md");
  EXPECT_EQ(note.section(*note.find("day1-code-and-emphasis")),
            "## Day1 `code` and *emphasis*\n\none\n\n### below\n\ntwo\n\n");
  EXPECT_EQ(note.section(*note.find("below-1")), "## below\n");
}

TEST(RenderMarkdown, HasTablesAndNoScripts) {
  const std::string html = render_markdown("|a|b|\n|-|-|\n|1|2|\n\n<script>x</script>\n\n[l](javascript:x) ~~gone~~");
  EXPECT_THAT(html, HasSubstr("<table>"));
  EXPECT_THAT(html, HasSubstr("<del>gone</del>"));
  EXPECT_THAT(html, Not(HasSubstr("<script>")));
  EXPECT_THAT(html, Not(HasSubstr("javascript:")));
}

}  // namespace
}  // namespace sedum::course
