// Rows, each by THREADS threads: a warp, or a block. The order of a sum depends on the length of its row alone.
namespace rectifier {

// A number and what rounding took from it.
template <typename N> struct Pair {
    N high, tail;
};

template <typename N> __device__ __forceinline__ N of_other_lane(const N x, const int distance) {
    return N(__shfl_xor_sync(0xffffffffu, x, distance));
}
template <typename N> __device__ __forceinline__ Pair<N> of_other_lane(const Pair<N> x, const int distance) {
    return {of_other_lane(x.high, distance), of_other_lane(x.tail, distance)};
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
    template <typename N> __device__ __forceinline__ N operator()(const N x, const N y) const { return lt(x, y) ? y : x; }
};
// D. E. Knuth, The Art of Computer Programming, volume 2, section 4.2.2.
struct Sum {
    template <typename N> __device__ __forceinline__ Pair<N> operator()(const Pair<N> x, const Pair<N> y) const {
        const N sum = add(x.high, y.high), kept = sub(sum, x.high);
        return {sum, add(add(x.tail, y.tail), add(sub(x.high, sub(sum, kept)), sub(y.high, kept)))};
    }
};
// An infinite sum is what it would be without care.
template <typename N> __device__ __forceinline__ Pair<N> total(const Pair<N> x) {
    const N whole = add(x.high, x.tail);
    return eq(x.tail, x.tail) ? Pair<N>{whole, sub(x.tail, sub(whole, x.high))} : Pair<N>{x.high, 0};
}

// Some numbers of a row: VECTORS times 16 bytes of each of its threads.
template <int THREADS, int VECTORS, typename S> struct Tile {
    static const int length = 16 / sizeof(S), numbers = VECTORS * length, of_all = THREADS * numbers;
    S at[numbers];

    // Go through a row, tile by tile, or through one that is a tile: `before` each, its numbers, and `after` it.
    template <bool WHOLE, typename Before, typename Visit, typename After>
    static __device__ __forceinline__ void through(const long long length, const Before before, const Visit visit,
                                                   const After after) {
#pragma unroll 1
        for (long long begin = 0; begin < (WHOLE ? 1 : length); begin += of_all) {
            before(begin);
#pragma unroll
            for (int k = 0; k < numbers; k++)
                if (begin + (k / Tile::length * THREADS + threadIdx.x % THREADS) * Tile::length + k % Tile::length < length)
                    visit(k);
            after(begin);
        }
    }
    __device__ __forceinline__ void load(const S *const row, const long long begin, const long long end) {
#pragma unroll
        for (int v = 0; v < VECTORS; v++) {
            const long long j = begin + (v * THREADS + threadIdx.x % THREADS) * length;
            if (j + length <= end) {
                const Vector<S> vector = rectifier::load(row + j);
                memcpy(at + v * length, &vector, 16);
            } else
#pragma unroll
                for (int k = 0; k < length; k++)
                    if (j + k < end)
                        at[v * length + k] = row[j + k];
        }
    }
    __device__ __forceinline__ void store(S *const row, const long long begin, const long long end) const {
#pragma unroll
        for (int v = 0; v < VECTORS; v++) {
            const long long j = begin + (v * THREADS + threadIdx.x % THREADS) * length;
            if (j + length <= end) {
                Vector<S> vector;
                memcpy(&vector, at + v * length, 16);
                rectifier::store(row + j, vector);
            } else
#pragma unroll
                for (int k = 0; k < length; k++)
                    if (j + k < end)
                        row[j + k] = at[v * length + k];
        }
    }
};

struct Nothing {
    __device__ __forceinline__ void operator()(long long) const {}
};

// A row that is one tile is loaded once, and each of its exponentials computed once.
template <typename Formula, int THREADS, int VECTORS, bool WHOLE, typename S>
__device__ __forceinline__ void value_of_row(const S *const x, S *const y, const long long length) {
    typedef typename Formula::Number N;
    typedef Tile<THREADS, VECTORS, S> Numbers;
    Numbers own;
    Pair<N> e[Numbers::numbers];
    N peak = N(__int_as_float(0xff800000)); // -infinity
    const auto load = [&](const long long begin) { own.load(x, begin, length); };
    const auto load_again = [&](const long long begin) {
        if (!WHOLE)
            load(begin);
    };
    const auto raise = [&](const int k) { peak = Larger()(peak, Formula::number(own.at[k])); };
    Numbers::template through<WHOLE>(length, load, raise, Nothing());
    peak = over_row<THREADS>(peak, Larger());
    // The sum less 1: what is left beside one peak would be lost in it.
    int peaks = 0;
    Pair<N> others = {0, 0};
    const auto add_up = [&](const int k) {
        const N number = Formula::number(own.at[k]);
        const bool at_peak = eq(add(number, neg(peak)), N(0)); // not of infinities
        e[k] = Formula::exponential(number, peak);
        peaks += at_peak;
        others = Sum()(others, at_peak ? Pair<N>{0, 0} : e[k]);
    };
    Numbers::template through<WHOLE>(length, load_again, add_up, Nothing());
    const Pair<N> at_peaks = over_row<THREADS>(Pair<N>{N(peaks), 0}, Sum());
    others = Sum()(over_row<THREADS>(others, Sum()), Sum()(at_peaks, Pair<N>{-1, 0}));
    const Pair<N> of_sum = Formula::of_sum(total(others));
    const auto compute = [&](const int k) {
        const N number = Formula::number(own.at[k]);
        if (!WHOLE)
            e[k] = Formula::exponential(number, peak);
        own.at[k] = Formula::result(number, peak, e[k], of_sum);
    };
    Numbers::template through<WHOLE>(length, load_again, compute, [&](const long long begin) { own.store(y, begin, length); });
}

template <typename Formula, int THREADS, int VECTORS, bool WHOLE, typename S>
__device__ __forceinline__ void gradient_of_row(const S *const dy, const S *const y, S *const dx, const long long length) {
    typedef typename Formula::Number N;
    typedef Tile<THREADS, VECTORS, S> Numbers;
    Numbers own_dy, own_y;
    Pair<N> sum = {0, 0};
    const auto load = [&](const long long begin) {
        own_dy.load(dy, begin, length);
        own_y.load(y, begin, length);
    };
    const auto load_again = [&](const long long begin) {
        if (!WHOLE)
            load(begin);
    };
    const auto add_up = [&](const int k) {
        sum = Sum()(sum, Formula::weight(Formula::number(own_dy.at[k]), Formula::number(own_y.at[k])));
    };
    Numbers::template through<WHOLE>(length, load, add_up, Nothing());
    sum = total(over_row<THREADS>(sum, Sum()));
    const auto compute = [&](const int k) {
        own_dy.at[k] = Formula::result(Formula::number(own_dy.at[k]), Formula::number(own_y.at[k]), sum);
    };
    Numbers::template through<WHOLE>(length, load_again, compute, [&](const long long begin) { own_dy.store(dx, begin, length); });
}

} // namespace rectifier
