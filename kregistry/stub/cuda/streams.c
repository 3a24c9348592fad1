/* Streams, events and graph capture. Work is dropped, so everything is done at once; captures keep CUDA's rules. */
#include "stub.h"

#include <time.h>

struct capture {
  unsigned long long id;
  struct stream *origin;
  int active, broken; /* broken: something was called that a capture does not allow */
};
struct stream {
  struct capture *capture;
  unsigned flags;
  int priority, device;
};
struct event {
  struct capture *capture; /* the capture that it was recorded in */
  double recorded;         /* in ms; 0: never */
};
static struct stream default_streams[3]; /* the handles 0, 1 (legacy) and 2 (of the thread) */
static struct capture *latest;           /* the capture that is active, if any */
static unsigned long host_waits, foreign_launches;
static int stream_expected;
static void *expected_stream;

static struct stream *stream_at(const void *handle) {
  return (unsigned long)handle < 3 ? &default_streams[(unsigned long)handle] : (struct stream *)handle;
}
struct capture *capture_of(cudaStream_t handle) {
  struct stream *stream = stream_at(handle);
  if (stream->capture && !stream->capture->active) stream->capture = NULL;
  return stream->capture;
}
/* A call that waits for the device is not allowed while work is only being captured. */
static cudaError_t wait(struct capture *capture) {
  host_waits++;
  if (!capture || !capture->active) return cudaSuccess;
  capture->broken = 1;
  return cudaErrorStreamCaptureUnsupported;
}
void note_stream(const void *stream) {
  if (stream_expected && stream != expected_stream) foreign_launches++;
}
void reset_streams(void) {
  host_waits = foreign_launches = 0;
  stream_expected = 0;
}
/* From now on, launches on any other stream are counted. */
void kregistry_stub_expect_stream(void *stream) {
  expected_stream = stream;
  stream_expected = 1;
  foreign_launches = 0;
}
unsigned long kregistry_stub_foreign_launches(void) { return foreign_launches; }
unsigned long kregistry_stub_host_waits(void) { return host_waits; }

/* ---- streams ---- */

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *handle, unsigned flags, int priority) {
  struct stream *stream = calloc(1, sizeof *stream);
  stream->flags = flags;
  stream->priority = priority;
  stream->device = current_device;
  *handle = (cudaStream_t)stream;
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned f) { return cudaStreamCreateWithPriority(s, f, 0); }
cudaError_t cudaStreamCreate(cudaStream_t *s) { return cudaStreamCreateWithPriority(s, 0, 0); }
cudaError_t cudaStreamDestroy(cudaStream_t s) {
  if ((unsigned long)s > 2) free(s);
  return cudaSuccess;
}
cudaError_t cudaStreamGetPriority(cudaStream_t s, int *priority) { *priority = stream_at(s)->priority; return cudaSuccess; }
cudaError_t cudaStreamGetFlags(cudaStream_t s, unsigned *flags) { *flags = stream_at(s)->flags; return cudaSuccess; }
cudaError_t cudaStreamGetDevice(cudaStream_t s, int *device) { *device = stream_at(s)->device; return cudaSuccess; }
cudaError_t cudaStreamGetId(cudaStream_t s, unsigned long long *id) { *id = (unsigned long)s; return cudaSuccess; }
cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest) {
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t s) { return wait(capture_of(s)); }
cudaError_t cudaDeviceSynchronize(void) { return wait(latest); }
cudaError_t cudaStreamQuery(cudaStream_t s) {
  struct capture *capture = capture_of(s);
  if (capture) capture->broken = 1;
  return capture ? cudaErrorStreamCaptureUnsupported : cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t handle, unsigned flags) {
  struct event *event = (struct event *)handle;
  if (event->capture && event->capture->active) stream_at(s)->capture = event->capture;
  return cudaSuccess;
}
cudaError_t cudaStreamAddCallback(cudaStream_t s, cudaStreamCallback_t callback, void *data, unsigned flags) {
  if (capture_of(s)) return cudaErrorStreamCaptureUnsupported;
  callback(s, cudaSuccess, data);
  return cudaSuccess;
}
cudaError_t cudaLaunchHostFunc(cudaStream_t s, cudaHostFn_t function, void *data) {
  if (!capture_of(s)) function(data);
  return cudaSuccess;
}

