// SPDX-License-Identifier: Apache-2.0
//
// What every command says to the person or program that called it: errors, progress, figures; and how it hears that
// person: lines that are typed, Ctrl-C.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "core/error.h"

namespace thimble::program {

/// The exit codes, the same for every command.
enum ExitCode : int { kFine = 0, kFailed = 1, kUsedWrongly = 2 };

/// Prints `thimble: what: where` on standard error. Returns kUsedWrongly for kBadArgument, a request that makes no
/// sense, and kFailed for everything else.
int Fail(const Error& error);
int Fail(std::string_view what, std::string_view where);
int Misused(std::string_view what, std::string_view where);

/// The same line for what is worth knowing and no failure.
void Note(std::string_view what, std::string_view where);
void NoteError(const Error& error);

/// Writes to standard output and lets the reader have it at once. kSystem when that cannot be done, also when an
/// earlier write could not.
Error Print(std::string_view text);
Error PrintLine(std::string_view text);

/// JSON on one line; bytes that are no UTF-8 are shown as U+FFFD.
std::string JsonLine(const nlohmann::ordered_json& json);

/// "1.50 MiB".
std::string Mebibytes(uint64_t bytes);

inline constexpr size_t kMaxInput = size_t{1} << 28;  // bytes of a text that is read whole
inline constexpr size_t kMaxLine = size_t{1} << 26;   // bytes of a line; more than any context holds

/// All of standard input, or of the file at `path`, which the error's name views. kSystem with errno, without one for
/// Ctrl-C; kTooLarge above kMaxInput.
Error ReadAll(std::string* text);
Error ReadFile(const std::string& path, std::string* text);

/// The next line of standard input, without its end, or its first kMaxLine bytes; a person at a terminal is asked for
/// it. False at the end of the input, after Ctrl-C, and when it cannot be read.
bool ReadLine(std::string* line);

/// Why there is no next line: fine at the end of the input, kSystem otherwise.
Error InputError();

/// From now on Ctrl-C only sets a flag, which every loop over tokens reads; a second one ends the program at once.
void CatchInterrupt();
bool Interrupted();
void ClearInterrupt();

/// Seconds since it was made or last restarted.
class Stopwatch {
 public:
  Stopwatch() : start_(Clock::now()) {}
  void Restart() { start_ = Clock::now(); }
  double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_;
};

/// A line on standard error that shows how far long work has come, its rate and the time left. Silent unless standard
/// error is a terminal, and for the first half second.
class Progress {
 public:
  Progress(std::string_view what, std::string_view unit, size_t total);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  void Show(size_t done);

 private:
  std::string what_;
  std::string unit_;
  size_t total_;
  Stopwatch watch_;
  double shown_at_ = 0.5;
  bool terminal_;
  bool drawn_ = false;
};

/// Memory of this process in MiB, as the kernel counts it; 0 where it does not say.
struct ProcessMemory {
  double anonymous = 0;  // RssAnon
  double file = 0;       // RssFile: mapped weights in the page cache
};
ProcessMemory MeasureMemory();

/// "arena 1.25 MiB; resident 0.4 MiB anonymous, 4.5 MiB of files"
std::string MemoryText(size_t arena_bytes);

}  // namespace thimble::program
