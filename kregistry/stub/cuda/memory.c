/* Device memory: address space without pages, so that bytes cost nothing and a host access faults. With
 * KREGISTRY_STUB_COUNT_MEMORY=1 it is counted: an allocation beyond the memory of the device fails, as it does there.
 * Without it (planning) all of the memory is always free.
 */
#include "stub.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#define ARENA ((size_t)1 << 42) /* address space of one device */
#define GRAIN ((size_t)2 << 20) /* the driver maps memory in pages of this size */
#define GRAINS (ARENA / GRAIN)

struct arena {
  char *start;
  uint32_t *size;    /* grains of the allocation that starts at each grain; 0: none */
  uint32_t *counted; /* grains of it that are counted; reserved address space is not */
  size_t next;       /* the search for room starts here, and wraps around once */
  size_t used;       /* counted grains */
};
static struct arena arenas[MAX_DEVICES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
unsigned long host_reads;

static void *reserve(size_t bytes, int protection) {
  void *space = mmap(NULL, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return space == MAP_FAILED ? NULL : space;
}
static int open_arena(struct arena *a) {
  if (a->start) return 1;
  a->size = reserve(GRAINS * sizeof *a->size, PROT_READ | PROT_WRITE);
  a->counted = reserve(GRAINS * sizeof *a->counted, PROT_READ | PROT_WRITE);
  a->start = a->size && a->counted ? reserve(ARENA, PROT_NONE) : NULL;
  a->next = 1; /* the first grain is symbol_memory() */
  return a->start != NULL;
}
static int limited(void) {
  static int value = -1;
  if (value < 0) value = (int)setting("KREGISTRY_STUB_COUNT_MEMORY", 0);
  return value;
}
/* Bytes that are not counted: room for a model that does not fit. KREGISTRY_STUB_UNCOUNTED from the start on, and
 * KREGISTRY_STUB_OVERFLOW from the first allocation on that would fail without them.
 */
static size_t overflow;
static size_t uncounted(void) { return (size_t)setting("KREGISTRY_STUB_UNCOUNTED", 0) + overflow; }
size_t kregistry_stub_overflow(void) { return overflow; }
static int fits(const struct arena *a, size_t grains) { return (a->used + grains) * GRAIN <= memory() + uncounted(); }
static int fits_or_overflows(const struct arena *a, size_t grains) {
  if (!fits(a, grains) && !overflow) overflow = (size_t)setting("KREGISTRY_STUB_OVERFLOW", 0);
  return fits(a, grains);
}
/* The first grain of a run of n free ones, or 0. */
static size_t find_room(struct arena *a, size_t n) {
  for (int pass = 0; pass < 2; pass++) {
    size_t at = pass ? 1 : a->next, run = at;
    while (at < GRAINS) {
      if (at - run >= n || (a->size[at] == 0 && at + 1 - run >= n)) return run;
      if (a->size[at]) run = at += a->size[at];
      else at++;
    }
  }
  return 0;
}
static void *allocate(size_t bytes, int device, int is_counted) {
  struct arena *a = &arenas[device];
  size_t n = bytes ? (bytes + GRAIN - 1) / GRAIN : 1, at;
  void *pointer = NULL;
  pthread_mutex_lock(&lock);
  if (n < GRAINS && open_arena(a) && (!is_counted || !limited() || fits_or_overflows(a, n))) {
    at = find_room(a, n);
    if (at) {
      a->size[at] = (uint32_t)n;
      a->counted[at] = is_counted ? (uint32_t)n : 0;
      a->used += a->counted[at];
      a->next = at + n < GRAINS ? at + n : 1;
      pointer = a->start + at * GRAIN;
    }
  }
  pthread_mutex_unlock(&lock);
  return pointer;
}
void *take(size_t bytes, int device) { return allocate(bytes, device, 1); }
int device_of(const void *pointer) {
  for (int device = 0; device < MAX_DEVICES; device++) {
    char *start = arenas[device].start;
    if (start && (char *)pointer >= start && (char *)pointer < start + ARENA) return device;
  }
  return -1;
}
static size_t room_of(const struct arena *a, const void *pointer) { return ((char *)pointer - a->start) / GRAIN; }
void give_back(void *pointer) {
  int device = device_of(pointer);
  if (device < 0) return;
  struct arena *a = &arenas[device];
  pthread_mutex_lock(&lock);
  size_t at = room_of(a, pointer);
  a->used -= a->counted[at];
  a->size[at] = a->counted[at] = 0;
  pthread_mutex_unlock(&lock);
}
void *symbol_memory(void) {
  pthread_mutex_lock(&lock);
  open_arena(&arenas[current_device]);
  pthread_mutex_unlock(&lock);
  return arenas[current_device].start;
}

cudaError_t cudaMalloc(void **pointer, size_t size) {
  if (size == 0) return *pointer = NULL, cudaSuccess;
  *pointer = take(size, current_device);
  return *pointer ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaMallocAsync(void **pointer, size_t size, cudaStream_t stream) { return cudaMalloc(pointer, size); }
cudaError_t cudaMallocPitch(void **pointer, size_t *pitch, size_t width, size_t height) {
  *pitch = (width + 511) / 512 * 512;
  return cudaMalloc(pointer, *pitch * height);
}
cudaError_t cudaFree(void *pointer) { give_back(pointer); return cudaSuccess; }
cudaError_t cudaFreeAsync(void *pointer, cudaStream_t stream) { return cudaFree(pointer); }
cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total) {
  size_t used = limited() ? arenas[current_device].used * GRAIN : 0, ignored = uncounted();
  used = used > ignored ? used - ignored : 0;
  *total = memory();
  *free_bytes = used < *total ? *total - used : 0;
  return cudaSuccess;
}
CUresult cuMemAlloc_v2(CUdeviceptr *pointer, size_t size) { return (CUresult)cudaMalloc((void **)pointer, size); }
CUresult cuMemAllocAsync(CUdeviceptr *pointer, size_t size, CUstream stream) { return cuMemAlloc_v2(pointer, size); }
CUresult cuMemFree_v2(CUdeviceptr pointer) { return (CUresult)cudaFree((void *)pointer); }
CUresult cuMemFreeAsync(CUdeviceptr pointer, CUstream stream) { return cuMemFree_v2(pointer); }
CUresult cuMemGetInfo_v2(size_t *free_bytes, size_t *total) { return (CUresult)cudaMemGetInfo(free_bytes, total); }

/* Virtual memory management: address space is reserved without being counted, handles are counted. */
CUresult cuMemGetAllocationGranularity(size_t *bytes, const CUmemAllocationProp *p, CUmemAllocationGranularity_flags f) {
  *bytes = GRAIN;
  return CUDA_SUCCESS;
}
CUresult cuMemAddressReserve(CUdeviceptr *pointer, size_t size, size_t alignment, CUdeviceptr at, unsigned long long f) {
  *pointer = (CUdeviceptr)allocate(size, current_device, 0);
  return *pointer ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}
CUresult cuMemAddressFree(CUdeviceptr pointer, size_t size) { return cuMemFree_v2(pointer); }
CUresult cuMemCreate(CUmemGenericAllocationHandle *handle, size_t size, const CUmemAllocationProp *p, unsigned long long f) {
  int device = p && p->location.type == CU_MEM_LOCATION_TYPE_DEVICE ? p->location.id : current_device;
  if (device < 0 || device >= device_count()) return CUDA_ERROR_INVALID_DEVICE;
  *handle = (CUmemGenericAllocationHandle)take(size, device);
  return *handle ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}
CUresult cuMemRelease(CUmemGenericAllocationHandle handle) { return cuMemFree_v2((CUdeviceptr)handle); }
CUresult cuMemMap(CUdeviceptr p, size_t n, size_t offset, CUmemGenericAllocationHandle h, unsigned long long f) {
  return CUDA_SUCCESS;
}
CUresult cuMemUnmap(CUdeviceptr pointer, size_t size) { return CUDA_SUCCESS; }
CUresult cuMemSetAccess(CUdeviceptr p, size_t n, const CUmemAccessDesc *access, size_t count) { return CUDA_SUCCESS; }

/* Memory pools: one for each device, which keeps nothing. */
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t *pool, int device) {
  *pool = (cudaMemPool_t)(0x80ul + device);
  return cudaSuccess;
}
cudaError_t cudaDeviceGetMemPool(cudaMemPool_t *pool, int device) { return cudaDeviceGetDefaultMemPool(pool, device); }
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, enum cudaMemPoolAttr attribute, void *value) {
  if (attribute < cudaMemPoolAttrReleaseThreshold) *(int *)value = 1;
  else *(uint64_t *)value = 0;
  return cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, enum cudaMemPoolAttr attribute, void *v) { return cudaSuccess; }
