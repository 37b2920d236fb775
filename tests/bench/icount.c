// SPDX-License-Identifier: Apache-2.0
//
// A QEMU plug-in that counts how often every block of translated guest code runs: `instructions` builds it and reads
// what it writes. It knows nothing of programs and symbols. It must keep to the plug-in interface of QEMU 7.2, whose
// few declarations stand here because no package brings them.
//
//   gcc -O2 -shared -fPIC -o libicount.so icount.c
//   qemu-aarch64 -cpu cortex-a76 -plugin ./libicount.so,out=counts.txt PROGRAM ...
//
// The counters are plain additions: exact for one guest thread, nearly so for several.
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t PluginId;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct PluginInfo;
enum { kAddInline = 0 };

void qemu_plugin_register_vcpu_tb_trans_cb(PluginId, void (*)(PluginId, struct qemu_plugin_tb*));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb*, int op, void* counter, uint64_t amount);
void qemu_plugin_register_atexit_cb(PluginId, void (*)(PluginId, void*), void*);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb*);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb*);
struct qemu_plugin_insn* qemu_plugin_tb_get_insn(const struct qemu_plugin_tb*, size_t index);
void* qemu_plugin_insn_haddr(const struct qemu_plugin_insn*);

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = 1;

// A block is its address and its length: the same code may be entered in the middle, and is then another block.
struct Block {
  uint64_t address, instructions, runs;
};

enum { kBlocks = 1 << 19 };
static struct Block blocks[kBlocks];
static size_t used;
static uint64_t guest_base;  // host address - guest address
static char out_path[4096];

static struct Block* Find(uint64_t address, uint64_t instructions) {
  size_t at = (address * UINT64_C(0x9e3779b97f4a7c15)) >> 45;
  while (blocks[at].instructions != 0 && (blocks[at].address != address || blocks[at].instructions != instructions)) {
    at = (at + 1) % kBlocks;
  }
  return &blocks[at];
}

static void OnTranslate(PluginId id, struct qemu_plugin_tb* tb) {
  (void)id;
  const uint64_t address = qemu_plugin_tb_vaddr(tb), instructions = qemu_plugin_tb_n_insns(tb);
  struct Block* block = Find(address, instructions);
  if (block->instructions == 0) {
    if (++used == kBlocks) {
      fprintf(stderr, "icount: more than %d blocks\n", kBlocks);
      exit(3);
    }
    block->address = address;
    block->instructions = instructions;
    guest_base = (uint64_t)(uintptr_t)qemu_plugin_insn_haddr(qemu_plugin_tb_get_insn(tb, 0)) - address;
  }
  qemu_plugin_register_vcpu_tb_exec_inline(tb, kAddInline, &block->runs, 1);
}

// Lines "map START END OFFSET PATH" in guest addresses, of every file that is mapped, so that an address can be given
// to a file; then "block ADDRESS INSTRUCTIONS RUNS". All but the last two in hexadecimal.
static void OnExit(PluginId id, void* data) {
  (void)id, (void)data;
  FILE* out = fopen(out_path, "w");
  FILE* maps = fopen("/proc/self/maps", "r");
  if (out == NULL || maps == NULL) {
    perror("icount");
    return;
  }
  char line[8192], path[4096];
  while (fgets(line, sizeof line, maps) != NULL) {
    uint64_t begin, end, offset;
    if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*s %" SCNx64 " %*s %*s %4095[^\n]", &begin, &end, &offset, path) == 4 &&
        path[0] == '/') {
      fprintf(out, "map %" PRIx64 " %" PRIx64 " %" PRIx64 " %s\n", begin - guest_base, end - guest_base, offset, path);
    }
  }
  for (size_t i = 0; i < kBlocks; ++i) {
    if (blocks[i].runs != 0) {
      fprintf(out, "block %" PRIx64 " %" PRIu64 " %" PRIu64 "\n", blocks[i].address, blocks[i].instructions,
              blocks[i].runs);
    }
  }
  fclose(maps);
  if (fclose(out) != 0) perror("icount");
}

EXPORT int qemu_plugin_install(PluginId id, const struct PluginInfo* info, int argc, char** argv) {
  (void)info;
  for (int i = 0; i < argc; ++i) {
    if (strncmp(argv[i], "out=", 4) == 0) snprintf(out_path, sizeof out_path, "%s", argv[i] + 4);
  }
  if (out_path[0] == 0) {
    fprintf(stderr, "icount: out=FILE is missing\n");
    return 1;
  }
  qemu_plugin_register_vcpu_tb_trans_cb(id, OnTranslate);
  qemu_plugin_register_atexit_cb(id, OnExit, NULL);
  return 0;
}
