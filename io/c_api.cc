// SPDX-License-Identifier: Apache-2.0
//
// The C functions of thimble.h over the C++ classes. It converts, proves the structs of the caller, and places objects
// in his memory; it computes nothing. No function needs another's class, so that a linker drops what a program does not
// call.
#include <algorithm>
#include <cstddef>
#include <cstring>
#include <limits>
#include <new>
#include <span>
#include <string_view>

#include "core/arena.h"
#include "core/choices.h"
#include "core/math.h"
#include "core/sampler.h"
#include "core/session.h"
#include "io/error_text.h"
#include "io/gguf.h"
#include "io/linked_model.h"
#include "io/load_qwen35.h"
#include "io/task.h"
#include "io/thimble.h"
#include "io/tokenizer.h"

// NOLINTBEGIN(readability-identifier-naming): thimble.h's names
struct thimble_model {
  thimble::Model model;
  const thimble::LinkedModel* linked;  // null for a FileModel
  thimble::Result<thimble::Task> (*read_task)(const thimble_model& model);
};

struct thimble_tokenizer {
  thimble::Tokenizer tokenizer;
  size_t max_text;
};

struct thimble_session {
  thimble::Session session;
};

struct thimble_sampler {
  thimble::Sampler sampler;
};

struct thimble_choices {
  thimble::Choices tree;
};

struct thimble_task {
  thimble::Task task;
  std::string_view prompt;
  thimble_session* session;
  thimble_tokenizer* tokenizer;
  char* normal;   // [max_text]
  char* scratch;  // [prompt.size() + max_text]
  thimble::Token* tokens;
  size_t capacity;  // of tokens
};
// NOLINTEND(readability-identifier-naming)

