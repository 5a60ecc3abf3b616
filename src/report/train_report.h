#pragma once
// Runs side by side: what they were, how they differ, what they reached, and their curves.

#include "report/document.h"
#include "report/run_record.h"

namespace sedum::report {

// The curves of at least: loss, eval_loss, learning_rate, grad_norm, tokens_per_second; every other number of metrics.jsonl after them.
Document train_report(const std::vector<RunRecord>& runs, const std::string& title);

}  // namespace sedum::report
