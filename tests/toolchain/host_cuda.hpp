// What the CUDA C++ of the kernels means on a CPU: the threads of a block take turns, an instruction is read and done.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <ucontext.h>
#include <vector>

#define __device__
#define __global__
#define __forceinline__ inline
#define __shared__ static // one block runs at a time
#define __launch_bounds__(...)
#define ROW_KEPT_BY_A_BLOCK(kept) uint4 *const kept = host::kept_by_a_block.data()

struct Index {
    unsigned x;
};
static Index threadIdx, blockIdx, blockDim, gridDim;

struct alignas(16) uint4 {
    unsigned x, y, z, w;
};

template <typename To, typename From> inline To reinterpreted(const From x) {
    static_assert(sizeof(To) == sizeof(From));
    To y;
    memcpy(&y, &x, sizeof y);
    return y;
}
inline long long __double_as_longlong(const double x) { return reinterpreted<long long>(x); }
inline double __longlong_as_double(const long long n) { return reinterpreted<double>(n); }
inline unsigned __float_as_uint(const float x) { return reinterpreted<unsigned>(x); }
inline float __uint_as_float(const unsigned n) { return reinterpreted<float>(n); }
inline float __int_as_float(const int n) { return reinterpreted<float>(n); }

// PTX ISA, "Floating Point Instructions" and "cvt": .ftz takes and gives subnormal float32 as 0, a NaN that float32
// arithmetic makes is 0x7fffffff.
namespace ptx {

enum Operation { ADD, SUB, MUL, DIV, FMA, SQRT, NEG, ABS, COPYSIGN, RCP, MAX_OR_NAN, MAX, LT, LE, GT, GE, EQ, NEU, CONVERT, UNKNOWN };

constexpr bool contains(const char *text, const char *part) {
    for (; *text; text++) {
        const char *a = text, *b = part;
        while (*b && *a == *b)
            a++, b++;
        if (!*b)
            return true;
    }
    return false;
}
constexpr Operation operation(const char *text) {
    constexpr const char *names[] = {"add.rn.", "sub.rn.", "mul.rn.", "div.rn.", "fma.rn.", "sqrt.rn.", "neg.", "abs.",
                                     "copysign.", "rcp.approx.ftz.", "max.NaN.", "max.", "setp.lt.", "setp.le.", "setp.gt.", "setp.ge.", "setp.eq.",
                                     "setp.neu.", "cvt."};
    for (int k = 0; k < UNKNOWN; k++)
        if (contains(text, names[k]))
            return Operation(k);
    return UNKNOWN;
}
template <typename A> constexpr bool is_of(const char *text) {
    return sizeof(A) == 2 ? contains(text, ".f16") : contains(text, sizeof(A) == 4 ? ".f32" : ".f64");
}

template <bool flushes> inline float flushed(const float x) {
    return flushes && std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x;
}
template <bool flushes> inline double flushed(const double x) { return x; }
template <bool flushes> inline float result(const float x) {
    return std::isnan(x) ? __uint_as_float(0x7fffffffu) : flushed<flushes>(x);
}

inline unsigned short half(const float x) {
    return std::isnan(x) ? 0x7fff : reinterpreted<unsigned short>(static_cast<_Float16>(x));
}

template <Operation operation, bool flushes, typename R, typename A> inline R of_1(A x) {
    static_assert(operation == SQRT || operation == NEG || operation == ABS || operation == RCP || operation == CONVERT);
    if constexpr (operation == RCP) {
        // Within a unit; here it is too small by one for every other number. Not of a significand of ones, from which
        // Newton's step would not come to the nearest: rcp.rn.f32 is right there by that same step.
        const unsigned bits = __float_as_uint(x);
        const float r = result<true>(1.0f / flushed<true>(x));
        const bool off = (bits & 1u) && (bits & 0x7fffffu) != 0x7fffffu && std::isnormal(r);
        return __uint_as_float(__float_as_uint(r) - off);
    } else if constexpr (operation == CONVERT) {
        if constexpr (sizeof(A) == 2)
            return static_cast<float>(reinterpreted<_Float16>(x));
        else if constexpr (sizeof(R) == 2)
            return half(flushed<flushes>(x));
        else if constexpr (sizeof(R) == 4)
            return result<flushes>(static_cast<float>(x));
        else
            return static_cast<double>(flushed<flushes>(x));
    } else {
        x = flushed<flushes>(x);
        return operation == NEG ? -x : operation == ABS ? std::fabs(x) : result<flushes>(std::sqrt(x));
    }
}
template <Operation operation, bool flushes, typename A> inline A of_2(A x, A y) {
    static_assert(operation == ADD || operation == SUB || operation == MUL || operation == DIV ||
                  operation == COPYSIGN || operation == MAX || operation == MAX_OR_NAN);
    x = flushed<flushes>(x), y = flushed<flushes>(y);
    if (operation == COPYSIGN)
        return std::copysign(y, x);
    if (operation == MAX || operation == MAX_OR_NAN) {
        if (operation == MAX_OR_NAN && (std::isnan(x) || std::isnan(y)))
            return result<flushes>(x + y);
        return std::isnan(x) ? result<flushes>(y) : std::isnan(y) || y < x || (x == y && !std::signbit(x)) ? x : y;
    }
    return result<flushes>(operation == ADD ? x + y : operation == SUB ? x - y : operation == MUL ? x * y : x / y);
}
template <Operation operation, bool flushes, typename A> inline A of_3(A x, A y, A z) {
    static_assert(operation == FMA);
    return result<flushes>(std::fma(flushed<flushes>(x), flushed<flushes>(y), flushed<flushes>(z)));
}
template <Operation operation, bool flushes, typename A> inline bool condition(A x, A y) {
    static_assert(LT <= operation && operation <= NEU);
    x = flushed<flushes>(x), y = flushed<flushes>(y);
    switch (operation) {
    case LT: return x < y;
    case LE: return x <= y;
    case GT: return x > y;
    case GE: return x >= y;
    case EQ: return x == y;
    default: return !(x == y);
    }
}

} // namespace ptx

