// Modules, functions and launches.
#include "driver.h"
#include <algorithm>

using namespace emulator;

DRIVER cuModuleLoadData(void** handle, const void* image) {
  IN_CONTEXT(image);
  if (!handle || !image) return ERROR_INVALID_VALUE;
  CHECK(driver.streams.unsafe_call());
  auto module = std::make_shared<Module>();
  module->context = call.context;
  auto refuse = [](Result error, const std::string& why) {
    fprintf(stderr, "CUDA emulator: module refused: %s\n", why.c_str());
    return error;
  };
  if (!read_ptx(static_cast<const char*>(image), module->ptx))
    return refuse(ERROR_INVALID_IMAGE, "its text is not PTX");
  const Ptx& ptx = module->ptx;
  if (ptx.version != "8.0")
    return refuse(ERROR_UNSUPPORTED_PTX_VERSION, "PTX " + ptx.version + " is not 8.0");
  if (ptx.target != 70 && ptx.target != 80)
    return refuse(ERROR_INVALID_PTX, "its target is neither sm_70 nor sm_80");
  if (ptx.target > CAPABILITY)
    return refuse(ERROR_NO_BINARY_FOR_GPU, "its target is newer than the device");
  for (auto& [name, entry] : ptx.entries)
    if (const Kernel* kernel = find_kernel(name))
      if (entry.sizes != std::vector<size_t>(kernel->sizes, kernel->sizes + kernel->count))
        return refuse(ERROR_INVALID_PTX, "the parameters of " + name +
                                             " are not those of the source that was compiled in");
  if (TRACE)
    fprintf(stderr, "  translates %zu bytes of PTX, %zu kernels from %s on\n",
            strlen(static_cast<const char*>(image)), ptx.entries.size(),
            ptx.entries.empty() ? "none" : ptx.entries.begin()->first.c_str());
  return give(handle, driver.modules.add(module));
}
DRIVER cuModuleLoadDataEx(void** handle, const void* image, unsigned, int*, void**) {
  return cuModuleLoadData(handle, image);
}
DRIVER cuModuleLoadFatBinary(void** handle, const void* image) {
  return cuModuleLoadData(handle, image);
}
DRIVER cuModuleUnload(void* handle) {
  IN_CONTEXT(handle);
  CHECK(driver.streams.unsafe_call());
  FIND(module, modules, handle);
  driver.functions.remove_if([&](const Function& f) { return f.module == module; });
  driver.modules.remove(handle);
  return SUCCESS;
}
DRIVER cuModuleGetFunction(void** handle, void* module_handle, const char* name) {
  IN_CONTEXT(module_handle, name);
  if (!handle || !name) return ERROR_INVALID_VALUE;
  FIND(module, modules, module_handle);
  auto entry = module->ptx.entries.find(name);
  if (entry == module->ptx.entries.end()) return ERROR_NOT_FOUND;
  const Kernel* kernel = find_kernel(name);
  if (!kernel) {
    fprintf(stderr, "CUDA emulator: kernel %s was not compiled in: build the emulator again\n",
            name);
    return ERROR_NOT_FOUND;
  }
  auto function = std::make_shared<Function>();
  *function = {call.context, module, kernel, &entry->second, SHARED - int(entry->second.shared)};
  return give(handle, driver.functions.add(function));
}
DRIVER cuModuleGetGlobal_v2(Address*, size_t*, void* module_handle, const char* name) {
  IN_CONTEXT(module_handle, name);
  FIND(module, modules, module_handle);
  return ERROR_NOT_FOUND;
}
DRIVER cuFuncGetAttribute(int* value, int attribute, void* handle) {
  IN_CONTEXT(attribute, handle);
  FIND(function, functions, handle);
  switch (attribute) {
    case 0: return give(value, function->entry->max_threads);
    case 1: return give(value, function->entry->shared);
    case 2: case 3: return give(value, 0);  // constant and local memory
    case 4: return give(value, 32);         // registers
    case 5: return give(value, function->module->ptx.target);
    case 6: return give(value, CAPABILITY);
    case 7: return give(value, 0);
    case 8: return give(value, function->max_dynamic);
    case 9: return give(value, -1);
    default: return ERROR_INVALID_VALUE;
  }
}
DRIVER cuFuncSetAttribute(void* handle, int attribute, int value) {
  IN_CONTEXT(handle, attribute, value);
  FIND(function, functions, handle);
  // Carve-out.
  if (attribute == 9) return value >= -1 && value <= 100 ? SUCCESS : ERROR_INVALID_VALUE;
  if (attribute != 8 || value < 0 || value > shared_opt_in() - int(function->entry->shared))
    return ERROR_INVALID_VALUE;
  function->max_dynamic = value;
  return SUCCESS;
}
DRIVER cuFuncSetCacheConfig(void* handle, int config) {
  IN_CONTEXT(handle, config);
  FIND(function, functions, handle);
  return SUCCESS;
}
DRIVER cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, void* handle, int size,
                                                   size_t dynamic) {
  IN_CONTEXT(handle, size, dynamic);
  FIND(function, functions, handle);
  if (size <= 0 || !blocks) return ERROR_INVALID_VALUE;
  size_t shared = function->entry->shared + dynamic;
  size_t fit =
      size_t(size) > function->entry->max_threads || dynamic > size_t(function->max_dynamic)
          ? 0
          : 2048 / size_t((size + 31) / 32 * 32);
  if (shared)
    fit =
        std::min(fit, size_t(shared_total()) / (shared + size_t(shared_total() - shared_opt_in())));
  return give(blocks, std::min<size_t>(fit, 32));
}

