// Streams, events, captures and graphs.
//
// A stream is a lazy queue: nothing in it runs before somebody waits, and then whichever stream may
// run next is drawn at random. A host that forgets to wait, or to order two streams, reads rubbish.
#pragma once
#include "errors.h"
#include "grid.h"
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <thread>

namespace emulator {

using Task = std::function<Result()>;
struct Stream;
struct Capture;

struct Context {
  int device = 0;
  unsigned flags = 0;
  bool primary = false, alive = true;
  int version = 3020;
  Result error = SUCCESS;  // of an earlier task; every later call returns it, as on a GPU
  // The stream 0: it waits for the blocking streams, and they for it.
  std::shared_ptr<Stream> legacy;
};

// A point in a stream's work.
struct Mark {
  bool done = false;
  std::chrono::steady_clock::time_point when;
};

struct Work {
  Task run;                     // or null:
  std::shared_ptr<Mark> after;  // waits for this
  std::shared_ptr<Mark> mark;   // and then sets this
  uint64_t number;              // the order of submission
};

struct Stream {
  std::shared_ptr<Context> context;
  unsigned flags = 0;  // 1: not blocking
  int priority = 0;
  std::deque<Work> queue;
  std::shared_ptr<Capture> capture;
  std::set<size_t> last;  // while capturing: the nodes that the next one comes after

  bool legacy() const { return context->legacy.get() == this; }
  bool blocking() const { return !(flags & 1); }
};

struct Event {
  std::shared_ptr<Context> context;
  unsigned flags = 0;
  std::shared_ptr<Mark> mark;        // of the last record
  std::shared_ptr<Capture> capture;  // that the last record belongs to
  std::set<size_t> nodes;
};

struct Node {
  Task run;
  std::set<size_t> after;
};

struct Graph {
  std::vector<Node> nodes;

  // In a random order among those that the dependencies allow.
  Result run(Random& chance) const {
    std::vector<size_t> missing(nodes.size()), ready;
    std::vector<std::vector<size_t>> next(nodes.size());
    for (size_t n = 0; n < nodes.size(); ++n) {
      missing[n] = nodes[n].after.size();
      for (size_t before : nodes[n].after) next[before].push_back(n);
      if (!missing[n]) ready.push_back(n);
    }
    while (!ready.empty()) {
      std::swap(ready[chance.below(ready.size())], ready.back());
      size_t n = ready.back();
      ready.pop_back();
      if (Result error = nodes[n].run()) return error;
      for (size_t m : next[n])
        if (--missing[m] == 0) ready.push_back(m);
    }
    return SUCCESS;
  }
};

enum Mode { GLOBAL, THREAD_LOCAL, RELAXED };

struct Capture {
  Stream* origin;
  int mode;
  std::thread::id thread;
  bool active = true, broken = false;
  Graph graph;
};

inline thread_local int thread_mode = GLOBAL;

class Streams {
 public:
  Random chance{seed()};
  std::vector<std::shared_ptr<Stream>> all;  // a destroyed one stays until its queue is empty
  std::vector<std::shared_ptr<Capture>> captures;

  Result submit(Stream& stream, Task task) {
    if (Capture* capture = stream.capture.get()) {
      if (capture->broken) return ERROR_STREAM_CAPTURE_INVALIDATED;
      capture->graph.nodes.push_back({std::move(task), stream.last});
      stream.last = {capture->graph.nodes.size() - 1};
      return SUCCESS;
    }
    if (Result error = refused_by_capture(stream)) return error;
    return enqueue(stream, {std::move(task), nullptr, nullptr, 0});
  }

  Result record(Stream& stream, Event& event) {
    event.capture = stream.capture;
    event.mark = nullptr;
    if (Capture* capture = stream.capture.get()) {
      event.nodes = stream.last;
      return capture->broken ? ERROR_STREAM_CAPTURE_INVALIDATED : SUCCESS;
    }
    if (Result error = refused_by_capture(stream)) return error;
    event.mark = std::make_shared<Mark>();
    return enqueue(stream, {nullptr, nullptr, event.mark, 0});
  }

  Result wait(Stream& stream, const Event& event) {
    if (event.capture) {
      if (!event.capture->active) return ERROR_INVALID_VALUE;
      if (stream.legacy()) return broken(*event.capture, ERROR_STREAM_CAPTURE_IMPLICIT);
      if (stream.capture && stream.capture != event.capture) {
        broken(*stream.capture, ERROR_STREAM_CAPTURE_MERGE);
        return broken(*event.capture, ERROR_STREAM_CAPTURE_MERGE);
      }
      stream.capture = event.capture;  // joins
      stream.last.insert(event.nodes.begin(), event.nodes.end());
      return SUCCESS;
    }
    if (!event.mark) return SUCCESS;  // never recorded
    if (stream.capture) return broken(*stream.capture, ERROR_STREAM_CAPTURE_ISOLATION);
    if (Result error = refused_by_capture(stream)) return error;
    return enqueue(stream, {nullptr, event.mark, nullptr, 0});
  }

