// What the parts of the driver share: its state, its settings, and what every call does first.
#pragma once
#include "memory.h"
#include "ptx.h"
#include "streams.h"
#include <mutex>
#include <unordered_map>

namespace emulator {

// ---- what there is ----

inline const char* setting(const char* name, const char* otherwise) {
  const char* value = getenv(name);
  return value && *value ? value : otherwise;
}

inline const bool TRACE = *setting("CUDA_EMULATOR_TRACE", "0") != '0';
inline const int DEVICES = atoi(setting("CUDA_EMULATOR_DEVICES", "1"));
inline const int CAPABILITY = int(lrint(10 * atof(setting("CUDA_EMULATOR_CAPABILITY", "9.0"))));
inline constexpr int KIB = 1024, SHARED = 48 * KIB;

// Shared memory of a multiprocessor; a block gets 1 KiB less of it from Ampere on.
inline int shared_total() {
  switch (CAPABILITY) {
    case 70: case 72: return 96 * KIB;
    case 75: return 64 * KIB;
    case 80: case 87: return 164 * KIB;
    case 86: case 89: case 120: case 121: return 100 * KIB;
    default: return 228 * KIB;
  }
}
inline int shared_opt_in() { return shared_total() - (CAPABILITY >= 80 ? KIB : 0); }

struct Module {
  std::shared_ptr<Context> context;
  Ptx ptx;
};

struct Function {
  std::shared_ptr<Context> context;
  std::shared_ptr<Module> module;
  const Kernel* kernel;
  const Entry* entry;
  int max_dynamic;
};

struct GraphHandle {
  std::shared_ptr<Context> context;
  std::shared_ptr<const Graph> graph;
};

// Handles are numbers that never come twice, so a stale or mistaken one is always found out.
inline uintptr_t last_handle = 0x10000;
template <class T> class Table {
 public:
  void* add(std::shared_ptr<T> item) {
    void* handle = reinterpret_cast<void*>(last_handle += 16);
    items[handle] = std::move(item);
    return handle;
  }
  std::shared_ptr<T> find(void* handle) const {
    auto found = items.find(handle);
    return found == items.end() ? nullptr : found->second;
  }
  bool remove(void* handle) { return items.erase(handle) != 0; }
  template <class Which> void remove_if(Which which) {
    for (auto it = items.begin(); it != items.end();)
      it = which(*it->second) ? items.erase(it) : std::next(it);
  }

 private:
  std::unordered_map<void*, std::shared_ptr<T>> items;
};

struct Primary {
  std::shared_ptr<Context> context;
  void* handle = nullptr;
  int count = 0;
};

struct Driver {
  std::mutex lock;
  bool initialized = false;
  Memory memory{strtoull(setting("CUDA_EMULATOR_MEMORY", "2147483648"), nullptr, 0)};
  Streams streams;
  std::vector<Primary> primaries = std::vector<Primary>(size_t(std::max(DEVICES, 0)));
  Table<Context> contexts;
  Table<Stream> stream_handles;
  Table<Event> events;
  Table<Module> modules;
  Table<Function> functions;
  Table<GraphHandle> graphs, executables;
};
// Never destroyed: the host may call until the very end.
inline Driver& driver = *new Driver;

// A thread's stack of current contexts. It has no destructor: the host's own thread-local values
// may still call as a thread ends.
struct Current {
  void* handles[32];
  size_t count;
  bool empty() const { return count == 0; }
  void* back() const { return handles[count - 1]; }
  bool push(void* handle) { return count < 32 && (handles[count++] = handle, true); }
  void pop() { --count; }
};
inline thread_local Current current;
inline thread_local bool in_callback = false;

// ---- every call ----

// An argument as the trace prints it.
struct Argument {
  long long value = 0;
  bool pointer = false;
  const char* name = nullptr;
  template <class T> Argument(T value) : value((long long)value), pointer(std::is_pointer_v<T>) {}
  Argument(const char* name) : name(name ? name : "null") {}
};

// Takes the lock, and finds out whether the call can go on.
struct Call {
  std::unique_lock<std::mutex> lock;
  Result refused = SUCCESS;
  std::shared_ptr<Context> context;  // the current one

  Call(const char* name, std::initializer_list<Argument> arguments);
  void need_context() {
    if (!refused) refused = context ? context->error : ERROR_INVALID_CONTEXT;
  }
};

#define DRIVER extern "C" __attribute__((visibility("default"))) int
// At the top of a function: with `ENTER` it needs only cuInit, with `IN_CONTEXT` a current context.
#define ENTER(...)                    \
  Call call(__func__, {__VA_ARGS__}); \
  if (call.refused) return call.refused
#define IN_CONTEXT(...)               \
  Call call(__func__, {__VA_ARGS__}); \
  call.need_context();                \
  if (call.refused) return call.refused
#define CHECK(expression) \
  if (Result failed = (expression)) return failed

inline void* pointer(Address p) { return reinterpret_cast<void*>(p); }

template <class T, class V> Result give(T* out, V value) {
  if (!out) return ERROR_INVALID_VALUE;
  *out = T(value);
  return SUCCESS;
}

inline bool is_device(int device) { return device >= 0 && device < DEVICES; }

std::shared_ptr<Stream> new_stream(const std::shared_ptr<Context>& context, unsigned flags,
                                   int priority);

// The stream of a handle in the current context; 0 and 1 are the legacy stream.
inline std::shared_ptr<Stream> find_stream(const Call& call, void* handle) {
  if (handle == nullptr || handle == reinterpret_cast<void*>(1)) return call.context->legacy;
  auto stream = driver.stream_handles.find(handle);
  return stream && stream->context == call.context ? stream : nullptr;
}
#define STREAM(name, handle)              \
  auto name = find_stream(call, handle);  \
  if (!name) return ERROR_INVALID_HANDLE
#define FIND(name, table, handle)           \
  auto name = driver.table.find(handle);    \
  if (!name) return ERROR_INVALID_HANDLE

}  // namespace emulator
