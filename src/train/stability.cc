#include "train/stability.h"

#include <algorithm>
#include <cmath>

#include "base/json.h"

namespace sedum {

std::optional<double> OutlierDetector::update(double value) {
  if (values_.size() < kWindow) {
    values_.push_back(value);
    return std::nullopt;
  }
  values_[next_] = value;  // the window holds it, as in llm.c: a jump that stays is soon none any more
  next_ = (next_ + 1) % kWindow;
  double sum = 0, squares = 0;
  for (const double v : values_) sum += v;
  const double mean = sum / double(kWindow);
  for (const double v : values_) squares += (v - mean) * (v - mean);
  const double deviation = std::sqrt(squares / double(kWindow));
  return deviation == 0 ? 0 : (value - mean) / deviation;
}

nlohmann::json OutlierDetector::to_json() const { return {{"values", values_}, {"next", next_}}; }

void OutlierDetector::from_json(const nlohmann::json& json) {
  values_ = json.at("values").get<std::vector<double>>(), next_ = json.at("next").get<size_t>() % kWindow;
  if (values_.size() > kWindow) values_.resize(kWindow);
}

bool BestMetric::update(int64_t at, double metric, bool greater_is_better, double threshold) {
  if (at <= evaluated_step) return false;  // a run that goes on at its end evaluates again
  evaluated_step = at;
  const bool better = !value || (greater_is_better ? metric > *value : metric < *value);
  if (better && (!value || std::abs(metric - *value) > threshold))
    without_progress = 0;
  else
    ++without_progress;
  if (better) value = metric, step = at;
  return better;
}

nlohmann::json BestMetric::to_json() const {
  return {{"value", value ? nlohmann::json(*value) : nlohmann::json()},
          {"step", step},
          {"evaluated_step", evaluated_step},
          {"without_progress", without_progress}};
}

void BestMetric::from_json(const nlohmann::json& json) {
  if (!json.at("value").is_null()) value = json.at("value").get<double>();
  json.at("step").get_to(step), json.at("evaluated_step").get_to(evaluated_step);
  json.at("without_progress").get_to(without_progress);
}

bool LossScale::update(bool finite, int64_t window, double least) {
  if (!finite) {
    value = std::max(value / 2, least), good = 0, ++skipped;
    return false;
  }
  if (++good == window) value *= 2, good = 0;
  return true;
}

nlohmann::json LossScale::to_json() const { return {{"value", value}, {"good", good}, {"skipped", skipped}}; }

void LossScale::from_json(const nlohmann::json& json) {
  json.at("value").get_to(value), json.at("good").get_to(good), json.at("skipped").get_to(skipped);
}

}  // namespace sedum