cudaError_t cudaMemPoolSetAccess(cudaMemPool_t pool, const struct cudaMemAccessDesc *d, size_t n) { return cudaSuccess; }
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t pool, size_t bytes) { return cudaSuccess; }
cudaError_t cudaDeviceGetGraphMemAttribute(int device, enum cudaGraphMemAttributeType a, void *value) {
  *(uint64_t *)value = 0;
  return cudaSuccess;
}
cudaError_t cudaDeviceSetGraphMemAttribute(int device, enum cudaGraphMemAttributeType a, void *v) { return cudaSuccess; }
cudaError_t cudaDeviceGraphMemTrim(int device) { return cudaSuccess; }

/* Copies. What the host gets from the device is zeros, so that .item() is deterministic, and is counted: what follows
 * could depend on data. */
static void copy(void *to, const void *from, size_t n) {
  if (device_of(to) >= 0) return;
  if (device_of(from) < 0) {
    memmove(to, from, n);
    return;
  }
  host_reads++;
  memset(to, 0, n);
}
cudaError_t cudaMemcpy(void *to, const void *from, size_t n, enum cudaMemcpyKind kind) {
  copy(to, from, n);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n, enum cudaMemcpyKind kind, cudaStream_t stream) {
  return cudaMemcpy(to, from, n, kind);
}
cudaError_t cudaMemcpy2D(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width, size_t height,
                         enum cudaMemcpyKind kind) {
  for (size_t row = 0; row < height; row++)
    copy((char *)to + row * to_pitch, (const char *)from + row * from_pitch, width);
  return cudaSuccess;
}
cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width,
                              size_t height, enum cudaMemcpyKind kind, cudaStream_t stream) {
  return cudaMemcpy2D(to, to_pitch, from, from_pitch, width, height, kind);
}
cudaError_t cudaMemcpyPeerAsync(void *to, int a, const void *from, int b, size_t n, cudaStream_t s) { return cudaSuccess; }
cudaError_t cudaMemcpyPeer(void *to, int a, const void *from, int b, size_t n) { return cudaSuccess; }
cudaError_t cudaMemcpyToSymbol(const void *s, const void *from, size_t n, size_t offset, enum cudaMemcpyKind kind) {
  return cudaSuccess;
}
cudaError_t cudaMemcpyToSymbolAsync(const void *s, const void *from, size_t n, size_t offset, enum cudaMemcpyKind kind,
                                    cudaStream_t stream) {
  return cudaSuccess;
}
cudaError_t cudaGetSymbolAddress(void **pointer, const void *symbol) { *pointer = symbol_memory(); return cudaSuccess; }
cudaError_t cudaMemset(void *p, int value, size_t n) { return cudaSuccess; }
cudaError_t cudaMemsetAsync(void *p, int value, size_t n, cudaStream_t stream) { return cudaSuccess; }
cudaError_t cudaMemset2DAsync(void *p, size_t pitch, int value, size_t w, size_t h, cudaStream_t stream) {
  return cudaSuccess;
}
CUresult cuMemcpy(CUdeviceptr to, CUdeviceptr from, size_t n) { copy((void *)to, (void *)from, n); return CUDA_SUCCESS; }
CUresult cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t n, CUstream s) { return cuMemcpy(to, from, n); }
CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t n) { return CUDA_SUCCESS; }
CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t n, CUstream s) { return CUDA_SUCCESS; }
CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t n) { return CUDA_SUCCESS; }
CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t n, CUstream s) { return CUDA_SUCCESS; }
CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t n) { copy(to, (void *)from, n); return CUDA_SUCCESS; }
CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t n, CUstream s) { return cuMemcpyDtoH_v2(to, from, n); }
CUresult cuMemsetD8_v2(CUdeviceptr p, unsigned char value, size_t n) { return CUDA_SUCCESS; }
CUresult cuMemsetD8Async(CUdeviceptr p, unsigned char value, size_t n, CUstream stream) { return CUDA_SUCCESS; }
CUresult cuMemsetD32_v2(CUdeviceptr p, unsigned value, size_t n) { return CUDA_SUCCESS; }
CUresult cuMemsetD32Async(CUdeviceptr p, unsigned value, size_t n, CUstream stream) { return CUDA_SUCCESS; }

