/* Code of other compilers (torch's own kernels, Triton, NVRTC, TVM): modules load, and their launches are dropped. */
#include "stub.h"

#define MODULE ((void *)0x60)

cudaError_t cudaLaunchKernel(const void *f, dim3 grid, dim3 block, void **args, size_t shared, cudaStream_t stream) {
  note_stream(stream);
  return cudaSuccess;
}
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *config, const void *f, void **args) {
  note_stream(config->stream);
  return cudaSuccess;
}
cudaError_t cudaLaunchCooperativeKernel(const void *f, dim3 grid, dim3 block, void **args, size_t shared,
                                        cudaStream_t stream) {
  note_stream(stream);
  return cudaSuccess;
}
cudaError_t cudaFuncSetAttribute(const void *f, enum cudaFuncAttribute attribute, int value) { return cudaSuccess; }
cudaError_t cudaFuncSetCacheConfig(const void *f, enum cudaFuncCache config) { return cudaSuccess; }
cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *attributes, const void *f) {
  memset(attributes, 0, sizeof *attributes);
  attributes->ptxVersion = attributes->binaryVersion = major() * 10 + minor();
  attributes->maxThreadsPerBlock = 1024;
  attributes->maxDynamicSharedSizeBytes = shared_memory();
  attributes->numRegs = 32;
  return cudaSuccess;
}
/* What fits by threads and shared memory; the registers of a kernel are not known. */
static int blocks_that_fit(int threads, size_t shared) {
  int blocks = device_attribute(cudaDevAttrMaxBlocksPerMultiprocessor, 0);
  int by_threads = threads > 0 ? device_attribute(cudaDevAttrMaxThreadsPerMultiProcessor, 0) / threads : blocks;
  int by_memory = (int)((size_t)device_attribute(cudaDevAttrMaxSharedMemoryPerMultiprocessor, 0) / (shared + 1024));
  if (by_threads < blocks) blocks = by_threads;
  return by_memory < blocks ? by_memory : blocks;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, const void *f, int threads,
                                                                   size_t shared, unsigned flags) {
  *blocks = blocks_that_fit(threads, shared);
  return cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, const void *f, int threads, size_t shared) {
  *blocks = blocks_that_fit(threads, shared);
  return cudaSuccess;
}
cudaError_t cudaOccupancyMaxPotentialClusterSize(int *size, const void *f, const cudaLaunchConfig_t *config) {
  *size = 8;
  return cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveClusters(int *clusters, const void *f, const cudaLaunchConfig_t *config) {
  *clusters = num_sms() / 8;
  return cudaSuccess;
}
cudaError_t cudaGetFuncBySymbol(cudaFunction_t *f, const void *symbol) { *f = (cudaFunction_t)FOREIGN; return cudaSuccess; }
cudaError_t cudaGetKernel(cudaKernel_t *kernel, const void *symbol) { *kernel = (cudaKernel_t)FOREIGN; return cudaSuccess; }
cudaError_t cudaKernelSetAttributeForDevice(cudaKernel_t kernel, enum cudaFuncAttribute a, int value, int device) {
  return cudaSuccess;
}
cudaError_t cudaLibraryLoadData(cudaLibrary_t *library, const void *code, enum cudaJitOption *jit, void **jit_values,
                                unsigned n, enum cudaLibraryOption *options, void **values, unsigned m) {
  *library = MODULE;
  return cudaSuccess;
}
cudaError_t cudaLibraryUnload(cudaLibrary_t library) { return cudaSuccess; }
cudaError_t cudaLibraryGetKernel(cudaKernel_t *kernel, cudaLibrary_t library, const char *name) {
  *kernel = (cudaKernel_t)FOREIGN;
  return cudaSuccess;
}

CUresult cuModuleLoad(CUmodule *module, const char *file) { *module = MODULE; return CUDA_SUCCESS; }
CUresult cuModuleLoadData(CUmodule *module, const void *image) { *module = MODULE; return CUDA_SUCCESS; }
CUresult cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned n, CUjit_option *options, void **values) {
  *module = MODULE;
  return CUDA_SUCCESS;
}
CUresult cuModuleLoadFatBinary(CUmodule *module, const void *image) { *module = MODULE; return CUDA_SUCCESS; }
CUresult cuModuleUnload(CUmodule module) { return CUDA_SUCCESS; }
CUresult cuModuleGetFunction(CUfunction *f, CUmodule module, const char *name) {
  *f = (CUfunction)FOREIGN;
  return CUDA_SUCCESS;
}
CUresult cuModuleGetGlobal_v2(CUdeviceptr *pointer, size_t *size, CUmodule module, const char *name) {
  if (pointer) *pointer = (CUdeviceptr)symbol_memory();
  if (size) *size = 8;
  return CUDA_SUCCESS;
}
CUresult cuLibraryLoadData(CUlibrary *library, const void *code, CUjit_option *jit, void **jit_values, unsigned n,
                           CUlibraryOption *options, void **values, unsigned m) {
  *library = MODULE;
  return CUDA_SUCCESS;
}
CUresult cuLibraryGetKernel(CUkernel *kernel, CUlibrary library, const char *name) {
  *kernel = (CUkernel)FOREIGN;
  return CUDA_SUCCESS;
}
CUresult cuLibraryGetModule(CUmodule *module, CUlibrary library) { *module = MODULE; return CUDA_SUCCESS; }
CUresult cuLibraryGetGlobal(CUdeviceptr *pointer, size_t *size, CUlibrary library, const char *name) {
  return cuModuleGetGlobal_v2(pointer, size, MODULE, name);
}
CUresult cuKernelSetAttribute(CUfunction_attribute attribute, int value, CUkernel kernel, CUdevice device) {
  return CUDA_SUCCESS;
}
CUresult cuKernelGetAttribute(int *value, CUfunction_attribute attribute, CUkernel kernel, CUdevice device) {
  return cuFuncGetAttribute(value, attribute, (CUfunction)FOREIGN);
}
CUresult cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction f) {
  int threads = attribute == CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK;
  *value = threads ? 1024 : attribute == CU_FUNC_ATTRIBUTE_NUM_REGS ? 32 : 0;
  return CUDA_SUCCESS;
}
CUresult cuFuncSetCacheConfig(CUfunction f, CUfunc_cache config) { return CUDA_SUCCESS; }
CUresult cuLaunchKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                        unsigned shared, CUstream stream, void **parameters, void **extra) {
  note_stream(stream);
  return CUDA_SUCCESS;
}
CUresult cuLaunchCooperativeKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                                   unsigned bz, unsigned shared, CUstream stream, void **parameters) {
  note_stream(stream);
  return CUDA_SUCCESS;
}
CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction f, int threads, size_t shared) {
  *blocks = blocks_that_fit(threads, shared);
  return CUDA_SUCCESS;
}
CUresult cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, CUfunction f, int threads, size_t shared,
                                                              unsigned flags) {
  *blocks = blocks_that_fit(threads, shared);
  return CUDA_SUCCESS;
}
CUresult cuOccupancyMaxActiveClusters(int *clusters, CUfunction f, const CUlaunchConfig *config) {
  *clusters = num_sms() / 8;
  return CUDA_SUCCESS;
}
CUresult cuOccupancyMaxPotentialClusterSize(int *size, CUfunction f, const CUlaunchConfig *config) {
  *size = 8;
  return CUDA_SUCCESS;
}
