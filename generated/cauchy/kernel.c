/* The high-dimensional limit of streaming SGD on one model, its statistics, and the SGD itself.
 *   loss       log(1 + (r - y)**2)
 *   target     Teacher('r_star + sigma*xi')
 *   adversary  l2 ball of radius epsilon
 *
 * Written by sgdlimit, generator format 12. To write it again: sgdlimit generate SPEC --out DIRECTORY
 * It stands alone: cc -O3 -c this_file.c; link with -lm. The interface is the struct sgdlimit_problem and the
 * functions sgdlimit_*. The mathematics is arXiv 2607.00207, in the notation of docs/theory.md.
 *
 * Two switches for a part of it: with -DSGDLIMIT_FLOAT32 sgdlimit_simulate runs in single precision and diffusions
 * are left out; with -DSGDLIMIT_ONLY_LIMIT all that draws random numbers is. */

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

/* What simulate tells of an iterate: norm2, overlap, distance2, reference_distance2, learning_rate; m, c, Q of each
 * class. */
enum { SGDLIMIT_SUMMARY = 5, SGDLIMIT_CLASS_SUMMARY = 3 };

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

LANEWISE double sgdlimit_log1p(double x) {
  const double u = 1.0 + x;
  return sgdlimit_log_sum(u, x > 1e15 ? 0.0 : x - (u - 1.0));
}

/* exp(-x^2/2)/sqrt(2 pi) */
LANEWISE double sgdlimit_normal_density(double x) {
  const double head = sgdlimit_from_bits(sgdlimit_bits(x) & UINT64_C(0xfffffffff8000000));
  return 0.3989422804014327 * sgdlimit_exp_sum(-0.5 * head * head, 0.5 * (head - x) * (x + head));
}

LANEWISE double square(double x) { return x * x; }

LANEWISE double larger(double a, double b) { return a > b ? a : b; }

/* ---- Gaussian integrals: composite Gauss-Legendre on graded panels ----------------------------------------------
 * The integral of phi(z) g(z), phi the standard normal density, over the window [-13, 13]: phi leaves e^-84 outside,
 * and e^-40 of its mass when g tilts it by e^(4z). Panels end where g has a kink, and shrink towards g's poles.
 *
 * How short a panel must be: n-point Gauss-Legendre on [a, b] converges like rho^(-2n), where the ellipse with foci
 * a and b through the nearest pole has distances to them that sum to (b - a)(rho + 1/rho)/2. So a panel may be as long
 * as the pole's summed distance from its ends divided by SGDLIMIT_CLEARANCE = (rho + 1/rho)/2. Measured on softplus,
 * sigmoid, tanh, their derivatives and the squares of those, |m| <= 10, 0 <= s <= 100: a clearance of 2 leaves 2e-13 of
 * E|g| (poles of order 6; 1e-15 for simple poles) with 112 nodes at s = 1 and at most 256 at s = 100; 1.5 leaves 1e-8.
 * SGDLIMIT_LONGEST_PANEL integrates phi itself, and phi(z) e^(4z), to 1e-15. Entire integrands that vary on a scale of
 * their own below 1 (sin(9z), say) announce nothing here: give breakpoints. */
#define SGDLIMIT_WINDOW 13.0
#define SGDLIMIT_LONGEST_PANEL (SGDLIMIT_WINDOW / 3)
#define SGDLIMIT_CLEARANCE 2.0
#define SGDLIMIT_NARROWEST_LAYER 1e-12   /* below it a layer is a breakpoint: to the integrand it is a jump */
#define SGDLIMIT_SAME_BREAKPOINT 1e-14   /* kinks this close are one: what differs is rounding */


enum { SGDLIMIT_POINTS = 16 };

/* An entire function that has a step or a bump of a width of its own, Phi((z - location)/width) say, is constant to rounding
 * nine widths away, and as smooth as phi on four widths. */
#define SGDLIMIT_STEP_REACH 9.0
#define SGDLIMIT_STEP_PANEL 4.0

/* Where an integrand is not smooth: it has kinks, poles at pole +- i width, and steps. Any may come in any order, repeat,
 * lie outside the window or be infinite; NaN, the 0/0 of a vanishing variance, is none. */
typedef struct {
  double lower, upper;   /* the window */
  int kinks, poles, steps;
  const double *kink, *pole, *pole_width, *step, *step_width;
} sgdlimit_shape;

/* Edges that a shape can make. Each kink, narrow layer or end of the window ends one panel; the longest panel fits 6 times
 * (25 when the window is as wide as it gets); a pole of width w makes its distance from the panel's end fall, then grow
 * threefold a panel between 26 and w, hence at most 2 (log_3(26/1e-12) + 1) + 3 < 62 panels; a step makes 6 and an end. */
#define SGDLIMIT_MAX_EDGES(kinks, poles, steps) ((kinks) + 63 * (poles) + 8 * (steps) + 27)

/* Cuts the window into panels, from left to right, each as long as it may be; returns how many. `edges` has room for
 * SGDLIMIT_MAX_EDGES. Every comparison below is written so that NaN fails it. */
static int sgdlimit_panels(const sgdlimit_shape *shape, double *edges) {
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
        /* Up to where the step begins, or into it by no more than it allows: steps that begin together share an edge. */
        const double before = location - SGDLIMIT_STEP_REACH * width - a, inside = SGDLIMIT_STEP_PANEL * width;
        const double longest = before > inside ? before : inside;
        if (longest < length) length = longest;
      }
    }
    /* The sliver that rounding would leave before `end` is swallowed. */
    edges[++panels] = end - a <= length * (1 + 1e-9) ? end : a + length;
  }
  return panels;
}

/* The nodes of the panel [a, b], and their weights with phi(z) in them. */
static void sgdlimit_nodes(double a, double b, double *z, double *weight) {
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
static int sgdlimit_middle(const sgdlimit_shape *shape, const double *edges, int panels, double *below, double *above) {
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
 * loss       log(1 + (r - y)**2)
 * target     Teacher('r_star + sigma*xi')
 * adversary  l2 ball of radius epsilon
 */

enum { PARAMETERS = 3, STATISTICS = 9, JUDGED_STATISTICS = 7 };
/* How well the rates know x - X*, in units of X*. */
static const double RESOLUTION = 0.0;

/* The law of the score given the class, in the symbols of the theory (section 2). */
typedef struct score { double n, Q_star, dm, beta1, Q_perp; } score;

enum { GLOBAL_CONSTANTS = 1, CLASS_CONSTANTS = 1 };
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
    double Q_star = 0;
    #pragma omp simd reduction(+ : Q_star)
    for (int64_t j = 0; j < p->modes; j++) {
      Q_star += lam[j]*(x_star[j]*x_star[j]);
    }
    k[GLOBAL_CONSTANTS + i * CLASS_CONSTANTS + 0] = Q_star;
  }
}

/* What the coefficients of class i are functions of, from the state. */
static void class_score(const sgdlimit_problem *p, const double *k, int64_t i, const double *x, const double *e,
                        const double *v, double n, score *w) {
  (void)x;
  const double *lam = p->eigenvalues + i * p->modes;
  const double *mu = p->means + i * p->modes;
  const double *x_star = p->teacher;
  const double Q_star = k[GLOBAL_CONSTANTS + i * CLASS_CONSTANTS + 0];
  double dm = 0, sum_beta1 = 0;
  #pragma omp simd reduction(+ : dm, sum_beta1)
  for (int64_t j = 0; j < p->modes; j++) {
    dm += e[j]*mu[j];
    sum_beta1 += e[j]*lam[j]*x_star[j];
  }
  const double beta1 = (Q_star > 0.0 ? sum_beta1/Q_star : -1.0);
  double Q_perp = 0;
  #pragma omp simd reduction(+ : Q_perp)
  for (int64_t j = 0; j < p->modes; j++) {
    Q_perp += (square(-beta1*x_star[j] + e[j]) + v[j])*lam[j];
  }
  w->n = n;
  w->Q_star = Q_star;
  w->dm = dm;
  w->beta1 = beta1;
  w->Q_perp = Q_perp;
}

/* All that one class is asked for below; where an address is NULL, that is dropped: it is inlined. */
LANEWISE void every_coefficient(const score *w, double y, const double *par, int64_t stride,
                                double *out_R, double *out_A, double *out_B, double *out_D, double *out_F, double *out_I, double *out_BD, double *out_clean_risk) {
  (void)y;
  const double n = w->n;
  const double Q_star = w->Q_star;
  const double dm = w->dm;
  const double beta1 = w->beta1;
  const double Q_perp = w->Q_perp;
  const double p_epsilon = par[0 * stride];
  const double p_sigma = par[2 * stride];
  const double mean = dm;
  const double s = sqrt(larger(1e-300, p_sigma*p_sigma + Q_perp + Q_star*(beta1*beta1)));
  double J_R = 0, J_A = 0, J_B = 0, J_F = 0, J_I = 0;
  if (out_R || out_A || out_B || out_D || out_F || out_I) {
    const double h1 = 1.0/s;
    const double h2 = p_epsilon*n;
    const double kink[] = {
        -h1*mean,
    };
    const double pole[] = {
        h1*(-h2 - mean),
        h1*(h2 - mean),
    };
    const double pole_width[] = {
        h1,
        h1,
    };
    const sgdlimit_shape shape = {-SGDLIMIT_WINDOW, SGDLIMIT_WINDOW, 1, 2, 0, kink, pole, pole_width, NULL, NULL};
    double edges[SGDLIMIT_MAX_EDGES(1, 2, 0)];
    const int panels = sgdlimit_panels(&shape, edges);
    double total_J_R = 0, total_J_A = 0, total_J_B = 0, total_J_F = 0, total_J_I = 0, below, above;
    const int middle = sgdlimit_middle(&shape, edges, panels, &below, &above);
    for (int q = middle, enough; q >= 0; q = sgdlimit_next(q, middle, panels, enough)) {
      double nodes[SGDLIMIT_POINTS], weights[SGDLIMIT_POINTS];
      double of_J_R[SGDLIMIT_POINTS], of_J_A[SGDLIMIT_POINTS], of_J_B[SGDLIMIT_POINTS], of_J_F[SGDLIMIT_POINTS], of_J_I[SGDLIMIT_POINTS];
      sgdlimit_nodes(edges[q], edges[q + 1], nodes, weights);
      #pragma omp simd
      for (int k = 0; k < SGDLIMIT_POINTS; k++) {
        const double z = nodes[k];
        const double u = mean + s*z;
        const double sigma0 = (u > 0 ? 1.0 : -1.0);
        const double g1 = p_epsilon*n + sigma0*u;
        const double g2 = g1*g1;
        const double g3 = g2 + 1.0;
        const double g4 = 1.0/g3;
        const double g5 = 2.0*g1*g4;
        const double g6 = 4.0*g2/(g3*g3);
        of_J_R[k] = weights[k] * (sgdlimit_log1p(g2));
        of_J_A[k] = weights[k] * (g5*sigma0);
        of_J_B[k] = weights[k] * (2.0*g4 - g6);
        of_J_F[k] = weights[k] * (p_epsilon*g5);
        of_J_I[k] = weights[k] * (g6);
      }
      if (out_R) sgdlimit_add(of_J_R, &J_R, &total_J_R);
      if (out_A) sgdlimit_add(of_J_A, &J_A, &total_J_A);
      if (out_B || out_D) sgdlimit_add(of_J_B, &J_B, &total_J_B);
      if (out_F) sgdlimit_add(of_J_F, &J_F, &total_J_F);
      if (out_I) sgdlimit_add(of_J_I, &J_I, &total_J_I);
      const double longest = SGDLIMIT_LONGEST_PANEL / (edges[q + 1] - edges[q]);
      enough = sgdlimit_is_beyond(q, middle, edges, below, above);
      enough = enough && (!(out_R) || longest * sgdlimit_outermost(of_J_R, q >= middle) <= SGDLIMIT_NEGLIGIBLE * total_J_R);
      enough = enough && (!(out_A) || longest * sgdlimit_outermost(of_J_A, q >= middle) <= SGDLIMIT_NEGLIGIBLE * total_J_A);
      enough = enough && (!(out_B || out_D) || longest * sgdlimit_outermost(of_J_B, q >= middle) <= SGDLIMIT_NEGLIGIBLE * total_J_B);
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
        h1,
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
        const double u = mean + s*z;
        of_J_clean_risk[k] = weights[k] * (sgdlimit_log1p(u*u));
      }
      if (out_clean_risk) sgdlimit_add(of_J_clean_risk, &J_clean_risk, &total_J_clean_risk);
      const double longest = SGDLIMIT_LONGEST_PANEL / (edges[q + 1] - edges[q]);
      enough = sgdlimit_is_beyond(q, middle, edges, below, above);
      enough = enough && (!(out_clean_risk) || longest * sgdlimit_outermost(of_J_clean_risk, q >= middle) <= SGDLIMIT_NEGLIGIBLE * total_J_clean_risk);
    }
  }
  const double c1 = (p_epsilon*p_epsilon)*(n*n);
  const double c2 = 0.5*(mean*mean)/(s*s);
  const double c3 = p_epsilon*n;
  const double c4 = 1.772453850905516*s*sgdlimit_exp(c2);
  if (out_R) *out_R = J_R;
  if (out_A) *out_A = J_A;
  if (out_B) *out_B = J_B + 1.5957691216057308*c3*sgdlimit_exp(-c2)/(s*(c1 + 1.0));
  if (out_D) *out_D = -J_B - 2.8284271247461903*c3/(c1*c4 + c4);
  if (out_F) *out_F = J_F;
  if (out_I) *out_I = J_I;
  if (out_BD) *out_BD = 0.0;
  if (out_clean_risk) *out_clean_risk = J_clean_risk;
}

