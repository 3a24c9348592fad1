/* A CUDA runtime and driver without a GPU, for preloading into one child process.
 *
 * It answers for the device that the environment describes, hands out address space that cannot be touched, drops
 * every launch, and records which cubin file each launch of a driver-loaded kernel belongs to. DeepGEMM's host code
 * then decides as it would on the real device. What it does not define falls through to the real libraries.
 */
#define _GNU_SOURCE
#include <cuda.h>
#include <cuda_runtime_api.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- the device ------------------------------------------------------------------------------------------- */

static long setting(const char *name, long fallback) {
  const char *text = getenv(name);
  return text ? atol(text) : fallback;
}
static int major(void) { return (int)setting("KREGISTRY_STUB_MAJOR", 9); }
static int minor(void) { return (int)setting("KREGISTRY_STUB_MINOR", 0); }
static int num_sms(void) { return (int)setting("KREGISTRY_STUB_SMS", 132); }
static size_t memory(void) { return (size_t)setting("KREGISTRY_STUB_MEMORY", 80L << 30); }
/* Largest dynamic shared memory of a block: 227 KiB on data-centre parts, 99 KiB on SM120. */
static int shared_memory(void) {
  static int value;
  if (!value) value = major() == 12 ? 101376 : 232448;
  return value;
}

#undef cudaGetDeviceProperties
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int device) {
  memset(p, 0, sizeof *p);
  const char *name = getenv("KREGISTRY_STUB_NAME");
  strncpy(p->name, name ? name : "kregistry stub", sizeof p->name - 1);
  p->major = major();
  p->minor = minor();
  p->multiProcessorCount = num_sms();
  p->totalGlobalMem = memory();
  p->l2CacheSize = (int)setting("KREGISTRY_STUB_L2", 50L << 20);
  p->sharedMemPerBlock = 49152;
  p->sharedMemPerBlockOptin = shared_memory();
  p->sharedMemPerMultiprocessor = shared_memory() + 1024;
  p->warpSize = 32;
  p->maxThreadsPerBlock = 1024;
  p->maxThreadsPerMultiProcessor = 2048;
  p->regsPerMultiprocessor = 65536;
  p->regsPerBlock = 65536;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device) {
  *value = attribute == cudaDevAttrMultiProcessorCount ? num_sms() : 0;
  return cudaSuccess;
}
CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device) {
  *value = attribute == CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT ? num_sms() : 0;
  return CUDA_SUCCESS;
}
cudaError_t cudaGetDeviceCount(int *count) { *count = 1; return cudaSuccess; }
cudaError_t cudaGetDevice(int *device) { *device = 0; return cudaSuccess; }
cudaError_t cudaSetDevice(int device) { return cudaSuccess; }
cudaError_t cudaDriverGetVersion(int *version) { *version = CUDA_VERSION; return cudaSuccess; }
cudaError_t cudaRuntimeGetVersion(int *version) { *version = CUDA_VERSION; return cudaSuccess; }
cudaError_t cudaDeviceCanAccessPeer(int *can, int a, int b) { *can = 0; return cudaSuccess; }
CUresult cuInit(unsigned flags) { return CUDA_SUCCESS; }
CUresult cuDeviceGet(CUdevice *device, int ordinal) { *device = ordinal; return CUDA_SUCCESS; }
CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned *flags, int *active) {
  *flags = 0;
  *active = 1;
  return CUDA_SUCCESS;
}
CUresult cuCtxGetCurrent(CUcontext *context) { *context = (CUcontext)0x40; return CUDA_SUCCESS; }
CUresult cuCtxSetCurrent(CUcontext context) { return CUDA_SUCCESS; }
CUresult cuGetErrorString(CUresult error, const char **text) { *text = "refused by the stub GPU"; return CUDA_SUCCESS; }
CUresult cuGetErrorName(CUresult error, const char **text) { *text = "CUDA_ERROR_STUB"; return CUDA_SUCCESS; }

/* ---- memory: address space without pages, so that bytes cost nothing and a host access faults ---------------- */

#define ARENA ((size_t)1 << 42)
#define GRAIN ((size_t)2 << 20)
static char *arena;
static size_t arena_used;
static unsigned long host_reads;

