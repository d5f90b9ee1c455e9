// Rows, each by THREADS threads: a warp, or a block. The order of a sum depends on the length of its row alone.
#ifndef ROW_KEPT_BY_A_BLOCK // a host has its own
#define ROW_KEPT_BY_A_BLOCK(kept) extern __shared__ uint4 kept[]
#endif

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

// Each thread gets the same: `combine` takes its operands in either order.
template <int LANES, typename T, typename Combine> __device__ __forceinline__ T over_lanes(T x, const Combine combine) {
    for (int distance = LANES / 2; distance; distance /= 2)
        x = combine(x, of_other_lane(x, distance));
    return x;
}
template <int THREADS, typename T, typename Combine>
__device__ __forceinline__ T over_warps(T x, const Combine combine) {
    if (THREADS > 32) {
        __shared__ T of_warp[32];
        if (threadIdx.x % 32 == 0)
            of_warp[threadIdx.x / 32] = x;
        __syncthreads();
        x = over_lanes<THREADS / 32>(of_warp[threadIdx.x % (THREADS / 32)], combine);
        __syncthreads();
    }
    return x;
}
template <int THREADS, typename T, typename Combine>
__device__ __forceinline__ T over_row(const T x, const Combine combine) {
    return over_warps<THREADS>(over_lanes<32>(x, combine), combine);
}

struct Larger {
    template <typename N> __device__ __forceinline__ N operator()(const N x, const N y) const { return larger_or_nan(x, y); }
};
// D. E. Knuth, The Art of Computer Programming, volume 2, section 4.2.2.
struct Sum {
    template <typename N> __device__ __forceinline__ Pair<N> operator()(const Pair<N> x, const Pair<N> y) const {
        const N sum = add(x.high, y.high), kept = sub(sum, x.high);
        return {sum, add(add(x.tail, y.tail), add(sub(x.high, sub(sum, kept)), sub(y.high, kept)))};
    }
};
// The same where x is at least y. T. J. Dekker, "A floating-point technique for extending the available precision",
// Numer. Math. 18 (1971).
template <typename N> __device__ __forceinline__ Pair<N> sum_of_ordered(const N x, const N y) {
    const N sum = add(x, y);
    return {sum, sub(y, sub(sum, x))};
}
struct Plus {
    template <typename N> __device__ __forceinline__ N operator()(const N x, const N y) const { return add(x, y); }
};
// The sum of what is less than 2^69 in each lane. Multiples of 2^50 add up exactly, and of what is left beside them
// float32 has the bits that matter.
__device__ __forceinline__ Pair<float> sum_of_lanes(const Pair<float> x) {
    const float far = 0x1.8p73f, coarse = sub(add(x.high, far), far);
    const float fine = add(sub(x.high, coarse), x.tail);
    return sum_of_ordered(over_lanes<32>(coarse, Plus()), over_lanes<32>(fine, Plus()));
}
// An infinite sum is what it would be without care.
template <typename N> __device__ __forceinline__ Pair<N> total(const Pair<N> x) {
    const N whole = add(x.high, x.tail);
    return eq(x.tail, x.tail) ? Pair<N>{whole, sub(x.tail, sub(whole, x.high))} : Pair<N>{x.high, 0};
}

// Where the numbers of a row wait while it is added up: each is loaded once, but those of what is kept nowhere.
enum Kept { IN_REGISTERS, BY_THE_BLOCK, NOWHERE };
template <Kept> struct Index { typedef long long Of; };
template <> struct Index<IN_REGISTERS> { typedef int Of; }; // such a row is a tile

