// SPDX-License-Identifier: Apache-2.0
//
// See runtime.h.
#include "runtime.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>

#include "arm/kernel_tables.h"
#include "arm/probe.h"
#include "console.h"
#include "io/load_qwen35.h"

namespace thimble::program {

namespace {

// A thread is worth waking for a few million multiplications; a tiny model is faster alone.
size_t DefaultThreads(const Config& c) {
  constexpr size_t kWeightsPerThread = size_t{8} << 20;
  const size_t layer =
      c.embedding_length * (3 * size_t{c.feed_forward_length} + c.conv_channels() + 2 * size_t{c.inner_size});
  const size_t worth = 1 + c.block_count * layer / kWeightsPerThread;
  return worth == 1 ? 1 : std::min(worth, PrefillThreads());
}

// The kernels by their name, or the best for this processor.
Result<const Kernels*> FindKernels(const std::string& name) {
  const Cpu cpu = DescribeCpu();
  const Kernels* kernels = name == "auto" ? &SelectKernels(cpu) : &kPortableKernels;
  for (const KernelTable& table : KernelTables()) {
    if (name != table.kernels->name) continue;
    if (!(cpu.*table.needs)) {
      return Error{Status::kUnsupported, "this processor cannot run these kernels", "--backend", table.kernels->name};
    }
    kernels = table.kernels;
  }
  if (!SelfCheck(*kernels)) {
    return Error{Status::kUnsupported,
                 "these kernels compute something else than they should here; --backend portable works", "--backend",
                 kernels->name};
  }
  return kernels;
}

Type CacheType(const std::string& name) {
  if (name == "f32") return Type::kF32;
  if (name == "q8") return Type::kQ8_0;
  if (name == "q4") return Type::kIQ4_NL;
  return name == "q3" ? Type::kNL3 : Type::kF16;
}

// What the file says of YaRN, or what the user says instead.
RopeConfig Stretched(const Config& c, const ModelOptions& options) {
  RopeConfig rope = c.rope;
  if (options.rope_scale > 0) rope.scaling_factor = static_cast<float>(options.rope_scale);
  if (options.rope_context > 0) rope.original_context_length = options.rope_context;
  if (rope.original_context_length == 0) rope.original_context_length = c.context_length;
  return rope;
}

// Tokens that the model can be expected to understand.
uint64_t TrainedContext(const Config& c) {
  if (c.rope.scaling_factor <= 1) return c.context_length;
  const double stretched =
      static_cast<double>(c.rope.original_context_length) * static_cast<double>(c.rope.scaling_factor);
  return std::max<uint64_t>(c.context_length, static_cast<uint64_t>(stretched));
}

}  // namespace

Error LockMemory(std::span<const std::byte> memory) {
  if (mlock(memory.data(), memory.size()) == 0) return {};
  return {Status::kTooLarge,
          "the system does not lock this many bytes; raise its limit (ulimit -l), or leave --lock out",
          {},
          {},
          memory.size()};
}

void Block::Free::operator()(std::byte* memory) const { std::free(memory); }

Error Block::Reserve(size_t bytes) {
  memory_.reset(static_cast<std::byte*>(std::aligned_alloc(Arena::kAlign, std::max(bytes, Arena::kAlign))));
  size_ = memory_ == nullptr ? 0 : bytes;
  if (memory_ == nullptr) {
    return {Status::kTooLarge, "the machine does not have this many bytes for the arena", {}, {}, bytes};
  }
  return {};
}

Result<Gguf> OpenGguf(const MappedModel& mapped, const std::string& path) {
  const Result<Gguf> file = Gguf::Open(mapped.parts());
  if (file) return file;
  Error error = file.error();
  if (error.name.empty()) error.name = path;
  return error;
}

Error Runtime::Open(const ModelOptions& options) {
  if (const Error error = mapped_.Open(options.model.c_str()); !error.ok()) return error;
  const Result<Gguf> file = OpenGguf(mapped_, options.model);
  if (!file) return file.error();
  file_ = *file;
  if (IsPack(file_)) {
    const Result<PackStamp> stamp = ReadPackStamp(file_, mapped_.parts()[0]);
    if (!stamp) return stamp.error();
    stamp_ = *stamp;
  }
  Arena measure;
  const Result<Model> model = LoadQwen35(file_, measure);
  if (!model) return model.error();
  model_ = *model;
  model_.config.rope = Stretched(model_.config, options);
  lock_ = options.lock;
  for (size_t i = 0; lock_ && i < mapped_.parts().size(); ++i) {
    if (const Error error = LockMemory(mapped_.parts()[i]); !error.ok()) return error;
  }
  const Result<const Kernels*> kernels = FindKernels(options.backend);
  if (!kernels) return kernels.error();
  backend_.kernels = *kernels;
  pool_.emplace(options.threads != 0 ? options.threads : DefaultThreads(model_.config));
  backend_.workers = pool_->workers();
  size_t step = pool_->threads();
  if (options.decode_threads != 0) {
    step = options.decode_threads;
  } else if (options.threads == 0 && step > 1) {
    step = DecodeThreads(*pool_, mapped_.parts()[0]);
  }
  backend_.step_workers = pool_->workers(step);
  return {};
}

Error Runtime::Place(const std::function<Error(Arena&)>& layout) {
  Arena measure;
  if (const Error error = layout(measure); !error.ok()) return error;
  if (!measure.error().ok()) return measure.error();
  Block block;
  if (const Error error = block.Reserve(measure.used()); !error.ok()) return error;
  if (lock_) {
    if (const Error error = block.Lock(); !error.ok()) return error;
  }
  blocks_.push_back(std::move(block));
  Arena arena(blocks_.back().bytes());
  return layout(arena);
}

Error Runtime::BindVocabulary(size_t max_text) {
  return Place([&](Arena& arena) -> Error {
    const Result<Model> model = LoadQwen35(file_, arena, &model_.config.rope);
    if (!model) return model.error();
    const Result<Tokenizer> tokenizer = Tokenizer::Bind(file_, max_text, arena);
    if (!tokenizer) return tokenizer.error();
    model_ = *model;
    tokenizer_ = *tokenizer;
    return {};
  });
}

Error Runtime::BindSession(const Limits& limits) {
  return Place([&](Arena& arena) { return session_.Bind(model_, limits, backend_, arena); });
}

size_t Runtime::arena_bytes() const {
  size_t bytes = 0;
  for (const Block& block : blocks_) bytes += block.bytes().size();
  return bytes;
}

Result<Limits> Runtime::LimitsOf(const ModelOptions& options) const {
  Limits limits;
  limits.context = options.context != 0 ? options.context : std::min(limits.context, model_.config.context_length);
  limits.window = options.window;
  limits.sinks = options.sinks;
  limits.batch = limits.window == 0 ? std::min(options.batch, limits.context) : options.batch;
  limits.k = CacheType(options.kv);
  limits.v = options.v.empty() ? limits.k : CacheType(options.v);
  limits.state = options.state == "i16" ? StateForm::kI16 : StateForm::kF32;
  const uint64_t trained = TrainedContext(model_.config);
  if (limits.window == 0 && limits.context > trained) {
    Note("--ctx is more tokens than the model was trained for", std::to_string(trained));
  }
  return limits;
}

Result<bool> Runtime::Feed(std::span<const Token> tokens, size_t more, std::span<const size_t> stops,
                           const std::function<void(size_t)>& reached) {
  const size_t needed = session_.length() + tokens.size() + more;
  if (tokens.size() + more > session_.room()) {
    return Error{Status::kFull, "this does not fit in the context; raise --ctx to at least", {}, {}, needed};
  }
  Progress progress("prompt", "tokens", tokens.size());
  const size_t batch = session_.limits().batch;
  for (size_t done = 0; done < tokens.size();) {
    const size_t stop = stops.empty() ? tokens.size() : stops[0];
    const auto piece = tokens.subspan(done, std::min(batch, stop - done));
    if (const Error error = session_.Feed(piece); !error.ok()) return error;
    if (Interrupted()) return false;
    done += piece.size();
    progress.Show(done);
    if (stops.empty() || done < stop) continue;
    stops = stops.subspan(1);
    reached(stop);
  }
  return true;
}

}  // namespace thimble::program