#define KNOWN(R, r, A, a, text)                                                                                        \
    static_assert(ptx::is_of<A>(text) && ptx::is_of<R>(text) && sizeof(r) == 3 && sizeof(a) == 2);                     \
    static_assert((sizeof(R) == 2 ? 'h' : sizeof(R) == 4 ? 'f' : 'd') == r[1]);                                        \
    static_assert((sizeof(A) == 2 ? 'h' : sizeof(A) == 4 ? 'f' : 'd') == a[0]);                                        \
    constexpr bool flushes = ptx::contains(text, ".ftz");                                                              \
    constexpr ptx::Operation operation = ptx::operation(text);                                                         \
    static_assert(operation != ptx::CONVERT || sizeof(R) > sizeof(A) || ptx::contains(text, "cvt.rn."));
#define INSTRUCTION_1(name, R, r, A, a, text)                                                                          \
    inline R name(const A x) {                                                                                         \
        KNOWN(R, r, A, a, text)                                                                                        \
        return ptx::of_1<operation, flushes, R>(x);                                                                    \
    }
#define INSTRUCTION_2(name, R, r, A, a, text)                                                                          \
    inline R name(const A x, const A y) {                                                                              \
        KNOWN(R, r, A, a, text)                                                                                        \
        return ptx::of_2<operation, flushes>(x, y);                                                                    \
    }
#define INSTRUCTION_3(name, R, r, A, a, text)                                                                          \
    inline R name(const A x, const A y, const A z) {                                                                   \
        KNOWN(R, r, A, a, text)                                                                                        \
        return ptx::of_3<operation, flushes>(x, y, z);                                                                 \
    }
