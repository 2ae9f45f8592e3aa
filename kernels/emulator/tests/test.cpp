// What the emulator runs rightly, refuses and catches, one case a run: `test PTX CASE`.
// test.sh says which cases must pass and which must fail.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cmath>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

using Address = unsigned long long;
extern "C" {
int cuInit(unsigned);
int cuGetErrorName(int, const char**);
int cuGetProcAddress(const char*, void**, int, unsigned long long);
int cuDeviceGetAttribute(int*, int, int);
int cuDevicePrimaryCtxRetain(void**, int);
int cuDevicePrimaryCtxRelease_v2(int);
int cuCtxSetCurrent(void*);
int cuCtxSynchronize();
int cuModuleLoadData(void**, const void*);
int cuModuleUnload(void*);
int cuModuleGetFunction(void**, void*, const char*);
int cuFuncGetAttribute(int*, int, void*);
int cuFuncSetAttribute(void*, int, int);
int cuLaunchKernel(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                   void*, void**, void**);
int cuLaunchHostFunc(void*, void (*)(void*), void*);
int cuMemAlloc_v2(Address*, size_t);
int cuMemFree_v2(Address);
int cuMemAllocAsync(Address*, size_t, void*);
int cuMemFreeAsync(Address, void*);
int cuMemAllocHost_v2(void**, size_t);
int cuMemFreeHost(void*);
int cuMemGetInfo_v2(size_t*, size_t*);
int cuMemcpyHtoD_v2(Address, const void*, size_t);
int cuMemcpyDtoH_v2(void*, Address, size_t);
int cuMemcpyHtoDAsync_v2(Address, const void*, size_t, void*);
int cuMemcpyDtoHAsync_v2(void*, Address, size_t, void*);
int cuMemcpyDtoDAsync_v2(Address, Address, size_t, void*);
int cuMemsetD32_v2(Address, unsigned, size_t);
int cuMemsetD32Async(Address, unsigned, size_t, void*);
int cuStreamCreate(void**, unsigned);
int cuStreamDestroy_v2(void*);
int cuStreamSynchronize(void*);
int cuStreamQuery(void*);
int cuStreamWaitEvent(void*, void*, unsigned);
int cuStreamBeginCapture_v2(void*, int);
int cuStreamEndCapture(void*, void**);
int cuEventCreate(void**, unsigned);
int cuEventRecord(void*, void*);
int cuEventQuery(void*);
int cuEventSynchronize(void*);
int cuEventElapsedTime(float*, void*, void*);
int cuGraphInstantiateWithFlags(void**, void*, unsigned long long);
int cuGraphGetNodes(void*, void**, size_t*);
int cuGraphLaunch(void*, void*);
int cuGraphExecDestroy(void*);
int cuGraphDestroy(void*);
}

static int failures = 0;

static void expect(bool right, const char* what, int line) {
  if (right) return;
  printf("line %d: not so: %s\n", line, what);
  ++failures;
}
static void code(int got, int wanted, const char* what, int line) {
  if (got == wanted) return;
  const char* name = "?";
  cuGetErrorName(got, &name);
  printf("line %d: %s gave %s (%d), not %d\n", line, what, name, got, wanted);
  ++failures;
}
#define EXPECT(...) expect(__VA_ARGS__, #__VA_ARGS__, __LINE__)
#define CODE(wanted, ...) code(__VA_ARGS__, wanted, #__VA_ARGS__, __LINE__)
#define OK(...) CODE(0, __VA_ARGS__)

static void *context, *module;
static std::string ptx;

static void* kernel(const char* name) {
  void* f = nullptr;
  code(cuModuleGetFunction(&f, module, name), 0, name, __LINE__);
  return f;
}
template <class... A>
static int launch_in(void* stream, const char* name, unsigned grid, unsigned block, unsigned shared,
                     A... arguments) {
  void* parameters[] = {&arguments..., nullptr};
  return cuLaunchKernel(kernel(name), grid, 1, 1, block, 1, 1, shared, stream, parameters, nullptr);
}
template <class... A>
static int launch(const char* name, unsigned grid, unsigned block, unsigned shared,
                  A... arguments) {
  return launch_in(nullptr, name, grid, block, shared, arguments...);
}

