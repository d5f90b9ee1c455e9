// Rows, each by THREADS threads: a warp, or a block. The order of a sum depends on the length of its row alone.
namespace rectifier {

const int PIECE = 32; // numbers of a thread whose sum is rounded by itself, as on the CPU

template <int THREADS, typename Combine>
__device__ __forceinline__ double over_row(double x, const Combine combine) {
    for (int distance = 16; distance; distance /= 2)
        x = combine(x, __shfl_xor_sync(0xffffffffu, x, distance));
    if (THREADS > 32) {
        __shared__ double of_warp[32];
        if (threadIdx.x % 32 == 0)
            of_warp[threadIdx.x / 32] = x;
        __syncthreads();
        x = of_warp[0];
        for (int warp = 1; warp < THREADS / 32; warp++)
            x = combine(x, of_warp[warp]);
        __syncthreads();
    }
    return x;
}

struct Larger {
    __device__ __forceinline__ double operator()(const double x, const double y) const { return lt(x, y) ? y : x; }
};
struct Sum {
    __device__ __forceinline__ double operator()(const double x, const double y) const { return x + y; }
};

template <int THREADS, typename Term>
__device__ __forceinline__ double sum_over_row(const long long length, const Term term) {
    double sum = 0.0;
    for (long long begin = threadIdx.x % THREADS; begin < length; begin += PIECE * THREADS) {
        const long long end = length < begin + PIECE * THREADS ? length : begin + PIECE * THREADS;
        double part = 0.0;
        for (long long j = begin; j < end; j += THREADS)
            part += term(j);
        sum += part;
    }
    return over_row<THREADS>(sum, Sum());
}

template <typename Formula, int THREADS, typename S>
__device__ __forceinline__ void value_of_row(const S *const x, S *const y, const long long length) {
    double peak = from_bits(0xfff0000000000000LL);
    for (long long j = threadIdx.x % THREADS; j < length; j += THREADS)
        peak = Larger()(peak, Formula::number(x[j]));
    peak = over_row<THREADS>(peak, Larger());
    // The sum less 1: what is left beside one peak would be lost in it.
    double peaks = 0.0;
    const double others = sum_over_row<THREADS>(length, [&](const long long j) {
        const double number = Formula::number(x[j]);
        const bool at_peak = eq(number - peak, 0.0);
        peaks += at_peak ? 1.0 : 0.0;
        return at_peak ? 0.0 : Formula::exponential(number, peak);
    });
    const double rest = others + (over_row<THREADS>(peaks, Sum()) - 1.0);
    for (long long j = threadIdx.x % THREADS; j < length; j += THREADS) {
        const double number = Formula::number(x[j]);
        const double e = eq(number - peak, 0.0) ? 1.0 : Formula::exponential(number, peak);
        y[j] = Formula::result(number, peak, e, rest);
    }
}

template <typename Formula, int THREADS, typename S>
__device__ __forceinline__ void gradient_of_row(const S *const dy, const S *const y, S *const dx, const long long length) {
    const double sum = sum_over_row<THREADS>(
        length, [&](const long long j) { return Formula::weight(Formula::number(dy[j]), Formula::number(y[j])); });
    for (long long j = threadIdx.x % THREADS; j < length; j += THREADS)
        dx[j] = Formula::result(Formula::number(dy[j]), Formula::number(y[j]), sum);
}

} // namespace rectifier