namespace thimble {
namespace {

// What thimble_open gives: tokenizer and task are read of the file when they are bound.
struct FileModel : thimble_model {
  Gguf file;
};

static_assert(THIMBLE_ALIGN == Arena::kAlign);
static_assert(THIMBLE_BAD_FILE == static_cast<int>(Status::kBadFile) &&
              THIMBLE_UNSUPPORTED == static_cast<int>(Status::kUnsupported) &&
              THIMBLE_NOT_FOUND == static_cast<int>(Status::kNotFound) &&
              THIMBLE_TOO_LARGE == static_cast<int>(Status::kTooLarge) &&
              THIMBLE_TOO_SMALL == static_cast<int>(Status::kTooSmall) &&
              THIMBLE_FULL == static_cast<int>(Status::kFull) &&
              THIMBLE_BAD_ARGUMENT == static_cast<int>(Status::kBadArgument) &&
              THIMBLE_SYSTEM == static_cast<int>(Status::kSystem));
static_assert(THIMBLE_F32 == static_cast<int>(Type::kF32) && THIMBLE_F16 == static_cast<int>(Type::kF16) &&
              THIMBLE_Q8_0 == static_cast<int>(Type::kQ8_0) && THIMBLE_IQ4_NL == static_cast<int>(Type::kIQ4_NL) &&
              THIMBLE_NL3 == static_cast<int>(Type::kNL3) && THIMBLE_STATE_I16 == static_cast<int>(StateForm::kI16));

// The defaults of a struct are those of its macro. No struct ends in padding, which could look like a newer field.
constexpr thimble_memory kMemory = THIMBLE_MEMORY(nullptr, 0);
constexpr thimble_limits kLimits = THIMBLE_LIMITS;
constexpr thimble_backend kBackend = THIMBLE_BACKEND;
constexpr thimble_sampling kSampling = THIMBLE_SAMPLING;
static_assert(sizeof(thimble_limits) == offsetof(thimble_limits, sinks) + sizeof(uint32_t));
static_assert(sizeof(thimble_backend) == offsetof(thimble_backend, run) + sizeof(void*));
static_assert(sizeof(thimble_sampling) == offsetof(thimble_sampling, logit_biases) + sizeof(size_t));
static_assert(sizeof(thimble_logit_bias) == sizeof(LogitBias) &&
              offsetof(thimble_logit_bias, bias) == offsetof(LogitBias, bias));

thimble_error Told(const Error& error) {
  return {static_cast<int32_t>(error.status),
          error.what,
          error.name.data(),
          error.name.size(),
          error.detail.data(),
          error.detail.size(),
          error.at};
}

Error Missing() { return {Status::kBadArgument, "an object or a pointer that this call needs is NULL"}; }

// What stands at the beginning of every struct of the caller, and how much of it there may be in one that was filled.
constexpr uint32_t kMostOfStruct = 4096;

Error CheckSize(uint32_t size, uint32_t least, uint32_t align) {
  if (size >= least && size % align == 0 && size <= kMostOfStruct) return {};
  return {Status::kBadArgument, "struct_size must be the size of the struct; its macro sets it", {}, {}, size};
}

// *out = the caller's struct where he gave one and as far as it goes, `defaults` beyond.
template <class T>
Error Read(const T* given, const T& defaults, T* out) {
  *out = defaults;
  if (given == nullptr) return {};
  const uint32_t size = given->struct_size;
  if (const Error error = CheckSize(size, alignof(T), alignof(T)); !error.ok()) return error;
  const auto* bytes = reinterpret_cast<const std::byte*>(given);
  std::memcpy(out, bytes, std::min<size_t>(size, sizeof(T)));
  for (size_t i = sizeof(T); i < size; ++i) {
    if (bytes[i] == std::byte{0}) continue;
    return {Status::kUnsupported, "a struct asks for something that only a newer library knows", {}, {}, i};
  }
  return {};
}

// The caller's memory as an arena. What a call takes counts only when it ends well; what it borrows, at the memory's
// end, it gives back.
class Room {
 public:
  explicit Room(thimble_memory* memory) : memory_(memory) {
    if (memory == nullptr) {
      error_ = Missing();
      return;
    }
    thimble_memory known;
    error_ = Read(memory, kMemory, &known);
    if (error_.ok() && memory->struct_size < sizeof known) error_ = CheckSize(memory->struct_size, sizeof known, 1);
    if (!error_.ok()) return;
    const bool aligned =
        reinterpret_cast<uintptr_t>(known.base) % Arena::kAlign == 0 && known.used % Arena::kAlign == 0;
    const size_t most = known.base != nullptr ? known.bytes : kMost;
    if (!aligned || known.used > std::min(most, kMost)) {
      error_ = {Status::kBadArgument,
                "memory must begin on a multiple of THIMBLE_ALIGN, and `used` is not the caller's"};
      return;
    }
    if (known.base == nullptr) return;
    free_ = {static_cast<std::byte*>(known.base) + known.used, known.bytes - known.used};
    arena_ = Arena(free_);
  }

  const Error& error() const { return error_; }
  Arena& arena() { return arena_; }

  /// Before anything is taken: `bytes` at the end of the memory; null when there are not so many, or memory is counted.
  std::byte* Borrow(size_t bytes) {
    borrowed_ = (bytes + Arena::kAlign - 1) / Arena::kAlign * Arena::kAlign;
    if (arena_.measuring()) return nullptr;
    const size_t end = free_.size() / Arena::kAlign * Arena::kAlign;
    const bool fits = borrowed_ <= end;
    arena_ = Arena(free_.first(fits ? end - borrowed_ : 0));
    return fits ? free_.data() + end - borrowed_ : nullptr;
  }

  /// Ends the call. True when it went well and there is memory, so that the caller gets his object.
  bool Close(Error* error) {
    if (error->ok()) *error = arena_.error();
    const size_t before = memory_->used;
    const size_t more = arena_.used() + borrowed_;  // each at most half of what there is
    if (more > kMost - before) *error = Error{Status::kTooLarge, kTooMuch};
    if (error->ok() || !arena_.error().ok()) memory_->needed = std::max(memory_->needed, before + more);
    if (error->status == Status::kTooSmall && !arena_.error().ok()) error->at = before + more;
    if (!error->ok()) return false;
    memory_->used = before + arena_.used();
    return !arena_.measuring();
  }

