// SPDX-License-Identifier: Apache-2.0
//
// thimble logits: every logit behind every given token, raw, for comparisons with other implementations.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <memory>

#include "commands.h"
#include "console.h"
#include "ids.h"
#include "runtime.h"

namespace thimble::program {
namespace {

static_assert(std::endian::native == std::endian::little);

struct LogitsOptions : ModelOptions {
  std::string ids;
  std::string out;
};

/// Where the numbers go: a file or standard output.
class Output {
 public:
  explicit Output(const std::string& path) : path_(path) {}
  ~Output() {
    if (file_ != nullptr && file_ != stdout) std::fclose(file_);
  }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  Error Open() {
    errno = 0;
    file_ = path_.empty() ? stdout : std::fopen(path_.c_str(), "wb");
    return file_ != nullptr ? Error{} : Refused();
  }

  Error Write(std::span<const float> numbers) {
    errno = 0;
    const bool written = std::fwrite(numbers.data(), sizeof(float), numbers.size(), file_) == numbers.size();
    return written && std::fflush(file_) == 0 ? Error{} : Refused();
  }

 private:
  Error Refused() const {
    const std::string_view name = path_.empty() ? "standard output" : std::string_view(path_);
    return {Status::kSystem, "this cannot be written", name, {}, static_cast<uint64_t>(errno)};
  }

  const std::string& path_;
  std::FILE* file_ = nullptr;
};

int Logits(LogitsOptions options) {
  if (options.out.empty() && isatty(STDOUT_FILENO) != 0) {
    return Misused("the output is binary; give --out FILE or a pipe", "logits");
  }
  Runtime runtime;
  if (const Error error = runtime.Open(options); !error.ok()) return Fail(error);
  const size_t vocab = runtime.model().config.vocab_size;
  std::vector<Token> ids;
  if (const Error error = ParseIds(options.ids, vocab, &ids); !error.ok()) return Fail(error);
  if (ids.empty()) return Misused("at least one token must be given", "--ids");
  if (options.context == 0) options.context = static_cast<uint32_t>(ids.size());
  const Result<Limits> limits = runtime.LimitsOf(options);
  if (!limits) return Fail(limits.error());
  if (ids.size() > limits->context) return Misused("there are more --ids than --ctx holds", std::to_string(ids.size()));
  if (const Error error = runtime.BindVocabulary(0); !error.ok()) return Fail(error);
  if (const Error error = runtime.BindSession(*limits); !error.ok()) return Fail(error);

  Output out(options.out);
  if (const Error error = out.Open(); !error.ok()) return Fail(error);
  std::vector<float> logits(limits->batch * vocab);
  Progress progress("logits", "tokens", ids.size());
  for (size_t begin = 0; begin < ids.size(); begin += limits->batch) {
    const size_t n = std::min<size_t>(limits->batch, ids.size() - begin);
    const std::span<float> piece(logits.data(), n * vocab);
    if (const Error error = runtime.session().Feed({ids.data() + begin, n}, piece); !error.ok()) return Fail(error);
    if (const Error error = out.Write(piece); !error.ok()) return Fail(error);
    if (Interrupted()) return Fail("interrupted", "logits");
    progress.Show(begin + n);
  }
  return kFine;
}

}  // namespace

void AddLogits(CLI::App& app, int& code) {
  auto options = std::make_shared<LogitsOptions>();
  options->kv = "f32";  // what is compared is the arithmetic, not the cache
  CLI::App* command = app.add_subcommand("logits", "The logits behind every token, as raw numbers.");
  command->usage(
      "Usage: thimble logits MODEL --ids 1,2,3 [options]\n\nWrites little-endian float32: [tokens][vocabulary].");
  AddModel(*command, *options);
  command->add_option("--ids", options->ids, "the ids of the tokens")->required()->option_text("1,2,3");
  command->add_option("--out", options->out, "the file to write (default: standard output)")->option_text("FILE");
  AddLimits(*command, *options);
  command->callback([=, &code] { code = Logits(*options); });
}

}  // namespace thimble::program
