// CUDA C++ on a CPU: a kernel's text compiles with g++ behind this header and runs with its real grid and block.
//
// One OS thread runs the blocks one after another. A CUDA thread runs on a fiber (a stack of its own) until it ends or waits:
// __syncthreads waits for all living threads of the block, __syncwarp and the shuffles for the living threads of the warp that the
// mask names. A thread that never waits leaves its fiber to the next one, so a kernel without cooperation costs a call per thread.
// Only what the library's kernels use is here. Linux (x86-64, aarch64) with glibc; g++ or clang++.
#pragma once
#define CUDA_ON_CPU 1
#undef _FORTIFY_SOURCE  // its longjmp takes a change of the stack for an error
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <type_traits>
#include <utility>

// ---------------------------------------------------------------------------------------------------------------- words
#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
// A section of its own, so that it can be filled with garbage. "used" says that others change it: no value survives a wait in a register.
#define __shared__ static __attribute__((section("cuda_shared"), used))

#define CUDA_ON_CPU_VECTOR(T, name, bytes)                                              \
    struct alignas(bytes / 2) name##2 { T x, y; };                                      \
    struct alignas(bytes) name##4 { T x, y, z, w; };                                    \
    static inline name##2 make_##name##2(T x, T y) { return {x, y}; }                   \
    static inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
CUDA_ON_CPU_VECTOR(float, float, 16)
CUDA_ON_CPU_VECTOR(int, int, 16)
CUDA_ON_CPU_VECTOR(unsigned, uint, 16)
struct alignas(16) double2 { double x, y; };
static inline double2 make_double2(double x, double y) { return {x, y}; }
struct uint3 { unsigned x, y, z; };

static uint3 threadIdx, blockIdx, blockDim, gridDim;
constexpr int warpSize = 32;

// -------------------------------------------------------------------------------------------------------------- numbers
template <class A, class B> static inline std::common_type_t<A, B> min(A a, B b) {
    using T = std::common_type_t<A, B>;
    if constexpr (std::is_floating_point_v<T>) return fmin(T(a), T(b));
    else return T(b) < T(a) ? T(b) : T(a);
}
template <class A, class B> static inline std::common_type_t<A, B> max(A a, B b) {
    using T = std::common_type_t<A, B>;
    if constexpr (std::is_floating_point_v<T>) return fmax(T(a), T(b));
    else return T(a) < T(b) ? T(b) : T(a);
}
template <class To, class From> static inline To cuda_bits(From value) {
    static_assert(sizeof(To) == sizeof(From), "the bits of one type as another of the same size");
    To result;
    memcpy(&result, &value, sizeof(To));
    return result;
}
static inline unsigned __float_as_uint(float x) { return cuda_bits<unsigned>(x); }
static inline int __float_as_int(float x) { return cuda_bits<int>(x); }
static inline float __uint_as_float(unsigned x) { return cuda_bits<float>(x); }
static inline float __int_as_float(int x) { return cuda_bits<float>(x); }
static inline long long __double_as_longlong(double x) { return cuda_bits<long long>(x); }
static inline double __longlong_as_double(long long x) { return cuda_bits<double>(x); }
static inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned((uint64_t(a) * b) >> 32); }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline double __dadd_rn(double a, double b) { return a + b; }
static inline double __dmul_rn(double a, double b) { return a * b; }
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }
template <class T> static inline T __ldg(const T* address) { return *address; }

