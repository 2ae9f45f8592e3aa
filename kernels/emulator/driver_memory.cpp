// Allocations, copies and memsets.
#include "driver.h"
#include <algorithm>

using namespace emulator;

// ---- allocations ----

namespace {

Result allocate(const Call& call, Address* out, size_t size) {
  if (!out || !size) return ERROR_INVALID_VALUE;
  Memory& memory = driver.memory;
  void* p = memory.allocate(size, false, call.context->device, call.context.get());
  if (!p) {
    driver.streams.finish_all();  // what was freed in stream order comes back
    p = memory.allocate(size, false, call.context->device, call.context.get());
  }
  return p ? give(out, Address(p)) : ERROR_OUT_OF_MEMORY;
}

Result allocate_host(const Call& call, void** out, size_t size) {
  if (!out || !size) return ERROR_INVALID_VALUE;
  CHECK(driver.streams.unsafe_call());
  *out = driver.memory.allocate(size, true, call.context->device, call.context.get());
  return *out ? SUCCESS : ERROR_OUT_OF_MEMORY;
}

}  // namespace

DRIVER cuMemAlloc_v2(Address* p, size_t size) {
  IN_CONTEXT(size);
  CHECK(driver.streams.unsafe_call());
  return allocate(call, p, size);
}
DRIVER cuMemFree_v2(Address p) {
  IN_CONTEXT(pointer(p));
  if (!p) return SUCCESS;
  CHECK(driver.streams.unsafe_call());
  const Allocation* a = driver.memory.at(p);
  if (!a || a->host) return ERROR_INVALID_VALUE;
  driver.streams.finish_all();
  driver.memory.free(p);
  return call.context->error;
}
DRIVER cuMemAllocAsync(Address* p, size_t size, void* stream_handle) {
  IN_CONTEXT(size, stream_handle);
  STREAM(stream, stream_handle);
  if (stream->capture) return Streams::broken(*stream->capture, ERROR_STREAM_CAPTURE_UNSUPPORTED);
  return allocate(call, p, size);
}
DRIVER cuMemFreeAsync(Address p, void* stream_handle) {
  IN_CONTEXT(pointer(p), stream_handle);
  STREAM(stream, stream_handle);
  if (!p) return SUCCESS;
  if (stream->capture) return Streams::broken(*stream->capture, ERROR_STREAM_CAPTURE_UNSUPPORTED);
  const Allocation* a = driver.memory.at(p);
  if (!a || a->host) return ERROR_INVALID_VALUE;
  driver.memory.mark_freed(p);
  return driver.streams.submit(*stream, [p] {
    driver.memory.free(p);
    return SUCCESS;
  });
}
DRIVER cuMemAllocHost_v2(void** p, size_t size) {
  IN_CONTEXT(size);
  return allocate_host(call, p, size);
}
DRIVER cuMemHostAlloc(void** p, size_t size, unsigned flags) {
  IN_CONTEXT(size, flags);
  return allocate_host(call, p, size);
}
DRIVER cuMemFreeHost(void* p) {
  IN_CONTEXT(p);
  CHECK(driver.streams.unsafe_call());
  const Allocation* a = driver.memory.at(Address(p));
  if (!a || !a->host) return ERROR_INVALID_VALUE;
  driver.memory.free(Address(p));
  return SUCCESS;
}
DRIVER cuMemHostGetDevicePointer_v2(Address* device, void* host, unsigned flags) {
  IN_CONTEXT(host, flags);
  return driver.memory.pinned(host, 1) ? give(device, Address(host)) : ERROR_INVALID_VALUE;
}
DRIVER cuMemGetInfo_v2(size_t* free, size_t* total) {
  IN_CONTEXT();
  CHECK(give(free, driver.memory.limit - driver.memory.used[call.context->device]));
  return give(total, driver.memory.limit);
}
DRIVER cuPointerGetAttribute(void* out, int attribute, Address p) {
  IN_CONTEXT(attribute, pointer(p));
  Address start;
  const Allocation* a = driver.memory.holding(p, 0, &start);
  if (!a || !out) return ERROR_INVALID_VALUE;
  switch (attribute) {
    case 2: return give(static_cast<unsigned*>(out), a->host ? 1 : 2);  // memory type
    case 3: return give(static_cast<Address*>(out), p);
    case 4: return a->host ? give(static_cast<void**>(out), pointer(p)) : ERROR_INVALID_VALUE;
    case 8: return give(static_cast<unsigned*>(out), 0);  // managed
    case 9: return give(static_cast<int*>(out), a->device);
    case 11: return give(static_cast<Address*>(out), start);
    case 12: return give(static_cast<size_t*>(out), a->size);
    default: return ERROR_NOT_SUPPORTED;
  }
}

// ---- copies and memsets ----

