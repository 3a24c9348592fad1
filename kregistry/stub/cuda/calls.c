/* Calls of functions through TVM FFI, which DeepGEMM's Python package makes: one can be noted, and made again for many
 * values of the run-time dimension, with the sizes and integers that each value has. DeepGEMM's host code decides each.
 *
 * Two noted calls say which fields depend on the value, and how: they must grow with it linearly. What a call refers to
 * (tensors, strings) stays alive as long as the caller keeps the buffers; small containers are held.
 */
#include "stub.h"

#include <dlfcn.h>

void kregistry_stub_mark(void); /* of the stub, which is preloaded too */

#define MAX_ARGUMENTS 32
#define MAX_DIMENSIONS 8
#define MAX_TEXT 64

/* As in tvm/ffi/c_api.h, whose layout is stable (TVM_FFI_VERSION_MAJOR 0, ABI of dlpack 1). */
enum { NONE = 0, INT = 1, BOOL = 2, FLOAT = 3, DATA_TYPE = 5, DEVICE = 6, TENSOR_POINTER = 7, RAW_TEXT = 8,
       SMALL_TEXT = 11, FIRST_OBJECT = 64, TEXT = 65, TENSOR = 70, ARRAY = 71 };
typedef struct { int32_t type; uint32_t length; union { int64_t number; void *pointer; const char *text; }; } Any;
typedef struct {
  void *data; int32_t device[2]; int32_t dimensions; int32_t type; int64_t *shape, *strides; uint64_t offset;
} Tensor;
typedef struct { uint64_t count; int32_t type; uint32_t padding; void *deleter; } Header;
typedef struct { Header header; Any *data; int64_t size; } Array;
typedef struct { Header header; const char *data; size_t size; } Text;

typedef struct {
  void *function;
  int count;
  Any arguments[MAX_ARGUMENTS];
  Tensor tensors[MAX_ARGUMENTS];
  int64_t sizes[MAX_ARGUMENTS][2 * MAX_DIMENSIONS];
  char texts[MAX_ARGUMENTS][MAX_TEXT];
} Call;

static Call noted[3]; /* two samples, and the call that is compared or made */
static int64_t slope[MAX_ARGUMENTS][2 * MAX_DIMENSIONS];
static int64_t base; /* the value of the first sample */
static int noting = -1, depth, count_noted, usable;
static long failed_count;
static int64_t failed[1 << 20];

static int (*call)(void *, Any *, int32_t, Any *);
static int (*keep)(void *), (*release)(void *);
static void (*take_error)(void **);

static int find(void) {
  void *library = call ? NULL : dlopen("libtvm_ffi.so", RTLD_LAZY | RTLD_NOLOAD);
  if (library) {
    call = (int (*)(void *, Any *, int32_t, Any *))dlsym(library, "TVMFFIFunctionCall");
    keep = (int (*)(void *))dlsym(library, "TVMFFIObjectIncRef");
    release = (int (*)(void *))dlsym(library, "TVMFFIObjectDecRef");
    take_error = (void (*)(void **))dlsym(library, "TVMFFIErrorMoveFromRaised");
  }
  return call && keep && release && take_error;
}

/* Copy a call; 0 if it has an argument of a kind that cannot be repeated. */
static int note(Call *to, void *function, const Any *arguments, int count) {
  if (count > MAX_ARGUMENTS) return 0;
  memset(to, 0, sizeof *to);
  to->function = function;
  to->count = count;
  for (int i = 0; i < count; i++) {
    Any *argument = &to->arguments[i];
    *argument = arguments[i];
    if (argument->type == TENSOR_POINTER || argument->type == TENSOR) {
      Tensor *tensor = argument->pointer;
      if (argument->type == TENSOR) tensor = (Tensor *)((Header *)argument->pointer + 1);
      if (tensor->dimensions > MAX_DIMENSIONS || !tensor->strides) return 0;
      to->tensors[i] = *tensor;
      for (int d = 0; d < tensor->dimensions; d++) {
        to->sizes[i][d] = tensor->shape[d];
        to->sizes[i][MAX_DIMENSIONS + d] = tensor->strides[d];
      }
      argument->type = TENSOR_POINTER;
    } else if (argument->type == RAW_TEXT || argument->type == TEXT) {
      const char *text = argument->type == TEXT ? ((Text *)argument->pointer)->data : argument->text;
      if (strlen(text) >= MAX_TEXT) return 0;
      strcpy(to->texts[i], text);
      argument->type = RAW_TEXT;
    } else if (argument->type == ARRAY) {
      Array *array = argument->pointer;
      if (array->size > MAX_DIMENSIONS) return 0;
      for (int d = 0; d < array->size; d++) {
        if (array->data[d].type != INT) return 0;
        to->sizes[i][d] = array->data[d].number;
      }
      to->sizes[i][MAX_DIMENSIONS] = array->size;
      keep(array); /* a few bytes for each call that is noted */
    } else if (argument->type == INT) {
      to->sizes[i][0] = argument->number;
    } else if (argument->type > SMALL_TEXT || argument->type == 4 || argument->type == 9 || argument->type == 10) {
      return 0;
    }
  }
  return 1;
}

