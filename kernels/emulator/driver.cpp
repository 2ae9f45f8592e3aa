// The stand-in for `libcuda.so.1`: CUDA's driver API with kernels that run on the CPU.
//
// It exports the functions that cust uses for contexts, modules, memory, launches, streams, events
// and graphs. Where a GPU is harsh it is harsh too: see streams.h and memory.h. Every handle and
// device pointer is checked, and a wrong one is an error code, not a crash. One lock guards it all.
//
//   CUDA_EMULATOR_SEED        the order of threads, blocks and streams
//   CUDA_EMULATOR_DEVICES     how many devices there are (1)
//   CUDA_EMULATOR_CAPABILITY  their compute capability (9.0)
//   CUDA_EMULATOR_MEMORY      bytes of memory of each (2 GiB)
//   CUDA_EMULATOR_TRACE=1     print each call, and each kernel as it runs
//
// This file has initialization, devices and contexts; driver_*.cpp the rest.
#include "driver.h"
#include <algorithm>
#include <dlfcn.h>

using namespace emulator;

Call::Call(const char* name, std::initializer_list<Argument> arguments) {
  if (in_callback) {  // a host function must not call CUDA
    refused = ERROR_NOT_PERMITTED;
    return;
  }
  lock = std::unique_lock<std::mutex>(driver.lock);
  if (TRACE) {
    std::string text = name;
    for (const Argument& a : arguments) {
      char number[24];
      snprintf(number, sizeof number, a.pointer ? "0x%llx" : "%lld", a.value);
      text = text + ' ' + (a.name ? a.name : number);
    }
    fprintf(stderr, "%s\n", text.c_str());
  }
  if (!driver.initialized) refused = ERROR_NOT_INITIALIZED;
  if (!current.empty()) context = driver.contexts.find(current.back());
  if (context && !context->alive) context = nullptr;
}

std::shared_ptr<Stream> emulator::new_stream(const std::shared_ptr<Context>& context,
                                             unsigned flags, int priority) {
  auto stream = std::make_shared<Stream>();
  stream->context = context;
  stream->flags = flags;
  stream->priority = priority;
  // One that was destroyed is forgotten when its work is done.
  auto& all = driver.streams.all;
  all.erase(std::remove_if(all.begin(), all.end(),
                           [](auto& s) { return s.use_count() == 1 && s->queue.empty(); }),
            all.end());
  all.push_back(stream);
  return stream;
}

static void give_streams(const std::shared_ptr<Context>& context) {
  context->legacy = new_stream(context, 0, 0);
}

// Ends all that lives in a context.
static void clear(const std::shared_ptr<Context>& context) {
  driver.streams.finish_all();
  auto captures = driver.streams.captures;
  for (auto& capture : captures)
    if (capture->origin->context == context) driver.streams.forget(capture);
  driver.memory.free_context(context.get());
  auto ours = [&](auto& item) { return item.context == context; };
  driver.stream_handles.remove_if(ours);
  driver.events.remove_if(ours);
  driver.modules.remove_if(ours);
  driver.functions.remove_if(ours);
  driver.graphs.remove_if(ours);
  driver.executables.remove_if(ours);
  auto& all = driver.streams.all;
  all.erase(std::remove_if(all.begin(), all.end(), [&](auto& s) { return s->context == context; }),
            all.end());
  context->legacy = nullptr;
  context->alive = false;
}

// ---- initialization, errors ----

