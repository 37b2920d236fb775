// SPDX-License-Identifier: Apache-2.0
//
// llama_logits MODEL.gguf f32|f16 ID,ID,... [positions]: llama.cpp's logits of every token, raw little-endian float32
// [n][vocab], on standard output. The cache has the type named, attention is not fused. With `positions`, standard
// input holds int32 [4][n] positions and float32 [n][n_embd] embeddings that stand for the tokens. Build: g++ -O2
// llama_logits.cc -o llama_logits -lllama -lggml -lggml-base
#include <ggml-backend.h>
#include <llama.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace {

std::vector<llama_token> ParseIds(const char* text) {
  std::vector<llama_token> ids;
  for (char* end = nullptr; *text != '\0'; text = *end == ',' ? end + 1 : end) {
    ids.push_back(static_cast<llama_token>(strtol(text, &end, 10)));
    if (end == text) exit(2);
  }
  return ids;
}

llama_context* NewContext(llama_model* model, uint32_t tokens, ggml_type cache) {
  llama_context_params params = llama_context_default_params();
  params.n_ctx = params.n_batch = params.n_ubatch = tokens < 256 ? 256 : tokens;
  params.n_threads = params.n_threads_batch = 2;
  params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
  params.type_k = params.type_v = cache;
  return llama_init_from_model(model, params);
}

template <class T>
std::vector<T> ReadInput(size_t count) {
  std::vector<T> values(count);
  if (fread(values.data(), sizeof(T), count, stdin) != count) exit(2);
  return values;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  ggml_backend_load_all();
  llama_backend_init();
  llama_model* model = llama_model_load_from_file(argv[1], llama_model_default_params());
  if (model == nullptr) return 1;
  std::vector<llama_token> ids = ParseIds(argv[3]);
  const size_t n = ids.size();
  const bool cache_f16 = strcmp(argv[2], "f16") == 0;
  llama_context* context = NewContext(model, static_cast<uint32_t>(n), cache_f16 ? GGML_TYPE_F16 : GGML_TYPE_F32);
  if (context == nullptr) return 1;

  std::vector<llama_pos> positions(n);
  for (size_t i = 0; i < n; ++i) positions[i] = static_cast<llama_pos>(i);
  std::vector<float> embeddings;
  if (argc > 4) {
    positions = ReadInput<llama_pos>(4 * n);
    embeddings = ReadInput<float>(n * static_cast<size_t>(llama_model_n_embd(model)));
  }
  std::vector<int32_t> sequence_counts(n, 1);
  llama_seq_id sequence = 0;
  std::vector<llama_seq_id*> sequences(n, &sequence);
  std::vector<int8_t> wanted(n, 1);
  llama_batch batch = {};
  batch.n_tokens = static_cast<int32_t>(n);
  batch.token = embeddings.empty() ? ids.data() : nullptr;
  batch.embd = embeddings.empty() ? nullptr : embeddings.data();
  batch.pos = positions.data();
  batch.n_seq_id = sequence_counts.data();
  batch.seq_id = sequences.data();
  batch.logits = wanted.data();
  if (llama_decode(context, batch) != 0) return 1;

  const size_t vocab = static_cast<size_t>(llama_vocab_n_tokens(llama_model_get_vocab(model)));
  for (size_t i = 0; i < n; ++i) {
    fwrite(llama_get_logits_ith(context, static_cast<int32_t>(i)), sizeof(float), vocab, stdout);
  }
  return 0;
}