/* Pinned host memory, and what a pointer is. */
#define MAX_PINNED 65536
static struct { char *start; size_t size; } pinned[MAX_PINNED];
static unsigned pinned_count;

static void pin(void *p, size_t n) {
  pthread_mutex_lock(&lock);
  if (pinned_count < MAX_PINNED) {
    pinned[pinned_count].start = p;
    pinned[pinned_count++].size = n;
  }
  pthread_mutex_unlock(&lock);
}
static void unpin(void *p) {
  pthread_mutex_lock(&lock);
  for (unsigned i = 0; i < pinned_count; i++)
    if (pinned[i].start == p) {
      pinned[i] = pinned[--pinned_count];
      break;
    }
  pthread_mutex_unlock(&lock);
}
static int is_pinned(const void *p) {
  int found = 0;
  pthread_mutex_lock(&lock);
  for (unsigned i = 0; i < pinned_count && !found; i++)
    found = (char *)p >= pinned[i].start && (char *)p < pinned[i].start + pinned[i].size;
  pthread_mutex_unlock(&lock);
  return found;
}
cudaError_t cudaHostAlloc(void **p, size_t n, unsigned flags) {
  *p = calloc(1, n ? n : 1);
  if (!*p) return cudaErrorMemoryAllocation;
  pin(*p, n);
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void **p, size_t n) { return cudaHostAlloc(p, n, 0); }
cudaError_t cudaFreeHost(void *p) {
  unpin(p);
  free(p);
  return cudaSuccess;
}
cudaError_t cudaHostRegister(void *p, size_t n, unsigned flags) { pin(p, n); return cudaSuccess; }
cudaError_t cudaHostUnregister(void *p) { unpin(p); return cudaSuccess; }
cudaError_t cudaHostGetDevicePointer(void **device, void *host, unsigned flags) { *device = host; return cudaSuccess; }
CUresult cuMemHostAlloc(void **p, size_t n, unsigned flags) { return (CUresult)cudaHostAlloc(p, n, flags); }
CUresult cuMemAllocHost_v2(void **p, size_t n) { return (CUresult)cudaHostAlloc(p, n, 0); }
CUresult cuMemFreeHost(void *p) { return (CUresult)cudaFreeHost(p); }
CUresult cuMemHostRegister_v2(void *p, size_t n, unsigned flags) { return (CUresult)cudaHostRegister(p, n, flags); }
CUresult cuMemHostUnregister(void *p) { return (CUresult)cudaHostUnregister(p); }
CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr *device, void *host, unsigned flags) {
  *device = (CUdeviceptr)host;
  return CUDA_SUCCESS;
}
cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *attributes, const void *pointer) {
  int device = device_of(pointer), host = device < 0 && is_pinned(pointer);
  memset(attributes, 0, sizeof *attributes);
  attributes->type = device >= 0 ? cudaMemoryTypeDevice : host ? cudaMemoryTypeHost : cudaMemoryTypeUnregistered;
  attributes->device = device >= 0 ? device : host ? current_device : cudaInvalidDeviceId;
  attributes->devicePointer = device >= 0 || host ? (void *)pointer : NULL;
  attributes->hostPointer = host ? (void *)pointer : NULL;
  return cudaSuccess;
}
/* The allocation that holds an address: its first grain, or 0. */
static size_t allocation(const struct arena *a, const void *pointer) {
  size_t at = room_of(a, pointer);
  while (at && !a->size[at]) at--;
  return at;
}
CUresult cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *size, CUdeviceptr pointer) {
  int device = device_of((void *)pointer);
  if (device < 0) return CUDA_ERROR_NOT_FOUND;
  const struct arena *a = &arenas[device];
  size_t at = allocation(a, (void *)pointer);
  if (base) *base = (CUdeviceptr)(a->start + at * GRAIN);
  if (size) *size = (at ? a->size[at] : 1) * GRAIN;
  return CUDA_SUCCESS;
}
CUresult cuPointerGetAttribute(void *data, CUpointer_attribute attribute, CUdeviceptr pointer) {
  int device = device_of((void *)pointer);
  if (device < 0 && !is_pinned((void *)pointer)) return CUDA_ERROR_INVALID_VALUE;
  switch (attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT: *(CUcontext *)data = (CUcontext)(0x40ul + (device < 0 ? 0 : device)); break;
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
      *(unsigned *)data = device < 0 ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
      break;
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL: *(int *)data = device < 0 ? current_device : device; break;
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
    case CU_POINTER_ATTRIBUTE_BUFFER_ID: *(CUdeviceptr *)data = pointer; break;
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR: return cuMemGetAddressRange_v2(data, NULL, pointer);
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE: return cuMemGetAddressRange_v2(NULL, data, pointer);
    case CU_POINTER_ATTRIBUTE_MAPPED: *(int *)data = 1; break;
    case CU_POINTER_ATTRIBUTE_IS_MANAGED:
    case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS:
    case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE: *(int *)data = 0; break;
    default: return CUDA_ERROR_NOT_SUPPORTED;
  }
  return CUDA_SUCCESS;
}
CUresult cuPointerGetAttributes(unsigned count, CUpointer_attribute *attributes, void **data, CUdeviceptr pointer) {
  for (unsigned i = 0; i < count; i++) cuPointerGetAttribute(data[i], attributes[i], pointer);
  return CUDA_SUCCESS;
}
CUresult cuPointerSetAttribute(const void *value, CUpointer_attribute attribute, CUdeviceptr p) { return CUDA_SUCCESS; }

