// SPDX-License-Identifier: Apache-2.0
//
// thimble: runs, classifies with, and looks into Qwen3.5 models. Exit codes: 0 fine, 1 failed, 2 used wrongly.
#include <CLI/CLI.hpp>

#include "commands.h"
#include "console.h"

namespace thimble::program {
namespace {

void AddCommands(CLI::App& app, int& code) {
  app.get_formatter()->label("Positionals", "Arguments");
  app.set_help_flag("-h,--help", "print this and stop");
  for (const auto add : {AddRun, AddClassify, AddInspect, AddPlan, AddPack, AddBench, AddSnapshot, AddTokenize,
                         AddDetokenize, AddLogits})
    add(app, code);
  for (CLI::App* command : app.get_subcommands({})) command->group("Commands");
  app.set_version_flag("--version", THIMBLE_VERSION, "print the version and stop");
  app.usage("Usage: thimble COMMAND MODEL [options]");
  app.footer(
      "\nthimble COMMAND --help tells more. Exit codes: 0 fine, 1 failed, 2 used wrongly; one line on standard error "
      "says what\nwent wrong and where.");
}

int Parse(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
    return kFine;
  } catch (const CLI::Success& done) {  // --help, --version
    app.exit(done);
    throw;
  } catch (const CLI::ParseError& error) {
    const auto called = app.get_subcommands();
    if (!called.empty()) return Misused(error.what(), "see thimble " + called[0]->get_name() + " --help");
    if (argv[1][0] != '-') return Misused("there is no such command; see thimble --help", argv[1]);
    return Misused(error.what(), "see thimble --help");
  }
}

}  // namespace
}  // namespace thimble::program

int main(int argc, char** argv) {
  using namespace thimble::program;
  CLI::App app{"Runs Qwen3.5 text models from memory-mapped weights in a fixed arena.", "thimble"};
  int code = kFine;
  AddCommands(app, code);
  CatchInterrupt();
  try {
    if (const int misused = Parse(app, argc, argv); misused != kFine) return misused;
    if (app.get_subcommands().empty()) return Misused("a command is missing", "see thimble --help");
  } catch (const CLI::Success&) {
  } catch (const std::exception& error) {
    return Fail(error.what(), "outside the arena");
  }
  if (const thimble::Error error = Print({}); !error.ok() && code == kFine) return Fail(error);
  return code;
}
