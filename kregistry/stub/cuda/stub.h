/* What the files of the stub GPU share. Functions without "kregistry_stub_" stay inside the library. */
#ifndef KREGISTRY_STUB_H
#define KREGISTRY_STUB_H
#define _GNU_SOURCE
#include <cuda.h>
#include <cuda_runtime_api.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HIDDEN __attribute__((visibility("hidden")))

/* device.c: the GPU that the environment describes */
#define MAX_DEVICES 16
HIDDEN long setting(const char *name, long fallback);
HIDDEN int major(void);
HIDDEN int minor(void);
HIDDEN int num_sms(void);
HIDDEN size_t memory(void);
HIDDEN int shared_memory(void);
HIDDEN int device_count(void);
HIDDEN int device_attribute(int attribute, int device);
extern HIDDEN __thread int current_device;

/* memory.c */
HIDDEN int device_of(const void *pointer); /* -1: not device memory */
HIDDEN void *take(size_t size, int device); /* NULL: the device has no room for it */
HIDDEN void give_back(void *pointer);
HIDDEN void *symbol_memory(void); /* device memory for the variables of compiled modules; not counted */
extern HIDDEN unsigned long host_reads;

/* streams.c */
struct capture;
HIDDEN void note_stream(const void *stream);
HIDDEN struct capture *capture_of(cudaStream_t stream); /* NULL: the stream is not being captured */
HIDDEN void reset_streams(void);

/* blas.c */
extern HIDDEN unsigned long cublaslt_calls;

/* modules.c: handles of code that is not DeepGEMM's; its launches are dropped */
#define FOREIGN 0x70ul

/* missing.c */
HIDDEN int missing(const char *name);
#endif