#define CONDITION(name, A, a, text)                                                                                    \
    inline bool name(const A x, const A y) {                                                                           \
        KNOWN(A, "=" a, A, a, text)                                                                                    \
        return ptx::condition<operation, flushes>(x, y);                                                               \
    }

namespace host {

enum State { READY, AT_WARP, AT_BLOCK, DONE };
const size_t STACK = 1 << 16;

struct Thread {
    ucontext_t context;
    State state;
    double sent;
    bool flag;
    unsigned ballot;
    std::unique_ptr<char[]> stack{new char[STACK]};
};
static std::vector<Thread> threads;
static ucontext_t scheduler;
static std::vector<uint4> kept_by_a_block; // as many bytes as the launch asks for
static const std::function<void()> *kernel;

inline void enter() {
    (*kernel)();
    threads[threadIdx.x].state = DONE;
    swapcontext(&threads[threadIdx.x].context, &scheduler);
}
inline Thread &wait(const State state) {
    Thread &self = threads[threadIdx.x];
    self.state = state;
    swapcontext(&self.context, &scheduler);
    return self;
}

// All lanes of a warp, or threads of a block, that have not ended must wait at the same place.
inline bool release(const unsigned begin, const unsigned end, const State at) {
    for (unsigned t = begin; t < end; t++)
        if (threads[t].state != at)
            return false;
    unsigned ballot = 0;
    for (unsigned t = begin; t < end; t++)
        ballot |= unsigned(threads[t].flag) << (t % 32);
    for (unsigned t = begin; t < end; t++) {
        threads[t].state = READY;
        threads[t].ballot = ballot;
    }
    return true;
}

inline void run_block() {
    const unsigned n = blockDim.x;
    for (unsigned t = 0; t < n; t++) {
        Thread &thread = threads[t];
        thread.state = READY;
        getcontext(&thread.context);
        thread.context.uc_stack.ss_sp = thread.stack.get();
        thread.context.uc_stack.ss_size = STACK;
        thread.context.uc_link = nullptr;
        makecontext(&thread.context, enter, 0);
    }
    for (bool moved = true; moved;) {
        moved = false;
        for (unsigned t = 0; t < n; t++)
            if (threads[t].state == READY) {
                threadIdx.x = t;
                swapcontext(&scheduler, &threads[t].context);
                moved = true;
            }
        for (unsigned t = 0; t < n; t += 32)
            moved |= release(t, t + 32, AT_WARP);
        moved |= release(0, n, AT_BLOCK);
    }
    for (unsigned t = 0; t < n; t++)
        if (threads[t].state != DONE) {
            fprintf(stderr, "threads of a warp or a block wait for others that do not come\n");
            abort();
        }
}

inline void launch(const unsigned grid, const unsigned block, const unsigned shared, const std::function<void()> &function) {
    kept_by_a_block = std::vector<uint4>(shared / sizeof(uint4));
    if (threads.size() < block)
        threads = std::vector<Thread>(block);
    kernel = &function;
    gridDim.x = grid, blockDim.x = block;
    for (blockIdx.x = 0; blockIdx.x < grid; blockIdx.x++)
        run_block();
    kernel = nullptr;
}

} // namespace host

inline unsigned __ballot_sync(const unsigned lanes, const bool flag) {
    if (lanes != 0xffffffffu)
        abort();
    host::threads[threadIdx.x].flag = flag;
    return host::wait(host::AT_WARP).ballot;
}
inline double __shfl_xor_sync(const unsigned lanes, const double x, const int distance) {
    if (lanes != 0xffffffffu)
        abort();
    host::threads[threadIdx.x].sent = x;
    host::wait(host::AT_WARP);
    const double received = host::threads[threadIdx.x ^ distance].sent;
    host::wait(host::AT_WARP); // the next one must not be sent before this one is read
    return received;
}
inline void __syncthreads() { host::wait(host::AT_BLOCK); }
