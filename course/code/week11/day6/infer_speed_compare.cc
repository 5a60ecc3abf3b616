// 第 11 周第 6 天  推理对比：原生、分页引擎、编译过的分页引擎，1、4、16 个客户
//
// 比较要公平：同一个文件、同样的位数和算法、同样的提示词和长度、同样的线程，轮流测，看中位数和 p95（一百个里第五慢的）。
// 这些写成一张“条件单”；两边的条件单不同，就不出表。先查回答相同，再谈快慢：算错的快没有意义。
//
//   原生：  一次一个请求，来的排队            分页引擎：  谁来都并进下一步（连续批处理、页式缓存）
//   编译：  同一个分页引擎，权重从存盘的文件映射，切块是在这台机器上量出来的（day5）
//
// 三种都是 Sedum 自己的，名字照实写。机器上装了 llama-cpp-python 的话，真正的同行也来：
//   SEDUM_PEERS=~/sedum-peers build/release/bin/course/week11/day6/infer_speed_compare      （bench/peers.sh 装的那个目录）
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <future>
#include <map>
#include <mutex>

#include "base/digest.h"
#include "base/file.h"
#include "base/json.h"
#include "compute/kernels/products_tune.h"
#include "course/frame/lesson.h"
#include "infer/local_engine.h"
#include "infer/sampler.h"
#include "model/checkpoint/export.h"
#include "report/plot.h"

using namespace sedum;
using course::Lesson;
namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using Ids = std::vector<int32_t>;

double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

using Manifest = std::map<std::string, std::string>;
// 不同的条件；空的才可以比。
std::vector<std::string> differences(const Manifest& a, const Manifest& b) {
  std::vector<std::string> all;
  for (const auto& [key, value] : a)
    if (b.count(key) == 0 || b.at(key) != value) all.push_back(key);
  return all;
}

