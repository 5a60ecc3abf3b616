#include "http/exchange.h"

#include <cstdio>
#include <utility>

namespace sedum::http {

Exchange::State::~State() {
  if (phase == Phase::kOpen && link) {
    answer(link->error_response(500, "the request was dropped without an answer"), true);
  } else if (phase == Phase::kStreaming && link) {
    link->abort();  // a client must not take a part for the whole
    log_end(true);
  }
}

void Exchange::State::log_end(bool cut) {
  record.cut = cut;
  record.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (log) std::exchange(log, nullptr)(record);
}

void Exchange::State::answer(const Response& given, bool whole) {
  std::function<void()> callback;  // destroyed without the lock
  std::lock_guard lock(mutex);
  if (phase != Phase::kOpen) return;
  Response response = given;
  response.headers.emplace_back("X-Request-Id", record.id);
  record.status = response.status;
  if (whole && !head_only) record.bytes = response.body.size();
  std::string bytes = link->head(response, whole, chunked);
  if (!head_only && whole) bytes += response.body;
  phase = whole || head_only ? Phase::kDone : Phase::kStreaming;
  const bool done = phase == Phase::kDone;
  if (done) log_end(false);  // before the bytes go: who has the whole answer finds it in the log and in the figures
  link->send(std::move(bytes), done);
  if (!done) return;
  link.reset();
  callback.swap(on_close);
}

bool Exchange::State::write(std::string_view piece) {
  std::lock_guard lock(mutex);
  if (phase != Phase::kStreaming) return phase != Phase::kClosed && head_only;
  if (piece.empty()) return true;  // an empty chunk would end the stream
  record.bytes += piece.size();
  std::string bytes;
  if (chunked) {
    char size[20];
    std::snprintf(size, sizeof size, "%zx\r\n", piece.size());
    bytes = size;
  }
  bytes += piece;
  if (chunked) bytes += "\r\n";
  return link->send(std::move(bytes), false);
}

void Exchange::State::finish() {
  std::function<void()> callback;  // destroyed without the lock
  std::lock_guard lock(mutex);
  if (phase != Phase::kStreaming) return;
  phase = Phase::kDone;
  log_end(false);
  link->send(chunked ? "0\r\n\r\n" : "", true);
  link.reset();
  callback.swap(on_close);
}

void Exchange::State::close() {
  std::function<void()> callback;
  std::shared_ptr<Link> dropped;
  {
    std::lock_guard lock(mutex);
    if (phase == Phase::kDone) return;
    phase = Phase::kClosed;
    log_end(true);
    callback.swap(on_close);
    dropped.swap(link);
  }
  if (callback) callback();
}

bool Exchange::State::drain() {
  std::shared_ptr<Link> waiting;
  {
    std::lock_guard lock(mutex);
    if (!link) return phase != Phase::kClosed;
    waiting = link;
  }
  return waiting->drain();
}

void Exchange::State::on_closing(std::function<void()> callback) {
  {
    std::lock_guard lock(mutex);
    if (phase == Phase::kDone) return;
    if (phase != Phase::kClosed) {
      on_close = std::move(callback);
      return;
    }
  }
  callback();
}

void Exchange::respond(Response response) const { state_->answer(response, true); }

void Exchange::begin(Response head) const {
  state_->answer(head, false);
  write(head.body);
}

bool Exchange::write(std::string_view piece) const { return state_->write(piece); }
void Exchange::finish() const { state_->finish(); }

bool Exchange::drain() const { return state_->drain(); }

void Exchange::note(const std::string& name, nlohmann::ordered_json value) const {
  std::lock_guard lock(state_->mutex);
  state_->record.notes[name] = std::move(value);
}

bool Exchange::closed() const {
  std::lock_guard lock(state_->mutex);
  return state_->phase == State::Phase::kClosed;
}

void Exchange::on_close(std::function<void()> callback) const { state_->on_closing(std::move(callback)); }

}  // namespace sedum::http