// Some numbers of a row: VECTORS times 16 bytes of each of its threads. Behind the end of a row is `nothing`.
template <int THREADS, int VECTORS, Kept KEPT, typename S> struct Tile {
    typedef typename Index<KEPT>::Of Place;
    static const int length = 16 / sizeof(S), numbers = VECTORS * length, of_all = THREADS * numbers;
    S at[numbers];

    static __device__ __forceinline__ Place place_of(const int v) {
        return (v * THREADS + int(threadIdx.x % THREADS)) * length;
    }
    // Go through a row, tile by tile.
    template <typename Visit> static __device__ __forceinline__ void through(const long long end, const Visit visit) {
        if (KEPT == IN_REGISTERS)
            visit(Place(0));
        else
#pragma unroll 1
            for (long long begin = 0; begin < end; begin += of_all)
                visit(Place(begin));
    }
    static __device__ __forceinline__ bool has(const int k, const Place begin, const Place end) {
        return begin + place_of(k / length) + k % length < end;
    }
    __device__ __forceinline__ uint4 vector(const int v) const {
        uint4 bits;
        memcpy(&bits, at + v * length, 16);
        return bits;
    }
    __device__ __forceinline__ void load(const S *const row, const Place begin, const Place end, const S nothing) {
        const bool aligned = place(row) == 0;
#pragma unroll
        for (int v = 0; v < VECTORS; v++) {
            const Place j = begin + place_of(v);
            if (aligned && j + length <= end) {
                const uint4 bits = *reinterpret_cast<const uint4 *>(row + j);
                memcpy(at + v * length, &bits, 16);
            } else
#pragma unroll
                for (int k = 0; k < length; k++)
                    at[v * length + k] = j + k < end ? row[j + k] : nothing;
        }
    }
    __device__ __forceinline__ void store(S *const row, const Place begin, const Place end) const {
        const bool aligned = place(row) == 0;
#pragma unroll
        for (int v = 0; v < VECTORS; v++) {
            const Place j = begin + place_of(v);
            if (aligned && j + length <= end)
                *reinterpret_cast<uint4 *>(row + j) = vector(v);
            else
#pragma unroll
                for (int k = 0; k < length; k++)
                    if (j + k < end)
                        row[j + k] = at[v * length + k];
        }
    }
    // Load a tile the first time, and again. Of what the block has laid by, a thread takes back its own: none waits.
    __device__ __forceinline__ void first(const S *const row, const Place begin, const Place end, const S nothing, uint4 *const kept) {
        load(row, begin, end, nothing);
        if (KEPT == BY_THE_BLOCK)
#pragma unroll
            for (int v = 0; v < VECTORS; v++)
                if (begin + place_of(v) < end)
                    kept[(begin + place_of(v)) / length] = vector(v);
    }
    __device__ __forceinline__ void again(const S *const row, const Place begin, const Place end, const S nothing, const uint4 *const kept) {
        if (KEPT == NOWHERE)
            load(row, begin, end, nothing);
        if (KEPT == BY_THE_BLOCK)
#pragma unroll
            for (int v = 0; v < VECTORS; v++) {
                if (begin + place_of(v) < end) {
                    const uint4 bits = kept[(begin + place_of(v)) / length];
                    memcpy(at + v * length, &bits, 16);
                } else {
#pragma unroll
                    for (int k = 0; k < length; k++)
                        at[v * length + k] = nothing;
                }
            }
    }
    // Where a second array is laid by.
    static __device__ __forceinline__ uint4 *behind(uint4 *const kept, const long long end) {
        return kept + (end + length - 1) / length;
    }
};

// The value is e's share of the sum, and a factor that all have in common changes nothing: e is not that of x - peak,
// which float32 does not hold, but that of x itself and a power of two. Those of e are less than 2^65.
template <typename Formula, int THREADS, int VECTORS, Kept KEPT, typename S>
__device__ __forceinline__ void shares_of_row(const S *const x, S *const y, const long long length) {
    typedef typename Formula::Number N;
    typedef Tile<THREADS, VECTORS, KEPT, S> Numbers;
    typedef typename Numbers::Place Place;
    const N start = 0x1p65f;
    Numbers own;
    N number[Numbers::numbers];
    Pair<N> e[Numbers::numbers];
    N peak = N(__int_as_float(0xff800000)), less = 0; // -infinity
    ROW_KEPT_BY_A_BLOCK(kept);
    Numbers::through(length, [&](const Place begin) {
        own.first(x, begin, Place(length), Formula::nothing(), kept);
#pragma unroll
        for (int k = 0; k < Numbers::numbers; k++)
            peak = larger_or_nan(peak, number[k] = Formula::number(own.at[k]));
    });
    peak = over_row<THREADS>(peak, Larger());
    // Of a large peak x is lost in the exponent; and what is near it has an exact difference. Infinity leaves NaN.
    const bool large = !le(abs(peak), 0x1p20f);
    if (large) {
        less = peak, peak = sub(peak, peak);
#pragma unroll
        for (int k = 0; k < Numbers::numbers; k++)
            number[k] = sub(number[k], less);
    }
    const auto again = [&](const Place begin) {
        own.again(x, begin, Place(length), Formula::nothing(), kept);
        if (KEPT != IN_REGISTERS)
#pragma unroll
            for (int k = 0; k < Numbers::numbers; k++)
                number[k] = sub(Formula::number(own.at[k]), less);
    };
    Pair<N> sum = {0, 0};
    Numbers::through(length, [&](const Place begin) {
        again(begin);
        Pair<N> of_tile = {start, 0}; // so that it is at least e
#pragma unroll
        for (int k = 0; k < Numbers::numbers; k++) {
            e[k] = Formula::exponential(number[k], peak);
            const Pair<N> next = sum_of_ordered(of_tile.high, e[k].high);
            of_tile = {next.high, add(add(of_tile.tail, next.tail), e[k].tail)};
        }
        // Without a large tail, what many tails lose is nothing.
        of_tile = sum_of_ordered(sub(of_tile.high, start), of_tile.tail);
        sum = KEPT == IN_REGISTERS ? of_tile : Sum()(sum, of_tile);
    });
    sum = over_warps<THREADS>(KEPT == IN_REGISTERS ? sum_of_lanes(sum) : over_lanes<32>(sum, Sum()), Sum());
    const Pair<N> of_sum = Formula::of_sum({mul(sum.high, 0x1p-64f), mul(sum.tail, 0x1p-64f)});
    Numbers::through(length, [&](const Place begin) {
        if (KEPT != IN_REGISTERS)
            again(begin);
#pragma unroll
        for (int k = 0; k < Numbers::numbers; k++) {
            if (KEPT != IN_REGISTERS)
                e[k] = Formula::exponential(number[k], peak);
            own.at[k] = Formula::result(number[k], peak, e[k], of_sum);
        }
        own.store(y, begin, Place(length));
    });
}

