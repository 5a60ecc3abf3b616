#include "http/exchange.h"

#include <cstdio>

namespace sedum::http {

Exchange::State::~State() {
  if (phase == Phase::kOpen && link) {
    answer(link->error_response(500, "the request was dropped without an answer"), true);
  } else if (phase == Phase::kStreaming && link) {
    link->abort();  // a client must not take a part for the whole
  }
}

void Exchange::State::answer(const Response& response, bool whole) {
  std::function<void()> callback;  // destroyed without the lock
  std::lock_guard lock(mutex);
  if (phase != Phase::kOpen) return;
  std::string bytes = link->head(response, whole, chunked);
  if (!head_only && whole) bytes += response.body;
  link->send(std::move(bytes), whole || head_only);
  phase = whole || head_only ? Phase::kDone : Phase::kStreaming;
  if (phase == Phase::kStreaming) return;
  link.reset();
  callback.swap(on_close);
}

bool Exchange::State::write(std::string_view piece) {
  std::lock_guard lock(mutex);
  if (phase != Phase::kStreaming) return phase != Phase::kClosed && head_only;
  if (piece.empty()) return true;  // an empty chunk would end the stream
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

bool Exchange::closed() const {
  std::lock_guard lock(state_->mutex);
  return state_->phase == State::Phase::kClosed;
}

void Exchange::on_close(std::function<void()> callback) const { state_->on_closing(std::move(callback)); }

}  // namespace sedum::http