DRIVER cuLaunchKernel(void* handle, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                      unsigned bz, unsigned shared, void* stream_handle, void** parameters,
                      void** extra) {
  IN_CONTEXT(handle, gx, gy, gz, bx, by, bz, shared, stream_handle);
  FIND(function, functions, handle);
  STREAM(stream, stream_handle);
  if (function->context != call.context) return ERROR_INVALID_HANDLE;
  if (extra) return ERROR_NOT_SUPPORTED;
  const Kernel* kernel = function->kernel;
  auto refuse = [&](Result error, const char* why) {
    fprintf(
        stderr,
        "CUDA emulator: launch of %s, grid (%u,%u,%u), block (%u,%u,%u), %u bytes refused: %s\n",
        kernel->name, gx, gy, gz, bx, by, bz, shared, why);
    return error;
  };
  if (!gx || !gy || !gz || gx > 0x7fffffff || gy > 65535 || gz > 65535)
    return refuse(ERROR_INVALID_VALUE, "no such grid");
  if (!bx || !by || !bz || bx > 1024 || by > 1024 || bz > 64 || bx * by * bz > 1024)
    return refuse(ERROR_INVALID_VALUE, "no such block");
  if (bx * by * bz > function->entry->max_threads)
    return refuse(ERROR_LAUNCH_OUT_OF_RESOURCES, "more threads than its bounds");
  if (shared > unsigned(function->max_dynamic))
    return refuse(ERROR_INVALID_VALUE, "more shared memory than set for it");
  if (kernel->count && !parameters) return refuse(ERROR_INVALID_VALUE, "no parameters");

  auto launch = std::make_shared<Launch>();
  launch->kernel = kernel;
  launch->grid = {gx, gy, gz};
  launch->block = {bx, by, bz};
  launch->shared = shared;
  launch->waits = function->entry->waits;
  // The values are taken now, each at a multiple of 16 bytes.
  size_t words = 2;
  for (size_t i = 0; i < kernel->count; ++i) words += (kernel->sizes[i] + 15) / 16 * 2;
  launch->storage.resize(words);
  uint64_t* at = launch->storage.data();
  at += reinterpret_cast<uintptr_t>(at) % 16 / 8;
  for (size_t i = 0; i < kernel->count; ++i) {
    if (!parameters[i]) return refuse(ERROR_INVALID_VALUE, "a parameter is null");
    memcpy(at, parameters[i], kernel->sizes[i]);
    launch->parameters.push_back(at);
    at += (kernel->sizes[i] + 15) / 16 * 2;
  }
  return driver.streams.submit(*stream, [launch] {
    if (TRACE) fprintf(stderr, "  runs %s\n", launch->kernel->name);
    return run_grid(*launch) ? SUCCESS : ERROR_LAUNCH_FAILED;
  });
}
DRIVER cuLaunchHostFunc(void* stream_handle, void (*function)(void*), void* data) {
  IN_CONTEXT(stream_handle);
  if (!function) return ERROR_INVALID_VALUE;
  STREAM(stream, stream_handle);
  return driver.streams.submit(*stream, [=] {
    in_callback = true;
    function(data);
    in_callback = false;
    return SUCCESS;
  });
}
