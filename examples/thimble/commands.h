// SPDX-License-Identifier: Apache-2.0
//
// The commands of the program. Each adds its options to `app` and leaves its exit code in `code` when it was called.
#pragma once

namespace CLI {
class App;
}

namespace thimble::program {

void AddRun(CLI::App& app, int& code);
void AddClassify(CLI::App& app, int& code);
void AddInspect(CLI::App& app, int& code);
void AddPlan(CLI::App& app, int& code);
void AddPack(CLI::App& app, int& code);
void AddBench(CLI::App& app, int& code);
void AddSnapshot(CLI::App& app, int& code);
void AddTokenize(CLI::App& app, int& code);
void AddDetokenize(CLI::App& app, int& code);
void AddLogits(CLI::App& app, int& code);

}  // namespace thimble::program
