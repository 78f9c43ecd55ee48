/* The high-dimensional limit of streaming SGD on one model: the coefficients and the right-hand side.
 *   loss       exp(r) - y*r
 *   target     Teacher('exp(r_star)')
 *   adversary  l2 ball of radius epsilon
 *
 * Written by sgdlimit, generator format 24. To write it again:
 *   sgdlimit generate SPEC --out DIRECTORY --parts equations
 * It stands alone: cc -O3 -c this_file.c; link with -lm. The interface is the struct sgdlimit_problem and the
 * functions sgdlimit_*. The mathematics is arXiv 2607.00207, in the notation of docs/theory.md.
 *
 * Contents
 *   The problem: what a caller hands to a kernel, and what it gets back
 *   Elementary functions that loops over many arguments can vectorise
 *   Gaussian integrals: composite Gauss-Legendre on graded panels
 *   Learning rates
 *   This model
 *   The interface
 */

/* Without -fopenmp-simd the loops below are plain loops, and a loop that a compiler cannot vectorise is one, too. */
#pragma GCC diagnostic ignored "-Wunknown-pragmas"
#ifdef __clang__
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

/* ---- The problem: what a caller hands to a kernel, and what it gets back ---------------------------------------
 * One struct serves every verb (solve, simulate); a verb reads the fields it needs and leaves the others alone. The
 * struct begins with its size, so that a caller built against another layout is refused instead of misread. Matrices
 * are dense and row-major; [M][N] says that row m holds the N modes of iterate m. Nothing is kept between calls. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SGDLIMIT_ABI 3

enum {
  SGDLIMIT_OK = 0,
  SGDLIMIT_DIVERGED = 1,
  SGDLIMIT_CANCELLED = 2,
  SGDLIMIT_NO_PROGRESS = 3,   /* step size underflow, or more than max_steps */
  SGDLIMIT_BAD_PROBLEM = 4,   /* size or counts */
  SGDLIMIT_OUT_OF_MEMORY = 5,
  SGDLIMIT_NO_STEP = 6        /* a greedy learning rate does not exist */
};

/* How step_arguments are read: gamma; the schedule's parameters; the horizon, then gamma at equal steps of sqrt(t) up to
 * it; none; none; none; eta and b. Later kinds are appended. From SGDLIMIT_LINE_SEARCH on gamma depends on the state: of
 * the limit in solve, of the iterate in simulate. */
enum {
  SGDLIMIT_CONSTANT = 0,
  SGDLIMIT_SCHEDULE = 1,
  SGDLIMIT_TABLE = 2,
  SGDLIMIT_LINE_SEARCH = 3,
  SGDLIMIT_POLYAK = 4,
  SGDLIMIT_GREEDY = 5,        /* the statistic is the kernel's */
  SGDLIMIT_ADAGRAD_NORM = 6
};

typedef struct sgdlimit_problem {
  uint64_t size;                  /* sizeof(sgdlimit_problem) as the caller knows it */
  int64_t iterates, classes, modes, times_count;   /* M, K, N, T */
  double dimension;               /* d; INFINITY allowed in solve */
  const double *weights;          /* [N] omega: share of the dimension */
  const double *probabilities;    /* [K] */
  const double *eigenvalues;      /* [K][N] */
  const double *means;            /* [K][N] */
  const double *labels;           /* [K]; zeros when the target is not Labels */
  const double *teacher;          /* [N]; zeros when absent */
  const double *reference;        /* [N] X°, or NULL: its statistics are then NaN */
  const double *parameters;       /* [M][P][K] in the order of sgdlimit_parameter_names */
  const double *start_mean;       /* [M][N] x_j at start_time */
  const double *start_variance;   /* [M][N] v_j at start_time (solve only) */
  const double *start_auxiliary;  /* [M] the integral of sum_j G_j up to start_time, or NULL: zeros */
  int64_t step_kind;              /* SGDLIMIT_CONSTANT, ... */
  const double *step_arguments;   /* [M][step_arguments_count] */
  int64_t step_arguments_count;
  double start_time;
  const double *times;            /* [T] increasing, >= start_time */
  double rtol;
  int64_t max_steps;
  int64_t method;                 /* solve: SGDLIMIT_AUTO, ... */
  int64_t first_run, runs;        /* simulate: runs first_run .. first_run + runs - 1 */
  uint64_t seed;
  const volatile int32_t *cancel; /* or NULL; nonzero asks to stop */
  volatile int64_t *progress;     /* or NULL; solve: times done; simulate: steps done over all runs of this call */
  double *statistics;             /* out. solve: [M][T][S]; simulate: [runs][M][T][SGDLIMIT_SUMMARY + SGDLIMIT_CLASS_SUMMARY K] */
  double *mean, *variance;        /* out, solve: [M][T][N] or NULL */
  double *final_mean, *final_variance, *final_auxiliary;   /* out, solve: [M][N], [M][N], [M] at the last time, or NULL */
} sgdlimit_problem;

/* ---- Elementary functions that loops over many arguments can vectorise --------------------------------------------
 * Branch-free: no table, no call, only arithmetic, comparisons that choose, and the bits of a double. Polynomials are
 * mpmath.chebyfit's at 60 digits. Relative errors are below 1e-15, NaN comes out where NaN went in, and what is below
 * 2^-1021 is 0. */
#define LANEWISE static inline __attribute__((always_inline))

/* What is long and called from many places: a copy for each would be most of the time of compilation. */
#if defined(__GNUC__) && !defined(__clang__)
#define APART static __attribute__((noinline, noclone))
#else
#define APART static __attribute__((noinline))
#endif

LANEWISE uint64_t sgdlimit_bits(double x) {
  uint64_t word;
  memcpy(&word, &x, sizeof word);
  return word;
}

LANEWISE double sgdlimit_from_bits(uint64_t word) {
  double x;
  memcpy(&x, &word, sizeof x);
  return x;
}

/* exp(r) - 1 for |r| <= log(2)/2 */
LANEWISE double sgdlimit_expm1_reduced(double r) {
  double a = r * 2.510038549551032e-08 + 2.7620088445409746e-07;
  a = a * r + 2.7557268459997064e-06;
  a = a * r + 2.4801521295954376e-05;
  a = a * r + 1.9841269863053618e-04;
  a = a * r + 1.3888888917213717e-03;
  a = a * r + 8.333333333330062e-03;
  a = a * r + 4.166666666662413e-02;
  a = a * r + 1.6666666666666669e-01;
  a = a * r + 0.5;
  return r + r * r * a;
}

/* exp(x + rest), |rest| < 1e-3: with x = k log 2 + r, adding 1.5 * 2^52 leaves k in the lowest bits of x/log 2. */
LANEWISE double sgdlimit_exp_sum(double x, double rest) {
  const double shifted = x * 1.4426950408889634 + 6755399441055744.0;
  const double k = shifted - 6755399441055744.0;
  const double r = ((x - k * 0.6931471803691238) - k * 1.9082149292705877e-10) + rest;
  /* 2^k in two factors, so that 2^1024 is never one */
  const double half_power = sgdlimit_from_bits((sgdlimit_bits(shifted) + 1022) << 52);
  const double y = (2.0 + 2.0 * sgdlimit_expm1_reduced(r)) * half_power;
  return x > 709.782712893384 ? INFINITY : x < -707.7 ? 0.0 : y;
}

LANEWISE double sgdlimit_exp(double x) { return sgdlimit_exp_sum(x, 0.0); }

