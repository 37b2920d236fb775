// SPDX-License-Identifier: Apache-2.0
//
// thimble pack: makes, of a GGUF, the file that a device maps: the weights as fast kernels read them, and all the rest.
// Which numbers stand in it is io's business; this brings files, threads and patience together.
#include "io/pack.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "arm/cpu.h"
#include "arm/kernel_tables.h"
#include "arm/thread_pool.h"
#include "commands.h"
#include "console.h"
#include "io/imatrix.h"
#include "io/load_qwen35.h"
#include "io/mapped_file.h"
#include "io/pack_writer.h"
#include "io/whole_file.h"
#include "options.h"
#include "runtime.h"

namespace thimble::program {
namespace {

struct PackOptions {
  std::string model;
  std::string out;
  std::string cpu = "this";
  std::string recipe = "q4";
  bool keep_exact = false;
  std::string imatrix;
  uint32_t threads = 0;
};

// Names that people may mean. All of them read the same layout, so none changes anything.
const std::vector<std::string> kProcessors = {"this",       "cortex-a53", "cortex-a55", "cortex-a72",
                                              "cortex-a76", "neoverse",   "avx2",       "avx512"};

// Whether `out` is one of the files that `model` stands in: itself, or another part of a split one.
bool IsSource(const std::string& out, const std::string& model, size_t parts) {
  std::error_code ignored;
  if (parts == 1) return std::filesystem::equivalent(out, model, ignored);
  constexpr std::string_view kFirst = "00001-of-";
  const size_t number = model.rfind(kFirst);
  for (size_t i = 1; i <= parts && number != std::string::npos; ++i) {
    const std::string digits = std::to_string(i);
    std::string part = model;
    part.replace(number, 5, std::string(5 - digits.size(), '0') + digits);
    if (std::filesystem::equivalent(out, part, ignored)) return true;
  }
  return false;
}

// Names in the importance matrix that the model does not have, and matrices that it says nothing about.
void TellImatrix(const Imatrix& imatrix, const PackOrder& order) {
  for (size_t i = 0; i < imatrix.size(); ++i) {
    if (order.source->FindTensor(imatrix[i].name)) continue;
    Note("the importance matrix has an entry for a tensor that the model does not have", imatrix[i].name);
  }
  size_t without = 0;
  for (const GgufTensor& tensor : order.source->tensors()) {
    const bool rounded = PackFormatOf(order, tensor) != FindFormat(tensor.type);
    if (rounded && imatrix.Find(tensor.name) == nullptr) ++without;
  }
  if (without > 0) Note("matrices that the importance matrix says nothing about", std::to_string(without));
}

Error WritePieces(PackWriter& writer, const Workers& workers, WholeFile& file) {
  constexpr size_t kMegabyte = 1000000;
  Progress progress("packing", "MB", writer.source_bytes() / kMegabyte);
  uint64_t read = 0;
  uint64_t at = writer.header_bytes();
  while (true) {
    if (Interrupted()) return {Status::kSystem, "interrupted; nothing was written"};
    const Result<PackWriter::Piece> piece = writer.Next(workers);
    if (!piece) return piece.error();
    if (piece->bytes.empty()) break;
    if (const Error error = file.WriteAt(piece->bytes, at); !error.ok()) return error;
    ForgetPages(piece->source);
    at += piece->bytes.size();
    read += piece->source.size();
    progress.Show(read / kMegabyte);
  }
  return file.WriteAt(writer.Header(), 0);
}

int Pack(const PackOptions& options) {
  const Stopwatch watch;
  PackOrder order;
  order.keep_exact = options.keep_exact;
  const auto recipe = std::find(std::begin(kPackRecipes), std::end(kPackRecipes), options.recipe);
  order.recipe = static_cast<PackRecipe>(recipe - std::begin(kPackRecipes));

  MappedModel mapped;
  if (const Error error = mapped.Open(options.model.c_str()); !error.ok()) return Fail(error);
  order.parts = mapped.parts();
  const Result<Gguf> source = OpenGguf(mapped, options.model);
  if (!source) return Fail(source.error());
  order.source = &*source;
  Arena nowhere;
  if (const Result<Model> model = LoadQwen35(*source, nowhere); !model) return Fail(model.error());
  if (IsSource(options.out, options.model, order.parts.size())) {
    return Misused("the pack would overwrite the model that it is made from", options.out);
  }

  MappedFile imatrix_file;
  const auto imatrix = std::make_unique<Imatrix>();
  if (!options.imatrix.empty()) {
    if (const Error error = imatrix_file.Open(options.imatrix.c_str()); !error.ok()) return Fail(error);
    if (const Error error = imatrix->Open(imatrix_file.bytes()); !error.ok()) return Fail(error);
    order.imatrix = imatrix.get();
    order.imatrix_bytes = imatrix_file.bytes();
    TellImatrix(*imatrix, order);
  }

  ThreadPool pool(options.threads);
  const Workers workers = pool.workers();
  const auto writer = std::make_unique<PackWriter>();
  Arena measure;
  if (const Error error = writer->Bind(order, workers.count, measure); !error.ok()) return Fail(error);
  Block block;
  if (const Error error = block.Reserve(measure.used()); !error.ok()) return Fail(error);
  Arena arena(block.bytes());
  if (const Error error = writer->Bind(order, workers.count, arena); !error.ok()) return Fail(error);

  WholeFile file;
  if (const Error error = file.Create(options.out.c_str(), writer->bytes()); !error.ok()) return Fail(error);
  if (const Error error = WritePieces(*writer, workers, file); !error.ok()) return Fail(error);
  if (const Error error = file.Commit(); !error.ok()) return Fail(error);

  char line[256];
  std::snprintf(line, sizeof line, "%s: %.1f MB from %.1f MB in %.1f s", options.recipe.c_str(),
                static_cast<double>(writer->bytes()) / 1e6, static_cast<double>(writer->source_bytes()) / 1e6,
                watch.seconds());
  const Error error = PrintLine(line);
  return error.ok() ? kFine : Fail(error);
}

}  // namespace

void AddPack(CLI::App& app, int& code) {
  auto options = std::make_shared<PackOptions>();
  CLI::App* command = app.add_subcommand("pack", "Make the file that a device maps, of a GGUF.");
  command->usage(
      "Usage: thimble pack MODEL -o PACK [options]\n\nWrites a pack: the model's weights as fast kernels read them, on "
      "any processor, and everything else that the\nGGUF holds. It replaces the GGUF on a device.");
  command->add_option("MODEL", options->model, "a Qwen3.5 text model in GGUF; of a split one, the first part")
      ->required()
      ->option_text(" ");
  command->add_option("-o,--output", options->out, "the pack to write")->required()->option_text("PACK");
  command
      ->add_option("--for", options->cpu,
                   "the processor that will run it: all read the same layout, so packs are the same")
      ->option_text("CPU")
      ->check(CLI::IsMember(kProcessors));
  command
      ->add_option("--recipe", options->recipe,
                   "bits of the matrices: q4 all 4; q4s mixers 8, others 4; q3 feed-forward 3, others 4; exact as they "
                   "are (default: q4)")
      ->option_text("q4|q4s|q3|exact")
      ->check(CLI::IsMember(std::vector<std::string>(std::begin(kPackRecipes), std::end(kPackRecipes))));
  command->add_flag("--keep-exact", options->keep_exact, "leave the matrices as they are that are quantised already");
  command->add_option("--imatrix", options->imatrix, "an importance matrix made by llama-imatrix")->option_text("FILE");
  command->add_option("--threads", options->threads, "threads that compute (default: all cores)")
      ->option_text("N")
      ->check(Between(1, 256));
  command->callback([=, &code] { code = Pack(*options); });
}

}  // namespace thimble::program
