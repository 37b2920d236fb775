// SPDX-License-Identifier: Apache-2.0
//
// The reference for choices by llama.cpp: reads the choices one per line, an empty line, then prompts one per line, and
// answers each with `index<TAB>p`, the best choice and its probability among the choices (each choice one token).
// Called by reference.py; not part of Thimble's build, needs libllama:
//
//     g++ -O2 -std=c++17 -o llama_choices llama_choices.cc -lllama -lggml -lggml-base
#include <ggml-backend.h>
#include <llama.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

namespace {

std::vector<llama_token> Tokens(const llama_vocab* vocab, const std::string& text) {
  std::vector<llama_token> tokens(text.size() + 1);
  const int n = llama_tokenize(vocab, text.data(), static_cast<int32_t>(text.size()), tokens.data(),
                               static_cast<int32_t>(tokens.size()), false, true);
  tokens.resize(static_cast<size_t>(std::max(n, 0)));
  return tokens;
}

void Answer(const float* logits, const std::vector<llama_token>& choices) {
  size_t best = 0;
  for (size_t i = 1; i < choices.size(); ++i) {
    if (logits[choices[i]] > logits[choices[best]]) best = i;
  }
  double sum = 0;
  for (llama_token c : choices) sum += std::exp(static_cast<double>(logits[c] - logits[choices[best]]));
  std::printf("%zu\t%.8f\n", best, 1 / sum);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  ggml_backend_load_all();
  llama_model* model = llama_model_load_from_file(argv[1], llama_model_default_params());
  if (model == nullptr) return 1;
  llama_context_params params = llama_context_default_params();
  params.n_ctx = params.n_batch = params.n_ubatch = 512;
  params.n_threads = params.n_threads_batch = 1;
  params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
  params.type_k = params.type_v = GGML_TYPE_F32;
  llama_context* context = llama_init_from_model(model, params);
  if (context == nullptr) return 1;
  const llama_vocab* vocab = llama_model_get_vocab(model);

  std::string line;
  std::vector<llama_token> choices;
  while (std::getline(std::cin, line) && !line.empty()) {
    const std::vector<llama_token> tokens = Tokens(vocab, line);
    if (tokens.size() != 1) return 1;
    choices.push_back(tokens[0]);
  }
  while (std::getline(std::cin, line)) {
    std::vector<llama_token> tokens = Tokens(vocab, line);
    llama_memory_clear(llama_get_memory(context), true);
    if (llama_decode(context, llama_batch_get_one(tokens.data(), static_cast<int32_t>(tokens.size()))) != 0) return 1;
    Answer(llama_get_logits_ith(context, -1), choices);
  }
}
