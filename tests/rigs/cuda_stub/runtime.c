/* A CUDA runtime (libcudart) without a device: memory is the host's, copies are real, kernels do nothing.

   Enough for ONNX Runtime's CUDA provider to load, place nodes, capture a graph and run. What CUDA forbids on
   a stream that is being captured is refused as CUDA refuses it. What the rest of the library needs and what has
   no behaviour of its own is generated (see build.py) and returns success.

   Environment, all optional:
     STUB_CUDA_LOG=FILE             every call that matters, one line each: thread, call, numbers
     STUB_CUDA_NO_DEVICE=1          cudaErrorNoDevice
     STUB_CUDA_OLD_DRIVER=1         cudaErrorInsufficientDriver
     STUB_CUDA_MEMORY_BYTES=N       device memory in all; beyond it cudaErrorMemoryAllocation
     STUB_CUDA_CAPTURE_FAILS=1      cudaStreamEndCapture: cudaErrorStreamCaptureInvalidated
     STUB_CUDA_HANG_AT=N            the Nth inference (replay or, uncaptured, wait for a stream) never returns
     STUB_CUDA_FAIL_AT=N            the Nth replay: cudaErrorLaunchFailure
     STUB_CUDA_HANG_AT_KERNEL=N     the Nth launch of a single kernel never returns */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "driver_types.h"

#define DEVICE_BYTES (16ull << 30)

typedef struct block { struct block *next; char *start; size_t size; enum cudaMemoryType kind; } block;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static block *blocks;
static size_t device_bytes_used;
static cudaStream_t captured_stream;
static long kernels_captured, kernels, replays;
static cudaError_t last_error;

static long setting(const char *name) { const char *text = getenv(name); return text ? atol(text) : 0; }

static void note(const char *format, ...) {
    static FILE *file;
    const char *name = getenv("STUB_CUDA_LOG");
    if (!name) return;
    pthread_mutex_lock(&lock);
    if (!file) file = fopen(name, "a");
    if (file) {
        va_list arguments;
        fprintf(file, "%ld ", (long)syscall(SYS_gettid));
        va_start(arguments, format);
        vfprintf(file, format, arguments);
        va_end(arguments);
        fputc('\n', file);
        fflush(file);
    }
    pthread_mutex_unlock(&lock);
}

static cudaError_t failed(cudaError_t error) { if (error) last_error = error; return error; }

static cudaError_t device(void) {
    if (setting("STUB_CUDA_NO_DEVICE")) return failed(cudaErrorNoDevice);
    if (setting("STUB_CUDA_OLD_DRIVER")) return failed(cudaErrorInsufficientDriver);
    return cudaSuccess;
}

/* The device is there, and no stream is being captured: such a call would be lost to the graph. */
static cudaError_t free_to(const char *call) {
    if (captured_stream) { note("refused %s", call); return failed(cudaErrorStreamCaptureUnsupported); }
    return device();
}

static void hang_at(const char *name, long count, const char *call) {
    if (setting(name) && count == setting(name)) { note("hangs %s", call); for (;;) pause(); }
}

/* Memory */

static cudaError_t allocate(void **result, size_t size, enum cudaMemoryType kind) {
    size_t limit = setting("STUB_CUDA_MEMORY_BYTES") ? (size_t)setting("STUB_CUDA_MEMORY_BYTES") : DEVICE_BYTES;
    block *made = calloc(1, sizeof *made);
    *result = NULL;
    pthread_mutex_lock(&lock);
    if (kind == cudaMemoryTypeDevice && device_bytes_used + size > limit) made->size = SIZE_MAX;
    else if (kind == cudaMemoryTypeDevice) device_bytes_used += size;
    pthread_mutex_unlock(&lock);
    if (made->size == SIZE_MAX || posix_memalign((void **)&made->start, 4096, size ? size : 1)) {
        free(made);
        return failed(cudaErrorMemoryAllocation);
    }
    memset(made->start, 0, size);
    made->size = size;
    made->kind = kind;
    pthread_mutex_lock(&lock);
    made->next = blocks;
    blocks = made;
    pthread_mutex_unlock(&lock);
    *result = made->start;
    return cudaSuccess;
}