/* exp(x) - 1 for x <= 0 */
LANEWISE double sgdlimit_expm1_negative(double x) {
  const double shifted = x * 1.4426950408889634 + 6755399441055744.0;
  const double k = shifted - 6755399441055744.0;
  const double r = (x - k * 0.6931471803691238) - k * 1.9082149292705877e-10;
  const double power = sgdlimit_from_bits((sgdlimit_bits(shifted) + 1023) << 52);
  return x < -40.0 ? -1.0 : power * sgdlimit_expm1_reduced(r) + (power - 1.0);
}

LANEWISE double sgdlimit_sinh(double x) {
  const double fall = sgdlimit_expm1_negative(-fabs(x)), e = sgdlimit_exp(-fabs(x));
  return copysign(fabs(x) < 350.0 ? -0.5 * fall * (1.0 + e) / e : sgdlimit_exp(fabs(x)) * 0.5, x);
}

/* log(x + rest), |rest| a rounding of x: x = 2^e m, m in [1/sqrt 2, sqrt 2), and 2 atanh((m - 1)/(m + 1)). */
LANEWISE double sgdlimit_log_sum(double x, double rest) {
  const uint64_t one = UINT64_C(0x3ff0000000000000), root_half = UINT64_C(0x3fe6a09e667f3bcd);
  const uint64_t scaled = sgdlimit_bits(x) + (one - root_half);
  const double e = sgdlimit_from_bits((scaled >> 52) | UINT64_C(0x4330000000000000)) - (4503599627370496.0 + 1023.0);
  const double m = sgdlimit_from_bits((scaled & UINT64_C(0x000fffffffffffff)) + root_half);
  const double s = (m - 1.0) / (m + 1.0), t = s * s;
  double a = t * 0.14616449685043406 + 0.15331721600556042;
  a = a * t + 0.18182889125261723;
  a = a * t + 0.2222221113479508;
  a = a * t + 0.28571428625975487;
  a = a * t + 0.39999999999899505;
  a = a * t + 0.6666666666666670;
  const double y = e * 0.6931471803691238 + (2.0 * s + (s * t * a + (e * 1.9082149292705877e-10 + rest / x)));
  return x < 2.2250738585072014e-308 ? (x >= 0.0 ? -INFINITY : NAN) : x > 1.7976931348623157e308 ? INFINITY : y + (x - x);
}

LANEWISE double sgdlimit_log(double x) { return sgdlimit_log_sum(x, 0.0); }

/* M_1(h)/M_0(h) of the normal density's tail beyond h >= 0, the mean of z - h there: at 0 it is sqrt(2/pi), far out 1/h.
 * 28 coefficients of (h + 4) times it in t = (h - 4)/(h + 4), odd and even ones apart: half as long a chain. The last one
 * is rounded so that 1 - Phi(0) is 1/2. */
LANEWISE double sgdlimit_tail_ratio(double h) {
  const double q = 1.0 / (h + 4.0), t = 1.0 - 8.0 * q, u = t * t;
  double a = u * 1.6032788795386732e-08 - 1.4360935380845031e-07;
  double b = u * -2.0720960346813525e-08 + 2.5575598560518874e-07;
  a = a * u + 5.856091601311411e-07;
  b = b * u - 1.6907513438144842e-06;
  a = a * u - 1.1708386948108753e-06;
  b = b * u + 8.114491573713766e-06;
  a = a * u - 1.4060247434863265e-06;
  b = b * u - 3.170894333965478e-05;
  a = a * u + 2.5559015582861455e-05;
  b = b * u + 0.00010488780723204895;
  a = a * u - 0.0001503099414745899;
  b = b * u - 0.0002892919343453747;
  a = a * u + 0.0006654877420034621;
  b = b * u + 0.0005948560376954562;
  a = a * u - 0.0024857901680142395;
  b = b * u - 0.00037358598026898405;
  a = a * u + 0.00796141079607631;
  b = b * u - 0.004488589888986743;
  a = a * u - 0.020800454273858873;
  b = b * u + 0.0316565274896319;
  a = a * u + 0.0337036676512472;
  b = b * u - 0.13822449147914684;
  a = a * u + 0.06751792792283014;
  b = b * u + 0.40195670380623516;
  a = a * u - 1.1822045015192797;
  b = b * u + 1.804857155915769;
  return (a * t + b) * q;
}

/* exp(-x^2/2)/sqrt(2 pi) */
LANEWISE double sgdlimit_normal_density(double x) {
  const double head = sgdlimit_from_bits(sgdlimit_bits(x) & UINT64_C(0xfffffffff8000000));
  return 0.3989422804014327 * sgdlimit_exp_sum(-0.5 * head * head, 0.5 * (head - x) * (x + head));
}

/* 1 - Phi(h) for h >= 0 */
LANEWISE double sgdlimit_normal_tail(double h) { return sgdlimit_normal_density(h) / (h + sgdlimit_tail_ratio(h)); }

LANEWISE double square(double x) { return x * x; }

/* NaN if one of the two is, which fmax and fmin would swallow. */
LANEWISE double larger(double a, double b) { return ((a > b) | (a != a)) ? a : b; }

/* M_k(h), the integral over z > h of (z - h)^k phi(z) dz for h >= 0 */
LANEWISE double tail_moment0(double h) { return sgdlimit_normal_tail(h); }

/* M_k(h)/phi(h) */
LANEWISE double scaled_tail_moment0(double h) { return 1.0 / (h + sgdlimit_tail_ratio(h)); }

/* ---- Gaussian integrals: composite Gauss-Legendre on graded panels ----------------------------------------------
 * The integral of phi(z) g(z), phi the standard normal density, over the window [-13, 13]: phi leaves e^-84 outside,
 * and e^-40 of its mass when g tilts it by e^(4z). Panels end where g has a kink, and shrink towards g's poles.
 *
 * How short a panel must be: n-point Gauss-Legendre on [a, b] converges like rho^(-2n), where the ellipse with foci
 * a and b through the nearest pole has distances to them that sum to (b - a)(rho + 1/rho)/2. So a panel may be as long
 * as the pole's summed distance from its ends divided by SGDLIMIT_CLEARANCE = (rho + 1/rho)/2. Measured on softplus,
 * sigmoid, tanh, their derivatives and the squares of those, |m| <= 10, 0 <= s <= 100: a clearance of 1.8 leaves 1.3e-11 of
 * E|g| (poles of order 6; 8e-13 to order 3, 1e-15 for simple ones) with 112 nodes at s = 1 and at most 240 at s = 100; 2
 * leaves 7e-13 with up to 256 nodes, 1.5 leaves 1e-8.
 * SGDLIMIT_LONGEST_PANEL integrates phi itself, and phi(z) e^(4z), to 1e-15. Entire integrands that vary on a scale of
 * their own below 1 (sin(9z), say) announce nothing here: give breakpoints. */
#define SGDLIMIT_WINDOW 13.0
#define SGDLIMIT_LONGEST_PANEL (SGDLIMIT_WINDOW / 3)
#define SGDLIMIT_CLEARANCE 1.8
#define SGDLIMIT_NARROWEST_LAYER 1e-12   /* below it a layer is a breakpoint: to the integrand it is a jump */
#define SGDLIMIT_SAME_BREAKPOINT 1e-14   /* kinks this close are one: what differs is rounding */

enum { SGDLIMIT_POINTS = 16 };