/* ---- events ---- */

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *handle, unsigned flags) {
  *handle = (cudaEvent_t)calloc(1, sizeof(struct event));
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t *handle) { return cudaEventCreateWithFlags(handle, 0); }
cudaError_t cudaEventDestroy(cudaEvent_t handle) { free(handle); return cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t handle, cudaStream_t s) {
  struct timespec now;
  struct event *event = (struct event *)handle;
  clock_gettime(CLOCK_MONOTONIC, &now);
  event->capture = capture_of(s);
  event->recorded = now.tv_sec * 1e3 + now.tv_nsec / 1e6;
  return cudaSuccess;
}
cudaError_t cudaEventRecordWithFlags(cudaEvent_t e, cudaStream_t s, unsigned flags) { return cudaEventRecord(e, s); }
static cudaError_t captured(cudaEvent_t handle) {
  struct capture *capture = ((struct event *)handle)->capture;
  if (!capture || !capture->active) return cudaSuccess;
  capture->broken = 1;
  return cudaErrorCapturedEvent;
}
cudaError_t cudaEventQuery(cudaEvent_t handle) { return captured(handle); }
cudaError_t cudaEventSynchronize(cudaEvent_t handle) {
  host_waits++;
  return captured(handle);
}
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t start, cudaEvent_t end) {
  double from = ((struct event *)start)->recorded, to = ((struct event *)end)->recorded;
  if (!from || !to) return cudaErrorInvalidResourceHandle;
  *ms = (float)(to - from);
  return cudaSuccess;
}
cudaError_t cudaIpcGetEventHandle(cudaIpcEventHandle_t *handle, cudaEvent_t event) {
  memset(handle, 0, sizeof *handle);
  return cudaSuccess;
}
cudaError_t cudaIpcOpenEventHandle(cudaEvent_t *event, cudaIpcEventHandle_t h) { return cudaEventCreate(event); }

/* ---- graphs: one capture at a time; a graph is what it was captured as, and a launch of it does nothing ---- */

cudaError_t cudaStreamBeginCapture(cudaStream_t s, enum cudaStreamCaptureMode mode) {
  static unsigned long long id;
  if ((unsigned long)s < 2) return cudaErrorStreamCaptureUnsupported; /* the legacy stream cannot be captured */
  if (capture_of(s)) return cudaErrorIllegalState;
  struct capture *capture = calloc(1, sizeof *capture);
  *capture = (struct capture){++id, stream_at(s), 1, 0};
  latest = stream_at(s)->capture = capture;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *graph) {
  struct capture *capture = capture_of(s);
  if (!capture) return cudaErrorIllegalState;
  if (capture->origin != stream_at(s)) return cudaErrorStreamCaptureUnmatched;
  capture->active = 0;
  latest = NULL;
  stream_at(s)->capture = NULL;
  *graph = capture->broken ? NULL : (cudaGraph_t)capture;
  return capture->broken ? cudaErrorStreamCaptureInvalidated : cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t s, enum cudaStreamCaptureStatus *status) {
  struct capture *capture = capture_of(s);
  *status = !capture ? cudaStreamCaptureStatusNone
            : capture->broken ? cudaStreamCaptureStatusInvalidated : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}
cudaError_t cudaStreamGetCaptureInfo(cudaStream_t s, enum cudaStreamCaptureStatus *status, unsigned long long *id,
                                     cudaGraph_t *graph, const cudaGraphNode_t **dependencies,
                                     const cudaGraphEdgeData **edges, size_t *count) {
  struct capture *capture = capture_of(s);
  if (id) *id = capture ? capture->id : 0;
  if (graph) *graph = (cudaGraph_t)capture;
  if (dependencies) *dependencies = NULL;
  if (edges) *edges = NULL;
  if (count) *count = 0;
  return cudaStreamIsCapturing(s, status);
}
cudaError_t cudaStreamUpdateCaptureDependencies(cudaStream_t s, cudaGraphNode_t *nodes, const cudaGraphEdgeData *edges,
                                                size_t count, unsigned flags) {
  return cudaSuccess;
}
cudaError_t cudaThreadExchangeStreamCaptureMode(enum cudaStreamCaptureMode *mode) {
  static __thread enum cudaStreamCaptureMode own = cudaStreamCaptureModeGlobal;
  enum cudaStreamCaptureMode before = own;
  own = *mode;
  *mode = before;
  return cudaSuccess;
}
cudaError_t cudaGraphCreate(cudaGraph_t *graph, unsigned flags) {
  *graph = (cudaGraph_t)calloc(1, sizeof(struct capture));
  return cudaSuccess;
}
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *count) {
  if (nodes && *count) nodes[0] = (cudaGraphNode_t)graph;
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaGraphGetRootNodes(cudaGraph_t g, cudaGraphNode_t *n, size_t *c) { return cudaGraphGetNodes(g, n, c); }
cudaError_t cudaGraphNodeGetType(cudaGraphNode_t node, enum cudaGraphNodeType *type) {
  *type = cudaGraphNodeTypeEmpty;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long flags) {
  *exec = (cudaGraphExec_t)graph;
  return graph ? cudaSuccess : cudaErrorInvalidValue;
}
cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long flags) {
  return cudaGraphInstantiate(exec, graph, flags);
}
cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t s) { return cudaSuccess; }
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t s) {
  note_stream(s);
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) { return cudaSuccess; }
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) { return cudaSuccess; }
cudaError_t cudaGraphDebugDotPrint(cudaGraph_t graph, const char *path, unsigned flags) { return cudaSuccess; }
cudaError_t cudaUserObjectCreate(cudaUserObject_t *object, void *data, cudaHostFn_t destroy, unsigned n, unsigned f) {
  *object = (cudaUserObject_t)data;
  return cudaSuccess;
}
cudaError_t cudaUserObjectRelease(cudaUserObject_t object, unsigned count) { return cudaSuccess; }
cudaError_t cudaGraphRetainUserObject(cudaGraph_t g, cudaUserObject_t o, unsigned count, unsigned f) { return cudaSuccess; }

