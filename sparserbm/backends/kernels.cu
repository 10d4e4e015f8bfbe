// GPU kernels, compiled by NVRTC at their first use. REAL is float or double.
//
// Activities are unit-major, (n_units, n) in C-order: neighbouring threads take neighbouring samples of one unit, so that
// a connection is one contiguous read. Every result is computed by one thread, or by threads that add up in one fixed
// order: the same input gives the same bits in every run. Compiled without contraction (--fmad=false): a fused
// multiply-add stands only where it is written, so that elementwise kernels round as NumPy does.
//
// A block is at most 1,024 threads in CUDA; ours have at most 512. Integers come as long long, numbers as double: what
// CuPy makes of Python's. Null pointers stand for arguments that are not there.

typedef REAL real;

namespace {

const int WIDTH = 4;   // samples of one thread: a 16-byte read in float32
const int LANES = 8;   // counters of a tile, see philox_words in reference.py
const int TILE = 32;   // samples of a tile: four words of each counter
const int WARP = 32;
const unsigned ALL = 0xffffffffu;

enum Activation { LINEAR, SIGMOID, RELU, TANH };

struct __align__(16) Four {
    real at[WIDTH];
};

__device__ long long thread_number() { return blockIdx.x * (long long)blockDim.x + threadIdx.x; }

__device__ long long thread_count() { return gridDim.x * (long long)blockDim.x; }

// `left` samples of a row from here on; in one read where rows are ALIGNED (`left` is then at least 4).
template <bool ALIGNED>
__device__ __forceinline__ Four load(const real* from, long long left) {
    if constexpr (ALIGNED) {
        return *reinterpret_cast<const Four*>(from);
    } else {
        Four got;
#pragma unroll
        for (int q = 0; q < WIDTH; q++) got.at[q] = q < left ? from[q] : real(0);
        return got;
    }
}

template <bool ALIGNED>
__device__ __forceinline__ void store(real* to, const Four& values, long long left) {
    if constexpr (ALIGNED) {
        *reinterpret_cast<Four*>(to) = values;
    } else {
#pragma unroll
        for (int q = 0; q < WIDTH; q++)
            if (q < left) to[q] = values.at[q];
    }
}

// `slope` is that of RELU below 0, here and below.
__device__ __forceinline__ real activated(real z, int activation, real slope) {
    if (activation == SIGMOID) return real(1) / (real(1) + exp(-z));
    if (activation == RELU) return z < 0 ? slope * z : z;  // NaN stays NaN
    if (activation == TANH) return tanh(z);
    return z;
}

// Derivative of an activation, from the activity that it gave.
__device__ __forceinline__ real derivative(real activity, int activation, real slope) {
    if (activation == SIGMOID) return activity * (real(1) - activity);
    if (activation == RELU) return activity > 0 ? real(1) : slope;
    if (activation == TANH) return real(1) - activity * activity;
    return real(1);
}

// -- random numbers -----------------------------------------------------------------------------------------------

struct Words {
    unsigned at[4];
};

// Philox4x32-10 (Salmon et al. 2011).
__device__ Words philox(unsigned c0, unsigned c1, unsigned c2, unsigned c3, unsigned key0, unsigned key1) {
#pragma unroll
    for (int round = 0; round < 10; round++) {
        unsigned high0 = __umulhi(0xD2511F53u, c0), low0 = 0xD2511F53u * c0;
        unsigned high1 = __umulhi(0xCD9E8D57u, c2), low1 = 0xCD9E8D57u * c2;
        c0 = high1 ^ c1 ^ key0;
        c1 = low1;
        c2 = high0 ^ c3 ^ key1;
        c3 = low0;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return {{c0, c1, c2, c3}};
}

// The four words of one counter of a row; `clock` counts the steps since the launch was recorded.
__device__ Words draw_words(long long counter, long long row, long long key0, long long key1, long long step,
                            long long draw, const unsigned* clock) {
    return philox((unsigned)counter, (unsigned)row, (unsigned)draw, (unsigned)step + *clock, (unsigned)key0,
                  (unsigned)key1);
}

__device__ __forceinline__ real unit_interval(unsigned word) {
    return sizeof(real) == 4 ? (word >> 8) * real(5.9604644775390625e-8) : word * real(2.3283064365386963e-10);
}

// log, cos and sin by IEEE operations alone, in the order of reference.py: every backend rounds alike.
__device__ double portable_log(double x) {
    int exponent;
    double mantissa = frexp(x, &exponent);
    if (mantissa < 0.7071067811865476) {
        mantissa = 2.0 * mantissa;
        exponent -= 1;
    }
    double s = (mantissa - 1.0) / (mantissa + 1.0), square = s * s, total = 1.0 / 21;
    for (int k = 9; k >= 0; k--) total = total * square + 1.0 / (2 * k + 1);
    return 2.0 * s * total + exponent * 0.6931471805599453;
}

__device__ void portable_cos_sin(double turns, double* cosine, double* sine) {
    double quarter = floor(4.0 * turns + 0.5);
    double angle = (turns - 0.25 * quarter) * 6.283185307179586, square = angle * angle;
    const double sines[] = {1.0,          -1.0 / 6,        1.0 / 120,        -1.0 / 5040,
                            1.0 / 362880, -1.0 / 39916800, 1.0 / 6227020800, -1.0 / 1307674368000};
    const double cosines[] = {1.0,         -1.0 / 2,       1.0 / 24,        -1.0 / 720,
                              1.0 / 40320, -1.0 / 3628800, 1.0 / 479001600, -1.0 / 87178291200};
    double s = sines[7], c = cosines[7];
    for (int k = 6; k >= 0; k--) {
        s = s * square + sines[k];
        c = c * square + cosines[k];
    }
    s = angle * s;
    int quadrant = (int)quarter % 4;
    *cosine = quadrant % 2 ? s : c;
    *sine = quadrant % 2 ? c : s;
    if (quadrant == 1 || quadrant == 2) *cosine = -*cosine;
    if (quadrant >= 2) *sine = -*sine;
}

// -- sums of several threads, in one order ----------------------------------------------------------------------------

// Sum over `width` neighbouring lanes of a warp; every lane gets it.
template <class T>
__device__ __forceinline__ T warp_sum(T value, int width) {
    for (int distance = width / 2; distance > 0; distance /= 2) value += __shfl_xor_sync(ALL, value, distance);
    return value;
}

// Sum over a block of 256 threads, for thread 0; `scratch` has room for 256 numbers.
__device__ double block_sum(double value, double* scratch) {
    int number = threadIdx.x + blockDim.x * threadIdx.y;
    scratch[number] = value;
    __syncthreads();
    for (int distance = 128; distance > 0; distance /= 2) {
        if (number < distance) scratch[number] += scratch[number + distance];
        __syncthreads();
    }
    double total = scratch[0];
    __syncthreads();
    return total;
}

}  // namespace

// -- products ----------------------------------------------------------------------------------------------------------

namespace {

const int AHEAD = 4;  // reads under way at a time

// total += sum over every `stride`-th connection from e on; in the order of the connections.
template <bool ALIGNED>
__device__ __forceinline__ void add_connections(
    Four& total, long long e, const long long last, const int stride, const int* __restrict__ index,
    const int* __restrict__ order, const real* __restrict__ weight, const real* __restrict__ source, const long long n,
    const long long left) {
    for (; e + (AHEAD - 1) * stride < last; e += AHEAD * stride) {
        Four read[AHEAD];
        real factor[AHEAD];
#pragma unroll
        for (int k = 0; k < AHEAD; k++) {
            const long long at = e + k * stride;
            read[k] = load<ALIGNED>(source + index[at] * n, left);
            factor[k] = weight[order ? order[at] : at];
        }
#pragma unroll
        for (int k = 0; k < AHEAD; k++)
#pragma unroll
            for (int q = 0; q < WIDTH; q++) total.at[q] = fma(factor[k], read[k].at[q], total.at[q]);
    }
    for (; e < last; e += stride) {
        const Four read = load<ALIGNED>(source + index[e] * n, left);
        const real factor = weight[order ? order[e] : e];
#pragma unroll
        for (int q = 0; q < WIDTH; q++) total.at[q] = fma(factor, read.at[q], total.at[q]);
    }
}

// See Backend.spmm. Threads (x, y, z) of a block: x takes four samples, y every blockDim.y-th connection of a row, z a
// row. Blocks of the same samples follow each other, so that what they read of `x` stays in the L2 cache.
template <bool ALIGNED>
__device__ __forceinline__ void product_of(
    const long long* __restrict__ indptr, const int* __restrict__ index, const int* __restrict__ order,
    const real* __restrict__ weight, const real* __restrict__ x, const real* __restrict__ bias,
    real* __restrict__ out, const real* __restrict__ activity, real* __restrict__ sample, const long long rows,
    const long long n, const int activation, const real slope, const int gating, const real gate_slope,
    const long long key0, const long long key1, const long long step, const long long draw, const unsigned* clock,
    unsigned char* scratch) {
    const int slices = blockDim.y, slice = threadIdx.y;
    const int number = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    const long long row = blockIdx.x * (long long)blockDim.z + threadIdx.z;
    const long long lane = blockIdx.y * (long long)blockDim.x + threadIdx.x, column = WIDTH * lane;
    const long long left = n - column, place = row * n + column;
    const bool inside = row < rows && left > 0, writes = inside && slice == 0;
    Four total = {{0, 0, 0, 0}};
    if (inside) {
        const long long first = indptr[row] + slice, last = indptr[row + 1];
        add_connections<ALIGNED>(total, first, last, slices, index, order, weight, x + column, n, left);
    }
    if (slices > 1) {
        Four* sums = reinterpret_cast<Four*>(scratch);
        sums[number] = total;
        __syncthreads();
        if (slice == 0)
            for (int other = 1; other < slices; other++)
#pragma unroll
                for (int q = 0; q < WIDTH; q++) total.at[q] += sums[number + other * blockDim.x].at[q];
        __syncthreads();
    }
    if (writes) {
        const real start = bias ? bias[row] : real(0);
#pragma unroll
        for (int q = 0; q < WIDTH; q++) total.at[q] = activated(total.at[q] + start, activation, slope);
        if (activity) {
            const Four own = load<ALIGNED>(activity + place, left);
#pragma unroll
            for (int q = 0; q < WIDTH; q++) total.at[q] *= derivative(own.at[q], gating, gate_slope);
        }
        store<ALIGNED>(out + place, total, left);
    }
    if (sample) {
        // Eight neighbouring lanes share a tile: each computes one counter and takes the words of its four samples.
        unsigned* tile = reinterpret_cast<unsigned*>(scratch) + WIDTH * (number - number % LANES);
        const int own = number % LANES;
        if (row < rows && slice == 0) {  // also beyond the last sample: the counter has words of samples before it
            const Words words = draw_words(lane, row, key0, key1, step, draw, clock);
#pragma unroll
            for (int w = 0; w < 4; w++) tile[LANES * w + own] = words.at[w];
        }
        __syncthreads();
        if (writes) {
            Four drawn;
#pragma unroll
            for (int q = 0; q < WIDTH; q++)
                drawn.at[q] = unit_interval(tile[WIDTH * own + q]) < total.at[q] ? real(1) : real(0);
            store<ALIGNED>(sample + place, drawn, left);
        }
    }
}

// This lane's share of the dot product of two rows, samples `first` to `last`; eight lanes share it.
template <bool ALIGNED>
__device__ __forceinline__ real dot(const real* __restrict__ a, const real* __restrict__ b, const long long first,
                                    const long long last, const int lane) {
    real total = 0;
#pragma unroll 4
    for (long long column = first + WIDTH * lane; column < last; column += WIDTH * LANES) {
        const Four one = load<ALIGNED>(a + column, last - column), other = load<ALIGNED>(b + column, last - column);
#pragma unroll
        for (int q = 0; q < WIDTH; q++) total = fma(one.at[q], other.at[q], total);
    }
    return total;
}

template <bool ALIGNED>
__device__ __forceinline__ void sampled_product_of(
    const long long* __restrict__ indptr, const int* __restrict__ index, const real* __restrict__ x,
    const real* __restrict__ y, const real sign, const long long n, const real* __restrict__ x2,
    const real* __restrict__ y2, const real sign2, const long long n2, const long long start, const long long width,
    const bool accumulate, const long long rows, const long long slices, real* __restrict__ out) {
    const long long item = blockIdx.x * (long long)blockDim.y + threadIdx.y;
    const long long row = item / slices;
    if (row >= rows) return;  // whole warps
    const int group = threadIdx.x / LANES, lane = threadIdx.x % LANES, groups = WARP / LANES;
    const long long last = indptr[row + 1];
    for (long long base = indptr[row] + item % slices * groups; base < last; base += slices * groups) {
        const long long e = base + group;
        const long long unit = index[e < last ? e : base];  // all lanes stay for the sum
        real total = sign * dot<ALIGNED>(x + unit * n, y + row * n, start, min(start + width, n), lane);
        if (x2) total += sign2 * dot<ALIGNED>(x2 + unit * n2, y2 + row * n2, start, min(start + width, n2), lane);
        total = warp_sum(total, LANES);
        if (lane == 0 && e < last) out[e] = accumulate ? out[e] + total : total;
    }
}

}  // namespace

extern "C" __global__ void product(
    const long long* __restrict__ indptr, const int* __restrict__ index, const int* __restrict__ order,
    const real* __restrict__ weight, const real* __restrict__ x, const real* __restrict__ bias,
    real* __restrict__ out, const real* __restrict__ activity, real* __restrict__ sample, long long rows, long long n,
    long long aligned, long long activation, double slope, long long gating, double gate_slope, long long key0,
    long long key1, long long step, long long draw, const unsigned* clock) {
    extern __shared__ __align__(16) unsigned char scratch[];
    if (aligned)
        product_of<true>(indptr, index, order, weight, x, bias, out, activity, sample, rows, n, activation, slope,
                         gating, gate_slope, key0, key1, step, draw, clock, scratch);
    else
        product_of<false>(indptr, index, order, weight, x, bias, out, activity, sample, rows, n, activation, slope,
                          gating, gate_slope, key0, key1, step, draw, clock, scratch);
}

// See Backend.sddmm, for one pair or two (`x2` null: one) and samples `start` to `start + width`. A warp takes four
// connections of a row at a time, eight lanes each.
extern "C" __global__ void sampled_product(
    const long long* __restrict__ indptr, const int* __restrict__ index, const real* __restrict__ x,
    const real* __restrict__ y, double sign, long long n, const real* __restrict__ x2, const real* __restrict__ y2,
    double sign2, long long n2, long long start, long long width, long long aligned, long long accumulate,
    long long rows, long long slices, real* __restrict__ out) {
    if (aligned)
        sampled_product_of<true>(indptr, index, x, y, sign, n, x2, y2, sign2, n2, start, width, accumulate, rows,
                                 slices, out);
    else
        sampled_product_of<false>(indptr, index, x, y, sign, n, x2, y2, sign2, n2, start, width, accumulate, rows,
                                 slices, out);
}

// ``out[j] = sign * sum(a[j]) + sign2 * sum(b[j])``; a warp takes a row.
extern "C" __global__ void row_sums(
    const real* __restrict__ a, double sign, long long n, const real* __restrict__ b, double sign2, long long n2,
    long long accumulate, long long rows, real* __restrict__ out) {
    const long long row = blockIdx.x * (long long)blockDim.y + threadIdx.y;
    if (row >= rows) return;
    real total = 0, more = 0;
    for (long long column = threadIdx.x; column < n; column += WARP) total += a[row * n + column];
    if (b)
        for (long long column = threadIdx.x; column < n2; column += WARP) more += b[row * n2 + column];
    total = warp_sum(real(sign) * total + real(sign2) * more, WARP);
    if (threadIdx.x == 0) out[row] = accumulate ? out[row] + total : total;
}

// See Backend.limit_norms; a warp takes a row, `order` may be null.
extern "C" __global__ void limit_norms(
    const long long* __restrict__ indptr, const int* __restrict__ order, long long rows, double limit,
    real* __restrict__ values) {
    const long long row = blockIdx.x * (long long)blockDim.y + threadIdx.y;
    if (row >= rows) return;  // whole warps
    const long long first = indptr[row] + threadIdx.x, last = indptr[row + 1];
    double total = 0;
    for (long long e = first; e < last; e += WARP) {
        const double value = values[order ? order[e] : e];
        total += value * value;
    }
    total = warp_sum(total, WARP);
    if (!(total > limit * limit)) return;
    const real factor = real(limit / sqrt(total));
    for (long long e = first; e < last; e += WARP) values[order ? order[e] : e] *= factor;
}

// -- batches, rewiring --------------------------------------------------------------------------------------------------

namespace {

// ``out[f, b] = samples[rows[b], f]``, in tiles of 32 x 32 through shared memory: both sides are read and written in lines.
template <class T>
__device__ void gather_from(const T* __restrict__ samples, const long long* __restrict__ rows, long long n_features,
                            long long n, real* __restrict__ out) {
    __shared__ real tile[WARP][WARP + 1];  // one more: a column then lies in 32 banks
    const long long feature = blockIdx.x * (long long)WARP, first = blockIdx.y * (long long)WARP;
    for (int k = threadIdx.y; k < WARP; k += blockDim.y)
        if (first + k < n && feature + threadIdx.x < n_features)
            tile[k][threadIdx.x] = real(samples[rows[first + k] * n_features + feature + threadIdx.x]);
    __syncthreads();
    for (int k = threadIdx.y; k < WARP; k += blockDim.y)
        if (feature + k < n_features && first + threadIdx.x < n)
            out[(feature + k) * n + first + threadIdx.x] = tile[threadIdx.x][k];
}

}  // namespace

extern "C" __global__ void gather(
    const real* samples, const long long* rows, long long n_features, long long n, real* out) {
    gather_from(samples, rows, n_features, n, out);
}

extern "C" __global__ void gather_bytes(
    const unsigned char* samples, const long long* rows, long long n_features, long long n, real* out) {
    gather_from(samples, rows, n_features, n, out);
}

namespace {

// See Backend.merged; rank[e] counts the kept up to e, itself included. `out` is zero where newborns come.
template <class T>
__device__ void merge(const T* old, const unsigned char* keep, const int* rank, long long n, const int* before,
                      long long n_new, T* out) {
    for (long long e = thread_number(); e < n; e += thread_count()) {
        if (!keep[e]) continue;
        const int kept = rank[e] - 1;
        long long low = 0, high = n_new;  // newborns that come before
        while (low < high) {
            const long long middle = (low + high) / 2;
            if (before[middle] <= kept)
                low = middle + 1;
            else
                high = middle;
        }
        out[kept + low] = old[e];
    }
}

}  // namespace

extern "C" __global__ void merge1(
    const unsigned char* old, const unsigned char* keep, const int* rank, long long n, const int* before,
    long long n_new, unsigned char* out) {
    merge(old, keep, rank, n, before, n_new, out);
}

extern "C" __global__ void merge2(
    const unsigned short* old, const unsigned char* keep, const int* rank, long long n, const int* before,
    long long n_new, unsigned short* out) {
    merge(old, keep, rank, n, before, n_new, out);
}

extern "C" __global__ void merge4(
    const unsigned* old, const unsigned char* keep, const int* rank, long long n, const int* before, long long n_new,
    unsigned* out) {
    merge(old, keep, rank, n, before, n_new, out);
}

extern "C" __global__ void merge8(
    const unsigned long long* old, const unsigned char* keep, const int* rank, long long n, const int* before,
    long long n_new, unsigned long long* out) {
    merge(old, keep, rank, n, before, n_new, out);
}

// -- draws: a thread takes one counter of a row, four samples a stride of 8 apart -------------------------------------------

namespace {

struct Place {
    long long row, counter, first;  // `first`: of the samples, in its row
};

__device__ Place place_of(long long number, long long n) {
    const long long counters = (n + TILE - 1) / TILE * LANES, counter = number % counters;
    return {number / counters, counter, counter / LANES * TILE + counter % LANES};
}

__device__ long long counters_of(long long rows, long long n) { return rows * ((n + TILE - 1) / TILE * LANES); }

// -- the normal distribution around z with variance 1, above 0 -------------------------------------------------------------

// Numerators and denominators of AS 241, the highest power first.
__device__ const double QUANTILE[6][8] = {
    {2.5090809287301226727e+3, 3.3430575583588128105e+4, 6.7265770927008700853e+4, 4.5921953931549871457e+4,
     1.3731693765509461125e+4, 1.9715909503065514427e+3, 1.3314166789178437745e+2, 3.3871328727963666080e+0},
    {5.2264952788528545610e+3, 2.8729085735721942674e+4, 3.9307895800092710610e+4, 2.1213794301586595867e+4,
     5.3941960214247511077e+3, 6.8718700749205790830e+2, 4.2313330701600911252e+1, 1.0},
    {7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1, 1.27045825245236838258e+0,
     3.64784832476320460504e+0, 5.76949722146069140550e+0, 4.63033784615654529590e+0, 1.42343711074968357734e+0},
    {1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1,
     6.89767334985100004550e-1, 1.67638483018380384940e+0, 2.05319162663775882187e+0, 1.0},
    {2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3, 2.65321895265761230930e-2,
     2.96560571828504891230e-1, 1.78482653991729133580e+0, 5.46378491116411436990e+0, 6.65790464350110377720e+0},
    {2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5, 7.86869131145613259100e-4,
     1.48753612908506148525e-2, 1.36929880922735805310e-1, 5.99832206555887937690e-1, 1.0},
};

__device__ double quotient(int table, double r) {
    double over = QUANTILE[table][0], under = QUANTILE[table + 1][0];
    for (int k = 1; k < 8; k++) {
        over = over * r + QUANTILE[table][k];
        under = under * r + QUANTILE[table + 1][k];
    }
    return over / under;
}

// What a probability exp(log_p) is below (Wichura 1988).
__device__ double normal_quantile(double log_p) {
    const double p = exp(log_p), q = p - 0.5;
    if (fabs(q) <= 0.425) return q * quotient(0, 0.180625 - q * q);
    const double r = sqrt(q < 0 ? -log_p : -log(-expm1(log_p)));
    const double size = r <= 5 ? quotient(2, r - 1.6) : quotient(4, r - 5);
    return q < 0 ? -size : size;
}

// Integral of the normal density above t, over the density at t (Mills); t >= 0.
__device__ double mills(double t) {
    if (t < 4) return 1.2533141373155003 * exp(0.5 * t * t) * erfc(0.7071067811865476 * t);
    double rest = t;
    for (int k = 24; k > 0; k--) rest = t + k / rest;
    return 1 / rest;
}

// The probability that a normal number around z is below 0.
__device__ double below_zero(double z) { return 0.3989422804014327 * exp(-0.5 * z * z) * mills(z); }

__device__ double truncated_draw(double z, double uniform) {
    if (z >= -30) {
        const double log_above = z < 0 ? log(mills(-z)) - 0.5 * z * z - 0.9189385332046727 : log1p(-below_zero(z));
        return fmax(z - normal_quantile(log(uniform) + log_above), 0.0);
    }
    // The density above 0 is nearly exponential: h * (h / 2 - z) = -log(uniform) + log(mills(h - z) / mills(-z)).
    const double above = -log(uniform);
    double h = 2 * above / (sqrt(z * z + 2 * above) - z);
    for (int round = 0; round < 3; round++) {
        const double rest = above + log(mills(h - z) / mills(-z));
        h = 2 * rest / (sqrt(z * z + 2 * rest) - z);
    }
    return h;
}

__device__ double mean_above_zero(double z) {
    if (z < -100) return ((2 - 10 / (z * z)) / (z * z) - 1) / z;  // the two terms below would cancel
    if (z < 0) return z + 1 / mills(-z);
    return z + 0.3989422804014327 * exp(-0.5 * z * z) / (1 - below_zero(z));
}

__device__ double log_integral_above_zero(double z) {
    if (z < 0) return log(mills(-z));
    return 0.5 * z * z + 0.9189385332046727 + log1p(-below_zero(z));
}

}  // namespace

extern "C" __global__ void uniform(
    long long key0, long long key1, long long step, long long draw, const unsigned* clock, long long rows,
    long long n, real* __restrict__ out) {
    for (long long number = thread_number(); number < counters_of(rows, n); number += thread_count()) {
        const Place at = place_of(number, n);
        const Words words = draw_words(at.counter, at.row, key0, key1, step, draw, clock);
        for (int w = 0; w < 4; w++)
            if (at.first + LANES * w < n)
                out[at.row * n + at.first + LANES * w] = unit_interval(words.at[w]);
    }
}

// `out` may be `mean`.
extern "C" __global__ void bernoulli(
    long long key0, long long key1, long long step, long long draw, const unsigned* clock, long long rows,
    long long n, const real* mean, real* out) {
    for (long long number = thread_number(); number < counters_of(rows, n); number += thread_count()) {
        const Place at = place_of(number, n);
        const Words words = draw_words(at.counter, at.row, key0, key1, step, draw, clock);
        for (int w = 0; w < 4; w++) {
            const long long here = at.row * n + at.first + LANES * w;
            if (at.first + LANES * w < n)
                out[here] = unit_interval(words.at[w]) < mean[here] ? real(1) : real(0);
        }
    }
}

extern "C" __global__ void normal(
    long long key0, long long key1, long long step, long long draw, const unsigned* clock, long long rows,
    long long n, real* __restrict__ out) {
    for (long long number = thread_number(); number < counters_of(rows, n); number += thread_count()) {
        const Place at = place_of(number, n);
        const Words words = draw_words(at.counter, at.row, key0, key1, step, draw, clock);
        for (int half = 0; half < 2; half++) {
            const double radius = sqrt(-2.0 * portable_log((words.at[2 * half] + 0.5) * 2.3283064365386963e-10));
            double cosine, sine;
            portable_cos_sin(words.at[2 * half + 1] * 2.3283064365386963e-10, &cosine, &sine);
            const long long sample = at.first + LANES * 2 * half, here = at.row * n + sample;
            if (sample < n) out[here] = real(radius * cosine);
            if (sample + LANES < n) out[here + LANES] = real(radius * sine);
        }
    }
}

// A state for every sample and group of `states` rows; the word of a counter belongs to the group.
extern "C" __global__ void categorical(
    long long key0, long long key1, long long step, long long draw, const unsigned* clock, long long groups,
    long long states, long long n, const real* __restrict__ mean, real* __restrict__ out) {
    for (long long number = thread_number(); number < counters_of(groups, n); number += thread_count()) {
        const Place at = place_of(number, n);
        const Words words = draw_words(at.counter, at.row, key0, key1, step, draw, clock);
        for (int w = 0; w < 4; w++) {
            const long long sample = at.first + LANES * w;
            if (sample >= n) continue;
            const real uniform = unit_interval(words.at[w]);
            const long long first = at.row * states * n + sample;
            long long chosen = 0;
            real before = 0;
            for (long long state = 0; state < states; state++) {  // the last one whose share begins below the draw
                const real probability = mean[first + state * n];
                if (before <= uniform && probability > 0) chosen = state;
                before += probability;
            }
            for (long long state = 0; state < states; state++)
                out[first + state * n] = state == chosen ? real(1) : real(0);
        }
    }
}

// `out` may be `z`.
extern "C" __global__ void truncated_normal(
    long long key0, long long key1, long long step, long long draw, const unsigned* clock, long long rows,
    long long n, const real* z, real* out) {
    for (long long number = thread_number(); number < counters_of(rows, n); number += thread_count()) {
        const Place at = place_of(number, n);
        const Words words = draw_words(at.counter, at.row, key0, key1, step, draw, clock);
        for (int w = 0; w < 4; w++) {
            const long long here = at.row * n + at.first + LANES * w;
            if (at.first + LANES * w < n)
                out[here] = real(truncated_draw(z[here], (words.at[w] + 0.5) * 2.3283064365386963e-10));
        }
    }
}

// -- columns: a thread (x, y) takes sample x and every 8th unit from y on ----------------------------------------------------

// In place: probabilities of the units of every sample; a column of blocks for each group of `units` rows.
extern "C" __global__ void softmax(long long units, long long n, real* z) {
    __shared__ real scratch[8][WARP];
    z += blockIdx.x * units * n;
    const long long sample = blockIdx.y * (long long)WARP + threadIdx.x;
    const bool inside = sample < n;
    const int y = threadIdx.y;
    real largest = inside ? z[sample] : real(0);
    if (inside)
        for (long long unit = y; unit < units; unit += 8) {
            const real value = z[unit * n + sample];
            largest = value <= largest ? largest : value;  // compared this way round, NaN spreads
        }
    scratch[y][threadIdx.x] = largest;
    __syncthreads();
    for (int other = 0; other < 8; other++) {
        const real value = scratch[other][threadIdx.x];
        largest = value <= largest ? largest : value;
    }
    __syncthreads();
    real total = 0;
    if (inside)
        for (long long unit = y; unit < units; unit += 8) {
            const real value = exp(z[unit * n + sample] - largest);
            z[unit * n + sample] = value;
            total += value;
        }
    scratch[y][threadIdx.x] = total;
    __syncthreads();
    total = 0;
    for (int other = 0; other < 8; other++) total += scratch[other][threadIdx.x];
    if (inside)
        for (long long unit = y; unit < units; unit += 8) z[unit * n + sample] /= total;
}

// See Backend.class_error; sums[2 * block] gets the loss of the block's samples, sums[2 * block + 1] how many are right.
extern "C" __global__ void class_error(
    const real* __restrict__ output, const long long* __restrict__ y, long long classes, long long n,
    double smallest, real* __restrict__ delta, double* __restrict__ sums) {
    __shared__ real values[8][WARP];
    __shared__ long long rows[8][WARP];
    __shared__ double scratch[256];
    const long long sample = blockIdx.x * (long long)WARP + threadIdx.x;
    const bool inside = sample < n;
    const int slice = threadIdx.y;
    long long best = slice < classes ? slice : 0;
    const long long right = inside ? y[sample] : 0;
    if (inside)
        for (long long row = slice; row < classes; row += 8) {
            const real value = output[row * n + sample];
            if (value > output[best * n + sample]) best = row;
            delta[row * n + sample] = row == right ? value - real(1) : value;
        }
    values[slice][threadIdx.x] = inside ? output[best * n + sample] : real(0);
    rows[slice][threadIdx.x] = best;
    __syncthreads();
    double loss = 0, correct = 0;
    if (inside && slice == 0) {
        real largest = values[0][threadIdx.x];
        for (int other = 1; other < 8; other++) {
            const real value = values[other][threadIdx.x];
            const long long row = rows[other][threadIdx.x];
            if (value > largest || (value == largest && row < best)) {
                largest = value;
                best = row;
            }
        }
        const double hit = output[right * n + sample];
        loss = -log(hit < smallest ? smallest : hit);
        correct = best == right;
    }
    loss = block_sum(loss, scratch);
    correct = block_sum(correct, scratch);
    if (threadIdx.x == 0 && slice == 0) {
        sums[2 * blockIdx.x] = loss;
        sums[2 * blockIdx.x + 1] = correct;
    }
}

// -- sums of everything --------------------------------------------------------------------------------------------------

// sums[block] = sum((a - b)**2) over the block's share.
extern "C" __global__ void squared_error(
    const real* __restrict__ a, const real* __restrict__ b, long long size, double* __restrict__ sums) {
    __shared__ double scratch[256];
    double total = 0;
    for (long long k = thread_number(); k < size; k += thread_count()) {
        const real difference = a[k] - b[k];
        total += (double)(difference * difference);
    }
    total = block_sum(total, scratch);
    if (threadIdx.x == 0) sums[blockIdx.x] = total;
}

// out[c] = sum over k of sums[k * columns + c]; one block for each column.
extern "C" __global__ void column_sums(
    const double* __restrict__ sums, long long count, long long columns, double* __restrict__ out) {
    __shared__ double scratch[256];
    double total = 0;
    for (long long k = threadIdx.x; k < count; k += blockDim.x) total += sums[k * columns + blockIdx.x];
    total = block_sum(total, scratch);
    if (threadIdx.x == 0) out[blockIdx.x] = total;
}

// -- elementwise ---------------------------------------------------------------------------------------------------------

extern "C" __global__ void truncated_mean(long long size, const real* z, real* out) {
    for (long long k = thread_number(); k < size; k += thread_count()) out[k] = real(mean_above_zero(z[k]));
}

extern "C" __global__ void truncated_log_partition(long long size, const real* z, real* out) {
    for (long long k = thread_number(); k < size; k += thread_count()) out[k] = real(log_integral_above_zero(z[k]));
}

extern "C" __global__ void softplus(long long size, const real* x, real* out) {
    for (long long k = thread_number(); k < size; k += thread_count()) {
        const real value = x[k];
        out[k] = (value < 0 ? real(0) : value) + log1p(exp(value < 0 ? value : -value));
    }
}

extern "C" __global__ void activate(long long size, long long activation, double slope, real* __restrict__ values) {
    for (long long k = thread_number(); k < size; k += thread_count())
        values[k] = activated(values[k], activation, slope);
}

extern "C" __global__ void gate(
    long long size, long long activation, double slope, const real* __restrict__ activity, real* __restrict__ values) {
    for (long long k = thread_number(); k < size; k += thread_count())
        values[k] *= derivative(activity[k], activation, slope);
}

extern "C" __global__ void add_scaled(
    long long size, real* __restrict__ target, double scale, const real* __restrict__ source) {
    for (long long k = thread_number(); k < size; k += thread_count()) target[k] += real(scale) * source[k];
}

// See Backend.sgd; `velocity` may be null.
extern "C" __global__ void sgd(
    long long size, real* __restrict__ value, real* __restrict__ velocity, const real* __restrict__ gradient,
    double learning_rate, double momentum, long long nesterov) {
    const real rate = learning_rate, kept = momentum;
    for (long long k = thread_number(); k < size; k += thread_count()) {
        real along = gradient[k];
        if (velocity) {
            const real moved = kept * velocity[k] + along;
            velocity[k] = moved;
            along = nesterov ? along + kept * moved : moved;
        }
        value[k] -= rate * along;
    }
}

// See Backend.adam; `born` has 2 or 4 bytes a connection, or is null.
extern "C" __global__ void adam(
    long long size, real* __restrict__ value, real* __restrict__ first, real* __restrict__ second,
    const real* __restrict__ gradient, const void* __restrict__ born, long long born_bytes, long long step,
    long long start, const unsigned* clock, double learning_rate, double beta1, double beta2, double eps, double log_beta1,
    double log_beta2) {
    const real rate = learning_rate, kept1 = beta1, new1 = 1 - beta1, kept2 = beta2, new2 = 1 - beta2;
    for (long long k = thread_number(); k < size; k += thread_count()) {
        long long since = start;
        if (born) {
            const long long birth = born_bytes == 2 ? ((const unsigned short*)born)[k] : ((const unsigned*)born)[k];
            since = birth > start ? birth : start;
        }
        const double age = (double)(step + *clock + 1 - since);
        const real g = gradient[k];
        first[k] = kept1 * first[k] + new1 * g;
        second[k] = kept2 * second[k] + new2 * (g * g);
        const real mean = first[k] / real(1 - exp(age * log_beta1)), spread = second[k] / real(1 - exp(age * log_beta2));
        value[k] -= rate * mean / (sqrt(spread) + real(eps));
    }
}

// -- the clock of recorded work: steps since it was recorded ---------------------------------------------------------------

extern "C" __global__ void set_clock(unsigned* clock, long long steps) { *clock = (unsigned)steps; }

extern "C" __global__ void tick(unsigned* clock) { *clock += 1; }
