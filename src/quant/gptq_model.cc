#include "quant/gptq_model.h"

#include <chrono>
#include <cmath>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <span>

#include <fmt/format.h>

#include "base/digest.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/progress.h"
#include "compute/ops/check.h"
#include "formats/safetensors.h"
#include "model/checkpoint/export.h"
#include "model/checkpoint/quantised.h"
#include "quant/awq.h"
#include "quant/quantised_folder.h"

namespace sedum {
namespace fs = std::filesystem;
namespace {

// What a run's parts depend on. The model is its sizes and all bytes of its weights, wherever it lies: another one at the same path, of the
// same size and even of the same time, has other parts. One pass at the speed of memory, beside minutes of arithmetic a gigabyte.
std::string describe(const Checkpoint& checkpoint, const Calibration& rows, const GptqOptions& o) {
  uint64_t hash = 14695981039346656037u;  // FNV-1a
  const auto mix = [&](uint64_t value) { hash = (hash ^ value) * 1099511628211u; };
  for (const auto& window : rows.windows)
    for (const int32_t id : window) mix(uint32_t(id));
  const uint64_t rows_hash = hash;
  const std::string config = config_to_json(checkpoint.config()).dump();
  mix(quick_sum(std::as_bytes(std::span(config))));
  for (const std::string& name : checkpoint.tensor_names()) {
    const Tensor t = checkpoint.tensor(name);
    mix(uint64_t(t.dtype()));
    mix(quick_sum({static_cast<const std::byte*>(t.raw()), t.bytes()}));
  }
  return fmt::format("model {:016x} bits {} group {} sym {}{} desc_act {} damp {} rows {:016x}\n", hash, o.bits,
                     o.group_size, o.symmetric, o.awq ? " awq with clipping" : "", o.desc_act, o.damp_percent,
                     rows_hash);
}

class Parts {
 public:
  Parts(const fs::path& out, const std::string& description) : folder_(out.string() + ".parts") {
    const fs::path note = folder_ / "run.txt";
    if (fs::exists(note) && read_file(note) != description)
      throw Error(folder_.string() + " belongs to a run with another model, other rows or other options",
                  "remove it to begin again, or choose another --out");
    fs::create_directories(folder_);
    if (!fs::exists(note)) write_file(note, description);
  }
  fs::path of(const std::string& layer) const { return folder_ / (layer + ".safetensors"); }
  void remove() const { fs::remove_all(folder_); }

 private:
  fs::path folder_;
};

std::vector<float> layer_weights(const Checkpoint& checkpoint, const std::string& layer) {
  return stored_values(checkpoint)(layer + ".weight");
}

// Writes a layer's file while the next layer is computed: packing and the disk's answer would leave all threads but one without work.
class PartWriter {
 public:
  // Errors of the one before come here, or out of finish().
  void write(const fs::path& file, const std::string& layer, std::shared_ptr<const GroupQuantised> values) {
    finish();
    last_ = std::async(std::launch::async, [=] { write_gptq_layer(file, layer, *values); });
  }
  void finish() {
    if (last_.valid()) last_.get();
  }

