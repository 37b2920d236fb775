// SPDX-License-Identifier: Apache-2.0
//
// See console.h. Linux only, like the program.
#include "console.h"

#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "io/error_text.h"

namespace thimble::program {
namespace {

volatile std::sig_atomic_t interrupted = 0;

void OnInterrupt(int) {
  if (interrupted != 0) _exit(128 + SIGINT);  // the first one is not heard while a model is being opened
  interrupted = 1;
}

void PrintError(std::string_view what, std::string_view where) {
  constexpr size_t kLongest = 1000;  // what was typed wrongly may be anything, of any length
  std::string line = "thimble: " + std::string(what);
  if (!where.empty()) line += ": " + std::string(where);
  if (line.size() > kLongest) line = line.substr(0, kLongest) + "...";
  for (char& c : line) {
    if (c == '\n') c = ' ';
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  std::fprintf(stderr, "%s\n", line.c_str());
}

// False when there is more than kMaxInput.
bool ReadFrom(std::FILE* file, std::string* text) {
  char piece[1 << 16];
  for (size_t n = 1; n > 0 && !Interrupted() && text->size() <= kMaxInput; text->append(piece, n)) {
    n = std::fread(piece, 1, sizeof piece, file);
  }
  return text->size() <= kMaxInput;
}

Error TooLong(std::string_view where) {
  return {Status::kTooLarge, "this is longer than can be read; the limit in bytes is", where, {}, kMaxInput};
}

}  // namespace

int Fail(const Error& error) {
  NoteError(error);
  return error.status == Status::kBadArgument ? kUsedWrongly : kFailed;
}

int Fail(std::string_view what, std::string_view where) {
  PrintError(what, where);
  return kFailed;
}

void Note(std::string_view what, std::string_view where) { PrintError(what, where); }

void NoteError(const Error& error) {
  char text[1024];
  PrintError(ErrorText(error, text), {});
}

int Misused(std::string_view what, std::string_view where) {
  PrintError(what, where);
  return kUsedWrongly;
}

Error Print(std::string_view text) {
  errno = 0;
  const bool written = text.empty() || std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  if (written && std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return {};
  return {Status::kSystem, "this cannot be written", "standard output", {}, static_cast<uint64_t>(errno)};
}

std::string JsonLine(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

std::string Mebibytes(uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f MiB", static_cast<double>(bytes) / (1024 * 1024));
  return text;
}

Error PrintLine(std::string_view text) { return Print(std::string(text) + "\n"); }

Error InputError() {
  if (Interrupted()) return {Status::kSystem, "interrupted", "standard input"};
  if (std::ferror(stdin) == 0) return {};
  return {Status::kSystem, "this cannot be read", "standard input", {}, static_cast<uint64_t>(errno)};
}

Error ReadAll(std::string* text) { return ReadFrom(stdin, text) ? InputError() : TooLong("standard input"); }

Error ReadFile(const std::string& path, std::string* text) {
  errno = 0;
  std::FILE* file = std::fopen(path.c_str(), "rb");
  const bool fits = file == nullptr || ReadFrom(file, text);
  const bool failed = file == nullptr || std::ferror(file) != 0;
  const Error error = {Status::kSystem, "this cannot be read", path, {}, static_cast<uint64_t>(errno)};
  if (file != nullptr) std::fclose(file);
  return failed ? error : fits ? Error{} : TooLong(path);
}

bool ReadLine(std::string* line) {
  const bool terminal = isatty(STDIN_FILENO) != 0;
  if (terminal) std::fputs("> ", stderr);
  line->clear();
  int c = 0;
  while (line->size() < kMaxLine && (c = std::getc(stdin)) != EOF && c != '\n') line->push_back(static_cast<char>(c));
  const bool ended = Interrupted() || (c == EOF && line->empty());
  if (terminal && ended) std::fputs("\n", stderr);
  if (!line->empty() && line->back() == '\r') line->pop_back();
  return !ended;
}

void CatchInterrupt() {
  struct sigaction before = {};
  sigaction(SIGINT, nullptr, &before);
  if (before.sa_handler == SIG_IGN) return;  // in the background of a script
  struct sigaction action = {};
  action.sa_handler = OnInterrupt;
  sigaction(SIGINT, &action, nullptr);  // without SA_RESTART: a waiting read returns
}

bool Interrupted() { return interrupted != 0; }
void ClearInterrupt() { interrupted = 0; }

Progress::Progress(std::string_view what, std::string_view unit, size_t total)
    : what_(what), unit_(unit), total_(total), terminal_(isatty(STDERR_FILENO) != 0) {}

Progress::~Progress() {
  if (drawn_) std::fprintf(stderr, "\r\033[K");
}

void Progress::Show(size_t done) {
  const double seconds = watch_.seconds();
  if (!terminal_ || seconds < shown_at_ || done == 0) return;
  const double rate = static_cast<double>(done) / seconds;
  std::fprintf(stderr, "\r\033[K%s %zu/%zu %s, %.1f/s, %.0f s left", what_.c_str(), done, total_, unit_.c_str(), rate,
               static_cast<double>(total_ - done) / rate);
  shown_at_ = seconds + 0.2;
  drawn_ = true;
}

ProcessMemory MeasureMemory() {
  ProcessMemory memory;
  std::ifstream status("/proc/self/status");
  std::string key;
  while (status >> key) {
    double kilobytes = 0;
    if (key == "RssAnon:" && status >> kilobytes) memory.anonymous = kilobytes / 1024;
    if (key == "RssFile:" && status >> kilobytes) memory.file = kilobytes / 1024;
    status.ignore(4096, '\n');
  }
  return memory;
}

std::string MemoryText(size_t arena_bytes) {
  const ProcessMemory memory = MeasureMemory();
  char text[128];
  std::snprintf(text, sizeof text, "arena %.2f MiB; resident %.1f MiB anonymous, %.1f MiB of files",
                static_cast<double>(arena_bytes) / (1024 * 1024), memory.anonymous, memory.file);
  return text;
}

}  // namespace thimble::program
