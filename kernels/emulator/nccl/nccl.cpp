// A stand-in for NCCL 2, with what the program uses of it: means and gathers over processes on one
// machine.
//
// It is as strict as the real one, or stricter: a communicator must be alive and used in its own
// context, each rank comes once and with a GPU that no other has, buffers are on that GPU, aligned
// and large enough, and do not overlap; and all ranks ask for the same, of as many numbers, in one
// order, or the process ends with a message. It ends, too, when the others do not come within two
// minutes, for which the real one would wait for ever.
//
// The work goes to the stand-in driver's stream as a host function, so it waits for what comes
// before, and is recorded when the stream is capturing. Processes meet in shared memory that is
// named by the identity. Sums are taken in the order of the ranks.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <mutex>
#include <random>
#include <sched.h>
#include <set>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

#define NCCL extern "C" __attribute__((visibility("default")))

using Address = unsigned long long;

extern "C" {
int cuCtxGetCurrent(void** context);
int cuCtxGetDevice(int* device);
int cuDeviceGetUuid(char* uuid, int device);
int cuStreamGetFlags(void* stream, unsigned* flags);
int cuPointerGetAttribute(void* out, int attribute, Address address);
int cuLaunchHostFunc(void* stream, void (*function)(void*), void* data);
}

struct Id {
  char bytes[128];
};

namespace {

enum Result {
  SUCCESS = 0,
  UNHANDLED_CUDA_ERROR = 1,
  SYSTEM_ERROR = 2,
  INVALID_ARGUMENT = 4,
  INVALID_USAGE = 5
};
enum Type { FLOAT32 = 7, FLOAT64 = 8 };
enum Operation { SUM = 0, AVG = 4 };
enum What { REDUCE, GATHER };

constexpr char NAME[] = "/nccl-emulator-";
constexpr size_t RANKS = 64, SLOT = 1 << 18;

// Says why to who asked for it in the way of the real one, and returns the code.
int failed(Result code, const std::string& why) {
  const char* asked = getenv("NCCL_DEBUG");
  if (asked && *asked) fprintf(stderr, "NCCL emulator: %s\n", why.c_str());
  return code;
}

// Where there is nobody to return a code to.
[[noreturn]] void die(const std::string& why) {
  fprintf(stderr, "NCCL emulator: %s\n", why.c_str());
  _exit(1);
}

// ---- where processes meet ----

struct Request {
  int what, type, operation;
  size_t count;
  uint64_t number;
  bool operator==(const Request& b) const {
    return what == b.what && type == b.type && operation == b.operation && count == b.count &&
           number == b.number;
  }
};

struct SharedMemory {
  std::atomic<uint32_t> size, arrived, meetings;
  std::atomic<uint32_t> taken[RANKS];
  char gpus[RANKS][16];
  Request requests[RANKS];
  alignas(16) char slots[];  // of SLOT bytes, for each rank one
};

struct Communicator {
  void* context;
  int device, rank, size;
  SharedMemory* shared;
  uint64_t number = 0;  // of the request that is run
  bool alive = true;

  char* slot(int rank) const { return shared->slots + size_t(rank) * SLOT; }

  // Waits until all are here; false if they do not come.
  bool meet() const {
    const auto begun = std::chrono::steady_clock::now();
    const uint32_t meeting = shared->meetings;
    if (shared->arrived.fetch_add(1) + 1 == uint32_t(size)) {
      shared->arrived = 0;
      ++shared->meetings;
      return true;
    }
    for (unsigned turn = 0; shared->meetings == meeting; ++turn) {
      if (turn < 100) sched_yield();
      else usleep(50);
      if (std::chrono::steady_clock::now() - begun > std::chrono::minutes(2)) return false;
    }
    return true;
  }
  void meet_or_die() const {
    if (!meet()) die("the other ranks did not come within two minutes");
  }
};

std::recursive_mutex everything;
std::set<Communicator*> communicators;

// ---- work ----

struct Job {
  Communicator* communicator;
  Request request;
  const char* from;
  char* to;

