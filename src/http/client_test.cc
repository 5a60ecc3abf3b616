#include "http/client.h"

#include <memory>
#include <mutex>
#include <thread>

#include <gmock/gmock.h>
#include <unistd.h>

#include "base/file.h"
#include "http/server.h"
#include "http/socket_for_test.h"

namespace sedum::http {
namespace fs = std::filesystem;
namespace {

using ::testing::HasSubstr;

// A file server whose behaviour the tests choose.
struct ClientTest : ::testing::Test {
  ClientTest() : server({.port = 0}) {
    for (int i = 0; i < 200000; ++i) content += std::to_string(i) + "\n";
    server.route("GET", "/file", [this](const Request& r, Exchange e) { serve(r, e); });
    server.route("GET", "/moved", [](const Request&, Exchange e) {
      e.respond({.status = 302, .headers = {{"Location", "/file"}}});
    });
    server.route("GET", "/loop", [](const Request&, Exchange e) {
      e.respond({.status = 302, .headers = {{"Location", "/loop"}}});
    });
    server.route("GET", "/list", [](const Request&, Exchange e) {
      e.respond({.body = "page 1", .headers = {{"Link", "<http://x/list?page=2>; rel=\"next\""}}});
    });
    server.route("GET", "/forbidden", [](const Request&, Exchange e) { e.respond({.status = 403}); });
    server.route("GET", "/silent", [this](const Request&, Exchange e) { held.push_back(e); });
    server.start();
    fs::create_directories(folder);
  }
  ~ClientTest() override {
    for (std::thread& thread : cutters) thread.join();
    fs::remove_all(folder);
  }

  void serve(const Request& r, const Exchange& e) {
    std::lock_guard lock(mutex);
    last_range = r.header("range");
    last_if_range = r.header("if-range");
    size_t start = 0;
    const bool same = last_if_range.empty() || last_if_range == etag;
    const bool partial = ranges && same && last_range.starts_with("bytes=");
    if (partial) start = std::stoul(last_range.substr(6));
    Response response{.status = partial ? 206 : 200, .content_type = "application/octet-stream"};
    if (!etag.empty()) response.headers.emplace_back("ETag", etag);
    if (partial && start >= content.size()) {
      return e.respond({.status = 416, .headers = {{"Content-Range", "bytes */" + std::to_string(content.size())}}});
    }
    if (partial) {
      response.headers.emplace_back("Content-Range", "bytes " + std::to_string(start) + "-" +
                                                         std::to_string(content.size() - 1) + "/" +
                                                         std::to_string(content.size()));
    }
    if (cut_after == 0) {
      response.body = content.substr(start);
      return e.respond(response);
    }
    response.body = content.substr(start, cut_after);
    e.begin(response);
    cutters.emplace_back([e, all = arrived] { EXPECT_TRUE(all->wait()); });  // then dropped
  }

  std::string url(const std::string& path) const { return server.address() + path; }