/* An entire function that has a step or a bump of a width of its own, Phi((z - location)/width) say, is constant to 1e-15
 * eight widths away. Sixteen points integrate phi itself on five of its widths, to rounding; three leave room for what
 * varies faster in its middle, a Phi of an erf say. Further out less is left of it, which does: a panel may be as long as
 * SGDLIMIT_STEP_GROWTH times its distance from the middle. */
#define SGDLIMIT_STEP_REACH 8.0
#define SGDLIMIT_STEP_PANEL 3.0
#define SGDLIMIT_STEP_GROWTH 2.0

/* Where an integrand is not smooth: it has kinks, poles at pole +- i width, and steps. Any may come in any order, repeat,
 * lie outside the window or be infinite; NaN, the 0/0 of a vanishing variance, is none. */
typedef struct {
  double lower, upper;   /* the window */
  int kinks, poles, steps;
  const double *kink, *pole, *pole_width, *step, *step_width;
} sgdlimit_shape;

/* Edges that a shape can make. Each kink, narrow layer or end of the window ends one panel; the longest panel fits 6 times
 * (25 when the window is as wide as it gets); a pole of width w makes its distance from the panel's end fall, then grow
 * more than threefold a panel between 26 and w, hence at most 2 (log_3(26/1e-12) + 1) + 3 < 62 panels; a step makes 6 and
 * an end. */
#define SGDLIMIT_MAX_EDGES(kinks, poles, steps) ((kinks) + 63 * (poles) + 8 * (steps) + 27)

/* Cuts the window into panels, from left to right, each as long as it may be; returns how many. `edges` has room for
 * SGDLIMIT_MAX_EDGES. Every comparison below is written so that NaN fails it. */
APART int sgdlimit_panels(const sgdlimit_shape *shape, double *edges) {
  int panels = 0;
  edges[0] = shape->lower;
  while (edges[panels] < shape->upper) {
    const double a = edges[panels];
    double end = shape->upper, length = SGDLIMIT_LONGEST_PANEL;
    for (int i = 0; i < shape->kinks; i++)
      if (shape->kink[i] > a + SGDLIMIT_SAME_BREAKPOINT && shape->kink[i] < end) end = shape->kink[i];
    for (int i = 0; i < shape->poles; i++) {
      const double location = shape->pole[i], width = shape->pole_width[i];
      if (width < SGDLIMIT_NARROWEST_LAYER) {
        if (location > a + SGDLIMIT_SAME_BREAKPOINT && location < end) end = location;
      } else {
        /* The root b - a of |pole - a| + |pole - b| = clearance (b - a); any shorter panel has more clearance. */
        const double ahead = location - a, distance = sqrt(ahead * ahead + width * width);
        const double longest = 2 * (SGDLIMIT_CLEARANCE * distance - ahead) /
                               (SGDLIMIT_CLEARANCE * SGDLIMIT_CLEARANCE - 1);
        if (longest < length) length = longest;
      }
    }
    for (int i = 0; i < shape->steps; i++) {
      const double location = shape->step[i], width = shape->step_width[i];
      if (width < SGDLIMIT_NARROWEST_LAYER) {
        if (location > a + SGDLIMIT_SAME_BREAKPOINT && location < end) end = location;
      } else if (a < location + SGDLIMIT_STEP_REACH * width) {
        /* Up to where the step begins, or into it by no more than it allows: steps that begin together share an edge. The
         * distance is that of the panel's nearer end, which lies ahead if the middle does. */
        const double ahead = location - a, before = ahead - SGDLIMIT_STEP_REACH * width;
        const double far = ahead > 0 ? ahead / (1 + SGDLIMIT_STEP_GROWTH) : -ahead;
        double longest = SGDLIMIT_STEP_PANEL * width;
        if (before > longest) longest = before;
        if (SGDLIMIT_STEP_GROWTH * far > longest) longest = SGDLIMIT_STEP_GROWTH * far;
        if (longest < length) length = longest;
      }
    }
    /* The sliver that rounding would leave before `end` is swallowed. */
    edges[++panels] = end - a <= length * (1 + 1e-13) + SGDLIMIT_SAME_BREAKPOINT ? end : a + length;
  }
  return panels;
}

/* The nodes of the panel [a, b], and their weights with phi(z) in them. */
APART void sgdlimit_nodes(double a, double b, double *z, double *weight) {
  static const double half_nodes[SGDLIMIT_POINTS / 2] = {
      0.98940093499164993, 0.94457502307323258, 0.86563120238783174, 0.75540440835500303,
      0.61787624440264375, 0.45801677765722739, 0.28160355077925891, 0.095012509837637440};
  static const double half_weights[SGDLIMIT_POINTS / 2] = {
      0.027152459411754095, 0.062253523938647893, 0.095158511682492785, 0.12462897125553387,
      0.14959598881657673, 0.16915651939500254, 0.18260341504492359, 0.18945061045506850};
  const double middle = (a + b) / 2, half = (b - a) / 2;
  for (int i = 0; i < SGDLIMIT_POINTS / 2; i++) {
    z[i] = middle - half * half_nodes[i];
    z[SGDLIMIT_POINTS - 1 - i] = middle + half * half_nodes[i];
    weight[i] = weight[SGDLIMIT_POINTS - 1 - i] = half * half_weights[i];
  }
  #pragma omp simd
  for (int i = 0; i < SGDLIMIT_POINTS; i++) weight[i] *= sgdlimit_normal_density(z[i]);
}

/* Panels are taken from the one that holds 0 outwards, to the right and then to the left. The rest of a direction is
 * left out where a longest panel with the outermost values would add nothing to the sizes so far, on a panel that has all
 * features behind it: there an integrand is a smooth function that grows by far less than phi falls. Beside a feature it
 * may vanish, so narrow panels tell nothing. With a tilt its mass may lie as far out as the window moved. */
#define SGDLIMIT_NEGLIGIBLE 1e-15
#define SGDLIMIT_LEAST_JUDGED (SGDLIMIT_LONGEST_PANEL / 10)

/* Number of the panel that holds 0; beyond `below` and `above` there is no feature more that a panel notices. */
APART int sgdlimit_middle(const sgdlimit_shape *shape, const double *edges, int panels, double *below, double *above) {
  const double *places[] = {shape->kink, shape->pole, shape->step};
  const double *widths[] = {NULL, shape->pole_width, shape->step_width};
  const int counts[] = {shape->kinks, shape->poles, shape->steps};
  *below = shape->lower + SGDLIMIT_WINDOW;
  *above = shape->upper - SGDLIMIT_WINDOW;
  for (int kind = 0; kind < 3; kind++)
    for (int i = 0; i < counts[kind]; i++) {
      const double place = places[kind][i];
      if (widths[kind] && !(widths[kind][i] < SGDLIMIT_LONGEST_PANEL)) continue;
      if (place > shape->lower && place < *below) *below = place;
      if (place < shape->upper && place > *above) *above = place;
    }
  int middle = 0;
  while (middle + 1 < panels && edges[middle + 1] <= 0) middle++;
  return middle;
}

/* The panel after q, where `enough` says that what lies beyond it is nothing; -1 after the last. */
static int sgdlimit_next(int q, int middle, int panels, int enough) {
  if (q < middle) return enough ? -1 : q - 1;
  return enough || q + 1 == panels ? middle - 1 : q + 1;
}

/* Whether panel q is long, and has the features of its direction behind it (its end is where they are, up to rounding). */
static int sgdlimit_is_beyond(int q, int middle, const double *edges, double below, double above) {
  const double a = edges[q], b = edges[q + 1];
  return b - a >= SGDLIMIT_LEAST_JUDGED && (q < middle ? b <= below + 1e-9 : a >= above - 1e-9);
}

