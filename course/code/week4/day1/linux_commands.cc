// 第 4 周第 1 天  Linux 命令：每一条都真的执行
//
// 命令记不住，是因为只读不做。这张清单里的每一条都在一个临时文件夹里执行，并检查它确实做了说的那件事。
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "course/frame/lesson.h"

using namespace sedum;
using course::Lesson;
namespace fs = std::filesystem;

// 在文件夹 where 里执行一条命令：它的输出和退出码。
struct Outcome {
  std::string output;
  int code;
};
Outcome run(const fs::path& where, const std::string& command) {
  FILE* pipe = popen(("cd '" + where.string() + "' && { " + command + "; } 2>&1").c_str(), "r");
  Outcome outcome{"", -1};
  if (!pipe) return outcome;
  std::array<char, 4096> part;
  for (size_t n; (n = fread(part.data(), 1, part.size(), pipe)) > 0;) outcome.output.append(part.data(), n);
  const int status = pclose(pipe);
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  while (!outcome.output.empty() && outcome.output.back() == '\n') outcome.output.pop_back();
  return outcome;
}

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "Linux 基础命令",
                 .difficulty = "命令参数记忆困难",
                 .remedy = "整理常用命令清单，逐条执行",
                 .bugs = {{"no_p", "mkdir 少了 -p：上级文件夹不存在时失败"},
                          {"overwrite", "追加日志时用了 >，把前面的内容覆盖了"}}});
  lesson.exercise("notes.txt 里有 3 行，又用 >> 追加了 1 行。wc -l 说几行？", "lines");
  const fs::path folder = fs::path(lesson.out()) / "练习";
  fs::remove_all(folder);
  fs::create_directories(folder);

  // 命令、它做什么、输出应当含有什么（"" 表示没有输出）。次序有意义：后面的用到前面的结果。
  struct Line {
    std::string command, meaning, expected;
  };
  const std::string make = lesson.broken("no_p") ? "mkdir data/raw" : "mkdir -p data/raw";
  const std::string append = lesson.broken("overwrite") ? "echo 第四行 > notes.txt" : "echo 第四行 >> notes.txt";
  const std::vector<Line> lines = {
      {"pwd", "我在哪个文件夹", folder.filename().string()},
      {make, "建文件夹，连同缺少的上级", ""},
      {"cd data/raw && pwd", "进入文件夹", "data/raw"},
      {"printf '%s\\n' 第一行 第二行 第三行 > notes.txt", "写文件（覆盖）", ""},
      {append, "在末尾追加", ""},
      {"wc -l notes.txt", "数行数", "4"},
      {"cat notes.txt", "看整个文件", "第一行"},
      {"head -n 1 notes.txt", "开头几行", "第一行"},
      {"tail -n 1 notes.txt", "末尾几行", "第四行"},
      {"grep -n 第三 notes.txt", "找含有某字的行，带行号", "3:"},
      {"cp notes.txt data/copy.txt", "复制文件", ""},
      {"cp -r data data2", "复制文件夹要加 -r", ""},
      {"mv data/copy.txt data/raw/moved.txt", "移动，也用来改名", ""},
      {"ls data/raw", "列出文件", "moved.txt"},
      {"ls -lh notes.txt", "详细：权限、大小、时间", "notes.txt"},
      {"find . -name '*.txt' | sort", "按名字找文件", "./data/raw/moved.txt"},
      {"cat notes.txt | sort -r | head -n 1", "管道：前一个的输出是后一个的输入", "第"},
      {"du -sh data", "文件夹占多少空间", "data"},
      {"df -h .", "磁盘还剩多少", "%"},
      {"chmod +x notes.txt && test -x notes.txt && echo 可执行", "改权限", "可执行"},
      {"env | grep -c PATH", "环境变量", ""},
      {"sleep 0.01 & wait && echo 完成", "& 放到后台，wait 等它结束", "完成"},
      {"rm data2/raw/* ; rm -r data2 ; ls", "删除：没有回收站", "notes.txt"},
      {"man -w ls >/dev/null 2>&1 || ls --help | head -n 1", "命令的说明", ""},
  };
  report::Table table({"命令", "做什么", "结果"}, "Linux 命令清单");
  for (const Line& line : lines) {
    const Outcome outcome = run(folder, line.command);
    lesson.claim(line.command + "  # " + line.meaning, (line.command.starts_with("rm data2") || outcome.code == 0) &&
                                                           outcome.output.find(line.expected) != std::string::npos);
    const std::string first = outcome.output.substr(0, outcome.output.find('\n'));
    table.row({line.command, line.meaning,
               line.expected.empty() || first.size() > 40 ? "✓" : first.substr(first.rfind('/') + 1)});
  }
  lesson.picture("commands", table);

  lesson.section("文件系统里留下了什么");
  std::ifstream notes(folder / "notes.txt");
  int count = 0;
  for (std::string text; std::getline(notes, text);) ++count;
  lesson.value("commands", double(lines.size()));
  lesson.value("lines", count);
  lesson.equal("notes.txt 有 4 行：> 覆盖，>> 追加", count, 4);
  lesson.claim("移动之后，原来的地方没有了",
               fs::exists(folder / "data/raw/moved.txt") && !fs::exists(folder / "data/copy.txt"));
  lesson.claim("rm -r 之后，文件夹没有了", !fs::exists(folder / "data2"));
  fs::remove_all(folder);
  return lesson.finish();
}
