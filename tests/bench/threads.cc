// SPDX-License-Identifier: Apache-2.0
//
// What a busy neighbour costs the thread pool: loops as in decode (120 short ones that only read memory, and one long
// one) on two threads, quiet, with a busy process pinned to a processor, with one that runs where it likes, and with
// one of another session, to which Linux gives a share of its own. They take turns, so that all see the same machine; a
// sample during which somebody else computed is thrown away. Prints ratios to quiet, what the neighbour was left, the
// cost of a loop, and how many threads the probe would choose.
//
//   threads [ROUNDS]      20 by default, a second or two each
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "arm/probe.h"
#include "arm/thread_pool.h"

namespace {

using thimble::ParallelFor;
using thimble::ThreadPool;
using thimble::Workers;
using Clock = std::chrono::steady_clock;

constexpr size_t kThreads = 2;
constexpr size_t kPiece = 32768;                         // bytes that a task reads
constexpr size_t kShort[] = {24, 32, 48, 64, 112, 140};  // tasks of the short loops, 20 of each: 50 to 300 us
constexpr size_t kShortLoops = 120;
constexpr size_t kTasks = 12800;  // of a token: 400 MiB
constexpr double kSampleSeconds = 0.25;
constexpr int kTries = 20;

std::vector<uint64_t> memory;
std::vector<uint64_t> sums(kTasks);

double Seconds(Clock::duration time) { return std::chrono::duration<double>(time).count(); }

void Read(size_t task) {
  const uint64_t* from = memory.data() + task * (kPiece / 8);
  uint64_t sum[4] = {};
  for (size_t i = 0; i < kPiece / 8; ++i) sum[i % 4] += from[i];
  sums[task] = sum[0] + sum[1] + sum[2] + sum[3];
}

void RunToken(const Workers& workers) {
  size_t first = 0;
  for (size_t loop = 0; loop <= kShortLoops; ++loop) {
    const size_t tasks = loop < kShortLoops ? kShort[loop % std::size(kShort)] : kTasks - first;
    ParallelFor(workers, tasks, [&](size_t index, size_t) { Read(first + index); });
    first += tasks;
  }
}

/// A process that computes until it is stopped.
class Neighbour {
 public:
  Neighbour(std::optional<size_t> processor, bool own_session) : pid_(fork()) {
    if (pid_ != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (own_session) setsid();
    if (processor) {
      cpu_set_t one;
      CPU_ZERO(&one);
      CPU_SET(*processor, &one);
      sched_setaffinity(0, sizeof one, &one);
    }
    for (volatile unsigned turns = 0;;) turns = turns + 1;
  }
  ~Neighbour() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  Neighbour(const Neighbour&) = delete;
  Neighbour& operator=(const Neighbour&) = delete;

 private:
  pid_t pid_;
};

/// Seconds of processor time that the machine has spent, and that this process has.
double MachineSeconds() {
  std::ifstream file("/proc/stat");
  std::string cpu;
  double user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, soft = 0;
  file >> cpu >> user >> nice >> system >> idle >> wait >> irq >> soft;
  return (user + nice + system + irq + soft) / static_cast<double>(sysconf(_SC_CLK_TCK));
}
double OwnSeconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

struct Sample {
  double token;   // seconds, mean
  double others;  // processors that other processes kept busy
};

Sample Measure(const Workers& workers) {
  RunToken(workers);
  const double machine = MachineSeconds();
  const double own = OwnSeconds();
  const auto start = Clock::now();
  int tokens = 0;
  double elapsed = 0;
  for (; elapsed < kSampleSeconds; ++tokens) {
    RunToken(workers);
    elapsed = Seconds(Clock::now() - start);
  }
  return {elapsed / tokens, (MachineSeconds() - machine - (OwnSeconds() - own)) / elapsed};
}

struct Setting {
  const char* name;
  bool neighbour;
  std::optional<size_t> processor = {};  // of the neighbour; none: any
  bool own_session = false;              // the neighbour's
  std::vector<double> tokens = {};
  double others = 0;
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void MeasureForkJoin(const Workers& workers) {
  double best = 1;
  for (int round = 0; round < 200; ++round) {
    const auto start = Clock::now();
    for (int loop = 0; loop < 200; ++loop) {
      ParallelFor(workers, kThreads, [&](size_t, size_t) {
        const auto end = Clock::now() + std::chrono::microseconds(1);
        while (Clock::now() < end) {
        }
      });
    }
    best = std::min(best, Seconds(Clock::now() - start) / 200);
  }
  std::printf("a loop of %zu tasks of 1 us on %zu threads takes %.2f us\n", kThreads, kThreads, best * 1e6);
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 20;
  memory.assign(kTasks * kPiece / 8, 1);
  cpu_set_t allowed;
  sched_getaffinity(0, sizeof allowed, &allowed);
  size_t last = 0;
  for (size_t i = 0; i < CPU_SETSIZE; ++i) last = CPU_ISSET(i, &allowed) ? i : last;

  const ThreadPool pool(kThreads);
  MeasureForkJoin(pool.workers());
  const auto start = Clock::now();
  const size_t decode = thimble::DecodeThreads(pool, std::as_bytes(std::span(memory)));
  std::printf("the probe chooses %zu of %zu threads for decode, in %.1f ms; prefill would have %zu\n", decode,
              pool.threads(), 1e3 * Seconds(Clock::now() - start), thimble::PrefillThreads());

  Setting settings[] = {
      {"quiet", false}, {"busy, pinned", true, last}, {"busy, unpinned", true}, {"busy, a service", true, {}, true}};
  int thrown_away = 0;
  for (int round = 0; round < rounds; ++round) {
    for (Setting& setting : settings) {
      for (int tries = 0; tries < kTries; ++tries) {
        std::optional<Neighbour> neighbour;
        if (setting.neighbour) neighbour.emplace(setting.processor, setting.own_session);
        std::this_thread::sleep_for(std::chrono::milliseconds(30));
        const Sample sample = Measure(pool.workers());
        if (sample.others > (setting.neighbour ? 1.12 : 0.12)) {
          ++thrown_away;
          continue;
        }
        setting.tokens.push_back(sample.token);
        setting.others += sample.others;
        break;
      }
    }
  }
  if (settings[0].tokens.empty()) {
    std::fprintf(stderr, "the machine was never quiet\n");
    return 1;
  }
  const double quiet = Median(settings[0].tokens);
  std::printf("%-16s %10s %10s %12s %8s\n", "", "ms/token", "speed", "neighbour", "samples");
  for (const Setting& setting : settings) {
    const size_t samples = setting.tokens.size();
    if (samples == 0) continue;
    const double token = Median(setting.tokens);
    std::printf("%-16s %10.2f %9.2fx %11.2fx %8zu\n", setting.name, 1e3 * token, quiet / token,
                setting.others / static_cast<double>(samples), samples);
  }
  if (thrown_away != 0) std::printf("%d samples thrown away: somebody else computed\n", thrown_away);
}