// ------------------------------------------------------------------------------------------------------------ execution
namespace cuda_on_cpu {
constexpr int MOST = 1024;          // threads of a block
constexpr size_t STACK = 128 << 10; // bytes of a fiber's stack
constexpr size_t MOST_SHARED = 48 << 10, GUARD = 1024;
constexpr unsigned char GARBAGE = 0xFF;  // NaN in every floating type, -1 in the integers

enum State : unsigned char { READY, AT_BLOCK, AT_WARP, ENDED };
struct Fiber {
    jmp_buf at;
    ucontext_t context;
    bool started;
};
struct Thread {
    State state;
    Fiber* fiber;
    const char* what;      // what it waits for, and where in the source
    int line;
    unsigned mask;         // of a warp's wait: who takes part
    int source;            // of a shuffle: whose value it wants
    uint64_t value, result;
};
static Thread threads[MOST];
static uint3 places[MOST];
static Fiber fibers[MOST], *idle[MOST], *running;
static int n_idle, n_threads, n_living, current, upcoming, last_plus_step, step;
static bool waited, failed;
static jmp_buf scheduler;
static void (*body)(void**);
static void** body_arguments;
static const char* kernel_name;
static char* message;
static int message_size;
alignas(128) __attribute__((used)) static unsigned char dynamic_shared[MOST_SHARED + GUARD];
extern "C" {
extern unsigned char __start_cuda_shared[] __attribute__((weak, visibility("hidden")));  // the linker's names for the section
extern unsigned char __stop_cuda_shared[] __attribute__((weak, visibility("hidden")));
}

#define CUDA_ON_CPU_SAY(...) snprintf(message + strlen(message), size_t(message_size) - strlen(message), __VA_ARGS__)
static void fail_in_thread(const char* what) {
    CUDA_ON_CPU_SAY("kernel %s, block (%u, %u, %u), thread (%u, %u, %u): %s", kernel_name, blockIdx.x, blockIdx.y, blockIdx.z,
                    threadIdx.x, threadIdx.y, threadIdx.z, what);
    failed = true;
    _longjmp(scheduler, 1);
}
static void on_signal(int) { fail_in_thread("illegal memory access"); }

__attribute__((noinline)) static void leave(jmp_buf from) {
    if (!_setjmp(from)) _longjmp(scheduler, 1);
}
// What a fiber does for ever: run the threads of the warp that have not begun; then wait to be used again.
static void fiber_main() {
    for (;;) {
        while (upcoming != last_plus_step) {
            current = upcoming;
            upcoming += step;
            threadIdx = places[current];
            body(body_arguments);
            threads[current].state = ENDED;
            --n_living;
        }
        idle[n_idle++] = running;
        leave(running->at);
    }
}
__attribute__((noinline)) static void resume(Fiber* fiber) {
    running = fiber;
    if (_setjmp(scheduler)) return;
    if (fiber->started) _longjmp(fiber->at, 1);
    fiber->started = true;
    setcontext(&fiber->context);
}
static Fiber* take_fiber() {
    Fiber* fiber = idle[--n_idle];
    if (!fiber->started) {
        static char* stacks;  // below each stack one page that nobody may touch
        if (!stacks)
            stacks = static_cast<char*>(mmap(nullptr, MOST * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
        if (stacks == MAP_FAILED) abort();
        char* stack = stacks + (fiber - fibers) * STACK;
        mprotect(stack, 16384, PROT_NONE);
        getcontext(&fiber->context);
        fiber->context.uc_stack.ss_sp = stack;
        fiber->context.uc_stack.ss_size = STACK;
        makecontext(&fiber->context, fiber_main, 0);
    }
    return fiber;
}
static void wait(State state, const char* what, int line, unsigned mask) {
    const int self = current;
    Thread& me = threads[self];
    me.state = state, me.what = what, me.line = line, me.mask = mask, me.fiber = running;
    waited = true;
    leave(me.fiber->at);
    current = self;
    threadIdx = places[self];
}
// Lets the threads of a warp go on whose mask is complete; a shuffle's values are handed over here, before anyone can write the next.
static bool release_warp(int first, int end) {
    bool any = false;
    for (int t = first; t < end; ++t) {
        if (threads[t].state != AT_WARP) continue;
        const Thread& one = threads[t];
        unsigned group = 0;
        bool complete = true;
        for (int u = first; u < end; ++u) {
            const Thread& other = threads[u];
            if (!(one.mask >> (u - first) & 1) || other.state == ENDED) continue;
            if (other.state != AT_WARP || other.mask != one.mask || other.what != one.what) complete = false;
            group |= 1u << (u - first);
        }
        if (!complete) continue;
        for (int u = first; u < end; ++u) {
            if (!(group >> (u - first) & 1)) continue;
            Thread& taker = threads[u];
            const bool there = taker.source >= 0 && taker.source < 32 && (group >> taker.source & 1);
            taker.result = there ? threads[first + taker.source].value : ~uint64_t(0);
            taker.state = READY;
        }
        any = true;
    }
    return any;
}
static void run_warp(int first, bool fresh) {
    const int end = first + 32 < n_threads ? first + 32 : n_threads;
    const int from = step > 0 ? first : end - 1;
    last_plus_step = step > 0 ? end : first - 1;
    upcoming = fresh ? from : last_plus_step;
    while (upcoming != last_plus_step && !failed) resume(take_fiber());
    do {
        for (int t = from; t != last_plus_step && !failed; t += step)
            if (threads[t].state == READY) resume(threads[t].fiber);
    } while (!failed && release_warp(first, end));
}
static void run_warps(bool fresh) {
    const int n_warps = (n_threads + 31) / 32;
    for (int w = 0; w < n_warps && !failed; ++w) run_warp(32 * (step > 0 ? w : n_warps - 1 - w), fresh);
}
static void fail_for_all(const char* what) {
    failed = true;
    CUDA_ON_CPU_SAY("kernel %s, block (%u, %u, %u): %s", kernel_name, blockIdx.x, blockIdx.y, blockIdx.z, what);
    for (int t = 0, told = 0; t < n_threads && told < 8; ++t) {
        bool known = threads[t].state == ENDED;  // one thread stands for all that wait at its place
        for (int u = 0; u < t && !known; ++u)
            known = threads[u].state == threads[t].state && threads[u].what == threads[t].what && threads[u].line == threads[t].line && threads[u].mask == threads[t].mask;
        if (known) continue;
        const uint3 p = places[t];
        CUDA_ON_CPU_SAY("%s thread (%u, %u, %u) waits in %s of line %d", told++ ? "," : ";", p.x, p.y, p.z, threads[t].what, threads[t].line);
        if (threads[t].state == AT_WARP) CUDA_ON_CPU_SAY(" (mask 0x%08x)", threads[t].mask);
    }
    CUDA_ON_CPU_SAY("; %d of %d threads have ended", n_threads - n_living, n_threads);
}
static void run_block() {
    for (int t = 0; t < n_threads; ++t) threads[t].state = READY;
    n_living = n_threads;
    for (bool fresh = true; !failed && n_living > 0; fresh = false) {
        run_warps(fresh);
        int line = 0;
        for (int t = 0; t < n_threads && !failed; ++t) {
            if (threads[t].state == ENDED) continue;
            if (threads[t].state != AT_BLOCK) fail_for_all("deadlock");
            else if (line && threads[t].line != line) fail_for_all("threads meet in different __syncthreads");
            line = threads[t].line;
        }
        for (int t = 0; t < n_threads && !failed; ++t)
            if (threads[t].state == AT_BLOCK) threads[t].state = READY;
    }
}
// Runs all blocks; sizes: grid (3), block (3), bytes of dynamic shared memory. Returns 0, or 1 and what is wrong in `text`.
static int launch(const char* name, void (*run)(void**), const unsigned* sizes, void** arguments, int backward, char* text, int text_size) {
    body = run, body_arguments = arguments, kernel_name = name, message = text, message_size = text_size, message[0] = 0;
    gridDim = {sizes[0], sizes[1], sizes[2]}, blockDim = {sizes[3], sizes[4], sizes[5]};
    n_threads = int(blockDim.x * blockDim.y * blockDim.z), step = backward ? -1 : 1, failed = false, waited = true;
    n_idle = 0;
    for (int f = MOST - 1; f >= 0; --f) idle[n_idle++] = fibers + f;
    for (int t = 0; t < n_threads; ++t)
        places[t] = {t % blockDim.x, t / blockDim.x % blockDim.y, t / blockDim.x / blockDim.y};
    struct sigaction action, old_segv, old_bus;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal, action.sa_flags = SA_NODEFER | SA_ONSTACK;
    sigaction(SIGSEGV, &action, &old_segv), sigaction(SIGBUS, &action, &old_bus);
    const uint64_t n_blocks = uint64_t(gridDim.x) * gridDim.y * gridDim.z;
    memset(dynamic_shared + sizes[6], GARBAGE, GUARD);
    for (uint64_t i = 0; i < n_blocks && !failed; ++i) {
        const uint64_t b = backward ? n_blocks - 1 - i : i;
        blockIdx = {unsigned(b % gridDim.x), unsigned(b / gridDim.x % gridDim.y), unsigned(b / gridDim.x / gridDim.y)};
        memset(dynamic_shared, GARBAGE, sizes[6]);
        // Threads that never wait cannot exchange anything either: there the garbage of the first block is enough.
        if (waited && __start_cuda_shared) memset(__start_cuda_shared, GARBAGE, size_t(__stop_cuda_shared - __start_cuda_shared));
        waited = false;
        run_block();
        for (size_t k = 0; k < GUARD && !failed; ++k)
            if (dynamic_shared[sizes[6] + k] != GARBAGE) fail_for_all("a write beyond the dynamic shared memory");
    }
    sigaction(SIGSEGV, &old_segv, nullptr), sigaction(SIGBUS, &old_bus, nullptr);
    if (failed)
        for (Fiber& fiber : fibers) fiber.started = false;  // those that still wait are given up
    return failed;
}

// ---------------------------------------------------------------------------------------------------- what Python calls
template <class T> static int type_text(char* out) {
    static_assert(std::is_pointer_v<T> || std::is_same_v<T, long long> || std::is_same_v<T, double>,
                  "a kernel's parameters are pointers, long long (Python's int) and double (Python's float)");
    using Item = std::remove_cv_t<std::remove_pointer_t<T>>;
    char kind = 'V';  // void, char and structures: an array of any type
    int bytes = 0;
    if constexpr (std::is_arithmetic_v<Item> && !std::is_same_v<Item, char>) {
        kind = std::is_same_v<Item, bool> ? 'b' : std::is_floating_point_v<Item> ? 'f' : std::is_signed_v<Item> ? 'i' : 'u';
        bytes = sizeof(Item);
    }
    return sprintf(out, "%s%c%d,", std::is_pointer_v<T> ? "*" : "", kind, bytes);
}
template <auto kernel> struct Kernel;
template <class... A, void (*kernel)(A...)> struct Kernel<kernel> {
    template <size_t... I> static void call([[maybe_unused]] void** arguments, std::index_sequence<I...>) { kernel(*static_cast<A*>(arguments[I])...); }
    static void run(void** arguments) { call(arguments, std::index_sequence_for<A...>{}); }
    static const char* types() {
        static char text[5 * sizeof...(A) + 1];
        [[maybe_unused]] int n = 0;
        ((n += type_text<A>(text + n)), ...);
        return text;
    }
};

template <class T> static inline T shuffle(const char* what, int line, unsigned mask, T value, int source) {
    static_assert(sizeof(T) <= 8, "a shuffle takes up to 8 bytes");
    Thread& me = threads[current];
    memcpy(&me.value, &value, sizeof(T));
    me.source = source;
    if (!(mask >> (current % 32) & 1)) fail_in_thread("a thread that its own mask does not name");
    wait(AT_WARP, what, line, mask);
    T result;
    memcpy(&result, &me.result, sizeof(T));
    return result;
}
}  // namespace cuda_on_cpu

#define CUDA_ON_CPU_LAUNCHER(name)                                                                                                     \
    extern "C" __attribute__((visibility("default"))) int launch_##name(const unsigned* s, void** a, int backward, char* m, int size) { \
        return cuda_on_cpu::launch(#name, cuda_on_cpu::Kernel<&cuda_source::name>::run, s, a, backward, m, size);                       \
    }                                                                                                                                  \
    extern "C" __attribute__((visibility("default"))) const char* types_##name() { return cuda_on_cpu::Kernel<&cuda_source::name>::types(); }

// -------------------------------------------------------------------------------------------------------- cooperation
static inline void __syncthreads(int line = __builtin_LINE()) { cuda_on_cpu::wait(cuda_on_cpu::AT_BLOCK, "__syncthreads", line, 0); }
static inline void __syncwarp(unsigned mask = 0xffffffffu, int line = __builtin_LINE()) {
    cuda_on_cpu::shuffle("__syncwarp", line, mask, 0, cuda_on_cpu::current % 32);
}
template <class T> static inline T __shfl_sync(unsigned mask, T value, int source, int width = 32, int line = __builtin_LINE()) {
    const int lane = cuda_on_cpu::current % 32;
    return cuda_on_cpu::shuffle("__shfl_sync", line, mask, value, (lane & -width) + (source & (width - 1)));
}
template <class T> static inline T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32, int line = __builtin_LINE()) {
    const int lane = cuda_on_cpu::current % 32, source = lane ^ lanes;  // a later group is out of reach, an earlier one is not
    return cuda_on_cpu::shuffle("__shfl_xor_sync", line, mask, value, source < (lane & -width) + width ? source : lane);
}
template <class T> static inline T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32, int line = __builtin_LINE()) {
    const int lane = cuda_on_cpu::current % 32;
    return cuda_on_cpu::shuffle("__shfl_down_sync", line, mask, value, int(by) < (lane & -width) + width - lane ? lane + int(by) : lane);
}
template <class T> static inline T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32, int line = __builtin_LINE()) {
    const int lane = cuda_on_cpu::current % 32;
    return cuda_on_cpu::shuffle("__shfl_up_sync", line, mask, value, int(by) <= lane - (lane & -width) ? lane - int(by) : lane);
}