template <class T> static Address device(const std::vector<T>& values) {
  Address p = 0;
  OK(cuMemAlloc_v2(&p, values.size() * sizeof(T)));
  OK(cuMemcpyHtoD_v2(p, values.data(), values.size() * sizeof(T)));
  return p;
}
template <class T> static std::vector<T> host(Address p, size_t n) {
  std::vector<T> values(n);
  OK(cuMemcpyDtoH_v2(values.data(), p, n * sizeof(T)));
  return values;
}
static void* stream() {
  void* s = nullptr;
  OK(cuStreamCreate(&s, 1));
  return s;
}
static void* event() {
  void* e = nullptr;
  OK(cuEventCreate(&e, 0));
  return e;
}

struct Shape {
  int n, rank;
  long long strides[3];
};
static int scale(void* stream, Address y, Address x, float a, int n) {
  return launch_in(stream, "scale", (n + 63) / 64, 64, 0, y, x, a, Shape{n, 1, {1, 0, 0}},
                   (unsigned char)0);
}

// ---- threads ----

static bool sum_is_right(const char* name) {
  std::vector<float> x(7 * 256);
  double total = 0;
  for (size_t i = 0; i < x.size(); ++i) total += x[i] = float(i % 13);
  Address in = device(x), out = device(std::vector<float>{0});
  OK(launch(name, 7, 256, 256 * 4, in, out));
  bool right = host<float>(out, 1)[0] == float(total);
  OK(cuMemFree_v2(in));
  OK(cuMemFree_v2(out));
  return right;
}
static bool shuffled_sum_is_right(const char* name) {
  std::vector<int> x(5 * 224, 1);
  Address in = device(x), out = device(std::vector<int>(5));
  OK(launch(name, 5, 224, 0, in, out));
  return host<int>(out, 5) == std::vector<int>(5, 224);
}
static void barriers() {
  for (int i = 0; i < 20; ++i) {
    EXPECT(sum_is_right("sum"));
    EXPECT(shuffled_sum_is_right("sum_shuffled"));
  }
}
static void missing_barrier() { EXPECT(sum_is_right("sum_without_barrier")); }
static void missing_barrier_after_shuffle() {
  EXPECT(shuffled_sum_is_right("sum_shuffled_without_barrier"));
}

static void shuffles() {
  Address out = device(std::vector<long long>(64 * 10, -2));
  OK(launch("warp", 1, 64, 0, out));
  auto all = host<long long>(out, 64 * 10);
  for (int t = 0; t < 64; ++t) {
    int lane = t % 32;
    const long long* y = &all[t * 10];
    EXPECT(y[0] == 15 && y[1] == lane / 8 * 8 + 1 && y[2] == (lane < 3 ? lane : lane - 3));
    EXPECT(y[3] == (lane % 16 + 5 < 16 ? lane + 5 : lane) && y[4] == (long long)(lane ^ 1) << 40);
    EXPECT(y[5] == 0x49249249 && y[6] == 2);
    EXPECT(y[7] == (lane < 16 ? lane ^ 15 : 0xaaaa0000));
    EXPECT(y[8] == (lane < 16 ? 16 : -2) && y[9] == (lane < 15 ? lane + 1 : lane == 15 ? -1 : -2));
  }
}

static void numbers() {
  Address out = device(std::vector<float>(15));
  OK(launch("numbers", 1, 1, 0, out));
  std::vector<float> expected = {1, 0, 0, -1, 1, 0, .5f, 34, 3, -1, 4, 0, 0x7bff, 0x7c00, 2};
  EXPECT(host<float>(out, 15) == expected);
}

// ---- launches and memory ----

