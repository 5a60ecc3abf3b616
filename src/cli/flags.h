#pragma once
// How commands declare flags: CLI11 behind handles. Its headers hold some 9,000 lines of inline functions, which every file that includes
// them compiles again: two thirds of the time that a command took. flags.cc includes them once.
//
//   app.add_option("--lang", o->language, "zh or en")->capture_default_str()->check(one_of({"zh", "en"}));
//
// Methods are CLI11's of the same names, and do what its book says (https://cliutils.github.io/CLI11/book/). Handles are copied like pointers
// and live as long as the program's command line.

#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
class Validator;
}  // namespace CLI

namespace sedum::cli {

// What the text of an option must be; else exit code 2.
class Check {
 public:
  explicit Check(const CLI::Validator& validator);
  const CLI::Validator& validator() const { return *validator_; }

 private:
  std::shared_ptr<const CLI::Validator> validator_;
};
Check one_of(std::initializer_list<const char*> values);
Check one_of(std::initializer_list<int> values);
Check in_range(int least, int most);
Check in_range(double least, double most);
Check positive();
Check non_negative();
Check existing_file();

class Option {
 public:
  explicit Option(CLI::Option* option) : option_(option) {}
  Option* operator->() { return this; }
  const Option* operator->() const { return this; }
  Option required(bool value = true);
  Option capture_default_str();                 // the variable's value now is shown as the default
  Option default_str(const std::string& text);  // what --help shows as the default
  Option check(const Check& check);
  Option excludes(Option other);
  Option needs(Option other);
  Option envname(const std::string& name);
  Option group(const std::string& name);  // "": not shown in --help
  Option expected(int least, int most);
  Option delimiter(char c);
  Option description(const std::string& text);
  size_t count() const;  // how often it was given

 private:
  friend class Flags;
  CLI::Option* option_;
};

class Flags {
 public:
  explicit Flags(CLI::App* app) : app_(app) {}
  Flags* operator->() { return this; }

  // T: the types that flags.cc instantiates: numbers, texts, paths, optionals and lists of them.
  template <class T>
  Option add_option(const std::string& name, T& value, const std::string& help = "");
  template <class T>
  Option add_flag(const std::string& name, T& value, const std::string& help = "");
  Flags add_subcommand(const std::string& name, const std::string& summary);
  Option get_option(const std::string& name) const;
  bool remove_option(Option option);
  void require_subcommand(int count);
  void callback(std::function<void()> run);
  void footer(const std::string& text);
  bool parsed() const;  // is the subcommand that was given
  void allow_extras();
  std::vector<std::string> remaining() const;  // of the arguments, what no option took

 private:
  CLI::App* app_;
};

}  // namespace sedum::cli
