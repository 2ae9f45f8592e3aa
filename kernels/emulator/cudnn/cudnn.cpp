// A stand-in for cuDNN 9, with the part of its backend that the program uses: graphs of a
// convolution and what is added to it or applied, in NHWC.
//
// It is as strict as the real one, or stricter: attributes must have their type and number, what is
// referred to must be complete and still alive, tensors dense and channels-last, operands aligned
// and large enough, and a plan gets the workspace that it asks for, all of which is overwritten.
// What the program does not use is not supported. Its heuristics propose some engines that may not
// be taken (see `propose`).
//
// The work goes to the stand-in driver's stream as a host function, so it waits for what comes
// before, and is recorded when the stream is capturing.
#include "compute.h"
#include <cstdio>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

using namespace cudnn;

#define CUDNN extern "C" __attribute__((visibility("default")))

extern "C" {
int cuCtxGetCurrent(void** context);
int cuStreamGetFlags(void* stream, unsigned* flags);
int cuMemAlloc_v2(unsigned long long* address, size_t bytes);
int cuPointerGetAttribute(void* out, int attribute, unsigned long long address);
int cuLaunchHostFunc(void* stream, void (*function)(void*), void* data);
}

namespace {

// ---- statuses ----

enum Status {
  SUCCESS = 0,
  NOT_INITIALIZED = 1001,
  BAD_PARAM = 2000,
  NULL_POINTER = 2002,
  MISALIGNED = 2003,
  NOT_FINALIZED = 2004,
  SIZE_INSUFFICIENT = 2006,
  STREAM_MISMATCH = 2007,
  SHAPE_MISMATCH = 2008,
  DUPLICATED = 2009,
  ATTRIBUTE_TYPE = 2010,
  DESCRIPTOR_TYPE = 2012,
  NOT_SUPPORTED = 3000,
  NOT_SUPPORTED_PATTERN = 3001,
  NOT_SUPPORTED_TYPE = 3003,
  NOT_SUPPORTED_LAYOUT = 3004,
  EXECUTION_FAILED = 5000,
};

struct Failure {
  int status;
};

thread_local std::string last_error;

[[noreturn]] void fail(int status, const std::string& why) {
  last_error = why;
  throw Failure{status};
}
void require(bool holds, int status, const char* why) {
  if (!holds) fail(status, why);
}
#define REQUIRE(condition, status) require(condition, status, #condition)

std::recursive_mutex everything;

// What every function does around its own part.
template <class Body> int call(Body body) {
  std::lock_guard<std::recursive_mutex> lock(everything);
  try {
    body();
    return SUCCESS;
  } catch (const Failure& failure) {
    return failure.status;
  }
}

// ---- handles ----

struct Handle {
  void *context, *stream;
  // As the real one, it begins with an allocation, which no capture survives.
  unsigned long long scratch;
};
std::set<Handle*> handles;

Handle& handle_of(void* handle) {
  REQUIRE(handles.count(static_cast<Handle*>(handle)), BAD_PARAM);
  return *static_cast<Handle*>(handle);
}

void* current_context() {
  void* context = nullptr;
  if (cuCtxGetCurrent(&context)) return nullptr;
  return context;
}

// ---- descriptors ----

enum Kind {
  POINTWISE = 0,
  CONVOLUTION = 1,
  ENGINE = 2,
  ENGINECFG = 3,
  ENGINEHEUR = 4,
  PLAN = 5,
  CONVOLUTION_FORWARD = 10,
  CONVOLUTION_BACKWARD_FILTER = 11,
  CONVOLUTION_BACKWARD_DATA = 12,
  OPERATION_POINTWISE = 13,
  GRAPH = 15,
  VARIANT_PACK = 16,
  TENSOR = 17,
};
enum Type {
  HANDLE,
  DATA_TYPE,
  BOOLEAN,
  INT64,
  FLOAT32,
  FLOAT64,
  VOID_PTR,
  CONV_MODE,
  HEUR_MODE,
  NUMERICAL_NOTE = 11,
  POINTWISE_MODE = 14,
  DESCRIPTOR = 15,
  BEHAVIOR_NOTE = 19
};

size_t size_of_type(int type) {
  switch (type) {
    case BOOLEAN: return 1;
    case HANDLE: case INT64: case FLOAT64: case VOID_PTR: case DESCRIPTOR: return 8;
    default: return 4;
  }
}

struct Rule {
  int type;
  int64_t least, most;  // how many values
  bool needed;
};

// The attributes that can be set, by kind.
const std::map<int, std::map<int, Rule>> RULES = {
    {POINTWISE, {{0, {POINTWISE_MODE, 1, 1, true}}, {1, {DATA_TYPE, 1, 1, true}}}},
    {CONVOLUTION,
     {{100, {DATA_TYPE, 1, 1, true}},
      {101, {CONV_MODE, 1, 1, true}},
      {102, {INT64, 2, 2, true}},
      {103, {INT64, 2, 2, true}},
      {104, {INT64, 2, 2, true}},
      {105, {INT64, 2, 2, true}},
      {106, {INT64, 1, 1, true}}}},
    {ENGINEHEUR, {{200, {HEUR_MODE, 1, 1, true}}, {201, {DESCRIPTOR, 1, 1, true}}}},
    {PLAN, {{400, {HANDLE, 1, 1, true}}, {401, {DESCRIPTOR, 1, 1, true}}}},
    {CONVOLUTION_FORWARD,
     {{700, {FLOAT32, 1, 1, true}},
      {701, {FLOAT32, 1, 1, true}},
      {702, {DESCRIPTOR, 1, 1, true}},
      {703, {DESCRIPTOR, 1, 1, true}},
      {704, {DESCRIPTOR, 1, 1, true}},
      {705, {DESCRIPTOR, 1, 1, true}}}},
    {CONVOLUTION_BACKWARD_DATA,
     {{706, {FLOAT32, 1, 1, true}},
      {707, {FLOAT32, 1, 1, true}},
      {708, {DESCRIPTOR, 1, 1, true}},
      {709, {DESCRIPTOR, 1, 1, true}},
      {710, {DESCRIPTOR, 1, 1, true}},
      {711, {DESCRIPTOR, 1, 1, true}}}},
    {CONVOLUTION_BACKWARD_FILTER,
     {{712, {FLOAT32, 1, 1, true}},
      {713, {FLOAT32, 1, 1, true}},
      {714, {DESCRIPTOR, 1, 1, true}},
      {715, {DESCRIPTOR, 1, 1, true}},
      {716, {DESCRIPTOR, 1, 1, true}},
      {717, {DESCRIPTOR, 1, 1, true}}}},
    {OPERATION_POINTWISE,
     {{750, {DESCRIPTOR, 1, 1, true}},
      {751, {DESCRIPTOR, 1, 1, true}},
      {752, {DESCRIPTOR, 1, 1, false}},
      {753, {DESCRIPTOR, 1, 1, true}}}},
    {GRAPH, {{800, {HANDLE, 1, 1, true}}, {801, {DESCRIPTOR, 1, 16, true}}}},
    {VARIANT_PACK,
     {{1000, {INT64, 1, 16, true}},
      {1001, {VOID_PTR, 1, 16, true}},
      {1003, {VOID_PTR, 1, 1, true}}}},
    {TENSOR,
     {{900, {INT64, 1, 1, true}},
      {901, {DATA_TYPE, 1, 1, true}},
      {902, {INT64, 4, 4, true}},
      {903, {INT64, 4, 4, true}},
      {906, {INT64, 1, 1, true}},
      {907, {BOOLEAN, 1, 1, false}}}},
    {ENGINE, {}},
    {ENGINECFG, {}},
};

struct Descriptor {
  Kind kind;
  bool complete = false;
  std::map<int, std::vector<char>> attributes;
  // What completing it, or the heuristics, make of them:
  // Of a graph, a heuristic, an engine's settings, a plan.
  std::shared_ptr<const Convolution> convolution;
  // Of a heuristic; one of an engine, its settings, a plan.
  std::vector<Engine> engines;
  const Handle* handle = nullptr;                  // of a graph, and of what is made from it