/* The larger of two terms at a panel's outer end: one alone may be at a zero. */
LANEWISE double sgdlimit_outermost(const double *terms, int right) {
  const double last = fabs(terms[right ? SGDLIMIT_POINTS - 1 : 0]), other = fabs(terms[right ? SGDLIMIT_POINTS - 5 : 4]);
  return last > other ? last : other;
}

/* Adds the terms of a panel to the integral, and their absolute values to its size. */
LANEWISE void sgdlimit_add(const double *terms, double *integral, double *size) {
  double sum = 0, sum_of_sizes = 0;
  #pragma omp simd reduction(+ : sum, sum_of_sizes)
  for (int k = 0; k < SGDLIMIT_POINTS; k++) {
    sum += terms[k];
    sum_of_sizes += fabs(terms[k]);
  }
  *integral += sum;
  *size += sum_of_sizes;
}

#define SGDLIMIT_FARTHEST_TILT 40.0   /* e^(40 z) moves the mass to where phi is e^-800: no sum meets it */

/* Widens the window for an integrand with a factor e^(rate z): it moves the mass by `rate`. */
static inline void sgdlimit_tilt(double rate, double *lower, double *upper) {
  if (rate > 0) *upper = fmax(*upper, SGDLIMIT_WINDOW + fmin(rate, SGDLIMIT_FARTHEST_TILT));
  if (rate < 0) *lower = fmin(*lower, -SGDLIMIT_WINDOW + fmax(rate, -SGDLIMIT_FARTHEST_TILT));
}

enum { SGDLIMIT_MOST_ROOTS = 8, SGDLIMIT_ROOT_SAMPLES = 4 };

/* The sign change between two places, as close as doubles come: inverse quadratic interpolation through the last three
 * where that is monotonic, else bisection (Chandrupatla, Advances in Engineering Software 28, 145, 1997). The function
 * is one of many places at once. */
APART double sgdlimit_root(void (*function)(int, const double *, const double *, double *), const double *context,
                           double a, double at_a, double b, double at_b) {
  double c = b, at_c = at_b, share = 0.5;   /* the root is between a and b; c is the place before */
  for (;;) {
    const double least = 2.3e-16 * (fabs(at_a) < fabs(at_b) ? fabs(a) : fabs(b)) + 1e-300, width = fabs(b - a);
    if (!(width > 2 * least)) return fabs(at_a) < fabs(at_b) ? a : b;
    share = fmin(fmax(share, least / width), 1 - least / width);
    const double x = a + share * (b - a);
    double at_x;
    function(1, &x, context, &at_x);
    if (at_x == 0) return x;
    if ((at_x < 0) == (at_a < 0)) {
      c = a;
      at_c = at_a;
    } else {
      c = b;
      at_c = at_b;
      b = a;
      at_b = at_a;
    }
    a = x;
    at_a = at_x;
    const double xi = (a - b) / (c - b), phi = (at_a - at_b) / (at_c - at_b);
    share = phi * phi < xi && (1 - phi) * (1 - phi) < 1 - xi
                ? at_a / (at_b - at_a) * at_c / (at_b - at_c) + (c - a) / (b - a) * at_a / (at_c - at_a) * at_b / (at_c - at_b)
                : 0.5;
  }
}

/* Sign changes of a continuous function on the panels, each looked at in SGDLIMIT_ROOT_SAMPLES places, those of some
 * panels at once; returns how many were found (at most SGDLIMIT_MOST_ROOTS, from left to right). */
enum { SGDLIMIT_PANELS_AT_ONCE = 8 };

APART int sgdlimit_roots(void (*function)(int, const double *, const double *, double *), const double *context,
                         const double *edges, int panels, double *roots) {
  int found = 0;
  double a = edges[0], at_a;   /* the last place where the function was not 0 */
  function(1, &a, context, &at_a);
  for (int first = 0; first < panels; first += SGDLIMIT_PANELS_AT_ONCE) {
    double places[SGDLIMIT_PANELS_AT_ONCE * SGDLIMIT_ROOT_SAMPLES], values[SGDLIMIT_PANELS_AT_ONCE * SGDLIMIT_ROOT_SAMPLES];
    int count = 0;
    for (int q = first; q < panels && q < first + SGDLIMIT_PANELS_AT_ONCE; q++)
      for (int k = 1; k <= SGDLIMIT_ROOT_SAMPLES; k++)
        places[count++] = k == SGDLIMIT_ROOT_SAMPLES ? edges[q + 1]
                                                     : edges[q] + (edges[q + 1] - edges[q]) * k / SGDLIMIT_ROOT_SAMPLES;
    function(count, places, context, values);
    for (int k = 0; k < count && found < SGDLIMIT_MOST_ROOTS; k++) {
      const double b = places[k], at_b = values[k];
      if ((at_a < 0 && at_b > 0) || (at_a > 0 && at_b < 0))
        roots[found++] = sgdlimit_root(function, context, a, at_a, b, at_b);
      if (at_b != 0 || at_a == 0) {
        a = b;
        at_a = at_b;
      }
    }
  }
  return found;
}

static void crossing1(int count, const double *places, const double *context, double *values) {
  const double m = context[0];
  const double mean_ell = context[1];
  const double n = context[2];
  const double p_epsilon = context[3];
  const double s_ell = context[4];
  const double slope_given = context[5];
  #pragma omp simd
  for (int k = 0; k < count; k++) {
    const double z_star = places[k];
    const double ell = mean_ell + s_ell*z_star;
    values[k] = -2.0*sgdlimit_exp(ell)*larger(1e-05, p_epsilon*n) + 2.0*sgdlimit_exp(m)*sgdlimit_exp(ell*slope_given)*sgdlimit_exp(-mean_ell*slope_given)*sgdlimit_sinh(larger(1e-05, p_epsilon*n));
  }
}

static void crossing2(int count, const double *places, const double *context, double *values) {
  const double m = context[0];
  const double mean_ell = context[1];
  const double n = context[2];
  const double p_epsilon = context[3];
  const double s_ell = context[4];
  const double s_given = context[5];
  const double slope_given = context[6];
  #pragma omp simd
  for (int k = 0; k < count; k++) {
    const double z_star = places[k];
    const double ell = mean_ell + s_ell*z_star;
    values[k] = -8.0*s_given*sgdlimit_exp(m + slope_given*(ell - mean_ell))*sgdlimit_sinh(larger(1e-05, p_epsilon*n)) - 2.0*sgdlimit_exp(ell)*larger(1e-05, p_epsilon*n) + 2.0*sgdlimit_exp(m)*sgdlimit_exp(ell*slope_given)*sgdlimit_exp(-mean_ell*slope_given)*sgdlimit_sinh(larger(1e-05, p_epsilon*n));
  }
}

static void crossing3(int count, const double *places, const double *context, double *values) {
  const double m = context[0];
  const double mean_ell = context[1];
  const double n = context[2];
  const double p_epsilon = context[3];
  const double s_ell = context[4];
  const double s_given = context[5];
  const double slope_given = context[6];
  #pragma omp simd
  for (int k = 0; k < count; k++) {
    const double z_star = places[k];
    const double ell = mean_ell + s_ell*z_star;
    values[k] = 8.0*s_given*sgdlimit_exp(m + slope_given*(ell - mean_ell))*sgdlimit_sinh(larger(1e-05, p_epsilon*n)) - 2.0*sgdlimit_exp(ell)*larger(1e-05, p_epsilon*n) + 2.0*sgdlimit_exp(m)*sgdlimit_exp(ell*slope_given)*sgdlimit_exp(-mean_ell*slope_given)*sgdlimit_sinh(larger(1e-05, p_epsilon*n));
  }
}