 private:
  static constexpr size_t kMost = std::numeric_limits<size_t>::max() / 2;
  static constexpr const char* kTooMuch = "this needs more memory than this machine can address";

  thimble_memory* memory_;
  std::span<std::byte> free_;
  Arena arena_;
  size_t borrowed_ = 0;
  Error error_;
};

// Room for a T, and a T: in the arena if it has some, else `spare`, which only helps to count.
template <class T>
T* Place(Arena& arena, T* spare) {
  T* place = arena.Take<T>(1);
  return place == nullptr ? spare : new (place) T();
}

Error ReadLimits(const thimble_limits* given, Limits* limits) {
  thimble_limits l;
  if (const Error error = Read(given, kLimits, &l); !error.ok()) return error;
  if (l.state > static_cast<uint32_t>(StateForm::kI16)) {
    return {Status::kBadArgument, "it must be THIMBLE_STATE_F32 or THIMBLE_STATE_I16", "state", {}, l.state};
  }
  *limits = {l.context,
             l.batch,
             static_cast<Type>(l.k),
             static_cast<Type>(l.v),
             static_cast<StateForm>(l.state),
             l.checkpoints,
             l.rewind,
             l.window,
             l.sinks};
  return {};
}

Error ReadBackend(const thimble_backend* given, Backend* backend) {
  thimble_backend b;
  if (const Error error = Read(given, kBackend, &b); !error.ok()) return error;
  if (b.workers > 1 && b.run == nullptr) {
    return {Status::kBadArgument, "several workers need somebody to run them", "run", {}, b.workers};
  }
  if (b.kernels != nullptr) backend->kernels = reinterpret_cast<const Kernels*>(b.kernels);
  backend->workers = {b.workers, b.context, b.run};
  backend->step_workers = backend->workers;
  return {};
}

Error ReadSampling(const thimble_sampling* given, SamplerOptions* options) {
  thimble_sampling s;
  if (const Error error = Read(given, kSampling, &s); !error.ok()) return error;
  *options = {s.temperature,
              s.top_k,
              s.top_p,
              s.min_p,
              s.repetition_penalty,
              s.presence_penalty,
              s.frequency_penalty,
              s.penalty_window,
              s.seed,
              {reinterpret_cast<const LogitBias*>(s.logit_bias), s.logit_biases}};
  return {};
}

Result<Task> TaskOfFile(const thimble_model& model) { return ReadTask(static_cast<const FileModel&>(model).file); }
Result<Task> TaskOfLinked(const thimble_model& model) { return model.linked->task; }

// The ways to bind a tokenizer.
template <Result<Tokenizer> (*kBind)(const Gguf&, size_t, Arena&, const TextRules&)>
Result<Tokenizer> TokenizerOfFile(const thimble_model& model, size_t max_text, Arena& arena) {
  if (model.linked == nullptr) return kBind(static_cast<const FileModel&>(model).file, max_text, arena, kUnicode);
  return Error{Status::kBadArgument, "this model is linked; thimble_bind_linked_tokenizer binds its tokenizer"};
}

Result<Tokenizer> TokenizerOfLinked(const thimble_model& model, size_t max_text, Arena& arena) {
  if (model.linked != nullptr) return Tokenizer::Bind(model.linked->tokenizer, max_text, arena, kLatin);
  return Error{Status::kBadArgument, "this model is of a file; thimble_bind_tokenizer binds its tokenizer"};
}

// A template, so that each of them stands alone.
template <Result<Tokenizer> (*kBind)(const thimble_model&, size_t, Arena&)>
thimble_error BindTokenizer(const thimble_model* model, size_t max_text, thimble_memory* memory,
                            thimble_tokenizer** tokenizer) {
  *tokenizer = nullptr;
  Room room(memory);
  if (!room.error().ok()) return Told(room.error());
  if (model == nullptr) return Told(Missing());
  auto* place = room.arena().Take<thimble_tokenizer>(1);
  const Result<Tokenizer> bound = kBind(*model, max_text, room.arena());
  Error error = bound.error();
  if (room.Close(&error)) *tokenizer = new (place) thimble_tokenizer{*bound, max_text};
  return Told(error);
}

// The texts of a closed set: the caller's, or the file's.
struct Texts {
  const char* const* given;
  size_t count;
  GgufStrings own;

