// 第 11 周第 4 天  部署：连续批处理；模型格式不对时
//
//   静态批：  凑满一批一起算，等最长的那个写完，再换下一批        连续批：  谁写完谁走，空位立刻给下一个（Orca，2022）
//
// 一步同时算几行，权重只读一遍，所以批处理快；可是静态批里先写完的占着位置空等。连续批的步数不超过
// 总步数 ÷ 位置数 + 最长的一个（Graham 1969 的上界）。批里有谁都不许改变任何一个回答。
// 部署失败多半是文件不对：程序应当说出哪个文件、哪里不对、怎么办，而不是崩溃。
#include <algorithm>
#include <cmath>
#include <future>

#include "base/error.h"
#include "base/file.h"
#include "base/random.h"
#include "course/frame/lesson.h"
#include "infer/local_engine.h"
#include "infer/sampler.h"
#include "report/heatmap.h"

using namespace sedum;
using course::Lesson;
using Ids = std::vector<int32_t>;
namespace fs = std::filesystem;

struct Job {
  Ids ids;  // 提示词，和写出来的
  size_t prompt;
  int wanted, made = 0;
  PagedSequence pages = {};
};

int main(int argc, char** argv) {
  Lesson lesson(
      argc, argv,
      {.title = "部署：连续批处理与模型格式",
       .difficulty = "模型部署失败",
       .remedy = "先查文件，再查批处理：批里算的 = 单独算的",
       .bugs = {{"wait_all", "名为连续，其实等整批写完才补位"}, {"wrong_row", "取 logits 时错了一行：拿了邻座的"}}});
  lesson.exercise("两个位置，四个请求要写 8、2、2、2 个字，两个两个地凑成静态批。一共几步？", "static_example");
  lesson.predict("同样的请求，连续批的步数是静态批的百分之几？", "steps_percent");
  const fs::path golden = fs::path(SEDUM_SOURCE_DIR) / "tests/golden/models/llama";
  Runtime runtime(1);
  const RuntimeModel model(runtime, golden, {.compute = Compute::kF32});
  const size_t vocabulary = size_t(model.model().config().vocab_size);
  Context ctx = runtime.context(Compute::kF32);
  const Random random(lesson.seed(), Purpose::kTest);

  lesson.section("一、两种批处理，同样的请求");
  const int count = lesson.quick() ? 16 : 48;
  constexpr size_t kPlaces = 4;
  std::vector<Job> jobs;
  for (uint64_t i = 0; i < uint64_t(count); ++i) {
    Job job{{},
            4 + random.below(30, i * 100),
            int(4 + (random.below(5, i * 100 + 1) == 0 ? 50 : random.below(16, i * 100 + 2)))};
    for (size_t t = 0; t < job.prompt; ++t) job.ids.push_back(int32_t(3 + random.below(300, i * 100 + 10 + t)));
    jobs.push_back(job);
  }
  // 一步：各个位置上还没有算的记号一起算，每条各取最后一行。places[p] 是请求的编号，−1 是空的。
  PagedCache cache(runtime.arena, model.model().config(), DType::kF32, 64);
  bool room = true;
  const auto step = [&](std::vector<Job>& all, const std::vector<int>& places) {
    std::vector<PagedStep::Part> parts;
    Batch batch;
    Ids ids;
    std::vector<size_t> last;  // 每条的最后一行
    std::vector<int> who;
    for (const int p : places) {
      if (p < 0) continue;
      Job& job = all[size_t(p)];
      const int64_t begin = job.pages.length, rows = int64_t(job.ids.size()) - begin;
      room = room && cache.reserve(job.pages, rows);
      parts.push_back({&job.pages, rows});
      for (int64_t i = 0; i < rows; ++i)
        ids.push_back(job.ids[size_t(begin + i)]), batch.positions.push_back(int32_t(begin + i));
      last.push_back(ids.size() - 1), who.push_back(p);
    }
    PagedStep pages(cache, parts);
    batch.ids = std::make_shared<const Ids>(ids), batch.state = &pages;
    const Variable logits = model.model().logits(ctx, model.model().hidden_states(ctx, batch));
    pages.commit();
    for (size_t i = 0; i < who.size(); ++i) {
      const size_t row = lesson.broken("wrong_row") ? last[(i + 1) % last.size()] : last[i];
      Job& job = all[size_t(who[i])];
      job.ids.push_back(argmax({logits.value().data<float>() + row * vocabulary, vocabulary})), ++job.made;
    }
  };
  // 从头到尾；film 记下每一步每个位置是谁。
  using Film = std::vector<std::vector<double>>;
  const auto serve = [&](std::vector<Job> all, size_t width, bool continuous, Film& film) {
    std::vector<int> places(width, -1);
    size_t next = 0;
    film.assign(width, {});
    for (;;) {
      const bool empty = std::ranges::all_of(places, [](int p) { return p < 0; });
      for (int& p : places)
        if (p < 0 && next < all.size() && (continuous || empty)) p = int(next++);
      if (std::ranges::all_of(places, [](int p) { return p < 0; })) break;
      for (size_t p = 0; p < width; ++p) film[p].push_back(places[p] < 0 ? NAN : 1 + places[p] % 5);
      step(all, places);
      for (int& p : places)
        if (p >= 0 && all[size_t(p)].made == all[size_t(p)].wanted) cache.release(all[size_t(p)].pages), p = -1;
    }
    return all;
  };
  Film still, flow, unused;
  const auto in_batches = serve(jobs, kPlaces, false, still),
             flowing = serve(jobs, kPlaces, !lesson.broken("wait_all"), flow);
  const auto alone = serve(jobs, 1, false, unused);
  double wrong = 0, work = 0, longest = 0;
  for (size_t i = 0; i < jobs.size(); ++i) {
    wrong += in_batches[i].ids != alone[i].ids, wrong += flowing[i].ids != alone[i].ids;
    work += jobs[i].wanted, longest = std::max(longest, double(jobs[i].wanted));
  }
  const double static_steps = lesson.value("static_steps", double(still[0].size())),
               flow_steps = lesson.value("continuous_steps", double(flow[0].size()));
  lesson.value("requests", count), lesson.value("tokens", work, "要写的字"),
      lesson.value("steps_percent", 100 * flow_steps / static_steps);
  lesson.value("static_busy_percent", 100 * work / (kPlaces * static_steps), "位置上有人的时候"),
      lesson.value("continuous_busy_percent", 100 * work / (kPlaces * flow_steps));
  lesson.value("static_example", 8 + 2, "第一批等那个 8");
  lesson.equal("批里的回答与单独的不同的（逐字比较）", wrong, 0);
  lesson.at_most("连续批的步数不超过 总数 ÷ 位置 + 最长的", flow_steps, work / kPlaces + longest);
  lesson.at_most("连续批比静态批少", flow_steps, static_steps - 1);
  lesson.claim("页够用", room);

  lesson.section("二、真的引擎：十几个客户同时来");
  {
    LocalEngine engine(model, {.max_sequences = int64_t(kPlaces)});
    std::vector<std::future<Generation>> answers;
    for (const Job& job : jobs)
      answers.push_back(std::async(std::launch::async, [&engine, &job] {
        return generate(
            engine, {.prompt = job.ids, .sampling = {.temperature = 0, .max_tokens = job.wanted, .ignore_end = true}});
      }));
    double different = 0;
    for (size_t i = 0; i < answers.size(); ++i) {
      Ids whole = jobs[i].ids;
      const Generation answer = answers[i].get();
      whole.insert(whole.end(), answer.ids.begin(), answer.ids.end());
      different += whole != alone[i].ids;
    }
    lesson.equal("引擎的回答与单独算的不同的", different, 0);
    lesson.equal("写出的字一个不少", double(engine.statistics().generated_tokens), work);
  }

  lesson.section("三、部署失败：六种坏掉的文件夹");
  struct Damage {
    std::string what, file;
    std::function<void(const fs::path&)> make;
  };
  const auto replace = [](const fs::path& file, const std::string& from, const std::string& to) {
    std::string text = read_file(file);
    text.replace(text.find(from), from.size(), to);
    write_file(file, text);
  };
  const std::vector<Damage> damages = {
      {"没有 config.json", "config.json", [](const fs::path& f) { fs::remove(f / "config.json"); }},
      {"只有 pytorch_model.bin", "safetensors",
       [](const fs::path& f) { fs::rename(f / "model.safetensors", f / "pytorch_model.bin"); }},
      {"下载中断，文件短了一截", "model.safetensors",
       [](const fs::path& f) { fs::resize_file(f / "model.safetensors", fs::file_size(f / "model.safetensors") / 2); }},
      {"不认得的架构", "config.json",
       [&](const fs::path& f) {
         replace(f / "config.json", "\"model_type\": \"llama\"", "\"model_type\": \"mystery\"");
       }},
      {"层数写多了", "model.layers.3",
       [&](const fs::path& f) { replace(f / "config.json", "\"num_hidden_layers\": 3", "\"num_hidden_layers\": 4"); }},
      {"其实是网页（登录页）", "model.safetensors",
       [](const fs::path& f) { write_file(f / "model.safetensors", "<!DOCTYPE html><title>Log in</title>"); }}};
  double unclear = 0, other = 0;
  for (const Damage& damage : damages) {
    const fs::path folder = lesson.out() / "broken-model";
    fs::remove_all(folder);
    fs::copy(golden, folder);
    damage.make(folder);
    std::string problem = "没有报错";
    try {
      RuntimeModel(runtime, folder, {.compute = Compute::kF32});
    } catch (const Error& e) {
      problem = e.what();
    } catch (const std::exception& e) {
      problem = e.what(), ++other;
    }
    unclear += problem.find(damage.file) == std::string::npos;
    for (size_t at; (at = problem.find(folder.string())) != std::string::npos;)
      problem.replace(at, folder.string().size(), folder.filename().string());
    lesson.say("  {}\n      → {}", damage.what, problem);
    fs::remove_all(folder);
  }
  lesson.value("damages", double(damages.size()));
  lesson.equal("没有说出是哪个文件（或哪个张量）的", unclear, 0);
  lesson.equal("不是以 Error 结束的", other, 0);

  const auto picture = [&](const std::string& title, Film film) {
    const size_t shown = std::min<size_t>(still[0].size(), 90);
    for (auto& row : film) row.resize(shown, NAN);
    report::Heatmap heat(title, film);
    heat.rows({"位置 1", "位置 2", "位置 3", "位置 4"}).cell({8, 26}).digits(0).range(0, 6);
    return heat;
  };
  lesson.picture("batching",
                 report::Figure("", 1)
                     .add(picture(fmt::format("静态批，共 {:.0f} 步（前 90 步；白的是空等）", static_steps), still))
                     .add(picture(fmt::format("连续批，共 {:.0f} 步", flow_steps), flow)));
  return lesson.finish();
}