/* ---- Learning rates --------------------------------------------------------------------------------------------
 * A greedy one makes a statistic phi fall fastest: where dphi/dt = -gamma first + gamma^2 second, that is
 * gamma = first/(2 second). AdaGrad-norm's is eta/sqrt(b^2 + int sum_j G_j dt). */

/* A state, and the rates at it. */
typedef struct point {
  const double *x, *e, *v, *offset, *slope, *noise;   /* [N] e = x - X* */
  double accumulated;   /* the integral of sum_j noise_j so far */
  double *work;         /* [2N] */
} point;

typedef struct descent {
  double first, second;
} descent;

static double rate_at_time(const sgdlimit_problem *p, int64_t iterate, double t);
static descent line_search_descent(const sgdlimit_problem *p, const double *k, int64_t iterate, const point *at);
static descent polyak_descent(const sgdlimit_problem *p, const double *k, int64_t iterate, const point *at);
static descent greedy_descent(const sgdlimit_problem *p, const double *k, int64_t iterate, const point *at);

static int has_step_arguments(const sgdlimit_problem *p) {
  const int64_t count = p->step_arguments_count;
  switch (p->step_kind) {
    case SGDLIMIT_TABLE: return count > 2;
    case SGDLIMIT_ADAGRAD_NORM: return count == 2;
    case SGDLIMIT_POLYAK: return p->reference != NULL;
    default: return 1;
  }
}

/* NaN where no gamma is the best: phi falls ever faster with gamma. At rest any would do, and 0 is one. */
static double steepest(descent d) {
  if (d.second > 0) return d.first > 0 ? d.first / (2 * d.second) : 0;
  return d.second == 0 && d.first <= 0 ? 0 : NAN;
}

static double from_table(const double *arguments, int64_t count, double t) {
  const double *values = arguments + 1, last = (double)(count - 2);
  const double place = fmin(fmax(sqrt(t / arguments[0]), 0) * last, last);
  const int64_t left = place < last ? (int64_t)place : count - 3;
  const double share = place - (double)left;
  return (1 - share) * values[left] + share * values[left + 1];
}

static double learning_rate(const sgdlimit_problem *p, const double *k, int64_t iterate, double t, const point *at) {
  const double *arguments = p->step_arguments + iterate * p->step_arguments_count;
  switch (p->step_kind) {
    case SGDLIMIT_LINE_SEARCH: return steepest(line_search_descent(p, k, iterate, at));
    case SGDLIMIT_POLYAK: return steepest(polyak_descent(p, k, iterate, at));
    case SGDLIMIT_GREEDY: return steepest(greedy_descent(p, k, iterate, at));
    case SGDLIMIT_ADAGRAD_NORM: return arguments[0] / sqrt(arguments[1] * arguments[1] + at->accumulated);
    case SGDLIMIT_TABLE: return from_table(arguments, p->step_arguments_count, t);
    default: return rate_at_time(p, iterate, t);
  }
}

/* ---- This model --------------------------------------------------------------------------------------------------
 * loss       exp(r) - y*r
 * target     Teacher('exp(r_star)')
 * adversary  l2 ball of radius epsilon
 */

/* The law of the score given the class, in the symbols of the theory (section 2). */
typedef struct score { double n, m_star, Q_star, m, beta, Q_perp; } score;

enum { GLOBAL_CONSTANTS = 1, CLASS_CONSTANTS = 2 };
static int64_t constants_count(const sgdlimit_problem *p) {
  return GLOBAL_CONSTANTS + CLASS_CONSTANTS * p->classes;
}

/* What depends on the instance alone. */
static void constants(const sgdlimit_problem *p, double *k) {
  const double *x_star = p->teacher;
  double teacher_norm2 = 0;
  #pragma omp simd reduction(+ : teacher_norm2)
  for (int64_t j = 0; j < p->modes; j++) {
    teacher_norm2 += x_star[j]*x_star[j];
  }
  k[0] = teacher_norm2;
  for (int64_t i = 0; i < p->classes; i++) {
    const double *lam = p->eigenvalues + i * p->modes;
    const double *mu = p->means + i * p->modes;
    double m_star = 0, Q_star = 0;
    #pragma omp simd reduction(+ : m_star, Q_star)
    for (int64_t j = 0; j < p->modes; j++) {
      m_star += mu[j]*x_star[j];
      Q_star += lam[j]*(x_star[j]*x_star[j]);
    }
    k[GLOBAL_CONSTANTS + i * CLASS_CONSTANTS + 0] = m_star;
    k[GLOBAL_CONSTANTS + i * CLASS_CONSTANTS + 1] = Q_star;
  }
}

/* What the coefficients of class i are functions of, from the state. */
static void class_score(const sgdlimit_problem *p, const double *k, int64_t i, const double *x, const double *e,
                        const double *v, double n, score *w) {
  const double *lam = p->eigenvalues + i * p->modes;
  const double *mu = p->means + i * p->modes;
  const double *x_star = p->teacher;
  const double m_star = k[GLOBAL_CONSTANTS + i * CLASS_CONSTANTS + 0];
  const double Q_star = k[GLOBAL_CONSTANTS + i * CLASS_CONSTANTS + 1];
  double m = 0, sum_beta = 0, sum_beta1 = 0;
  #pragma omp simd reduction(+ : m, sum_beta, sum_beta1)
  for (int64_t j = 0; j < p->modes; j++) {
    m += mu[j]*x[j];
    sum_beta += lam[j]*x[j]*x_star[j];
    sum_beta1 += e[j]*lam[j]*x_star[j];
  }
  const double beta = (Q_star > 0.0 ? sum_beta/Q_star : 0.0);
  const double beta1 = (Q_star > 0.0 ? sum_beta1/Q_star : -1.0);
  double Q_perp = 0;
  #pragma omp simd reduction(+ : Q_perp)
  for (int64_t j = 0; j < p->modes; j++) {
    Q_perp += (square(-beta1*x_star[j] + e[j]) + v[j])*lam[j];
  }
  w->n = n;
  w->m_star = m_star;
  w->Q_star = Q_star;
  w->m = m;
  w->beta = beta;
  w->Q_perp = Q_perp;
}

