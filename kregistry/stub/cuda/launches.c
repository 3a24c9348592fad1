/* DeepGEMM's kernels: file -> library -> kernel -> function -> launch. Which cubin file each launch belongs to is
 * recorded, so that DeepGEMM's host code decides as it would on the real device, and we see what it decided.
 */
#include "stub.h"

#include <sys/mman.h>

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
  launch_count = mark_count = host_reads = cublaslt_calls = 0;
  reset_streams();
}
void kregistry_stub_reset_launches(void) { launch_count = mark_count = 0; }
void kregistry_stub_mark(void) {
  if (mark_count < MAX_MARKS) marks[mark_count] = (uint32_t)launch_count;
  mark_count++;
}
/* Writes the number of each mark after which other libraries are launched than after the one before; returns how many.
 * The first one is 0. The last mark is the end, so there must be two. */
unsigned long kregistry_stub_changes(uint32_t *numbers) {
  unsigned long count = 0;
  for (unsigned long i = 0; i + 1 < mark_count && mark_count <= MAX_MARKS; i++) {
    unsigned long length = marks[i + 1] - marks[i];
    int same = i && length == marks[i] - marks[i - 1] &&
               !memcmp(launches + marks[i], launches + marks[i - 1], length * sizeof *launches);
    if (!same) numbers[count++] = (uint32_t)i;
  }
  return count;
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
  int foreign = kernel == (CUkernel)FOREIGN;
  *function = foreign ? (CUfunction)FOREIGN : (CUfunction)((unsigned long)kernel - KERNEL_TAG + FUNCTION_TAG);
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
  note_stream(config->hStream);
  if (function == (CUfunction)FOREIGN) return CUDA_SUCCESS;
  open_tables();
  if (launch_count < MAX_LAUNCHES) launches[launch_count] = (uint32_t)((unsigned long)function - FUNCTION_TAG);
  launch_count++;
  return CUDA_SUCCESS;
}
