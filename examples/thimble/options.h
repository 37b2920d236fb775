// SPDX-License-Identifier: Apache-2.0
//
// The options that every command with a model has, and how a number that someone typed is checked.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

namespace thimble::program {

struct ModelOptions {
  std::string model;
  uint32_t context = 0;         // tokens; 0: the model's own, at most 4096
  uint32_t batch = 64;          // tokens
  uint32_t window = 0;          // tokens; 0: the whole context
  uint32_t sinks = 4;           // tokens
  uint32_t threads = 0;         // 0: all cores, one for a tiny model
  uint32_t decode_threads = 0;  // for one token at a time; 0: `threads`, or as many as memory can feed
  std::string kv = "f16";
  std::string v;  // of the cache's values alone; empty: as kv
  std::string state = "f32";
  double rope_scale = 0;      // YaRN's factor, 1 for none; 0: the file's
  uint32_t rope_context = 0;  // tokens that it stretches; 0: the file's, or what the model was trained for
  bool lock = false;
  std::string backend = "auto";  // or a table of arm/kernel_tables, or "portable"
};

/// Where beginnings of prompts are kept between runs.
struct CacheOptions {
  std::string directory;               // empty: nowhere
  uint64_t bytes = uint64_t{1} << 30;  // of all that is kept
  bool verbose = false;                // say what was reused, and why nothing was
};

void AddModel(CLI::App& command, ModelOptions& options);
void AddLimits(CLI::App& command, ModelOptions& options);
void AddRope(CLI::App& command, ModelOptions& options);  // also part of AddLimits
void AddCache(CLI::App& command, CacheOptions& options);
void AddWindow(CLI::App& command, ModelOptions& options);

/// Takes numbers from `low` to `high`, never NaN.
CLI::Validator Between(double low, double high);

/// Makes `option`, which collects strings, take one string each time that it is given. Left alone, CLI11 would also
/// take the words behind it, and split one that stands in square brackets.
CLI::Option* OneEach(CLI::Option* option);

}  // namespace thimble::program
