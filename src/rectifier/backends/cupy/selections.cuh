// Rows of functions that select: the first of a row's largest numbers, or what exceeds a threshold. They are gone through
// as in rows.cuh, and have no exponentials. What is behind a row's end is least, or nothing.
namespace rectifier {

struct Least {
    __device__ __forceinline__ long long operator()(const long long x, const long long y) const { return y < x ? y : x; }
};

template <typename Formula, int THREADS, int VECTORS, Kept KEPT, typename S>
__device__ __forceinline__ void first_of_row(const S *const x, S *const y, const long long length) {
    typedef typename Formula::Number N;
    typedef Tile<THREADS, VECTORS, KEPT, S> Numbers;
    typedef typename Numbers::Place Place;
    Numbers own;
    N peak = N(__int_as_float(0xff800000)); // -infinity
    ROW_KEPT_BY_A_BLOCK(kept);
    const auto place_in_row = [](const Place begin, const int k) -> long long {
        return begin + Numbers::place_of(k / Numbers::length) + k % Numbers::length;
    };
    Numbers::through(length, [&](const Place begin) {
        own.first(x, begin, Place(length), Formula::nothing(), kept);
#pragma unroll
        for (int k = 0; k < Numbers::numbers; k++)
            peak = Larger()(peak, Formula::number(own.at[k]));
    });
    peak = over_row<THREADS>(peak, Larger());
    long long first = length;
    Numbers::through(length, [&](const Place begin) {
        own.again(x, begin, Place(length), Formula::nothing(), kept);
#pragma unroll
        for (int k = 0; k < Numbers::numbers; k++)
            if (eq(Formula::number(own.at[k]), peak))
                first = Least()(first, place_in_row(begin, k));
    });
    first = over_row<THREADS>(first, Least());
    const N other = eq(peak, peak) ? N(0) : N(__int_as_float(0x7fc00000)); // NaN
    Numbers::through(length, [&](const Place begin) {
        own.again(x, begin, Place(length), Formula::nothing(), kept);
#pragma unroll
        for (int k = 0; k < Numbers::numbers; k++) {
            const N e = place_in_row(begin, k) == first ? N(1) : other;
            own.at[k] = Formula::result(Formula::number(own.at[k]), peak, Pair<N>{e, 0});
        }
        own.store(y, begin, Place(length));
    });
}

// Newton's method comes to the threshold from the left, until what is above it is what was above it before: C. Michelot,
// "A finite algorithm for finding the projection of a point onto the canonical simplex of R^n" (1986).
template <typename Formula, int THREADS, int VECTORS, Kept KEPT, typename S>
__device__ __forceinline__ void excess_of_row(const S *const x, S *const y, const long long length) {
    typedef typename Formula::Number N;
    typedef Tile<THREADS, VECTORS, KEPT, S> Numbers;
    typedef typename Numbers::Place Place;
    Numbers own;
    N peak = N(__int_as_float(0xff800000)); // -infinity
    ROW_KEPT_BY_A_BLOCK(kept);
    Numbers::through(length, [&](const Place begin) {
        own.first(x, begin, Place(length), Formula::nothing(), kept);
#pragma unroll
        for (int k = 0; k < Numbers::numbers; k++)
            peak = Larger()(peak, Formula::number(own.at[k]));
    });
    peak = over_row<THREADS>(peak, Larger());
    Pair<N> threshold = {-1, 0};
    const auto margin = [&](const N number) {
        return Sum()(Sum()(Pair<N>{number, 0}, Pair<N>{neg(peak), 0}), Pair<N>{neg(threshold.high), 0});
    };
    const auto is_below = [&](const N number) {
        return lt(add(number, neg(peak)), add(threshold.high, N(-9.3132257461547852e-10))); // 2^-30
    };
    const auto rest = [&](const Pair<N> over) { return add(sub(over.high, threshold.tail), over.tail); };
    N before = N(__int_as_float(0x7f800000)), found = 0; // infinity
    do {
        if (found > 0)
            before = found;
        Pair<N> whole = {0, 0};
        N count = 0;
        Numbers::through(length, [&](const Place begin) {
            own.again(x, begin, Place(length), Formula::nothing(), kept);
#pragma unroll
            for (int k = 0; k < Numbers::numbers; k++) {
                const N number = Formula::number(own.at[k]);
                const Pair<N> over = margin(number);
                if (!is_below(number) && !le(rest(over), N(0))) { // a NaN is above all
                    whole = Sum()(whole, over);
                    count = add(count, N(1));
                }
            }
        });
        const Pair<N> beyond = Sum()(over_row<THREADS>(whole, Sum()), Pair<N>{-1, 0});
        found = over_row<THREADS>(Pair<N>{count, 0}, Sum()).high;
        const N change = div(sub(add(beyond.high, beyond.tail), mul(found, threshold.tail)), found);
        threshold = Sum()(Pair<N>{threshold.high, 0}, Pair<N>{add(threshold.tail, change), 0});
    } while (found < before);
    Numbers::through(length, [&](const Place begin) {
        own.again(x, begin, Place(length), Formula::nothing(), kept);
#pragma unroll
        for (int k = 0; k < Numbers::numbers; k++) {
            const N number = Formula::number(own.at[k]), over = rest(margin(number));
            const N e = is_below(number) || le(over, N(0)) ? N(0) : over;
            own.at[k] = Formula::result(number, peak, Pair<N>{e, 0});
        }
        own.store(y, begin, Place(length));
    });
}

// As gradient_of_row of rows.cuh, with two sums.
template <typename Formula, int THREADS, int VECTORS, Kept KEPT, typename S>
__device__ __forceinline__ void gradient_by_sums_of_row(const S *const dy, const S *const y, S *const dx, const long long length) {
    typedef typename Formula::Number N;
    typedef Tile<THREADS, VECTORS, KEPT, S> Numbers;
    typedef typename Numbers::Place Place;
    Numbers own_dy, own_y;
    Pair<N> sum = {0, 0}, other = {0, 0};
    ROW_KEPT_BY_A_BLOCK(kept);
    uint4 *const behind = Numbers::behind(kept, length);
    Numbers::through(length, [&](const Place begin) {
        own_dy.first(dy, begin, Place(length), 0, kept);
        own_y.first(y, begin, Place(length), 0, behind);
#pragma unroll
        for (int k = 0; k < Numbers::numbers; k++)
            if (Formula::is_nothing_of_nothing || Numbers::has(k, begin, Place(length))) {
                const N number = Formula::number(own_dy.at[k]), result = Formula::number(own_y.at[k]);
                sum = Sum()(sum, Formula::weight(number, result));
                other = Sum()(other, Formula::other_weight(number, result));
            }
    });
    sum = total(over_row<THREADS>(sum, Sum()));
    other = total(over_row<THREADS>(other, Sum()));
    Numbers::through(length, [&](const Place begin) {
        own_dy.again(dy, begin, Place(length), 0, kept);
        own_y.again(y, begin, Place(length), 0, behind);
#pragma unroll
        for (int k = 0; k < Numbers::numbers; k++)
            own_dy.at[k] = Formula::result(Formula::number(own_dy.at[k]), Formula::number(own_y.at[k]), sum, other);
        own_dy.store(dx, begin, Place(length));
    });
}

} // namespace rectifier
