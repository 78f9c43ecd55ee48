/* The high-dimensional limit of streaming SGD on one model: the coefficients and the right-hand side.
 *   loss       log(1 + exp(-y*r))
 *   target     Labels()
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

/* log(1 + x) for 0 <= x <= 1: 2 atanh(s), s = x/(2 + x) */
LANEWISE double sgdlimit_log1p_unit(double x) {
  const double s = x / (2.0 + x), t = s * s;
  double a = t * 0.1616404561194353 + 0.08800738486144674;
  a = a * t + 0.12001072809590713;
  a = a * t + 0.13314144209654935;
  a = a * t + 0.15385570064958623;
  a = a * t + 0.18181789436132859;
  a = a * t + 0.22222222717427864;
  a = a * t + 0.2857142856710876;
  a = a * t + 0.40000000000014585;
  a = a * t + 0.6666666666666666;
  return 2.0 * s + s * t * a;
}

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

/* Phi(x) */
LANEWISE double normal_cdf(double x) {
  const double tail = sgdlimit_normal_tail(fabs(x));
  return x < 0 ? tail : 1.0 - tail;
}

/* log(1 + exp(x)) */
LANEWISE double softplus(double x) { return (x > 0 ? x : 0.0) + sgdlimit_log1p_unit(sgdlimit_exp(-fabs(x))); }

/* 1/(1 + exp(-x)) */
LANEWISE double sigmoid(double x) {
  const double e = sgdlimit_exp(-fabs(x));
  return (x > 0 ? 1.0 : e) / (1.0 + e);
}

LANEWISE double square(double x) { return x * x; }

/* NaN if one of the two is, which fmax and fmin would swallow. */
LANEWISE double larger(double a, double b) { return ((a > b) | (a != a)) ? a : b; }

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
 * loss       log(1 + exp(-y*r))
 * target     Labels()
 * adversary  l2 ball of radius epsilon
 */

/* The law of the score given the class, in the symbols of the theory (section 2). */
typedef struct score { double n, m, Q; } score;

enum { GLOBAL_CONSTANTS = 1, CLASS_CONSTANTS = 0 };
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
}

/* What the coefficients of class i are functions of, from the state. */
static void class_score(const sgdlimit_problem *p, const double *k, int64_t i, const double *x, const double *e,
                        const double *v, double n, score *w) {
  (void)k;
  (void)e;
  const double *lam = p->eigenvalues + i * p->modes;
  const double *mu = p->means + i * p->modes;
  double m = 0, Q = 0;
  #pragma omp simd reduction(+ : m, Q)
  for (int64_t j = 0; j < p->modes; j++) {
    m += mu[j]*x[j];
    Q += (v[j] + x[j]*x[j])*lam[j];
  }
  w->n = n;
  w->m = m;
  w->Q = Q;
}