namespace {

Result illegal(const char* what) {
  fprintf(stderr, "CUDA emulator: %s touches memory that is no longer there\n", what);
  return ERROR_ILLEGAL_ADDRESS;
}

// The task that copies to or from the device; the memory may be gone by the time it runs.
Task copy_task(void* to, const void* from, size_t size, bool check_to, bool check_from) {
  return [=] {
    auto gone = [&](const void* p) {
      return !driver.memory.holding(Address(p), size, nullptr, true);
    };
    if ((check_to && gone(to)) || (check_from && gone(from))) return illegal("a copy");
    if (TRACE) fprintf(stderr, "  copies %zu bytes\n", size);
    memmove(to, from, size);
    return SUCCESS;
  };
}

template <class T> Task fill_task(Address to, T value, size_t count) {
  return [=] {
    if (!driver.memory.holding(to, count * sizeof(T), nullptr, true)) return illegal("a memset");
    std::fill_n(static_cast<T*>(pointer(to)), count, value);
    return SUCCESS;
  };
}

// Blocking calls go through the legacy stream. It does not wait for streams that are not blocking.
Result blocking(const Call& call, Task task) {
  CHECK(driver.streams.unsafe_call());
  CHECK(driver.streams.submit(*call.context->legacy, std::move(task)));
  return driver.streams.finish(*call.context->legacy);
}

template <class T>
Result fill(const Call& call, Address to, T value, size_t count, void* handle, bool async) {
  if (!count) return SUCCESS;
  if (to % sizeof(T) || count > SIZE_MAX / sizeof(T) ||
      !driver.memory.device(to, count * sizeof(T)))
    return ERROR_INVALID_VALUE;
  if (!async) CHECK(driver.streams.unsafe_call());
  STREAM(stream, handle);
  return driver.streams.submit(*stream, fill_task(to, value, count));
}

}  // namespace

DRIVER cuMemcpyHtoD_v2(Address to, const void* from, size_t size) {
  IN_CONTEXT(pointer(to), from, size);
  if (!size) return SUCCESS;
  if (!from || !driver.memory.device(to, size)) return ERROR_INVALID_VALUE;
  return blocking(call, copy_task(pointer(to), from, size, true, false));
}
DRIVER cuMemcpyDtoH_v2(void* to, Address from, size_t size) {
  IN_CONTEXT(to, pointer(from), size);
  if (!size) return SUCCESS;
  if (!to || !driver.memory.device(from, size)) return ERROR_INVALID_VALUE;
  return blocking(call, copy_task(to, pointer(from), size, false, true));
}
DRIVER cuMemcpyDtoDAsync_v2(Address to, Address from, size_t size, void* stream_handle) {
  IN_CONTEXT(pointer(to), pointer(from), size, stream_handle);
  STREAM(stream, stream_handle);
  if (!size) return SUCCESS;
  if (!driver.memory.device(to, size) || !driver.memory.device(from, size))
    return ERROR_INVALID_VALUE;
  return driver.streams.submit(*stream, copy_task(pointer(to), pointer(from), size, true, true));
}
DRIVER cuMemcpyDtoD_v2(Address to, Address from, size_t size) {
  // Like a memset, and unlike the other copies, the host does not wait for it.
  IN_CONTEXT(pointer(to), pointer(from), size);
  if (!size) return SUCCESS;
  if (!driver.memory.device(to, size) || !driver.memory.device(from, size))
    return ERROR_INVALID_VALUE;
  CHECK(driver.streams.unsafe_call());
  return driver.streams.submit(*call.context->legacy,
                               copy_task(pointer(to), pointer(from), size, true, true));
}
// Pinned host memory is read or written when the copy runs. Other memory cannot be: what is to be
// read is taken now, and what is to be written the host waits for.
DRIVER cuMemcpyHtoDAsync_v2(Address to, const void* from, size_t size, void* stream_handle) {
  IN_CONTEXT(pointer(to), from, size, stream_handle);
  STREAM(stream, stream_handle);
  if (!size) return SUCCESS;
  if (!from || !driver.memory.device(to, size)) return ERROR_INVALID_VALUE;
  if (driver.memory.pinned(from, size))
    return driver.streams.submit(*stream, copy_task(pointer(to), from, size, true, true));
  if (stream->capture) return Streams::broken(*stream->capture, ERROR_STREAM_CAPTURE_UNSUPPORTED);
  auto bytes = static_cast<const char*>(from);
  auto staged = std::make_shared<std::vector<char>>(bytes, bytes + size);
  return driver.streams.submit(
      *stream, [=] { return copy_task(pointer(to), staged->data(), size, true, false)(); });
}
DRIVER cuMemcpyDtoHAsync_v2(void* to, Address from, size_t size, void* stream_handle) {
  IN_CONTEXT(to, pointer(from), size, stream_handle);
  STREAM(stream, stream_handle);
  if (!size) return SUCCESS;
  if (!to || !driver.memory.device(from, size)) return ERROR_INVALID_VALUE;
  if (driver.memory.pinned(to, size))
    return driver.streams.submit(*stream, copy_task(to, pointer(from), size, true, true));
  CHECK(driver.streams.waiting_call(*stream));
  CHECK(driver.streams.submit(*stream, copy_task(to, pointer(from), size, false, true)));
  return driver.streams.finish(*stream);
}
DRIVER cuMemsetD8_v2(Address to, unsigned char value, size_t count) {
  IN_CONTEXT(pointer(to), int(value), count);
  return fill(call, to, value, count, nullptr, false);
}
DRIVER cuMemsetD16_v2(Address to, unsigned short value, size_t count) {
  IN_CONTEXT(pointer(to), value, count);
  return fill(call, to, value, count, nullptr, false);
}
DRIVER cuMemsetD32_v2(Address to, unsigned value, size_t count) {
  IN_CONTEXT(pointer(to), value, count);
  return fill(call, to, value, count, nullptr, false);
}
DRIVER cuMemsetD8Async(Address to, unsigned char value, size_t count, void* stream) {
  IN_CONTEXT(pointer(to), int(value), count, stream);
  return fill(call, to, value, count, stream, true);
}
DRIVER cuMemsetD16Async(Address to, unsigned short value, size_t count, void* stream) {
  IN_CONTEXT(pointer(to), value, count, stream);
  return fill(call, to, value, count, stream, true);
}
DRIVER cuMemsetD32Async(Address to, unsigned value, size_t count, void* stream) {
  IN_CONTEXT(pointer(to), value, count, stream);
  return fill(call, to, value, count, stream, true);
}