  size_t width() const { return request.type == FLOAT64 ? 8 : 4; }
  size_t bytes() const { return request.count * width(); }
};

template <class T> void add_up(const Job& job, size_t start, size_t bytes) {
  const Communicator& c = *job.communicator;
  T* to = reinterpret_cast<T*>(job.to + start);
  for (size_t i = 0; i < bytes / sizeof(T); ++i) {
    T sum = 0;
    for (int rank = 0; rank < c.size; ++rank) sum += reinterpret_cast<const T*>(c.slot(rank))[i];
    to[i] = job.request.operation == AVG ? sum / T(c.size) : sum;
  }
}

void run(void* data) {
  Job& job = *static_cast<Job*>(data);
  Communicator& c = *job.communicator;
  if (!c.alive) die("a communicator was aborted before its work was done");
  job.request.number = c.number++;
  c.shared->requests[c.rank] = job.request;
  c.meet_or_die();
  for (int rank = 0; rank < c.size; ++rank)
    if (!(c.shared->requests[rank] == job.request))
      die("rank " + std::to_string(c.rank) + " asks for something else than rank " +
          std::to_string(rank) + ", of " + std::to_string(job.request.count) + " numbers");
  for (size_t start = 0; start < job.bytes(); start += SLOT) {
    const size_t bytes = std::min(SLOT, job.bytes() - start);
    memcpy(c.slot(c.rank), job.from + start, bytes);
    c.meet_or_die();
    if (job.request.what == GATHER)
      for (int rank = 0; rank < c.size; ++rank)
        memcpy(job.to + size_t(rank) * job.bytes() + start, c.slot(rank), bytes);
    else if (job.request.type == FLOAT64) add_up<double>(job, start, bytes);
    else add_up<float>(job, start, bytes);
    c.meet_or_die();
  }
}

// ---- groups ----

struct Group {
  unsigned depth = 0;
  int error = SUCCESS;
  std::vector<std::pair<Job, void*>> jobs;
};
thread_local Group group;

int launch(const Job& job, void* stream) {
  // A graph may run it any number of times, so it is never freed.
  return cuLaunchHostFunc(stream, run, new Job(job))
             ? failed(UNHANDLED_CUDA_ERROR, "cuLaunchHostFunc")
             : int(SUCCESS);
}

// Whether the communicator's GPU has these bytes in one allocation.
bool holds(const Communicator& c, Address address, size_t bytes) {
  Address start = 0;
  size_t size = 0;
  int device = -1;
  unsigned type = 0;
  if (cuPointerGetAttribute(&start, 11, address) || cuPointerGetAttribute(&size, 12, address))
    return false;
  if (cuPointerGetAttribute(&device, 9, address) || cuPointerGetAttribute(&type, 2, address))
    return false;
  return type == 2 && device == c.device && address - start <= size &&
         bytes <= size - (address - start);
}

int check(void* communicator, void* stream, Address from, Address to, const Job& job) {
  void* context = nullptr;
  unsigned flags;
  auto* c = static_cast<Communicator*>(communicator);
  if (!communicators.count(c)) return failed(INVALID_ARGUMENT, "no communicator");
  if (cuCtxGetCurrent(&context) || context != c->context)
    return failed(INVALID_USAGE, "another context is current");
  if (!stream || cuStreamGetFlags(stream, &flags)) return failed(INVALID_ARGUMENT, "no stream");
  if (job.request.type != FLOAT32 && job.request.type != FLOAT64)
    return failed(INVALID_ARGUMENT, "a type that is not known here");
  if (job.request.operation != SUM && job.request.operation != AVG)
    return failed(INVALID_ARGUMENT, "an operation that is not known here");
  const size_t bytes = job.bytes(),
               all = bytes * (job.request.what == GATHER ? size_t(c->size) : 1);
  if (!bytes) return failed(INVALID_ARGUMENT, "no numbers");
  if (from % job.width() || to % job.width())
    return failed(INVALID_ARGUMENT, "a buffer is not aligned");
  if (!holds(*c, from, bytes) || !holds(*c, to, all))
    return failed(INVALID_ARGUMENT, "no allocation on the GPU holds a buffer");
  const Address own = job.request.what == GATHER ? to + Address(c->rank) * bytes : to;
  if (from != own && from < to + all && to < from + bytes)
    return failed(INVALID_ARGUMENT, "buffers overlap");
  return SUCCESS;
}

int ask(void* communicator, void* stream, Address from, Address to, Request request) {
  std::lock_guard<std::recursive_mutex> lock(everything);
  const Job job{static_cast<Communicator*>(communicator), request,
                reinterpret_cast<const char*>(from), reinterpret_cast<char*>(to)};
  const int error = check(communicator, stream, from, to, job);
  if (!group.depth) return error ? error : launch(job, stream);
  if (error) group.error = error;
  else group.jobs.emplace_back(job, stream);
  return error;
}

// Maps the memory that `id` names, new for the first who asks.
SharedMemory* shared_memory_of(const Id& id, size_t bytes) {
  const int file = shm_open(id.bytes, O_RDWR | O_CREAT, 0600);
  if (file < 0) return nullptr;
  void* memory = ftruncate(file, off_t(bytes))
                     ? MAP_FAILED
                     : mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  return memory == MAP_FAILED ? nullptr : static_cast<SharedMemory*>(memory);
}

}  // namespace