/* All that one class is asked for below; what has no address is left out. */
LANEWISE void every_coefficient(const score *w, double y, const double *par, int64_t stride,
                                double *out_R, double *out_A, double *out_B, double *out_D, double *out_F, double *out_I, double *out_BD, double *out_clean_risk, double *out_clean_error, double *out_robust_error) {
  const double n = w->n;
  const double m = w->m;
  const double Q = w->Q;
  const double p_epsilon = par[0 * stride];
  const double mean = m;
  const double s = sqrt(larger(1e-300, Q));
  const double s_score = sqrt(larger(1e-300, Q*square((double)((y > 0) - (y < 0)))));
  double J_R = 0, J_A = 0, J_B = 0, J_F = 0, J_I = 0;
  if (out_R || out_A || out_B || out_BD || out_F || out_I) {
    const double h1 = 1.0/s;
    const double pole[] = {
        h1*(p_epsilon*n*(double)((y > 0) - (y < 0)) - mean),
    };
    const double pole_width[] = {
        3.141592653589793*h1/fabs(y),
    };
    const sgdlimit_shape shape = {-SGDLIMIT_WINDOW, SGDLIMIT_WINDOW, 0, 1, 0, NULL, pole, pole_width, NULL, NULL};
    double edges[SGDLIMIT_MAX_EDGES(0, 1, 0)];
    const int panels = sgdlimit_panels(&shape, edges);
    const double g1 = p_epsilon*(double)((y > 0) - (y < 0));
    const double g5 = y*y;
    double total_J_R = 0, total_J_A = 0, total_J_B = 0, total_J_F = 0, total_J_I = 0, below, above;
    const int middle = sgdlimit_middle(&shape, edges, panels, &below, &above);
    for (int q = middle, enough; q >= 0; q = sgdlimit_next(q, middle, panels, enough)) {
      double nodes[SGDLIMIT_POINTS], weights[SGDLIMIT_POINTS];
      double of_J_R[SGDLIMIT_POINTS], of_J_A[SGDLIMIT_POINTS], of_J_B[SGDLIMIT_POINTS], of_J_F[SGDLIMIT_POINTS], of_J_I[SGDLIMIT_POINTS];
      sgdlimit_nodes(edges[q], edges[q + 1], nodes, weights);
      #pragma omp simd
      for (int k = 0; k < SGDLIMIT_POINTS; k++) {
        const double z = nodes[k];
        const double r = mean + s*z;
        const double g2 = g1*n*y - r*y;
        const double g3 = sigmoid(g2);
        const double g4 = g3*y;
        of_J_R[k] = weights[k] * (softplus(g2));
        of_J_A[k] = weights[k] * (-g4);
        of_J_B[k] = weights[k] * (g3*g5*sigmoid(-g2));
        of_J_F[k] = weights[k] * (g1*g4);
        of_J_I[k] = weights[k] * ((g3*g3)*g5);
      }
      if (out_R) sgdlimit_add(of_J_R, &J_R, &total_J_R);
      if (out_A) sgdlimit_add(of_J_A, &J_A, &total_J_A);
      if (out_B || out_BD) sgdlimit_add(of_J_B, &J_B, &total_J_B);
      if (out_F) sgdlimit_add(of_J_F, &J_F, &total_J_F);
      if (out_I) sgdlimit_add(of_J_I, &J_I, &total_J_I);
      const double longest = SGDLIMIT_LONGEST_PANEL / (edges[q + 1] - edges[q]);
      enough = sgdlimit_is_beyond(q, middle, edges, below, above);
      enough = enough && (!(out_R) || longest * sgdlimit_outermost(of_J_R, q >= middle) <= SGDLIMIT_NEGLIGIBLE * total_J_R);
      enough = enough && (!(out_A) || longest * sgdlimit_outermost(of_J_A, q >= middle) <= SGDLIMIT_NEGLIGIBLE * total_J_A);
      enough = enough && (!(out_B || out_BD) || longest * sgdlimit_outermost(of_J_B, q >= middle) <= SGDLIMIT_NEGLIGIBLE * total_J_B);
      enough = enough && (!(out_F) || longest * sgdlimit_outermost(of_J_F, q >= middle) <= SGDLIMIT_NEGLIGIBLE * total_J_F);
      enough = enough && (!(out_I) || longest * sgdlimit_outermost(of_J_I, q >= middle) <= SGDLIMIT_NEGLIGIBLE * total_J_I);
    }
  }
  double J_clean_risk = 0;
  if (out_clean_risk) {
    const double h1 = 1.0/s;
    const double pole[] = {
        -h1*mean,
    };
    const double pole_width[] = {
        3.141592653589793*h1/fabs(y),
    };
    const sgdlimit_shape shape = {-SGDLIMIT_WINDOW, SGDLIMIT_WINDOW, 0, 1, 0, NULL, pole, pole_width, NULL, NULL};
    double edges[SGDLIMIT_MAX_EDGES(0, 1, 0)];
    const int panels = sgdlimit_panels(&shape, edges);
    double total_J_clean_risk = 0, below, above;
    const int middle = sgdlimit_middle(&shape, edges, panels, &below, &above);
    for (int q = middle, enough; q >= 0; q = sgdlimit_next(q, middle, panels, enough)) {
      double nodes[SGDLIMIT_POINTS], weights[SGDLIMIT_POINTS];
      double of_J_clean_risk[SGDLIMIT_POINTS];
      sgdlimit_nodes(edges[q], edges[q + 1], nodes, weights);
      #pragma omp simd
      for (int k = 0; k < SGDLIMIT_POINTS; k++) {
        const double z = nodes[k];
        const double r = mean + s*z;
        of_J_clean_risk[k] = weights[k] * (softplus(-r*y));
      }
      if (out_clean_risk) sgdlimit_add(of_J_clean_risk, &J_clean_risk, &total_J_clean_risk);
      const double longest = SGDLIMIT_LONGEST_PANEL / (edges[q + 1] - edges[q]);
      enough = sgdlimit_is_beyond(q, middle, edges, below, above);
      enough = enough && (!(out_clean_risk) || longest * sgdlimit_outermost(of_J_clean_risk, q >= middle) <= SGDLIMIT_NEGLIGIBLE * total_J_clean_risk);
    }
  }
  const double c1 = 1.0/s_score;
  const double c2 = m*(double)((y > 0) - (y < 0));
  if (out_R) *out_R = J_R;
  if (out_A) *out_A = J_A;
  if (out_B) *out_B = J_B;
  if (out_D) *out_D = 0.0;
  if (out_F) *out_F = J_F;
  if (out_I) *out_I = J_I;
  if (out_BD) *out_BD = J_B;
  if (out_clean_risk) *out_clean_risk = J_clean_risk;
  if (out_clean_error) *out_clean_error = normal_cdf(-c1*c2);
  if (out_robust_error) *out_robust_error = normal_cdf(c1*(-c2 + p_epsilon*n));
}

/* What the mode equations need of one class. */
static void rate_coefficients(const score *w, double y, const double *par, int64_t stride,
                              double *out_A, double *out_B, double *out_F, double *out_I, double *out_BD) {
  every_coefficient(w, y, par, stride, NULL, out_A, out_B, NULL, out_F, out_I, out_BD, NULL, NULL, NULL);
}

/* R, A, B, D, F, I of one class. */
static void all_coefficients(const score *w, double y, const double *par, int64_t stride,
                             double *out_R, double *out_A, double *out_B, double *out_D, double *out_F, double *out_I) {
  every_coefficient(w, y, par, stride, out_R, out_A, out_B, out_D, out_F, out_I, NULL, NULL, NULL, NULL);
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
const char *sgdlimit_statistic_names(void) { return "adversarial_risk,clean_risk,clean_error,robust_error,norm2,overlap,cosine,distance2,optimum_distance2,learning_rate,effective_ridge"; }
const char *sgdlimit_coefficient_names(void) { return "R,A,B,D,F,I"; }
const char *sgdlimit_score_names(void) { return "n,m,Q"; }
/* What must be positive for the equations to hold. */
const char *sgdlimit_positive_names(void) { return ""; }

/* Coefficients of one class at given scores (in the order of sgdlimit_score_names), label and parameters. */
void sgdlimit_coefficients(const double *score_values, double y, const double *par, double *out) {
  score w;
  w.n = score_values[0];
  w.m = score_values[1];
  w.Q = score_values[2];
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