static cudaError_t release(void *start) {
    block *gone = NULL;
    pthread_mutex_lock(&lock);
    for (block **at = &blocks; *at; at = &(*at)->next)
        if ((*at)->start == start) {
            gone = *at;
            *at = gone->next;
            if (gone->kind == cudaMemoryTypeDevice) device_bytes_used -= gone->size;
            break;
        }
    pthread_mutex_unlock(&lock);
    if (gone) { free(gone->start); free(gone); }
    return cudaSuccess;
}

cudaError_t cudaMalloc(void **result, size_t size) {
    cudaError_t error = free_to("cudaMalloc");
    if (!error) error = allocate(result, size, cudaMemoryTypeDevice);
    note("cudaMalloc %zu of %zu error %d", size, device_bytes_used, error);
    return error;
}
cudaError_t cudaMallocFromPoolAsync(void **result, size_t size, cudaMemPool_t pool, cudaStream_t stream) {
    return cudaMalloc(result, size);
}
cudaError_t cudaMallocHost(void **result, size_t size) {
    cudaError_t error = free_to("cudaMallocHost");
    note("cudaMallocHost %zu", size);
    return error ? error : allocate(result, size, cudaMemoryTypeHost);
}
cudaError_t cudaHostAlloc(void **result, size_t size, unsigned flags) { return cudaMallocHost(result, size); }
cudaError_t cudaFree(void *start) { cudaError_t error = free_to("cudaFree"); return error ? error : release(start); }
cudaError_t cudaFreeHost(void *start) { return release(start); }
cudaError_t cudaFreeAsync(void *start, cudaStream_t stream) { return release(start); }
cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total) {
    *total = setting("STUB_CUDA_MEMORY_BYTES") ? (size_t)setting("STUB_CUDA_MEMORY_BYTES") : DEVICE_BYTES;
    *free_bytes = *total - device_bytes_used;
    return device();
}
cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *found, const void *pointer) {
    memset(found, 0, sizeof *found);
    pthread_mutex_lock(&lock);
    for (block *at = blocks; at; at = at->next)
        if ((char *)pointer >= at->start && (char *)pointer < at->start + at->size) {
            found->type = at->kind;
            found->devicePointer = (void *)pointer;
            if (at->kind == cudaMemoryTypeHost) found->hostPointer = (void *)pointer;
        }
    pthread_mutex_unlock(&lock);
    return cudaSuccess;
}

/* "pinned" or "pageable", for the host's side of a copy. */
static const char *host_side(const void *to, const void *from, enum cudaMemcpyKind kind) {
    struct cudaPointerAttributes found;
    if (kind == cudaMemcpyDeviceToDevice || kind == cudaMemcpyHostToHost) return "-";
    cudaPointerGetAttributes(&found, kind == cudaMemcpyHostToDevice ? from : to);
    return found.type == cudaMemoryTypeHost ? "pinned" : "pageable";
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t size, enum cudaMemcpyKind kind) {
    cudaError_t error = free_to("cudaMemcpy");
    if (error) return error;
    note("cudaMemcpy %zu kind %d %s", size, kind, host_side(to, from, kind));
    memcpy(to, from, size);
    return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t size, enum cudaMemcpyKind kind, cudaStream_t stream) {
    note("cudaMemcpyAsync %zu kind %d %s%s", size, kind, host_side(to, from, kind), captured_stream ? " captured" : "");
    memcpy(to, from, size);
    return cudaSuccess;
}
cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width, size_t height,
                              enum cudaMemcpyKind kind, cudaStream_t stream) {
    for (size_t row = 0; row < height; row++)
        memcpy((char *)to + row * to_pitch, (const char *)from + row * from_pitch, width);
    return cudaSuccess;
}
cudaError_t cudaMemcpyFromSymbol(void *to, const void *symbol, size_t size, size_t offset, enum cudaMemcpyKind kind) {
    memset(to, 0, size);
    return cudaSuccess;
}
cudaError_t cudaMemset(void *start, int value, size_t size) {
    cudaError_t error = free_to("cudaMemset");
    if (!error) memset(start, value, size);
    return error;
}
cudaError_t cudaMemsetAsync(void *start, int value, size_t size, cudaStream_t stream) {
    memset(start, value, size);
    return cudaSuccess;
}