// ---- the library's functions ----

NCCL int ncclGetVersion(int* version) {
  if (!version) return failed(INVALID_ARGUMENT, "the version has nowhere to go");
  *version = 22703;
  return SUCCESS;
}

NCCL const char* ncclGetErrorString(int code) {
  switch (code) {
    case SUCCESS: return "no error";
    case UNHANDLED_CUDA_ERROR: return "unhandled cuda error (run with NCCL_DEBUG=INFO for details)";
    case SYSTEM_ERROR: return "unhandled system error (run with NCCL_DEBUG=INFO for details)";
    case INVALID_ARGUMENT: return "invalid argument (run with NCCL_DEBUG=WARN for details)";
    case INVALID_USAGE: return "invalid usage (run with NCCL_DEBUG=WARN for details)";
    default: return "unknown result code";
  }
}

NCCL int ncclGetUniqueId(Id* id) {
  if (!id) return failed(INVALID_ARGUMENT, "the identity has nowhere to go");
  std::random_device random;
  memset(id, 0, sizeof *id);
  snprintf(id->bytes, sizeof id->bytes, "%s%08x%08x%08x", NAME, random(), random(),
           unsigned(getpid()));
  return SUCCESS;
}

NCCL int ncclCommInitRank(void** out, int size, Id id, int rank) {
  if (!out || size < 1 || size > int(RANKS) || rank < 0 || rank >= size)
    return failed(INVALID_ARGUMENT, "no such rank");
  if (strncmp(id.bytes, NAME, sizeof NAME - 1) || !memchr(id.bytes, 0, sizeof id.bytes))
    return failed(INVALID_ARGUMENT, "no identity");
  auto c = std::make_unique<Communicator>();
  if (cuCtxGetCurrent(&c->context) || !c->context || cuCtxGetDevice(&c->device))
    return failed(UNHANDLED_CUDA_ERROR, "no context is current");
  c->rank = rank, c->size = size;
  c->shared = shared_memory_of(id, sizeof(SharedMemory) + size_t(size) * SLOT);
  if (!c->shared) return failed(SYSTEM_ERROR, "no shared memory");
  uint32_t none = 0;
  if (!c->shared->size.compare_exchange_strong(none, uint32_t(size)) && none != uint32_t(size))
    return failed(INVALID_ARGUMENT, "other ranks know of another number of ranks");
  if (c->shared->taken[rank].exchange(1)) return failed(INVALID_ARGUMENT, "a rank has come twice");
  cuDeviceGetUuid(c->shared->gpus[rank], c->device);
  const bool met = c->meet();
  if (rank == 0) shm_unlink(id.bytes);
  if (!met) return failed(SYSTEM_ERROR, "the other ranks did not come within two minutes");
  for (int other = 0; other < size; ++other)
    if (other != rank && !memcmp(c->shared->gpus[other], c->shared->gpus[rank], 16))
      return failed(INVALID_USAGE, "two ranks on one GPU");
  std::lock_guard<std::recursive_mutex> lock(everything);
  *out = *communicators.insert(c.release()).first;
  return SUCCESS;
}

NCCL int ncclAllReduce(Address from, Address to, size_t count, int type, int operation,
                       void* communicator, void* stream) {
  return ask(communicator, stream, from, to, {REDUCE, type, operation, count, 0});
}

NCCL int ncclAllGather(Address from, Address to, size_t count, int type, void* communicator,
                       void* stream) {
  return ask(communicator, stream, from, to, {GATHER, type, SUM, count, 0});
}

NCCL int ncclGroupStart() {
  ++group.depth;
  return SUCCESS;
}

NCCL int ncclGroupEnd() {
  if (!group.depth) return failed(INVALID_USAGE, "no group was begun");
  if (--group.depth) return SUCCESS;
  Group ended = std::move(group);
  group = {};
  for (auto& [job, stream] : ended.jobs)
    if (!ended.error) ended.error = launch(job, stream);
  return ended.error;
}

NCCL int ncclCommAbort(void* communicator) {
  std::lock_guard<std::recursive_mutex> lock(everything);
  auto* c = static_cast<Communicator*>(communicator);
  if (!communicators.erase(c)) return failed(INVALID_ARGUMENT, "no communicator");
  c->alive = false;  // and not freed, as what was recorded may refer to it
  return SUCCESS;
}