  bool has(int attribute) const { return attributes.count(attribute); }
  template <class T> T get(int attribute, size_t i = 0) const {
    T value;
    memcpy(&value, attributes.at(attribute).data() + i * sizeof(T), sizeof(T));
    return value;
  }
  template <class T>
  size_t count(int attribute) const {
    return attributes.at(attribute).size() / sizeof(T);
  }
};
std::set<Descriptor*> descriptors;

Descriptor& descriptor_of(void* descriptor) {
  REQUIRE(descriptors.count(static_cast<Descriptor*>(descriptor)), BAD_PARAM);
  return *static_cast<Descriptor*>(descriptor);
}

// What `attribute` refers to: alive, complete and of this kind.
const Descriptor& referred(const Descriptor& from, int attribute, Kind kind, size_t i = 0) {
  Descriptor& to = descriptor_of(from.get<void*>(attribute, i));
  REQUIRE(to.kind == kind, DESCRIPTOR_TYPE);
  REQUIRE(to.complete, NOT_FINALIZED);
  return to;
}

// ---- completing them ----

Tensor tensor_of(const Descriptor& from, int attribute) {
  const Descriptor& d = referred(from, attribute, TENSOR);
  Tensor tensor{d.get<int64_t>(906), d.get<int>(901), {}, d.has(907) && d.get<bool>(907)};
  for (size_t i = 0; i < 4; ++i) tensor.shape[i] = d.get<int64_t>(902, i);
  return tensor;
}

void complete_tensor(const Descriptor& d) {
  const int type = d.get<int>(901);
  require(type == FLOAT || type == HALF || type == BFLOAT16, NOT_SUPPORTED_TYPE,
          "only float, half and bfloat16");
  int64_t size[4], stride[4];
  for (size_t i = 0; i < 4; ++i)
    size[i] = d.get<int64_t>(902, i), stride[i] = d.get<int64_t>(903, i);
  for (int64_t s : size) REQUIRE(s > 0, BAD_PARAM);
  const bool channels_last = stride[1] == 1 && stride[3] == size[1] &&
                             stride[2] == size[3] * size[1] &&
                             stride[0] == size[2] * size[3] * size[1];
  REQUIRE(channels_last, NOT_SUPPORTED_LAYOUT);
  const int64_t alignment = d.get<int64_t>(900);
  REQUIRE(alignment > 0 && (alignment & (alignment - 1)) == 0 &&
              alignment % int64_t(size_of(type)) == 0,
          BAD_PARAM);
}

void complete_settings(const Descriptor& d) {
  REQUIRE(d.get<int64_t>(106) == 2, NOT_SUPPORTED);
  REQUIRE(d.get<int>(100) == FLOAT, NOT_SUPPORTED_TYPE);
  REQUIRE(d.get<int>(101) == 1, NOT_SUPPORTED);  // cross-correlation
  for (size_t i = 0; i < 2; ++i) {
    REQUIRE(d.get<int64_t>(102, i) >= 1 && d.get<int64_t>(103, i) >= 1, BAD_PARAM);
    REQUIRE(d.get<int64_t>(104, i) >= 0 && d.get<int64_t>(104, i) == d.get<int64_t>(105, i),
            NOT_SUPPORTED);
  }
}

Convolution convolution_of(const Descriptor& d) {
  Convolution c;
  int alpha, beta, settings_at, weight, x, y;
  switch (d.kind) {
    case CONVOLUTION_FORWARD:
      c.pass = TO_OUTPUT, alpha = 700, beta = 701, settings_at = 702, weight = 703, x = 704,
      y = 705;
      break;
    case CONVOLUTION_BACKWARD_DATA:
      c.pass = TO_INPUT, alpha = 706, beta = 707, settings_at = 708, weight = 709, x = 710, y = 711;
      break;
    default:
      c.pass = TO_WEIGHT, alpha = 712, beta = 713, settings_at = 714, weight = 715, x = 716,
      y = 717;
  }
  REQUIRE(d.get<float>(alpha) == 1 && d.get<float>(beta) == 0, NOT_SUPPORTED);
  const Descriptor& settings = referred(d, settings_at, CONVOLUTION);
  c.x = tensor_of(d, x), c.weight = tensor_of(d, weight), c.y = tensor_of(d, y);
  c.result = c.computed();
  const Shape &from = c.x.shape, &by = c.weight.shape, &to = c.y.shape;
  require(from[0] == to[0] && by[0] == to[1], SHAPE_MISMATCH, "images or output channels differ");
  require(from[1] % by[1] == 0 && by[0] % (from[1] / by[1]) == 0, SHAPE_MISMATCH,
          "the groups do not come out even");
  for (size_t i = 0; i < 2; ++i) {
    c.dilation[i] = settings.get<int64_t>(102, i);
    c.stride[i] = settings.get<int64_t>(103, i);
    c.padding[i] = settings.get<int64_t>(105, i);
    const int64_t room = from[2 + i] + 2 * c.padding[i] - c.dilation[i] * (by[2 + i] - 1) - 1;
    require(room >= 0 && to[2 + i] == room / c.stride[i] + 1, SHAPE_MISMATCH,
            "the output is not of the size that follows");
  }
  for (const Tensor* t : {&c.x, &c.weight, &c.y}) {
    if (t->name == c.result.name) continue;
    require(!t->is_virtual, NOT_SUPPORTED_PATTERN, "an operand that nothing computes");
    require(t->type == c.type(), NOT_SUPPORTED_TYPE, "operands of two types");
  }
  return c;
}

// The pattern: a convolution, then sums and GELUs, each of the one before.
void complete_graph(Descriptor& d) {
  d.handle = &handle_of(d.get<void*>(800));
  const size_t operations = d.count<void*>(801);
  const Descriptor& first = descriptor_of(d.get<void*>(801));
  REQUIRE(first.complete, NOT_FINALIZED);
  require(first.kind >= CONVOLUTION_FORWARD && first.kind <= CONVOLUTION_BACKWARD_DATA,
          NOT_SUPPORTED_PATTERN, "not a convolution first");
  Convolution c = convolution_of(first);
  std::map<int64_t, int> names;
  for (const Tensor* t : {&c.x, &c.weight, &c.y})
    require(++names[t->name] == 1, DUPLICATED, "two tensors of one name");
  for (size_t i = 1; i < operations; ++i) {
    const Descriptor& operation = referred(d, 801, OPERATION_POINTWISE, i);
    const int mode = referred(operation, 750, POINTWISE).get<int>(0);
    const Tensor x = tensor_of(operation, 751), y = tensor_of(operation, 753);
    require(c.pass != TO_WEIGHT, NOT_SUPPORTED_PATTERN, "something after the weight's gradient");
    require(x.name == c.result.name && x.is_virtual && x.type == FLOAT, NOT_SUPPORTED_PATTERN,
            "an operation does not go on from the one before");
    require(y.shape == x.shape, SHAPE_MISMATCH, "an operation changes the shape");
    require(++names[y.name] == 1, DUPLICATED, "two tensors of one name");
    Step step{mode == 104, {}};
    require(step.gelu || mode == 0, NOT_SUPPORTED_PATTERN, "an operation that is not known");
    REQUIRE(operation.has(752) == !step.gelu, BAD_PARAM);
    if (!step.gelu) {
      step.other = tensor_of(operation, 752);
      const bool broadcast = step.other.shape == Shape{1, y.shape[1], 1, 1};
      require(step.other.shape == y.shape || broadcast, SHAPE_MISMATCH,
              "what is added does not fit");
      require(!step.other.is_virtual && step.other.type == c.type(), NOT_SUPPORTED_TYPE,
              "what is added is of another type");
      require(++names[step.other.name] == 1, DUPLICATED, "two tensors of one name");
    }
    c.steps.push_back(step);
    c.result = y;
  }
  require(!c.result.is_virtual && c.result.type == c.type(), NOT_SUPPORTED_TYPE,
          "the result is virtual, or of another type");
  d.convolution = std::make_shared<Convolution>(c);
}

// What the heuristics propose. As in the real library there are engines that not everybody wants,
// and some that turn out to be of no use; with groups, only the fallback has any.
std::vector<Engine> propose(const Convolution& c, int mode) {
  constexpr int64_t WORKSPACE = 131, TOO_MUCH = int64_t(1) << 40;
  enum {
    TENSOR_CORE,
    DOWN_CONVERT_INPUTS,
    REDUCED_PRECISION_REDUCTION,
    NONDETERMINISTIC = 4,
    RUNTIME_COMPILATION = 0
  };
  REQUIRE(mode == 2 || mode == 3, NOT_SUPPORTED);
  const bool single = c.type() == FLOAT, fallback = mode == 2;
  bool compiled = c.pass == TO_INPUT && !c.steps.empty();
  for (const Step& step : c.steps) compiled = compiled || step.gelu;
  // What is ready-made adds the map first.
  for (size_t i = 1; i < c.steps.size(); ++i)
    compiled = compiled || (!c.steps[i].gelu && c.steps[i].other.shape == c.result.shape);
  if (compiled) {
    if (fallback || c.weight.shape[1] != c.x.shape[1])
      fail(NOT_SUPPORTED_PATTERN, "nothing to fall back to");
    if (single) return {{{TENSOR_CORE, DOWN_CONVERT_INPUTS}, {RUNTIME_COMPILATION}}};
    return {{{TENSOR_CORE}, {RUNTIME_COMPILATION}}};
  }
  if (fallback) return {{{}, {}, WORKSPACE}};
  if (c.weight.shape[1] != c.x.shape[1]) fail(NOT_SUPPORTED, "no groups");
  std::vector<Engine> engines;
  if (c.pass != TO_OUTPUT) engines.push_back({{NONDETERMINISTIC}, {}, 0});
  engines.push_back({{TENSOR_CORE, REDUCED_PRECISION_REDUCTION}, {}, 0});
  engines.push_back({{}, {}, 0, true});
  engines.push_back({{}, {}, TOO_MUCH});
  if (single) engines.push_back({{TENSOR_CORE, DOWN_CONVERT_INPUTS}, {}, 0});
  engines.push_back({single ? std::vector<int>{} : std::vector<int>{TENSOR_CORE}, {}, WORKSPACE});
  return engines;
}

void complete(Descriptor& d) {
  REQUIRE(!d.complete, BAD_PARAM);
  for (const auto& [attribute, rule] : RULES.at(d.kind))
    if (rule.needed && !d.has(attribute))
      fail(BAD_PARAM, "attribute " + std::to_string(attribute) + " is missing");
  switch (d.kind) {
    case TENSOR: complete_tensor(d); break;
    case CONVOLUTION: complete_settings(d); break;
    case POINTWISE: REQUIRE(d.get<int>(1) == FLOAT, NOT_SUPPORTED_TYPE); break;
    case CONVOLUTION_FORWARD:
    case CONVOLUTION_BACKWARD_DATA:
    case CONVOLUTION_BACKWARD_FILTER: convolution_of(d); break;
    case OPERATION_POINTWISE: referred(d, 750, POINTWISE); break;
    case GRAPH: complete_graph(d); break;
    case ENGINEHEUR: {
      const Descriptor& graph = referred(d, 201, GRAPH);
      d.convolution = graph.convolution;
      d.handle = graph.handle;
      d.engines = propose(*graph.convolution, d.get<int>(200));
      break;
    }
    case PLAN: {
      const Descriptor& settings = referred(d, 401, ENGINECFG);
      REQUIRE(&handle_of(d.get<void*>(400)) == settings.handle, BAD_PARAM);
      require(!settings.engines[0].fails, NOT_SUPPORTED, "the engine cannot do this after all");
      d.convolution = settings.convolution;
      d.handle = settings.handle;
      d.engines = settings.engines;
      break;
    }
    case VARIANT_PACK: REQUIRE(d.count<int64_t>(1000) == d.count<void*>(1001), BAD_PARAM); break;
    case ENGINE: case ENGINECFG: fail(NOT_SUPPORTED, "only the heuristics make these");
  }
  d.complete = true;
}

// ---- reading them ----

template <class T>
void give(const std::vector<T>& values, int64_t most, int64_t* count, void* out) {
  *count = int64_t(values.size());
  if (most == 0 || values.empty()) return;
  REQUIRE(out, NULL_POINTER);
  memcpy(out, values.data(), size_t(std::min(most, *count)) * sizeof(T));
}

// Fills in a descriptor that the caller has made.
void fill(void* descriptor, Kind kind, const Descriptor& from, const Engine& engine) {
  Descriptor& d = descriptor_of(descriptor);
  REQUIRE(d.kind == kind, DESCRIPTOR_TYPE);
  REQUIRE(!d.complete, BAD_PARAM);
  d.convolution = from.convolution;
  d.handle = from.handle;
  d.engines = {engine};
  d.complete = true;
}

void read(const Descriptor& d, int attribute, int type, int64_t most, int64_t* count, void* out) {
  REQUIRE(d.complete, NOT_FINALIZED);
  REQUIRE(count && most >= 0, BAD_PARAM);
  void** filled = static_cast<void**>(out);
  const int expected = attribute == 202 || attribute == 300 ? DESCRIPTOR
                       : attribute == 402                   ? INT64
                       : attribute == 1303                  ? NUMERICAL_NOTE
                                                            : BEHAVIOR_NOTE;
  REQUIRE(type == expected, ATTRIBUTE_TYPE);
  if (d.kind == ENGINEHEUR && attribute == 202) {
    *count = int64_t(d.engines.size());
    for (int64_t i = 0; i < std::min(most, *count); ++i)
      fill(filled[i], ENGINECFG, d, d.engines[size_t(i)]);
  } else if (d.kind == ENGINECFG && attribute == 300) {
    *count = 1;
    if (most) fill(filled[0], ENGINE, d, d.engines[0]);
  } else if (d.kind == ENGINE && attribute == 1303) {
    give(d.engines[0].numerical, most, count, out);
  } else if (d.kind == ENGINE && attribute == 1305) {
    give(d.engines[0].behavior, most, count, out);
  } else if (d.kind == PLAN && attribute == 402) {
    give(std::vector<int64_t>{d.engines[0].workspace}, most, count, out);
  } else {
    fail(NOT_SUPPORTED, "attribute " + std::to_string(attribute) + " cannot be read here");
  }
}

// ---- running a plan ----

struct Job {
  std::shared_ptr<const Convolution> convolution;
  Engine engine;
  std::map<int64_t, char*> addresses;
  char* workspace;
};

void run_job(void* data) {
  Job& job = *static_cast<Job*>(data);
  if (job.engine.workspace) memset(job.workspace, 0xa5, size_t(job.engine.workspace));
  run(*job.convolution, job.engine, [&](int64_t name) { return job.addresses.at(name); });
}

// Whether an allocation holds these bytes.
bool holds(const void* address, size_t bytes) {
  unsigned long long start = 0, p = reinterpret_cast<unsigned long long>(address);
  size_t size = 0;
  if (cuPointerGetAttribute(&start, 11, p) || cuPointerGetAttribute(&size, 12, p)) return false;
  return p - start <= size && bytes <= size - (p - start);
}

void execute(const Handle& handle, const Descriptor& plan, const Descriptor& pack) {
  REQUIRE(plan.kind == PLAN && pack.kind == VARIANT_PACK, DESCRIPTOR_TYPE);
  REQUIRE(plan.complete && pack.complete, NOT_FINALIZED);
  REQUIRE(plan.handle == &handle, BAD_PARAM);
  REQUIRE(current_context() == handle.context, STREAM_MISMATCH);
  referred(plan, 401, ENGINECFG);  // still alive
  auto job = std::make_unique<Job>();
  job->convolution = plan.convolution;
  job->engine = plan.engines[0];
  for (size_t i = 0; i < pack.count<int64_t>(1000); ++i) {
    const bool is_new =
        job->addresses.emplace(pack.get<int64_t>(1000, i), pack.get<char*>(1001, i)).second;
    require(is_new, DUPLICATED, "two addresses for one tensor");
  }
  const Convolution& c = *plan.convolution;
  std::vector<const Tensor*> tensors = {&c.x, &c.weight, &c.y, &c.result};
  for (const Step& step : c.steps)
    if (!step.gelu) tensors.push_back(&step.other);
  std::set<int64_t> used;
  for (const Tensor* tensor : tensors) {
    if (tensor->is_virtual) continue;
    used.insert(tensor->name);
    require(job->addresses.count(tensor->name), BAD_PARAM, "a tensor has no address");
    const char* address = job->addresses[tensor->name];
    const size_t bytes = size_t(count(tensor->shape)) * size_of(tensor->type);
    require(reinterpret_cast<uintptr_t>(address) % 16 == 0, MISALIGNED,
            "an address is not a multiple of 16");
    require(holds(address, bytes), SIZE_INSUFFICIENT, "no allocation holds a tensor");
    if (tensor->name == c.result.name) continue;
    const char* result = job->addresses[c.result.name];
    const size_t result_bytes = size_t(count(c.result.shape)) * size_of(c.result.type);
    require(address + bytes <= result || result + result_bytes <= address, BAD_PARAM,
            "the result overlaps an operand");
  }
  require(used.size() == job->addresses.size(), BAD_PARAM, "an address for no tensor");
  job->workspace = pack.get<char*>(1003);
  if (job->engine.workspace) {
    REQUIRE(job->workspace, NULL_POINTER);
    require(holds(job->workspace, size_t(job->engine.workspace)), SIZE_INSUFFICIENT,
            "the workspace is too small");
  }
  // A graph may run it any number of times, so it is never freed.
  require(!cuLaunchHostFunc(handle.stream, run_job, job.get()), EXECUTION_FAILED,
          "cuLaunchHostFunc");
  job.release();
}

}  // namespace

