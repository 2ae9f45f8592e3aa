// Device memory and pinned host memory. Each allocation is a heap block of exactly its size, so the
// address sanitizer sees every overrun, and is filled with rubbish that reads as NaN.
#pragma once
#include "errors.h"
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

namespace emulator {

using Address = unsigned long long;  // CUdeviceptr

struct Allocation {
  size_t size;
  bool host;       // pinned host memory
  int device;
  void* context;
  bool freed;      // in stream order: the API no longer knows it, work queued before may use it
};

class Memory {
 public:
  const size_t limit;  // bytes of a device
  explicit Memory(size_t limit) : limit(limit) {}
  std::map<int, size_t> used;

  // Null if the device has not that much left.
  void* allocate(size_t size, bool host, int device, void* context) {
    if (!host && (size > limit || used[device] > limit - size)) return nullptr;
    void* p = nullptr;
    if (posix_memalign(&p, host ? 4096 : 256, size) != 0) return nullptr;
    memset(p, 0xff, size);
    if (!host) used[device] += size;
    all[Address(p)] = {size, host, device, context, false};
    return p;
  }

  // The start of a live allocation, or null.
  const Allocation* at(Address start) const {
    auto found = all.find(start);
    return found == all.end() || found->second.freed ? nullptr : &found->second;
  }

  // The allocation that holds the bytes [p, p + size), and where it starts.
  const Allocation* holding(Address p, size_t size, Address* start = nullptr,
                            bool even_freed = false) const {
    auto next = all.upper_bound(p);
    if (next == all.begin()) return nullptr;
    auto& [begin, a] = *--next;
    if (p - begin > a.size || size > a.size - (p - begin) || (p - begin == a.size && a.size) ||
        (a.freed && !even_freed))
      return nullptr;
    if (start) *start = begin;
    return &a;
  }
  bool device(Address p, size_t size, bool even_freed = false) const {
    const Allocation* a = holding(p, size, nullptr, even_freed);
    if (a && !a->host) return true;
    fprintf(stderr, "CUDA emulator: no device allocation holds %zu bytes at 0x%llx\n", size, p);
    return false;
  }
  bool pinned(const void* p, size_t size) const {
    const Allocation* a = holding(Address(p), size);
    return a && a->host;
  }

  void mark_freed(Address start) { all[start].freed = true; }
  void free(Address start) {
    auto found = all.find(start);
    if (!found->second.host) used[found->second.device] -= found->second.size;
    ::free(reinterpret_cast<void*>(start));
    all.erase(found);
  }
  void free_context(void* context) {
    for (auto it = all.begin(); it != all.end();) {
      Address start = it->first;
      bool ours = it->second.context == context;
      ++it;
      if (ours) free(start);
    }
  }

 private:
  std::map<Address, Allocation> all;
};

}  // namespace emulator
