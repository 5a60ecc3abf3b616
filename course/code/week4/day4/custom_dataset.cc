// 第 4 周第 4 天  数据加载：多个线程，同样的次序
//
// 训练每一步要一批数据。读得慢，处理器就空等。常见的办法是多开几个线程预先读；常见的错误是读乱了次序，或者丢了行。
// 这里的做法：第 s 步的批次只由 (种子, s) 决定，谁来读都一样。线程只是提前把第 s+1、s+2 … 步做好，放进一个有限的队列。
#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "base/random.h"
#include "course/frame/lesson.h"
#include "data/loader.h"
#include "report/plot.h"

using namespace sedum;
using course::Lesson;

// 一个自定义的数据集：n 行，长短不一；第 i 行的每个记号都是 i，这样从批次里就认得出它来自哪一行。
std::vector<data::Sample> make_rows(int n, uint64_t seed) {
  const Random random(seed, Purpose::kTest);
  std::vector<data::Sample> rows;
  for (int i = 0; i < n; ++i) {
    const size_t length = 8 + size_t(random.below(56, uint64_t(i)));
    data::Sample row;
    row.ids.assign(length, i), row.labels = row.ids;
    rows.push_back(row);
  }
  return rows;
}

// 一批里有哪些行，依次。
std::vector<int> rows_of(const data::StepBatch& batch) {
  std::vector<int> rows;
  for (const data::Segment& s : batch.segments) rows.push_back(batch.ids[size_t(s.begin)]);
  return rows;
}

// 预取：workers 个线程各自领下一个步号，做好了放进 ready；取的人按步号依次取。队列里最多 depth 批，内存不会涨。
class Prefetcher {
 public:
  using Make = std::function<data::StepBatch(int64_t)>;
  Prefetcher(Make make, int workers, int64_t steps, int64_t depth, bool any_order)
      : make_(std::move(make)), steps_(steps), depth_(depth), any_order_(any_order) {
    for (int w = 0; w < workers; ++w) threads_.emplace_back([this] { work(); });
  }
  ~Prefetcher() {
    for (std::thread& t : threads_) t.join();
  }
  data::StepBatch next() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return any_order_ ? !ready_.empty() : ready_.count(taken_) > 0; });
    auto found = any_order_ ? std::prev(ready_.end()) : ready_.find(taken_);
    data::StepBatch batch = std::move(found->second);
    ready_.erase(found), ++taken_;
    changed_.notify_all();
    return batch;
  }

 private:
  void work() {
    for (;;) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return claimed_ >= steps_ || claimed_ < taken_ + depth_; });
      if (claimed_ >= steps_) return;
      const int64_t step = claimed_++;
      lock.unlock();
      data::StepBatch batch = make_(step);  // 慢的部分，锁外面做
      lock.lock();
      ready_.emplace(step, std::move(batch));
      changed_.notify_all();
    }
  }
  Make make_;
  int64_t steps_, depth_, claimed_ = 0, taken_ = 0;
  bool any_order_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<int64_t, data::StepBatch> ready_;
  std::vector<std::thread> threads_;
};

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "数据加载：自定义数据集与多线程",
                 .difficulty = "数据加载效率低",
                 .remedy = "实现自定义数据集，测试 1、2、4、8 个线程",
                 .bugs = {{"first_come", "谁先做好就先用谁：批次的次序随线程而变"},
                          {"lost", "最后一批不满就扔掉：每一轮都丢几行"},
                          {"reseed", "每一轮用同一个次序：打乱只发生了一次"}}});
  const int rows = lesson.quick() ? 101 : 1001, batch_size = 4;
  lesson.exercise(fmt::format("{} 行，每批 {} 行，一轮是多少步？", rows, batch_size), "steps_per_epoch");
  data::Loader loader(make_rows(rows, lesson.seed()),
                      {.batch_size = batch_size, .drop_last = lesson.broken("lost"), .seed = lesson.seed()});
  const int64_t steps = loader.steps_per_epoch();
  lesson.value("rows", rows);
  lesson.value("steps_per_epoch", double(steps), "向上取整：最后一批只有一行");

  // 一批的代价：等磁盘 2 毫秒（睡眠，不占处理器），再拼成一批。等待可以叠在一起，所以线程能帮忙。
  const auto wait = std::chrono::microseconds(lesson.quick() ? 500 : 2000);
  const auto make = [&](int64_t step) {
    std::this_thread::sleep_for(wait + (step % 5 == 0 ? 2 * wait : wait * 0));  // 有的批次慢三倍：次序最容易在这里乱
    return loader.batch(step);
  };

  lesson.section("1、2、4、8 个线程");
  std::vector<std::vector<int>> seen;
  report::Values workers, throughput;
  for (const int w : {1, 2, 4, 8}) {
    const auto start = std::chrono::steady_clock::now();
    std::vector<int> order;
    Prefetcher prefetcher(make, w, steps, 2 * w, lesson.broken("first_come"));
    for (int64_t s = 0; s < steps; ++s)
      for (const int row : rows_of(prefetcher.next())) order.push_back(row);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    workers.push_back(w), throughput.push_back(double(rows) / seconds);
    seen.push_back(order);
    lesson.say("{} 个线程：{:.0f} 行/秒", w, throughput.back());
  }
  lesson.say("4 个线程是 1 个的 {:.1f} 倍（等待重叠了；处理器忙的时候线程帮不上忙）", throughput[2] / throughput[0]);

  lesson.section("同样的次序，一行不丢");
  for (size_t i = 1; i < seen.size(); ++i)
    lesson.claim(fmt::format("{} 个线程与 1 个线程次序相同", int(workers[i])), seen[i] == seen[0]);
  const std::set<int> different(seen[0].begin(), seen[0].end());
  lesson.equal("一轮里没有出现的行", double(rows) - double(different.size()), 0);
  lesson.equal("一轮里出现两次的行", double(seen[0].size()) - double(different.size()), 0);
  const auto epoch = [&](const data::Loader& from, int64_t e) {
    std::vector<int> order;
    for (int64_t s = 0; s < steps; ++s)
      for (const int row : rows_of(from.batch((lesson.broken("reseed") ? 0 : e) * steps + s))) order.push_back(row);
    return order;
  };
  lesson.claim("第二轮的次序与第一轮不同", epoch(loader, 0) != epoch(loader, 1));
  const data::Loader again(make_rows(rows, lesson.seed()), loader.config());
  lesson.claim("重新打开数据，直接从第二轮读起，次序还是那样：它只由种子和步号决定",
               epoch(again, 1) == epoch(loader, 1));

  report::Plot plot("预取线程与吞吐量", "线程数", "行 / 秒");
  plot.line("每批等 2 毫秒磁盘", workers, throughput).line("理想：与线程数成正比", workers, [&] {
    report::Values ideal;
    for (const double w : workers) ideal.push_back(throughput[0] * w);
    return ideal;
  }());
  lesson.picture("throughput", plot);
  return lesson.finish();
}
