#include "serve/access.h"

#include <chrono>
#include <filesystem>

#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "serve/server_testing.h"

namespace sedum::serve {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST_F(ServeTest, KeysAreAskedFor) {
  start({.api_keys = {{.key = "right", .name = "r"}, {.key = "other", .name = "o"}}});
  expect_error(chat(), 401, "missing_api_key", nullptr, "API key");
  for (const char* wrong : {"Bearer wrong", "Bearer righ", "Bearer rightt", "Bearer ", "right", "Basic right"}) {
    expect_error(chat(json::object(), std::string("Authorization: ") + wrong + "\r\n"), 401, "invalid_api_key", nullptr,
                 "not known");
  }
  EXPECT_EQ(chat(json::object(), "Authorization: Bearer other\r\n").status, 200);
  EXPECT_EQ(send("GET", "/v1/models").status, 401);
  EXPECT_EQ(send("GET", "/v1/models/fake").status, 401);
  EXPECT_EQ(send("GET", "/health").status, 200);
  EXPECT_EQ(send("GET", "/").status, 200);  // the page asks for the key
}

TEST_F(ServeTest, OtherSitesPagesMayNotUseIt) {
  start();
  const std::string own = "Origin: http://localhost:" + std::to_string(port) + "\r\n";
  EXPECT_EQ(chat(json::object(), own).status, 200);
  expect_error(chat(json::object(), "Origin: https://evil.example\r\n"), 403, "forbidden_origin", nullptr,
               "other sites");
  EXPECT_EQ(chat(json::object(), "Origin: null\r\n").status, 403);
  http::Socket rebound(port);  // a name of theirs that points here
  rebound.send("GET /v1/models HTTP/1.1\r\nHost: evil.example:8080\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(rebound.read_all(), StartsWith("HTTP/1.1 403"));
}

TEST_F(ServeTest, WarnsWhenEverybodyMayAsk) {
  const auto exposed = [&](const std::string& host, std::vector<ApiKey> keys) {
    return Server({.host = host, .api_keys = std::move(keys)}).exposed();
  };
  EXPECT_FALSE(exposed("127.0.0.1", {}));
  EXPECT_FALSE(exposed("localhost", {}));
  EXPECT_FALSE(exposed("::1", {}));
  EXPECT_TRUE(exposed("0.0.0.0", {}));
  EXPECT_FALSE(exposed("0.0.0.0", {{.key = "key"}}));
}

TEST_F(ServeTest, KeysHaveBounds) {
  start({.api_keys = {{.key = "slow", .name = "s", .requests_per_minute = 2},
                      {.key = "few", .name = "f", .tokens_per_minute = 8},
                      {.key = "one", .name = "o", .concurrent = 1}}});
  const auto with = [&](const char* key) {
    return chat(json::object(), std::string("Authorization: Bearer ") + key + "\r\n");
  };
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(with("slow").status, 200);
  EXPECT_EQ(with("slow").status, 200);
  const Reply third = with("slow");
  expect_error(third, 429, "rate_limit_exceeded", nullptr, "2 requests a minute");
  const size_t at = third.head.find("Retry-After: ");
  ASSERT_NE(at, std::string::npos);
  const int wait = std::stoi(third.head.substr(at + 13));
  EXPECT_LE(wait, 30);
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begin;
  EXPECT_GE(wait, 30 - passed.count());  // what has passed is not waited for
  EXPECT_EQ(with("few").status, 200);    // ten tokens: now it has to wait
  expect_error(with("few"), 429, "rate_limit_exceeded", nullptr, "8 tokens a minute");
  engine.held = true;
  std::thread first([&] { EXPECT_EQ(with("one").status, 200); });
  while (parse_json(send("GET", "/health").body)["requests"] != 1) std::this_thread::yield();
  expect_error(with("one"), 429, "rate_limit_exceeded", nullptr, "1 requests in flight");
  engine.held = false;
  first.join();
  EXPECT_EQ(with("one").status, 200);
}

TEST(ApiKeys, AreReadFromAFile) {
  const auto path = std::filesystem::temp_directory_path() / ("sedum_keys_" + std::to_string(::getpid()));
  write_file(path, "# ours\n  one  \r\n\ntwo name=bob concurrent=3 requests_per_minute=60 # second\n");
  const std::vector<ApiKey> keys = read_api_keys(path);
  ASSERT_EQ(keys.size(), 2u);
  EXPECT_EQ(keys[0].key, "one");
  EXPECT_EQ(keys[1].name, "bob");
  EXPECT_EQ(keys[1].concurrent, 3);
  EXPECT_EQ(keys[1].requests_per_minute, 60);
  for (const char* bad : {"# none\n", "a\na\n", "a concurrent=0\n", "a concurrent=x\n", "a speed=3\n"}) {
    write_file(path, bad);
    EXPECT_THROW(read_api_keys(path), Error) << bad;
  }
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace sedum::serve