/* The device: a data centre GPU of compute capability 9.0 */

cudaError_t cudaGetDeviceCount(int *count) { cudaError_t error = device(); *count = error ? 0 : 1; return error; }
cudaError_t cudaGetDevice(int *number) { *number = 0; return device(); }
cudaError_t cudaSetDevice(int number) { return number ? failed(cudaErrorInvalidDevice) : device(); }
cudaError_t cudaDriverGetVersion(int *version) { *version = setting("STUB_CUDA_OLD_DRIVER") ? 12040 : 13000; return cudaSuccess; }
cudaError_t cudaRuntimeGetVersion(int *version) { *version = 13000; return cudaSuccess; }

static void describe(struct cudaDeviceProp *found) {
    memset(found, 0, sizeof *found);
    strcpy(found->name, "Stub of a GPU");
    found->major = 9;
    found->totalGlobalMem = DEVICE_BYTES;
    found->multiProcessorCount = 64;
    found->warpSize = 32;
    found->maxThreadsPerBlock = 1024;
    found->maxThreadsPerMultiProcessor = 2048;
    found->maxThreadsDim[0] = found->maxThreadsDim[1] = 1024;
    found->maxThreadsDim[2] = 64;
    found->maxGridSize[0] = 0x7fffffff;
    found->maxGridSize[1] = found->maxGridSize[2] = 0xffff;
    found->regsPerBlock = 65536;
    found->sharedMemPerBlock = 48 << 10;
    found->sharedMemPerBlockOptin = 227 << 10;
    found->sharedMemPerMultiprocessor = 228 << 10;
    found->l2CacheSize = 32 << 20;
    found->memoryPoolsSupported = 1;
    found->unifiedAddressing = 1;
}
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *found, int number) { describe(found); return device(); }
cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr which, int number) {
    struct cudaDeviceProp is;
    describe(&is);
    switch ((int)which) {
        case cudaDevAttrMaxThreadsPerBlock: *value = is.maxThreadsPerBlock; break;
        case cudaDevAttrMaxSharedMemoryPerBlock: *value = is.sharedMemPerBlock; break;
        case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = is.sharedMemPerBlockOptin; break;
        case cudaDevAttrWarpSize: *value = is.warpSize; break;
        case cudaDevAttrMultiProcessorCount: *value = is.multiProcessorCount; break;
        case cudaDevAttrMaxThreadsPerMultiProcessor: *value = is.maxThreadsPerMultiProcessor; break;
        case cudaDevAttrComputeCapabilityMajor: *value = is.major; break;
        case cudaDevAttrComputeCapabilityMinor: *value = is.minor; break;
        default: *value = 1;
    }
    return device();
}
cudaError_t cudaDeviceSynchronize(void) {
    cudaError_t error = free_to("cudaDeviceSynchronize");
    note("cudaDeviceSynchronize");
    return error;
}

/* Streams, events, capture */

static void *handle(void) { return calloc(1, 256); }

cudaError_t cudaStreamCreate(cudaStream_t *stream) { *stream = handle(); return device(); }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags) { *stream = handle(); return device(); }
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    cudaError_t error = free_to("cudaStreamSynchronize");
    note("cudaStreamSynchronize %s", stream ? "own" : "default");
    return error;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, enum cudaStreamCaptureStatus *status) {
    *status = stream && stream == captured_stream ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
    return cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode) {
    note("cudaStreamBeginCapture mode %d", mode);
    captured_stream = stream;
    kernels_captured = 0;
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph) {
    cudaError_t error = setting("STUB_CUDA_CAPTURE_FAILS") ? cudaErrorStreamCaptureInvalidated : cudaSuccess;
    note("cudaStreamEndCapture kernels %ld error %d", kernels_captured, error);
    captured_stream = NULL;
    *graph = error ? NULL : handle();
    return failed(error);
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *made, cudaGraph_t graph, unsigned long long flags) {
    *made = handle();
    return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
    note("cudaGraphLaunch %ld", ++replays);
    hang_at("STUB_CUDA_HANG_AT", replays, "cudaGraphLaunch");
    return setting("STUB_CUDA_FAIL_AT") && replays >= setting("STUB_CUDA_FAIL_AT") ? failed(cudaErrorLaunchFailure) : cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t *event) { *event = handle(); return cudaSuccess; }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags) { *event = handle(); return cudaSuccess; }
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to) { *ms = 1; return cudaSuccess; }
cudaError_t cudaEventSynchronize(cudaEvent_t event) { return free_to("cudaEventSynchronize"); }

