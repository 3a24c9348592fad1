/* cuBLAS and cuBLASLt: products are not computed. cuBLASLt compiles nothing; its descriptor functions need no device and
 * stay the real ones. Types are plain, since the headers of cuBLAS need not be installed.
 */
#include "stub.h"

unsigned long cublaslt_calls;
unsigned long kregistry_stub_cublaslt_calls(void) { return cublaslt_calls; }

int cublasCreate_v2(void **handle) { *handle = (void *)0x90; return 0; }
int cublasGetPointerMode_v2(void *handle, int *mode) { *mode = 0; return 0; }
int cublasGetAtomicsMode(void *handle, int *mode) { *mode = 0; return 0; }
int cublasGetMathMode(void *handle, int *mode) { *mode = 0; return 0; }
int cublasGetStream_v2(void *handle, void **stream) { *stream = NULL; return 0; }
int cublasGetSmCountTarget(void *handle, int *count) { *count = 0; return 0; }
int cublasGetEmulationStrategy(void *handle, int *strategy) { *strategy = 0; return 0; }

/* The routines, in the forms that cuBLAS has them: _v2 and _64, single and double, real and complex. */
#define NOTHING(name) int cublas##name(void) { return 0; }
#define TYPES(routine) NOTHING(S##routine) NOTHING(D##routine) NOTHING(C##routine) NOTHING(Z##routine)
#define BOTH(routine) TYPES(routine) TYPES(routine##_64)
BOTH(gemm_v2) BOTH(gemv_v2) BOTH(trsm_v2) BOTH(trmm_v2) BOTH(axpy_v2) BOTH(scal_v2) BOTH(copy_v2) BOTH(swap_v2)
BOTH(syrk_v2) BOTH(symm_v2) BOTH(geam) BOTH(dgmm) BOTH(gemmBatched) BOTH(gemmStridedBatched) BOTH(gemvBatched)
BOTH(gemvStridedBatched) BOTH(trsmBatched) TYPES(getrfBatched) TYPES(getrsBatched) TYPES(getriBatched)
TYPES(geqrfBatched) TYPES(gelsBatched) TYPES(matinvBatched)
NOTHING(Sdot_v2) NOTHING(Ddot_v2) NOTHING(Cdotu_v2) NOTHING(Cdotc_v2) NOTHING(Zdotu_v2) NOTHING(Zdotc_v2)
NOTHING(Sger_v2) NOTHING(Dger_v2) NOTHING(Snrm2_v2) NOTHING(Dnrm2_v2) NOTHING(Sasum_v2) NOTHING(Dasum_v2)
NOTHING(SgemmEx) NOTHING(CgemmEx) NOTHING(GemmEx) NOTHING(GemmEx_64) NOTHING(GemmBatchedEx) NOTHING(GemmBatchedEx_64)
NOTHING(GemmStridedBatchedEx) NOTHING(GemmStridedBatchedEx_64) NOTHING(DotEx) NOTHING(Nrm2Ex) NOTHING(AxpyEx)
NOTHING(GemmGroupedBatchedEx) NOTHING(Destroy_v2) NOTHING(SetStream_v2) NOTHING(SetWorkspace_v2) NOTHING(SetMathMode)
NOTHING(SetPointerMode_v2) NOTHING(SetAtomicsMode) NOTHING(SetSmCountTarget) NOTHING(SetEmulationStrategy)

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