// ---- the library's functions ----

CUDNN size_t cudnnGetVersion() { return 91002; }

CUDNN const char* cudnnGetErrorString(int status) {
  switch (status / 1000) {
    case 0: return "CUDNN_STATUS_SUCCESS";
    case 1: return "CUDNN_STATUS_NOT_INITIALIZED";
    case 2: return "CUDNN_STATUS_BAD_PARAM";
    case 3: return "CUDNN_STATUS_NOT_SUPPORTED";
    default: return "CUDNN_STATUS_EXECUTION_FAILED";
  }
}

CUDNN void cudnnGetLastErrorString(char* message, size_t size) {
  if (size) snprintf(message, size, "%s", last_error.c_str());
  last_error.clear();
}

CUDNN int cudnnCreate(void** out) {
  return call([&] {
    REQUIRE(out, NULL_POINTER);
    Handle handle{current_context(), nullptr, 0};
    REQUIRE(handle.context, NOT_INITIALIZED);
    REQUIRE(cuMemAlloc_v2(&handle.scratch, 256) == 0, NOT_INITIALIZED);
    *out = *handles.insert(new Handle(handle)).first;
  });
}

CUDNN int cudnnSetStream(void* handle, void* stream) {
  return call([&] {
    unsigned flags;
    REQUIRE(cuStreamGetFlags(stream, &flags) == 0, BAD_PARAM);
    handle_of(handle).stream = stream;
  });
}

