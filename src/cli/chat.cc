// sedum chat

#include "infer/chat.h"

#include <atomic>
#include <csignal>
#include <cstdio>
#include <iostream>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/sampling.h"
#include "infer/local_engine.h"

namespace sedum::cli {
namespace {

// Ctrl-C ends an answer; at the prompt it ends the program.
std::atomic<bool> interrupted{false}, answering{false};
void on_interrupt(int) {
  if (!answering) std::_Exit(130);
  interrupted = true;
}

struct ChatOptions : ModelOptions {
  std::string system;
  SamplingParams sampling{.temperature = 0.7f, .top_p = 0.9f, .max_tokens = 1024};
  EngineChoices engine = {};
};

class Chat {
 public:
  explicit Chat(const ChatOptions& options)
      : options_(options), loaded_(options), chosen_(loaded_.model, options.engine) {
    reset();
  }

  void run() {
    fmt::print("{} · {} tokens of context · /help for commands, Ctrl-C stops an answer, Ctrl-D ends\n",
               engine_.model_name(), engine_.context_length());
    std::signal(SIGINT, on_interrupt);
    for (std::string line; prompt(), std::getline(std::cin, line);) {
      if (line.empty()) continue;
      if (line[0] == '/') {
        if (!command(line)) return;
      } else {
        ask(line);
      }
    }
    fmt::print("\n");
  }

 private:
  void prompt() const {
    fmt::print("{}> {}", color_terminal() ? "\033[1;32m" : "", color_terminal() ? "\033[0m" : "");
    std::fflush(stdout);
  }

  void reset() {
    messages_ = nlohmann::ordered_json::array();
    if (!options_.system.empty()) messages_.push_back({{"role", "system"}, {"content", options_.system}});
  }

  bool command(const std::string& line) {
    if (line == "/quit" || line == "/exit") return false;
    if (line == "/reset") {
      reset();
      fmt::print("A new conversation.\n");
    } else if (line.starts_with("/save ")) {
      write_file(line.substr(6), messages_.dump(2) + "\n");
      fmt::print("Saved to {}.\n", line.substr(6));
    } else {
      fmt::print("/reset begins anew, /save FILE writes the conversation as JSON, /quit ends.\n");
    }
    return true;
  }

  // Drops the oldest questions with their answers until an answer fits beside the rest, and says so.
  std::vector<int32_t> fitting_prompt() {
    for (int dropped = 0;; ++dropped) {
      std::vector<int32_t> ids = chat_prompt(engine_, messages_);
      const size_t first = !messages_.empty() && messages_[0]["role"] == "system" ? 1 : 0;
      const int64_t room = engine_.context_length() - int64_t(ids.size());
      if (room >= std::min<int64_t>(256, engine_.context_length() / 4) || messages_.size() <= first + 1) {
        if (dropped)
          fmt::print("[the context is full: the oldest {} left out]\n",
                     dropped == 1 ? "exchange is" : std::to_string(dropped) + " exchanges are");
        return ids;
      }
      messages_.erase(first);
      while (messages_.size() > first + 1 && messages_[first]["role"] != "user") messages_.erase(first);
    }
  }

  void ask(const std::string& question) {
    messages_.push_back({{"role", "user"}, {"content", question}});
    try {
      const std::string answer = stream(fitting_prompt());
      messages_.push_back({{"role", "assistant"}, {"content", answer}});
    } catch (const Error& e) {
      messages_.erase(messages_.size() - 1);
      fmt::print("{}\n", e.what());
    }
  }

  std::string stream(std::vector<int32_t> ids) {
    std::mutex mutex;
    std::condition_variable changed;
    std::string pending, answer, error;
    bool done = false;
    int tokens = 0;
    interrupted = false, answering = true;
    const auto start = std::chrono::steady_clock::now();
    SamplingParams sampling = options_.sampling;
    sampling.seed += uint64_t(messages_.size());  // another draw for each turn, the same in every run
    const RequestId id =
        engine_.submit({.prompt = std::move(ids), .sampling = sampling, .adapter = first_adapter(engine_)},
                       [&](const GenerationUpdate& update) {
                         std::lock_guard lock(mutex);
                         pending += update.text, tokens = update.completion_tokens;
                         if (update.finish) done = true, error = update.error;
                         changed.notify_one();
                       });
    std::unique_lock lock(mutex);
    for (bool cancelled = false;;) {
      changed.wait_for(lock, std::chrono::milliseconds(50), [&] { return !pending.empty() || done; });
      fmt::print("{}", pending);
      std::fflush(stdout);
      answer += std::exchange(pending, "");
      if (done) break;
      if (interrupted && !std::exchange(cancelled, true)) engine_.cancel(id);
    }
    answering = false;
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    fmt::print("\n{}[{}{} tokens, {:.1f} tokens/s]{}\n", color_terminal() ? "\033[2m" : "",
               interrupted ? "stopped; " : "", tokens, tokens / seconds, color_terminal() ? "\033[0m" : "");
    if (!error.empty()) throw Error(error);
    return answer;
  }

  const ChatOptions options_;
  LoadedModel loaded_;
  ChosenEngine chosen_;
  LocalEngine& engine_ = chosen_.engine();
  nlohmann::ordered_json messages_;
};

}  // namespace
}  // namespace sedum::cli

SEDUM_COMMAND(chat) {
  auto o = std::make_shared<ChatOptions>();
  add_model_options(app, *o, "int8");
  app.add_option("--system", o->system, "the system message");
  add_sampling_options(app, o->sampling);
  add_engine_options(app, o->engine);
  app.footer("example: sedum chat --model qwen2.5-coder-0.5b --adapter runs/succulent/adapter");
  return [o] { Chat(*o).run(); };
}