/* A handle holds the address; another process gets address space of its own for it. */
cudaError_t cudaIpcGetMemHandle(cudaIpcMemHandle_t *handle, void *pointer) {
  memset(handle, 0, sizeof *handle);
  memcpy(handle, &pointer, sizeof pointer);
  return cudaSuccess;
}
cudaError_t cudaIpcOpenMemHandle(void **pointer, cudaIpcMemHandle_t handle, unsigned flags) {
  *pointer = allocate((size_t)1 << 33, current_device, 0);
  return *pointer ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaIpcCloseMemHandle(void *pointer) { return cudaFree(pointer); }

/* Exit with a code of its own when the host touches device memory; any other fault stays what it is. */
static int fault_exit_code;
static void on_fault(int signal_number, siginfo_t *info, void *context) {
  static const char text[] = "stub: the host has touched device memory, which has no bytes on the stub GPU\n";
  if (device_of(info->si_addr) >= 0) {
    if (fault_exit_code) _exit(fault_exit_code);
    if (write(2, text, sizeof text - 1) < 0) _exit(1);
  }
  signal(signal_number, SIG_DFL);
}
void kregistry_stub_watch_faults(int exit_code) {
  fault_exit_code = exit_code;
  struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
  sigaction(SIGSEGV, &action, NULL);
  sigaction(SIGBUS, &action, NULL);
}
__attribute__((constructor)) static void explain_faults(void) {
  if (setting("KREGISTRY_STUB_COUNT_MEMORY", 0)) kregistry_stub_watch_faults(0);
}
