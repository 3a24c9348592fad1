/* The devices: properties, attributes and contexts, as the target has them. */
#include "stub.h"

__thread int current_device;

long setting(const char *name, long fallback) {
  const char *text = getenv(name);
  return text ? atol(text) : fallback;
}
int major(void) { return (int)setting("KREGISTRY_STUB_MAJOR", 9); }
int minor(void) { return (int)setting("KREGISTRY_STUB_MINOR", 0); }
int num_sms(void) { return (int)setting("KREGISTRY_STUB_SMS", 132); }
size_t memory(void) { return (size_t)setting("KREGISTRY_STUB_MEMORY", 80L << 30); }
static int l2(void) { return (int)setting("KREGISTRY_STUB_L2", 50L << 20); }
static const char *name(void) {
  const char *text = getenv("KREGISTRY_STUB_NAME");
  return text ? text : "kregistry stub";
}
/* Largest dynamic shared memory of a block: 227 KiB on data-centre parts, 99 KiB on SM120. */
int shared_memory(void) {
  static int value;
  if (!value) value = major() == 12 ? 101376 : 232448;
  return value;
}
/* As CUDA does: CUDA_VISIBLE_DEVICES is a list of numbers or UUIDs, and the first bad one ends it. */
int device_count(void) {
  int count = (int)setting("KREGISTRY_STUB_DEVICES", 1), visible = 0;
  const char *list = getenv("CUDA_VISIBLE_DEVICES");
  if (count > MAX_DEVICES) count = MAX_DEVICES;
  if (!list) return count;
  while (*list) {
    int ordinal = -1;
    if (sscanf(list, "GPU-%2x", (unsigned *)&ordinal) != 1) sscanf(list, "%d", &ordinal);
    if (ordinal < 0 || ordinal >= count) break;
    visible++;
    list = strchr(list, ',');
    if (!list++) break;
  }
  return visible < count ? visible : count;
}

/* Limits of the architecture, from the CUDA programming guide's table of compute capabilities. */
static int threads_per_sm(void) { return major() == 12 ? 1536 : 2048; }
static int blocks_per_sm(void) { return major() == 12 ? 24 : 32; }
/* Clocks (kHz) and bus width (bits): of one part of each architecture; nothing is decided by them. */
static int clock_rate(void) { return major() == 9 ? 1980000 : major() == 12 ? 2617000 : 1965000; }
static int memory_clock(void) { return major() == 9 ? 2619000 : major() == 12 ? 14001000 : 3996000; }
static int bus_width(void) { return major() == 9 ? 5120 : major() == 12 ? 512 : 8192; }

