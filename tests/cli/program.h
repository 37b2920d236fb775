// SPDX-License-Identifier: Apache-2.0
//
// Runs the built program as a shell would, and reads what it left behind. In a cross build an emulator runs it.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "core/config.h"

namespace thimble::test {

using Json = nlohmann::ordered_json;
using Words = std::vector<std::string>;

inline const std::string kModels = std::string(THIMBLE_SOURCE_DIR) + "/tests/data/model/";
inline const std::string kTied = kModels + "tied.gguf";
inline const std::string kIntent = std::string(THIMBLE_SOURCE_DIR) + "/examples/intent/intent-q4_0.gguf";

inline std::string ReadBytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// A file of this test, gone with its owner.
class ScratchFile {
 public:
  explicit ScratchFile(const std::string& bytes = "") {
    char path[] = "/tmp/thimble_test_XXXXXX";
    const int file = mkstemp(path);
    REQUIRE(file >= 0);
    close(file);
    path_ = path;
    std::ofstream(path_, std::ios::binary) << bytes;
  }
  ~ScratchFile() { unlink(path_.c_str()); }
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;

  const std::string& path() const { return path_; }
  std::string bytes() const { return ReadBytes(path_); }

 private:
  std::string path_;
};

/// A directory of this test, gone with its owner.
class Directory {
 public:
  Directory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "thimble-XXXXXX").string();
    REQUIRE(mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  ~Directory() { std::filesystem::remove_all(path_); }

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(path_))
      names.push_back(entry.path().filename().string());
    return names;
  }

 private:
  std::string path_;
};

/// Starts the program with three open files for its standard ones; the child leaves by a signal when it cannot.
inline pid_t Start(const Words& words, int in, int out, int err) {
  Words all;
  if (*THIMBLE_EMULATOR != 0) all.push_back(THIMBLE_EMULATOR);
  all.push_back(THIMBLE_PROGRAM);
  all.insert(all.end(), words.begin(), words.end());
  std::vector<char*> arguments;
  for (std::string& word : all) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const pid_t child = fork();
  if (child != 0) return child;
  dup2(in, 0);
  dup2(out, 1);
  dup2(err, 2);
  execv(arguments[0], arguments.data());
  _exit(127);
}

/// The exit code, or 1000 and the signal.
inline int Wait(pid_t child) {
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

struct Outcome {
  int code;
  std::string out, err;

  std::vector<Json> lines() const {
    std::vector<Json> all;
    std::istringstream in(out);
    for (std::string line; std::getline(in, line);) all.push_back(Json::parse(line));
    return all;
  }
};

inline Outcome Run(const Words& words, const std::string& input = "", const std::string& out_path = "") {
  const ScratchFile in(input), out, err;
  const int files[] = {open(in.path().c_str(), O_RDONLY | O_CLOEXEC),
                       open(out_path.empty() ? out.path().c_str() : out_path.c_str(), O_WRONLY | O_CLOEXEC),
                       open(err.path().c_str(), O_WRONLY | O_CLOEXEC)};
  for (const int file : files) REQUIRE(file >= 0);
  const int code = Wait(Start(words, files[0], files[1], files[2]));
  for (const int file : files) close(file);
  return {code, out.bytes(), err.bytes()};
}

/// The same for a call that must be fine.
inline Outcome RunFine(const Words& words, const std::string& input = "") {
  Outcome outcome = Run(words, input);
  std::string line;
  for (const std::string& word : words) line += word + " ";
  CAPTURE(line);
  CAPTURE(outcome.err);
  REQUIRE(outcome.code == 0);
  return outcome;
}

inline std::vector<Token> ParseTokens(const std::string& line) {
  std::vector<Token> ids;
  std::istringstream in(line);
  for (std::string word; std::getline(in, word, ',');) ids.push_back(std::stoi(word));
  return ids;
}

inline std::string JoinTokens(const std::vector<Token>& ids) {
  std::string line;
  for (const Token id : ids) line += (line.empty() ? "" : ",") + std::to_string(id);
  return line;
}

inline std::vector<Token> Tokenize(const std::string& model, const std::string& text) {
  const Outcome outcome = RunFine({"tokenize", model}, text);
  return outcome.out == "\n" ? std::vector<Token>{} : ParseTokens(outcome.out);
}

/// [ids][vocabulary], computed token by token as an answer is.
inline std::vector<std::vector<float>> Logits(const std::string& model, const std::vector<Token>& ids) {
  const Outcome outcome = RunFine({"logits", model, "--ids", JoinTokens(ids), "--kv", "f16", "--batch", "1"});
  const size_t vocab = outcome.out.size() / sizeof(float) / ids.size();
  REQUIRE(outcome.out.size() == ids.size() * vocab * sizeof(float));
  std::vector<std::vector<float>> logits(ids.size(), std::vector<float>(vocab));
  for (size_t i = 0; i < ids.size(); ++i) {
    std::memcpy(logits[i].data(), outcome.out.data() + i * vocab * sizeof(float), vocab * sizeof(float));
  }
  return logits;
}

}  // namespace thimble::test