 private:
  std::future<void> last_;
};

// As reading the layer's file gives it: the same products of the same numbers.
Tensor tensor_of(ThreadPool& pool, const GroupQuantised& q) {
  auto buffer = std::make_shared<Buffer>(size_t(q.rows * q.cols) * sizeof(float));
  float* const values = buffer->as<float>();
  q.values_to(pool, values);
  return Tensor::external(DType::kF32, {q.rows, q.cols}, values, std::move(buffer));
}

// The layers of one input, and what gives that input, a norm or the rows of a linear layer: a scaling can be folded into its weights.
struct ScaledGroup {
  std::string source;
  std::vector<std::string> layers;
};
ScaledGroup group_of(const std::string& layer) {
  const size_t dot = layer.rfind('.', layer.rfind('.') - 1);  // before "self_attn.q_proj"
  const std::string at = layer.substr(0, dot + 1), part = layer.substr(dot + 1);
  if (part == "self_attn.q_proj" || part == "self_attn.k_proj" || part == "self_attn.v_proj")
    return {at + "input_layernorm", {at + "self_attn.q_proj", at + "self_attn.k_proj", at + "self_attn.v_proj"}};
  if (part == "mlp.gate_proj" || part == "mlp.up_proj")
    return {at + "post_attention_layernorm", {at + "mlp.gate_proj", at + "mlp.up_proj"}};
  if (part == "self_attn.o_proj")
    return {at + "self_attn.v_proj", {layer}};                        // attention mixes values, column by column
  if (part == "mlp.down_proj") return {at + "mlp.up_proj", {layer}};  // down(act(gate) · up)
  return {};
}

// Queries and keys meet in a product, where an error of one is not that of the output: AWQ does not clip them.
bool is_clipped(const std::string& layer) { return !layer.ends_with(".q_proj") && !layer.ends_with(".k_proj"); }

// A norm's results are multiplied by its weights in these, and values and `up` go to one linear layer.
void check_awq(const ModelConfig& config) {
  for (const char* known : {"llama", "mistral", "qwen2", "qwen3"})
    if (config.model_type == known) return;
  throw Error("activation-aware scaling of a " + config.model_type + " model is not known here", "choose --type gptq");
}

// The first of o_proj's columns that are made of this row of v_proj: heads of a group share their values.
int64_t column_of_value(int64_t row, const ModelConfig& config) {
  const int64_t d = config.head_dim, shared = config.num_attention_heads / config.num_key_value_heads;
  return row / d * d * shared + row % d;
}

// Columns of o_proj that come of one row of v_proj must have one scale: each gets the mean of them.
void tie_shared_values(std::vector<float>& magnitudes, const ModelConfig& config) {
  const int64_t d = config.head_dim, shared = config.num_attention_heads / config.num_key_value_heads;
  for (int64_t row = 0; row < config.num_key_value_heads * d; ++row) {
    float* const first = &magnitudes[size_t(column_of_value(row, config))];
    float sum = 0;
    for (int64_t h = 0; h < shared; ++h) sum += first[h * d];
    for (int64_t h = 0; h < shared; ++h) first[h * d] = sum / float(shared);
  }
}

std::vector<float> column_magnitudes(const Tensor& x) {
  const int64_t rows = x.shape().rows(), cols = x.size(-1);
  std::vector<double> sums(static_cast<size_t>(cols));
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < cols; ++c) sums[size_t(c)] += std::abs(x.data<float>()[r * cols + c]);
  std::vector<float> means(sums.size());
  for (size_t c = 0; c < means.size(); ++c) means[c] = float(sums[c] / double(rows));
  return means;
}

// What all layers of one pass share.
struct Pass {
  Runtime& runtime;
  const Checkpoint& checkpoint;
  const GptqOptions& options;
  const Parts& parts;
  GptqReport report;
  Progress progress;
  Tensor last_input;  // q, k and v see the same rows: one Hessian for all three
  std::vector<float> last_hessian;
  std::optional<HessianFactor> last_factor;

  std::map<std::string, std::vector<float>> scales;  // AWQ: by the source's name
  PartWriter writer = {};

  const std::vector<float>& hessian_of(const Tensor& x) {
    if (last_input.raw() == x.raw() && last_input.shape() == x.shape()) return last_hessian;
    const int64_t k = x.size(-1);
    last_factor.reset();
    last_input = x;
    last_hessian.assign(size_t(k * k), 0);
    product_tn(runtime.pool, Compute::kF32, ops::matrix(x), ops::matrix(x),
               {DType::kF32, last_hessian.data(), k, k, size_t(k) * 4});
    return last_hessian;
  }

  const HessianFactor& factor_of(const Tensor& x) {
    hessian_of(x);
    if (!last_factor) last_factor.emplace(runtime.pool, std::move(last_hessian), x.size(-1), options);
    return *last_factor;
  }

