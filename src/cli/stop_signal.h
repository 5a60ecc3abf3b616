#pragma once
// Ctrl-C or a termination ends the wait of a server. A second one ends the program at once.

#include <cerrno>
#include <csignal>

#include <semaphore.h>

namespace sedum::cli {

class StopSignal {
 public:
  StopSignal() {
    sem_init(&arrived_, 0, 0);
    struct sigaction action {};
    action.sa_handler = [](int) { sem_post(&arrived_); };
    action.sa_flags = SA_RESETHAND;
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
  }
  void wait() const {
    while (sem_wait(&arrived_) != 0 && errno == EINTR) continue;
  }

 private:
  inline static sem_t arrived_;  // what a signal handler can reach
};

}  // namespace sedum::cli
