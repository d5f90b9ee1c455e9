// How a grid goes through arrays.
namespace rectifier {

__device__ __forceinline__ long long thread_of_grid() { return (long long)blockIdx.x * blockDim.x + threadIdx.x; }
__device__ __forceinline__ long long threads_of_grid() { return (long long)gridDim.x * blockDim.x; }

// What a thread loads or stores at once.
template <typename S> struct alignas(16) Vector { S at[16 / sizeof(S)]; };
template <typename S> __device__ __forceinline__ unsigned place(const S *const p) {
    return unsigned(reinterpret_cast<size_t>(p) & 15);
}
template <typename S> __device__ __forceinline__ Vector<S> load(const S *const p) {
    Vector<S> v;
    if (place(p) == 0) {
        const uint4 bits = *reinterpret_cast<const uint4 *>(p);
        memcpy(&v, &bits, 16);
    } else
#pragma unroll
        for (int k = 0; k < int(16 / sizeof(S)); k++)
            v.at[k] = p[k];
    return v;
}
template <typename S> __device__ __forceinline__ void store(S *const p, const Vector<S> &v) {
    if (place(p) == 0) {
        uint4 bits;
        memcpy(&bits, &v, 16);
        *reinterpret_cast<uint4 *>(p) = bits;
    } else
#pragma unroll
        for (int k = 0; k < int(16 / sizeof(S)); k++)
            p[k] = v.at[k];
}

// How many elements of an array come before its first vector.
template <typename S> __device__ __forceinline__ long long head(const long long n, const S *const p) {
    const long long before = (16 - place(p)) % 16 / sizeof(S);
    return before < n ? before : n;
}

// The bits of a mask from element i on, the first in the lowest place; not more are read than `count` elements have.
__device__ __forceinline__ unsigned bits_from(const unsigned char *const mask, const long long i, const int count) {
    const long long first = i >> 3, last = (i + count - 1) >> 3;
    unsigned bits = 0;
    for (long long byte = first; byte <= last; byte++)
        bits |= unsigned(mask[byte]) << 8 * int(byte - first);
    return bits >> (i & 7);
}

} // namespace rectifier