static void launches() {
  Address y = device(std::vector<float>(100)), x = device(std::vector<float>(100, 2));
  OK(scale(nullptr, y, x, 1.5f, 100));
  EXPECT(host<float>(y, 100) == std::vector<float>(100, 3));
  CODE(1, launch("sum", 1, 1025, 0, x, y));
  CODE(1, launch("sum", 0, 32, 0, x, y));
  CODE(1, launch("sum", 1, 32, 48 * 1024 + 1, x, y));
  CODE(701, launch("beyond", 1, 512, 0, y, 5));  // its bounds say 256
  void* sum = kernel("sum");
  OK(cuFuncSetAttribute(sum, 8, 60 * 1024));
  void* parameters[] = {&x, &y};
  OK(cuLaunchKernel(sum, 1, 1, 1, 32, 1, 1, 60 * 1024, nullptr, parameters, nullptr));
  CODE(1, cuFuncSetAttribute(sum, 8, 300 * 1024));
  int value = 0;
  OK(cuFuncGetAttribute(&value, 1, kernel("sum_shuffled")));
  EXPECT(value == 128);
  CODE(400, cuLaunchKernel(nullptr, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr));
  CODE(400, cuLaunchKernel(sum, 1, 1, 1, 1, 1, 1, 0, parameters, parameters, nullptr));
  void* f;
  CODE(500, cuModuleGetFunction(&f, module, "missing"));
  void* other;
  OK(cuModuleLoadData(&other, (ptx + ".visible .entry absent(\n\n)\n{\n\tret;\n}\n").c_str()));
  CODE(500, cuModuleGetFunction(&f, other, "absent"));
  OK(cuModuleUnload(other));
  CODE(400, cuModuleGetFunction(&f, other, "sum"));
  CODE(200, cuModuleLoadData(&other, "\177ELF"));
  std::string changed = ptx;
  CODE(222, cuModuleLoadData(
                &other, changed.replace(changed.find(".version 8.0"), 12, ".version 9.0").c_str()));
  changed = ptx;
  CODE(218, cuModuleLoadData(
                &other, changed.replace(changed.find(".param .f32"), 11, ".param .f64").c_str()));

  CODE(1, cuMemcpyHtoD_v2(x + 4, &value, 400));
  CODE(1, cuMemcpyDtoH_v2(&value, Address(&value), 4));
  CODE(1, cuMemsetD32_v2(x, 0, 101));
  OK(cuMemsetD32_v2(x, 0x3f800000, 100));
  EXPECT(host<float>(x, 100) == std::vector<float>(100, 1));
  OK(cuMemFree_v2(x));
  CODE(1, cuMemFree_v2(x));
  Address fresh;
  OK(cuMemAlloc_v2(&fresh, 4));
  EXPECT(std::isnan(host<float>(fresh, 1)[0]));

  void* found = nullptr;
  OK(cuGetProcAddress("cuMemAlloc", &found, 12080, 0));
  EXPECT(found == reinterpret_cast<void*>(&cuMemAlloc_v2));
  std::thread([&] { CODE(201, cuMemAlloc_v2(&fresh, 4)); }).join();  // no context in a new thread
}

static void out_of_memory() {  // of 1 MiB
  Address a, b, c;
  OK(cuMemAlloc_v2(&a, 512 << 10));
  CODE(2, cuMemAlloc_v2(&b, (512 << 10) + 1));
  OK(cuMemAlloc_v2(&b, 512 << 10));
  size_t free, total;
  OK(cuMemGetInfo_v2(&free, &total));
  EXPECT(free == 0 && total == 1 << 20);
  void* s = stream();
  OK(cuMemsetD32Async(a, 1, 4, s));
  OK(cuMemFreeAsync(a, s));
  CODE(1, cuMemFree_v2(a));
  OK(cuMemAllocAsync(&c, 512 << 10, s));  // what the stream frees comes back
  OK(cuStreamSynchronize(s));
}

static void trap() {
  OK(launch("trap", 3, 64, 0, 70));
  OK(cuCtxSynchronize());
  OK(launch("trap", 3, 64, 0, 40));
  CODE(719, cuCtxSynchronize());
  Address p;
  CODE(719, cuMemAlloc_v2(&p, 4));  // the context is lost
  OK(cuDevicePrimaryCtxRelease_v2(0));
  OK(cuDevicePrimaryCtxRetain(&context, 0));
  OK(cuMemAlloc_v2(&p, 4));
}
static void divergent() {
  OK(launch("divergent", 2, 64, 0, 10));
  cuCtxSynchronize();
}
static void out_of_date() {
  OK(launch("out_of_date", 1, 2, 0));
  cuCtxSynchronize();
}
static void overrun() {
  Address y = device(std::vector<float>(100));
  OK(launch("beyond", 2, 64, 0, y, 5));
  cuCtxSynchronize();
}
static void shared_overrun() {
  Address y = device(std::vector<float>(1));
  OK(launch("beyond_shared", 1, 64, 64 * 4, y));
  cuCtxSynchronize();
}

