#pragma once
// What tests of servers need: a client that can do everything wrong, and a flag to wait for.

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

namespace sedum::http {

// Only what will never come is waited for so long: a busy machine may take seconds for anything.
constexpr std::chrono::seconds kPatience{60};

class Socket {
 public:
  explicit Socket(int port) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(uint16_t(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected = ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    const timeval patience{kPatience.count(), 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  }
  ~Socket() { close(); }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  void send(const std::string& text) { (void)!::send(fd_, text.data(), text.size(), MSG_NOSIGNAL); }
  std::string read_until(const std::string& end) {
    std::string text;
    char c;
    while (!text.ends_with(end) && ::recv(fd_, &c, 1, 0) == 1) text += c;
    return text;
  }
  std::string read_all() {
    std::string text;
    char buffer[4096];
    for (ssize_t n; (n = ::recv(fd_, buffer, sizeof buffer, 0)) > 0;) text.append(buffer, size_t(n));
    return text;
  }
  std::string read_answer() {  // with Content-Length
    std::string text = read_until("\r\n\r\n");
    const size_t at = text.find("Content-Length: ");
    size_t length = at == std::string::npos ? 0 : std::stoul(text.substr(at + 16));
    char c;
    while (length-- > 0 && ::recv(fd_, &c, 1, 0) == 1) text += c;
    return text;
  }
  bool connected = false;

 private:
  int fd_;
};

// Something that another thread tells.
class Flag {
 public:
  void set() {
    std::lock_guard lock(mutex_);
    set_ = true;
    changed_.notify_all();
  }
  bool wait(std::chrono::milliseconds limit = kPatience) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, limit, [&] { return set_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool set_ = false;
};

}  // namespace sedum::http
