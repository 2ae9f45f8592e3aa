// Streams, events, captures and graphs: streams.h does the work.
#include "driver.h"
#include <algorithm>

using namespace emulator;

// ---- streams and events ----

DRIVER cuStreamCreateWithPriority(void** handle, unsigned flags, int priority) {
  IN_CONTEXT(flags, priority);
  if (!handle || flags > 1) return ERROR_INVALID_VALUE;
  return give(handle, driver.stream_handles.add(
                          new_stream(call.context, flags, std::clamp(priority, -5, 0))));
}
DRIVER cuStreamCreate(void** handle, unsigned flags) {
  return cuStreamCreateWithPriority(handle, flags, 0);
}
DRIVER cuStreamDestroy_v2(void* handle) {
  ENTER(handle);
  FIND(stream, stream_handles, handle);
  if (stream->capture && stream->capture->origin == stream.get())
    driver.streams.forget(stream->capture);
  if (stream->capture) Streams::broken(*stream->capture, SUCCESS);
  driver.stream_handles.remove(handle);  // its work still runs
  return SUCCESS;
}
DRIVER cuStreamGetPriority(void* handle, int* priority) {
  IN_CONTEXT(handle);
  STREAM(stream, handle);
  return give(priority, stream->priority);
}
DRIVER cuStreamGetFlags(void* handle, unsigned* flags) {
  IN_CONTEXT(handle);
  STREAM(stream, handle);
  return give(flags, stream->flags);
}
DRIVER cuStreamSynchronize(void* handle) {
  IN_CONTEXT(handle);
  STREAM(stream, handle);
  CHECK(driver.streams.waiting_call(*stream));
  return driver.streams.finish(*stream);
}
DRIVER cuStreamQuery(void* handle) {
  IN_CONTEXT(handle);
  STREAM(stream, handle);
  CHECK(driver.streams.waiting_call(*stream));
  if (!stream->queue.empty()) driver.streams.step();
  if (call.context->error) return call.context->error;
  return stream->queue.empty() ? SUCCESS : ERROR_NOT_READY;
}
DRIVER cuStreamWaitEvent(void* handle, void* event_handle, unsigned flags) {
  IN_CONTEXT(handle, event_handle, flags);
  STREAM(stream, handle);
  FIND(event, events, event_handle);
  return driver.streams.wait(*stream, *event);
}
DRIVER cuEventCreate(void** handle, unsigned flags) {
  IN_CONTEXT(flags);
  if (!handle || flags > 7) return ERROR_INVALID_VALUE;
  auto event = std::make_shared<Event>();
  event->context = call.context;
  event->flags = flags;
  return give(handle, driver.events.add(event));
}
DRIVER cuEventDestroy_v2(void* handle) {
  ENTER(handle);
  return driver.events.remove(handle) ? SUCCESS : ERROR_INVALID_HANDLE;
}
DRIVER cuEventRecord(void* handle, void* stream_handle) {
  IN_CONTEXT(handle, stream_handle);
  FIND(event, events, handle);
  STREAM(stream, stream_handle);
  if (event->context != call.context) return ERROR_INVALID_HANDLE;
  return driver.streams.record(*stream, *event);
}
DRIVER cuEventQuery(void* handle) {
  IN_CONTEXT(handle);
  FIND(event, events, handle);
  CHECK(driver.streams.unsafe_call());
  if (event->capture) return ERROR_CAPTURED_EVENT;
  if (event->mark && !event->mark->done) driver.streams.step();
  if (event->context->error) return event->context->error;
  return !event->mark || event->mark->done ? SUCCESS : ERROR_NOT_READY;
}
DRIVER cuEventSynchronize(void* handle) {
  IN_CONTEXT(handle);
  FIND(event, events, handle);
  if (event->capture) return ERROR_CAPTURED_EVENT;
  if (event->mark) driver.streams.run_until([&] { return event->mark->done; });
  return event->context->error;
}
DRIVER cuEventElapsedTime(float* milliseconds, void* start_handle, void* end_handle) {
  IN_CONTEXT(start_handle, end_handle);
  FIND(start, events, start_handle);
  FIND(end, events, end_handle);
  if (start->capture || end->capture) return ERROR_CAPTURED_EVENT;
  // 2: without time.
  if (!start->mark || !end->mark || (start->flags | end->flags) & 2) return ERROR_INVALID_HANDLE;
  if (!start->mark->done || !end->mark->done) return ERROR_NOT_READY;
  return give(
      milliseconds,
      std::chrono::duration<float, std::milli>(end->mark->when - start->mark->when).count());
}

// ---- captures and graphs ----

DRIVER cuStreamBeginCapture_v2(void* handle, int mode) {
  IN_CONTEXT(handle, mode);
  STREAM(stream, handle);
  if (mode < GLOBAL || mode > RELAXED) return ERROR_INVALID_VALUE;
  return driver.streams.begin_capture(stream, mode);
}
DRIVER cuStreamEndCapture(void* handle, void** graph_handle) {
  IN_CONTEXT(handle);
  STREAM(stream, handle);
  if (!graph_handle) return ERROR_INVALID_VALUE;
  Result error;
  auto graph = driver.streams.end_capture(*stream, error);
  *graph_handle = nullptr;
  if (graph)
    *graph_handle =
        driver.graphs.add(std::make_shared<GraphHandle>(GraphHandle{call.context, graph}));
  return error;
}
DRIVER cuStreamIsCapturing(void* handle, int* status) {
  IN_CONTEXT(handle);
  STREAM(stream, handle);
  return give(status, !stream->capture ? 0 : stream->capture->broken ? 2 : 1);
}
DRIVER cuThreadExchangeStreamCaptureMode(int* mode) {
  ENTER();
  if (!mode || *mode < GLOBAL || *mode > RELAXED) return ERROR_INVALID_VALUE;
  std::swap(*mode, thread_mode);
  return SUCCESS;
}
DRIVER cuGraphInstantiateWithFlags(void** handle, void* graph_handle, unsigned long long flags) {
  IN_CONTEXT(graph_handle, flags);
  if (!handle) return ERROR_INVALID_VALUE;
  FIND(graph, graphs, graph_handle);
  return give(handle, driver.executables.add(std::make_shared<GraphHandle>(*graph)));
}
DRIVER cuGraphInstantiate_v2(void** handle, void* graph, void**, char*, size_t) {
  return cuGraphInstantiateWithFlags(handle, graph, 0);
}
DRIVER cuGraphUpload(void* handle, void* stream_handle) {
  IN_CONTEXT(handle, stream_handle);
  FIND(executable, executables, handle);
  STREAM(stream, stream_handle);
  return SUCCESS;
}
DRIVER cuGraphLaunch(void* handle, void* stream_handle) {
  IN_CONTEXT(handle, stream_handle);
  FIND(executable, executables, handle);
  STREAM(stream, stream_handle);
  return driver.streams.submit(
      *stream, [graph = executable->graph] { return graph->run(driver.streams.chance); });
}
DRIVER cuGraphGetNodes(void* handle, void** nodes, size_t* count) {
  IN_CONTEXT(handle);
  FIND(graph, graphs, handle);
  if (nodes) return ERROR_NOT_SUPPORTED;  // only how many
  return give(count, graph->graph->nodes.size());
}
DRIVER cuGraphExecDestroy(void* handle) {
  ENTER(handle);
  return driver.executables.remove(handle) ? SUCCESS : ERROR_INVALID_HANDLE;
}
DRIVER cuGraphDestroy(void* handle) {
  ENTER(handle);
  return driver.graphs.remove(handle) ? SUCCESS : ERROR_INVALID_HANDLE;
}