  // By which the columns of a layer are multiplied before they are rounded; null where nothing stands before it that could take that over.
  const std::vector<float>* scales_of(const std::string& layer, const Tensor& x) {
    const ScaledGroup group = group_of(layer);
    if (!options.awq || group.source.empty()) return nullptr;
    const auto found = scales.find(group.source);
    if (found != scales.end()) return &found->second;
    const fs::path file = parts.of(group.source + ".awq");
    std::vector<float>& s = scales[group.source];
    if (fs::exists(file)) {
      const SafetensorsFile stored(file);
      const StoredTensor& t = stored.get("scales");
      if (t.dtype != DType::kF32 || t.bytes != size_t(x.size(-1)) * 4)
        throw Error(file.string() + " is damaged", "remove it");
      s.assign(static_cast<const float*>(t.data), static_cast<const float*>(t.data) + x.size(-1));
      return &s;
    }
    std::vector<AwqWeights> weights;
    for (const std::string& each : group.layers)
      weights.push_back({layer_weights(checkpoint, each), checkpoint.tensor(each + ".weight").shape()[0]});
    std::vector<float> magnitudes = column_magnitudes(x);
    if (layer.ends_with(".o_proj")) tie_shared_values(magnitudes, checkpoint.config());
    s = awq_scales(runtime.pool, weights, x.size(-1), hessian_of(x), magnitudes, options).s;
    SafetensorsWriter out(file);
    out.add("scales", DType::kF32, {x.size(-1)}, producer_of(s.data(), s.size() * 4));
    out.finish();
    return &s;
  }

  GroupQuantised compute(const std::string& layer, const Shape& shape, const Tensor& x) {
    std::vector<float> w = layer_weights(checkpoint, layer);
    if (!options.awq) return gptq(runtime.pool, w, shape[0], shape[1], factor_of(x), options);
    const std::vector<float>* s = scales_of(layer, x);
    if (s)
      for (size_t i = 0; i < w.size(); ++i) w[i] *= (*s)[i % s->size()];
    if (!is_clipped(layer)) return round_to_nearest(runtime.pool, w, shape[0], shape[1], options);
    std::vector<float> hessian = hessian_of(x);
    if (s)
      for (size_t i = 0; i < hessian.size(); ++i) hessian[i] /= (*s)[i / s->size()] * (*s)[i % s->size()];
    return round_clipped(runtime.pool, w, shape[0], shape[1], hessian, options);
  }

  // The layer's quantised matrix as its file holds it.
  Tensor quantised(const std::string& layer, const Tensor& x) {
    const fs::path file = parts.of(layer);
    const Shape shape = checkpoint.tensor(layer + ".weight").shape();
    ++report.layers, progress.advance(1);
    if (!fs::exists(file)) {
      check_gptq_shape(layer, shape, options);
      const auto values = std::make_shared<const GroupQuantised>(compute(layer, shape, x));
      writer.write(file, layer, values);
      return tensor_of(runtime.pool, *values);
    }
    ++report.resumed;
    const SafetensorsFile stored(file);
    const Tensor w = read_quantised(
        stored, layer + ".weight",
        {.method = QuantisedFormat::Method::kGptq, .bits = options.bits, .group_size = options.group_size});
    if (!(w.shape() == shape))
      throw Error(file.string() + " holds " + w.shape().text() + ", the layer is " + shape.text(), "remove it");
    return w;
  }
};

// What the norm will give once the scaling is folded into it.
Variable divided(Context& ctx, const Tensor& x, const std::vector<float>& scales) {
  Tensor y = ctx.empty(DType::kF32, x.shape());
  for (int64_t i = 0; i < x.count(); ++i) y.data<float>()[i] = x.data<float>()[i] / scales[size_t(i) % scales.size()];
  return Variable(std::move(y));
}

class QuantisingLinear : public Linear {
 public:
  QuantisingLinear(std::string name, int64_t out_features, int64_t in_features, Variable bias, Pass& pass)
      : name_(std::move(name)), out_(out_features), in_(in_features), bias_(std::move(bias)), pass_(pass) {}
  Variable forward(Context& ctx, const Variable& x) const override {
    const ops::Weight weight{Variable(pass_.quantised(name_, x.value())), nullptr};
    const std::vector<float>* scales = pass_.scales_of(name_, x.value());
    return ops::linear(ctx, scales ? divided(ctx, x.value(), *scales) : x, weight, bias_.defined() ? &bias_ : nullptr);
  }
  int64_t in_features() const override { return in_; }
  int64_t out_features() const override { return out_; }
  const DenseLinear& dense() const override { throw ApiError("QuantisingLinear", "has no weights of its own"); }
  void adapt(Context&, const Variable&, Tensor&) const override {}