  // Calls f(text) for each until one says no.
  template <class F>
  Error ForEach(F f) const {
    for (size_t i = 0; given != nullptr && i < count; ++i) {
      if (const Error error = f(std::string_view(given[i])); !error.ok()) return error;
    }
    if (given != nullptr) return {};
    for (const std::string_view text : own) {
      if (const Error error = f(text); !error.ok()) return error;
    }
    return {};
  }
};

Error FindTexts(const thimble_model& model, const char* const* given, size_t count, Texts* texts) {
  *texts = {given, count, {}};
  if (given != nullptr) return {};
  const Result<Task> task = model.read_task(model);
  if (!task) return task.error();
  texts->own = task->choices;
  texts->count = static_cast<size_t>(texts->own.size());
  if (texts->count != 0) return {};
  return {Status::kNotFound, "the model does not say what to choose from; give texts", "thimble.choices"};
}

// The tokens of all texts, and of the longest.
struct Extent {
  size_t tokens = 0;
  size_t longest = 0;
};

Error Measure(const Texts& texts, Tokenizer& tokenizer, Extent* extent) {
  return texts.ForEach([&](std::string_view text) -> Error {
    const Result<size_t> none = tokenizer.Encode(text, Specials::kRecognise, {});
    if (!none && none.error().status != Status::kTooSmall) return none.error();
    const size_t tokens = none ? 0 : static_cast<size_t>(none.error().at);
    extent->tokens += tokens;
    extent->longest = std::max(extent->longest, tokens);
    return {};
  });
}

}  // namespace

extern "C" {

int32_t thimble_version(void) { return THIMBLE_VERSION; }

size_t thimble_error_text(const thimble_error* error, char* out, size_t bytes) {
  const Error told = {static_cast<Status>(error->status),
                      error->what,
                      {error->name, error->name_bytes},
                      {error->detail, error->detail_bytes},
                      error->at};
  const size_t length = ErrorText(told, {out, bytes - 1}).size();
  out[length] = '\0';
  return length;
}

thimble_error thimble_open(const void* file, size_t bytes, thimble_memory* memory, thimble_model** model) {
  *model = nullptr;
  Room room(memory);
  if (!room.error().ok()) return Told(room.error());
  const std::span<const std::byte> parts[] = {{static_cast<const std::byte*>(file), bytes}};
  const Result<Gguf> opened = Gguf::Open(parts);
  if (!opened) return Told(opened.error());
  auto* place = room.arena().Take<FileModel>(1);
  const Result<Model> views = LoadQwen35(*opened, room.arena());
  Error error = views.error();
  if (room.Close(&error)) *model = new (place) FileModel{{*views, nullptr, TaskOfFile}, *opened};
  return Told(error);
}

thimble_error thimble_open_linked(const thimble_linked* linked, const void* file, size_t bytes, thimble_memory* memory,
                                  thimble_model** model) {
  *model = nullptr;
  Room room(memory);
  if (!room.error().ok()) return Told(room.error());
  if (linked == nullptr) return Told(Missing());
  const auto* proven = reinterpret_cast<const LinkedModel*>(linked);
  Error error = proven->Check({static_cast<const std::byte*>(file), bytes});
  if (!error.ok()) return Told(error);
  auto* place = room.arena().Take<thimble_model>(1);
  if (room.Close(&error)) *model = new (place) thimble_model{proven->model, proven, TaskOfLinked};
  return Told(error);
}

uint32_t thimble_vocab(const thimble_model* model) { return model->model.config.vocab_size; }

uint32_t thimble_context(const thimble_model* model) { return model->model.config.context_length; }

thimble_error thimble_bind_tokenizer(const thimble_model* model, size_t max_text, thimble_memory* memory,
                                     thimble_tokenizer** tokenizer) {
  return BindTokenizer<TokenizerOfFile<Tokenizer::Bind>>(model, max_text, memory, tokenizer);
}

thimble_error thimble_bind_indexed_tokenizer(const thimble_model* model, size_t max_text, thimble_memory* memory,
                                             thimble_tokenizer** tokenizer) {
  return BindTokenizer<TokenizerOfFile<Tokenizer::BindIndexed>>(model, max_text, memory, tokenizer);
}

thimble_error thimble_bind_linked_tokenizer(const thimble_model* model, size_t max_text, thimble_memory* memory,
                                            thimble_tokenizer** tokenizer) {
  return BindTokenizer<TokenizerOfLinked>(model, max_text, memory, tokenizer);
}

thimble_error thimble_encode(thimble_tokenizer* tokenizer, const char* text, size_t bytes, int specials,
                             thimble_token* tokens, size_t room, size_t* count) {
  const Specials treated = specials != 0 ? Specials::kRecognise : Specials::kText;
  const Result<size_t> encoded = tokenizer->tokenizer.Encode({text, bytes}, treated, {tokens, room});
  *count = encoded ? *encoded : 0;
  return Told(encoded.error());
}

thimble_error thimble_decode(const thimble_tokenizer* tokenizer, const thimble_token* tokens, size_t count, char* text,
                             size_t room, size_t* bytes) {
  *bytes = 0;
  size_t most = 0;  // a token's bytes are no more than those that spell it
  for (size_t i = 0; i < count; ++i) most += tokenizer->tokenizer.TokenText(tokens[i]).size();
  if (most > room) return Told({Status::kTooSmall, "there is no room for the text of these tokens", {}, {}, most});
  for (size_t i = 0; i < count; ++i) *bytes += tokenizer->tokenizer.Decode(tokens[i], {text + *bytes, room - *bytes});
  return Told({});
}

int thimble_is_end(const thimble_tokenizer* tokenizer, thimble_token token) {
  const std::span<const Token> ends = tokenizer->tokenizer.end_tokens();
  return std::find(ends.begin(), ends.end(), token) != ends.end() ? 1 : 0;
}

thimble_error thimble_plan(const thimble_model* model, const thimble_limits* limits, const thimble_backend* backend,
                           thimble_session_plan* plan) {
  if (model == nullptr) return Told(Missing());
  const uint32_t size = plan->struct_size;
  if (const Error error = CheckSize(size, alignof(thimble_session_plan), alignof(thimble_session_plan)); !error.ok()) {
    return Told(error);
  }
  Limits read;
  Backend with;
  if (const Error error = ReadLimits(limits, &read); !error.ok()) return Told(error);
  if (const Error error = ReadBackend(backend, &with); !error.ok()) return Told(error);
  const Result<SessionPlan> sections = Session::Plan(model->model.config, read, with);
  if (!sections) return Told(sections.error());
  Arena object;
  object.Take<thimble_session>(1);
  const thimble_session_plan told = {size,
                                     sections->state,
                                     sections->cache,
                                     sections->checkpoints,
                                     sections->history,
                                     sections->work,
                                     object.used() + sections->total()};
  std::memset(plan, 0, size);
  std::memcpy(plan, &told, std::min<size_t>(size, sizeof told));
  return Told({});
}

thimble_error thimble_bind_session(const thimble_model* model, const thimble_limits* limits,
                                   const thimble_backend* backend, thimble_memory* memory, thimble_session** session) {
  *session = nullptr;
  Room room(memory);
  if (!room.error().ok()) return Told(room.error());
  if (model == nullptr) return Told(Missing());
  Limits read;
  Backend with;
  if (const Error error = ReadLimits(limits, &read); !error.ok()) return Told(error);
  if (const Error error = ReadBackend(backend, &with); !error.ok()) return Told(error);
  thimble_session spare;
  thimble_session* bound = Place(room.arena(), &spare);
  Error error = bound->session.Bind(model->model, read, with, room.arena());
  if (room.Close(&error)) *session = bound;
  return Told(error);
}

void thimble_reset(thimble_session* session) { session->session.Reset(); }

thimble_error thimble_feed(thimble_session* session, const thimble_token* tokens, size_t count) {
  return Told(session->session.Feed({tokens, count}));
}

size_t thimble_length(const thimble_session* session) { return session->session.length(); }

size_t thimble_room(const thimble_session* session) { return session->session.room(); }

float* thimble_logits(thimble_session* session) {
  return session->session.length() == 0 ? nullptr : session->session.Logits().data();
}

thimble_error thimble_rewind(thimble_session* session, size_t count) { return Told(session->session.Rewind(count)); }

size_t thimble_image_bytes(const thimble_session* session) { return session->session.image_bytes(); }

thimble_error thimble_save(const thimble_session* session, void* image, size_t bytes) {
  const size_t needed = session->session.image_bytes();
  if (bytes < needed)
    return Told({Status::kTooSmall, "there is no room for the image; it has this many bytes", {}, {}, needed});
  session->session.Save({static_cast<std::byte*>(image), bytes});
  return Told({});
}

thimble_error thimble_restore(thimble_session* session, const void* image, size_t bytes) {
  return Told(session->session.Restore({static_cast<const std::byte*>(image), bytes}));
}

thimble_error thimble_bind_sampler(const thimble_model* model, const thimble_tokenizer* tokenizer,
                                   const thimble_sampling* sampling, thimble_memory* memory,
                                   thimble_sampler** sampler) {
  *sampler = nullptr;
  Room room(memory);
  if (!room.error().ok()) return Told(room.error());
  if (model == nullptr) return Told(Missing());
  SamplerOptions options;
  if (const Error error = ReadSampling(sampling, &options); !error.ok()) return Told(error);
  const uint32_t vocab = thimble_vocab(model);
  thimble_sampler spare;
  thimble_sampler* bound = Place(room.arena(), &spare);
  Error error = bound->sampler.Bind(options, vocab, room.arena());
  if (!room.Close(&error)) return Told(error);
  for (uint32_t id = 0; tokenizer != nullptr && id < vocab; ++id) {
    if (tokenizer->tokenizer.IsUnused(static_cast<Token>(id))) bound->sampler.Ban(static_cast<Token>(id));
  }
  *sampler = bound;
  return Told({});
}

void thimble_reset_sampler(thimble_sampler* sampler) { sampler->sampler.Reset(); }

void thimble_accept_prompt(thimble_sampler* sampler, const thimble_token* tokens, size_t count) {
  sampler->sampler.AcceptPrompt({tokens, count});
}

thimble_error thimble_next(thimble_session* session, thimble_sampler* sampler, thimble_token* token) {
  if (session->session.length() == 0) return Told({Status::kBadArgument, "feed at least one token first"});
  const Result<Token> next = session->session.Next(sampler->sampler);
  if (next) *token = *next;
  return Told(next.error());
}

thimble_error thimble_bind_choices(const thimble_model* model, thimble_tokenizer* tokenizer, const char* const* texts,
                                   size_t count, thimble_memory* memory, thimble_choices** choices) {
  *choices = nullptr;
  Room room(memory);
  if (!room.error().ok()) return Told(room.error());
  if (model == nullptr || tokenizer == nullptr) return Told(Missing());
  Texts set;
  Extent extent;
  if (const Error error = FindTexts(*model, texts, count, &set); !error.ok()) return Told(error);
  if (const Error error = Measure(set, tokenizer->tokenizer, &extent); !error.ok()) return Told(error);

  const size_t span_bytes = set.count * sizeof(std::span<const Token>);
  std::byte* borrowed = room.Borrow(span_bytes + extent.tokens * sizeof(Token));
  auto* spans = reinterpret_cast<std::span<const Token>*>(borrowed);
  auto* tokens = reinterpret_cast<Token*>(borrowed + span_bytes);
  size_t encoded = 0;
  if (borrowed != nullptr) {
    size_t i = 0;
    (void)set.ForEach([&](std::string_view text) -> Error {  // what Measure has done went well
      const size_t left = extent.tokens - encoded;
      const size_t n = *tokenizer->tokenizer.Encode(text, Specials::kRecognise, {tokens + encoded, left});
      new (spans + i++) std::span<const Token>(tokens + encoded, n);
      encoded += n;
      return {};
    });
  }
  thimble_choices spare;
  thimble_choices* bound = Place(room.arena(), &spare);
  const std::span<const Token> ends = tokenizer->tokenizer.end_tokens();
  const Token end = ends.empty() ? -1 : ends[0];
  Error error = borrowed != nullptr ? bound->tree.Bind({spans, set.count}, end, thimble_vocab(model), room.arena())
                                    : bound->tree.Place(set.count, extent.tokens, extent.longest, room.arena());
  if (room.Close(&error)) *choices = bound;
  return Told(error);
}

size_t thimble_choice_count(const thimble_choices* choices) { return choices->tree.size(); }

uint32_t thimble_checkpoints(const thimble_choices* choices) {
  return static_cast<uint32_t>(choices->tree.checkpoints_needed());
}

thimble_error thimble_choose(thimble_choices* choices, thimble_session* session, float* p) {
  const std::span<float> out(p, choices->tree.size());
  const Error error = choices->tree.Score(session->session, out);
  if (error.ok()) std::transform(out.begin(), out.end(), out.begin(), [](float log_p) { return Exp(log_p); });
  return Told(error);
}

thimble_error thimble_bind_task(const thimble_model* model, thimble_tokenizer* tokenizer, thimble_session* session,
                                const char* prompt, thimble_memory* memory, thimble_task** task) {
  *task = nullptr;
  Room room(memory);
  if (!room.error().ok()) return Told(room.error());
  if (model == nullptr || tokenizer == nullptr || session == nullptr) return Told(Missing());
  const Result<Task> own = model->read_task(*model);
  if (!own && (prompt == nullptr || own.error().status != Status::kNotFound)) return Told(own.error());
  thimble_task spare;
  thimble_task* bound = Place(room.arena(), &spare);
  bound->task = *own;
  bound->prompt = prompt != nullptr ? std::string_view(prompt) : own->prompt;
  bound->session = session;
  bound->tokenizer = tokenizer;
  const Limits& limits = session->session.limits();
  const size_t longest = bound->prompt.size() + tokenizer->max_text;
  const size_t tokens = tokenizer->tokenizer.MaxTokens(longest);
  bound->capacity = limits.window != 0 ? tokens : std::min<size_t>(tokens, limits.context);
  bound->normal = room.arena().Take<char>(tokenizer->max_text);
  bound->scratch = room.arena().Take<char>(longest);
  bound->tokens = room.arena().Take<Token>(bound->capacity);
  Error error;
  if (room.Close(&error)) *task = bound;
  return Told(error);
}

thimble_error thimble_classify(thimble_task* task, thimble_choices* choices, const char* text, size_t bytes, float* p) {
  const size_t max_text = task->tokenizer->max_text;
  if (bytes > max_text) return Told({Status::kTooLarge, "the text is longer than was planned for", {}, {}, max_text});
  const size_t length = NormaliseText(task->task, {text, bytes}, {task->normal, max_text});
  const Result<size_t> count =
      EncodePrompt(task->prompt, {task->normal, length}, task->tokenizer->tokenizer,
                   {task->scratch, task->prompt.size() + max_text}, {task->tokens, task->capacity});
  Session& session = task->session->session;
  if (!count && count.error().status == Status::kTooSmall) {
    return Told({Status::kFull, "the prompt with its text does not fit in the context", {}, {}, task->capacity});
  }
  if (!count) return Told(count.error());
  session.Reset();
  if (const Error error = session.Feed({task->tokens, *count}); !error.ok()) return Told(error);
  return thimble_choose(choices, task->session, p);
}

const char* thimble_label(const thimble_task* task, size_t i, size_t* bytes) {
  const std::string_view name = AnswerName(task->task, i);
  *bytes = name.size();
  return name.data();
}

float thimble_threshold(const thimble_task* task) { return task->task.threshold; }

}  // extern "C"
}  // namespace thimble