/* All that one class is asked for below; what has no address is left out. */
LANEWISE void every_coefficient(const score *w, double y, const double *par, int64_t stride,
                                double *out_R, double *out_A, double *out_B, double *out_D, double *out_F, double *out_I, double *out_BD, double *out_clean_risk) {
  (void)y;
  const double n = w->n;
  const double m_star = w->m_star;
  const double Q_star = w->Q_star;
  const double m = w->m;
  const double beta = w->beta;
  const double Q_perp = w->Q_perp;
  const double p_epsilon = par[0 * stride];
  const double mean_ell = m_star;
  const double s_ell = sqrt(larger(1e-300, Q_star));
  const double slope_given = Q_star*beta/(s_ell*s_ell);
  const double s_given = sqrt(larger(1e-300, Q_perp));
  const double tilted_mean_1 = Q_star*beta + m;
  double J_R = 0, J_A = 0, J_B = 0, J_F = 0, J_I = 0, J_D = 0;
  if (out_R || out_A || out_B || out_BD || out_F || out_I || out_D) {
    double step[32] = {0};
    double step_width[32] = {0};
    sgdlimit_shape shape = {-SGDLIMIT_WINDOW, SGDLIMIT_WINDOW, 0, 0, 0, NULL, NULL, NULL, step, step_width};
    sgdlimit_tilt(s_ell*slope_given, &shape.lower, &shape.upper);
    sgdlimit_tilt(s_ell, &shape.lower, &shape.upper);
    sgdlimit_tilt(2.0*s_ell*slope_given, &shape.lower, &shape.upper);
    sgdlimit_tilt(2.0*s_ell, &shape.lower, &shape.upper);
    sgdlimit_tilt(s_ell*(slope_given + 1.0), &shape.lower, &shape.upper);
    double edges[SGDLIMIT_MAX_EDGES(0, 0, 32)];
    int panels = sgdlimit_panels(&shape, edges);
    {
      const double context[] = {m, mean_ell, n, p_epsilon, s_ell, slope_given};
      double roots[SGDLIMIT_MOST_ROOTS];
      const int found = sgdlimit_roots(crossing1, context, edges, panels, roots);
      for (int q = 0; q < found; q++) {
        const double z_star = roots[q];
        {
          const double ell = mean_ell + s_ell*z_star;
          step[shape.steps] = roots[q];
          step_width[shape.steps++] = fabs((2.0*s_given*sgdlimit_exp(m + slope_given*(ell - mean_ell))*sgdlimit_sinh(larger(1e-05, p_epsilon*n)))/(s_ell*(2.0*slope_given*sgdlimit_exp(m)*sgdlimit_exp(ell*slope_given)*sgdlimit_exp(-mean_ell*slope_given)*sgdlimit_sinh(larger(1e-05, p_epsilon*n)) - 2.0*sgdlimit_exp(ell)*larger(1e-05, p_epsilon*n))));
        }
        {
          const double ell = mean_ell + s_ell*z_star;
          step[shape.steps] = roots[q];
          step_width[shape.steps++] = fabs((sqrt(4e-12*(s_ell*s_ell)*square(2.0*slope_given*sgdlimit_exp(m)*sgdlimit_exp(ell*slope_given)*sgdlimit_exp(-mean_ell*slope_given)*sgdlimit_sinh(larger(1e-05, p_epsilon*n)) - 2.0*sgdlimit_exp(ell)*larger(1e-05, p_epsilon*n)) + 4.0*(s_given*s_given)*sgdlimit_exp(2.0*m + 2.0*slope_given*(ell - mean_ell))*square(sgdlimit_sinh(larger(1e-05, p_epsilon*n)))))/(s_ell*(2.0*slope_given*sgdlimit_exp(m)*sgdlimit_exp(ell*slope_given)*sgdlimit_exp(-mean_ell*slope_given)*sgdlimit_sinh(larger(1e-05, p_epsilon*n)) - 2.0*sgdlimit_exp(ell)*larger(1e-05, p_epsilon*n))));
        }
      }
    }
    {
      const double context[] = {m, mean_ell, n, p_epsilon, s_ell, s_given, slope_given};
      double roots[SGDLIMIT_MOST_ROOTS];
      const int found = sgdlimit_roots(crossing2, context, edges, panels, roots);
      for (int q = 0; q < found; q++) {
        const double z_star = roots[q];
        const double ell = mean_ell + s_ell*z_star;
        step[shape.steps] = roots[q];
        step_width[shape.steps++] = fabs((2.0*s_given*sgdlimit_exp(m + slope_given*(ell - mean_ell))*sgdlimit_sinh(larger(1e-05, p_epsilon*n)))/(s_ell*(-8.0*s_given*slope_given*sgdlimit_exp(m + slope_given*(ell - mean_ell))*sgdlimit_sinh(larger(1e-05, p_epsilon*n)) + 2.0*slope_given*sgdlimit_exp(m)*sgdlimit_exp(ell*slope_given)*sgdlimit_exp(-mean_ell*slope_given)*sgdlimit_sinh(larger(1e-05, p_epsilon*n)) - 2.0*sgdlimit_exp(ell)*larger(1e-05, p_epsilon*n))));
      }
    }
    {
      const double context[] = {m, mean_ell, n, p_epsilon, s_ell, s_given, slope_given};
      double roots[SGDLIMIT_MOST_ROOTS];
      const int found = sgdlimit_roots(crossing3, context, edges, panels, roots);
      for (int q = 0; q < found; q++) {
        const double z_star = roots[q];
        const double ell = mean_ell + s_ell*z_star;
        step[shape.steps] = roots[q];
        step_width[shape.steps++] = fabs((2.0*s_given*sgdlimit_exp(m + slope_given*(ell - mean_ell))*sgdlimit_sinh(larger(1e-05, p_epsilon*n)))/(s_ell*(8.0*s_given*slope_given*sgdlimit_exp(m + slope_given*(ell - mean_ell))*sgdlimit_sinh(larger(1e-05, p_epsilon*n)) + 2.0*slope_given*sgdlimit_exp(m)*sgdlimit_exp(ell*slope_given)*sgdlimit_exp(-mean_ell*slope_given)*sgdlimit_sinh(larger(1e-05, p_epsilon*n)) - 2.0*sgdlimit_exp(ell)*larger(1e-05, p_epsilon*n))));
      }
    }
    panels = sgdlimit_panels(&shape, edges);
    const double g3 = p_epsilon*n;
    const double g4 = larger(1e-05, g3);
    const double g5 = g4/sgdlimit_sinh(g4);
    const double g20 = sgdlimit_exp(g3);
    const double g23 = sgdlimit_exp(-g3);
    const double g25 = s_given*s_given;
    const double g36 = 2.0*g3;
    const double g37 = sgdlimit_exp(g36);
    const double g39 = sgdlimit_exp(-g36);
    double total_J_R = 0, total_J_A = 0, total_J_B = 0, total_J_F = 0, total_J_I = 0, total_J_D = 0, below, above;
    const int middle = sgdlimit_middle(&shape, edges, panels, &below, &above);
    for (int q = middle, enough; q >= 0; q = sgdlimit_next(q, middle, panels, enough)) {
      double nodes[SGDLIMIT_POINTS], weights[SGDLIMIT_POINTS];
      double of_J_R[SGDLIMIT_POINTS], of_J_A[SGDLIMIT_POINTS], of_J_B[SGDLIMIT_POINTS], of_J_F[SGDLIMIT_POINTS], of_J_I[SGDLIMIT_POINTS], of_J_D[SGDLIMIT_POINTS];
      sgdlimit_nodes(edges[q], edges[q + 1], nodes, weights);
      #pragma omp simd
      for (int k = 0; k < SGDLIMIT_POINTS; k++) {
        const double z_star = nodes[k];
        const double g1 = s_ell*z_star;
        const double ell = g1 + mean_ell;
        const double mean_given = g1*slope_given + m;
        const double g2 = sgdlimit_exp(ell);
        const double y_given = g2;
        const double dy_given = g2;
        const double g6 = g5*y_given;
        const double g7 = larger(1e-300, g6);
        const double g8 = g5/g7;
        const double g9 = dy_given*g8*((g6 - 1e-300) > 0 ? 1.0 : ((g6 - 1e-300) < 0 ? 0.0 : 0.5));
        const double g10 = g9 - slope_given;
        const double inner_spread1 = 2e-06*s_ell*fabs((((g9 - slope_given - 1000.0) > 0 ? 1.0 : -1.0) > 0 ? 1000.0 : (((-g10 - 1000.0) > 0 ? 1.0 : -1.0) > 0 ? -1000.0 : g10)));
        const double inner_spread2 = sqrt(sqrt(inner_spread1*inner_spread1*inner_spread1*inner_spread1 + s_given*s_given*s_given*s_given + 1e-300));
        const double g11 = mean_given - sgdlimit_log(g7);
        const double inner_gap1 = fabs(g11)/s_given;
        const double place_M0_3n = inner_gap1;
        const double M0_3n = tail_moment0(place_M0_3n);
        const double g12 = -g11;
        const double inner_away1 = (g12 > 0 ? 1.0 : -1.0);
        const double g13 = inner_away1*inner_gap1;
        const double g14 = g13 - s_given;
        const double inner_gap2 = fabs(g14);
        const double inner_away2 = (g14 > 0 ? 1.0 : -1.0);
        const double place_W0_1n = inner_gap2;
        const double W0_1n = scaled_tail_moment0(place_W0_1n);
        const double g15 = g13 - 2.0*s_given;
        const double inner_gap3 = fabs(g15);
        const double inner_away3 = (g15 > 0 ? 1.0 : -1.0);
        const double place_W0_2n = inner_gap3;
        const double W0_2n = scaled_tail_moment0(place_W0_2n);
        const double g16 = g3*y_given;
        const double g17 = 2.0*M0_3n*inner_away1;
        const double g18 = -inner_away1;
        const double g19 = mean_given*y_given;
        const double g21 = W0_1n*inner_away2;
        const double g22 = g20*g21;
        const double g24 = g21*g23;
        const double g26 = 0.5*g25 + mean_given;
        const double g27 = 0.3989422804014327*sgdlimit_exp(g26 - 0.5*(inner_gap2*inner_gap2));
        const double g28 = -inner_away2;
        const double g29 = sgdlimit_exp(g26);
        const double g30 = g20*g29;
        const double g31 = g23*g29;
        const double g32 = g27*(g22 - g24) + (g28 > 0 ? g30 : g31);
        const double g33 = 0.3989422804014327*(g20*g7 - g23*g7)*sgdlimit_exp(-0.5*(g12*g12)/(inner_spread2*inner_spread2))/inner_spread2;
        const double g34 = p_epsilon*y_given;
        const double g35 = 2.0*g25 + 2.0*mean_given;
        const double g38 = W0_2n*inner_away3;
        const double g40 = 2.0*y_given;
        const double g41 = sgdlimit_exp(g35);
        of_J_R[k] = weights[k] * (-g16*g17 + g32 + (g18 > 0 ? -g16 - g19 : g16 - g19));
        of_J_A[k] = weights[k] * (g32 - y_given);
        of_J_B[k] = weights[k] * (g32 + g33);
        of_J_F[k] = weights[k] * (-g17*g34 + g27*(p_epsilon*g22 + p_epsilon*g24) + (g18 > 0 ? -g34 : g34) + (g28 > 0 ? p_epsilon*g30 : -p_epsilon*g31));
        of_J_I[k] = weights[k] * (g27*(2.0*W0_1n*g23*inner_away2*y_given - g22*g40) + y_given*y_given + 0.3989422804014327*(g37*g38 - g38*g39)*sgdlimit_exp(g35 - 0.5*(inner_gap3*inner_gap3)) + (g28 > 0 ? -g30*g40 : -g31*g40) + (-inner_away3 > 0 ? g37*g41 : g39*g41));
        of_J_D[k] = weights[k] * (dy_given*(-g33*g8 - 1.0));
      }
      if (out_R) sgdlimit_add(of_J_R, &J_R, &total_J_R);
      if (out_A) sgdlimit_add(of_J_A, &J_A, &total_J_A);
      if (out_B || out_BD) sgdlimit_add(of_J_B, &J_B, &total_J_B);
      if (out_F) sgdlimit_add(of_J_F, &J_F, &total_J_F);
      if (out_I) sgdlimit_add(of_J_I, &J_I, &total_J_I);
      if (out_D || out_BD) sgdlimit_add(of_J_D, &J_D, &total_J_D);
      const double longest = SGDLIMIT_LONGEST_PANEL / (edges[q + 1] - edges[q]);
      enough = sgdlimit_is_beyond(q, middle, edges, below, above);
      enough = enough && (!(out_R) || longest * sgdlimit_outermost(of_J_R, q >= middle) <= SGDLIMIT_NEGLIGIBLE * total_J_R);
      enough = enough && (!(out_A) || longest * sgdlimit_outermost(of_J_A, q >= middle) <= SGDLIMIT_NEGLIGIBLE * total_J_A);
      enough = enough && (!(out_B || out_BD) || longest * sgdlimit_outermost(of_J_B, q >= middle) <= SGDLIMIT_NEGLIGIBLE * total_J_B);
      enough = enough && (!(out_F) || longest * sgdlimit_outermost(of_J_F, q >= middle) <= SGDLIMIT_NEGLIGIBLE * total_J_F);
      enough = enough && (!(out_I) || longest * sgdlimit_outermost(of_J_I, q >= middle) <= SGDLIMIT_NEGLIGIBLE * total_J_I);
      enough = enough && (!(out_D || out_BD) || longest * sgdlimit_outermost(of_J_D, q >= middle) <= SGDLIMIT_NEGLIGIBLE * total_J_D);
    }
  }
  const double c1 = 0.5*Q_star;
  if (out_R) *out_R = J_R;
  if (out_A) *out_A = J_A;
  if (out_B) *out_B = J_B;
  if (out_D) *out_D = J_D;
  if (out_F) *out_F = J_F;
  if (out_I) *out_I = J_I;
  if (out_BD) *out_BD = J_B + J_D;
  if (out_clean_risk) *out_clean_risk = -tilted_mean_1*sgdlimit_exp(c1 + m_star) + sgdlimit_exp(0.5*Q_perp + (beta*beta)*c1 + m);
}