template <typename Formula, int THREADS, int VECTORS, Kept KEPT, typename S>
__device__ __forceinline__ void value_of_row(const S *const x, S *const y, const long long length) {
    typedef typename Formula::Number N;
    typedef Tile<THREADS, VECTORS, KEPT, S> Numbers;
    typedef typename Numbers::Place Place;
    Numbers own;
    Pair<N> e[Numbers::numbers];
    N peak = N(__int_as_float(0xff800000)); // -infinity
    ROW_KEPT_BY_A_BLOCK(kept);
    Numbers::through(length, [&](const Place begin) {
        own.first(x, begin, Place(length), Formula::nothing(), kept);
#pragma unroll
        for (int k = 0; k < Numbers::numbers; k++)
            peak = larger_or_nan(peak, Formula::number(own.at[k]));
    });
    peak = over_row<THREADS>(peak, Larger());
    const auto again = [&](const Place begin) { own.again(x, begin, Place(length), Formula::nothing(), kept); };
    // The sum less 1: what is left beside one peak would be lost in it.
    int peaks = 0;
    Pair<N> others = {0, 0};
    Numbers::through(length, [&](const Place begin) {
        again(begin);
#pragma unroll
        for (int k = 0; k < Numbers::numbers; k++) {
            const N number = Formula::number(own.at[k]);
            const bool at_peak = eq(add(number, neg(peak)), N(0)); // not of infinities
            e[k] = Formula::exponential(number, peak);
            peaks += at_peak;
            others = Sum()(others, at_peak ? Pair<N>{0, 0} : e[k]);
        }
    });
    const Pair<N> at_peaks = over_row<THREADS>(Pair<N>{N(peaks), 0}, Sum());
    others = Sum()(over_row<THREADS>(others, Sum()), Sum()(at_peaks, Pair<N>{-1, 0}));
    const Pair<N> of_sum = Formula::of_sum(total(others));
    Numbers::through(length, [&](const Place begin) {
        again(begin);
#pragma unroll
        for (int k = 0; k < Numbers::numbers; k++) {
            const N number = Formula::number(own.at[k]);
            if (KEPT != IN_REGISTERS)
                e[k] = Formula::exponential(number, peak);
            own.at[k] = Formula::result(number, peak, e[k], of_sum);
        }
        own.store(y, begin, Place(length));
    });
}

template <typename Formula, int THREADS, int VECTORS, Kept KEPT, typename S>
__device__ __forceinline__ void gradient_of_row(const S *const dy, const S *const y, S *const dx, const long long length) {
    typedef typename Formula::Number N;
    typedef Tile<THREADS, VECTORS, KEPT, S> Numbers;
    typedef typename Numbers::Place Place;
    Numbers own_dy, own_y;
    Pair<N> sum = {0, 0};
    ROW_KEPT_BY_A_BLOCK(kept);
    uint4 *const behind = Numbers::behind(kept, length);
    Numbers::through(length, [&](const Place begin) {
        own_dy.first(dy, begin, Place(length), 0, kept);
        own_y.first(y, begin, Place(length), 0, behind);
#pragma unroll
        for (int k = 0; k < Numbers::numbers; k++)
            if (Formula::is_nothing_of_nothing || Numbers::has(k, begin, Place(length)))
                sum = Sum()(sum, Formula::weight(Formula::number(own_dy.at[k]), Formula::number(own_y.at[k])));
    });
    sum = total(over_row<THREADS>(sum, Sum()));
    Numbers::through(length, [&](const Place begin) {
        own_dy.again(dy, begin, Place(length), 0, kept);
        own_y.again(y, begin, Place(length), 0, behind);
#pragma unroll
        for (int k = 0; k < Numbers::numbers; k++)
            own_dy.at[k] = Formula::result(Formula::number(own_dy.at[k]), Formula::number(own_y.at[k]), sum);
        own_dy.store(dx, begin, Place(length));
    });
}

} // namespace rectifier
