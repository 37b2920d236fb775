// SPDX-License-Identifier: Apache-2.0
//
// See prefixes.h.
#include "prefixes.h"

#include <algorithm>

#include "console.h"

namespace thimble::program {
namespace {

constexpr size_t kNear = 16;  // tokens that are sooner fed again than a snapshot written

std::string Count(uint64_t number, const std::string& what) {
  return std::to_string(number) + " " + what + (number == 1 ? "" : "s");
}

}  // namespace

Error Prefixes::Open(const CacheOptions& options) {
  const Result<Token> turn = runtime_.tokenizer().Find("<|im_start|>");
  turn_ = turn ? *turn : Token{-1};
  if (options.directory.empty()) return {};
  directory_ = options.directory;
  verbose_ = options.verbose;
  conversed_ = {.model = runtime_.fingerprint(), .session = &runtime_.session()};
  const Error error = store_.Open(directory_.c_str(), options.bytes);
  open_ = error.ok();
  return error;
}

void Prefixes::Complain(const Error& error) {
  if (!complained_) NoteError(error);
  complained_ = true;
}

size_t Prefixes::Restore(std::span<const Token> prompt, size_t longest) {
  const Result<SnapshotStore::Found> found = store_.Restore(prompt.first(longest), conversed_);
  if (!found) {
    Complain(found.error());
    return 0;
  }
  last_ = found->length;
  if (found->removed > 0) Note("a stored snapshot was torn, or of something else, and was taken away", directory_);
  if (verbose_) Explain(prompt, *found);
  return found->length;
}

std::string Prefixes::Spelled(Token token) const {
  std::vector<char> bytes(runtime_.tokenizer().max_token_bytes());
  return '"' + std::string(bytes.data(), runtime_.tokenizer().Decode(token, bytes)) + '"';
}

// The nearest snapshot is worth a line where it agrees further than what was reused.
void Prefixes::Explain(std::span<const Token> prompt, const SnapshotStore::Found& found) {
  const std::string reused = found.length == 0 ? "nothing" : std::to_string(found.length);
  Note("reused " + reused + " of " + Count(prompt.size(), "prompt token"), directory_);
  if (found.length == prompt.size()) return;
  const Result<SnapshotStore::Comparison> all = store_.Compare(prompt, conversed_);
  if (!all) return Complain(all.error());
  if (all->length > all->common && all->common >= found.length) {
    const std::string here = all->common < prompt.size() ? Spelled(prompt[all->common]) : "the end";
    Note("the nearest of " + Count(all->same, "snapshot") + ", of " + Count(all->length, "token") +
             ", differs at token " + std::to_string(all->common),
         Spelled(all->next) + " there, " + here + " here");
  }
  if (all->same == 0) Note("no snapshot is of this model and these limits", directory_);
  if (all->other_limits > 0) {
    Note(Count(all->other_limits, "snapshot") + " of this model but of other limits (formats of the cache, window)",
         directory_);
  }
  if (all->other_models > 0) Note(Count(all->other_models, "snapshot") + " of other models", directory_);
}

std::vector<size_t> Prefixes::TurnsOf(std::span<const Token> tokens) const {
  std::vector<size_t> turns;
  for (size_t i = 1; i < tokens.size(); ++i) {
    if (tokens[i] == turn_) turns.push_back(i);
  }
  return turns;
}

std::vector<size_t> Prefixes::PlacesOf(std::span<const Token> prompt) const {
  const std::vector<size_t> turns = TurnsOf(prompt);
  std::vector<size_t> places;
  for (size_t i = 0; i < turns.size(); ++i) {
    const bool wanted = i == 0 || i + 2 >= turns.size();
    if (wanted && turns[i] - (places.empty() ? 0 : places.back()) >= kNear) places.push_back(turns[i]);
  }
  places.push_back(prompt.size());
  return places;
}

Result<bool> Prefixes::Feed(std::span<const Token> tokens, std::span<const size_t> keeps, size_t more) {
  const size_t begin = runtime_.session().length();
  std::vector<size_t> stops = TurnsOf(tokens);
  stops.insert(stops.end(), keeps.begin(), keeps.end());
  std::sort(stops.begin(), stops.end());
  stops.erase(std::unique(stops.begin(), stops.end()), stops.end());
  stops.erase(stops.begin(), std::upper_bound(stops.begin(), stops.end(), begin));
  for (size_t& stop : stops) stop -= begin;
  return runtime_.Feed(tokens.subspan(begin), more, stops, [&](size_t stop) {
    const size_t length = begin + stop;
    if (!std::binary_search(keeps.begin(), keeps.end(), length)) return;
    Keep(tokens.first(length), length < tokens.size());
  });
}

void Prefixes::Keep(std::span<const Token> tokens, bool unless_near) {
  if (unless_near && tokens.size() - last_ < kNear) return;
  last_ = tokens.size();
  if (const Error error = store_.Save(conversed_, tokens); !error.ok()) Complain(error);
}

}  // namespace thimble::program
