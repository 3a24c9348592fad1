/* Tensor maps, which DeepGEMM passes to its kernels. */
#include "stub.h"

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
