// Rows, each by THREADS threads: a warp, or a block. The order of a sum depends on the length of its row alone.
namespace rectifier {

const int PIECE = 8; // numbers of a thread whose sum is rounded by itself; what rounding takes from the sum of those is kept

// A sum, and the sum of what rounding took from it.
struct Carried {
    double sum, lost;
};

__device__ __forceinline__ double of_other_lane(const double x, const int distance) {
    return __shfl_xor_sync(0xffffffffu, x, distance);
}
__device__ __forceinline__ Carried of_other_lane(const Carried x, const int distance) {
    return {of_other_lane(x.sum, distance), of_other_lane(x.lost, distance)};
}

template <int THREADS, typename T, typename Combine>
__device__ __forceinline__ T over_row(T x, const Combine combine) {
    for (int distance = 16; distance; distance /= 2)
        x = combine(x, of_other_lane(x, distance));
    if (THREADS > 32) {
        __shared__ T of_warp[32];
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
// D. E. Knuth, The Art of Computer Programming, volume 2, section 4.2.2.
struct Sum {
    __device__ __forceinline__ Carried operator()(const Carried x, const Carried y) const {
        const double sum = x.sum + y.sum, kept = sum - x.sum;
        return {sum, (x.lost + y.lost) + ((x.sum - (sum - kept)) + (y.sum - kept))};
    }
};
// An infinite sum is what it would be without care.
__device__ __forceinline__ double total(const Carried x) { return eq(x.lost, x.lost) ? x.sum + x.lost : x.sum; }

template <int THREADS, typename Term>
__device__ __forceinline__ Carried sum_over_row(const long long length, const Term term) {
    Carried sum = {0.0, 0.0};
    for (long long begin = threadIdx.x % THREADS; begin < length; begin += PIECE * THREADS) {
        const long long end = length < begin + PIECE * THREADS ? length : begin + PIECE * THREADS;
        double part = 0.0;
        for (long long j = begin; j < end; j += THREADS)
            part += term(j);
        sum = Sum()(sum, {part, 0.0});
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
    const Carried others = sum_over_row<THREADS>(length, [&](const long long j) {
        const double number = Formula::number(x[j]);
        const bool at_peak = eq(number - peak, 0.0);
        peaks += at_peak ? 1.0 : 0.0;
        return at_peak ? 0.0 : Formula::exponential(number, peak);
    });
    const Carried at_peaks = over_row<THREADS>(Carried{peaks, 0.0}, Sum());
    const double of_sum = Formula::of_sum(total(Sum()(others, {at_peaks.sum - 1.0, 0.0})));
    for (long long j = threadIdx.x % THREADS; j < length; j += THREADS) {
        const double number = Formula::number(x[j]);
        const double e = eq(number - peak, 0.0) ? 1.0 : Formula::exponential(number, peak);
        y[j] = Formula::result(number, peak, e, of_sum);
    }
}

template <typename Formula, int THREADS, typename S>
__device__ __forceinline__ void gradient_of_row(const S *const dy, const S *const y, S *const dx, const long long length) {
    const double sum = total(sum_over_row<THREADS>(
        length, [&](const long long j) { return Formula::weight(Formula::number(dy[j]), Formula::number(y[j])); }));
    for (long long j = threadIdx.x % THREADS; j < length; j += THREADS)
        dx[j] = Formula::result(Formula::number(dy[j]), Formula::number(y[j]), sum);
}

} // namespace rectifier