 private:
  std::string name_;
  int64_t out_, in_;
  Variable bias_;
  Pass& pass_;
};

class QuantisingFactory : public LayerFactory {
 public:
  QuantisingFactory(CheckpointFactory& base, Pass& pass) : base_(base), pass_(pass) {}
  std::unique_ptr<Linear> linear(const std::string& name, int64_t out_features, int64_t in_features,
                                 bool bias) override {
    Variable b =
        bias ? Variable(decoded(pass_.checkpoint.tensor(name + ".bias"), pass_.runtime.pool, pass_.runtime.arena))
             : Variable();
    return std::make_unique<QuantisingLinear>(name, out_features, in_features, std::move(b), pass_);
  }
  Variable vector(const std::string& name, int64_t size) override { return base_.vector(name, size); }
  ops::Weight table(const std::string& name, int64_t rows, int64_t cols) override {
    return base_.table(name, rows, cols);
  }

 private:
  CheckpointFactory& base_;
  Pass& pass_;
};

double since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

GptqReport quantise_gptq(Runtime& runtime, const Checkpoint& checkpoint, const Calibration& rows,
                         const GptqOptions& options, const fs::path& out, uint64_t max_shard_bytes) {
  const auto begin = std::chrono::steady_clock::now();
  const Parts parts(out, describe(checkpoint, rows, options));
  Pass pass{runtime, checkpoint, options, parts, {}, Progress("layers", linear_layers(checkpoint).size()),
            {},      {},         {},      {},    {}};
  if (options.awq) check_awq(checkpoint.config());
  {
    CheckpointFactory base(checkpoint, CheckpointFactory::Use::kFrozen, runtime.pool, runtime.arena);
    QuantisingFactory factory(base, pass);
    const auto model = build_model(checkpoint.config(), factory);
    Tape tape;  // nothing has a gradient; with a tape layers of one x are called one by one
    Context ctx = runtime.context(Compute::kF32);
    ctx.tape = &tape;
    model->hidden_states(ctx, Batch::of_sequences(rows.windows));
    pass.writer.finish();
  }
  // Norms, and the scales and biases of v_proj and up_proj: a row's integers stay when the row is divided. (groups, rows) or (rows).
  write_gptq_folder(
      out, checkpoint, options, [&](const std::string& layer) { return parts.of(layer); },
      [&](const std::string& name, std::vector<float>& values) {
        const std::string source = name.substr(0, name.rfind('.'));
        const auto found = pass.scales.find(source);
        if (found == pass.scales.end()) return;
        const ModelConfig& config = checkpoint.config();
        const bool of_values = source.ends_with(".v_proj");
        const int64_t height = of_values ? config.num_key_value_heads * config.head_dim : int64_t(found->second.size());
        for (size_t i = 0; i < values.size(); ++i) {
          const int64_t row = int64_t(i) % height;
          values[i] /= found->second[size_t(of_values ? column_of_value(row, config) : row)];
        }
      },
      max_shard_bytes);
  parts.remove();
  pass.report.seconds = since(begin);
  return pass.report;
}

GptqReport quantise_nearest(Runtime& runtime, const Checkpoint& checkpoint, const GptqOptions& options,
                            const fs::path& out, uint64_t max_shard_bytes) {
  const auto begin = std::chrono::steady_clock::now();
  GptqReport report;
  const Parts parts(out, describe(checkpoint, {}, options));
  const std::vector<std::string> layers = linear_layers(checkpoint);
  Progress progress("layers", layers.size());
  for (const std::string& layer : layers) {
    const Shape shape = checkpoint.tensor(layer + ".weight").shape();
    check_gptq_shape(layer, shape, options);
    write_gptq_layer(parts.of(layer), layer,
                     round_to_nearest(runtime.pool, layer_weights(checkpoint, layer), shape[0], shape[1], options));
    ++report.layers, progress.advance(1);
  }
  write_gptq_folder(
      out, checkpoint, options, [&](const std::string& layer) { return parts.of(layer); }, nullptr, max_shard_bytes);
  parts.remove();
  report.seconds = since(begin);
  return report;
}

}  // namespace sedum