// ---- streams ----

// One stream makes what another one doubles, with or, wrongly, without an event between them.
static bool streams_are_right(bool wait) {
  const int n = 200;
  Address x = device(std::vector<float>(n, 1)), y = device(std::vector<float>(n)),
          z = device(std::vector<float>(n));
  void *a = stream(), *b = stream(), *e = event();
  OK(scale(a, y, x, 3, n));
  OK(cuEventRecord(e, a));
  if (wait) OK(cuStreamWaitEvent(b, e, 0));
  OK(scale(b, z, y, 2, n));
  OK(cuStreamSynchronize(b));
  return host<float>(z, n) == std::vector<float>(n, 6);
}
static void streams() {
  for (int i = 0; i < 20; ++i) EXPECT(streams_are_right(true));
  // The host sees what it has waited for, no earlier.
  void *s = stream(), *p, *start = event(), *end = event();
  OK(cuMemAllocHost_v2(&p, 4));
  *static_cast<unsigned*>(p) = 1;
  Address x = device(std::vector<unsigned>{0}), y = device(std::vector<unsigned>{0});
  OK(cuEventRecord(start, s));
  OK(cuMemcpyHtoDAsync_v2(x, p, 4, s));
  OK(cuMemcpyDtoDAsync_v2(y, x, 4, s));
  OK(cuMemcpyDtoHAsync_v2(p, y, 4, s));
  OK(cuEventRecord(end, s));
  *static_cast<unsigned*>(p) = 2;  // too early: the copy has not read it
  while (cuEventQuery(end) == 600) {
  }
  EXPECT(host<unsigned>(x, 1)[0] == 2);
  float time = -1;
  OK(cuEventElapsedTime(&time, start, end));
  EXPECT(time >= 0);
  // The legacy stream waits for a blocking one, not for others.
  void* blocking = nullptr;
  OK(cuStreamCreate(&blocking, 0));
  OK(cuMemsetD32Async(x, 7, 1, blocking));
  EXPECT(host<unsigned>(x, 1)[0] == 7);
  int called = 0;
  OK(cuLaunchHostFunc(s, [](void* p) { *static_cast<int*>(p) = 1 + cuCtxSynchronize(); }, &called));
  OK(cuStreamDestroy_v2(s));
  CODE(400, cuStreamSynchronize(s));
  CODE(400, cuStreamSynchronize(start));  // not a stream
  OK(cuCtxSynchronize());
  EXPECT(called == 801);  // a host function cannot call CUDA: 800
  OK(cuMemcpyHtoDAsync_v2(x, p, 4, blocking));
  OK(cuMemFreeHost(p));  // too early
  CODE(700, cuStreamSynchronize(blocking));
}
static void missing_wait() { EXPECT(streams_are_right(false)); }
static void missing_synchronize() {
  void *s = stream(), *p;
  OK(cuMemAllocHost_v2(&p, 4));
  Address x = device(std::vector<unsigned>{5});
  OK(cuMemcpyDtoHAsync_v2(p, x, 4, s));
  EXPECT(*static_cast<unsigned*>(p) == 5);
}

// ---- graphs ----