int device_attribute(int attribute, int device) {
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
    case cudaDevAttrMaxBlockDimX:
    case cudaDevAttrMaxBlockDimY: return 1024;
    case cudaDevAttrMaxBlockDimZ: return 64;
    case cudaDevAttrMaxGridDimX: return 2147483647;
    case cudaDevAttrMaxGridDimY:
    case cudaDevAttrMaxGridDimZ: return 65535;
    case cudaDevAttrMaxSharedMemoryPerBlock: return 49152;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: return shared_memory();
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor: return shared_memory() + 1024;
    case cudaDevAttrReservedSharedMemoryPerBlock: return 1024;
    case cudaDevAttrTotalConstantMemory:
    case cudaDevAttrMaxRegistersPerBlock:
    case cudaDevAttrMaxRegistersPerMultiprocessor: return 65536;
    case cudaDevAttrWarpSize: return 32;
    case cudaDevAttrMaxPitch: return 2147483647;
    case cudaDevAttrTextureAlignment:
    case cudaDevAttrSurfaceAlignment: return 512;
    case cudaDevAttrTexturePitchAlignment: return 32;
    case cudaDevAttrMultiProcessorCount: return num_sms();
    case cudaDevAttrMaxThreadsPerMultiProcessor: return threads_per_sm();
    case cudaDevAttrMaxBlocksPerMultiprocessor: return blocks_per_sm();
    case cudaDevAttrL2CacheSize: return l2();
    case cudaDevAttrMaxPersistingL2CacheSize: return l2() / 8 * 5;
    case cudaDevAttrMaxAccessPolicyWindowSize: return 128 << 20;
    case cudaDevAttrClockRate: return clock_rate();
    case cudaDevAttrMemoryClockRate: return memory_clock();
    case cudaDevAttrGlobalMemoryBusWidth: return bus_width();
    case cudaDevAttrAsyncEngineCount: return 3;
    case cudaDevAttrComputeCapabilityMajor: return major();
    case cudaDevAttrComputeCapabilityMinor: return minor();
    case cudaDevAttrSingleToDoublePrecisionPerfRatio: return major() == 12 ? 64 : 2;
    case cudaDevAttrPciBusId: return device + 1;
    case cudaDevAttrMemSyncDomainCount: return 4;
    case cudaDevAttrGpuOverlap:
    case cudaDevAttrCanMapHostMemory:
    case cudaDevAttrConcurrentKernels:
    case cudaDevAttrEccEnabled:
    case cudaDevAttrUnifiedAddressing:
    case cudaDevAttrStreamPrioritiesSupported:
    case cudaDevAttrGlobalL1CacheSupported:
    case cudaDevAttrLocalL1CacheSupported:
    case cudaDevAttrManagedMemory:
    case cudaDevAttrConcurrentManagedAccess:
    case cudaDevAttrComputePreemptionSupported:
    case cudaDevAttrCanUseHostPointerForRegisteredMem:
    case cudaDevAttrCooperativeLaunch:
    case cudaDevAttrHostRegisterSupported:
    case CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_TENSOR_MAP_ACCESS_SUPPORTED:
    case cudaDevAttrMemoryPoolsSupported:
    case cudaDevAttrMemoryPoolSupportedHandleTypes:
    case cudaDevAttrClusterLaunch:
    case cudaDevAttrIpcEventSupport: return 1;
  }
  return 0;
}

static cudaError_t check_device(int device) {
  return device >= 0 && device < device_count() ? cudaSuccess : cudaErrorInvalidDevice;
}

