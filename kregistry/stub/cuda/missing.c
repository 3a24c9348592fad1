/* Functions by name, and the functions that the stub does not have. library.py writes one weak function for each name
 * that CUDA's headers declare; those that nothing else in this library defines end up here when they are called.
 */
#include "stub.h"

#include <dlfcn.h>
#include <pthread.h>

extern char __start_kregistry_missing[] HIDDEN, __stop_kregistry_missing[] HIDDEN; /* the weak functions lie between */

/* Name a function once; the answer is cudaErrorNotSupported, which is CUDA_ERROR_NOT_SUPPORTED too. */
int missing(const char *name) {
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  static const char *named[1024];
  static unsigned count;
  pthread_mutex_lock(&lock);
  unsigned i = 0;
  while (i < count && strcmp(named[i], name)) i++;
  if (i == count && count < 1024) {
    named[count++] = name;
    fprintf(stderr, "stub: %s is not there\n", name);
  }
  pthread_mutex_unlock(&lock);
  return cudaErrorNotSupported;
}
static int is_missing(const void *f) {
  return (char *)f >= __start_kregistry_missing && (char *)f < __stop_kregistry_missing;
}
/* The newest form of a driver function: cuMemAlloc is cuMemAlloc_v2. */
static void *driver_function(const char *name) {
  static const char *suffixes[] = {"_v4", "_v3", "_v2", ""};
  char versioned[256];
  void *fallback = NULL;
  if (!strcmp(name, "cuGetProcAddress")) return cuGetProcAddress_v2;
  for (int i = 0; i < 4; i++) {
    snprintf(versioned, sizeof versioned, "%s%s", name, suffixes[i]);
    void *found = dlsym(RTLD_DEFAULT, versioned);
    if (found && !is_missing(found)) return found;
    if (found && !fallback) fallback = found;
  }
  return fallback;
}
CUresult cuGetProcAddress_v2(const char *name, void **f, int version, cuuint64_t flags,
                             CUdriverProcAddressQueryResult *status) {
  *f = driver_function(name);
  if (status) *status = *f ? CU_GET_PROC_ADDRESS_SUCCESS : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
  return *f ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}
#undef cuGetProcAddress
CUresult cuGetProcAddress(const char *name, void **f, int version, cuuint64_t flags) {
  return cuGetProcAddress_v2(name, f, version, flags, NULL);
}
cudaError_t cudaGetDriverEntryPointByVersion(const char *name, void **f, unsigned version, unsigned long long flags,
                                             enum cudaDriverEntryPointQueryResult *status) {
  CUdriverProcAddressQueryResult found;
  cuGetProcAddress_v2(name, f, (int)version, flags, &found);
  if (status) *status = *f ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  return cudaSuccess;
}
cudaError_t cudaGetDriverEntryPoint(const char *name, void **f, unsigned long long flags,
                                    enum cudaDriverEntryPointQueryResult *status) {
  return cudaGetDriverEntryPointByVersion(name, f, CUDA_VERSION, flags, status);
}

/* NVML is a library of its own name: load the one that lies beside this library, so that it is found by that name. */
__attribute__((constructor)) static void load_nvml(void) {
  Dl_info self;
  char file[4096];
  const char *name = dladdr((void *)load_nvml, &self) ? strstr(self.dli_fname, "libkregistry_stub.") : NULL;
  if (!name) return;
  snprintf(file, sizeof file, "%.*slibkregistry_nvml.%s", (int)(name - self.dli_fname), self.dli_fname,
           name + strlen("libkregistry_stub."));
  dlopen(file, RTLD_NOW | RTLD_GLOBAL);
}