/* What the mode equations need of one class. */
static void rate_coefficients(const score *w, double y, const double *par, int64_t stride,
                              double *out_A, double *out_B, double *out_F, double *out_I, double *out_BD) {
  every_coefficient(w, y, par, stride, NULL, out_A, out_B, NULL, out_F, out_I, out_BD, NULL);
}

/* What the statistics need of one class. */
static void statistic_coefficients(const score *w, double y, const double *par, int64_t stride,
                                   double *out_R, double *out_B, double *out_F, double *out_clean_risk) {
  every_coefficient(w, y, par, stride, out_R, NULL, out_B, NULL, out_F, NULL, NULL, out_clean_risk);
}

/* R, A, B, D, F, I of one class. */
static void all_coefficients(const score *w, double y, const double *par, int64_t stride,
                             double *out_R, double *out_A, double *out_B, double *out_D, double *out_F, double *out_I) {
  every_coefficient(w, y, par, stride, out_R, out_A, out_B, out_D, out_F, out_I, NULL, NULL);
}

/* dx_j/dt = gamma (offset_j + slope_j (x_j - x_star_j)),  dv_j/dt = 2 gamma slope_j v_j + gamma^2 noise_j */
static void rates(const sgdlimit_problem *p, const double *k, int64_t iterate, const double *x, const double *e,
                  const double *v, double *offset, double *slope, double *noise) {
  const double *x_star = p->teacher;
  const double *omega = p->weights;
  const double p_tau = p->parameters[(iterate * 3 + 1) * p->classes];
  for (int64_t j = 0; j < p->modes; j++) offset[j] = slope[j] = noise[j] = 0;
  double norm2 = 0;
  #pragma omp simd reduction(+ : norm2)
  for (int64_t j = 0; j < p->modes; j++) {
    norm2 += v[j] + x[j]*x[j];
  }
  const double n = sqrt(norm2);
  const double inverse_norm = (n > 0.0 ? 1.0/n : 0.0);
  double mean_F = 0;
  for (int64_t i = 0; i < p->classes; i++) {
    const double *lam = p->eigenvalues + i * p->modes;
    const double *mu = p->means + i * p->modes;
    const double *par = p->parameters + iterate * 3 * p->classes + i;
    score w;
    class_score(p, k, i, x, e, v, n, &w);
    const double probability = p->probabilities[i];
    double A, B, F, I, BD;
    rate_coefficients(&w, p->labels[i], par, p->classes, &A, &B, &F, &I, &BD);
    const double w1 = BD*probability;
    const double w2 = A*probability;
    const double w3 = B*probability;
    const double w4 = I*probability;
    #pragma omp simd
    for (int64_t j = 0; j < p->modes; j++) {
      offset[j] += w1*lam[j]*x_star[j] + w2*mu[j];
      slope[j] += w3*lam[j];
      noise[j] += w4*lam[j];
    }
    mean_F += F*probability;
  }
  const double s1 = -p_tau;
  const double s2 = -inverse_norm*mean_F;
  #pragma omp simd
  for (int64_t j = 0; j < p->modes; j++) {
    offset[j] = s1*x_star[j] + s2*x_star[j] - offset[j];
    slope[j] = s1 + s2 - slope[j];
    noise[j] = noise[j]*omega[j];
  }
}

/* The statistics, in the order of sgdlimit_statistic_names. */
static void statistics(const sgdlimit_problem *p, const double *k, int64_t iterate, double gamma, const double *x,
                       const double *e, const double *v, double *out) {
  const double *x_star = p->teacher;
  const double *x_optimum = p->reference;
  const double teacher_norm2 = k[0];
  const double p_tau = p->parameters[(iterate * 3 + 1) * p->classes];
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
  double mean_B = 0, mean_F = 0, mean_R = 0, mean_clean_risk = 0;
  for (int64_t i = 0; i < p->classes; i++) {
    const double *par = p->parameters + iterate * 3 * p->classes + i;
    score w;
    class_score(p, k, i, x, e, v, n, &w);
    const double probability = p->probabilities[i];
    double R, B, F, clean_risk;
    statistic_coefficients(&w, p->labels[i], par, p->classes, &R, &B, &F, &clean_risk);
    mean_B += B*probability;
    mean_F += F*probability;
    mean_R += R*probability;
    mean_clean_risk += clean_risk*probability;
  }
  out[0] = mean_R;
  out[1] = mean_clean_risk;
  out[2] = norm2;
  out[3] = sum_overlap;
  out[4] = (norm2*teacher_norm2 > 0.0 ? sum_overlap/(sqrt(norm2)*sqrt(teacher_norm2)) : 0.0);
  out[5] = sum_distance2;
  out[6] = sum_optimum_distance2;
  out[7] = gamma;
  out[8] = (mean_B*n > 0.0 ? (inverse_norm*mean_F + p_tau)/mean_B : NAN);
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
static void rates(const sgdlimit_problem *p, const double *k, int64_t iterate, const double *x, const double *e,
                  const double *v, double *offset, double *slope, double *noise);
static void statistics(const sgdlimit_problem *p, const double *k, int64_t iterate, double gamma, const double *x,
                       const double *e, const double *v, double *out);

/* E. Hairer, S. P. Norsett, G. Wanner, "Solving Ordinary Differential Equations I", table II.5.2 and section II.6. The
 * last stage is the step's end: its slope is the next step's first. */
enum { PATIENCE = 1000 };
enum { STIFF_STEPS = 15 };   /* steps longer than the fastest mode's time, less those shorter, that change the method */
enum { JITTER = 12 };   /* of the estimate of an error, in units of what the slopes are known to, at the longest steps */
enum { STAGES = 7, STATE = STAGES /* row of the state, after the stages' slopes */, ROWS = STAGES + 1 };
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
                              zeros up to a whole line of the cache */
  double *rows;            /* [ROWS][length] the stages' slopes dy/ds, then the state at the step's start */
  node nodes[NODES];       /* the steps' ends, newest first; an attempt's end is the first of them */
  int known, used;         /* how many but for the first are filled, and how many of them a prediction takes */
  double missed[NODES];    /* by how much predictions of sums from so many steps' ends missed */
  int exponential;         /* which method the next step is of */
  int stiff_steps;         /* 0 to STIFF_STEPS */
  double *trial;           /* [length] the state at a stage, and in the end at the step's end */
  double *work;            /* [length] the step's error, or the state at an output time */
  double *x;               /* [N] X* + e */
  double *offset, *slope, *noise;   /* [N] */
  double *descent_work;    /* [2N] */
  int missing;             /* a learning rate that was asked for does not exist */
  double *ones;            /* [N] */
  double *teacher2;        /* [1 + K] sum W X*^2 for the weightings W = 1, lambda_1, ..., lambda_K */
  double *scale, *trial_scale;      /* [1 + K] what errors are relative to at the step's start and end */
  double *unresolved;      /* [1 + K] and what of e no step can resolve at its end */
  double *bound;           /* [STATISTICS] beyond it a statistic has diverged */
} integration;

/* out = sum of weights[i] row i, four rows at a time. Rows of weight 0 are passed over: a stage that is still to come may
 * hold anything. */
static void combine(const integration *g, const double weights[ROWS], double *restrict out) {
  const int64_t length = g->length;
  const double *row[ROWS];
  double weight[ROWS];
  int count = 0;
  for (int i = 0; i < ROWS; i++)
    if (weights[i] != 0) row[count] = g->rows + i * length, weight[count++] = weights[i];
  for (int i = count; i < ROWS; i++) row[i] = row[0], weight[i] = 0;
  for (int i = 0; i < count; i += 4) {
    const double *a = row[i], *b = row[i + 1], *c = row[i + 2], *d = row[i + 3];
    const double of_a = weight[i], of_b = weight[i + 1], of_c = weight[i + 2], of_d = weight[i + 3];
    if (i == 0)
      for (int64_t j = 0; j < length; j++) out[j] = of_a * a[j] + of_b * b[j] + of_c * c[j] + of_d * d[j];
    else
      for (int64_t j = 0; j < length; j++) out[j] += of_a * a[j] + of_b * b[j] + of_c * c[j] + of_d * d[j];
  }
}

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

/* The rates at the state y, and the learning rate that goes with them. */
static double evaluate(integration *g, double t, const double *y) {
  const sgdlimit_problem *p = g->problem;
  const int64_t N = p->modes;
  place(g, y);
  rates(p, g->constants, g->iterate, g->x, y, y + N, g->offset, g->slope, g->noise);
  g->outcome->evaluations++;
  const point at = {g->x, y, y + N, g->offset, g->slope, g->noise, y[2 * N], g->descent_work};
  const double gamma = learning_rate(p, g->constants, g->iterate, t, &at);
  g->missing |= depends_on_state(p) && isnan(gamma);
  return gamma;
}

/* max |slope|: of eight interleaved parts, since a compiler keeps the order of a maximum. */
static double steepest_slope(const integration *g) {
  enum { PARTS = 8 };
  const int64_t N = g->problem->modes;
  double found[PARTS] = {0};
  for (int64_t j = 0; j + PARTS <= N; j += PARTS)
    for (int k = 0; k < PARTS; k++) {
      const double steepness = fabs(g->slope[j + k]);
      found[k] = steepness > found[k] ? steepness : found[k];
    }
  for (int64_t j = N / PARTS * PARTS; j < N; j++) found[0] = fmax(found[0], fabs(g->slope[j]));
  for (int k = 1; k < PARTS; k++) found[0] = fmax(found[0], found[k]);
  return found[0];
}

/* Whether an exponential step may come soon. */
static int keeps_nodes(const integration *g) {
  return g->problem->method == SGDLIMIT_EXPONENTIAL || (g->problem->method == SGDLIMIT_AUTO && g->stiff_steps > 0);
}

/* Makes what the last evaluation found, at s, the first node. */
static void mark(integration *g, double s, double gamma) {
  node *at = g->nodes;
  double total = 0;
#pragma omp simd reduction(+ : total)
  for (int64_t j = 0; j < g->problem->modes; j++) {
    at->decay[j] = gamma * g->slope[j];
    at->drive[j] = gamma * g->offset[j];
    at->spread[j] = gamma * gamma * g->noise[j];
    total += g->noise[j];
  }
  at->clock = s * s;
  at->total = total;
}

/* dy/ds at the state y; returns the learning rate. */
static double differentiate(integration *g, double s, const double *y, double *out) {
  const sgdlimit_problem *p = g->problem;
  const int64_t N = p->modes;
  const double *e = y, *v = y + N, *offset = g->offset, *slope = g->slope, *noise = g->noise;
  const double gamma = evaluate(g, p->start_time + s * s, y), pace = 2 * s * gamma;   /* dt = 2 s ds */
  double *of_e = out, *of_v = out + N, total = 0;
#pragma omp simd reduction(+ : total)
  for (int64_t j = 0; j < N; j++) {
    of_e[j] = pace * (offset[j] + slope[j] * e[j]);
    of_v[j] = pace * (2 * slope[j] * v[j] + gamma * noise[j]);
    total += noise[j];
  }
  out[2 * N] = 2 * s * total;
  return gamma;
}

/* A step of length h, its end in `trial` and its error in `work`. */
static void step_explicitly(integration *g, double s, double h) {
  double weights[ROWS], gamma = 0;
  for (int stage = 1; stage < STAGES; stage++) {
    for (int i = 0; i < STAGES; i++) weights[i] = i < stage ? h * stage_weights[stage][i] : 0;
    weights[STATE] = 1;
    combine(g, weights, g->trial);
    gamma = differentiate(g, s + stage_positions[stage] * h, g->trial, g->rows + stage * g->length);
  }
  g->nodes->fastest = fabs(gamma) * steepest_slope(g);
  if (keeps_nodes(g)) mark(g, s + h, gamma);
  for (int i = 0; i < STAGES; i++) weights[i] = h * error_weights[i];
  weights[STATE] = 0;
  combine(g, weights, g->work);
}