CUDNN int cudnnBackendCreateDescriptor(int kind, void** out) {
  return call([&] {
    REQUIRE(out, NULL_POINTER);
    REQUIRE(RULES.count(kind), NOT_SUPPORTED);
    auto* descriptor = new Descriptor;
    descriptor->kind = Kind(kind);
    *out = *descriptors.insert(descriptor).first;
  });
}

CUDNN int cudnnBackendDestroyDescriptor(void* descriptor) {
  return call([&] {
    descriptor_of(descriptor);
    descriptors.erase(static_cast<Descriptor*>(descriptor));
    delete static_cast<Descriptor*>(descriptor);
  });
}

CUDNN int cudnnBackendSetAttribute(void* descriptor, int attribute, int type, int64_t count,
                                   const void* values) {
  return call([&] {
    Descriptor& d = descriptor_of(descriptor);
    REQUIRE(!d.complete, BAD_PARAM);
    REQUIRE(values, NULL_POINTER);
    const auto& rules = RULES.at(d.kind);
    if (!rules.count(attribute))
      fail(NOT_SUPPORTED, "attribute " + std::to_string(attribute) + " cannot be set here");
    const Rule& rule = rules.at(attribute);
    REQUIRE(type == rule.type, ATTRIBUTE_TYPE);
    REQUIRE(count >= rule.least && count <= rule.most, BAD_PARAM);
    const char* bytes = static_cast<const char*>(values);
    d.attributes[attribute].assign(bytes, bytes + size_t(count) * size_of_type(type));
    if (type == DESCRIPTOR)
      for (size_t i = 0; i < size_t(count); ++i)
        REQUIRE(descriptor_of(d.get<void*>(attribute, i)).complete, NOT_FINALIZED);
  });
}

CUDNN int cudnnBackendGetAttribute(void* descriptor, int attribute, int type, int64_t most,
                                   int64_t* count, void* values) {
  return call([&] { read(descriptor_of(descriptor), attribute, type, most, count, values); });
}

CUDNN int cudnnBackendFinalize(void* descriptor) {
  return call([&] { complete(descriptor_of(descriptor)); });
}

CUDNN int cudnnBackendExecute(void* handle, void* plan, void* pack) {
  return call([&] { execute(handle_of(handle), descriptor_of(plan), descriptor_of(pack)); });
}