cudaError_t cudaMalloc(void **pointer, size_t size) {
  if (!arena) {
    void *space = mmap(NULL, ARENA, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (space == MAP_FAILED) return cudaErrorMemoryAllocation;
    arena = space;
  }
  size = (size + GRAIN - 1) / GRAIN * GRAIN;
  if (arena_used + size > ARENA) return cudaErrorMemoryAllocation;
  *pointer = arena + arena_used;
  arena_used += size;
  return cudaSuccess;
}
cudaError_t cudaFree(void *pointer) { return cudaSuccess; }
cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total) {
  *free_bytes = *total = memory();
  return cudaSuccess;
}
cudaError_t cudaMemset(void *p, int value, size_t n) { return cudaSuccess; }
cudaError_t cudaMemsetAsync(void *p, int value, size_t n, cudaStream_t stream) { return cudaSuccess; }
cudaError_t cudaMemset2DAsync(void *p, size_t pitch, int value, size_t w, size_t h, cudaStream_t stream) {
  return cudaSuccess;
}
/* A copy to the host gives zeros, so that .item() is deterministic, and is counted: the plan would depend on data. */
cudaError_t cudaMemcpy(void *to, const void *from, size_t n, enum cudaMemcpyKind kind) {
  if (kind == cudaMemcpyDeviceToHost) {
    host_reads++;
    memset(to, 0, n);
  }
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n, enum cudaMemcpyKind kind, cudaStream_t stream) {
  return cudaMemcpy(to, from, n, kind);
}
cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *attributes, const void *pointer) {
  memset(attributes, 0, sizeof *attributes);
  attributes->type = cudaMemoryTypeDevice;
  attributes->devicePointer = (void *)pointer;
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void **p, size_t n, unsigned flags) { *p = calloc(1, n ? n : 1); return cudaSuccess; }
cudaError_t cudaMallocHost(void **p, size_t n) { return cudaHostAlloc(p, n, 0); }
cudaError_t cudaFreeHost(void *p) { free(p); return cudaSuccess; }
cudaError_t cudaHostRegister(void *p, size_t n, unsigned flags) { return cudaSuccess; }
cudaError_t cudaHostUnregister(void *p) { return cudaSuccess; }
cudaError_t cudaHostGetDevicePointer(void **device, void *host, unsigned flags) { *device = host; return cudaSuccess; }

/* Exit with a code of its own when the host touches device memory; any other fault stays what it is. */
static int fault_exit_code;
static void on_fault(int signal_number, siginfo_t *info, void *context) {
  char *address = info->si_addr;
  if (arena && address >= arena && address < arena + ARENA) _exit(fault_exit_code);
  signal(signal_number, SIG_DFL);
}
void kregistry_stub_watch_faults(int exit_code) {
  fault_exit_code = exit_code;
  struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
  sigaction(SIGSEGV, &action, NULL);
  sigaction(SIGBUS, &action, NULL);
}

/* ---- streams and events ------------------------------------------------------------------------------------- */

static unsigned long host_waits;
static int stream_expected;
static void *expected_stream;
static unsigned long foreign_launches;

static void note_stream(const void *stream) {
  if (stream_expected && stream != expected_stream) foreign_launches++;
}
/* From now on, launches on any other stream are counted. */
void kregistry_stub_expect_stream(void *stream) {
  expected_stream = stream;
  stream_expected = 1;
  foreign_launches = 0;
}
unsigned long kregistry_stub_foreign_launches(void) { return foreign_launches; }
unsigned long kregistry_stub_host_waits(void) { return host_waits; }

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, enum cudaStreamCaptureStatus *status) {
  *status = cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, enum cudaStreamCaptureStatus *status, unsigned long long *id,
                                     cudaGraph_t *graph, const cudaGraphNode_t **dependencies,
                                     const cudaGraphEdgeData **edges, size_t *count) {
  *status = cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned flags, int priority) {
  static size_t next = 0x1000;
  *stream = (cudaStream_t)(next += 16);
  return cudaSuccess;
}
cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest) {
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  host_waits++;
  return cudaSuccess;
}
cudaError_t cudaStreamQuery(cudaStream_t stream) { return cudaSuccess; }
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) { return cudaSuccess; }
cudaError_t cudaDeviceSynchronize(void) {
  host_waits++;
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags) {
  *event = (cudaEvent_t)0x2000;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) { return cudaSuccess; }
cudaError_t cudaEventQuery(cudaEvent_t event) { return cudaSuccess; }
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  host_waits++;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) { return cudaSuccess; }
cudaError_t cudaThreadExchangeStreamCaptureMode(enum cudaStreamCaptureMode *mode) { return cudaSuccess; }
cudaError_t cudaGetLastError(void) { return cudaSuccess; }
cudaError_t cudaPeekAtLastError(void) { return cudaSuccess; }

/* ---- torch's own kernels: dropped, not recorded (they are compiled into torch) ------------------------------- */

