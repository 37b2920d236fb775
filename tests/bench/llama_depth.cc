// SPDX-License-Identifier: Apache-2.0
//
// llama.cpp's decoding behind a long context that was fed once: feeds N tokens and keeps the whole state in a file, or
// takes it back from there and times decoding. Called by compare; not part of Thimble's build, needs libllama:
//
//     g++ -O2 -std=c++17 -o llama_depth llama_depth.cc -lllama -lggml -lggml-base
//
//   llama_depth MODEL CACHE THREADS feed N STATE      CACHE: f16, q8_0 or q4_0, of keys and values
//   llama_depth MODEL CACHE THREADS decode N STATE    prints the depth and tokens a second; STATE `-`: from depth 0
#include <ggml-backend.h>
#include <llama.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

namespace {

constexpr uint32_t kMore = 1024;  // tokens that fit behind those of a state
constexpr size_t kBatch = 512;

int Fail(const char* what) {
  std::fprintf(stderr, "llama_depth: %s\n", what);
  return 1;
}

bool Feed(llama_context* context, std::vector<llama_token>& tokens) {
  for (size_t done = 0; done < tokens.size(); done += kBatch) {
    const size_t n = std::min(kBatch, tokens.size() - done);
    if (llama_decode(context, llama_batch_get_one(tokens.data() + done, static_cast<int32_t>(n))) != 0) return false;
    std::fprintf(stderr, "\r%zu", done + n);
  }
  std::fprintf(stderr, "\n");
  return true;
}

double Seconds(std::chrono::steady_clock::time_point since) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count();
}

// Tokens per second of `n` decoded one by one, behind one that is not counted.
double Decode(llama_context* context, int n, int32_t vocabulary) {
  std::chrono::steady_clock::time_point begin;
  for (int i = 0; i <= n; ++i) {
    llama_token token = static_cast<llama_token>(i * 7919 % vocabulary);
    if (llama_decode(context, llama_batch_get_one(&token, 1)) != 0) return 0;
    llama_synchronize(context);
    if (i == 0) begin = std::chrono::steady_clock::now();
  }
  return n / Seconds(begin);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) return Fail("MODEL CACHE THREADS feed|decode N STATE");
  const std::string cache = argv[2], verb = argv[4], path = argv[6];
  const int n = std::atoi(argv[5]);
  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  ggml_backend_load_all();
  llama_model* model = llama_model_load_from_file(argv[1], llama_model_default_params());
  if (model == nullptr) return Fail("the model cannot be loaded");
  const int32_t vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(model));

  // The number of tokens stands in a file beside the state, so that the context can be as large as it must be.
  uint32_t depth = verb == "feed" ? static_cast<uint32_t>(n) : 0;
  if (verb == "decode" && path != "-") std::ifstream(path + ".length") >> depth;
  llama_context_params params = llama_context_default_params();
  params.n_ctx = depth + kMore;
  params.n_batch = params.n_ubatch = kBatch;
  params.n_threads = params.n_threads_batch = std::atoi(argv[3]);
  params.type_k = params.type_v = cache == "f16" ? GGML_TYPE_F16 : cache == "q8_0" ? GGML_TYPE_Q8_0 : GGML_TYPE_Q4_0;
  params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_ENABLED;
  llama_context* context = llama_init_from_model(model, params);
  if (context == nullptr) return Fail("no context");

  std::vector<llama_token> tokens(depth);
  if (verb == "feed") {
    for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<llama_token>(i * 7919 % vocabulary);
    const auto begin = std::chrono::steady_clock::now();
    if (!Feed(context, tokens)) return Fail("feeding failed");
    std::printf("%u tokens fed in %.1f s\n", depth, Seconds(begin));
    if (!llama_state_save_file(context, path.c_str(), tokens.data(), tokens.size()))
      return Fail("the state was not kept");
    std::ofstream(path + ".length") << depth << "\n";
    return 0;
  }
  size_t count = 0;
  if (path != "-" && !llama_state_load_file(context, path.c_str(), tokens.data(), tokens.size(), &count)) {
    return Fail("the state was not taken back");
  }
  std::printf("%zu %.3f\n", count, Decode(context, n, vocabulary));
  return 0;
}
