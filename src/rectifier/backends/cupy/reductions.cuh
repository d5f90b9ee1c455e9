// Rows of functions that give one number each: its value, and the gradient of that. They are gone through as in rows.cuh.
namespace rectifier {

// The largest of a row and the sum of its exponentials, less 1.
template <typename N> struct OfRow {
    N peak;
    Pair<N> others;
};

template <typename Formula, int THREADS, typename Numbers, typename E, typename S>
__device__ __forceinline__ OfRow<typename Formula::Number> sum_up(Numbers &own, E *const e, const S *const x, uint4 *const kept,
                                                                 const long long length) {
    typedef typename Formula::Number N;
    typedef typename Numbers::Place Place;
    N peak = N(__int_as_float(0xff800000)); // -infinity
    Numbers::through(length, [&](const Place begin) {
        own.first(x, begin, Place(length), Formula::nothing(), kept);
#pragma unroll
        for (int k = 0; k < Numbers::numbers; k++)
            peak = larger_or_nan(peak, Formula::number(own.at[k]));
    });
    peak = over_row<THREADS>(peak, Larger());
    int peaks = 0;
    Pair<N> others = {0, 0};
    Numbers::through(length, [&](const Place begin) {
        own.again(x, begin, Place(length), Formula::nothing(), kept);
#pragma unroll
        for (int k = 0; k < Numbers::numbers; k++) {
            const N number = Formula::number(own.at[k]);
            const bool at_peak = eq(number, peak); // of infinities, too
            e[k] = Formula::exponential(number, peak);
            peaks += at_peak;
            others = Sum()(others, at_peak ? Pair<N>{0, 0} : e[k]);
        }
    });
    const Pair<N> at_peaks = over_row<THREADS>(Pair<N>{N(peaks), 0}, Sum());
    others = Sum()(over_row<THREADS>(others, Sum()), Sum()(at_peaks, Pair<N>{-1, 0}));
    return {peak, total(others)};
}

template <typename Formula, int THREADS, int VECTORS, Kept KEPT, typename S>
__device__ __forceinline__ void number_of_row(const S *const x, S *const y, const long long length) {
    typedef Tile<THREADS, VECTORS, KEPT, S> Numbers;
    Numbers own;
    Pair<typename Formula::Number> e[Numbers::numbers];
    ROW_KEPT_BY_A_BLOCK(kept);
    const auto found = sum_up<Formula, THREADS>(own, e, x, kept, length);
    if (threadIdx.x % THREADS == 0)
        *y = Formula::result(found.peak, Formula::of_sum(found.others));
}

template <typename Formula, int THREADS, int VECTORS, Kept KEPT, typename S>
__device__ __forceinline__ void gradient_over_row(const S *const dy, const S *const x, S *const dx, const long long length) {
    typedef typename Formula::Number N;
    typedef Tile<THREADS, VECTORS, KEPT, S> Numbers;
    typedef typename Numbers::Place Place;
    Numbers own;
    Pair<N> e[Numbers::numbers];
    ROW_KEPT_BY_A_BLOCK(kept);
    const N number = Formula::given(*dy);
    const auto found = sum_up<Formula, THREADS>(own, e, x, kept, length);
    const Pair<N> weight = Formula::weight(found.others);
    const N nothing = sub(found.peak, found.peak); // NaN where the largest is infinite
    Numbers::through(length, [&](const Place begin) {
        own.again(x, begin, Place(length), Formula::nothing(), kept);
#pragma unroll
        for (int k = 0; k < Numbers::numbers; k++) {
            if (KEPT != IN_REGISTERS)
                e[k] = Formula::exponential(Formula::number(own.at[k]), found.peak);
            own.at[k] = Formula::result(number, Pair<N>{add(e[k].high, nothing), e[k].tail}, weight);
        }
        own.store(dx, begin, Place(length));
    });
}

} // namespace rectifier
