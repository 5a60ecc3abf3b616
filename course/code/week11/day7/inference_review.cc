// 第 11 周第 7 天  推理复盘：几种框架，和这一周量出来的数
//
// 两张表。第一张说各个框架是做什么的，只有文字，没有速度：别人的速度要在同一张条件单上自己量（第 6 天）。
// 第二张是这一周各课的结果：数字从 result.json 里读出来，一个也不手写；哪一课没有通过，这一课也不算通过。
#include <cmath>

#include "base/file.h"
#include "base/json.h"
#include "course/frame/lesson.h"

using namespace sedum;
using course::Lesson;

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "推理优化复盘",
                 .difficulty = "不同框架适用场景",
                 .remedy = "一张按用途的表，一张按结果的表",
                 .bugs = {{"stale", "表里的数是手抄的，和结果对不上"}, {"unlinked", "有一行没有指向做出它的课"}}});

  lesson.section("一、框架：各做什么");
  report::Table frameworks({"框架", "跑在", "模型格式", "长处", "适合"}, "推理框架对比");
  frameworks.row({"transformers", "显卡、处理器", "safetensors", "模型最全，代码就是说明", "研究、核对答案"})
      .row({"vLLM", "显卡为主", "safetensors、GPTQ、AWQ", "分页缓存、连续批处理", "很多客户的服务"})
      .row({"TensorRT-LLM", "英伟达显卡", "编译出的引擎", "为一种显卡编译到底", "型号固定、要极限速度"})
      .row({"llama.cpp", "处理器、显卡", "GGUF", "一个程序，低位数", "自己的电脑、小设备"})
      .row({"Sedum", "处理器", "GGUF、safetensors", "训练与服务同一份代码，逐位可重现", "没有显卡时的全流程、学习"});
  lesson.table(frameworks);

  lesson.section("二、这一周量出来的");
  struct Row {
    std::string subject, place, key, meaning;
  };
  const std::vector<Row> rows = {
      {"束搜索", "week11/day1/generation_strategy", "trap_beam", "陷阱里束宽 2 的概率"},
      {"束搜索", "week11/day1/generation_strategy", "repeated_percent_8", "束宽 8 的重复（%）"},
      {"采样", "week11/day2/sampling_strategy", "entropy_t1", "温度 1 的熵（纳特）"},
      {"预留缓存", "week11/day3/paged_attention", "reserved_waste_percent", "浪费（%）"},
      {"分页缓存", "week11/day3/paged_attention", "paged_waste_percent", "浪费（%）"},
      {"静态批", "week11/day4/vllm_deploy", "static_busy_percent", "位置上有人（%）"},
      {"连续批", "week11/day4/vllm_deploy", "continuous_busy_percent", "位置上有人（%）"},
      {"原生，16 个客户", "week11/day6/infer_speed_compare", "native_steps_16", "要算的步数"},
      {"4 位整数乘", "week8/day6/quant_infer_speed", "bytes_ratio", "每个字少读几倍"}};
  report::Table table({"做法", "说的是", "数", "哪一课"}, "这一周量出来的（数字由程序读出）");
  double missing = 0, failed = 0, not_full = 0, not_equal = 0;
  for (const Row& row : rows) {
    const auto path = Lesson::kept_results() / row.place / "result.json";
    const std::string place = lesson.broken("unlinked") && &row == &rows[3] ? "" : row.place;
    const bool linked = !place.empty() && std::filesystem::exists(std::filesystem::path(SEDUM_SOURCE_DIR) /
                                                                  "course/code" / (place + ".cc"));
    if (!linked || !std::filesystem::exists(path)) {
      ++missing;
      continue;
    }
    const auto result = parse_json(read_file(path));
    failed += !result.at("passed").get<bool>(), not_full += result.at("quick").get<bool>();
    const double number = result.at("values").at(row.key).get<double>();
    const std::string shown = fmt::format("{:.4g}", lesson.broken("stale") ? number * 1.1 : number);
    not_equal += std::abs(std::stod(shown) / number - 1) > 5e-4;  // 四位有效数字：舍入至多万分之五
    table.row({row.subject, row.meaning, shown, row.place});
  }
  lesson.table(table);
  lesson.value("rows", double(rows.size()));
  lesson.equal("没有课、没有结果的行", missing, 0);
  lesson.equal("没有通过的课", failed, 0);
  lesson.equal("引的是快跑的结果", not_full, 0);
  lesson.equal("与结果对不上的数", not_equal, 0);
  lesson.picture("frameworks", report::Figure("", 1).add(frameworks).add(table));
  return lesson.finish();
}