DRIVER cuInit(unsigned flags) {
  Call call(__func__, {flags});
  if (flags) return ERROR_INVALID_VALUE;
  if (call.refused == ERROR_NOT_PERMITTED) return call.refused;
  driver.initialized = true;
  return SUCCESS;
}
DRIVER cuDriverGetVersion(int* version) { return give(version, 12080); }
DRIVER cuGetErrorName(int error, const char** name) {
  CHECK(give(name, error_name(error)));
  return *name ? SUCCESS : ERROR_INVALID_VALUE;
}
DRIVER cuGetErrorString(int error, const char** text) {
  CHECK(give(text, error_text(error)));
  return *text ? SUCCESS : ERROR_INVALID_VALUE;
}
DRIVER cuGetProcAddress(const char* symbol, void** function, int, unsigned long long) {
  if (!symbol || !function) return ERROR_INVALID_VALUE;
  Dl_info self;
  dladdr(reinterpret_cast<void*>(&cuInit), &self);
  void* library = dlopen(self.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
  std::string name = symbol;
  // The header gives these names the meaning of a later version.
  if (name == "cuGraphInstantiate") name = "cuGraphInstantiateWithFlags";
  *function = dlsym(library, (name + "_v2").c_str());
  if (!*function) *function = dlsym(library, name.c_str());
  if (library) dlclose(library);
  return *function ? SUCCESS : ERROR_NOT_FOUND;
}
DRIVER cuGetProcAddress_v2(const char* symbol, void** function, int version,
                           unsigned long long flags, int* status) {
  int error = cuGetProcAddress(symbol, function, version, flags);
  if (status) *status = error ? 1 : 0;
  return error;
}

// ---- devices ----

DRIVER cuDeviceGetCount(int* count) {
  ENTER();
  return give(count, DEVICES);
}
DRIVER cuDeviceGet(int* device, int ordinal) {
  ENTER(ordinal);
  return is_device(ordinal) ? give(device, ordinal) : ERROR_INVALID_DEVICE;
}
DRIVER cuDeviceGetName(char* name, int size, int device) {
  ENTER(device);
  if (!name || size <= 0) return ERROR_INVALID_VALUE;
  if (!is_device(device)) return ERROR_INVALID_DEVICE;
  snprintf(name, size_t(size), "CUDA emulator");
  return SUCCESS;
}
DRIVER cuDeviceTotalMem_v2(size_t* bytes, int device) {
  ENTER(device);
  return is_device(device) ? give(bytes, driver.memory.limit) : ERROR_INVALID_DEVICE;
}
DRIVER cuDeviceGetUuid_v2(char* uuid, int device) {
  ENTER(device);
  if (!uuid) return ERROR_INVALID_VALUE;
  if (!is_device(device)) return ERROR_INVALID_DEVICE;
  memcpy(uuid, "CUDA emulator  ", 15);
  uuid[15] = char(device);
  return SUCCESS;
}
DRIVER cuDeviceGetUuid(char* uuid, int device) { return cuDeviceGetUuid_v2(uuid, device); }
DRIVER cuDeviceComputeCapability(int* major, int* minor, int device) {
  ENTER(device);
  if (!is_device(device)) return ERROR_INVALID_DEVICE;
  CHECK(give(major, CAPABILITY / 10));
  return give(minor, CAPABILITY % 10);
}
DRIVER cuDeviceGetAttribute(int* value, int attribute, int device) {
  ENTER(attribute, device);
  if (!is_device(device)) return ERROR_INVALID_DEVICE;
  auto answer = [&]() -> long {
    switch (attribute) {
      case 1: return 1024;                                  // threads of a block
      case 2: case 3: return 1024;                          // a block's x, y
      case 4: return 64;                                    // and z
      case 5: return 0x7fffffff;                            // a grid's x
      case 6: case 7: return 65535;                         // and y, z
      case 8: return SHARED;                                // shared memory of a block
      case 9: return 64 * KIB;                              // constant memory
      case 10: return 32;                                   // a warp
      case 11: return 0x7fffffff;                           // pitch
      // Registers of a block, of a multiprocessor.
      case 12: case 82: return 65536;
      case 13: return 1000000;                              // clock, kHz
      case 14: return 512;                                  // texture alignment
      // Overlap, mapping, concurrent kernels, UVA, priorities.
      case 15: case 19: case 31: case 41: case 78: return 1;
      case 16: return 4;                                     // multiprocessors
      case 34: return device;                               // PCI device
      case 36: return 1000000;                              // memory clock, kHz
      case 37: return 256;                                  // memory bus, bits
      case 38: return 4096 * KIB;                           // L2 cache
      case 39: return 2048;                                 // threads of a multiprocessor
      case 40: return 2;                                    // copy engines
      case 75: return CAPABILITY / 10;
      case 76: return CAPABILITY % 10;
      case 81: return shared_total();
      case 97: return shared_opt_in();
      case 106: return 32;                                  // blocks of a multiprocessor
      case 111: return CAPABILITY >= 80 ? KIB : 0;          // shared memory that the driver keeps
      case 115: return 1;                                   // stream-ordered allocation
      default: return 0;
    }
  };
  return attribute > 0 ? give(value, answer()) : ERROR_INVALID_VALUE;
}

// ---- contexts ----

DRIVER cuDevicePrimaryCtxRetain(void** handle, int device) {
  ENTER(device);
  if (!is_device(device)) return ERROR_INVALID_DEVICE;
  if (!handle) return ERROR_INVALID_VALUE;
  Primary& primary = driver.primaries[size_t(device)];
  if (!primary.context) {
    primary.context = std::make_shared<Context>();
    primary.context->device = device;
    primary.context->primary = true;
    primary.handle = driver.contexts.add(primary.context);
  }
  if (primary.count++ == 0) {
    primary.context->alive = true;
    primary.context->error = SUCCESS;
    give_streams(primary.context);
  }
  return give(handle, primary.handle);
}
DRIVER cuDevicePrimaryCtxRelease_v2(int device) {
  ENTER(device);
  if (!is_device(device)) return ERROR_INVALID_DEVICE;
  Primary& primary = driver.primaries[size_t(device)];
  if (primary.count == 0) return ERROR_INVALID_CONTEXT;
  if (--primary.count == 0) clear(primary.context);
  return SUCCESS;
}
DRIVER cuDevicePrimaryCtxReset_v2(int device) {
  ENTER(device);
  if (!is_device(device)) return ERROR_INVALID_DEVICE;
  Primary& primary = driver.primaries[size_t(device)];
  if (primary.count) clear(primary.context);
  primary.count = 0;
  return SUCCESS;
}
DRIVER cuDevicePrimaryCtxSetFlags_v2(int device, unsigned flags) {
  ENTER(device, flags);
  if (!is_device(device)) return ERROR_INVALID_DEVICE;
  return SUCCESS;
}
DRIVER cuDevicePrimaryCtxGetState(int device, unsigned* flags, int* active) {
  ENTER(device);
  if (!is_device(device)) return ERROR_INVALID_DEVICE;
  CHECK(give(flags, 0));
  return give(active, driver.primaries[size_t(device)].count > 0);
}
DRIVER cuCtxCreate_v2(void** handle, unsigned flags, int device) {
  ENTER(flags, device);
  if (!is_device(device)) return ERROR_INVALID_DEVICE;
  if (!handle) return ERROR_INVALID_VALUE;
  auto context = std::make_shared<Context>();
  context->device = device;
  context->flags = flags;
  give_streams(context);
  *handle = driver.contexts.add(context);
  return current.push(*handle) ? SUCCESS : ERROR_INVALID_CONTEXT;
}
DRIVER cuCtxDestroy_v2(void* handle) {
  ENTER(handle);
  auto context = driver.contexts.find(handle);
  if (!context || context->primary) return ERROR_INVALID_CONTEXT;
  clear(context);
  driver.contexts.remove(handle);
  if (!current.empty() && current.back() == handle) current.pop();
  return SUCCESS;
}
DRIVER cuCtxSetCurrent(void* handle) {
  ENTER(handle);
  if (handle && !driver.contexts.find(handle)) return ERROR_INVALID_CONTEXT;
  if (!current.empty()) current.pop();
  if (handle) current.push(handle);
  return SUCCESS;
}
DRIVER cuCtxGetCurrent(void** handle) {
  ENTER();
  return give(handle, current.empty() ? nullptr : current.back());
}
DRIVER cuCtxPushCurrent_v2(void* handle) {
  ENTER(handle);
  if (!driver.contexts.find(handle)) return ERROR_INVALID_CONTEXT;
  return current.push(handle) ? SUCCESS : ERROR_INVALID_CONTEXT;
}
DRIVER cuCtxPopCurrent_v2(void** handle) {
  ENTER();
  if (current.empty()) return ERROR_INVALID_CONTEXT;
  if (handle) *handle = current.back();
  current.pop();
  return SUCCESS;
}
DRIVER cuCtxGetDevice(int* device) {
  IN_CONTEXT();
  return give(device, call.context->device);
}
DRIVER cuCtxGetFlags(unsigned* flags) {
  IN_CONTEXT();
  return give(flags, call.context->flags);
}
DRIVER cuCtxGetApiVersion(void* handle, unsigned* version) {
  ENTER(handle);
  if (handle ? !driver.contexts.find(handle) : !call.context) return ERROR_INVALID_CONTEXT;
  return give(version, 3020);
}
DRIVER cuCtxGetStreamPriorityRange(int* least, int* greatest) {
  IN_CONTEXT();
  if (least) *least = 0;
  if (greatest) *greatest = -5;
  return SUCCESS;
}
DRIVER cuCtxSynchronize() {
  IN_CONTEXT();
  CHECK(driver.streams.waiting_call(*call.context));
  return driver.streams.finish(*call.context);
}