cudaError_t cudaLaunchKernel(const void *f, dim3 grid, dim3 block, void **args, size_t shared, cudaStream_t stream) {
  note_stream(stream);
  return cudaSuccess;
}
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *config, const void *f, void **args) {
  note_stream(config->stream);
  return cudaSuccess;
}
cudaError_t cudaFuncSetAttribute(const void *f, enum cudaFuncAttribute attribute, int value) { return cudaSuccess; }
cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *attributes, const void *f) {
  memset(attributes, 0, sizeof *attributes);
  attributes->ptxVersion = attributes->binaryVersion = major() * 10 + minor();
  attributes->maxThreadsPerBlock = 1024;
  return cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, const void *f, int threads,
                                                                   size_t shared, unsigned flags) {
  *blocks = 1;
  return cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, const void *f, int threads, size_t shared) {
  *blocks = 1;
  return cudaSuccess;
}

/* cuBLASLt compiles nothing; its descriptor functions need no device and stay the real ones. */
static unsigned long cublaslt_calls;
unsigned long kregistry_stub_cublaslt_calls(void) { return cublaslt_calls; }
int cublasLtCreate(void **handle) { *handle = (void *)0x50; return 0; }
int cublasLtDestroy(void *handle) { return 0; }
int cublasLtMatmulAlgoGetHeuristic(void *handle, void *operation, void *a, void *b, void *c, void *d, void *preference,
                                   int requested, void *results, int *returned) {
  *returned = 1;
  return 0;
}
int cublasLtMatmul(void *handle, void *operation, const void *alpha, const void *a, void *la, const void *b, void *lb,
                   const void *beta, const void *c, void *lc, void *d, void *ld, const void *algorithm,
                   void *workspace, size_t size, void *stream) {
  cublaslt_calls++;
  note_stream(stream);
  return 0;
}

/* ---- DeepGEMM's kernels: file -> library -> kernel -> function -> launch -------------------------------------- */

#define MAX_LIBRARIES 65536
#define MAX_LAUNCHES (1u << 22)
#define MAX_MARKS (1u << 20)
#define LIBRARY_TAG 0x100000000ul
#define KERNEL_TAG 0x200000000ul
#define FUNCTION_TAG 0x300000000ul

static char *library_files[MAX_LIBRARIES];
static unsigned library_count;
static uint32_t *launches; /* library index of each launch */
static uint32_t *marks;    /* number of launches when each mark was set */
static unsigned long launch_count, mark_count;

static void *table(size_t bytes) {
  return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}
static void open_tables(void) {
  if (launches) return;
  launches = table(sizeof *launches * MAX_LAUNCHES);
  marks = table(sizeof *marks * MAX_MARKS);
}

void kregistry_stub_reset(void) {
  open_tables();
  launch_count = mark_count = host_reads = host_waits = foreign_launches = cublaslt_calls = 0;
  stream_expected = 0;
}
void kregistry_stub_mark(void) {
  if (mark_count < MAX_MARKS) marks[mark_count] = (uint32_t)launch_count;
  mark_count++;
}
unsigned long kregistry_stub_launch_count(void) { return launch_count; }
unsigned long kregistry_stub_mark_count(void) { return mark_count; }
unsigned long kregistry_stub_host_reads(void) { return host_reads; }
unsigned kregistry_stub_library_count(void) { return library_count; }
const uint32_t *kregistry_stub_launches(void) { return launches; }
const uint32_t *kregistry_stub_marks(void) { return marks; }
const char *kregistry_stub_library_file(unsigned index) { return index < library_count ? library_files[index] : ""; }

CUresult cuLibraryLoadFromFile(CUlibrary *library, const char *file, CUjit_option *jit, void **jit_values, unsigned n,
                               CUlibraryOption *options, void **values, unsigned m) {
  if (library_count >= MAX_LIBRARIES) return CUDA_ERROR_OUT_OF_MEMORY;
  library_files[library_count] = strdup(file);
  *library = (CUlibrary)(LIBRARY_TAG + library_count++);
  return CUDA_SUCCESS;
}
CUresult cuLibraryUnload(CUlibrary library) { return CUDA_SUCCESS; }
CUresult cuLibraryGetKernelCount(unsigned *count, CUlibrary library) { *count = 1; return CUDA_SUCCESS; }
CUresult cuLibraryEnumerateKernels(CUkernel *kernels, unsigned count, CUlibrary library) {
  kernels[0] = (CUkernel)((unsigned long)library - LIBRARY_TAG + KERNEL_TAG);
  return CUDA_SUCCESS;
}
CUresult cuKernelGetFunction(CUfunction *function, CUkernel kernel) {
  *function = (CUfunction)((unsigned long)kernel - KERNEL_TAG + FUNCTION_TAG);
  return CUDA_SUCCESS;
}
CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
  int too_much = attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES && value > shared_memory();
  return too_much ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

