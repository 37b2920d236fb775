// SPDX-License-Identifier: Apache-2.0
//
// thimble pack and thimble inspect of packs, as a shell sees them: spellings, exit codes, what is left on the disk.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <thread>

#include "io/gguf.h"
#include "io/mapped_file.h"
#include "tests/cli/program.h"
#include "tests/tiny_model.h"

namespace thimble::test {
namespace {

namespace fs = std::filesystem;

void CheckRefused(const Words& words, int code, const std::string& part) {
  const Outcome outcome = Run(words);
  CAPTURE(words);
  CAPTURE(outcome.err);
  CHECK(outcome.code == code);
  CHECK(outcome.out.empty());
  CHECK(outcome.err.starts_with("thimble: "));
  CHECK(outcome.err.find(part) != std::string::npos);
}

TEST_CASE("a pack is written, explained, verified and used") {
  const Directory directory;
  const std::string pack = directory / "m.thimble";
  const Outcome made = RunFine({"pack", kIntent, "-o", pack, "--for", "cortex-a76", "--recipe", "q4s"});
  CHECK(made.out.starts_with("q4s: "));
  CHECK(made.err.empty());
  CHECK(directory.Names() == std::vector<std::string>{"m.thimble"});

  const Json json = Json::parse(RunFine({"inspect", pack, "--json"}).out);
  CHECK(json["pack"]["layout"] == "16x4");
  CHECK(json["pack"]["recipe"] == "q4s");
  CHECK(json["pack"]["keep_exact"] == false);
  CHECK(json["pack"]["source_bytes"] == fs::file_size(kIntent));
  CHECK(json["pack"]["source_hash"].get<std::string>().size() == 32);
  CHECK(json["pack"]["kinds"]["ffn_up"].contains("QB4"));
  CHECK(json["architecture"]["layers"] ==
        Json::parse(RunFine({"inspect", kIntent, "--json"}).out)["architecture"]["layers"]);
  CHECK_FALSE(Json::parse(RunFine({"inspect", kIntent, "--json"}).out).contains("pack"));
  const std::string text = RunFine({"inspect", pack}).out;
  CHECK(text.find("pack, layout 16x4, recipe q4s") != std::string::npos);
  CHECK(RunFine({"inspect", pack, "--verify"}).out.starts_with("fine: "));
  CHECK(Tokenize(pack, "hello there") == Tokenize(kIntent, "hello there"));

  // The same again, with other threads, over the old one.
  const std::string bytes = ReadBytes(pack);
  RunFine({"pack", kIntent, "-o", pack, "--for", "avx2", "--recipe", "q4s", "--threads", "1"});
  CHECK(ReadBytes(pack) == bytes);
  CHECK(directory.Names().size() == 1);
}

TEST_CASE(
    "the source of a model has every tensor of its pack in it, those of a head and an MTP block of their own too") {
  GgufWriter model = TinyQwen35({.own_head = true, .mtp = true, .type = Type::kQ8_0});
  model.Set("thimble.prompt", std::string("say \"\t?\" {text}"));
  model.SetArray("thimble.choices", std::vector<std::string>{"</think>", "<think>"});
  const std::vector<std::byte> bytes = model.Write();
  const ScratchFile file({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  const Directory directory;
  const std::string path = directory / "m.thimble";
  RunFine({"pack", file.path(), "--recipe", "exact", "-o", path});
  const std::string source = RunFine({"plan", path, "--source", "--ctx", "64", "--rope-scale", "2"}).out;

  MappedModel mapped;
  REQUIRE(mapped.Open(path.c_str()).ok());
  const Result<Gguf> pack = Gguf::Open(mapped.parts());
  REQUIRE(pack);
  for (const GgufTensor& tensor : pack->tensors()) {
    CAPTURE(std::string(tensor.name));
    const std::string at = "(" + std::to_string(tensor.data - mapped.parts()[0].data()) + ")";
    const bool matrix = tensor.type == static_cast<uint32_t>(Type::kQ8_0);
    const std::string view = matrix ? "{&kFormatQ8_0, BYTES" + at + ", " + std::to_string(tensor.ne[1]) + ", " +
                                          std::to_string(tensor.ne[0]) + "},\n"
                                    : " = FLOATS" + at + ",\n";
    const size_t found = source.find(view);
    REQUIRE(found != std::string::npos);
    CHECK(source.find(view, found + 1) == std::string::npos);
  }
  CHECK(source.find("  .mtp = &kMtp,\n") != std::string::npos);
  CHECK(source.find("  .scaling_factor = 0x1p+1f,\n") != std::string::npos);
  CHECK(source.find("  .prompt = {\"say \\042\\011\\077\\042 {text}\", 15},\n") != std::string::npos);
  CHECK(source.find("{&kFormatF32, &kFormatF16, &kFormatQ8_0};") != std::string::npos);
  const TinyVocabulary v = MakeTinyVocabulary();
  const auto think = std::find(v.tokens.begin(), v.tokens.end(), "<think>") - v.tokens.begin();
  CHECK(source.find("kAnswers[] = {\n  " + std::to_string(think + 1) + ", " + std::to_string(think) + ",\n}") !=
        std::string::npos);
}

TEST_CASE("a pack computes what its source does, nearly") {
  const Directory directory;
  const std::string pack = directory / "m.thimble";
  const Outcome made = Run({"pack", kTied, "-o", pack, "--recipe", "exact"});
  CHECK(made.code == 0);
  CHECK(Logits(pack, {1, 2, 3}) == Logits(kTied, {1, 2, 3}));
  RunFine({"pack", kIntent, "-o", pack});
  const std::string question = "what is the weather like in boston";
  const Json expected = Json::parse(RunFine({"classify", kIntent, "--json", question}).out);
  const Json answer = Json::parse(RunFine({"classify", pack, "--json", question}).out);
  CHECK(answer["label"] == expected["label"]);
}

TEST_CASE("what is asked wrongly or cannot be done leaves nothing behind") {
  const Directory directory;
  const std::string pack = directory / "m.thimble", copy = directory / "model.gguf", link = directory / "link.gguf";
  fs::copy_file(kTied, copy);
  fs::create_hard_link(copy, link);
  const std::string before = ReadBytes(copy);
  CheckRefused({"pack", copy}, 2, "--output");
  CheckRefused({"pack", copy, "-o", copy, "--for", "avx2"}, 2, "overwrite");
  CheckRefused({"pack", copy, "-o", link, "--for", "avx2"}, 2, "overwrite");
  CheckRefused({"pack", copy, "-o", "/dev/null", "--for", "avx2"}, 2, "/dev/null");
  CheckRefused({"pack", copy, "-o", directory / "none/x", "--for", "avx2"}, 1, "no such file");
  CheckRefused({"pack", copy, "-o", pack, "--for", "pentium"}, 2, "cortex-a76");
  CheckRefused({"pack", copy, "-o", pack, "--recipe", "q5"}, 2, "--recipe");
  CheckRefused({"pack", copy, "-o", pack, "--threads", "0"}, 2, "--threads");
  CheckRefused({"pack", copy, "-o", pack, "--for", "avx2", "--imatrix", "/nowhere"}, 1, "/nowhere");
  CheckRefused({"pack", copy, "-o", pack, "--for", "avx2", "--imatrix", copy}, 1, "importance matrix");
  CheckRefused({"pack", "/nowhere/m.gguf", "-o", pack, "--for", "avx2"}, 1, "/nowhere/m.gguf");
  CHECK(ReadBytes(copy) == before);
  CHECK(directory.Names().size() == 2);

  const std::string split = directory / "s-00001-of-00003.gguf";
  for (const char* part : {"1", "2", "3"}) {
    const std::string name = std::string("-0000") + part + "-of-00003.gguf";
    fs::copy_file(kModels + "split" + name, directory / ("s" + name));
  }
  CheckRefused({"pack", split, "-o", directory / "s-00003-of-00003.gguf", "--for", "avx2"}, 2, "overwrite");
  RunFine({"pack", split, "-o", pack, "--for", "avx2"});
  CheckRefused({"pack", pack, "-o", directory / "again", "--for", "avx2"}, 2, "already");
  CheckRefused({"inspect", copy, "--verify"}, 1, "no pack");
}

TEST_CASE("importance matrices are used, and what does not fit is told") {
  const Directory directory;
  const std::string pack = directory / "m.thimble", data = std::string(THIMBLE_SOURCE_DIR) + "/tests/data/quantise/";
  for (const char* name : {"imatrix.gguf", "imatrix.dat"}) {
    const Outcome made = RunFine({"pack", kTied, "-o", pack, "--for", "cortex-a72", "--imatrix", data + name});
    CHECK(made.err == "thimble: matrices that the importance matrix says nothing about: 1\n");  // the head
    CHECK(Json::parse(RunFine({"inspect", pack, "--json"}).out)["pack"].contains("imatrix_hash"));
  }
  const Outcome other = Run({"pack", kModels + "yarn.gguf", "-o", directory / "y", "--for", "cortex-a72", "--imatrix",
                             data + "imatrix.gguf"});
  CAPTURE(other.err);
  CHECK(other.code == 2);
  CHECK(other.err.find("another length") != std::string::npos);
}

TEST_CASE("a changed pack is refused, and verifying names the tensor") {
  const Directory directory;
  const std::string pack = directory / "m.thimble";
  RunFine({"pack", kTied, "-o", pack, "--for", "avx512"});
  const std::string bytes = ReadBytes(pack);
  const auto put = [&](std::string changed) { std::ofstream(pack, std::ios::binary) << changed; };
  std::string changed = bytes;
  changed[bytes.find("tokenizer.ggml.tokens") + 60] ^= 1;
  put(changed);
  CheckRefused({"inspect", pack}, 1, "thimble");
  CheckRefused({"inspect", pack, "--verify"}, 1, "");
  changed = bytes;
  changed[bytes.size() / 4 * 3] ^= 1;
  put(changed);
  CHECK(Run({"inspect", pack}).code == 0);
  CheckRefused({"inspect", pack, "--verify"}, 1, ".weight");
  put(bytes.substr(0, bytes.size() / 2));
  CheckRefused({"inspect", pack}, 1, "cut short");
  put(bytes);
  RunFine({"inspect", pack, "--verify"});
}

/// A model that takes a while: 30 million weights.
std::string LargeModel() {
  TinyOptions options;
  options.embedding = 1024;
  options.feed_forward = 2048;
  const Bytes bytes = MakeTinyQwen35(options);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST_CASE("Ctrl-C and a full disk leave nothing behind") {
  const Directory directory;
  const ScratchFile model(LargeModel()), out, err;
  const std::string pack = directory / "m.thimble";
  std::ofstream(pack) << "old";
  const Words call = {"pack", model.path(), "-o", pack, "--for", "cortex-a72"};
  const int files[] = {open("/dev/null", O_RDONLY | O_CLOEXEC), open(out.path().c_str(), O_WRONLY | O_CLOEXEC),
                       open(err.path().c_str(), O_WRONLY | O_CLOEXEC)};
  const pid_t child = Start(call, files[0], files[1], files[2]);
  while (!fs::exists(pack + ".part") && ReadBytes(pack) == "old") {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  kill(child, SIGINT);
  CHECK(Wait(child) == 1);
  CHECK(err.bytes().find("interrupted") != std::string::npos);
  CHECK(directory.Names().size() == 1);
  CHECK(ReadBytes(pack) == "old");

  // A limit on the size of files is what a test has instead of a full disk.
  const rlimit small = {1 << 20, RLIM_INFINITY};
  rlimit before = {};
  getrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &small);
  const Outcome full = Run(call);
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, SIG_DFL);
  CHECK(full.code == 1);
  CHECK(full.err.find(pack + ": the file is too large") != std::string::npos);
  CHECK(directory.Names().size() == 1);
  CHECK(ReadBytes(pack) == "old");
  for (const int file : files) close(file);
}

}  // namespace
}  // namespace thimble::test
