/* The high-dimensional limit of streaming SGD on one model: the mode equations and their solver.
 *   loss       Max(0, 1 - y*r)
 *   target     RandomLabels('1/(1 + exp(-r_star))')
 *   adversary  l2 ball of radius epsilon
 *
 * Written by sgdlimit, generator format 24. To write it again:
 *   sgdlimit generate SPEC --out DIRECTORY --parts limit
 * It stands alone: cc -O3 -c this_file.c; link with -lm. The interface is the struct sgdlimit_problem and the
 * functions sgdlimit_*. The mathematics is arXiv 2607.00207, in the notation of docs/theory.md.
 *
 * Contents
 *   The problem: what a caller hands to a kernel, and what it gets back
 *   Elementary functions that loops over many arguments can vectorise
 *   Gaussian integrals: composite Gauss-Legendre on graded panels
 *   Learning rates
 *   This model
 *   A linear equation over a step
 *   The mode equations, solved
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

/* How solve steps. */
enum {
  SGDLIMIT_AUTO = 0,          /* explicit, and exponential where the fastest mode would limit the steps of that */
  SGDLIMIT_EXPLICIT = 1,
  SGDLIMIT_EXPONENTIAL = 2    /* but for the first steps */
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

typedef struct sgdlimit_outcome {
  int32_t status;                 /* SGDLIMIT_OK, ... */
  int64_t iterate, run;           /* of the first trouble */
  double time;                    /* reached, or of the first trouble */
  int64_t accepted, rejected, evaluations;
} sgdlimit_outcome;

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

/* 1/(1 + exp(-x)) */
LANEWISE double sigmoid(double x) {
  const double e = sgdlimit_exp(-fabs(x));
  return (x > 0 ? 1.0 : e) / (1.0 + e);
}

LANEWISE double square(double x) { return x * x; }

/* NaN if one of the two is, which fmax and fmin would swallow. */
LANEWISE double larger(double a, double b) { return ((a > b) | (a != a)) ? a : b; }

/* M_k(h), the integral over z > h of (z - h)^k phi(z) dz for h >= 0 */
LANEWISE double tail_moment0(double h) { return sgdlimit_normal_tail(h); }

LANEWISE double tail_moment1(double h) { return sgdlimit_tail_ratio(h) * sgdlimit_normal_tail(h); }

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

static int depends_on_state(const sgdlimit_problem *p) { return p->step_kind >= SGDLIMIT_LINE_SEARCH; }

/* Whether gamma is a sum over modes of their rates. */
static int sums_over_rates(const sgdlimit_problem *p) {
  return depends_on_state(p) && p->step_kind != SGDLIMIT_ADAGRAD_NORM;
}

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
 * loss       Max(0, 1 - y*r)
 * target     RandomLabels('1/(1 + exp(-r_star))')
 * adversary  l2 ball of radius epsilon
 */

enum { PARAMETERS = 2, STATISTICS = 11, JUDGED_STATISTICS = 9 };

/* How well the rates know x - X*, in units of X*. */
static const double RESOLUTION = 2e-14;

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
                                double *out_R, double *out_A, double *out_B, double *out_D, double *out_F, double *out_I, double *out_BD, double *out_clean_risk, double *out_clean_error, double *out_robust_error) {
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
  double J_R = 0, J_A = 0, J_B = 0, J_F = 0, J_I = 0, J_D = 0;
  if (out_R || out_A || out_B || out_BD || out_F || out_I || out_D) {
    const double h1 = 1.0/s_ell;
    const double h2 = 1.0/slope_given;
    const double h3 = h2*m;
    const double h4 = p_epsilon*h2*n + h2;
    const double h5 = h1*(-h3 + h4);
    const double h6 = h1*(-h3 - h4);
    const double h7 = h1/fabs(slope_given);
    const double h8 = h7*s_given;
    const double h9 = h7*sqrt(4e-12*(s_ell*s_ell)*(slope_given*slope_given) + s_given*s_given);
    const double pole[] = {
        -h1*mean_ell,
    };
    const double pole_width[] = {
        3.141592653589793*h1,
    };
    const double step[] = {
        h5,
        h6,
        h5,
        h6,
    };
    const double step_width[] = {
        h8,
        h8,
        h9,
        h9,
    };
    const sgdlimit_shape shape = {-SGDLIMIT_WINDOW, SGDLIMIT_WINDOW, 0, 1, 4, NULL, pole, pole_width, step, step_width};
    double edges[SGDLIMIT_MAX_EDGES(0, 1, 4)];
    const int panels = sgdlimit_panels(&shape, edges);
    const double inner_spread1 = 2e-06*s_ell*fabs(slope_given);
    const double inner_spread2 = sqrt(sqrt(inner_spread1*inner_spread1*inner_spread1*inner_spread1 + s_given*s_given*s_given*s_given + 1e-300));
    const double g4 = 1.0/s_given;
    const double g5 = p_epsilon*n + 1.0;
    const double g15 = 0.5/(inner_spread2*inner_spread2);
    const double g16 = 0.3989422804014327/inner_spread2;
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
        const double g2 = sigmoid(ell);
        const double P_plus = g2;
        const double g3 = sigmoid(-ell);
        const double P_minus = g3;
        const double dP = g2*g3;
        const double g6 = g5 - mean_given;
        const double inner_gap1 = g4*fabs(g6);
        const double inner_away1 = (g6 > 0 ? 1.0 : -1.0);
        const double place_M0_1n = inner_gap1;
        const double M0_1n = tail_moment0(place_M0_1n);
        const double M1_1n = tail_moment1(place_M0_1n);
        const double g7 = g5 + mean_given;
        const double inner_gap2 = g4*fabs(g7);
        const double place_M0_2n = inner_gap2;
        const double M0_2n = tail_moment0(place_M0_2n);
        const double M1_2n = tail_moment1(place_M0_2n);
        const double g8 = -g7;
        const double inner_away2 = (g8 > 0 ? 1.0 : -1.0);
        const double g9 = -inner_away2;
        const double g10 = M0_1n*inner_away1;
        const double g11 = g10 + (inner_away1 > 0 ? -1.0 : 0.0);
        const double g12 = M0_2n*inner_away2;
        const double g13 = g12 + (g9 > 0 ? 1.0 : 0.0);
        const double g14 = P_minus*g13;
        of_J_R[k] = weights[k] * (P_minus*(M1_2n*s_given + (g9 > 0 ? g7 : 0.0)) + P_plus*(M1_1n*s_given + (inner_away1 > 0 ? g6 : 0.0)));
        of_J_A[k] = weights[k] * (P_plus*g11 + g14);
        of_J_B[k] = weights[k] * (P_minus*g16*sgdlimit_exp(-g15*(g8*g8)) + P_plus*g16*sgdlimit_exp(-g15*(g6*g6)));
        of_J_F[k] = weights[k] * (P_minus*(p_epsilon*g12 + (g9 > 0 ? p_epsilon : 0.0)) + P_plus*(-p_epsilon*g10 + (inner_away1 > 0 ? p_epsilon : 0.0)));
        of_J_I[k] = weights[k] * (P_plus*(-g10 + (inner_away1 > 0 ? 1.0 : 0.0)) + g14);
        of_J_D[k] = weights[k] * (dP*g11 - dP*g13);
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
  double J_clean_risk = 0, J_clean_error = 0, J_robust_error = 0;
  if (out_clean_risk || out_clean_error || out_robust_error) {
    const double h1 = 1.0/s_ell;
    const double h2 = 1.0/slope_given;
    const double h3 = h2*m;
    const double h4 = p_epsilon*h2*n;
    const double h5 = h1*s_given/fabs(slope_given);
    const double pole[] = {
        -h1*mean_ell,
    };
    const double pole_width[] = {
        3.141592653589793*h1,
    };
    const double step[] = {
        h1*(h2 - h3),
        h1*(-h2 - h3),
        -h1*h3,
        h1*(-h3 + h4),
        h1*(-h3 - h4),
    };
    const double step_width[] = {
        h5,
        h5,
        h5,
        h5,
        h5,
    };
    const sgdlimit_shape shape = {-SGDLIMIT_WINDOW, SGDLIMIT_WINDOW, 0, 1, 5, NULL, pole, pole_width, step, step_width};
    double edges[SGDLIMIT_MAX_EDGES(0, 1, 5)];
    const int panels = sgdlimit_panels(&shape, edges);
    const double g2 = 1.0/s_given;
    const double g7 = p_epsilon*n;
    double total_J_clean_risk = 0, total_J_clean_error = 0, total_J_robust_error = 0, below, above;
    const int middle = sgdlimit_middle(&shape, edges, panels, &below, &above);
    for (int q = middle, enough; q >= 0; q = sgdlimit_next(q, middle, panels, enough)) {
      double nodes[SGDLIMIT_POINTS], weights[SGDLIMIT_POINTS];
      double of_J_clean_risk[SGDLIMIT_POINTS], of_J_clean_error[SGDLIMIT_POINTS], of_J_robust_error[SGDLIMIT_POINTS];
      sgdlimit_nodes(edges[q], edges[q + 1], nodes, weights);
      #pragma omp simd
      for (int k = 0; k < SGDLIMIT_POINTS; k++) {
        const double z_star = nodes[k];
        const double g1 = s_ell*z_star;
        const double ell = g1 + mean_ell;
        const double P_plus = sigmoid(ell);
        const double P_minus = sigmoid(-ell);
        const double mean_given = g1*slope_given + m;
        const double inner_gap5 = g2*fabs(mean_given);
        const double place_M0_1n = inner_gap5;
        const double M0_1n = tail_moment0(place_M0_1n);
        const double g3 = mean_given - 1.0;
        const double inner_gap3 = g2*fabs(g3);
        const double place_M1_4n = inner_gap3;
        const double M1_4n = tail_moment1(place_M1_4n);
        const double g4 = -g3;
        const double inner_away3 = (g4 > 0 ? 1.0 : -1.0);
        const double g5 = mean_given + 1.0;
        const double inner_gap4 = g2*fabs(g5);
        const double inner_away4 = (-g5 > 0 ? 1.0 : -1.0);
        const double place_M1_5n = inner_gap4;
        const double M1_5n = tail_moment1(place_M1_5n);
        const double g6 = -mean_given;
        const double inner_away5 = (g6 > 0 ? 1.0 : -1.0);
        const double g8 = g6 + g7;
        const double inner_gap6 = g2*fabs(g8);
        const double inner_away6 = (g8 > 0 ? 1.0 : -1.0);
        const double place_M0_2n = inner_gap6;
        const double M0_2n = tail_moment0(place_M0_2n);
        const double g9 = g7 + mean_given;
        const double inner_gap7 = g2*fabs(g9);
        const double inner_away7 = (-g9 > 0 ? 1.0 : -1.0);
        const double place_M0_3n = inner_gap7;
        const double M0_3n = tail_moment0(place_M0_3n);
        const double g10 = M0_1n*inner_away5;
        of_J_clean_risk[k] = weights[k] * (P_minus*(M1_5n*s_given + (-inner_away4 > 0 ? g5 : 0.0)) + P_plus*(M1_4n*s_given + (inner_away3 > 0 ? g4 : 0.0)));
        of_J_clean_error[k] = weights[k] * (P_minus*(g10 + (-inner_away5 > 0 ? 1.0 : 0.0)) + P_plus*(-g10 + (inner_away5 > 0 ? 1.0 : 0.0)));
        of_J_robust_error[k] = weights[k] * (P_minus*(M0_3n*inner_away7 + (-inner_away7 > 0 ? 1.0 : 0.0)) + P_plus*(-M0_2n*inner_away6 + (inner_away6 > 0 ? 1.0 : 0.0)));
      }
      if (out_clean_risk) sgdlimit_add(of_J_clean_risk, &J_clean_risk, &total_J_clean_risk);
      if (out_clean_error) sgdlimit_add(of_J_clean_error, &J_clean_error, &total_J_clean_error);
      if (out_robust_error) sgdlimit_add(of_J_robust_error, &J_robust_error, &total_J_robust_error);
      const double longest = SGDLIMIT_LONGEST_PANEL / (edges[q + 1] - edges[q]);
      enough = sgdlimit_is_beyond(q, middle, edges, below, above);
      enough = enough && (!(out_clean_risk) || longest * sgdlimit_outermost(of_J_clean_risk, q >= middle) <= SGDLIMIT_NEGLIGIBLE * total_J_clean_risk);
      enough = enough && (!(out_clean_error) || longest * sgdlimit_outermost(of_J_clean_error, q >= middle) <= SGDLIMIT_NEGLIGIBLE * total_J_clean_error);
      enough = enough && (!(out_robust_error) || longest * sgdlimit_outermost(of_J_robust_error, q >= middle) <= SGDLIMIT_NEGLIGIBLE * total_J_robust_error);
    }
  }
  if (out_R) *out_R = J_R;
  if (out_A) *out_A = J_A;
  if (out_B) *out_B = J_B;
  if (out_D) *out_D = J_D;
  if (out_F) *out_F = J_F;
  if (out_I) *out_I = J_I;
  if (out_BD) *out_BD = J_B + J_D;
  if (out_clean_risk) *out_clean_risk = J_clean_risk;
  if (out_clean_error) *out_clean_error = J_clean_error;
  if (out_robust_error) *out_robust_error = J_robust_error;
}

/* What the mode equations need of one class. */
static void rate_coefficients(const score *w, double y, const double *par, int64_t stride,
                              double *out_A, double *out_B, double *out_F, double *out_I, double *out_BD) {
  every_coefficient(w, y, par, stride, NULL, out_A, out_B, NULL, out_F, out_I, out_BD, NULL, NULL, NULL);
}

/* What the statistics need of one class. */
static void statistic_coefficients(const score *w, double y, const double *par, int64_t stride,
                                   double *out_R, double *out_B, double *out_F, double *out_clean_risk, double *out_clean_error, double *out_robust_error) {
  every_coefficient(w, y, par, stride, out_R, NULL, out_B, NULL, out_F, NULL, NULL, out_clean_risk, out_clean_error, out_robust_error);
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

/* The statistics, in the order of sgdlimit_statistic_names. */
static void statistics(const sgdlimit_problem *p, const double *k, int64_t iterate, double gamma, const double *x,
                       const double *e, const double *v, double *out) {
  const double *x_star = p->teacher;
  const double *x_optimum = p->reference;
  const double teacher_norm2 = k[0];
  const double p_tau = p->parameters[(iterate * 2 + 1) * p->classes];
  double norm2 = 0, sum_overlap = 0, sum_distance2 = 0, sum_optimum_distance2 = 0;
  #pragma omp simd reduction(+ : norm2, sum_overlap, sum_distance2, sum_optimum_distance2)
  for (int64_t j = 0; j < p->modes; j++) {
    norm2 += v[j] + x[j]*x[j];
    sum_overlap += x[j]*x_star[j];
    sum_distance2 += e[j]*e[j] + v[j];
    sum_optimum_distance2 += (e[j] + (x_star[j] - x_optimum[j]))*(e[j] + (x_star[j] - x_optimum[j])) + v[j];
  }
  const double n = sqrt(norm2);
  const double inverse_norm = (n > 0.0 ? 1.0/n : 0.0);
  double mean_B = 0, mean_F = 0, mean_R = 0, mean_clean_error = 0, mean_clean_risk = 0, mean_robust_error = 0;
  for (int64_t i = 0; i < p->classes; i++) {
    const double *par = p->parameters + iterate * 2 * p->classes + i;
    score w;
    class_score(p, k, i, x, e, v, n, &w);
    const double probability = p->probabilities[i];
    double R, B, F, clean_risk, clean_error, robust_error;
    statistic_coefficients(&w, p->labels[i], par, p->classes, &R, &B, &F, &clean_risk, &clean_error, &robust_error);
    mean_B += B*probability;
    mean_F += F*probability;
    mean_R += R*probability;
    mean_clean_error += clean_error*probability;
    mean_clean_risk += clean_risk*probability;
    mean_robust_error += probability*robust_error;
  }
  out[0] = mean_R;
  out[1] = mean_clean_risk;
  out[2] = mean_clean_error;
  out[3] = mean_robust_error;
  out[4] = norm2;
  out[5] = sum_overlap;
  out[6] = (norm2*teacher_norm2 > 0.0 ? sum_overlap/(sqrt(norm2)*sqrt(teacher_norm2)) : 0.0);
  out[7] = sum_distance2;
  out[8] = sum_optimum_distance2;
  out[9] = gamma;
  out[10] = (mean_B*n > 0.0 ? (inverse_norm*mean_F + p_tau)/mean_B : NAN);
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

/* ---- A linear equation over a step -----------------------------------------------------------------------------
 *     de/dt = decay(t) e + drive(t)        dv/dt = 2 decay(t) v + spread(t)        in every mode,
 *
 * with polynomials through the values of decay, drive and spread at up to four nodes: whatever e and v do, a step is as long
 * as these three are smooth. With u = (to - t)/(to - from), which is 1 at the step's start and 0 at its end, and with
 * z = int decay dt over the step,
 *     e(to) = exp(z) e(from) + int_0^1 drive(u) exp(z u + rest(u)) du,      rest(u) = int_0^u decay du - z u
 * and exp(rest) drive is cut after u^3 or u^4. That is right both where |z| is small and where it is large: there u ~ 1/|z|
 * alone counts. Left are the moments of exp(z u): one exponential function for each mode. v has 2 z and 2 rest; its moments
 * follow from those of z. */

enum { NODES = 4 };

typedef struct node {
  double clock;                       /* t, from the start */
  double *decay, *drive, *spread;     /* [N] */
  double total, fastest;              /* sum of the noise; max |decay| */
} node;

typedef struct cubic {
  double c0, c1, c2, c3;
} cubic;

typedef struct moments {
  double g0, g1, g2, g3, g4;
} moments;

/* weights[i] holds the coefficients of (to - from) l_i(u), where l_i is 1 at node i and 0 at the others. */
static void interpolation_weights(int count, const node *nodes, double from, double to, cubic weights[NODES]) {
  const double h = to - from;
  for (int i = 0; i < count; i++) {
    cubic w = {h, 0, 0, 0};
    for (int m = 0; m < count; m++) {
      if (m == i) continue;
      const double root = (to - nodes[m].clock) / h, scale = h / (nodes[m].clock - nodes[i].clock);
      w = (cubic){-root * w.c0 * scale, (w.c0 - root * w.c1) * scale, (w.c1 - root * w.c2) * scale,
                  (w.c2 - root * w.c3) * scale};
    }
    weights[i] = w;
  }
}

static inline double integral(cubic c) { return c.c0 + c.c1 / 2 + c.c2 / 3 + c.c3 / 4; }

static inline cubic through(const cubic w[NODES], double a, double b, double c, double d) {
  return (cubic){w[0].c0 * a + w[1].c0 * b + w[2].c0 * c + w[3].c0 * d,
                 w[0].c1 * a + w[1].c1 * b + w[2].c1 * c + w[3].c1 * d,
                 w[0].c2 * a + w[1].c2 * b + w[2].c2 * c + w[3].c2 * d,
                 w[0].c3 * a + w[1].c3 * b + w[2].c3 * c + w[3].c3 * d};
}

/* g_k = int_0^1 u^k exp(z u) du: below |z| = 1 by a series, from where the lower ones follow by adding what has one sign for
 * z < 0; beyond by their recursion, which loses a few last digits at |z| = 1 and none at larger. Both are computed and
 * one is taken, so that loops over modes have no branch. */
static inline moments moments_of(double z, double exp_z) {
  const double inverse = 1 / z;
  const double f0 = (exp_z - 1) * inverse, f1 = (exp_z - f0) * inverse, f2 = (exp_z - 2 * f1) * inverse;
  const double f3 = (exp_z - 3 * f2) * inverse, f4 = (exp_z - 4 * f3) * inverse;
  double series = 1. / 22 / 355687428096000;
  series = series * z + 1. / 21 / 20922789888000;
  series = series * z + 1. / 20 / 1307674368000;
  series = series * z + 1. / 19 / 87178291200;
  series = series * z + 1. / 18 / 6227020800;
  series = series * z + 1. / 17 / 479001600;
  series = series * z + 1. / 16 / 39916800;
  series = series * z + 1. / 15 / 3628800;
  series = series * z + 1. / 14 / 362880;
  series = series * z + 1. / 13 / 40320;
  series = series * z + 1. / 12 / 5040;
  series = series * z + 1. / 11 / 720;
  series = series * z + 1. / 10 / 120;
  series = series * z + 1. / 9 / 24;
  series = series * z + 1. / 8 / 6;
  series = series * z + 1. / 7 / 2;
  series = series * z + 1. / 6;
  series = series * z + 1. / 5;
  const double s3 = (exp_z - z * series) / 4, s2 = (exp_z - z * s3) / 3, s1 = (exp_z - z * s2) / 2, s0 = exp_z - z * s1;
  const int far = fabs(z) > 1;
  return (moments){far ? f0 : s0, far ? f1 : s1, far ? f2 : s2, far ? f3 : s3, far ? f4 : series};
}

/* Of exp(2 z u), from the two halves of the step. */
static inline moments doubled(moments g, double exp_z) {
  return (moments){(g.g0 + exp_z * g.g0) / 2, (g.g1 + exp_z * (g.g0 + g.g1)) / 4,
                   (g.g2 + exp_z * (g.g0 + 2 * g.g1 + g.g2)) / 8,
                   (g.g3 + exp_z * (g.g0 + 3 * (g.g1 + g.g2) + g.g3)) / 16,
                   (g.g4 + exp_z * (g.g0 + 4 * (g.g1 + g.g3) + 6 * g.g2 + g.g4)) / 32};
}

/* int_0^1 f(u) (1 + x1 u + x2 u^2 + ...) exp(z u) du, the terms in u^4 times `fourth`. */
static inline double driven(cubic f, double x1, double x2, double x3, double x4, moments g, double fourth) {
  return f.c0 * g.g0 + (f.c1 + f.c0 * x1) * g.g1 + (f.c2 + f.c1 * x1 + f.c0 * x2) * g.g2 +
         (f.c3 + f.c2 * x1 + f.c1 * x2 + f.c0 * x3) * g.g3 +
         fourth * (f.c3 * x1 + f.c2 * x2 + f.c1 * x3 + f.c0 * x4) * g.g4;
}

/* The state (e, v) at `to` from that at `from`, with terms in u^4 or without. A polynomial may dip below 0 where a spread
 * never does: 0 is then nearer. */
static void propagate(int64_t modes, int count, const node *nodes, int with_fourth, double from, double to, const double *e,
                      const double *v, double *restrict e_out, double *restrict v_out) {
  const double *decay[NODES], *drive[NODES], *spread[NODES], fourth = with_fourth;
  cubic w[NODES] = {{0}};
  interpolation_weights(count, nodes, from, to, w);
  for (int i = 0; i < NODES; i++) {
    const node *at = nodes + (i < count ? i : 0);   /* of weight 0 beyond */
    decay[i] = at->decay, drive[i] = at->drive, spread[i] = at->spread;
  }
#pragma omp simd
  for (int64_t j = 0; j < modes; j++) {
    const cubic l = through(w, decay[0][j], decay[1][j], decay[2][j], decay[3][j]);
    const cubic p = through(w, drive[0][j], drive[1][j], drive[2][j], drive[3][j]);
    const cubic m = through(w, spread[0][j], spread[1][j], spread[2][j], spread[3][j]);
    const double z = integral(l), kept = sgdlimit_exp(z);
    /* exp(rest) = 1 + x1 u + x2 u^2 + ..., and its square with y */
    const double d1 = l.c0 - z, d2 = l.c1 / 2, d3 = l.c2 / 3, d4 = l.c3 / 4, half2 = d1 * d1 / 2;
    const double x1 = d1, x2 = d2 + half2, x3 = d3 + d1 * (d2 + half2 / 3);
    const double x4 = d4 + d1 * d3 + d2 * (d2 / 2 + half2) + half2 * half2 / 6;
    const double y1 = 2 * x1, y2 = 2 * x2 + x1 * x1, y3 = 2 * (x3 + x1 * x2), y4 = 2 * (x4 + x1 * x3) + x2 * x2;
    const moments g = moments_of(z, kept), twice = doubled(g, kept);
    const double variance = kept * kept * v[j] + driven(m, y1, y2, y3, y4, twice, fourth);
    e_out[j] = kept * e[j] + driven(p, x1, x2, x3, x4, g, fourth);
    v_out[j] = variance < 0 ? 0 : variance;   /* what is not a number stays so */
  }
}

/* ---- The mode equations, solved --------------------------------------------------------------------------------
 *     dx_j/dt = gamma (offset_j + slope_j (x_j - X*_j))        dv_j/dt = 2 gamma slope_j v_j + gamma^2 noise_j
 *
 * by one of two methods, step by step, with dense output, so that output times do not force steps.
 *   Explicit: the Runge-Kutta pair of Dormand and Prince, order 5(4). Its steps are no longer than the fastest mode's time.
 *   Exponential: offset, slope, noise and gamma depend on the modes through a few sums, which are smooth where single modes
 *     are not. Extrapolated from the last three steps' ends they give a state by exact solution (predictor, order 3);
 *     interpolated with what they are there, the step's end (corrector, order 4); the difference is the error. The steps
 *     are as long as the sums are smooth, whatever gamma slope. Modes at rest follow what is extrapolated at once, and back:
 *     beyond a gain of 0.7 from three steps' ends that does not settle, so fewer are taken when they predict better.
 * The first steps are explicit, until the exponential method knows three, and go on so where that is cheaper. Three choices
 * are this problem's own.
 *   State: e = x - X* is carried, not x, so that a noiseless decay loses nothing to x's last digits near X*.
 *   Clock: s = sqrt(t - start_time) is the variable. Leaving X = 0, n grows like sqrt(t), and all is smooth in s:
 *     ordinary steps do what steps in t would have to be graded over sixteen decades for.
 *   Errors: relative, without an absolute tolerance, so that a risk that falls by fifteen orders of magnitude stays
 *     right to rtol. Errors of single modes are not judged: what follows from the modes are sums over them.
 * Where more than max_steps would be needed to the end of PATIENCE steps in a row, and they do not grow, there is no hope and
 * it says so.
 * Dormand-Prince 8(5,3) was tried: at equal error it needs as many evaluations for 1e-8, and its estimate, unlike this
 * one, promises ten to a hundred times more than it holds.
 *
 * The loss enters through these alone, and through STATISTICS, how many numbers `statistics` writes, of which the first
 * JUDGED_STATISTICS tell a divergence (a learning rate or a ridge may be large without one). */
#include <float.h>

static int64_t constants_count(const sgdlimit_problem *p);
static void constants(const sgdlimit_problem *p, double *k);
static int64_t rate_scalars_count(const sgdlimit_problem *p);
static void rate_scalars(const sgdlimit_problem *p, const double *k, int64_t iterate, const double *x, const double *e,
                         const double *v, double *scalars);
static void rates(const sgdlimit_problem *p, const double *scalars, int64_t from, int64_t to, double *offset,
                  double *slope, double *noise);
static void statistics(const sgdlimit_problem *p, const double *k, int64_t iterate, double gamma, const double *x,
                       const double *e, const double *v, double *out);

/* E. Hairer, S. P. Norsett, G. Wanner, "Solving Ordinary Differential Equations I", table II.5.2 and section II.6. The
 * last stage is the step's end: its slope is the next step's first. */
enum { PATIENCE = 1000 };
enum { STIFF_STEPS = 15 };   /* steps longer than the fastest mode's time, less those shorter, that change the method */
enum { JITTER = 12 };   /* of the estimate of an error, in units of what the slopes are known to, at the longest steps */
enum { CAUTION = 5 };   /* after a rejection: of a jump of the learning rate the estimate sees a part */
enum { DEEPEST = 40 };   /* fall, as a logarithm, that errors are held tighter for */
/* Rows: the stages' slopes dy/ds, the state at a step's start and at its end, and state and slope where the step before
 * it began. */
enum { STAGES = 7, STATE = STAGES, END, STATE_BEFORE, SLOPE_BEFORE, ROWS };
enum { SPAN = 256 };   /* modes whose rates are taken at a time: they stay in the nearest cache */
static const double stage_positions[STAGES] = {0, 1. / 5, 3. / 10, 4. / 5, 8. / 9, 1, 1};
static const double stage_weights[STAGES][STAGES - 1] = {
    {0},
    {1. / 5},
    {3. / 40, 9. / 40},
    {44. / 45, -56. / 15, 32. / 9},
    {19372. / 6561, -25360. / 2187, 64448. / 6561, -212. / 729},
    {9017. / 3168, -355. / 33, 46732. / 5247, 49. / 176, -5103. / 18656},
    {35. / 384, 0, 500. / 1113, 125. / 192, -2187. / 6784, 11. / 84}};
static const double error_weights[STAGES] = {
    71. / 57600, 0, -71. / 16695, 71. / 1920, -17253. / 339200, 22. / 525, -1. / 40};
static const double dense_weights[STAGES] = {
    -12715105075. / 11282082432, 0, 87487479700. / 32700410799, -10690763975. / 1880347072,
    701980252875. / 199316789632, -1453857185. / 822651844, 69997945. / 29380423};

typedef struct integration {
  const sgdlimit_problem *problem;
  sgdlimit_outcome *outcome;
  int64_t iterate;
  double *constants;
  int64_t length;          /* of a state y = (e, v, a), a the integral of sum_j noise_j that AdaGrad-norm needs: 2N + 1 and
                              zeros up to a whole line */
  double *rows[ROWS];      /* [length] each */
  double before;           /* length of the step before in s, 0 at the start */
  node nodes[NODES];       /* the steps' ends, newest first; an attempt's end is the first of them */
  int known, used;         /* how many but for the first are filled, and how many of them a prediction takes */
  double missed[NODES];    /* by how much predictions of sums from so many steps' ends missed */
  int exponential;         /* which method the next step is of */
  int stiff_steps;         /* 0 to STIFF_STEPS */
  double *work;            /* [length] the step's error, or the state at an output time */
  double *x;               /* [N] X* + e */
  double *scalars;         /* what the rates were made of at the last evaluation */
  int64_t block;           /* rates are written and read so many modes at a time, while they are near: all at once where
                              the learning rate is a sum over them */
  double *offset, *slope, *noise;   /* [block] */
  double steepest;         /* max |slope| at the last differentiation */
  double *descent_work;    /* [2N] */
  int missing;             /* a learning rate that was asked for does not exist */
  double *ones;            /* [N] */
  double *teacher2;        /* [1 + K] sum W X*^2 for the weightings W = 1, lambda_1, ..., lambda_K */
  double *scale, *trial_scale;      /* [1 + K] what errors are relative to at the step's start and end */
  double *peak;            /* [1 + K] the largest of it so far */
  double *unresolved;      /* [1 + K] and what of e no step can resolve at its end */
  double *bound;           /* [STATISTICS] beyond it a statistic has diverged */
} integration;

/* out = sum of weights[i] row i. Rows of weight 0 are passed over: a stage that is still to come may hold anything. One
 * row after another, over as many numbers as stay in the nearest cache: of a sum over the rows, held in registers,
 * compilers make far more than it takes. */
static void combine(const integration *g, const double weights[ROWS], double *restrict out) {
  for (int64_t begin = 0; begin < g->length; begin += SPAN) {
    const int64_t end = begin + SPAN < g->length ? begin + SPAN : g->length;
    int first = 1;
    for (int i = 0; i < ROWS; i++) {
      const double weight = weights[i], *restrict row = g->rows[i];
      if (weight == 0) continue;
      if (first)
        for (int64_t j = begin; j < end; j++) out[j] = weight * row[j];
      else
        for (int64_t j = begin; j < end; j++) out[j] += weight * row[j];
      first = 0;
    }
  }
}

/* The larger one; a where b is not a number, as fmax, which is a call. */
static inline double at_least(double a, double b) { return b > a ? b : a; }

typedef struct weighted_sums {
  double square, absolute;
} weighted_sums;

/* Sums of W a^2 and W |b|. Without the pragma's leave a compiler keeps the order of the sum, at five times the time. */
static weighted_sums weigh(int64_t length, const double *weight, const double *a, const double *b) {
  double square = 0, absolute = 0;
#pragma omp simd reduction(+ : square, absolute)
  for (int64_t j = 0; j < length; j++) {
    square += weight[j] * (a[j] * a[j]);
    absolute += weight[j] * fabs(b[j]);
  }
  return (weighted_sums){square, absolute};
}

/* W = 1, then the eigenvalues of each class. */
static const double *weighting(const integration *g, int64_t w) {
  return w == 0 ? g->ones : g->problem->eigenvalues + (w - 1) * g->problem->modes;
}

static void place(const integration *g, const double *e) {
  for (int64_t j = 0; j < g->problem->modes; j++) g->x[j] = g->problem->teacher[j] + e[j];
}

/* What errors at the state y are relative to; returns n^2.
 *
 * For each weighting it is sum W (e^2 + v): the distance from the teacher, and each class's part of the risk. The norm
 * n, which the adversary acts through, shares the weighting 1: the smaller of the two rules. Without a teacher they are
 * one. The slopes know e no better than to RESOLUTION X* (0 where they are exact at the teacher), nor x = X* + e better
 * than to the last digit of X*, nor a noise that vanishes at the teacher better than to RESOLUTION: slopes of a stage
 * differ by that much for no reason, and errors that come of it are allowed on top of rtol. */
static double judge(const integration *g, const double *y, double *scale, double *unresolved) {
  const sgdlimit_problem *p = g->problem;
  const double *v = y + p->modes;
  place(g, y);
  const weighted_sums norm = weigh(p->modes, g->ones, g->x, v);
  const double norm2 = norm.square + norm.absolute;
  for (int64_t w = 0; w <= p->classes; w++) {
    weighted_sums distance = weigh(p->modes, weighting(g, w), y, v);
    double of_e = RESOLUTION, of_v = RESOLUTION;
    if (w == 0 && norm2 < distance.square + distance.absolute) {
      distance = norm;
      of_e = fmax(of_e, DBL_EPSILON), of_v = 0;
    }
    const double blurred = JITTER * of_e / p->rtol;
    scale[w] = distance.square + distance.absolute + of_v / p->rtol * g->teacher2[w] + DBL_MIN;
    unresolved[w] = blurred * blurred * g->teacher2[w];
  }
  return norm2;
}

/* The rates' scalars at the state y; returns the learning rate that goes with them. */
static double evaluate(integration *g, double t, const double *y) {
  const sgdlimit_problem *p = g->problem;
  const int64_t N = p->modes;
  place(g, y);
  rate_scalars(p, g->constants, g->iterate, g->x, y, y + N, g->scalars);
  if (sums_over_rates(p)) rates(p, g->scalars, 0, N, g->offset, g->slope, g->noise);
  g->outcome->evaluations++;
  const point at = {g->x, y, y + N, g->offset, g->slope, g->noise, y[2 * N], g->descent_work};
  const double gamma = learning_rate(p, g->constants, g->iterate, t, &at);
  g->missing |= depends_on_state(p) && isnan(gamma);
  return gamma;
}

/* The rates of a block of modes, as the last evaluation found them; returns where it ends. */
static int64_t fill_block(integration *g, int64_t from) {
  const int64_t end = from + g->block < g->problem->modes ? from + g->block : g->problem->modes;
  if (!sums_over_rates(g->problem)) rates(g->problem, g->scalars, from, end, g->offset, g->slope, g->noise);
  return end;
}

/* max |slope| of a block: of eight interleaved parts, since a compiler keeps the order of a maximum. */
static double steepest_slope(int64_t count, const double *slope) {
  enum { PARTS = 8 };
  double found[PARTS] = {0};
  for (int64_t j = 0; j + PARTS <= count; j += PARTS)
    for (int k = 0; k < PARTS; k++) {
      const double steepness = fabs(slope[j + k]);
      found[k] = steepness > found[k] ? steepness : found[k];
    }
  for (int64_t j = count / PARTS * PARTS; j < count; j++) found[0] = at_least(found[0], fabs(slope[j]));
  for (int k = 1; k < PARTS; k++) found[0] = at_least(found[0], found[k]);
  return found[0];
}

/* Whether an exponential step may come soon. */
static int keeps_nodes(const integration *g) {
  return g->problem->method == SGDLIMIT_EXPONENTIAL || (g->problem->method == SGDLIMIT_AUTO && g->stiff_steps > 0);
}

/* Makes what the last evaluation found, at s, the first node. */
static void mark(integration *g, double s, double gamma) {
  node *at = g->nodes;
  const double *slope = g->slope, *offset = g->offset, *noise = g->noise;
  double total = 0;
  at->fastest = 0;
  for (int64_t from = 0, end; from < g->problem->modes; from = end) {
    end = fill_block(g, from);
    double *decay = at->decay + from, *drive = at->drive + from, *spread = at->spread + from;
#pragma omp simd reduction(+ : total)
    for (int64_t j = 0; j < end - from; j++) {
      decay[j] = gamma * slope[j];
      drive[j] = gamma * offset[j];
      spread[j] = gamma * gamma * noise[j];
      total += noise[j];
    }
    at->fastest = at_least(at->fastest, fabs(gamma) * steepest_slope(end - from, slope));
  }
  at->clock = s * s;
  at->total = total;
}

/* dy/ds at the state y, and at the end of a step what its fastest mode is; returns the learning rate. */
static double differentiate(integration *g, double s, const double *y, int is_end, double *out) {
  const sgdlimit_problem *p = g->problem;
  const int64_t N = p->modes;
  const double *offset = g->offset, *slope = g->slope, *noise = g->noise;
  const double gamma = evaluate(g, p->start_time + s * s, y), pace = 2 * s * gamma;   /* dt = 2 s ds */
  double total = 0;
  g->steepest = 0;
  for (int64_t from = 0, end; from < N; from = end) {
    end = fill_block(g, from);
    const double *e = y + from, *v = y + N + from;
    double *of_e = out + from, *of_v = out + N + from;
#pragma omp simd reduction(+ : total)
    for (int64_t j = 0; j < end - from; j++) {
      of_e[j] = pace * (offset[j] + slope[j] * e[j]);
      of_v[j] = pace * (2 * slope[j] * v[j] + gamma * noise[j]);
      total += noise[j];
    }
    if (is_end) g->steepest = at_least(g->steepest, steepest_slope(end - from, slope));
  }
  out[2 * N] = 2 * s * total;
  return gamma;
}

/* A step of length h, its end in the row END and its error in `work`. */
static void step_explicitly(integration *g, double s, double h) {
  double weights[ROWS] = {0}, gamma = 0;
  for (int stage = 1; stage < STAGES; stage++) {
    for (int i = 0; i < stage; i++) weights[i] = h * stage_weights[stage][i];
    weights[STATE] = 1;
    combine(g, weights, g->rows[END]);
    gamma = differentiate(g, s + stage_positions[stage] * h, g->rows[END], stage == STAGES - 1, g->rows[stage]);
  }
  g->nodes->fastest = fabs(gamma) * g->steepest;
  if (keeps_nodes(g)) mark(g, s + h, gamma);
  for (int i = 0; i < STAGES; i++) weights[i] = h * error_weights[i];
  weights[STATE] = 0;
  combine(g, weights, g->work);
}

/* The state y at the clock s, exactly, where the rates go through the nodes: those before an attempted step, or its end too. */
static void follow(const integration *g, int with_end, double s, double *y) {
  const int64_t N = g->problem->modes;
  const double *state = g->rows[STATE], from = g->nodes[1].clock;
  const node *nodes = g->nodes + !with_end;
  const int count = g->used + with_end;
  propagate(N, count, nodes, with_end, from, s * s, state, state + N, y, y + N);
  cubic w[NODES];
  interpolation_weights(count, nodes, from, s * s, w);
  y[2 * N] = state[2 * N];
  for (int i = 0; i < count; i++) y[2 * N] += integral(w[i]) * nodes[i].total;
}

static void step_exponentially(integration *g, double s, double h) {
  double *end = g->rows[END];
  follow(g, 0, s + h, end);
  const double gamma = evaluate(g, g->problem->start_time + (s + h) * (s + h), end);
  mark(g, s + h, gamma);
  follow(g, 1, s + h, g->work);
  for (int64_t j = 0; j < g->length; j++) {
    const double corrected = g->work[j];
    g->work[j] = corrected - end[j];
    end[j] = corrected;
  }
}

/* Leaves the step's end in its row; returns its error in units of what it may be, NaN if the step left the finite. */
static double attempt(integration *g, double s, double h, double *norm2) {
  const sgdlimit_problem *p = g->problem;
  g->missing = 0;
  if (g->exponential) step_exponentially(g, s, h);
  else step_explicitly(g, s, h);

  const double *end = g->rows[END];
  *norm2 = judge(g, end, g->trial_scale, g->unresolved);
  if (!isfinite(*norm2)) return NAN;
  double worst = 0;
  for (int64_t w = 0; w <= p->classes; w++) {
    const weighted_sums error = weigh(p->modes, weighting(g, w), g->work, g->work + p->modes);
    /* In an exponential step what errors are relative to may fall by orders of magnitude: the end counts. */
    const double scale = g->exponential ? g->trial_scale[w] : at_least(g->scale[w], g->trial_scale[w]);
    /* Of sum W (e^2 + v), to first order: a square errs twice as much as its root. */
    const double relative = 2 * sqrt(error.square / (scale + g->unresolved[w])) + error.absolute / scale;
    if (!(relative < INFINITY)) return NAN;   /* fmax would swallow it */
    const double fall = log(at_least(1, g->peak[w] / g->trial_scale[w]));
    worst = at_least(worst, relative * (1 + (fall < DEEPEST ? fall : DEEPEST) / 4));
  }
  if (p->step_kind == SGDLIMIT_ADAGRAD_NORM) {
    const double b = p->step_arguments[g->iterate * p->step_arguments_count + 1], accumulated = end[2 * p->modes];
    worst = fmax(worst, fabs(g->work[2 * p->modes]) / (b * b + accumulated));
  }
  /* Errors of steps add up where what they are relative to falls, and fade where it stands: hence the less the deeper it
   * fell. Measured, that ends at rtol, and at 6 rtol at most as a risk falls by fifteen orders. */
  return worst / ((g->exponential ? 1 : 2.5) * p->rtol);
}

/* What of each row goes into the state at the fraction theta of an explicit step of length h, to order 4. */
static void dense_of_one(double h, double theta, double weights[ROWS]) {
  const double *step = stage_weights[STAGES - 1], rest = 1 - theta;
  for (int i = 0; i < STAGES; i++) {
    const double total = i < STAGES - 1 ? step[i] : 0, first = i == 0, last = i == STAGES - 1;
    const double inner = 2 * total - first - last + rest * dense_weights[i];
    weights[i] = h * theta * (total + rest * (first - total + theta * inner));
  }
  weights[STATE] = 1;
}

/* The same to order 5, by Hermite's polynomial through the ends of this step and of the one before. */
static void dense_of_two(double before, double h, double theta, double weights[ROWS]) {
  static const int states[] = {STATE_BEFORE, STATE, END}, slopes[] = {SLOPE_BEFORE, 0, STAGES - 1};
  const double places[] = {-before / h, 0, 1};
  for (int i = 0; i < 3; i++) {
    const double a = places[(i + 1) % 3], b = places[(i + 2) % 3], here = places[i];
    const double of_a = 1 / (here - a), of_b = 1 / (here - b), lagrange = (theta - a) * of_a * (theta - b) * of_b;
    weights[states[i]] = (1 - 2 * (of_a + of_b) * (theta - here)) * lagrange * lagrange;
    weights[slopes[i]] = h * (theta - here) * lagrange * lagrange;
  }
}

/* The state at the fraction theta of an attempted step of length h from s into `work`. In a mode that decays much faster than
 * the step the polynomial may dip below v = 0, where the truth never is: 0 is then nearer to it. */
static void interpolate(const integration *g, double s, double h, double theta) {
  if (g->exponential) {
    follow(g, 1, s + theta * h, g->work);
    return;
  }
  double weights[ROWS] = {0};
  if (g->before > h / 2) dense_of_two(g->before, h, theta, weights);
  else dense_of_one(h, theta, weights);   /* a step that grows may follow a jump of the learning rate */
  combine(g, weights, g->work);
  double *v = g->work + g->problem->modes;
  for (int64_t j = 0; j < g->problem->modes; j++) v[j] = v[j] > 0 ? v[j] : 0;
}

static int has_negative(int64_t length, const double *v) {
  int found = 0;
  for (int64_t j = 0; j < length; j++) found |= v[j] < 0;
  return found;
}

/* Writes output number `output` from the state y at it. */
static int32_t record(integration *g, int64_t output, const double *y) {
  const sgdlimit_problem *p = g->problem;
  const int64_t N = p->modes, at = g->iterate * p->times_count + output;
  double *out = p->statistics + at * STATISTICS;
  g->outcome->time = p->times[output];
  place(g, y);
  if (p->mean) memcpy(p->mean + at * N, g->x, (size_t)N * sizeof(double));
  if (p->variance) memcpy(p->variance + at * N, y + N, (size_t)N * sizeof(double));
  const double gamma = depends_on_state(p) ? evaluate(g, p->times[output], y)
                                           : learning_rate(p, g->constants, g->iterate, p->times[output], NULL);
  statistics(p, g->constants, g->iterate, gamma, g->x, y, y + N, out);
  for (int64_t i = 0; i < JUDGED_STATISTICS; i++)
    if (!isnan(g->bound[i]) && !(isfinite(out[i]) && out[i] <= g->bound[i])) return SGDLIMIT_DIVERGED;
  if (p->progress) *p->progress = at + 1;
  return SGDLIMIT_OK;
}

static double clock_of_output(const sgdlimit_problem *p, int64_t output) {
  return sqrt(p->times[output] - p->start_time);
}

/* The first step, from the slopes of the first evaluation: it lasts rtol times the fastest mode's time 1/(gamma slope),
 * so that the interpolant in it is right for a v that grows like s^2 from nothing. Steps grow tenfold from there. */
static double first_step(const integration *g, double gamma) {
  const sgdlimit_problem *p = g->problem;
  const double fastest = fabs(gamma) * g->steepest;
  const double horizon = p->times[p->times_count - 1] - p->start_time;
  return sqrt(p->rtol * (fastest * horizon > 1 ? 1 / fastest : horizon));
}

/* How many steps' ends the next prediction takes: as many as would have predicted the last one's sums best. */
static int best_count(integration *g) {
  const node *end = g->nodes;
  int best = 1;
  for (int count = 1; count <= g->known; count++) {
    double total = 0, fastest = 0;
    cubic w[NODES];
    interpolation_weights(count, end + 1, end[1].clock, end->clock, w);
    for (int i = 0; i < count; i++) {
      const double share = w[i].c0 / (end->clock - end[1].clock);
      total += share * end[1 + i].total;
      fastest += share * end[1 + i].fastest;
    }
    const double miss = fmax(fabs(total / end->total - 1), fabs(fastest / end->fastest - 1));
    /* No single lucky one, and no choice by rounding. */
    g->missed[count] = fmax(fmax(miss, 0.01 * g->problem->rtol), g->missed[count] / 2);
    if (g->missed[count] <= g->missed[best]) best = count;
  }
  return best;
}

static void exchange(double **a, double **b) {
  double *kept = *a;
  *a = *b, *b = kept;
}

/* After a step from `from` to s: its end is where the next begins and becomes a node, and the next step's method is chosen. */
static void move_on(integration *g, double from, double s) {
  const sgdlimit_problem *p = g->problem;
  const int64_t N = p->modes;
  const node *end = g->nodes;
  exchange(&g->rows[STATE_BEFORE], &g->rows[STATE]);
  exchange(&g->rows[STATE], &g->rows[END]);
  exchange(&g->rows[SLOPE_BEFORE], &g->rows[0]);
  exchange(&g->rows[0], &g->rows[STAGES - 1]);
  g->before = s - from;
  if (g->exponential) {
    const double *state = g->rows[STATE], gamma = evaluate(g, p->start_time + s * s, state);
    double *first = g->rows[0];   /* dy/ds, with which an explicit step begins */
    mark(g, s, gamma);
    for (int64_t j = 0; j < N; j++) {
      first[j] = 2 * s * (end->decay[j] * state[j] + end->drive[j]);
      first[N + j] = 2 * s * (2 * end->decay[j] * state[N + j] + end->spread[j]);
    }
    first[2 * N] = 2 * s * end->total;
  }

  const int has_node = keeps_nodes(g), stiff = (s - from) * (s + from) * end->fastest > 1;
  g->stiff_steps = stiff ? (g->stiff_steps < STIFF_STEPS ? g->stiff_steps + 1 : STIFF_STEPS)
                         : (g->stiff_steps > 0 ? g->stiff_steps - 1 : 0);
  if (has_node) {
    g->used = g->known < NODES - 1 ? g->known + 1 : best_count(g);
    g->known += g->known < NODES - 1;
    const node oldest = g->nodes[NODES - 1];
    memmove(g->nodes + 1, g->nodes, (NODES - 1) * sizeof(node));
    g->nodes[0] = oldest;   /* its arrays */
  } else g->known = 0;
  if (g->known < NODES - 1) g->exponential = 0;
  else if (p->method == SGDLIMIT_EXPONENTIAL || g->stiff_steps == STIFF_STEPS) g->exponential = 1;
  else if (g->stiff_steps == 0) g->exponential = 0;
}

/* One iterate from start to end, its state left in the state's row; on trouble its status. */
static int32_t integrate(integration *g) {
  const sgdlimit_problem *p = g->problem;
  sgdlimit_outcome *outcome = g->outcome;
  const int64_t N = p->modes, T = p->times_count;
  double *state = g->rows[STATE];

  const double *start = p->start_mean + g->iterate * N;
  for (int64_t j = 0; j < N; j++) state[j] = start[j] - p->teacher[j];
  memcpy(state + N, p->start_variance + g->iterate * N, (size_t)N * sizeof(double));
  state[2 * N] = p->start_auxiliary ? p->start_auxiliary[g->iterate] : 0;
  outcome->time = p->start_time;
  g->missing = 0;
  double norm2 = judge(g, state, g->scale, g->unresolved);
  if (!isfinite(norm2)) return SGDLIMIT_DIVERGED;
  const double norm2_bound = 1e6 * fmax(norm2, 1);
  const double gamma = differentiate(g, 0, state, 1, g->rows[0]);   /* 0 at s = 0, but for a rate that is not finite */
  if (g->missing) return SGDLIMIT_NO_STEP;
  statistics(p, g->constants, g->iterate, gamma, g->x, state, state + N, g->bound);
  for (int64_t i = 0; i < STATISTICS; i++) g->bound[i] = g->bound[i] < 1 ? 1e6 : 1e6 * g->bound[i];   /* NaN stays */
  /* No node there: at X = 0 the pull F/n jumps from 0, while all of dy/ds stays smooth. */
  g->known = g->used = g->exponential = g->stiff_steps = 0;
  memset(g->missed, 0, sizeof g->missed);
  g->before = 0;
  memcpy(g->peak, g->scale, (size_t)(1 + p->classes) * sizeof(double));

  const double finish = clock_of_output(p, T - 1);
  const int64_t attempts_before = outcome->accepted + outcome->rejected;
  double s = 0, h = first_step(g, gamma), last_error = 1, growth = 10, length_before = 0;
  int64_t output = 0, hopeless = 0;
  for (; output < T && clock_of_output(p, output) <= 0; output++) {
    const int32_t status = record(g, output, state);
    if (status != SGDLIMIT_OK) return status;
  }
  while (s < finish) {
    outcome->time = p->start_time + s * s;
    if (p->cancel && *p->cancel) return SGDLIMIT_CANCELLED;
    const double end = s + 1.01 * h >= finish ? finish : s + h;   /* no sliver at the end */
    const int64_t left = p->max_steps - (outcome->accepted + outcome->rejected - attempts_before);
    if (!(end > s) || left < 1) return g->missing ? SGDLIMIT_NO_STEP : SGDLIMIT_NO_PROGRESS;
    h = end - s;
    /* steps of this length in time that are needed, against those left */
    const double length = h * (s + end);
    if (hopeless == 0) length_before = length;
    hopeless = (finish - s) * (finish + s) > (double)left * length ? hopeless + 1 : 0;
    if (hopeless > PATIENCE && length > 2 * length_before) hopeless = 0;
    if (hopeless > PATIENCE) return g->missing ? SGDLIMIT_NO_STEP : SGDLIMIT_NO_PROGRESS;

    const double error = attempt(g, s, h, &norm2) * (growth > 1 ? 1 : CAUTION);
    const double power = g->exponential ? 1. / (g->used + 1) : 0.2;
    const double kept = !(error <= 1) ? fmax(0.1, 0.95 * pow(error, -power))   /* 0.1 when the error is not a number */
                        : has_negative(N, g->rows[END] + N) ? 0.5 : 1;
    if (kept < 1) {
      outcome->rejected++;
      h *= kept;
      growth = 1;
      continue;
    }
    for (; output < T; output++) {
      const double clock = clock_of_output(p, output), theta = (clock - s) / h;
      if (!(clock <= end)) break;
      if (theta < 1) interpolate(g, s, h, theta);
      const int32_t status = record(g, output, theta < 1 ? g->work : g->rows[END]);
      if (status != SGDLIMIT_OK) return status;
    }

    outcome->accepted++;
    const double from = s;
    s = end;
    outcome->time = p->start_time + s * s;
    if (norm2 > norm2_bound) return SGDLIMIT_DIVERGED;
    for (int64_t w = 0; w <= p->classes; w++) {
      g->scale[w] = g->trial_scale[w];
      g->peak[w] = at_least(g->peak[w], g->scale[w]);
    }
    /* Explicit steps with memory (PI): without it every fifth is rejected where stability limits them. Nodes far before an
     * exponential step would not extrapolate into it. */
    const double longer = g->exponential ? 0.95 * pow(error, -power)
                                         : 0.95 * exp(0.04 * log(last_error) - 0.17 * log(error));
    const double limit = g->exponential ? fmin(growth, 2) : growth;
    move_on(g, from, s);
    h *= fmin(limit, fmax(0.2, longer));
    last_error = fmax(error, 1e-4);
    growth = 10;
  }
  outcome->time = p->times[T - 1];
  return SGDLIMIT_OK;
}

static int can_be_solved(const sgdlimit_problem *p) {
  if (p->size != sizeof *p) return 0;
  if (p->iterates < 1 || p->classes < 1 || p->modes < 1 || p->times_count < 1 || p->max_steps < 1) return 0;
  if (!(p->rtol > 0 && p->rtol < 1) || !has_step_arguments(p)) return 0;
  for (int64_t i = 0; i < p->times_count; i++)
    if (!(p->times[i] >= (i > 0 ? p->times[i - 1] : p->start_time))) return 0;
  if (!isfinite(p->start_time) || !isfinite(p->times[p->times_count - 1])) return 0;
  for (int64_t i = 0; i < p->classes * p->modes; i++)
    if (!(p->eigenvalues[i] >= 0)) return 0;
  for (int64_t i = 0; i < p->iterates * p->modes; i++)
    if (!(p->start_variance[i] >= 0)) return 0;
  return 1;
}

/* Arrays begin with lines of the cache, which no vector then straddles. */
enum { LINE = 8 };

static int64_t whole_lines(int64_t count) { return (count + LINE - 1) / LINE * LINE; }

static void fill_with_nan(double *out, int64_t count) {
  for (int64_t i = 0; out && i < count; i++) out[i] = NAN;
}

/* Each iterate from `start_time` to the last output time. At the first trouble it stops: what was computed until then
 * stays, the rest is NaN, and `outcome` tells the iterate and the time. */
int32_t sgdlimit_solve(const sgdlimit_problem *p, sgdlimit_outcome *outcome) {
  *outcome = (sgdlimit_outcome){.status = SGDLIMIT_BAD_PROBLEM};
  if (!can_be_solved(p)) return outcome->status;
  const int64_t M = p->iterates, K = p->classes, N = p->modes, T = p->times_count;
  fill_with_nan(p->statistics, M * T * STATISTICS);
  fill_with_nan(p->mean, M * T * N);
  fill_with_nan(p->variance, M * T * N);
  fill_with_nan(p->final_mean, M * N);
  fill_with_nan(p->final_variance, M * N);
  fill_with_nan(p->final_auxiliary, M);

  const int64_t n = whole_lines(N), k = whole_lines(1 + K), length = whole_lines(2 * N + 1);
  const int64_t block = sums_over_rates(p) ? n : SPAN;
  const int64_t others = 3 * block + 5 * k + STATISTICS + rate_scalars_count(p) + constants_count(p);
  const int64_t per_mode = 2 * (ROWS + 1) + 3 * NODES + 5 + 3;
  const int64_t doubles = (ROWS + 1) * length + (3 * NODES + 5) * n + others;
  double *memory = N < (PTRDIFF_MAX / (int64_t)sizeof(double) - others) / per_mode - 64 * LINE
                       ? aligned_alloc(LINE * sizeof(double), (size_t)whole_lines(doubles) * sizeof(double))
                       : NULL;
  if (!memory) return outcome->status = SGDLIMIT_OUT_OF_MEMORY;
  sgdlimit_problem problem = *p;
  integration g = {.problem = &problem, .outcome = outcome, .length = length, .block = block};
  double *next = memory;
  g.work = next, next += length;
  for (int i = 0; i < ROWS; i++) g.rows[i] = next, next += length;
  for (double *row = memory; row < next; row += length)
    for (int64_t j = 2 * N + 1; j < length; j++) row[j] = 0;   /* sums of rows take whole lines */
  for (int i = 0; i < NODES; i++) {
    g.nodes[i].decay = next, next += n;
    g.nodes[i].drive = next, next += n;
    g.nodes[i].spread = next, next += n;
  }
  g.descent_work = next, next += 2 * n;
  g.x = next, next += n;
  g.offset = next, next += block;
  g.slope = next, next += block;
  g.noise = next, next += block;
  g.ones = next, next += n;
  double *nowhere = next;
  next += n;
  g.teacher2 = next, next += k;
  g.scale = next, next += k;
  g.trial_scale = next, next += k;
  g.peak = next, next += k;
  g.unresolved = next, next += k;
  g.bound = next, next += STATISTICS;
  g.scalars = next, next += rate_scalars_count(p);
  g.constants = next;
  fill_with_nan(nowhere, N);
  if (!problem.reference) problem.reference = nowhere;

  for (int64_t j = 0; j < N; j++) g.ones[j] = 1;
  for (int64_t w = 0; w <= K; w++) g.teacher2[w] = weigh(N, weighting(&g, w), p->teacher, p->teacher).square;
  constants(p, g.constants);
  outcome->status = SGDLIMIT_OK;
  for (int64_t m = 0; m < M && outcome->status == SGDLIMIT_OK; m++) {
    outcome->iterate = g.iterate = m;
    outcome->status = integrate(&g);
    if (outcome->status != SGDLIMIT_OK) break;
    const double *state = g.rows[STATE];
    place(&g, state);
    if (p->final_mean) memcpy(p->final_mean + m * N, g.x, (size_t)N * sizeof(double));
    if (p->final_variance) memcpy(p->final_variance + m * N, state + N, (size_t)N * sizeof(double));
    if (p->final_auxiliary) p->final_auxiliary[m] = state[2 * N];
  }
  free(memory);
  return outcome->status;
}

/* ---- The interface ----------------------------------------------------------------------------------------------- */

int32_t sgdlimit_abi(void) { return SGDLIMIT_ABI; }
const char *sgdlimit_parameter_names(void) { return "epsilon,tau"; }
const char *sgdlimit_schedule_names(void) { return ""; }
/* Of learning rates that depend on the state, those that this kernel has. */
const char *sgdlimit_descent_names(void) { return "polyak,line_search"; }
const char *sgdlimit_statistic_names(void) { return "adversarial_risk,clean_risk,clean_error,robust_error,norm2,overlap,cosine,distance2,optimum_distance2,learning_rate,effective_ridge"; }
const char *sgdlimit_coefficient_names(void) { return "R,A,B,D,F,I"; }
const char *sgdlimit_score_names(void) { return "n,m_star,Q_star,m,beta,Q_perp"; }
/* What must be positive for the equations to hold. */
const char *sgdlimit_positive_names(void) { return ""; }