/* What the mode equations need of one class. */
static void rate_coefficients(const score *w, double y, const double *par, int64_t stride,
                              double *out_A, double *out_B, double *out_F, double *out_I, double *out_BD) {
  every_coefficient(w, y, par, stride, NULL, out_A, out_B, NULL, out_F, out_I, out_BD, NULL);
}

/* R, A, B, D, F, I of one class. */
static void all_coefficients(const score *w, double y, const double *par, int64_t stride,
                             double *out_R, double *out_A, double *out_B, double *out_D, double *out_F, double *out_I) {
  every_coefficient(w, y, par, stride, out_R, out_A, out_B, out_D, out_F, out_I, NULL, NULL);
}

/* What the rates are made of beside the modes: scalars, of which those of the noise come last. */
static int64_t drift_scalars_count(const sgdlimit_problem *p) { return 2 + 3 * p->classes; }
static int64_t rate_scalars_count(const sgdlimit_problem *p) {
  return drift_scalars_count(p) + 1 * p->classes;
}

static void rate_scalars(const sgdlimit_problem *p, const double *k, int64_t iterate, const double *x, const double *e,
                         const double *v, double *scalars) {
  const double p_tau = p->parameters[(iterate * 2 + 1) * p->classes];
  double *of_drift = scalars + 2;
  double *of_noise = scalars + drift_scalars_count(p);
  double norm2 = 0;
  #pragma omp simd reduction(+ : norm2)
  for (int64_t j = 0; j < p->modes; j++) {
    norm2 += v[j] + x[j]*x[j];
  }
  const double n = sqrt(norm2);
  const double inverse_norm = (n > 0.0 ? 1.0/n : 0.0);
  double mean_F = 0;
  for (int64_t i = 0; i < p->classes; i++) {
    const double *par = p->parameters + iterate * 2 * p->classes + i;
    score w;
    class_score(p, k, i, x, e, v, n, &w);
    const double probability = p->probabilities[i];
    double A, B, F, I, BD;
    rate_coefficients(&w, p->labels[i], par, p->classes, &A, &B, &F, &I, &BD);
    mean_F += F*probability;
    of_drift[i * 3 + 0] = BD*probability;
    of_drift[i * 3 + 1] = A*probability;
    of_drift[i * 3 + 2] = B*probability;
    of_noise[i * 1 + 0] = I*probability;
  }
  scalars[0] = -p_tau;
  scalars[1] = -inverse_norm*mean_F;
}