  // Runs one task of one stream; false if all the queues are empty.
  bool step() {
    std::vector<Stream*> candidates;
    for (auto& stream : all)
      if (may_run(*stream)) candidates.push_back(stream.get());
    if (candidates.empty()) return false;
    Stream& stream = *candidates[chance.below(candidates.size())];
    Work work = std::move(stream.queue.front());
    stream.queue.pop_front();
    Context& context = *stream.context;
    if (work.run && !context.error) context.error = work.run();
    if (work.mark) work.mark->done = true, work.mark->when = std::chrono::steady_clock::now();
    return true;
  }

  template <class Done> void run_until(Done done) {
    while (!done() && step()) {
    }
  }
  Result finish(Stream& stream) {
    run_until([&] { return stream.queue.empty(); });
    return stream.context->error;
  }
  Result finish(const Context& context) {
    run_until([&] {
      for (auto& stream : all)
        if (stream->context.get() == &context && !stream->queue.empty()) return false;
      return true;
    });
    return context.error;
  }
  void finish_all() {
    while (step()) {
    }
  }

  Result begin_capture(const std::shared_ptr<Stream>& stream, int mode) {
    if (stream->legacy()) return ERROR_STREAM_CAPTURE_UNSUPPORTED;
    if (stream->capture) return ERROR_ILLEGAL_STATE;
    auto capture = std::make_shared<Capture>();
    capture->origin = stream.get();
    capture->mode = mode;
    capture->thread = std::this_thread::get_id();
    stream->capture = capture;
    stream->last.clear();
    captures.push_back(capture);
    return SUCCESS;
  }

  // Null with an error if the capture was broken or left streams unjoined.
  std::shared_ptr<Graph> end_capture(Stream& stream, Result& error) {
    std::shared_ptr<Capture> capture = stream.capture;
    error = !capture                     ? ERROR_ILLEGAL_STATE
            : capture->origin != &stream ? ERROR_STREAM_CAPTURE_UNMATCHED
            : capture->mode != RELAXED && capture->thread != std::this_thread::get_id()
                ? ERROR_STREAM_CAPTURE_WRONG_THREAD
                : SUCCESS;
    if (error) return nullptr;
    Graph& graph = capture->graph;
    std::vector<bool> joined(graph.nodes.size());
    for (size_t n : stream.last) joined[n] = true;
    size_t count = 0;
    for (size_t n = graph.nodes.size(); n-- > 0;)  // a node comes after those it depends on
      if (joined[n]) {
        ++count;
        for (size_t before : graph.nodes[n].after) joined[before] = true;
      }
    error = capture->broken ? ERROR_STREAM_CAPTURE_INVALIDATED
            : count < graph.nodes.size() ? ERROR_STREAM_CAPTURE_UNJOINED
                                         : SUCCESS;
    forget(capture);
    return error ? nullptr : std::make_shared<Graph>(std::move(graph));
  }

  void forget(std::shared_ptr<Capture> capture) {
    capture->active = false;
    for (auto& stream : all)
      if (stream->capture == capture) stream->capture = nullptr, stream->last.clear();
    for (size_t i = captures.size(); i-- > 0;)
      if (captures[i] == capture) captures.erase(captures.begin() + long(i));
  }

  // A call that CUDA calls potentially unsafe, such as an allocation, is refused while a capture
  // that the calling thread must mind goes on.
  Result unsafe_call() {
    for (auto& c : captures) {
      bool mine = c->thread == std::this_thread::get_id();
      if (c->mode != RELAXED && thread_mode != RELAXED &&
          (mine || (c->mode == GLOBAL && thread_mode == GLOBAL)))
        return broken(*c, ERROR_STREAM_CAPTURE_UNSUPPORTED);
    }
    return SUCCESS;
  }
  // Waiting for a stream, or for the whole context, that is capturing.
  Result waiting_call(Stream& stream) {
    if (stream.capture) return broken(*stream.capture, ERROR_STREAM_CAPTURE_UNSUPPORTED);
    return refused_by_capture(stream);
  }
  Result waiting_call(const Context& context) {
    for (auto& c : captures)
      if (c->origin->context.get() == &context) return broken(*c, ERROR_STREAM_CAPTURE_UNSUPPORTED);
    return SUCCESS;
  }
  static Result broken(Capture& capture, Result why) {
    capture.broken = true;
    return why;
  }

 private:
  uint64_t submitted = 0;

  Result enqueue(Stream& stream, Work work) {
    work.number = ++submitted;
    stream.queue.push_back(std::move(work));
    while (stream.queue.size() > 1024 && step()) {  // a GPU's queue is not endless either
    }
    return stream.context->error;
  }

  // Work in the legacy stream waits for blocking streams, which cannot be while one captures.
  Result refused_by_capture(const Stream& stream) {
    if (stream.legacy())
      for (auto& other : all)
        if (other->context == stream.context && other->capture && other->blocking())
          return broken(*other->capture, ERROR_STREAM_CAPTURE_IMPLICIT);
    return SUCCESS;
  }

  bool may_run(const Stream& stream) const {
    if (stream.queue.empty()) return false;
    const Work& work = stream.queue.front();
    if (work.after && !work.after->done) return false;
    auto earlier = [&](const Stream& other) {
      return !other.queue.empty() && other.queue.front().number < work.number;
    };
    if (!stream.legacy()) return !stream.blocking() || !earlier(*stream.context->legacy);
    for (auto& other : all)
      if (other->context == stream.context && other->blocking() && earlier(*other)) return false;
    return true;
  }
};

}  // namespace emulator