/* The state y at the clock s, exactly, where the rates go through the nodes: those before an attempted step, or its end too. */
static void follow(const integration *g, int with_end, double s, double *y) {
  const int64_t N = g->problem->modes;
  const double *state = g->rows + STATE * g->length, from = g->nodes[1].clock;
  const node *nodes = g->nodes + !with_end;
  const int count = g->used + with_end;
  propagate(N, count, nodes, with_end, from, s * s, state, state + N, y, y + N);
  cubic w[NODES];
  interpolation_weights(count, nodes, from, s * s, w);
  y[2 * N] = state[2 * N];
  for (int i = 0; i < count; i++) y[2 * N] += integral(w[i]) * nodes[i].total;
}

static void step_exponentially(integration *g, double s, double h) {
  follow(g, 0, s + h, g->trial);
  const double gamma = evaluate(g, g->problem->start_time + (s + h) * (s + h), g->trial);
  mark(g, s + h, gamma);
  follow(g, 1, s + h, g->work);
  for (int64_t j = 0; j < g->length; j++) {
    const double corrected = g->work[j];
    g->work[j] = corrected - g->trial[j];
    g->trial[j] = corrected;
  }
}

/* Leaves the step's end in `trial`; returns its error in units of what it may be, NaN if the step left the finite. */
static double attempt(integration *g, double s, double h, double *norm2) {
  const sgdlimit_problem *p = g->problem;
  g->missing = 0;
  if (g->exponential) step_exponentially(g, s, h);
  else step_explicitly(g, s, h);

  *norm2 = judge(g, g->trial, g->trial_scale, g->unresolved);
  if (!isfinite(*norm2)) return NAN;
  double worst = 0;
  for (int64_t w = 0; w <= p->classes; w++) {
    const weighted_sums error = weigh(p->modes, weighting(g, w), g->work, g->work + p->modes);
    /* In an exponential step what errors are relative to may fall by orders of magnitude: the end counts. */
    const double scale = g->exponential ? g->trial_scale[w] : fmax(g->scale[w], g->trial_scale[w]);
    /* Of sum W (e^2 + v), to first order: a square errs twice as much as its root. */
    const double relative = 2 * sqrt(error.square / (scale + g->unresolved[w])) + error.absolute / scale;
    if (!(relative < INFINITY)) return NAN;   /* fmax would swallow it */
    worst = fmax(worst, relative);
  }
  if (p->step_kind == SGDLIMIT_ADAGRAD_NORM) {
    const double b = p->step_arguments[g->iterate * p->step_arguments_count + 1], accumulated = g->trial[2 * p->modes];
    worst = fmax(worst, fabs(g->work[2 * p->modes]) / (b * b + accumulated));
  }
  /* Steps add up: to 4 rtol, measured, as a risk falls by fifteen orders. */
  return worst / ((g->exponential ? 0.25 : 0.5) * p->rtol);
}

/* The state at the fraction theta of an attempted step of length h from s, to order 4, into `work`. In a mode that decays much
 * faster than the step the polynomial may dip below v = 0, where the truth never is: 0 is then nearer to it. */
static void interpolate(const integration *g, double s, double h, double theta) {
  if (g->exponential) {
    follow(g, 1, s + theta * h, g->work);
    return;
  }
  const double *step = stage_weights[STAGES - 1], rest = 1 - theta;
  double weights[ROWS];
  for (int i = 0; i < STAGES; i++) {
    const double total = i < STAGES - 1 ? step[i] : 0, first = i == 0, last = i == STAGES - 1;
    const double inner = 2 * total - first - last + rest * dense_weights[i];
    weights[i] = h * theta * (total + rest * (first - total + theta * inner));
  }
  weights[STATE] = 1;
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
  const double fastest = fabs(gamma) * steepest_slope(g);
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

/* After a step from `from` to s: its end becomes a node, and the next step's method is chosen. */
static void move_on(integration *g, double from, double s) {
  const sgdlimit_problem *p = g->problem;
  const int64_t N = p->modes;
  const int was_exponential = g->exponential;
  const node *end = g->nodes;
  double *first = g->rows;   /* dy/ds, with which an explicit step begins */
  if (was_exponential) {
    const double gamma = evaluate(g, p->start_time + s * s, g->trial);
    g->nodes->fastest = fabs(gamma) * steepest_slope(g);
    mark(g, s, gamma);
    for (int64_t j = 0; j < N; j++) {
      first[j] = 2 * s * (end->decay[j] * g->trial[j] + end->drive[j]);
      first[N + j] = 2 * s * (2 * end->decay[j] * g->trial[N + j] + end->spread[j]);
    }
    first[2 * N] = 2 * s * end->total;
  } else memcpy(first, g->rows + (STAGES - 1) * g->length, (size_t)g->length * sizeof(double));

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
  const size_t state_size = (size_t)g->length * sizeof(double);
  double *state = g->rows + STATE * g->length;

  const double *start = p->start_mean + g->iterate * N;
  for (int64_t j = 0; j < N; j++) state[j] = start[j] - p->teacher[j];
  memcpy(state + N, p->start_variance + g->iterate * N, (size_t)N * sizeof(double));
  state[2 * N] = p->start_auxiliary ? p->start_auxiliary[g->iterate] : 0;
  outcome->time = p->start_time;
  g->missing = 0;
  double norm2 = judge(g, state, g->scale, g->unresolved);
  if (!isfinite(norm2)) return SGDLIMIT_DIVERGED;
  const double norm2_bound = 1e6 * fmax(norm2, 1);
  const double gamma = evaluate(g, p->start_time, state);
  if (g->missing) return SGDLIMIT_NO_STEP;
  statistics(p, g->constants, g->iterate, gamma, g->x, state, state + N, g->bound);
  for (int64_t i = 0; i < STATISTICS; i++) g->bound[i] = g->bound[i] < 1 ? 1e6 : 1e6 * g->bound[i];   /* NaN stays */
  memset(g->rows, 0, state_size);   /* dy/ds = 0 at s = 0 */
  /* No node there: at X = 0 the pull F/n jumps from 0, while all of dy/ds stays smooth. */
  g->known = g->used = g->exponential = g->stiff_steps = 0;
  memset(g->missed, 0, sizeof g->missed);

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

    const double error = attempt(g, s, h, &norm2);
    const double power = g->exponential ? 1. / (g->used + 1) : 0.2;
    const double kept = !(error <= 1) ? fmax(0.1, 0.95 * pow(error, -power))   /* 0.1 when the error is not a number */
                        : has_negative(N, g->trial + N) ? 0.5 : 1;
    if (kept < 1) {
      outcome->rejected++;
      h *= kept;
      growth = 1;
      continue;
    }
    for (; output < T && clock_of_output(p, output) <= end; output++) {
      const double theta = (clock_of_output(p, output) - s) / h;
      if (theta < 1) interpolate(g, s, h, theta);
      const int32_t status = record(g, output, theta < 1 ? g->work : g->trial);
      if (status != SGDLIMIT_OK) return status;
    }

    outcome->accepted++;
    const double from = s;
    s = end;
    outcome->time = p->start_time + s * s;
    if (norm2 > norm2_bound) return SGDLIMIT_DIVERGED;
    memcpy(state, g->trial, state_size);
    memcpy(g->scale, g->trial_scale, (size_t)(1 + p->classes) * sizeof(double));
    /* Explicit steps with memory (PI): without it every fifth is rejected where stability limits them. Nodes far before an
     * exponential step would not extrapolate into it. */
    const double longer = g->exponential ? 0.95 * pow(error, -power) : 0.95 * pow(error, -0.17) * pow(last_error, 0.04);
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
  const int64_t per_mode = 2 * (ROWS + 2) + 3 * NODES + 8, others = 4 * k + STATISTICS + constants_count(p) + 32 * LINE;
  const int64_t doubles = (ROWS + 2) * length + (3 * NODES + 8) * n + 4 * k + STATISTICS + constants_count(p);
  double *memory = N < (PTRDIFF_MAX / (int64_t)sizeof(double) - others) / per_mode - 32 * LINE
                       ? aligned_alloc(LINE * sizeof(double), (size_t)whole_lines(doubles) * sizeof(double))
                       : NULL;
  if (!memory) return outcome->status = SGDLIMIT_OUT_OF_MEMORY;
  sgdlimit_problem problem = *p;
  integration g = {.problem = &problem, .outcome = outcome, .length = length};
  double *next = memory;
  g.rows = next, next += ROWS * length;
  g.trial = next, next += length;
  g.work = next, next += length;
  for (double *row = memory; row < next; row += length)
    for (int64_t j = 2 * N + 1; j < length; j++) row[j] = 0;   /* sums of rows take whole lines */
  for (int i = 0; i < NODES; i++) {
    g.nodes[i].decay = next, next += n;
    g.nodes[i].drive = next, next += n;
    g.nodes[i].spread = next, next += n;
  }
  g.descent_work = next, next += 2 * n;
  g.x = next, next += n;
  g.offset = next, next += n;
  g.slope = next, next += n;
  g.noise = next, next += n;
  g.ones = next, next += n;
  double *nowhere = next;
  next += n;
  g.teacher2 = next, next += k;
  g.scale = next, next += k;
  g.trial_scale = next, next += k;
  g.unresolved = next, next += k;
  g.bound = next, next += STATISTICS;
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
    const double *state = g.rows + STATE * g.length;
    place(&g, state);
    if (p->final_mean) memcpy(p->final_mean + m * N, g.x, (size_t)N * sizeof(double));
    if (p->final_variance) memcpy(p->final_variance + m * N, state + N, (size_t)N * sizeof(double));
    if (p->final_auxiliary) p->final_auxiliary[m] = state[2 * N];
  }
  free(memory);
  return outcome->status;
}

#ifndef SGDLIMIT_ONLY_LIMIT

/* ---- One sample of this model ------------------------------------------------------------------------------------
 * d f_adv/dr and d f_adv/dn there, its label, and the ridge. */
static inline void gradient(double r, double n, double y, const double *par, int64_t stride, double *dr, double *dn) {
  const double p_epsilon = par[0 * stride];
  const double sigma0 = ((r - y) > 0 ? 1.0 : -1.0);
  const double c1 = p_epsilon*n + sigma0*(r - y);
  const double c2 = 2.0*c1/(c1*c1 + 1.0);
  *dr = c2*sigma0;
  *dn = c2*p_epsilon;
}

static inline double target(double y, double r_star, double xi, double uniform, const double *par, int64_t stride) {
  (void)y;
  (void)uniform;
  const double p_sigma = par[2 * stride];
  return p_sigma*xi + r_star;
}

static inline double ridge(const double *par, int64_t stride) {
  const double p_tau = par[1 * stride];
  return p_tau;
}

/* ---- Random numbers: eight generators xoshiro256++, normals by Box-Muller -----------------------------------------
 * A kernel is compiled for one precision: `real` is double, or float with -DSGDLIMIT_FLOAT32. There are always eight
 * generators of 64 bits side by side, and as many logical lanes as reals fit in their words: 8 doubles or 16 floats. They
 * are held in as many vectors as the target needs for them: one of AVX-512, two of AVX2, four of SSE2 or NEON. A stream is
 * therefore the same on every target, up to the last bits that contraction to fused multiply-adds may change. Vectors of
 * the target's own width, and functions that are always inlined, since wider vectors spill and vectors passed in a call
 * are slow and warned of. Nothing below branches on a number.
 *
 * Generator: D. Blackman, S. Vigna, "Scrambled linear pseudorandom number generators", ACM TOMS 47 (2021). */
#ifdef SGDLIMIT_FLOAT32
typedef float real;
typedef uint32_t real_bits;
#else
typedef double real;
typedef uint64_t real_bits;
#endif

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX2__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

enum {
  GENERATORS = 8,
  VECTORS = 8 * GENERATORS / VECTOR_BYTES,
  GENERATORS_PER_VECTOR = GENERATORS / VECTORS,
  LANES_PER_VECTOR = VECTOR_BYTES / (int)sizeof(real),
  LANES = LANES_PER_VECTOR * VECTORS,
  BLOCK = 2 * LANES /* normals of one draw of all lanes */
};

typedef uint64_t words __attribute__((vector_size(VECTOR_BYTES)));
typedef double doubles __attribute__((vector_size(VECTOR_BYTES)));
typedef real reals __attribute__((vector_size(VECTOR_BYTES)));
typedef real_bits bits __attribute__((vector_size(VECTOR_BYTES)));

typedef struct generator {
  words state[4][VECTORS];
} generator;

/* What a stream is for; streams of one run that differ in purpose are independent. */
enum { COORDINATES, CHANCES, PURPOSES };