/* dx_j/dt = gamma (offset_j + slope_j (x_j - x_star_j)),  dv_j/dt = 2 gamma slope_j v_j + gamma^2 noise_j, of the
 * modes from `from` to before `to`. */
static void rates(const sgdlimit_problem *p, const double *scalars, int64_t from, int64_t to, double *offset,
                  double *slope, double *noise) {
  const double *x_star = p->teacher + from;
  const double *omega = p->weights + from;
  const double *of_drift = scalars + 2;
  const double *of_noise = scalars + drift_scalars_count(p);
  const double s1 = scalars[0];
  const double s2 = scalars[1];
  #pragma omp simd
  for (int64_t j = 0; j < to - from; j++) {
    offset[j] = s1*x_star[j] + s2*x_star[j];
    slope[j] = s1 + s2;
    noise[j] = 0.0;
  }
  for (int64_t i = 0; i < p->classes; i++) {
    const double *lam = p->eigenvalues + i * p->modes + from;
    const double *mu = p->means + i * p->modes + from;
    const double w1 = of_drift[i * 3 + 0];
    const double w2 = of_drift[i * 3 + 1];
    const double w3 = of_drift[i * 3 + 2];
    const double w4 = of_noise[i * 1 + 0];
    #pragma omp simd
    for (int64_t j = 0; j < to - from; j++) {
      offset[j] += -w1*lam[j]*x_star[j] - w2*mu[j];
      slope[j] += -w3*lam[j];
      noise[j] += w4*lam[j]*omega[j];
    }
  }
}

/* A learning rate that depends on the time alone. */
static double rate_at_time(const sgdlimit_problem *p, int64_t iterate, double t) {
  (void)t;
  return p->step_arguments[iterate * p->step_arguments_count];
}

static descent line_search_descent(const sgdlimit_problem *p, const double *k, int64_t iterate, const point *at) {
  (void)k;
  (void)iterate;
  const double *e = at->e;
  const double *v = at->v;
  const double *offset = at->offset;
  const double *slope = at->slope;
  const double *noise = at->noise;
  double first = 0, second = 0;
  #pragma omp simd reduction(+ : first, second)
  for (int64_t j = 0; j < p->modes; j++) {
    first += square(e[j]*slope[j] + offset[j]) + (slope[j]*slope[j])*v[j];
    second += -0.5*noise[j]*slope[j];
  }
  return (descent){first, second};
}

static descent polyak_descent(const sgdlimit_problem *p, const double *k, int64_t iterate, const point *at) {
  (void)k;
  (void)iterate;
  const double *x_star = p->teacher;
  const double *x_optimum = p->reference;
  const double *e = at->e;
  const double *v = at->v;
  const double *offset = at->offset;
  const double *slope = at->slope;
  const double *noise = at->noise;
  double first = 0, second = 0;
  #pragma omp simd reduction(+ : first, second)
  for (int64_t j = 0; j < p->modes; j++) {
    first += -2.0*(e[j]*slope[j] + offset[j])*(e[j] + (x_star[j] - x_optimum[j])) - 2.0*slope[j]*v[j];
    second += noise[j];
  }
  return (descent){first, second};
}

static descent greedy_descent(const sgdlimit_problem *p, const double *k, int64_t iterate, const point *at) {
  (void)p;
  (void)k;
  (void)iterate;
  (void)at;
  return (descent){NAN, NAN};
}

/* ---- The interface ----------------------------------------------------------------------------------------------- */

int32_t sgdlimit_abi(void) { return SGDLIMIT_ABI; }
const char *sgdlimit_parameter_names(void) { return "epsilon,tau"; }
const char *sgdlimit_schedule_names(void) { return ""; }
/* Of learning rates that depend on the state, those that this kernel has. */
const char *sgdlimit_descent_names(void) { return "polyak,line_search"; }
const char *sgdlimit_statistic_names(void) { return "adversarial_risk,clean_risk,norm2,overlap,cosine,distance2,optimum_distance2,learning_rate,effective_ridge"; }
const char *sgdlimit_coefficient_names(void) { return "R,A,B,D,F,I"; }
const char *sgdlimit_score_names(void) { return "n,m_star,Q_star,m,beta,Q_perp"; }
/* What must be positive for the equations to hold. */
const char *sgdlimit_positive_names(void) { return ""; }

/* Coefficients of one class at given scores (in the order of sgdlimit_score_names), label and parameters. */
void sgdlimit_coefficients(const double *score_values, double y, const double *par, double *out) {
  score w;
  w.n = score_values[0];
  w.m_star = score_values[1];
  w.Q_star = score_values[2];
  w.m = score_values[3];
  w.beta = score_values[4];
  w.Q_perp = score_values[5];
  all_coefficients(&w, y, par, 1, &out[0], &out[1], &out[2], &out[3], &out[4], &out[5]);
}

/* dx and dv at (t, x, v), where the integral of sum_j G_j is start_auxiliary's; work has room for 6 p->modes +
 * sgdlimit_constants_count. No two of the five arrays overlap. */
int32_t sgdlimit_rhs(const sgdlimit_problem *p, int64_t iterate, double t, const double *x, const double *v, double *dx,
                     double *dv, double *work) {
  if (p->size != sizeof *p || !has_step_arguments(p)) return SGDLIMIT_BAD_PROBLEM;
  const int64_t N = p->modes;
  double *offset = work, *slope = work + N, *noise = work + 2 * N, *e = work + 3 * N, *k = work + 6 * N;
  double *scalars = k + constants_count(p);
  constants(p, k);
  #pragma omp simd
  for (int64_t j = 0; j < N; j++) e[j] = x[j] - p->teacher[j];
  rate_scalars(p, k, iterate, x, e, v, scalars);
  rates(p, scalars, 0, N, offset, slope, noise);
  const double accumulated = p->start_auxiliary ? p->start_auxiliary[iterate] : 0;
  const point at = {x, e, v, offset, slope, noise, accumulated, work + 4 * N};
  const double gamma = learning_rate(p, k, iterate, t, &at);
  #pragma omp simd
  for (int64_t j = 0; j < N; j++) {
    dx[j] = gamma * (offset[j] + slope[j] * e[j]);
    dv[j] = 2 * gamma * slope[j] * v[j] + gamma * gamma * noise[j];
  }
  return SGDLIMIT_OK;
}

int64_t sgdlimit_constants_count(const sgdlimit_problem *p) { return constants_count(p) + rate_scalars_count(p); }
