#pragma once
// A training run as a page: http://127.0.0.1:PORT/ while it goes on.

#include "cli/run_view.h"
#include "http/server.h"

namespace sedum::cli {

class Dashboard {
 public:
  Dashboard(const RunView& view, int port);  // listens at once; 0: any port that is free. Error when it is in use
  std::string address() const { return server_.address(); }

 private:
  const RunView& view_;
  http::Server server_;
};

std::string_view dashboard_page();

}  // namespace sedum::cli
