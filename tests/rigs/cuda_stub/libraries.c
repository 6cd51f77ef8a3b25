/* cuBLAS, cuBLASLt, cuRAND, cuFFT, cuDNN and the driver without a device: handles are made, nothing is computed.

   Built once a library (-DLIBRARY_...); see build.py. What is not here is generated and returns success. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int status;
static status make(void **handle) { *handle = calloc(1, 512); return 0; }

#ifdef LIBRARY_CUBLAS
status cublasCreate_v2(void **handle) { return make(handle); }
status cublasGetMathMode(void *handle, int *mode) { *mode = 0; return 0; }
const char *cublasGetStatusName(status code) { return "CUBLAS_STATUS"; }
const char *cublasGetStatusString(status code) { return "stub"; }
#endif

#ifdef LIBRARY_CUBLASLT
#define HEURISTIC_RESULT_BYTES 96
status cublasLtCreate(void **handle) { return make(handle); }
status cublasLtMatmulDescCreate(void **made) { return make(made); }
status cublasLtMatmulPreferenceCreate(void **made) { return make(made); }
status cublasLtMatrixLayoutCreate(void **made) { return make(made); }
status cublasLtMatrixTransformDescCreate(void **made) { return make(made); }
status cublasLtMatmulAlgoGetHeuristic(void *handle, void *operation, void *a, void *b, void *c, void *d, void *preference,
                                      int asked, void *results, int *given) {
    memset(results, 0, HEURISTIC_RESULT_BYTES * asked);
    *given = 1;
    return 0;
}
#endif

#ifdef LIBRARY_CUDNN
/* Each descriptor of the classic interface is a block of memory. */
#define MAKES(name) status cudnnCreate##name(void **made) { return make(made); }
MAKES() MAKES(ActivationDescriptor) MAKES(ConvolutionDescriptor) MAKES(DropoutDescriptor) MAKES(FilterDescriptor)
MAKES(LRNDescriptor) MAKES(PoolingDescriptor) MAKES(RNNDataDescriptor) MAKES(RNNDescriptor)
MAKES(ReduceTensorDescriptor) MAKES(TensorDescriptor)

static void *stream_of_all;
status cudnnSetStream(void *handle, void *stream) { stream_of_all = stream; return 0; }
status cudnnGetStream(void *handle, void **stream) { *stream = stream_of_all; return 0; }
size_t cudnnGetVersion(void) { return 92801; }
size_t cudnnGetCudartVersion(void) { return 13000; }
const char *cudnnGetErrorString(status code) { return "CUDNN_STATUS"; }
void cudnnGetLastErrorString(char *text, size_t size) { snprintf(text, size, "stub"); }

#define WORKSPACE_BYTES 4096
status cudnnDropoutGetStatesSize(void *handle, size_t *size) { *size = WORKSPACE_BYTES; return 0; }
status cudnnGetReductionIndicesSize(void *h, void *r, void *a, void *c, size_t *size) { *size = WORKSPACE_BYTES; return 0; }
status cudnnGetReductionWorkspaceSize(void *h, void *r, void *a, void *c, size_t *size) { *size = WORKSPACE_BYTES; return 0; }
status cudnnGetConvolutionForwardWorkspaceSize(void *h, void *x, void *w, void *c, void *y, int algorithm, size_t *size) {
    *size = WORKSPACE_BYTES;
    return 0;
}

/* The graph interface: one engine, one configuration, no workspace, for whatever is asked. */
enum {
    HEURISTIC_RESULTS = 202, CONFIGURATION_ENGINE = 300, CONFIGURATION_WORKSPACE = 303, CONFIGURATION_SHARED_MEMORY = 304,
    PLAN_WORKSPACE = 402, GRAPH_ENGINES = 802, ENGINE_NUMBER = 1301
};
status cudnnBackendCreateDescriptor(int kind, void **made) { return make(made); }
status cudnnBackendDestroyDescriptor(void *made) { free(made); return 0; }
status cudnnBackendGetAttribute(void *of, int name, int type, int64_t room, int64_t *count, void *values) {
    int64_t found = 0, value = 0;
    switch (name) {
        case GRAPH_ENGINES: value = 1; /* fall through */
        case CONFIGURATION_WORKSPACE: case PLAN_WORKSPACE: case ENGINE_NUMBER:
            if (values) memcpy(values, &value, sizeof value);
            found = 1;
            break;
        case CONFIGURATION_SHARED_MEMORY:
            if (values) memcpy(values, &value, sizeof(int32_t));
            found = 1;
            break;
        case HEURISTIC_RESULTS: case CONFIGURATION_ENGINE: found = 1; /* into descriptors of the caller's */
    }
    if (count) *count = found;
    return 0;
}
#endif