/* The finaliser of splitmix64: a bijection of 64-bit words that leaves no pattern of its argument. */
static uint64_t mix(uint64_t word) {
  word = (word ^ (word >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  word = (word ^ (word >> 27)) * UINT64_C(0x94d049bb133111eb);
  return word ^ (word >> 31);
}

/* Neighbouring seeds and runs are the usual ones: both go through `mix` before they meet, and for one seed the key is
 * a one-to-one function of (run, purpose). The two precisions begin apart: a run in one is independent of that in the
 * other. The 32 words of the eight states then follow as in splitmix64. */
static void seed_generator(generator *g, uint64_t seed, uint64_t run, uint64_t purpose) {
  const uint64_t golden = UINT64_C(0x9e3779b97f4a7c15);
  const uint64_t precision = sizeof(double) / sizeof(real);
  const uint64_t key = mix(mix(seed + precision * golden) + run * PURPOSES + purpose);
  uint64_t state[4][GENERATORS];
  for (uint64_t i = 0; i < 4; i++)
    for (uint64_t k = 0; k < GENERATORS; k++) state[i][k] = mix(key + (1 + i * GENERATORS + k) * golden);
  memcpy(g->state, state, sizeof state);
}

LANEWISE words rotate_left(words word, int count) { return (word << count) | (word >> (64 - count)); }

/* The next 64 bits of each generator of vector v. */
LANEWISE words draw_words(generator *g, int v) {
  words s0 = g->state[0][v], s1 = g->state[1][v], s2 = g->state[2][v], s3 = g->state[3][v];
  const words drawn = rotate_left(s0 + s3, 23) + s0;
  const words shifted = s1 << 17;
  s2 ^= s0;
  s3 ^= s1;
  s1 ^= s2;
  s0 ^= s3;
  s2 ^= shifted;
  s3 = rotate_left(s3, 45);
  g->state[0][v] = s0, g->state[1][v] = s1, g->state[2][v] = s2, g->state[3][v] = s3;
  return drawn;
}

/* Uniform on [1, 2): the upper 52 bits as the fraction of a double, which needs no conversion of integers. */
LANEWISE doubles from_one_to_two(words word) { return (doubles)((word >> 12) | UINT64_C(0x3ff0000000000000)); }

/* Uniform on [0, 1). */
LANEWISE doubles draw_uniforms(generator *g, int v) { return from_one_to_two(draw_words(g, v)) - 1.0; }

#ifndef SGDLIMIT_FLOAT32

/* -2 log(u) for u in (0, 1], never negative. With u = 2^e m, m in [1/sqrt 2, sqrt 2) and s = (m - 1)/(m + 1),
 * log(u) = e log 2 + s A(s^2), A(t) = 2 atanh(sqrt t)/sqrt t: relatively accurate at u = 1 too, where e = 0.
 * A: mpmath.chebyfit at 40 digits, 6 coefficients on 0 <= t <= 17 - 12 sqrt 2, times -2. Relative error 2.8e-14. */
LANEWISE reals minus_two_log(reals u) {
  const uint64_t one = UINT64_C(0x3ff0000000000000), root_half = UINT64_C(0x3fe6a09e667f3bcd);
  const uint64_t fraction = UINT64_C(0x000fffffffffffff), two_to_52 = UINT64_C(0x4330000000000000);
  const bits scaled = (bits)u + (one - root_half);   /* its exponent field is e + 1023, its fraction that of m */
  const reals e = (reals)((scaled >> 52) | two_to_52) - (4503599627370496.0 + 1023.0);
  const reals m = (reals)((scaled & fraction) + root_half);
  const reals s = (m - 1.0) / (m + 1.0);
  const reals t = s * s;
  reals a = t * -0.3921619127950611 - 0.4434849982015498;
  a = a * t - 0.5714433229175145;
  a = a * t - 0.7999998978366476;
  a = a * t - 1.3333333335915852;
  a = a * t - 3.9999999999998943;
  return e * -1.3862943611198906 + s * a;
}

/* sin(pi w) and cos(pi w) for |w| <= 1/2: mpmath.chebyfit at 40 digits of sin(pi sqrt t)/sqrt t and cos(pi sqrt t), 8
 * coefficients each on 0 <= t <= 1/4; errors 5e-16, relative, and 2.1e-15, absolute. */
LANEWISE reals sine_of_half_turns(reals w) {
  const reals t = w * w;
  reals a = t * -2.113362735205297e-05 + 0.0004659870158043378;
  a = a * t - 0.0073703643265304155;
  a = a * t + 0.08214587881631043;
  a = a * t - 0.599264528825224;
  a = a * t + 2.5501640398618677;
  a = a * t - 5.1677127800497855;
  a = a * t + 3.1415926535897927;
  return a * w;
}

LANEWISE reals cosine_of_half_turns(reals w) {
  const reals t = w * w;
  reals a = t * -0.0001004164642205389 + 0.0019278700526981333;
  a = a * t - 0.025806531975921563;
  a = a * t + 0.23533058831317874;
  a = a * t - 1.3352627661817635;
  a = a * t + 4.058712126333295;
  a = a * t - 4.934802200543686;
  return a * t + 0.9999999999999981;
}

LANEWISE reals square_root(reals x) {
  for (int lane = 0; lane < LANES_PER_VECTOR; lane++) x[lane] = sqrt(x[lane]);   /* one instruction with -O3 */
  return x;
}

/* Two independent standard normals for each lane of vector v. The angle covers half a turn, so that the cosine is a
 * short polynomial; the other half is reached by a random sign of the radius, the lowest bit of the angle's word. */
LANEWISE void draw_normals(generator *g, int v, reals *first, reals *second) {
  const words a = draw_words(g, v), b = draw_words(g, v);
  const reals radius = square_root(minus_two_log(2.0 - from_one_to_two(a)));
  const reals signed_radius = (reals)((words)radius | (b << 63));
  const reals w = from_one_to_two(b) - 1.5;
  *first = signed_radius * cosine_of_half_turns(w);
  *second = signed_radius * sine_of_half_turns(w);
}


#else

/* The same in single precision. A: 3 coefficients, 4.8e-7 absolute, 1.2e-7 of the value. */
LANEWISE reals minus_two_log(reals u) {
  const uint32_t one = 0x3f800000, root_half = 0x3f3504f3, fraction = 0x007fffff, two_to_23 = 0x4b000000;
  const bits scaled = (bits)u + (one - root_half);
  const reals e = (reals)((scaled >> 23) | two_to_23) - (8388608.0f + 127.0f);
  const reals m = (reals)((scaled & fraction) + root_half);
  const reals s = (m - 1.0f) / (m + 1.0f);
  const reals t = s * s;
  const reals a = (t * -0.8258981836f - 1.333045335f) * t - 4.000000472f;
  return e * -1.3862943611f + s * a;
}

/* 5 coefficients each; errors 4e-9, relative, and 4.7e-8, absolute. */
LANEWISE reals sine_of_half_turns(reals w) {
  const reals t = w * w;
  reals a = t * 0.07765591228f - 0.5982904113f;
  a = a * t + 2.550077387f;
  a = a * t - 5.167710077f;
  a = a * t + 3.14159264f;
  return a * w;
}

LANEWISE reals cosine_of_half_turns(reals w) {
  const reals t = w * w;
  reals a = t * 0.2196824236f - 1.331872973f;
  a = a * t + 4.058410791f;
  a = a * t - 4.934792802f;
  return a * t + 0.999999953f;
}

LANEWISE reals square_root(reals x) {
  for (int lane = 0; lane < LANES_PER_VECTOR; lane++) x[lane] = sqrtf(x[lane]);
  return x;
}

/* As in double precision; a word of 64 bits serves two lanes. Of the radius's 32 bits none is lost where it counts: u is
 * small in the tail, and a float holds it to 24 digits there; the largest radius is sqrt(66 log 2) = 6.8. The angle's word
 * gives 31 bits and the sign. */
LANEWISE void draw_normals(generator *g, int v, reals *first, reals *second) {
  typedef int32_t integers __attribute__((vector_size(VECTOR_BYTES)));
  const bits a = (bits)draw_words(g, v), b = (bits)draw_words(g, v);
  const reals u = __builtin_convertvector(a, reals) * 0x1p-32f + 0x1p-33f;
  const reals w = __builtin_convertvector((integers)b >> 1, reals) * 0x1p-31f + 0x1p-32f;
  const reals signed_radius = (reals)((bits)square_root(minus_two_log(u)) | (b << 31));
  *first = signed_radius * cosine_of_half_turns(w);
  *second = signed_radius * sine_of_half_turns(w);
}

#endif

/* ---- Streaming SGD in the eigenbasis ---------------------------------------------------------------------------
 * X <- X - (gamma/d) [d_r f x + (d_n f/n + tau) X], a fresh x each step, for M iterates that share the data stream.
 * A step is one sweep over the coordinates: it applies the update of the step before, whose x is still in its buffer,
 * draws the new x and accumulates ||X||^2, r = <x, X> and r* = <x, X*>. Nothing else costs O(d): a class is two
 * pointers to rows, and the update of a step is two numbers an iterate. Rows are padded with zeros to whole blocks.
 *
 * Rows are `real`: samples, iterates and the sweep are in single precision with -DSGDLIMIT_FLOAT32. Sums over coordinates
 * are in double all the same, but for the terms of one lane in a chunk; so is what is done with them.
 *
 * The loss enters through these alone; parameter p of a class is par[p * stride]. */
static inline void gradient(double r, double n, double y, const double *par, int64_t stride, double *dr, double *dn);
static inline double target(double label, double r_star, double xi, double uniform, const double *par, int64_t stride);
static inline double ridge(const double *par, int64_t stride);

enum { COORDINATE_STEPS_PER_LOOK = 1 << 20 };   /* between looks at the cancel flag: about a millisecond */

/* X <- X + (own X + sample x), to be applied by the next sweep. The change is rounded first and added then: a factor
 * 1 + own would lose, in single precision, what is below 6e-8 of it, the same at every step. */
typedef struct update {
  real own, sample;
} update;

/* Coordinates whose products a lane adds up in `real`, 32 of them, before they go to the sum in double. */
enum { CHUNK = 16 * BLOCK };

typedef struct simulation {
  const sgdlimit_problem *problem;
  int64_t length;             /* of a row: N rounded up to whole blocks */
  real *roots, *means;        /* [K][length] square roots of the eigenvalues; means */
  real *teacher;              /* [length] */
  real *x;                    /* [length] the last sample */
  real *iterates;             /* [M][length] */
  double *totals;             /* [M][2][LANES] of a sweep: ||X||^2 and <x, X> */
  double *norm2, *r;          /* [M] */
  double *gradient2;          /* [M] sum of ||g||^2/d^2 over the steps so far, g the whole stochastic gradient */
  double *at_iterate;         /* [8][N] e, v = 0, offset, slope, noise, work [2], x */
  double *predicted;          /* [2][N] mean and variance of the iterate half a step on, in a diffusion */
  double *constants;
  double *norm2_bound;        /* [M] beyond it the iterate has diverged */
  update *updates;            /* [M] */
  double *cumulated;          /* [K] cumulated probabilities of the classes */
  generator coordinates, chances;
  double class_uniform[BLOCK], xi[BLOCK], label_uniform[BLOCK];   /* of the BLOCK steps from the last refill on */
} simulation;

LANEWISE reals load(const real *from) {
  reals v;
  memcpy(&v, from, sizeof v);
  return v;
}

LANEWISE void store(real *to, reals v) { memcpy(to, &v, sizeof v); }

LANEWISE reals updated(update u, reals X, reals x) { return X + (u.own * X + u.sample * x); }

LANEWISE void add_lanes(double *total, const reals part[VECTORS]) {
  real of_lane[LANES];
  memcpy(of_lane, part, sizeof of_lane);
  for (int lane = 0; lane < LANES; lane++) total[lane] += of_lane[lane];
}

/* In one order whatever the vectors' width. */
LANEWISE double sum_of_lanes(const double *lane) {
  double sum[LANES];
  memcpy(sum, lane, sizeof sum);
  for (int half = LANES / 2; half > 0; half /= 2)
    for (int i = 0; i < half; i++) sum[i] += sum[i + half];
  return sum[0];
}

/* Sums of one iterate over a chunk. */
typedef struct products {
  reals norm2[VECTORS], r[VECTORS];
} products;

/* Moves LANES_PER_VECTOR coordinates of an iterate by the sample before, and multiplies them with the new one. */
LANEWISE void advance(update u, real *X, reals before, reals x, int v, products *sums) {
  const reals moved = updated(u, load(X), before);
  store(X, moved);
  sums->norm2[v] += moved * moved;
  sums->r[v] += moved * x;
}

/* The step's one pass over the coordinates, for a class given by its two rows; returns r*. The first iterate moves while
 * a chunk is drawn, the others follow on that chunk, one after the other, so that a sum has a register. */
static double sweep(simulation *s, const real *root, const real *mean) {
  const int64_t length = s->length, M = s->problem->iterates;
  const real *teacher = s->teacher;
  real *x = s->x, *X = s->iterates, kept[CHUNK];
  const update u = s->updates[0];
  generator g = s->coordinates;   /* a copy can stay in registers */
  double *totals = s->totals, r_star[LANES] = {0};
  for (int64_t i = 0; i < M * 2 * LANES; i++) totals[i] = 0;

  for (int64_t begin = 0; begin < length; begin += CHUNK) {
    const int64_t end = begin + CHUNK < length ? begin + CHUNK : length;
    reals star[VECTORS] = {{0}};
    products sums = {{{0}}, {{0}}};
    for (int64_t block = begin; block < end; block += BLOCK)
      for (int v = 0; v < VECTORS; v++) {
        const int64_t j = block + v * LANES_PER_VECTOR, k = j + LANES;
        reals z_j, z_k;
        draw_normals(&g, v, &z_j, &z_k);
        const reals before_j = load(x + j), before_k = load(x + k);
        const reals x_j = load(mean + j) + load(root + j) * z_j;
        const reals x_k = load(mean + k) + load(root + k) * z_k;
        store(x + j, x_j);
        store(x + k, x_k);
        star[v] += load(teacher + j) * x_j;
        star[v] += load(teacher + k) * x_k;
        advance(u, X + j, before_j, x_j, v, &sums);
        advance(u, X + k, before_k, x_k, v, &sums);
        if (M > 1) {
          store(kept + (j - begin), before_j);
          store(kept + (k - begin), before_k);
        }
      }
    add_lanes(r_star, star);
    add_lanes(totals, sums.norm2);
    add_lanes(totals + LANES, sums.r);

    for (int64_t m = 1; m < M; m++) {
      const update own = s->updates[m];
      real *X_m = s->iterates + m * length;
      products of_m = {{{0}}, {{0}}};
      for (int64_t block = begin; block < end; block += LANES)
        for (int v = 0; v < VECTORS; v++) {
          const int64_t j = block + v * LANES_PER_VECTOR;
          advance(own, X_m + j, load(kept + (j - begin)), load(x + j), v, &of_m);
        }
      add_lanes(totals + 2 * m * LANES, of_m.norm2);
      add_lanes(totals + (2 * m + 1) * LANES, of_m.r);
    }
  }

  s->coordinates = g;
  for (int64_t m = 0; m < M; m++) {
    s->norm2[m] = sum_of_lanes(totals + 2 * m * LANES);
    s->r[m] = sum_of_lanes(totals + (2 * m + 1) * LANES);
  }
  return sum_of_lanes(r_star);
}

/* The class, the label noise and the label's chance of the next BLOCK steps. */
static void refill_chances(simulation *s) {
  for (int v = 0; v < VECTORS; v++) {
    reals z[2];
    draw_normals(&s->chances, v, &z[0], &z[1]);
    for (int i = 0; i < 2; i++)
      for (int lane = 0; lane < LANES_PER_VECTOR; lane++) s->xi[i * LANES + v * LANES_PER_VECTOR + lane] = z[i][lane];
    double *uniforms[2] = {s->class_uniform, s->label_uniform};
    for (int i = 0; i < 2; i++)
      for (int first = v * GENERATORS_PER_VECTOR; first < BLOCK; first += GENERATORS) {
        const doubles drawn = draw_uniforms(&s->chances, v);
        memcpy(uniforms[i] + first, &drawn, sizeof drawn);
      }
  }
}

/* Counts instead of searching: a branch on a random number is mispredicted half of the time. */
static int64_t drawn_class(const simulation *s, double uniform) {
  int64_t class = 0;
  for (int64_t i = 0; i + 1 < s->problem->classes; i++) class += uniform >= s->cumulated[i];
  return class;
}

static double square_norm(int64_t length, const real *x) {
  double total[LANES] = {0};
  for (int64_t begin = 0; begin < length; begin += CHUNK) {
    reals sum[VECTORS] = {{0}};
    for (int64_t block = begin; block < length && block < begin + CHUNK; block += LANES)
      for (int v = 0; v < VECTORS; v++) {
        const reals x_j = load(x + block + v * LANES_PER_VECTOR);
        sum[v] += x_j * x_j;
      }
    add_lanes(total, sum);
  }
  return sum_of_lanes(total);
}

/* The learning rate at time t. Where it depends on the state, that is the iterate's own: its score law is exact, so x = X
 * and v = 0. */
static double rate_of_iterate(const simulation *s, int64_t iterate, double t) {
  const sgdlimit_problem *p = s->problem;
  if (!depends_on_state(p)) return learning_rate(p, NULL, iterate, t, NULL);
  const int64_t N = p->modes;
  const real *X = s->iterates + iterate * s->length;
  double *e = s->at_iterate, *v = e + N, *offset = v + N, *slope = offset + N, *noise = slope + N, *x = noise + 3 * N;
  const point at = {x, e, v, offset, slope, noise, s->gradient2[iterate], noise + N};
  if (p->step_kind != SGDLIMIT_ADAGRAD_NORM) {
    for (int64_t j = 0; j < N; j++) {
      x[j] = X[j];
      e[j] = x[j] - p->teacher[j];
    }
    rates(p, s->constants, iterate, x, e, v, offset, slope, noise);
  }
  return learning_rate(p, s->constants, iterate, t, &at);
}

/* The stochastic gradient of a sample, dr x + shrinkage X. */
typedef struct pull {
  double dr, shrinkage;
} pull;

static inline pull pull_of(const sgdlimit_problem *p, int64_t iterate, int64_t class, double r, double n, double r_star,
                           double xi, double uniform) {
  const int64_t K = p->classes;
  const double *par = PARAMETERS > 0 ? p->parameters + iterate * PARAMETERS * K + class : NULL;
  const double y = target(p->labels[class], r_star, xi, uniform, par, K);
  double dr, dn;
  gradient(r, n, y, par, K, &dr, &dn);
  return (pull){dr, (n > 0 ? dn / n : 0) + ridge(par, K)};
}

/* ||g||^2/d^2, of a sample with the squared norm x2. */
static inline double square_of_gradient(const sgdlimit_problem *p, pull g, double r, double n, double x2) {
  const double cross = g.dr * g.shrinkage * r, own = g.shrinkage * n;
  return (g.dr * g.dr * x2 + 2 * cross + own * own) / (p->dimension * p->dimension);
}

/* One iterate's update from its scores at time t, the step's class, and its sample's chances. */
static inline update sgd_update(simulation *s, int64_t iterate, double t, int64_t class, double r_star, double xi,
                                double uniform) {
  const sgdlimit_problem *p = s->problem;
  const double r = s->r[iterate], n = sqrt(s->norm2[iterate]);
  const pull g = pull_of(p, iterate, class, r, n, r_star, xi, uniform);
  if (p->step_kind == SGDLIMIT_ADAGRAD_NORM)
    s->gradient2[iterate] += square_of_gradient(p, g, r, n, square_norm(s->length, s->x));
  const double step = rate_of_iterate(s, iterate, t) / p->dimension;
  return (update){.own = (real)(-step * g.shrinkage), .sample = (real)(-step * g.dr)};
}

/* Between sweeps, so that an iterate can be looked at; the next sweep then finds nothing to apply. */
static void apply_update(simulation *s, int64_t iterate) {
  const update u = s->updates[iterate];
  real *X = s->iterates + iterate * s->length;
  for (int64_t j = 0; j < s->length; j += LANES_PER_VECTOR) store(X + j, updated(u, load(X + j), load(s->x + j)));
  s->updates[iterate] = (update){0, 0};
}

/* norm2, overlap, distance2, reference_distance2, learning_rate; m, c, Q of each class: from the rows as they were given,
 * in double. */
static void summarise(const simulation *s, int64_t iterate, double t, double *summary) {
  const sgdlimit_problem *p = s->problem;
  const real *X = s->iterates + iterate * s->length;
  double norm2 = 0, overlap = 0, distance2 = 0, reference2 = 0;
  for (int64_t j = 0; j < p->modes; j++) {
    const double x = X[j], star = p->teacher[j];
    norm2 += x * x;
    overlap += x * star;
    distance2 += (x - star) * (x - star);
    if (p->reference) reference2 += (x - p->reference[j]) * (x - p->reference[j]);
  }
  summary[0] = norm2;
  summary[1] = overlap;
  summary[2] = distance2;
  summary[3] = p->reference ? reference2 : NAN;
  summary[4] = rate_of_iterate(s, iterate, t);
  for (int64_t class = 0; class < p->classes; class++) {
    const double *eigenvalue = p->eigenvalues + class * p->modes, *mean = p->means + class * p->modes;
    double m = 0, c = 0, Q = 0;
    for (int64_t j = 0; j < p->modes; j++) {
      const double x = X[j];
      m += mean[j] * x;
      c += eigenvalue[j] * x * p->teacher[j];
      Q += eigenvalue[j] * x * x;
    }
    double *of_class = summary + SGDLIMIT_SUMMARY + SGDLIMIT_CLASS_SUMMARY * class;
    of_class[0] = m;
    of_class[1] = c;
    of_class[2] = Q;
  }
}

static int64_t steps_until(const sgdlimit_problem *p, double time) { return (int64_t)floor(time * p->dimension + 0.5); }

/* Whatever is not finite in a step shows in the norm after it. */
static int has_diverged(const simulation *s, int64_t iterate, double norm2) {
  return !isfinite(norm2) || norm2 > s->norm2_bound[iterate];
}

static void copy_padded(real *to, const double *from, int64_t count, int64_t length) {
  for (int64_t j = 0; j < length; j++) to[j] = j < count ? (real)from[j] : 0;
}

static void begin_at_start(simulation *s, int64_t iterate) {
  const sgdlimit_problem *p = s->problem;
  const int64_t N = p->modes;
  const double *start = p->start_mean + iterate * N;
  copy_padded(s->iterates + iterate * s->length, start, N, s->length);
  s->gradient2[iterate] = p->start_auxiliary ? p->start_auxiliary[iterate] : 0;
  s->updates[iterate] = (update){0, 0};
  double norm2 = 0;
  for (int64_t j = 0; j < N; j++) norm2 += start[j] * start[j];
  s->norm2_bound[iterate] = 1e6 * fmax(norm2, 1);
}

/* One run; on trouble its status, with `outcome` telling the iterate and the time. `done` counts steps over runs. */
static int32_t simulate_run(simulation *s, int64_t run, int64_t *done, sgdlimit_outcome *outcome) {
  const sgdlimit_problem *p = s->problem;
  const int64_t M = p->iterates, K = p->classes, T = p->times_count;
  const int64_t values = SGDLIMIT_SUMMARY + SGDLIMIT_CLASS_SUMMARY * K;
  const int64_t look_every = 1 + COORDINATE_STEPS_PER_LOOK / (s->length * M);
  int64_t next_look = *done;
  double *statistics = p->statistics + (run - p->first_run) * M * T * values;

  seed_generator(&s->coordinates, p->seed, (uint64_t)run, COORDINATES);
  seed_generator(&s->chances, p->seed, (uint64_t)run, CHANCES);
  memset(s->x, 0, (size_t)s->length * sizeof *s->x);
  for (int64_t m = 0; m < M; m++) begin_at_start(s, m);

  const int64_t first_step = steps_until(p, p->start_time);
  int64_t step = first_step;
  for (int64_t output = 0; output < T; output++) {
    for (const int64_t stop = steps_until(p, p->times[output]); step < stop; step++, ++*done) {
      const double t = (double)step / p->dimension;
      const int64_t chance = (step - first_step) % BLOCK;
      outcome->time = t;
      if (*done == next_look) {
        next_look += look_every;
        if (p->progress) *p->progress = *done;
        if (p->cancel && *p->cancel) return SGDLIMIT_CANCELLED;
      }
      if (chance == 0) refill_chances(s);
      const int64_t class = drawn_class(s, s->class_uniform[chance]);
      const double r_star = sweep(s, s->roots + class * s->length, s->means + class * s->length);
      for (int64_t m = 0; m < M; m++) {
        if (has_diverged(s, m, s->norm2[m])) {
          outcome->iterate = m;
          return SGDLIMIT_DIVERGED;
        }
        s->updates[m] = sgd_update(s, m, t, class, r_star, s->xi[chance], s->label_uniform[chance]);
        if (isnan(s->updates[m].own) && depends_on_state(p)) {
          outcome->iterate = m;
          return SGDLIMIT_NO_STEP;
        }
      }
    }
    outcome->time = (double)step / p->dimension;
    for (int64_t m = 0; m < M; m++) {
      double *summary = statistics + (m * T + output) * values;
      apply_update(s, m);
      summarise(s, m, outcome->time, summary);
      if (has_diverged(s, m, summary[0])) {
        outcome->iterate = m;
        return SGDLIMIT_DIVERGED;
      }
    }
  }
  return SGDLIMIT_OK;
}

static int has_counts_and_times(const sgdlimit_problem *p) {
  if (p->size != sizeof *p) return 0;
  if (p->iterates < 1 || p->classes < 1 || p->modes < 1 || p->times_count < 1 || p->runs < 0 || p->first_run < 0)
    return 0;
  if (!has_step_arguments(p)) return 0;
  if (!(p->start_time >= 0)) return 0;
  for (int64_t i = 0; i < p->times_count; i++)
    if (!(p->times[i] >= (i > 0 ? p->times[i - 1] : p->start_time))) return 0;
  if (!(p->times[p->times_count - 1] * p->dimension < 0x1p53)) return 0;   /* steps are counted in doubles too */
  for (int64_t i = 0; i < p->classes * p->modes; i++)
    if (!(p->eigenvalues[i] >= 0)) return 0;
  return 1;
}

/* A mode is a coordinate here. */
static int can_be_simulated(const sgdlimit_problem *p) {
  return has_counts_and_times(p) && p->dimension == (double)p->modes;
}

/* Cuts all arrays of a simulation out of one allocation, which the caller frees; NULL when there is no memory. */
static void *lay_out(simulation *s, int with_rates) {
  const sgdlimit_problem *p = s->problem;
  const int64_t M = p->iterates, K = p->classes, N = p->modes, L = s->length;
  const int64_t rows = 2 * K + M + 2, N_rows = with_rates ? 10 : 0, others = M * (2 * LANES + 6) + K + constants_count(p);
  const double bytes_wanted = 8.0 * ((double)rows * (double)L + (double)N_rows * (double)N + (double)others);
  if (bytes_wanted > (double)(PTRDIFF_MAX / 2)) return NULL;
  const size_t row_bytes = (size_t)(rows * L) * sizeof(real), other_bytes = (size_t)(others + N_rows * N) * sizeof(double);
  void *memory = aligned_alloc(64, (row_bytes + other_bytes + 63) / 64 * 64);
  if (!memory) return NULL;
  real *row = memory;   /* whole blocks long, so at whole cache lines */
  s->roots = row, row += K * L;
  s->means = row, row += K * L;
  s->teacher = row, row += L;
  s->x = row, row += L;
  s->iterates = row;
  double *next = (double *)((char *)memory + row_bytes);
  s->totals = next, next += M * 2 * LANES;
  s->updates = (update *)next, next += M * 2;
  s->norm2 = next, next += M;
  s->r = next, next += M;
  s->norm2_bound = next, next += M;
  s->gradient2 = next, next += M;
  s->cumulated = next, next += K;
  s->constants = next, next += constants_count(p);
  s->at_iterate = next, next += with_rates ? 8 * N : 0;
  s->predicted = next;
  return memory;
}

/* All that runs share, and summaries that are NaN until they are known; NULL when there is no memory. */
static void *set_up(simulation *s, const sgdlimit_problem *p, int with_rates) {
  const int64_t K = p->classes, N = p->modes, S = SGDLIMIT_SUMMARY + SGDLIMIT_CLASS_SUMMARY * K;
  *s = (simulation){.problem = p, .length = (N + BLOCK - 1) / BLOCK * BLOCK};
  void *memory = lay_out(s, with_rates);
  if (!memory) return NULL;
  for (int64_t class = 0; class < K; class++) {
    real *root = s->roots + class * s->length;
    for (int64_t j = 0; j < s->length; j++) root[j] = j < N ? (real)sqrt(p->eigenvalues[class * N + j]) : 0;
    copy_padded(s->means + class * s->length, p->means + class * N, N, s->length);
    s->cumulated[class] = p->probabilities[class] + (class > 0 ? s->cumulated[class - 1] : 0);
  }
  copy_padded(s->teacher, p->teacher, N, s->length);
  if (with_rates) {
    for (int64_t j = 0; j < N; j++) s->at_iterate[N + j] = 0;
    constants(p, s->constants);
  }
  const int64_t values = p->runs * p->iterates * p->times_count * S;
  for (int64_t i = 0; i < values; i++) p->statistics[i] = NAN;
  return memory;
}

/* Runs first_run .. first_run + runs - 1, each a function of (seed, run, precision) alone, for `times` in units of d steps.
 * Summaries that trouble left undone are NaN; the later runs are then not begun. */
int32_t sgdlimit_simulate(const sgdlimit_problem *p, sgdlimit_outcome *outcome) {
  *outcome = (sgdlimit_outcome){.status = SGDLIMIT_BAD_PROBLEM};
  if (!can_be_simulated(p)) return outcome->status;
  simulation s;
  void *memory = set_up(&s, p, depends_on_state(p));
  if (!memory) return outcome->status = SGDLIMIT_OUT_OF_MEMORY;
  outcome->status = SGDLIMIT_OK;
  for (int64_t i = 0; i < p->runs && outcome->status == SGDLIMIT_OK; i++) {
    outcome->run = p->first_run + i;
    outcome->status = simulate_run(&s, outcome->run, &outcome->accepted, outcome);
  }
  if (p->progress) *p->progress = outcome->accepted;
  free(memory);
  return outcome->status;
}

#ifndef SGDLIMIT_FLOAT32

/* ---- Streaming SGD in lumps ------------------------------------------------------------------------------------
 * The same law at a cost that does not grow with the dimension. A mode here is a coordinate, or a lump: `D` coordinates
 * with one eigenvalue a class in which means, teacher and reference are 0. D is weight times dimension. Of the iterate's
 * part w in a lump its norm alone matters, and x_j is that norm: fresh samples are isotropic in it. With g the sample's
 * component along w and chi2, of D - 1 degrees of freedom, the squared length of the rest,
 *     ||w|| <- sqrt((kept ||w|| + added root g)^2 + added^2 root^2 chi2),
 * where kept and added depend on g, by the score, but not on chi2 (docs/theory.md, section 8). To `rates`, x is a state of
 * as many modes. Eight runs advance together, one a lane, each with a stream of its own: its words are a function of
 * (seed, run), whoever is in the other lanes. As in a sweep over coordinates, a step first applies the one before. */

enum { LUMPED_STEPS_PER_LOOK = 1 << 18 };   /* in modes of eight runs, between looks at the cancel flag: a few milliseconds */

/* Chi-square by G. Marsaglia, W. W. Tsang, "A simple method for generating gamma variables", ACM TOMS 26 (2000): with z
 * normal and w = spread z, 2 centre (1 + w)^3 is accepted where 1 - u < exp(3 centre L(w)), u uniform on (0, 1],
 * L(w) = log(1 + w) - w + w^2/2 - w^3/3. Since -L(w) <= w^4/(4 (1 - |w|)), that is certain where
 * squeeze w^4 < u (1 - |w|): all but 1/(18 degrees) of the draws are, in arithmetic alone. */
typedef struct chi2_law {
  double degrees, centre, spread, squeeze;
} chi2_law;

static chi2_law chi2_of(double degrees) {
  const double centre = 0.5 * degrees - 1.0 / 3.0;
  return (chi2_law){degrees, centre, 1 / sqrt(9 * centre), 0.75 * centre};
}

static int is_accepted(const chi2_law *law, double w, double u) {
  if (!(w > -1)) return 0;
  return u > -expm1(3 * law->centre * (log1p(w) - w + w * w * (0.5 - w / 3)));
}

/* The lanes that the squeeze left open, each until it accepts; the streams of the others stand still. */
static __attribute__((noinline)) void settle(generator *g, int v, const chi2_law *law, const words *sure, reals *w,
                                             const reals *u) {
  for (int lane = 0; lane < LANES_PER_VECTOR; lane++) {
    if ((*sure)[lane]) continue;
    for (double uniform = (*u)[lane]; !is_accepted(law, (*w)[lane], uniform);) {
      const generator before = *g;
      reals z, unused;
      draw_normals(g, v, &z, &unused);
      const reals again = 2.0 - from_one_to_two(draw_words(g, v));
      for (int other = 0; other < LANES_PER_VECTOR; other++)
        for (int i = 0; other != lane && i < 4; i++) g->state[i][v][other] = before.state[i][v][other];
      (*w)[lane] = law->spread * z[lane];
      uniform = again[lane];
    }
  }
}

LANEWISE reals absolute(reals x) { return (reals)((words)x & UINT64_C(0x7fffffffffffffff)); }

/* Chi-squares of all lanes, from normals that nothing else has used, and a word of each lane. */
LANEWISE void draw_chi2(generator *g, const chi2_law *law, const reals z[VECTORS], reals chi2[VECTORS]) {
  reals w[VECTORS], u[VECTORS];
  words sure[VECTORS], all = ~(words){0};
  for (int v = 0; v < VECTORS; v++) u[v] = 2.0 - from_one_to_two(draw_words(g, v));
  if (law->degrees <= 2) {
    for (int v = 0; v < VECTORS; v++) chi2[v] = law->degrees == 1 ? z[v] * z[v] : minus_two_log(u[v]);
    return;
  }
  for (int v = 0; v < VECTORS; v++) {
    w[v] = law->spread * z[v];
    const reals w2 = w[v] * w[v];
    sure[v] = (words)(law->squeeze * w2 * w2 < u[v] * (1.0 - absolute(w[v])));
    all &= sure[v];
  }
  uint64_t certain = ~UINT64_C(0);
  for (int lane = 0; lane < LANES_PER_VECTOR; lane++) certain &= all[lane];
  if (!certain)
    for (int v = 0; v < VECTORS; v++) settle(g, v, law, &sure[v], &w[v], &u[v]);
  for (int v = 0; v < VECTORS; v++) {
    const reals root = 1.0 + w[v];
    chi2[v] = 2 * law->centre * root * root * root;
  }
}

/* X <- kept X + added x, in each lane of a vector. */
typedef struct lane_update {
  reals kept, added;
} lane_update;

/* Eight runs. Coordinates come before lumps, an odd number of them (one may be nothing but zeros): of the normals, drawn
 * in pairs, the first is the label's noise. */
typedef struct lumped {
  simulation one;               /* a run at a time, for what is asked of an iterate: its learning rate, its summary */
  int64_t coordinates, lumps;   /* C, L */
  int64_t *mode;                /* [C + L] of the problem; -1 for none */
  double *roots;                /* [C + L][K] */
  double *means;                /* [C][K] */
  double *teacher;              /* [C] */
  chi2_law *laws;               /* [L] */
  reals *iterates;              /* [C + L][VECTORS] */
  reals *x;                     /* [C + L][VECTORS] the last sample; in a lump, its component along the iterate */
  reals *beside;                /* [L][VECTORS] squared length of the rest of it */
  words *drawn;                 /* [K][VECTORS] all ones in the lanes that have drawn the class */
  lane_update updates[VECTORS];   /* to be applied */
  generator numbers;
  double gradient2[LANES];      /* sum of ||g||^2/d^2 over the steps so far */
} lumped;

/* A step's scores and chances in each lane, and its gradient dr x + shrinkage X. */
typedef struct lane_scores {
  double norm2[LANES], r[LANES], r_star[LANES], xi[LANES], uniform[LANES], dr[LANES], shrinkage[LANES];
  int64_t class[LANES];
} lane_scores;

LANEWISE reals splat(double value) { return value - (reals){0}; }

/* Of [K] values, that of each lane's class. */
LANEWISE reals of_class(const lumped *l, int64_t K, const double *values, int v) {
  if (K == 1) return splat(values[0]);
  words bits = {0};
  for (int64_t i = 0; i < K; i++) bits |= l->drawn[i * VECTORS + v] & (words)splat(values[i]);
  return (reals)bits;
}

static void draw_classes(lumped *l, lane_scores *scores) {
  const int64_t K = l->one.problem->classes;
  for (int v = 0; v < VECTORS; v++) store(scores->uniform + v * LANES_PER_VECTOR, draw_uniforms(&l->numbers, v));
  if (K == 1) return;
  double uniform[LANES];
  uint64_t is_drawn[LANES];
  for (int v = 0; v < VECTORS; v++) store(uniform + v * LANES_PER_VECTOR, draw_uniforms(&l->numbers, v));
  for (int lane = 0; lane < LANES; lane++) scores->class[lane] = drawn_class(&l->one, uniform[lane]);
  for (int64_t i = 0; i < K; i++) {
    for (int lane = 0; lane < LANES; lane++) is_drawn[lane] = scores->class[lane] == i ? ~UINT64_C(0) : 0;
    memcpy(l->drawn + i * VECTORS, is_drawn, sizeof is_drawn);
  }
}

/* The last update of the iterates' part in a lump. */
LANEWISE reals updated_norm(const lumped *l, lane_update u, int64_t lump, int v) {
  const int64_t at = (l->coordinates + lump) * VECTORS + v;
  const reals along = u.kept * l->iterates[at] + u.added * l->x[at];
  return square_root(along * along + u.added * u.added * l->beside[lump * VECTORS + v]);
}

typedef struct lane_sums {
  reals norm2[VECTORS], r[VECTORS], r_star[VECTORS];
} lane_sums;

/* A coordinate: the update before, a fresh component, and what it adds to the scores. */
LANEWISE void visit_coordinate(lumped *l, const lane_update *u, int64_t K, int64_t j, int v, reals z,
                               lane_sums *sums) {
  const int64_t at = j * VECTORS + v;
  const reals X = u[v].kept * l->iterates[at] + u[v].added * l->x[at];
  const reals x = of_class(l, K, l->means + j * K, v) + of_class(l, K, l->roots + j * K, v) * z;
  l->iterates[at] = X;
  l->x[at] = x;
  sums->norm2[v] += X * X;
  sums->r[v] += X * x;
  sums->r_star[v] += l->teacher[j] * x;
}

/* One pass over the modes. Inlined once with K = 1. */
LANEWISE void lumped_sweep(lumped *l, int64_t K, lane_scores *scores) {
  const int64_t C = l->coordinates;
  lane_sums sums = {{{0}}, {{0}}, {{0}}};
  generator g = l->numbers;
  lane_update u[VECTORS];
  memcpy(u, l->updates, sizeof u);
  for (int v = 0; v < VECTORS; v++) {
    reals xi, z;
    draw_normals(&g, v, &xi, &z);
    store(scores->xi + v * LANES_PER_VECTOR, xi);
    visit_coordinate(l, u, K, 0, v, z, &sums);
  }
  for (int64_t j = 1; j < C; j += 2)
    for (int v = 0; v < VECTORS; v++) {
      reals z_j, z_k;
      draw_normals(&g, v, &z_j, &z_k);
      visit_coordinate(l, u, K, j, v, z_j, &sums);
      visit_coordinate(l, u, K, j + 1, v, z_k, &sums);
    }
  for (int64_t lump = 0; lump < l->lumps; lump++) {
    reals z[VECTORS], chi2[VECTORS];
    for (int v = 0; v < VECTORS; v++) {
      const int64_t at = (C + lump) * VECTORS + v;
      reals along;
      draw_normals(&g, v, &along, &z[v]);
      const reals X = updated_norm(l, u[v], lump, v), x = of_class(l, K, l->roots + (C + lump) * K, v) * along;
      l->iterates[at] = X;
      l->x[at] = x;
      sums.norm2[v] += X * X;
      sums.r[v] += X * x;
    }
    draw_chi2(&g, &l->laws[lump], z, chi2);
    for (int v = 0; v < VECTORS; v++) {
      const reals root = of_class(l, K, l->roots + (C + lump) * K, v);
      l->beside[lump * VECTORS + v] = root * root * chi2[v];
    }
  }
  l->numbers = g;
  memcpy(scores->norm2, sums.norm2, sizeof scores->norm2);
  memcpy(scores->r, sums.r, sizeof scores->r);
  memcpy(scores->r_star, sums.r_star, sizeof scores->r_star);
}

/* Gradients of all lanes; nothing else is in the loop, so that a compiler may do the lanes at once. */
LANEWISE void pull_lanes(const lumped *l, int64_t K, lane_scores *scores) {
#pragma omp simd
  for (int lane = 0; lane < LANES; lane++) {
    const pull g = pull_of(l->one.problem, 0, K == 1 ? 0 : scores->class[lane], scores->r[lane],
                           sqrt(scores->norm2[lane]), scores->r_star[lane], scores->xi[lane], scores->uniform[lane]);
    scores->dr[lane] = g.dr;
    scores->shrinkage[lane] = g.shrinkage;
  }
}

/* Squared norm of the last sample of one lane. */
static double sample_norm2(const lumped *l, int lane) {
  const int v = lane / LANES_PER_VECTOR, k = lane % LANES_PER_VECTOR;
  double sum = 0;
  for (int64_t j = 0; j < l->coordinates + l->lumps; j++) sum += l->x[j * VECTORS + v][k] * l->x[j * VECTORS + v][k];
  for (int64_t lump = 0; lump < l->lumps; lump++) sum += l->beside[lump * VECTORS + v][k];
  return sum;
}

static void accumulate_lanes(lumped *l, const lane_scores *scores) {
  for (int lane = 0; lane < LANES; lane++) {
    const pull g = {scores->dr[lane], scores->shrinkage[lane]};
    const double n = sqrt(scores->norm2[lane]);
    l->gradient2[lane] += square_of_gradient(l->one.problem, g, scores->r[lane], n, sample_norm2(l, lane));
  }
}

/* Puts one lane where `rate_of_iterate` and `summarise` look. */
static simulation *shown(lumped *l, int lane) {
  for (int64_t j = 0; j < l->coordinates + l->lumps; j++)
    if (l->mode[j] >= 0)
      l->one.iterates[l->mode[j]] = l->iterates[j * VECTORS + lane / LANES_PER_VECTOR][lane % LANES_PER_VECTOR];
  l->one.gradient2[0] = l->gradient2[lane];
  return &l->one;
}

/* Between sweeps, so that iterates can be looked at; the next sweep then finds nothing to apply. */
static void apply_lane_updates(lumped *l) {
  for (int v = 0; v < VECTORS; v++) {
    for (int64_t at = v; at < l->coordinates * VECTORS; at += VECTORS)
      l->iterates[at] = l->updates[v].kept * l->iterates[at] + l->updates[v].added * l->x[at];
    for (int64_t lump = 0; lump < l->lumps; lump++)
      l->iterates[(l->coordinates + lump) * VECTORS + v] = updated_norm(l, l->updates[v], lump, v);
    l->updates[v] = (lane_update){splat(1), splat(0)};
  }
}

static void begin_lanes(lumped *l, int64_t first_run) {
  const sgdlimit_problem *p = l->one.problem;
  begin_at_start(&l->one, 0);
  for (int lane = 0; lane < LANES; lane++) {
    generator own;
    seed_generator(&own, mix(p->seed ^ UINT64_C(0x6c756d706564)), (uint64_t)(first_run + lane), COORDINATES);
    for (int i = 0; i < 4; i++)
      l->numbers.state[i][lane / LANES_PER_VECTOR][lane % LANES_PER_VECTOR] = own.state[i][0][0];
    l->gradient2[lane] = l->one.gradient2[0];
  }
  for (int64_t j = 0; j < l->coordinates + l->lumps; j++)
    for (int v = 0; v < VECTORS; v++) {
      l->iterates[j * VECTORS + v] = splat(l->mode[j] < 0 ? 0 : p->start_mean[l->mode[j]]);
      l->x[j * VECTORS + v] = splat(0);
    }
  for (int64_t at = 0; at < l->lumps * VECTORS; at++) l->beside[at] = splat(0);
  for (int v = 0; v < VECTORS; v++) l->updates[v] = (lane_update){splat(1), splat(0)};
}

/* Eight runs from `first_run` on, of which the first `count` are asked for; on trouble its status, with `outcome` telling
 * run and time. */
static int32_t simulate_lanes(lumped *l, int64_t first_run, int count, sgdlimit_outcome *outcome) {
  const sgdlimit_problem *p = l->one.problem;
  const int64_t K = p->classes, T = p->times_count, values = SGDLIMIT_SUMMARY + SGDLIMIT_CLASS_SUMMARY * K;
  const int64_t look_every = 1 + LUMPED_STEPS_PER_LOOK / (l->coordinates + l->lumps);
  const int by_state = depends_on_state(p);
  double *statistics = p->statistics + (first_run - p->first_run) * T * values, pace[LANES];
  lane_scores scores = {.class = {0}};
  begin_lanes(l, first_run);
  const double bound = l->one.norm2_bound[0];

  int64_t step = steps_until(p, p->start_time), next_look = step;
  for (int64_t output = 0; output < T; output++) {
    for (const int64_t stop = steps_until(p, p->times[output]); step < stop; step++, outcome->accepted += count) {
      const double t = (double)step / p->dimension;
      if (step == next_look) {
        next_look += look_every;
        outcome->time = t;
        if (p->progress) *p->progress = outcome->accepted;
        if (p->cancel && *p->cancel) return SGDLIMIT_CANCELLED;
      }
      draw_classes(l, &scores);
      lumped_sweep(l, K, &scores);
      if (K == 1) pull_lanes(l, 1, &scores);
      else pull_lanes(l, K, &scores);
      if (p->step_kind == SGDLIMIT_ADAGRAD_NORM) accumulate_lanes(l, &scores);
      const double common = by_state ? 0 : learning_rate(p, NULL, 0, t, NULL) / p->dimension;
      int diverged = 0;
      for (int lane = 0; lane < count; lane++) diverged |= !(scores.norm2[lane] <= bound);
      for (int lane = 0; lane < LANES; lane++) pace[lane] = common;
      for (int lane = 0; (by_state || diverged) && lane < count; lane++) {
        outcome->run = first_run + lane;
        outcome->time = t;
        if (has_diverged(&l->one, 0, scores.norm2[lane])) return SGDLIMIT_DIVERGED;
        if (by_state) pace[lane] = rate_of_iterate(shown(l, lane), 0, t) / p->dimension;
        if (isnan(pace[lane])) return SGDLIMIT_NO_STEP;
      }
      for (int v = 0; v < VECTORS; v++) {
        const int lane = v * LANES_PER_VECTOR;
        const reals step = load(pace + lane);
        l->updates[v] = (lane_update){1.0 - step * load(scores.shrinkage + lane), -step * load(scores.dr + lane)};
      }
    }
    outcome->time = (double)step / p->dimension;
    apply_lane_updates(l);
    for (int lane = 0; lane < count; lane++) {
      double *summary = statistics + (lane * T + output) * values;
      summarise(shown(l, lane), 0, outcome->time, summary);
      if (has_diverged(&l->one, 0, summary[0])) {
        outcome->run = first_run + lane;
        return SGDLIMIT_DIVERGED;
      }
    }
  }
  return SGDLIMIT_OK;
}

/* Coordinates of a mode; 0 where its weight times the dimension is no whole number. */
static double multiplicity(const sgdlimit_problem *p, int64_t mode) {
  const double given = p->weights[mode] * p->dimension, whole = floor(given + 0.5);
  return fabs(given - whole) <= 1e-9 + 1e-12 * given ? whole : 0;
}

static int can_be_lumped(const sgdlimit_problem *p) {
  if (!has_counts_and_times(p) || p->iterates != 1 || !(p->dimension < 0x1p53)) return 0;
  for (int64_t j = 0; j < p->modes; j++) {
    const double D = multiplicity(p, j);
    if (!(D >= 1)) return 0;
    if (D == 1) continue;
    if (p->teacher[j] != 0 || (p->reference && p->reference[j] != 0)) return 0;
    for (int64_t i = 0; i < p->classes; i++)
      if (p->means[i * p->modes + j] != 0) return 0;
  }
  return 1;
}

/* Cuts the arrays of the lanes out of one allocation, which the caller frees; NULL when there is no memory. */
static void *lay_out_lanes(lumped *l) {
  const int64_t K = l->one.problem->classes, C = l->coordinates, L = l->lumps;
  const size_t lanes = LANES * sizeof(double);
  const double bytes = (double)lanes * (double)(2 * (C + L) + L + K) + (double)((C + L) * (2 + 2 * K) + 4 * L) * 8.0;
  if (bytes > (double)(PTRDIFF_MAX / 2)) return NULL;
  char *memory = aligned_alloc(64, ((size_t)bytes + 127) / 64 * 64), *next = memory;
  if (!memory) return NULL;
  l->iterates = (reals *)next, next += (size_t)(C + L) * lanes;
  l->x = (reals *)next, next += (size_t)(C + L) * lanes;
  l->beside = (reals *)next, next += (size_t)L * lanes;
  l->drawn = (words *)next, next += (size_t)K * lanes;
  l->laws = (chi2_law *)next, next += (size_t)L * sizeof(chi2_law);
  l->mode = (int64_t *)next, next += (size_t)(C + L) * sizeof(int64_t);
  l->teacher = (double *)next, next += (size_t)C * sizeof(double);
  l->means = (double *)next, next += (size_t)(C * K) * sizeof(double);
  l->roots = (double *)next;
  return memory;
}

/* What all runs share; NULL when there is no memory. */
static void *set_up_lanes(lumped *l) {
  const sgdlimit_problem *p = l->one.problem;
  const int64_t K = p->classes, N = p->modes;
  l->lumps = 0;
  for (int64_t j = 0; j < N; j++) l->lumps += multiplicity(p, j) > 1;
  l->coordinates = (N - l->lumps) | 1;
  void *memory = lay_out_lanes(l);
  if (!memory) return NULL;
  int64_t coordinate = 0, lump = 0;
  for (int64_t j = 0; j < N; j++) {
    const double D = multiplicity(p, j);
    if (D > 1) l->laws[lump] = chi2_of(D - 1);
    l->mode[D > 1 ? l->coordinates + lump++ : coordinate++] = j;
  }
  for (; coordinate < l->coordinates; coordinate++) l->mode[coordinate] = -1;
  for (int64_t j = 0; j < l->coordinates + l->lumps; j++) {
    const int64_t mode = l->mode[j];
    for (int64_t i = 0; i < K; i++) {
      l->roots[j * K + i] = mode < 0 ? 0 : sqrt(p->eigenvalues[i * N + mode]);
      if (j < l->coordinates) l->means[j * K + i] = mode < 0 ? 0 : p->means[i * N + mode];
    }
    if (j < l->coordinates) l->teacher[j] = mode < 0 ? 0 : p->teacher[mode];
  }
  return memory;
}

/* As sgdlimit_simulate, with the same summaries, for one iterate and a finite dimension: weights times dimension are the
 * modes' numbers of coordinates, and where that is more than one, means, teacher and reference are 0. */
int32_t sgdlimit_simulate_lumped(const sgdlimit_problem *p, sgdlimit_outcome *outcome) {
  *outcome = (sgdlimit_outcome){.status = SGDLIMIT_BAD_PROBLEM};
  if (!can_be_lumped(p)) return outcome->status;
  lumped l;
  double *shared = set_up(&l.one, p, depends_on_state(p));
  void *lanes = shared ? set_up_lanes(&l) : NULL;
  outcome->status = lanes ? SGDLIMIT_OK : SGDLIMIT_OUT_OF_MEMORY;
  for (int64_t i = 0; i < p->runs && outcome->status == SGDLIMIT_OK; i += LANES) {
    const int64_t left = p->runs - i;
    outcome->run = p->first_run + i;
    outcome->status = simulate_lanes(&l, outcome->run, left < LANES ? (int)left : LANES, outcome);
  }
  if (p->progress) *p->progress = outcome->accepted;
  free(lanes);
  free(shared);
  return outcome->status;
}

/* ---- Homogenised SGD -------------------------------------------------------------------------------------------
 *     dX_j = gamma (offset_j + slope_j (X_j - X*_j)) dt + gamma sqrt(noise_j) dW_j
 *
 * with the rates at the random X itself (v = 0): drift -gamma grad of the risk, and in the eigenbasis the covariance
 * gamma^2 sum_i p_i I_i C_i/d is diagonal. With the scalars in them frozen a coordinate is an Ornstein-Uhlenbeck process,
 * stable in steps of any length. A step has two parts.
 *   Predictor: with the scalars at X, the mean and variance of that process half a step on; `rates` then gives the scalars
 *     under that law. It is a function of X and draws nothing: the noise that follows is independent of its own size, as
 *     Ito wants it.
 *   Corrector: with these scalars the process over the whole step, drawn.
 * Weak order 1, and what is of first order comes from fluctuations of the scalars, O(h/d); the rest is O(h^2): as d grows
 * this is the midpoint rule for the mode equations. A step lasts at most `longest` times 1/(gamma max |slope|), the time
 * of the iterate's fastest mode, and divides what is left to the next output. */

/* A seed of its own: what is drawn here is independent of SGD under the same seed. */
static uint64_t diffusion_seed(const sgdlimit_problem *p) { return mix(p->seed); }

/* Of an Ornstein-Uhlenbeck process over a time h: its mean moves by gamma drift `mean`, its variance is gamma^2 noise
 * `noise`; int_0^h exp(gamma slope s) ds, and the same with twice the slope. */
typedef struct relaxation {
  double mean, noise;
} relaxation;

static inline relaxation relax(double slope, double gamma, double h) {
  const double exponent = gamma * slope * h, change = expm1(exponent);
  const double mean = exponent == 0 ? h : h * (change / exponent);
  return (relaxation){mean, mean * (1 + 0.5 * change)};
}

/* One step from time t, of which `left` remains to the next output; leaves its length in `taken`. */
static int32_t diffusion_step(simulation *s, int64_t iterate, double t, double left, double longest, double *taken) {
  const sgdlimit_problem *p = s->problem;
  const int64_t N = p->modes;
  double *X = s->iterates + iterate * s->length, drawn[BLOCK];
  double *e = s->at_iterate, *none = e + N, *offset = none + N, *slope = offset + N, *noise = slope + N;
  double *work = noise + N, *middle = s->predicted, *spread = middle + N;

  for (int64_t j = 0; j < N; j++) e[j] = X[j] - p->teacher[j];
  rates(p, s->constants, iterate, X, e, none, offset, slope, noise);
  const point here = {X, e, none, offset, slope, noise, s->gradient2[iterate], work};
  double gamma = learning_rate(p, s->constants, iterate, t, &here);
  if (isnan(gamma) && depends_on_state(p)) return SGDLIMIT_NO_STEP;
  double fastest = 0, total = 0;
  for (int64_t j = 0; j < N; j++) {
    if (!(fabs(slope[j]) < INFINITY)) return SGDLIMIT_DIVERGED;
    fastest = fmax(fastest, fabs(slope[j]));
    total += noise[j];
  }
  const double h = left / fmax(ceil(left * fabs(gamma) * fastest / longest), 1);
  if (isnan(h)) return SGDLIMIT_DIVERGED;
  if (!(t + h > t)) return SGDLIMIT_NO_PROGRESS;

  for (int64_t j = 0; j < N; j++) {
    const relaxation half = relax(slope[j], gamma, 0.5 * h);
    e[j] += gamma * (offset[j] + slope[j] * e[j]) * half.mean;
    middle[j] = p->teacher[j] + e[j];
    spread[j] = gamma * gamma * noise[j] * half.noise;
  }
  rates(p, s->constants, iterate, middle, e, spread, offset, slope, noise);
  const point halfway = {middle, e, spread, offset, slope, noise, s->gradient2[iterate] + 0.5 * h * total, work};
  gamma = learning_rate(p, s->constants, iterate, t + 0.5 * h, &halfway);
  if (isnan(gamma) && depends_on_state(p)) return SGDLIMIT_NO_STEP;

  for (int64_t block = 0; block < N; block += BLOCK) {
    for (int v = 0; v < VECTORS; v++) {
      reals z_j, z_k;
      draw_normals(&s->coordinates, v, &z_j, &z_k);
      store(drawn + v * LANES_PER_VECTOR, z_j);
      store(drawn + v * LANES_PER_VECTOR + LANES, z_k);
    }
    for (int64_t j = block; j < N && j < block + BLOCK; j++) {
      const double drift = offset[j] + slope[j] * (X[j] - p->teacher[j]);
      const relaxation whole = relax(slope[j], gamma, h);
      s->gradient2[iterate] += h * noise[j];
      X[j] += gamma * drift * whole.mean + gamma * sqrt(noise[j] * whole.noise) * drawn[j - block];
    }
  }
  *taken = h;
  return SGDLIMIT_OK;
}

/* One iterate's run; on trouble its status, with `outcome` telling the time. */
static int32_t diffuse_run(simulation *s, int64_t run, int64_t iterate, double longest, sgdlimit_outcome *outcome) {
  const sgdlimit_problem *p = s->problem;
  const int64_t M = p->iterates, T = p->times_count, values = SGDLIMIT_SUMMARY + SGDLIMIT_CLASS_SUMMARY * p->classes;
  double *statistics = p->statistics + ((run - p->first_run) * M + iterate) * T * values;
  seed_generator(&s->coordinates, diffusion_seed(p), (uint64_t)run, COORDINATES);
  begin_at_start(s, iterate);

  double t = p->start_time;
  int64_t steps = 0;
  for (int64_t output = 0; output < T; output++) {
    for (const double stop = p->times[output]; t < stop; steps++) {
      double h = 0;
      outcome->time = t;
      if (p->cancel && *p->cancel) return SGDLIMIT_CANCELLED;
      if (steps >= p->max_steps) return SGDLIMIT_NO_PROGRESS;
      const int32_t status = diffusion_step(s, iterate, t, stop - t, longest, &h);
      if (status != SGDLIMIT_OK) return status;
      outcome->accepted++;
      t = h < stop - t ? t + h : stop;
      outcome->time = t;
      if (has_diverged(s, iterate, square_norm(s->length, s->iterates + iterate * s->length)))
        return SGDLIMIT_DIVERGED;
      if (p->progress) *p->progress = ((run - p->first_run) * M + iterate) * steps_until(p, p->times[T - 1]) / M +
                                      steps_until(p, t) / M;
    }
    summarise(s, iterate, t, statistics + output * values);
  }
  return SGDLIMIT_OK;
}

/* Runs first_run .. first_run + runs - 1 of homogenised SGD, as sgdlimit_simulate those of SGD and with the same summaries.
 * `progress` counts in steps of SGD. */
int32_t sgdlimit_diffuse(const sgdlimit_problem *p, double longest, sgdlimit_outcome *outcome) {
  *outcome = (sgdlimit_outcome){.status = SGDLIMIT_BAD_PROBLEM};
  if (!can_be_simulated(p) || p->max_steps < 1 || !(longest > 0 && longest < INFINITY)) return outcome->status;
  simulation s;
  void *memory = set_up(&s, p, 1);
  if (!memory) return outcome->status = SGDLIMIT_OUT_OF_MEMORY;
  outcome->status = SGDLIMIT_OK;
  for (int64_t i = 0; i < p->runs && outcome->status == SGDLIMIT_OK; i++)
    for (int64_t m = 0; m < p->iterates && outcome->status == SGDLIMIT_OK; m++) {
      outcome->run = p->first_run + i;
      outcome->iterate = m;
      outcome->status = diffuse_run(&s, outcome->run, m, longest, outcome);
    }
  free(memory);
  return outcome->status;
}

#endif
#endif

/* ---- The interface ----------------------------------------------------------------------------------------------- */

int32_t sgdlimit_abi(void) { return SGDLIMIT_ABI; }
const char *sgdlimit_parameter_names(void) { return "epsilon,tau,sigma"; }
const char *sgdlimit_schedule_names(void) { return ""; }
/* Of learning rates that depend on the state, those that this kernel has. */
const char *sgdlimit_descent_names(void) { return "polyak,line_search"; }
const char *sgdlimit_statistic_names(void) { return "adversarial_risk,clean_risk,norm2,overlap,cosine,distance2,optimum_distance2,learning_rate,effective_ridge"; }
const char *sgdlimit_coefficient_names(void) { return "R,A,B,D,F,I"; }
const char *sgdlimit_score_names(void) { return "n,Q_star,dm,beta1,Q_perp"; }
/* What must be positive for the equations to hold. */
const char *sgdlimit_positive_names(void) { return ""; }

/* Coefficients of one class at given scores (in the order of sgdlimit_score_names), label and parameters. */
void sgdlimit_coefficients(const double *score_values, double y, const double *par, double *out) {
  score w;
  w.n = score_values[0];
  w.Q_star = score_values[1];
  w.dm = score_values[2];
  w.beta1 = score_values[3];
  w.Q_perp = score_values[4];
  all_coefficients(&w, y, par, 1, &out[0], &out[1], &out[2], &out[3], &out[4], &out[5]);
}

/* dx and dv at (t, x, v), where the integral of sum_j G_j is start_auxiliary's; work has room for 6 p->modes + the
 * constants (GLOBAL + CLASS * K). */
int32_t sgdlimit_rhs(const sgdlimit_problem *p, int64_t iterate, double t, const double *x, const double *v, double *dx,
                     double *dv, double *work) {
  if (p->size != sizeof *p || !has_step_arguments(p)) return SGDLIMIT_BAD_PROBLEM;
  const int64_t N = p->modes;
  double *offset = work, *slope = work + N, *noise = work + 2 * N, *e = work + 3 * N, *k = work + 6 * N;
  constants(p, k);
  for (int64_t j = 0; j < N; j++) e[j] = x[j] - p->teacher[j];
  rates(p, k, iterate, x, e, v, offset, slope, noise);
  const double accumulated = p->start_auxiliary ? p->start_auxiliary[iterate] : 0;
  const point at = {x, e, v, offset, slope, noise, accumulated, work + 4 * N};
  const double gamma = learning_rate(p, k, iterate, t, &at);
  for (int64_t j = 0; j < N; j++) {
    dx[j] = gamma * (offset[j] + slope[j] * e[j]);
    dv[j] = 2 * gamma * slope[j] * v[j] + gamma * gamma * noise[j];
  }
  return SGDLIMIT_OK;
}

int64_t sgdlimit_constants_count(const sgdlimit_problem *p) { return constants_count(p); }