#undef cudaGetDeviceProperties
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int device) {
  if (check_device(device)) return cudaErrorInvalidDevice;
  memset(p, 0, sizeof *p);
  strncpy(p->name, name(), sizeof p->name - 1);
  p->uuid.bytes[0] = (char)device;
#define COPY(field, attribute) p->field = device_attribute(attribute, device)
  COPY(major, cudaDevAttrComputeCapabilityMajor);
  COPY(minor, cudaDevAttrComputeCapabilityMinor);
  COPY(multiProcessorCount, cudaDevAttrMultiProcessorCount);
  COPY(l2CacheSize, cudaDevAttrL2CacheSize);
  COPY(persistingL2CacheMaxSize, cudaDevAttrMaxPersistingL2CacheSize);
  COPY(accessPolicyMaxWindowSize, cudaDevAttrMaxAccessPolicyWindowSize);
  COPY(sharedMemPerBlock, cudaDevAttrMaxSharedMemoryPerBlock);
  COPY(sharedMemPerBlockOptin, cudaDevAttrMaxSharedMemoryPerBlockOptin);
  COPY(sharedMemPerMultiprocessor, cudaDevAttrMaxSharedMemoryPerMultiprocessor);
  COPY(reservedSharedMemPerBlock, cudaDevAttrReservedSharedMemoryPerBlock);
  COPY(totalConstMem, cudaDevAttrTotalConstantMemory);
  COPY(warpSize, cudaDevAttrWarpSize);
  COPY(memPitch, cudaDevAttrMaxPitch);
  COPY(textureAlignment, cudaDevAttrTextureAlignment);
  COPY(texturePitchAlignment, cudaDevAttrTexturePitchAlignment);
  COPY(surfaceAlignment, cudaDevAttrSurfaceAlignment);
  COPY(maxThreadsPerBlock, cudaDevAttrMaxThreadsPerBlock);
  COPY(maxThreadsPerMultiProcessor, cudaDevAttrMaxThreadsPerMultiProcessor);
  COPY(maxBlocksPerMultiProcessor, cudaDevAttrMaxBlocksPerMultiprocessor);
  COPY(regsPerBlock, cudaDevAttrMaxRegistersPerBlock);
  COPY(regsPerMultiprocessor, cudaDevAttrMaxRegistersPerMultiprocessor);
  COPY(memoryBusWidth, cudaDevAttrGlobalMemoryBusWidth);
  COPY(asyncEngineCount, cudaDevAttrAsyncEngineCount);
  COPY(canMapHostMemory, cudaDevAttrCanMapHostMemory);
  COPY(concurrentKernels, cudaDevAttrConcurrentKernels);
  COPY(ECCEnabled, cudaDevAttrEccEnabled);
  COPY(unifiedAddressing, cudaDevAttrUnifiedAddressing);
  COPY(streamPrioritiesSupported, cudaDevAttrStreamPrioritiesSupported);
  COPY(globalL1CacheSupported, cudaDevAttrGlobalL1CacheSupported);
  COPY(localL1CacheSupported, cudaDevAttrLocalL1CacheSupported);
  COPY(managedMemory, cudaDevAttrManagedMemory);
  COPY(concurrentManagedAccess, cudaDevAttrConcurrentManagedAccess);
  COPY(computePreemptionSupported, cudaDevAttrComputePreemptionSupported);
  COPY(canUseHostPointerForRegisteredMem, cudaDevAttrCanUseHostPointerForRegisteredMem);
  COPY(cooperativeLaunch, cudaDevAttrCooperativeLaunch);
  COPY(clusterLaunch, cudaDevAttrClusterLaunch);
  COPY(hostRegisterSupported, cudaDevAttrHostRegisterSupported);
  COPY(memoryPoolsSupported, cudaDevAttrMemoryPoolsSupported);
  COPY(memoryPoolSupportedHandleTypes, cudaDevAttrMemoryPoolSupportedHandleTypes);
  COPY(ipcEventSupported, cudaDevAttrIpcEventSupport);
  COPY(pciBusID, cudaDevAttrPciBusId);
  for (int i = 0; i < 3; i++) {
    p->maxThreadsDim[i] = device_attribute(cudaDevAttrMaxBlockDimX + i, device);
    p->maxGridSize[i] = device_attribute(cudaDevAttrMaxGridDimX + i, device);
  }
  p->totalGlobalMem = memory();
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device) {
  if (check_device(device)) return cudaErrorInvalidDevice;
  *value = device_attribute(attribute, device);
  return cudaSuccess;
}
CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device) {
  if (check_device(device)) return CUDA_ERROR_INVALID_DEVICE;
  *value = device_attribute(attribute, device);
  return CUDA_SUCCESS;
}
cudaError_t cudaGetDeviceCount(int *count) {
  *count = device_count();
  return *count ? cudaSuccess : cudaErrorNoDevice;
}
cudaError_t cudaGetDevice(int *device) { *device = current_device; return cudaSuccess; }
cudaError_t cudaSetDevice(int device) {
  if (check_device(device)) return cudaErrorInvalidDevice;
  current_device = device;
  return cudaSuccess;
}
cudaError_t cudaInitDevice(int device, unsigned device_flags, unsigned flags) { return check_device(device); }
cudaError_t cudaDriverGetVersion(int *version) { *version = CUDA_VERSION; return cudaSuccess; }
cudaError_t cudaRuntimeGetVersion(int *version) { *version = CUDA_VERSION; return cudaSuccess; }
cudaError_t cudaDeviceCanAccessPeer(int *can, int a, int b) {
  *can = a != b && !check_device(a) && !check_device(b);
  return cudaSuccess;
}
cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned flags) { return check_device(peer); }
cudaError_t cudaDeviceDisablePeerAccess(int peer) { return check_device(peer); }
cudaError_t cudaDeviceGetPCIBusId(char *text, int size, int device) {
  snprintf(text, size, "0000:%02x:00.0", device + 1);
  return check_device(device);
}
cudaError_t cudaDeviceGetLimit(size_t *value, enum cudaLimit limit) {
  *value = limit == cudaLimitStackSize ? 1024 : 8 << 20;
  return cudaSuccess;
}
cudaError_t cudaDeviceSetLimit(enum cudaLimit limit, size_t value) { return cudaSuccess; }
cudaError_t cudaDeviceSetCacheConfig(enum cudaFuncCache config) { return cudaSuccess; }
cudaError_t cudaSetDeviceFlags(unsigned flags) { return cudaSuccess; }
cudaError_t cudaGetDeviceFlags(unsigned *flags) { *flags = 0; return cudaSuccess; }
cudaError_t cudaProfilerStart(void) { return cudaSuccess; }
cudaError_t cudaProfilerStop(void) { return cudaSuccess; }
cudaError_t cudaGetLastError(void) { return cudaSuccess; }
cudaError_t cudaPeekAtLastError(void) { return cudaSuccess; }

