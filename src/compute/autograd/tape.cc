#include "compute/autograd/tape.h"

#include <utility>

#include "base/error.h"
#include "compute/autograd/observe.h"
#include "compute/kernels/rows.h"

namespace sedum {
namespace {

void add_into(Context& ctx, const Tensor& from, Tensor& to) {
  if (!ctx.runs()) return;
  switch (to.dtype()) {
    case DType::kF32:
      return add<float>(*ctx.pool, to.data<float>(), from.data<float>(), to.count(), to.data<float>());
    case DType::kF64:
      return add<double>(*ctx.pool, to.data<double>(), from.data<double>(), to.count(), to.data<double>());
    case DType::kBF16:
      return add<bf16>(*ctx.pool, to.data<bf16>(), from.data<bf16>(), to.count(), to.data<bf16>());
    default:
      throw ApiError("backward", std::string("gradients of type ") + name(to.dtype()) + " cannot be added");
  }
}

Tensor ones(Context& ctx, const Gradient& slot) {
  Tensor one = ctx.empty(slot.dtype, slot.shape);
  if (!ctx.runs()) return one;
  if (slot.dtype == DType::kF64)
    *one.data<double>() = 1;
  else
    *one.data<float>() = 1;
  return one;
}

thread_local const Observer* observing = nullptr;

void tell_result(const char* op, const std::vector<std::shared_ptr<Gradient>>& inputs, const Tensor& output) {
  if (!observing || !*observing) return;
  static const std::string none;
  const std::string* name = &none;
  for (const auto& input : inputs)
    if (input && input->leaf) name = &input->name;
  (*observing)({op, false, false, *name, output});
}

void tell_gradients(const char* op, const std::vector<std::shared_ptr<Gradient>>& inputs) {
  if (!observing || !*observing) return;
  for (const auto& input : inputs)
    if (input && input->value.defined()) (*observing)({op, true, input->leaf, input->name, input->value});
}

}  // namespace

ScopedObserver::ScopedObserver(Observer observer) : observer_(std::move(observer)), outer_(observing) {
  observing = &observer_;
}
ScopedObserver::~ScopedObserver() { observing = outer_; }

Variable Variable::parameter(Tensor value, std::string name) {
  auto gradient = std::make_shared<Gradient>();
  gradient->dtype = value.dtype() == DType::kF64 ? DType::kF64 : DType::kF32;
  gradient->shape = value.shape(), gradient->leaf = true, gradient->name = std::move(name);
  return {std::move(value), std::move(gradient)};
}

const std::string& Variable::name() const {
  static const std::string none;
  return gradient_ ? gradient_->name : none;
}

BackwardPass::Target BackwardPass::target(size_t input) {
  Gradient& slot = *inputs_[input];
  if (slot.value.defined()) return {slot.value, true};
  slot.value = context_.empty(slot.dtype, slot.shape);
  return {slot.value, false};
}

Tensor BackwardPass::sum(size_t input) {
  Gradient& slot = *inputs_[input];
  if (!slot.value.defined()) slot.value = context_.zeros(slot.dtype, slot.shape);
  return slot.value;
}

void BackwardPass::add(size_t input, Tensor contribution) {
  Gradient& slot = *inputs_[input];
  SEDUM_CHECK(contribution.dtype() == slot.dtype && contribution.count() == slot.shape.count());
  if (slot.value.defined())
    add_into(context_, contribution, slot.value);
  else
    slot.value = contribution.reshape(slot.shape);
}

bool recording(const Context& ctx, std::initializer_list<const Variable*> inputs) {
  return recording_any(ctx, std::span(inputs.begin(), inputs.size()));
}

bool recording_any(const Context& ctx, std::span<const Variable* const> inputs) {
  if (!ctx.tape) return false;
  for (const Variable* v : inputs)
    if (v && v->needs_gradient()) return true;
  return false;
}

Variable record(Context& ctx, const char* name, std::initializer_list<const Variable*> inputs, Tensor output,
                Tape::Backward backward) {
  return record_all(ctx, name, std::span(inputs.begin(), inputs.size()), std::move(output), std::move(backward));
}

Variable record_all(Context& ctx, const char* name, std::span<const Variable* const> inputs, Tensor output,
                    Tape::Backward backward) {
  if (!recording_any(ctx, inputs)) return Variable(std::move(output));
  return ctx.tape->add(name, inputs, std::move(output), std::move(backward));
}

Variable Tape::add(const char* name, std::span<const Variable* const> inputs, Tensor output, Backward backward) {
  auto slot = std::make_shared<Gradient>();
  slot->dtype = output.dtype(), slot->shape = output.shape();
  Entry entry{name, {}, slot, std::move(backward)};
  for (const Variable* v : inputs) {
    entry.inputs.push_back(v ? v->slot() : nullptr);
    if (v && v->slot() && v->slot()->leaf && mode_ != Mode::kReplay) ++v->slot()->pending;
  }
  tell_result(name, entry.inputs, output);
  if (mode_ != Mode::kCount) entries_.push_back(std::move(entry));
  return {std::move(output), std::move(slot)};
}

void Tape::backward(Context& ctx, const Variable& result, Tensor seed) {
  if (!result.needs_gradient()) throw ApiError("backward", "the result does not depend on any parameter");
  if (!seed.defined() && result.value().count() != 1)
    throw ApiError("backward", "the result " + result.shape().text() + " is no scalar and no seed is given");
  result.slot()->value = seed.defined() ? std::move(seed) : ones(ctx, *result.slot());
  // Gradients of gradients are not recorded.
  Context inner = ctx;
  inner.tape = nullptr;
  while (!entries_.empty()) {
    Entry entry = std::move(entries_.back());
    entries_.pop_back();
    if (entry.output->value.defined()) {
      BackwardPass pass(inner, entry.inputs, entry.output->value);
      entry.backward(pass);
      tell_gradients(entry.name, entry.inputs);
    }
    entry.backward = nullptr;        // what it saved
    entry.output->value = Tensor();  // nobody else needs it
    for (const auto& slot : entry.inputs)
      if (slot && slot->leaf && --slot->pending == 0 && slot->on_complete && slot->value.defined())
        slot->on_complete(*slot);
  }
}

void Tape::clear() {
  for (const auto& entry : entries_)
    for (const auto& slot : entry.inputs)
      if (slot && slot->leaf) --slot->pending;
  entries_.clear();
}

Variable recompute(Context& ctx, const Variable& x, std::function<Variable(Context&, const Variable&)> body) {
  if (!ctx.tape) return body(ctx, x);
  // Inside a part that is already being computed again, uses are counted too.
  Tape counting(ctx.tape->mode() == Tape::Mode::kReplay ? Tape::Mode::kReplay : Tape::Mode::kCount);
  Context inner = ctx;
  inner.tape = &counting;
  const Variable y = body(inner, x);
  if (!y.needs_gradient()) return y;
  const Variable* const inputs[] = {&x};
  return ctx.tape->add("recompute", inputs, y.value(), [x, body = std::move(body)](BackwardPass& pass) {
    Tape tape(Tape::Mode::kReplay);
    Context again = pass.context();
    again.tape = &tape;
    Variable input(x.value());
    if (pass.wants(0)) {
      auto slot = std::make_shared<Gradient>();
      slot->dtype = x.dtype(), slot->shape = x.shape();
      input = Variable(x.value(), slot);
    }
    Variable output = body(again, input);
    tape.backward(again, output, pass.gradient());
    if (pass.wants(0) && input.gradient().defined()) pass.add(0, input.gradient());
  });
}

}  // namespace sedum
