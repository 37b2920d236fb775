// SPDX-License-Identifier: Apache-2.0
//
// From a GGUF to a Model: the hyper-parameters of its qwen35.* keys and views of its tensors, both proven. What is not
// a dense Qwen3.5 text model as llama.cpp's converter writes it is refused with a sentence that says what would work.
#pragma once

#include "core/arena.h"
#include "core/config.h"
#include "core/error.h"
#include "core/weights.h"
#include "io/gguf.h"

namespace thimble {

/// The hyper-parameters. kUnsupported: another architecture, a file laid out for Ollama, an MTP block on its own, or a
/// value out of range (Error::at); kNotFound: a key or token_embd is missing; kBadFile: values that contradict each
/// other.
Result<Config> ReadConfig(const Gguf& file);

/// The model: ReadConfig, then every tensor's presence, type and shape, and that there is none that is not understood.
/// Takes only the tables of views and of rotary frequencies from `arena`. On a measuring arena everything is proven all
/// the same and the tables (`layers`, `mtp`, `rope_frequencies`) are null. `rope`, unless null: the file's, stretched
/// otherwise by its user. Errors as in ReadConfig, and kTooSmall from the arena.
Result<Model> LoadQwen35(const Gguf& file, Arena& arena, const RopeConfig* rope = nullptr);

}  // namespace thimble