// 真正的同行：SEDUM_PEERS 指的 Python 里的 llama.cpp。它出了错，就是空的。
nlohmann::json ask_peer(const fs::path& set, const fs::path& work, const nlohmann::json& request) {
  const fs::path python = fs::is_directory(set) ? set / "bin/python" : set;
  write_file(work / "request.json", request.dump());
  const std::string command =
      fmt::format("'{}' '{}' '{}' > '{}'", python.string(),
                  (fs::path(SEDUM_SOURCE_DIR) / "course/code/week11/day6/llama_cpp_peer.py").string(),
                  (work / "request.json").string(), (work / "peer.json").string());
  return std::system(command.c_str()) == 0 ? parse_json(read_file(work / "peer.json")) : nlohmann::json();
}

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "推理速度对比",
                 .difficulty = "对比实验环境不一致",
                 .remedy = "同样的条件单，先查回答相同，再看 p95",
                 .bugs = {{"shorter", "原生那边悄悄少写了一半的字"}, {"other_prompts", "两边的提示词不一样"}}});
  // 随机的参数：速度只看形状。Q4_0，整数乘，一个线程。
  const int64_t hidden = lesson.quick() ? 128 : 384, layers = lesson.quick() ? 2 : 6;
  const std::string config_json = fmt::format(
      R"({{"model_type": "llama", "vocab_size": 512, "hidden_size": {}, "intermediate_size": {}, "num_hidden_layers": {},
      "num_attention_heads": {}, "num_key_value_heads": {}, "head_dim": 64, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
      "tie_word_embeddings": true, "bos_token_id": 0, "eos_token_id": 2}})",
      hidden, 2 * hidden, layers, hidden / 64, hidden / 64);
  const fs::path work = lesson.out() / "work";
  fs::remove_all(work);
  fs::create_directories(work);
  Runtime runtime(1);
  {
    const Checkpoint blank =
        Checkpoint::untrained(config_json, fs::path(SEDUM_SOURCE_DIR) / "tests/golden/models/llama");
    RandomFactory factory(runtime.pool, runtime.arena, lesson.seed(), false, DType::kF32, Pack::kNone, 0.1f);
    build_model(blank.config(), factory);
    write_folder(work / "f32", blank, factory.parameters());
    write_gguf(work / "model.gguf", Checkpoint::open(work / "f32"), DType::kQ4_0,
               stored_values(Checkpoint::open(work / "f32")));
  }
  const auto load_start = Clock::now();
  const RuntimeModel model(runtime, work / "model.gguf", {.compute = Compute::kInt8});
  const double load_ms = milliseconds_since(load_start);
  // 编译：排好、量好、存盘，再从文件映射。
  const PackCacheOptions kept{.folder = work / "packed", .smallest = 0};
  {
    const Checkpoint checkpoint = Checkpoint::open(work / "model.gguf");
    PackedStore store(checkpoint, kept, runtime.pool.size());
    CheckpointFactory factory(checkpoint, CheckpointFactory::Use::kFrozen, runtime.pool, runtime.arena, Pack::kForward,
                              &store);
    build_model(checkpoint.config(), factory);
    std::vector<TunedCut> cuts;
    for (const auto& w : store.matrices())
      cuts.push_back({machine_name(runtime.pool.size()), packed_int8_panels(*w).dtype, w->rows(), w->cols(),
                      tune_product(runtime.pool, *w, 48, 3).cut});
    store.set_tuned(std::move(cuts));
    store.save();
  }
  const auto map_start = Clock::now();
  const RuntimeModel compiled(runtime, work / "model.gguf", {.compute = Compute::kInt8, .pack_cache = kept});
  const double map_ms = milliseconds_since(map_start);
  lesson.equal("编译过的：启动时还要排的矩阵", double(compiled.packed_store()->added()), 0);
  const int tokens = lesson.quick() ? 12 : 32, prompt_length = 48, rounds = lesson.quick() ? 1 : 3;
  const auto prompt = [&](int client, bool native) {
    Ids ids;
    for (int i = 0; i < prompt_length; ++i)
      ids.push_back(3 + (client * 37 + i * 11 + (native && lesson.broken("other_prompts") ? 5 : 0)) % 300);
    return ids;
  };
  const std::string file = fmt::format("{} 字节，sha256 {:.16}", fs::file_size(work / "model.gguf"),
                                       digest(work / "model.gguf", Checksum::Kind::kSha256));
  const auto manifest = [&](bool native) {
    Manifest m = {{"文件", file}, {"算法", name(model.compute())}};
    m["线程"] = std::to_string(runtime.pool.size()),
    m["要写的字"] = std::to_string(native && lesson.broken("shorter") ? tokens / 2 : tokens);
    uint64_t h = 14695981039346656037u;
    for (int client = 0; client < 16; ++client)
      for (const int32_t id : prompt(client, native)) h = (h ^ uint64_t(id)) * 1099511628211u;
    m["提示词"] = fmt::format("{:016x}", h);
    return m;
  };

  lesson.section("一、条件单");
  const Manifest ours = manifest(false), native_manifest = manifest(true);
  report::Table conditions({"条件", "分页引擎", "原生"});
  for (const auto& [key, value] : ours) conditions.row({key, value, native_manifest.at(key)});
  lesson.table(conditions);
  const std::vector<std::string> different = differences(ours, native_manifest);
  lesson.equal("不同的条件", double(different.size()), 0);
  Manifest altered = ours;
  altered["线程"] = "8";
  lesson.equal("改一个条件就查得出来", double(differences(ours, altered).size()), 1);
  if (!different.empty()) {
    lesson.say("  条件不同，不出表。");
    return lesson.finish();
  }
  lesson.predict("16 个客户一起来，排队要算的步数，是一起算至少要的几倍？", "steps_ratio_16");

  // 一轮：所有客户同时来，各一个请求。返回各人的等待（毫秒）和回答；steps 是算了几步。
  struct Round {
    std::vector<double> waits;
    std::map<int, Ids> answers;
    double steps = 0;
  };
  const auto native = [&](int clients) {
    PagedCache cache(runtime.arena, model.model().config(), DType::kBF16, 8);
    Context ctx = runtime.context(Compute::kInt8);
    Round round;
    const auto start = Clock::now();
    for (int client = 0; client < clients; ++client) {
      Ids ids = prompt(client, true);
      PagedSequence sequence;
      for (int made = 0; made < tokens; ++made, ++round.steps) {
        const int64_t rows = int64_t(ids.size()) - sequence.length;
        cache.reserve(sequence, rows);
        PagedStep step(cache, {{&sequence, rows}});
        Batch batch;
        batch.ids = std::make_shared<const Ids>(ids.end() - rows, ids.end()), batch.state = &step;
        for (int64_t i = 0; i < rows; ++i) batch.positions.push_back(int32_t(sequence.length + i));
        const Variable logits = model.model().logits(ctx, model.model().hidden_states(ctx, batch));
        step.commit();
        ids.push_back(argmax({logits.value().data<float>() + (rows - 1) * 512, 512}));
      }
      cache.release(sequence);
      round.waits.push_back(milliseconds_since(start));
      round.answers[client] = {ids.begin() + prompt_length, ids.end()};
    }
    return round;
  };
  const auto paged = [&](const RuntimeModel& weights, int clients) {
    LocalEngine engine(weights, {.cache_tokens = 4096, .prefix_cache = false});
    Round round;
    std::mutex mutex;
    std::promise<void> done;
    const auto start = Clock::now();
    for (int client = 0; client < clients; ++client)
      engine.submit(
          {.prompt = prompt(client, false), .sampling = {.temperature = 0, .max_tokens = tokens, .ignore_end = true}},
          [&, client, clients](const GenerationUpdate& update) {
            const std::lock_guard lock(mutex);
            if (update.id >= 0) round.answers[client].push_back(update.id);
            if (!update.last) return;
            round.waits.push_back(milliseconds_since(start));
            if (int(round.waits.size()) == clients) done.set_value();
          });
    done.get_future().get();
    round.steps = double(engine.statistics().steps);
    return round;
  };

  lesson.section("二、1、4、16 个客户，轮流测");
  lesson.say("  启动：排权重 {:.1f} 毫秒，映射编译好的 {:.1f} 毫秒", load_ms, map_ms);
  report::Table table({"客户", "原生 p50", "原生 p95", "分页 p50", "分页 p95", "编译 p50", "编译 p95", "步数之比"},
                      "等到最后一个字（毫秒）");
  report::Values native_p95, paged_p95, compiled_p95;
  double wrong = 0, slow_steps = 0;
  const auto percentile = [](std::vector<double> all, double share) {
    std::ranges::sort(all);
    return all[std::min(all.size() - 1, size_t(share * double(all.size())))];
  };
  for (const int clients : {1, 4, 16}) {
    std::vector<double> a, b, c;
    double native_steps = 0, paged_steps = 0;
    for (int round = 0; round < rounds; ++round) {
      const Round x = native(clients), y = paged(model, clients), z = paged(compiled, clients);
      a.insert(a.end(), x.waits.begin(), x.waits.end()), b.insert(b.end(), y.waits.begin(), y.waits.end());
      c.insert(c.end(), z.waits.begin(), z.waits.end());
      wrong += x.answers != y.answers || x.answers != z.answers, native_steps = x.steps,
                                                                 paged_steps = std::max(paged_steps, y.steps);
    }
    native_p95.push_back(percentile(a, 0.95)), paged_p95.push_back(percentile(b, 0.95));
    compiled_p95.push_back(percentile(c, 0.95));
    slow_steps += paged_steps > native_steps;
    table.row({std::to_string(clients), fmt::format("{:.1f}", percentile(a, 0.5)),
               fmt::format("{:.1f}", native_p95.back()), fmt::format("{:.1f}", percentile(b, 0.5)),
               fmt::format("{:.1f}", paged_p95.back()), fmt::format("{:.1f}", percentile(c, 0.5)),
               fmt::format("{:.1f}", compiled_p95.back()), fmt::format("{:.1f}", native_steps / paged_steps)});
    // 引擎的步数看请求到得多快，至少是一个人写的字数；用这个下界，数就每次相同。
    lesson.value(fmt::format("native_steps_{}", clients), native_steps);
    lesson.value(fmt::format("steps_ratio_{}", clients), native_steps / tokens, "一起算最多能省成一份");
  }
  lesson.table(table);
  lesson.equal("三边的回答逐字相同：不同的轮", wrong, 0);
  lesson.equal("分页引擎的步数比原生还多的", slow_steps, 0);

  lesson.section("三、真正的同行");
  nlohmann::json request = {{"model", (work / "model.gguf").string()},
                            {"tokens", tokens},
                            {"threads", runtime.pool.size()},
                            {"rounds", rounds},
                            {"clients", {1, 4, 16}}};
  for (int client = 0; client < 16; ++client) request["prompts"].push_back(prompt(client, false));
  const char* set = std::getenv("SEDUM_PEERS");
  if (!set || !*set) {
    lesson.say("  没有装（SEDUM_PEERS 没有设）：上面的三种都是 Sedum 自己的。");
  } else if (const nlohmann::json peer = ask_peer(set, work, request); peer.is_null()) {
    lesson.say("  {} 里的 llama.cpp 没有跑成（它说的在上面）：上面的三种都是 Sedum 自己的。", set);
  } else {
    const Manifest theirs = {{"文件", peer["file"].get<std::string>()},
                             {"线程", std::to_string(peer["threads"].get<int>())},
                             {"要写的字", std::to_string(peer["tokens"].get<int>())},
                             {"提示词", peer["prompts"].get<std::string>()}};
    Manifest shared = ours;
    shared.erase("算法");  // 各用各的整数乘法，键和值 llama.cpp 存 f16，Sedum 存 bf16：这正是要比的
    const std::vector<std::string> other = differences(shared, theirs);
    lesson.equal("同行的条件单：不同的条件", double(other.size()), 0);
    report::Table real({"客户", "llama.cpp p95", "Sedum 分页 p95", "Sedum 编译 p95", "逐字相同的回答"},
                       "等到最后一个字（毫秒），同行量完紧接着量我们的。llama.cpp：llama-cpp-python " +
                           peer["version"].get<std::string>());
    for (size_t i = 0; i < 3 && other.empty(); ++i) {
      const nlohmann::json& round = peer["rounds"][i];
      const int clients = round["clients"].get<int>();
      (void)paged(model, clients);  // 同行刚跑完，先热一热
      std::vector<double> b, c;
      Round mine;
      for (int again = 0; again < rounds; ++again) {
        mine = paged(model, clients);
        const Round other_way = paged(compiled, clients);
        b.insert(b.end(), mine.waits.begin(), mine.waits.end());
        c.insert(c.end(), other_way.waits.begin(), other_way.waits.end());
      }
      int same = 0;  // 两边各自取整，分数相近的字会选得不同
      for (int client = 0; client < clients; ++client)
        same += mine.answers.at(client) == round["answers"][size_t(client)].get<Ids>();
      real.row({std::to_string(clients),
                fmt::format("{:.1f}", percentile(round["waits"].get<std::vector<double>>(), 0.95)),
                fmt::format("{:.1f}", percentile(b, 0.95)), fmt::format("{:.1f}", percentile(c, 0.95)),
                fmt::format("{} / {}", same, clients)});
    }
    if (other.empty()) lesson.table(real);
  }
  fs::remove_all(work);
  report::Plot plot("p95：等到最后一个字", "客户", "毫秒");
  plot.categories({"1", "4", "16"})
      .bars("原生（排队）", native_p95)
      .bars("分页引擎", paged_p95)
      .bars("编译过的", compiled_p95);
  lesson.picture("speed", report::Figure("", 2).add(table).add(plot));
  return lesson.finish();
}
