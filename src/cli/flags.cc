#include "cli/flags.h"

#include <cstdint>
#include <filesystem>
#include <optional>

#include <CLI/CLI.hpp>

namespace sedum::cli {

Check::Check(const CLI::Validator& validator) : validator_(std::make_shared<CLI::Validator>(validator)) {}
Check one_of(std::initializer_list<const char*> values) {
  return Check(CLI::IsMember(std::vector<std::string>(values.begin(), values.end())));
}
Check one_of(std::initializer_list<int> values) { return Check(CLI::IsMember(std::vector<int>(values))); }
Check in_range(int least, int most) { return Check(CLI::Range(least, most)); }
Check in_range(double least, double most) { return Check(CLI::Range(least, most)); }
Check positive() { return Check(CLI::PositiveNumber); }
Check non_negative() { return Check(CLI::NonNegativeNumber); }
Check existing_file() { return Check(CLI::ExistingFile); }

Option Option::required(bool value) { return Option(option_->required(value)); }
Option Option::capture_default_str() { return Option(option_->capture_default_str()); }
Option Option::default_str(const std::string& text) { return Option(option_->default_str(text)); }
Option Option::check(const Check& check) { return Option(option_->check(check.validator())); }
Option Option::excludes(Option other) { return Option(option_->excludes(other.option_)); }
Option Option::needs(Option other) { return Option(option_->needs(other.option_)); }
Option Option::envname(const std::string& name) { return Option(option_->envname(name)); }
Option Option::group(const std::string& name) { return Option(option_->group(name)); }
Option Option::expected(int least, int most) { return Option(option_->expected(least, most)); }
Option Option::delimiter(char c) { return Option(option_->delimiter(c)); }
Option Option::description(const std::string& text) { return Option(option_->description(text)); }
size_t Option::count() const { return option_->count(); }

template <class T>
Option Flags::add_option(const std::string& name, T& value, const std::string& help) {
  return Option(app_->add_option(name, value, help));
}
template <class T>
Option Flags::add_flag(const std::string& name, T& value, const std::string& help) {
  return Option(app_->add_flag(name, value, help));
}

#define SEDUM_OPTION(...) template Option Flags::add_option(const std::string&, __VA_ARGS__&, const std::string&);
SEDUM_OPTION(int)
SEDUM_OPTION(int64_t)
SEDUM_OPTION(uint64_t)
SEDUM_OPTION(float)
SEDUM_OPTION(double)
SEDUM_OPTION(std::string)
SEDUM_OPTION(std::filesystem::path)
SEDUM_OPTION(std::vector<std::string>)
SEDUM_OPTION(std::vector<std::filesystem::path>)
SEDUM_OPTION(std::optional<std::string>)
SEDUM_OPTION(std::optional<int64_t>)
SEDUM_OPTION(std::optional<double>)
#undef SEDUM_OPTION
template Option Flags::add_flag(const std::string&, bool&, const std::string&);

Flags Flags::add_subcommand(const std::string& name, const std::string& summary) {
  return Flags(app_->add_subcommand(name, summary));
}
Option Flags::get_option(const std::string& name) const { return Option(app_->get_option(name)); }
bool Flags::remove_option(Option option) { return app_->remove_option(option.option_); }
void Flags::require_subcommand(int count) { app_->require_subcommand(count); }
void Flags::callback(std::function<void()> run) { app_->callback(std::move(run)); }
void Flags::footer(const std::string& text) { app_->footer(text); }
bool Flags::parsed() const { return app_->parsed(); }
void Flags::allow_extras() { app_->allow_extras(); }
std::vector<std::string> Flags::remaining() const { return app_->remaining(); }

}  // namespace sedum::cli