/* The driver: a context is the number of its device. */
#define CONTEXT(device) ((CUcontext)(0x40ul + (unsigned long)(device)))
CUresult cuInit(unsigned flags) { return device_count() ? CUDA_SUCCESS : CUDA_ERROR_NO_DEVICE; }
CUresult cuDriverGetVersion(int *version) { *version = CUDA_VERSION; return CUDA_SUCCESS; }
CUresult cuDeviceGetCount(int *count) { *count = device_count(); return CUDA_SUCCESS; }
CUresult cuDeviceGet(CUdevice *device, int ordinal) { *device = ordinal; return (CUresult)check_device(ordinal); }
CUresult cuDeviceGetName(char *text, int size, CUdevice device) {
  snprintf(text, size, "%s", name());
  return CUDA_SUCCESS;
}
CUresult cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice device) {
  memset(uuid, 0, sizeof *uuid);
  uuid->bytes[0] = (char)device;
  return CUDA_SUCCESS;
}
CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device) { *bytes = memory(); return CUDA_SUCCESS; }
CUresult cuDeviceGetPCIBusId(char *text, int size, CUdevice device) {
  return (CUresult)cudaDeviceGetPCIBusId(text, size, device);
}
CUresult cuDeviceComputeCapability(int *a, int *b, CUdevice device) { *a = major(); *b = minor(); return CUDA_SUCCESS; }
CUresult cuDeviceCanAccessPeer(int *can, CUdevice a, CUdevice b) { return (CUresult)cudaDeviceCanAccessPeer(can, a, b); }
CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned *flags, int *active) {
  *flags = 0;
  *active = 1;
  return CUDA_SUCCESS;
}
CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) { *context = CONTEXT(device); return CUDA_SUCCESS; }
CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) { return CUDA_SUCCESS; }
CUresult cuDevicePrimaryCtxSetFlags_v2(CUdevice device, unsigned flags) { return CUDA_SUCCESS; }
CUresult cuCtxGetCurrent(CUcontext *context) { *context = CONTEXT(current_device); return CUDA_SUCCESS; }
CUresult cuCtxSetCurrent(CUcontext context) {
  unsigned long device = (unsigned long)context - 0x40;
  if (device < MAX_DEVICES) current_device = (int)device;
  return CUDA_SUCCESS;
}
CUresult cuCtxPushCurrent_v2(CUcontext context) { return cuCtxSetCurrent(context); }
CUresult cuCtxPopCurrent_v2(CUcontext *context) { return context ? cuCtxGetCurrent(context) : CUDA_SUCCESS; }
CUresult cuCtxGetDevice(CUdevice *device) { *device = current_device; return CUDA_SUCCESS; }
CUresult cuCtxGetFlags(unsigned *flags) { *flags = 0; return CUDA_SUCCESS; }
CUresult cuCtxGetApiVersion(CUcontext context, unsigned *version) { *version = CUDA_VERSION; return CUDA_SUCCESS; }
CUresult cuCtxEnablePeerAccess(CUcontext peer, unsigned flags) { return CUDA_SUCCESS; }
/* Undocumented tables, which CUDA's own libraries ask for and do without. */
CUresult cuGetExportTable(const void **table, const CUuuid *id) { return CUDA_ERROR_NOT_FOUND; }
CUresult cuGetErrorString(CUresult error, const char **text) {
  int denied = error == CUDA_ERROR_OUT_OF_MEMORY;
  *text = denied ? "out of memory" : error ? "refused by the stub GPU" : "no error";
  return CUDA_SUCCESS;
}
CUresult cuGetErrorName(CUresult error, const char **text) {
  *text = error ? "CUDA_ERROR_STUB" : "CUDA_SUCCESS";
  return CUDA_SUCCESS;
}
