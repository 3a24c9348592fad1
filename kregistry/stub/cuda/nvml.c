/* The part of NVML that engines ask before they start: how many devices, which, and how much memory. A library of its
 * own (SONAME libnvidia-ml.so.1); it asks the stub GPU.
 */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

extern int cuDeviceGetCount(int *), cuDeviceGetName(char *, int, int), cuDeviceGetAttribute(int *, int, int);
extern int cuDeviceTotalMem_v2(size_t *, int), cuDeviceGetPCIBusId(char *, int, int), cuDriverGetVersion(int *);

#define NOT_SUPPORTED 3
#define INDEX(handle) ((int)((unsigned long)(handle) - 1))
static int count(void) { int n = 0; return cuDeviceGetCount(&n), n; }
static int attribute(int a) { int value = 0; return cuDeviceGetAttribute(&value, a, 0), value; }

int nvmlInit_v2(void) { return 0; }
int nvmlInit(void) { return 0; }
int nvmlInitWithFlags(unsigned flags) { return 0; }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int error) { return error ? "refused by the stub GPU" : "success"; }
int nvmlSystemGetDriverVersion(char *text, unsigned size) { snprintf(text, size, "580.00"); return 0; }
int nvmlSystemGetNVMLVersion(char *text, unsigned size) { snprintf(text, size, "13.580.00"); return 0; }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { return cuDriverGetVersion(version); }
int nvmlDeviceGetCount_v2(unsigned *n) { *n = (unsigned)count(); return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
  *device = (void *)(index + 1ul);
  return (int)index < count() ? 0 : 2; /* NVML_ERROR_INVALID_ARGUMENT */
}
int nvmlDeviceGetHandleByPciBusId_v2(const char *text, void **device) {
  unsigned bus = 1;
  sscanf(text, "%*x:%x", &bus);
  return nvmlDeviceGetHandleByIndex_v2(bus - 1, device);
}
int nvmlDeviceGetHandleByUUID(const char *text, void **device) {
  unsigned index = 0;
  sscanf(text, "GPU-%2x", &index);
  return nvmlDeviceGetHandleByIndex_v2(index, device);
}
int nvmlDeviceGetIndex(void *device, unsigned *index) { *index = INDEX(device); return 0; }
int nvmlDeviceGetMinorNumber(void *device, unsigned *number) { *number = INDEX(device); return 0; }
int nvmlDeviceGetName(void *device, char *text, unsigned size) { return cuDeviceGetName(text, (int)size, INDEX(device)); }
int nvmlDeviceGetUUID(void *device, char *text, unsigned size) {
  snprintf(text, size, "GPU-%02x000000-0000-0000-0000-000000000000", INDEX(device));
  return 0;
}
int nvmlDeviceGetCudaComputeCapability(void *device, int *a, int *b) {
  *a = attribute(75);
  *b = attribute(76);
  return 0;
}
struct memory { unsigned long long total, free, used; };
int nvmlDeviceGetMemoryInfo(void *device, struct memory *m) {
  size_t total = 0;
  cuDeviceTotalMem_v2(&total, INDEX(device));
  *m = (struct memory){total, total, 0};
  return 0;
}
struct memory_v2 { unsigned version; unsigned long long total, reserved, free, used; };
int nvmlDeviceGetMemoryInfo_v2(void *device, struct memory_v2 *m) {
  struct memory plain;
  nvmlDeviceGetMemoryInfo(device, &plain);
  m->total = plain.total;
  m->free = plain.free;
  m->reserved = m->used = 0;
  return 0;
}
int nvmlDeviceGetP2PStatus(void *a, void *b, int index, int *status) { *status = 0; return 0; }
int nvmlDeviceGetTopologyCommonAncestor(void *a, void *b, int *level) { *level = 0; return 0; }
int nvmlDeviceGetNvLinkRemoteDeviceType(void *device, unsigned link, int *type) { return NOT_SUPPORTED; }
int nvmlDeviceGetNvLinkRemotePciInfo_v2(void *device, unsigned link, void *info) { return NOT_SUPPORTED; }
int nvmlDeviceGetComputeRunningProcesses(void *device, unsigned *n, void *list) { *n = 0; return 0; }
int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *n, void *list) { *n = 0; return 0; }
int nvmlDeviceGetNvLinkState(void *device, unsigned link, int *active) { *active = 0; return 0; }
int nvmlDeviceGetMigMode(void *device, unsigned *current, unsigned *pending) { *current = *pending = 0; return 0; }