  fs::path folder = fs::temp_directory_path() / ("sedum_client_test_" + std::to_string(::getpid()));
  fs::path part = folder / "file.part";
  std::mutex mutex;
  std::string content, etag = "\"v1\"", last_range, last_if_range;
  bool ranges = true;
  size_t cut_after = 0;
  std::vector<Exchange> held;
  std::vector<std::thread> cutters;
  std::shared_ptr<Flag> arrived;  // what comes before the cut
  Server server;
};

TEST_F(ClientTest, HeadTellsTheSize) {
  const RemoteFile file = head(url("/moved"));
  EXPECT_EQ(file.size, content.size());
  EXPECT_EQ(file.etag, "\"v1\"");
}

TEST_F(ClientTest, GetsAPageAndItsNext) {
  const Page page = get_page(url("/list"));
  EXPECT_EQ(page.body, "page 1");
  EXPECT_EQ(page.next, "http://x/list?page=2");
  EXPECT_THROW(get(url("/file"), {}, 1000), Error);
}

TEST_F(ClientTest, DownloadsThroughARedirectAndTellsProgress) {
  uint64_t last = 0, told_total = 0;
  download(url("/moved"), part, {.progress = [&](uint64_t done, uint64_t total) { last = done, told_total = total; }});
  EXPECT_EQ(read_file(part), content);
  EXPECT_EQ(last, content.size());
  EXPECT_EQ(told_total, content.size());
}

// Cuts the first attempt, then goes on; returns the range that the second one asked for.
void cut_then_resume(ClientTest& t, bool checksum_follows) {
  t.cut_after = 300000;
  t.arrived = std::make_shared<Flag>();
  const auto progress = [&](uint64_t done, uint64_t) {
    if (done == t.cut_after) t.arrived->set();
  };
  try {
    download(t.url("/file"), t.part, {.checksum_follows = checksum_follows, .progress = progress});
    FAIL() << "a cut transfer was taken for whole";
  } catch (const HttpError& e) {
    EXPECT_EQ(e.status, 0);
    EXPECT_THAT(e.what(), HasSubstr("cut off"));
  }
  EXPECT_EQ(fs::file_size(t.part), 300000u);
  t.cut_after = 0;
}

TEST_F(ClientTest, ResumesWhenTheServerConfirmsTheFile) {
  cut_then_resume(*this, false);
  download(url("/file"), part);
  EXPECT_EQ(last_range, "bytes=300000-");
  EXPECT_EQ(last_if_range, "\"v1\"");
  EXPECT_EQ(read_file(part), content);
}

TEST_F(ClientTest, StartsAnewWhenTheFileHasChanged) {
  cut_then_resume(*this, false);
  etag = "\"v2\"";
  content[5] = '!';
  download(url("/file"), part);
  EXPECT_EQ(read_file(part), content);
}

TEST_F(ClientTest, StartsAnewWhenTheServerHasNoRangesOrNoTag) {
  cut_then_resume(*this, false);
  ranges = false;
  download(url("/file"), part);
  EXPECT_EQ(read_file(part), content);
  fs::remove(part);
  etag = "W/\"weak\"";
  cut_then_resume(*this, false);
  download(url("/file"), part);
  EXPECT_EQ(last_range, "");
  EXPECT_EQ(read_file(part), content);
}

TEST_F(ClientTest, WithAChecksumAheadItResumesFromAnySource) {
  cut_then_resume(*this, true);
  etag = "\"another server's\"";
  download(url("/file"), part, {.checksum_follows = true});
  EXPECT_EQ(last_range, "bytes=300000-");
  EXPECT_EQ(last_if_range, "");
  EXPECT_EQ(read_file(part), content);
}

TEST_F(ClientTest, ACompletePartIsLeftAlone) {
  download(url("/file"), part);
  download(url("/file"), part, {.checksum_follows = true});
  EXPECT_EQ(read_file(part), content);
  write_file(part, content + "too much");
  EXPECT_THROW(download(url("/file"), part, {.checksum_follows = true}), HttpError);
  EXPECT_EQ(fs::file_size(part), 0u);
}

TEST_F(ClientTest, AnEmptyFileIsAFile) {
  content.clear();
  write_file(part, "old");
  download(url("/file"), part);
  EXPECT_EQ(fs::file_size(part), 0u);
}

int status_of(const std::function<void()>& request) {
  try {
    request();
  } catch (const HttpError& e) {
    return e.status;
  }
  return -1;
}

TEST_F(ClientTest, FailuresHaveTheirStatus) {
  EXPECT_EQ(status_of([&] { download(url("/nowhere"), part); }), 404);
  EXPECT_EQ(status_of([&] { get(url("/forbidden")); }), 403);
  EXPECT_EQ(status_of([&] { get(url("/loop")); }), 0);
  EXPECT_EQ(status_of([&] { get(url("/silent"), {.connect_seconds = 0.2, .answer_seconds = 0.2}); }), 0);
  server.stop(0);
  EXPECT_EQ(status_of([&] { get(url("/file")); }), 0);
}

TEST_F(ClientTest, WhatCannotBeWrittenIsSaid) {
  fs::create_symlink("/dev/full", part);
  try {
    download(url("/file"), part);
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), HasSubstr("No space left on device"));
  }
}

TEST(Client, HostOf) {
  EXPECT_EQ(host_of("https://user:secret@host:8080/a/b?c"), "host:8080");
  EXPECT_EQ(host_of("host/a"), "host");
}

}  // namespace
}  // namespace sedum::http