/* What the driver documents as an invalid launch is refused here too. */
static int valid_launch(const CUlaunchConfig *c) {
  unsigned threads = c->blockDimX * c->blockDimY * c->blockDimZ;
  if (!c->gridDimX || !c->gridDimY || !c->gridDimZ || !threads || threads > 1024) return 0;
  if (c->gridDimX > 2147483647u || c->gridDimY > 65535 || c->gridDimZ > 65535) return 0;
  if ((int)c->sharedMemBytes > shared_memory()) return 0;
  for (unsigned i = 0; i < c->numAttrs; i++)
    if (c->attrs[i].id == CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION && c->gridDimX % c->attrs[i].value.clusterDim.x)
      return 0;
  return 1;
}
CUresult cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction function, void **parameters, void **extra) {
  if (!valid_launch(config)) return CUDA_ERROR_INVALID_VALUE;
  open_tables();
  note_stream(config->hStream);
  if (launch_count < MAX_LAUNCHES) launches[launch_count] = (uint32_t)((unsigned long)function - FUNCTION_TAG);
  launch_count++;
  return CUDA_SUCCESS;
}

/* The rules that the driver documents for tiled tensor maps: a shape that the device refuses is refused here. */
static unsigned element_bits(CUtensorMapDataType type) {
  switch (type) {
    case CU_TENSOR_MAP_DATA_TYPE_UINT8: return 8;
    case CU_TENSOR_MAP_DATA_TYPE_UINT16:
    case CU_TENSOR_MAP_DATA_TYPE_FLOAT16:
    case CU_TENSOR_MAP_DATA_TYPE_BFLOAT16: return 16;
    case CU_TENSOR_MAP_DATA_TYPE_UINT64:
    case CU_TENSOR_MAP_DATA_TYPE_INT64:
    case CU_TENSOR_MAP_DATA_TYPE_FLOAT64: return 64;
    case CU_TENSOR_MAP_DATA_TYPE_16U4_ALIGN8B:
    case CU_TENSOR_MAP_DATA_TYPE_16U4_ALIGN16B: return 4;
    case CU_TENSOR_MAP_DATA_TYPE_16U6_ALIGN16B: return 6;
    default: return 32;
  }
}
static unsigned swizzle_bytes(CUtensorMapSwizzle swizzle) {
  if (swizzle == CU_TENSOR_MAP_SWIZZLE_NONE) return 1u << 30;
  if (swizzle == CU_TENSOR_MAP_SWIZZLE_32B) return 32;
  return swizzle == CU_TENSOR_MAP_SWIZZLE_64B ? 64 : 128;
}
CUresult cuTensorMapEncodeTiled(CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank, void *address,
                                const cuuint64_t *sizes, const cuuint64_t *strides, const cuuint32_t *box,
                                const cuuint32_t *element_strides, CUtensorMapInterleave interleave,
                                CUtensorMapSwizzle swizzle, CUtensorMapL2promotion promotion,
                                CUtensorMapFloatOOBfill fill) {
  int unpacked = type == CU_TENSOR_MAP_DATA_TYPE_16U4_ALIGN16B || type == CU_TENSOR_MAP_DATA_TYPE_16U6_ALIGN16B;
  unsigned long alignment = unpacked ? 32 : 16;
  memset(map, 0, sizeof *map);
  if (rank < 1 || rank > 5 || !address || (unsigned long)address % alignment) return CUDA_ERROR_INVALID_VALUE;
  for (unsigned i = 0; i < rank; i++) {
    if (sizes[i] == 0 || sizes[i] > (1ull << 32) || box[i] == 0 || box[i] > 256) return CUDA_ERROR_INVALID_VALUE;
    if (element_strides[i] == 0 || element_strides[i] > 8) return CUDA_ERROR_INVALID_VALUE;
    if (i + 1 < rank && (strides[i] % alignment || strides[i] >= (1ull << 40))) return CUDA_ERROR_INVALID_VALUE;
  }
  if (unpacked) return sizes[0] % 128 || box[0] != 128 ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
  unsigned inner = box[0] * element_bits(type) / 8;
  if (interleave == CU_TENSOR_MAP_INTERLEAVE_NONE && inner % 16) return CUDA_ERROR_INVALID_VALUE;
  return inner > swizzle_bytes(swizzle) ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}