/* Kernels: counted, never run. Their arguments are not looked at. */

static cudaError_t launch(void) {
    ++kernels;
    hang_at("STUB_CUDA_HANG_AT_KERNEL", kernels, "cudaLaunchKernel");
    if (captured_stream) ++kernels_captured;
    return cudaSuccess;
}
cudaError_t cudaLaunchKernel(void) { return launch(); }
cudaError_t __cudaLaunchKernel(void) { return launch(); }
cudaError_t cudaLaunchKernelExC(void) { return launch(); }
cudaError_t cudaLaunchCooperativeKernel(void) { return launch(); }
cudaError_t __cudaPopCallConfiguration(unsigned *grid, unsigned *shape, size_t *shared, void **stream) {
    for (int side = 0; side < 3; side++) grid[side] = shape[side] = 1;
    *shared = 0;
    *stream = NULL;
    return cudaSuccess;
}
cudaError_t __cudaGetKernel(void **kernel, const void *function) { *kernel = (void *)function; return cudaSuccess; }
void **__cudaRegisterFatBinary(void *binary) { static void *registered; return &registered; }
cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *found, const void *function) {
    memset(found, 0, sizeof *found);
    found->maxThreadsPerBlock = 1024;
    found->binaryVersion = found->ptxVersion = 90;
    return cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *count) { *count = 1; return cudaSuccess; }
cudaError_t cudaLibraryLoadData(void **library) { *library = handle(); return cudaSuccess; }
cudaError_t cudaLibraryGetKernel(void **kernel) { *kernel = handle(); return cudaSuccess; }
cudaError_t cudaMemPoolCreate(void **pool) { *pool = handle(); return cudaSuccess; }
cudaError_t cudaMemPoolGetAttribute(void *pool, int which, uint64_t *value) { *value = 0; return cudaSuccess; }

static int nothing(void) { return 0; }
cudaError_t cudaGetDriverEntryPointByVersion(const char *symbol, void **function, unsigned version,
                                             unsigned long long flags, enum cudaDriverEntryPointQueryResult *result) {
    *function = (void *)nothing;
    if (result) *result = cudaDriverEntryPointSuccess;
    return cudaSuccess;
}

/* Errors */

cudaError_t cudaGetLastError(void) { cudaError_t error = last_error; last_error = cudaSuccess; return error; }
cudaError_t cudaPeekAtLastError(void) { return last_error; }
const char *cudaGetErrorName(cudaError_t error) {
    switch (error) {
        case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
        case cudaErrorInsufficientDriver: return "cudaErrorInsufficientDriver";
        case cudaErrorNoDevice: return "cudaErrorNoDevice";
        case cudaErrorLaunchFailure: return "cudaErrorLaunchFailure";
        case cudaErrorStreamCaptureUnsupported: return "cudaErrorStreamCaptureUnsupported";
        case cudaErrorStreamCaptureInvalidated: return "cudaErrorStreamCaptureInvalidated";
        default: return "cudaErrorUnknown";
    }
}
const char *cudaGetErrorString(cudaError_t error) {
    switch (error) {
        case cudaErrorMemoryAllocation: return "out of memory";
        case cudaErrorInsufficientDriver: return "CUDA driver version is insufficient for CUDA runtime version";
        case cudaErrorNoDevice: return "no CUDA-capable device is detected";
        case cudaErrorLaunchFailure: return "unspecified launch failure";
        case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
        case cudaErrorStreamCaptureInvalidated: return "operation failed due to a previous error during capture";
        default: return "unknown error";
    }
}