static void graphs() {
  const int n = 100;
  Address x = device(std::vector<float>(n, 1)), y = device(std::vector<float>(n)),
          z = device(std::vector<float>(n));
  void *s = stream(), *side = stream(), *fork = event(), *join = event(), *graph, *executable;
  OK(cuStreamBeginCapture_v2(s, 0));
  OK(scale(s, y, x, 2, n));
  OK(cuEventRecord(fork, s));
  OK(cuStreamWaitEvent(side, fork, 0));
  OK(scale(side, z, y, 10, n));
  OK(cuEventRecord(join, side));
  OK(scale(s, x, y, 1, n));
  CODE(907, cuEventSynchronize(join));
  OK(cuStreamWaitEvent(s, join, 0));
  OK(scale(s, y, z, 0.5f, n));
  OK(cuStreamEndCapture(s, &graph));
  size_t count;
  OK(cuGraphGetNodes(graph, nullptr, &count));
  EXPECT(count == 4);
  EXPECT(host<float>(x, n) == std::vector<float>(n, 1));  // nothing has run
  OK(cuGraphInstantiateWithFlags(&executable, graph, 0));
  OK(cuGraphDestroy(graph));
  for (int i = 0; i < 3; ++i) OK(cuGraphLaunch(executable, s));
  OK(cuGraphExecDestroy(executable));
  OK(cuStreamSynchronize(s));
  EXPECT(host<float>(x, n) == std::vector<float>(n, 8));
  EXPECT(host<float>(y, n) == std::vector<float>(n, 40));

  // What must not be done in a capture breaks it.
  Address p;
  float value;
  std::function<void()> wrong[] = {[&] { CODE(900, cuStreamSynchronize(s)); },
                                   [&] { CODE(900, cuStreamQuery(s)); },
                                   [&] { CODE(900, cuCtxSynchronize()); },
                                   [&] { CODE(900, cuMemcpyDtoH_v2(&value, x, 4)); },
                                   [&] { CODE(900, cuMemcpyDtoHAsync_v2(&value, x, 4, s)); },
                                   [&] { CODE(900, cuMemAlloc_v2(&p, 4)); },
                                   [&] { CODE(900, cuMemFree_v2(x)); },
                                   [&] {
                                     std::thread([&] {
                                       OK(cuCtxSetCurrent(context));
                                       CODE(900, cuMemAlloc_v2(&p, 4));
                                     }).join();
                                   }};
  for (auto& call : wrong) {
    OK(cuStreamBeginCapture_v2(s, 0));
    call();
    CODE(901, scale(s, y, x, 2, n));
    CODE(901, cuStreamEndCapture(s, &graph));
    EXPECT(graph == nullptr);
  }
  OK(cuStreamBeginCapture_v2(s, 1));
  std::thread([&] { OK(cuCtxSetCurrent(context)); OK(cuMemAlloc_v2(&p, 4)); }).join();
  OK(cuStreamEndCapture(s, &graph));
  OK(cuStreamBeginCapture_v2(s, 2));
  OK(cuMemAlloc_v2(&p, 4));
  OK(cuEventRecord(fork, s));
  OK(cuStreamWaitEvent(side, fork, 0));
  OK(cuMemsetD32Async(p, 0, 1, side));
  CODE(904, cuStreamEndCapture(s, &graph));  // unjoined
  CODE(401, cuStreamEndCapture(s, &graph));
}

int main(int count, char** arguments) {
  const std::map<std::string, void (*)()> cases = {
      {"barriers", barriers},
      {"shuffles", shuffles},
      {"numbers", numbers},
      {"launches", launches},
      {"streams", streams},
      {"graphs", graphs},
      {"trap", trap},
      {"out_of_memory", out_of_memory},
      {"missing_barrier", missing_barrier},
      {"missing_barrier_after_shuffle", missing_barrier_after_shuffle},
      {"missing_wait", missing_wait},
      {"missing_synchronize", missing_synchronize},
      {"divergent", divergent},
      {"out_of_date", out_of_date},
      {"overrun", overrun},
      {"shared_overrun", shared_overrun}};
  if (count != 3 || !cases.count(arguments[2])) return fprintf(stderr, "usage: test PTX CASE\n"), 2;
  std::stringstream text;
  text << std::ifstream(arguments[1]).rdbuf();
  ptx = text.str();
  int none;
  CODE(3, cuDeviceGetAttribute(&none, 1, 0));
  OK(cuInit(0));
  OK(cuDevicePrimaryCtxRetain(&context, 0));
  OK(cuCtxSetCurrent(context));
  OK(cuModuleLoadData(&module, ptx.c_str()));
  cases.at(arguments[2])();
  return failures != 0;
}
