// 第 4 周第 2 天  环境冲突：先制造一个，再隔离它
//
// 两个项目需要同一个包的不同版本。装在一起，后装的把先装的盖掉，先写好的项目就坏了。办法是一个项目一个环境：
// 一个只属于它的文件夹，解释器只在那里找包。conda 和 venv 都是这个道理；这里用 Python 自带的 venv，不需要网络。
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "base/file.h"
#include "course/frame/lesson.h"
#include "report/diagram.h"

using namespace sedum;
using course::Lesson;
namespace fs = std::filesystem;

struct Outcome {
  std::string output;
  int code;
};
Outcome run(const std::string& command) {
  FILE* pipe = popen(("{ " + command + "; } 2>&1").c_str(), "r");
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
                {.title = "独立的环境",
                 .difficulty = "环境冲突问题",
                 .remedy = "制造一次冲突，再给每个项目一个环境",
                 .bugs = {{"shared", "两个项目共用一个环境：隔离没有发生"}}});
  lesson.exercise("共用一个环境，先装 1.0 再装 2.0。需要 1.0 的项目看到的版本是几（主版本号）？", "seen_in_shared");
  const fs::path root = fs::path(lesson.out()) / "环境";
  fs::remove_all(root);

  lesson.section("同一个包的两个版本");
  // 包 soil：1.0 的 water() 返回毫升数，2.0 返回 (毫升, 天数)。两个版本都合理，但不能同时是“soil”。
  const auto write_package = [&](const fs::path& where, int version) {
    fs::create_directories(where / "soil");
    write_file(where / "soil" / "__init__.py", fmt::format("version = {}\n\ndef water():\n    return {}\n", version,
                                                           version == 1 ? "120" : "(120, 14)"));
  };
  const std::string old_project = "import soil; print(soil.version, soil.water() * 2)";  // 为 1.0 写的
  const std::string new_project = "import soil; print(soil.version, soil.water()[1])";   // 为 2.0 写的

  lesson.section("冲突：装在一起");
  const fs::path shared = root / "shared";
  const auto in_shared = [&](const std::string& code) {
    return run("PYTHONDONTWRITEBYTECODE=1 PYTHONPATH='" + shared.string() + "' python3 -c '" + code + "'");
  };
  write_package(shared, 1);
  const Outcome before = in_shared(old_project);
  lesson.say("装了 1.0，旧项目：{}", before.output);
  write_package(shared, 2);  // 后装的把先装的盖掉
  const Outcome old_after = in_shared(old_project), new_after = in_shared(new_project);
  lesson.say("又装了 2.0，旧项目：{}", old_after.output);
  lesson.say("又装了 2.0，新项目：{}", new_after.output);
  lesson.claim("只有 1.0 时，旧项目算对了", before.output == "1 240");
  lesson.value("seen_in_shared", old_after.output.empty() ? 0 : old_after.output[0] - '0');
  lesson.claim("装了 2.0，旧项目的结果变了，而且没有报错：最坏的一种坏法",
               old_after.code == 0 && old_after.output != before.output);

  lesson.section("隔离：一个项目一个环境");
  const auto environment = [&](const std::string& name, int version) {
    const fs::path where = root / (lesson.broken("shared") ? "one" : name);
    const Outcome made = run("python3 -m venv --without-pip '" + where.string() + "'");
    lesson.claim("python3 -m venv --without-pip " + name, made.code == 0);
    const Outcome site =
        run("'" + (where / "bin/python").string() + "' -c 'import site; print(site.getsitepackages()[0])'");
    write_package(site.output, version);
    return where / "bin/python";
  };
  const fs::path old_python = environment("old", 1), new_python = environment("new", 2);
  const Outcome old_alone = run("'" + old_python.string() + "' -B -c '" + old_project + "'");
  const Outcome new_alone = run("'" + new_python.string() + "' -B -c '" + new_project + "'");
  lesson.say("旧环境：{}", old_alone.output);
  lesson.say("新环境：{}", new_alone.output);
  lesson.claim("旧项目又算对了", old_alone.output == "1 240");
  lesson.claim("新项目也对", new_alone.output == "2 14");

  lesson.section("环境能重建，才算有环境");
  // 环境本身不进版本库；进版本库的是一张清单，照着它能重新做出一个来。
  const Outcome prefix = run("'" + old_python.string() + "' -c 'import sys; print(sys.prefix != sys.base_prefix)'");
  lesson.claim("解释器知道自己在环境里：sys.prefix ≠ sys.base_prefix", prefix.output == "True");
  fs::remove_all(root / "old");
  const fs::path again = environment("old", 1);
  lesson.claim("删掉再照清单重做，结果一样",
               run("'" + again.string() + "' -B -c '" + old_project + "'").output == "1 240");

  report::Diagram picture("一个环境一个文件夹");
  picture.box("os", "系统的 python3", 0, 1, report::Diagram::Look::kStrong)
      .box("old", "环境 old\nsoil 1.0", 1, 0)
      .box("new", "环境 new\nsoil 2.0", 1, 2)
      .box("a", "旧项目 → 240 ✓", 2, 0, report::Diagram::Look::kSoft)
      .box("b", "新项目 → 14 ✓", 2, 2, report::Diagram::Look::kSoft)
      .box("s", "装在一起\nsoil 1.0 → 2.0", 1, 1, report::Diagram::Look::kDashed)
      .box("c", "旧项目：结果悄悄变了 ✗", 2, 1, report::Diagram::Look::kDashed);
  picture.arrow("os", "old", "venv").arrow("os", "new", "venv").arrow("os", "s", "", true);
  picture.arrow("old", "a").arrow("new", "b").arrow("s", "c", "", true);
  lesson.picture("isolation", picture);
  fs::remove_all(root);
  return lesson.finish();
}