/* ---- the driver's names for the same ---- */

CUresult cuStreamCreate(CUstream *s, unsigned flags) { return (CUresult)cudaStreamCreateWithPriority(s, flags, 0); }
CUresult cuStreamCreateWithPriority(CUstream *s, unsigned flags, int priority) {
  return (CUresult)cudaStreamCreateWithPriority(s, flags, priority);
}
CUresult cuStreamDestroy_v2(CUstream s) { return (CUresult)cudaStreamDestroy(s); }
CUresult cuStreamSynchronize(CUstream s) { return (CUresult)cudaStreamSynchronize(s); }
CUresult cuStreamQuery(CUstream s) { return (CUresult)cudaStreamQuery(s); }
CUresult cuStreamWaitEvent(CUstream s, CUevent e, unsigned flags) { return (CUresult)cudaStreamWaitEvent(s, e, flags); }
CUresult cuStreamGetPriority(CUstream s, int *priority) { return (CUresult)cudaStreamGetPriority(s, priority); }
CUresult cuStreamGetFlags(CUstream s, unsigned *flags) { return (CUresult)cudaStreamGetFlags(s, flags); }
CUresult cuStreamGetCtx(CUstream s, CUcontext *context) {
  *context = (CUcontext)(0x40ul + stream_at(s)->device);
  return CUDA_SUCCESS;
}
CUresult cuStreamIsCapturing(CUstream s, CUstreamCaptureStatus *status) {
  return (CUresult)cudaStreamIsCapturing(s, (enum cudaStreamCaptureStatus *)status);
}
CUresult cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *mode) {
  return (CUresult)cudaThreadExchangeStreamCaptureMode((enum cudaStreamCaptureMode *)mode);
}
CUresult cuStreamWriteValue32_v2(CUstream s, CUdeviceptr p, cuuint32_t value, unsigned flags) { return CUDA_SUCCESS; }
CUresult cuStreamWaitValue32_v2(CUstream s, CUdeviceptr p, cuuint32_t value, unsigned flags) { return CUDA_SUCCESS; }
CUresult cuCtxSynchronize(void) { return (CUresult)cudaDeviceSynchronize(); }
CUresult cuCtxGetStreamPriorityRange(int *least, int *greatest) {
  return (CUresult)cudaDeviceGetStreamPriorityRange(least, greatest);
}
CUresult cuEventCreate(CUevent *e, unsigned flags) { return (CUresult)cudaEventCreateWithFlags(e, flags); }
CUresult cuEventDestroy_v2(CUevent e) { return (CUresult)cudaEventDestroy(e); }
CUresult cuEventRecord(CUevent e, CUstream s) { return (CUresult)cudaEventRecord(e, s); }
CUresult cuEventRecordWithFlags(CUevent e, CUstream s, unsigned flags) { return (CUresult)cudaEventRecord(e, s); }
CUresult cuEventQuery(CUevent e) { return (CUresult)cudaEventQuery(e); }
CUresult cuEventSynchronize(CUevent e) { return (CUresult)cudaEventSynchronize(e); }
CUresult cuEventElapsedTime_v2(float *ms, CUevent a, CUevent b) { return (CUresult)cudaEventElapsedTime(ms, a, b); }