/* Everything of two calls that must not depend on the value. */
static int alike(const Call *a, const Call *b) {
  if (a->function != b->function || a->count != b->count) return 0;
  for (int i = 0; i < a->count; i++) {
    const Any *x = &a->arguments[i], *y = &b->arguments[i];
    const Tensor *s = &a->tensors[i], *t = &b->tensors[i];
    if (x->type != y->type) return 0;
    if (x->type == TENSOR_POINTER) {
      if (s->data != t->data || s->dimensions != t->dimensions || s->type != t->type || s->offset != t->offset) return 0;
      if (memcmp(s->device, t->device, sizeof s->device)) return 0;
    } else if (x->type == RAW_TEXT) {
      if (strcmp(a->texts[i], b->texts[i])) return 0;
    } else if (x->type == ARRAY) {
      if (memcmp(a->sizes[i], b->sizes[i], sizeof a->sizes[i])) return 0;
    } else if (x->type != INT && x->type != NONE) {
      if (x->length != y->length || x->number != y->number) return 0;
    }
  }
  return 1;
}

int TVMFFIFunctionCall(void *function, Any *arguments, int32_t count, Any *result) {
  if (!find()) return -1;
  if (noting >= 0 && depth == 0 && ++count_noted == 1) usable = note(&noted[noting], function, arguments, count);
  depth++;
  int code = call(function, arguments, count, result);
  depth--;
  return code;
}

/* Note the next call as sample 0 or 1, or (2) to compare it; -1: note none. */
void kregistry_stub_note(int sample) {
  find();
  noting = sample;
  count_noted = usable = 0;
}

/* Whether exactly one call was made since, and it can be repeated. */
int kregistry_stub_noted(void) {
  noting = -1;
  return count_noted == 1 && usable;
}

/* Whether all fields of the two samples, noted at two values, differ linearly; then the calls can be repeated. */
int kregistry_stub_linear(int64_t first, int64_t last) {
  if (!alike(&noted[0], &noted[1]) || last <= first) return 0;
  base = first;
  for (int i = 0; i < noted[0].count; i++)
    for (int d = 0; d < 2 * MAX_DIMENSIONS; d++) {
      int64_t grown = noted[1].sizes[i][d] - noted[0].sizes[i][d];
      if (grown % (last - first)) return 0;
      slope[i][d] = grown / (last - first);
    }
  return 1;
}

/* Whether the call that was noted as sample 2 is the one that would be made at a value. */
int kregistry_stub_agrees(int64_t value) {
  if (!kregistry_stub_noted() || !alike(&noted[0], &noted[2])) return 0;
  for (int i = 0; i < noted[0].count; i++)
    for (int d = 0; d < 2 * MAX_DIMENSIONS; d++)
      if (noted[2].sizes[i][d] != noted[0].sizes[i][d] + (value - base) * slope[i][d]) return 0;
  return 1;
}

/* Make the call at each value; returns at how many DeepGEMM raised an error, which kregistry_stub_failed names. */
long kregistry_stub_repeat(int64_t start, int64_t step, long count) {
  Call *made = &noted[2];
  *made = noted[0];
  for (int i = 0; i < made->count; i++) {
    Any *argument = &made->arguments[i];
    if (argument->type == RAW_TEXT) argument->text = made->texts[i];
    if (argument->type != TENSOR_POINTER) continue;
    made->tensors[i].shape = made->sizes[i];
    made->tensors[i].strides = made->sizes[i] + MAX_DIMENSIONS;
    argument->pointer = &made->tensors[i];
  }
  failed_count = 0;
  for (long n = 0; n < count; n++) {
    int64_t value = start + n * step;
    Any arguments[MAX_ARGUMENTS], result = {0};
    for (int i = 0; i < made->count; i++) {
      if (made->arguments[i].type == TENSOR_POINTER)
        for (int d = 0; d < noted[0].tensors[i].dimensions; d++) {
          made->sizes[i][d] = noted[0].sizes[i][d] + (value - base) * slope[i][d];
          made->sizes[i][MAX_DIMENSIONS + d] =
              noted[0].sizes[i][MAX_DIMENSIONS + d] + (value - base) * slope[i][MAX_DIMENSIONS + d];
        }
      arguments[i] = made->arguments[i];
      if (arguments[i].type == INT) arguments[i].number = noted[0].sizes[i][0] + (value - base) * slope[i][0];
    }
    kregistry_stub_mark();
    if (call(made->function, arguments, made->count, &result)) {
      void *error = NULL;
      take_error(&error);
      if (error) release(error);
      if (failed_count < (long)(sizeof failed / sizeof *failed)) failed[failed_count] = value;
      failed_count++;
    } else if (result.type >= FIRST_OBJECT && result.pointer) {
      release(result.pointer);
    }
  }
  return failed_count;
}
const int64_t *kregistry_stub_failed(void) { return failed; }
