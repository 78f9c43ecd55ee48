/* The high-dimensional limit of streaming SGD on one model: the coefficients and the right-hand side.
 *   loss       (r**2 - y**2)**2/4
 *   target     Teacher('r_star')
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
 *   Panels that end at branch points
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

/* exp(-x^2): the rounding of the square is put back, which far out is worth many digits. */
LANEWISE double sgdlimit_exp_minus_square(double x) {
  const double head = sgdlimit_from_bits(sgdlimit_bits(x) & UINT64_C(0xfffffffff8000000));
  return sgdlimit_exp_sum(-head * head, (head - x) * (x + head));
}

/* exp(-x^2/2)/sqrt(2 pi) */
LANEWISE double sgdlimit_normal_density(double x) {
  const double head = sgdlimit_from_bits(sgdlimit_bits(x) & UINT64_C(0xfffffffff8000000));
  return 0.3989422804014327 * sgdlimit_exp_sum(-0.5 * head * head, 0.5 * (head - x) * (x + head));
}

LANEWISE double sgdlimit_erfc(double x) {
  const double h = 1.4142135623730951 * fabs(x);
  const double tail = 0.7978845608028654 * sgdlimit_exp_minus_square(x) / (h + sgdlimit_tail_ratio(h));
  return x < 0 ? 2.0 - tail : tail;
}

LANEWISE double square(double x) { return x * x; }

/* NaN if one of the two is, which fmax and fmin would swallow. */
LANEWISE double larger(double a, double b) { return ((a > b) | (a != a)) ? a : b; }

LANEWISE double smaller(double a, double b) { return ((a < b) | (a != a)) ? a : b; }

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

/* ---- Panels that end at branch points ---------------------------------------------------------------------------
 * Where two kinks of an inner integral meet and vanish, an integrand is a function of the square root of the distance.
 * A panel that ends there has its nodes in t, z = end + length t^2 (between two such ends z = a + length t^2 (3 - 2t)), in
 * which nothing is singular. To any other panel a branch point is a singularity of no width, from which it keeps clear. */
#define SGDLIMIT_SAME_BRANCH (4 * SGDLIMIT_SAME_BREAKPOINT)
/* Beyond a branch point panels grow threefold from one to the next, from 1e-14 to 26, and before one they shrink like that
 * if another is close behind it: 32 on either side, and twice as many at a clearance of 3.5. */
#define SGDLIMIT_MAX_BRANCH_EDGES(edges, branches) ((edges) + 140 * (branches))

/* Cuts panels again; the branch points are among their ends. */
APART int sgdlimit_branch_panels(const double *coarse, int count, const double *branch, int branches, double *edges) {
  int panels = 0;
  edges[0] = coarse[0];
  for (int q = 0; q < count; q++) {
    const double stop = coarse[q + 1];
    while (edges[panels] < stop) {
      const double a = edges[panels];
      double length = stop - a;
      for (int i = 0; i < branches; i++) {
        if (branch[i] < a - SGDLIMIT_SAME_BRANCH) {
          const double longest = 2 * (a - branch[i]) / (SGDLIMIT_CLEARANCE - 1);
          if (longest < length) length = longest;
        } else if (branch[i] > stop + SGDLIMIT_SAME_BRANCH) {
          const double longest = 2 * (branch[i] - a) / (SGDLIMIT_CLEARANCE + 1);
          if (longest < length) length = longest;
        }
      }
      if (length < stop - a)
        for (int i = 0; i < branches; i++)
          if (fabs(branch[i] - stop) <= SGDLIMIT_SAME_BRANCH && 2 * (stop - a) / (SGDLIMIT_CLEARANCE + 1) < length)
            length = 2 * (stop - a) / (SGDLIMIT_CLEARANCE + 1);
      edges[++panels] = stop - a <= length * (1 + 1e-9) ? stop : a + length;
    }
  }
  return panels;
}

/* The nodes of the panel [a, b], and their weights with phi(z) in them. */
APART void sgdlimit_branch_nodes(double a, double b, const double *branch, int branches, double *z, double *weight) {
  int left = 0, right = 0;
  for (int i = 0; i < branches; i++) {
    left |= fabs(branch[i] - a) <= SGDLIMIT_SAME_BRANCH;
    right |= fabs(branch[i] - b) <= SGDLIMIT_SAME_BRANCH;
  }
  if (!left && !right) {
    sgdlimit_nodes(a, b, z, weight);
    return;
  }
  double t[SGDLIMIT_POINTS], share[SGDLIMIT_POINTS];
  sgdlimit_nodes(0, 1, t, share);
  for (int i = 0; i < SGDLIMIT_POINTS; i++) {
    const double near = t[i], far = t[SGDLIMIT_POINTS - 1 - i];   /* far = 1 - near */
    const double place = left && right ? near * near * (3 - 2 * near) : left ? near * near : 1 - far * far;
    const double slope = left && right ? 6 * near * far : 2 * (left ? near : far);
    /* the weights have phi(t) in them */
    z[i] = right && !left ? b - (b - a) * far * far : a + (b - a) * place;
    weight[i] = (b - a) * slope * share[i] / sgdlimit_normal_density(near) * sgdlimit_normal_density(z[i]);
  }
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
 * loss       (r**2 - y**2)**2/4
 * target     Teacher('r_star')
 * adversary  l2 ball of radius epsilon
 */

/* The law of the score given the class, in the symbols of the theory (section 2). */
typedef struct score { double n, m_star, Q_star, m, dm, beta, beta1, Q_perp; } score;

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
  double m = 0, dm = 0, sum_beta = 0, sum_beta1 = 0;
  #pragma omp simd reduction(+ : m, dm, sum_beta, sum_beta1)
  for (int64_t j = 0; j < p->modes; j++) {
    m += mu[j]*x[j];
    dm += e[j]*mu[j];
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
  w->dm = dm;
  w->beta = beta;
  w->beta1 = beta1;
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
  const double dm = w->dm;
  const double beta = w->beta;
  const double beta1 = w->beta1;
  const double Q_perp = w->Q_perp;
  const double p_epsilon = par[0 * stride];
  const double mean_ell = m_star;
  const double s_ell = sqrt(larger(1e-300, Q_star));
  const double s_given = sqrt(larger(1e-300, Q_perp));
  const double reach = p_epsilon*n;
  const double turn = (beta > 0 ? 1.0 : -1.0);
  const double score_along = turn*(0.764842187284489*s_ell*fabs(beta) + 0.644217687237691*s_given);
  const double score_across = turn*(-0.644217687237691*s_ell*fabs(beta) + 0.764842187284489*s_given);
  const double label_along = 0.764842187284489*s_ell;
  const double label_across = -0.644217687237691*s_ell;
  const double gap_along = 0.764842187284489*beta1*s_ell + 0.644217687237691*s_given*turn;
  const double gap_across = -0.644217687237691*beta1*s_ell + 0.764842187284489*s_given*turn;
  const double plane_slope1 = (((fabs(score_along) - 1e-300) > 0 ? 1.0 : -1.0) > 0 ? score_along : 1e-300);
  const double plane_p1 = dm*(m + mean_ell) + reach*reach;
  const double plane_p2 = dm*(label_along + score_along) + gap_along*(m + mean_ell);
  const double plane_p3 = dm*(label_across + score_across) + gap_across*(m + mean_ell);
  const double plane_p4 = gap_along*(label_along + score_along);
  const double plane_p5 = gap_across*(label_along + score_along) + gap_along*(label_across + score_across);
  const double plane_p6 = gap_across*(label_across + score_across);
  const double plane_slope2 = (((fabs(plane_p4) - 1e-300) > 0 ? 1.0 : -1.0) > 0 ? plane_p4 : 1e-300);
  const double plane_p7 = m - reach;
  const double plane_p8 = m + reach;
  const double plane_p9 = 2.0*m - 2.8284271247461903*mean_ell + 2.0*reach;
  const double plane_p10 = -2.8284271247461903*label_along + 2.0*score_along;
  const double plane_p11 = -2.8284271247461903*label_across + 2.0*score_across;
  const double plane_slope3 = (((fabs(plane_p10) - 1e-300) > 0 ? 1.0 : -1.0) > 0 ? plane_p10 : 1e-300);
  const double plane_p12 = 2.0*m + 2.8284271247461903*mean_ell + 2.0*reach;
  const double plane_p13 = 2.8284271247461903*label_along + 2.0*score_along;
  const double plane_p14 = 2.8284271247461903*label_across + 2.0*score_across;
  const double plane_slope4 = (((fabs(plane_p13) - 1e-300) > 0 ? 1.0 : -1.0) > 0 ? plane_p13 : 1e-300);
  const double plane_p15 = 2.0*m - 2.8284271247461903*mean_ell - 2.0*reach;
  const double plane_p16 = 2.0*m + 2.8284271247461903*mean_ell - 2.0*reach;
  const double plane_vertex1 = (-label_along*m - score_along*(-mean_ell + 0.7071067811865476*reach))/(s_ell*s_given*turn);
  const double plane_vertex2 = (-label_along*m - score_along*(-mean_ell - 0.7071067811865476*reach))/(s_ell*s_given*turn);
  const double plane_vertex3 = (label_along*(-m + reach) - score_along*(-mean_ell + 1.4142135623730951*reach))/(s_ell*s_given*turn);
  const double plane_vertex4 = (label_along*(-m + reach) - score_along*(-mean_ell - 1.4142135623730951*reach))/(s_ell*s_given*turn);
  const double plane_vertex5 = (label_along*(-m - reach) - score_along*(-mean_ell + 1.4142135623730951*reach))/(s_ell*s_given*turn);
  const double plane_vertex6 = (label_along*(-m - reach) - score_along*(-mean_ell - 1.4142135623730951*reach))/(s_ell*s_given*turn);
  const double plane_zero1 = -m/score_across;
  const double plane_half1 = -0.5*plane_p3 - 0.5*sqrt(-4.0*plane_p1*plane_p6 + plane_p3*plane_p3)*(plane_p3 > 0 ? 1.0 : -1.0);
  const double plane_zero2 = plane_half1/plane_p6;
  const double plane_zero3 = plane_p1/plane_half1;
  const double plane_d1 = -4.0*plane_p1*plane_p4 + plane_p2*plane_p2;
  const double plane_d2 = 2.0*plane_p2*plane_p5 - 4.0*plane_p3*plane_p4;
  const double plane_d3 = 4.0*(s_ell*s_ell)*(s_given*s_given)*(turn*turn);
  const double plane_half2 = -0.5*plane_d2 - 0.5*sqrt(-4.0*plane_d1*plane_d3 + plane_d2*plane_d2)*(plane_d2 > 0 ? 1.0 : -1.0);
  const double plane_zero4 = plane_half2/plane_d3;
  const double plane_zero5 = plane_d1/plane_half2;
  const double plane_zero6 = -plane_p7/score_across;
  const double plane_zero7 = -plane_p8/score_across;
  const double plane_zero8 = -plane_p9/plane_p11;
  const double plane_zero9 = -plane_p12/plane_p14;
  const double plane_zero10 = -plane_p15/plane_p11;
  const double plane_zero11 = -plane_p16/plane_p14;
  double J_R = 0, J_A = 0, J_B = 0, J_F = 0, J_I = 0, J_D = 0, J_BD = 0;
  if (out_R || out_A || out_B || out_F || out_I || out_D || out_BD) {
    const double h1 = 2.0*plane_p6;
    const double h2 = h1*plane_zero2 + plane_p3;
    const double h3 = 1.0/h2;
    const double h4 = h1*h3*(plane_zero2*plane_zero2) + h3*plane_p3*plane_zero2;
    const double h5 = h1*plane_zero3 + plane_p3;
    const double h6 = 1.0/h5;
    const double h7 = h1*h6*(plane_zero3*plane_zero3) + h6*plane_p3*plane_zero3;
    const double h8 = 1.0/plane_d3;
    const double h9 = fabs(score_along)/fabs(score_across);
    const double h10 = fabs(plane_p10)/fabs(plane_p11);
    const double h11 = fabs(plane_p13)/fabs(plane_p14);
    const double kink[] = {
        plane_vertex1,
        plane_vertex2,
        plane_vertex3,
        plane_vertex4,
        plane_vertex5,
        plane_vertex6,
        plane_zero4,
        plane_zero5,
    };
    const double pole[] = {
        -0.5*h8*plane_d2,
    };
    const double pole_width[] = {
        sqrt(h8*plane_d1 - 0.25*(plane_d2*plane_d2)/(plane_d3*plane_d3)),
    };
    const double step[] = {
        plane_zero1,
        h4,
        h7,
        plane_zero6,
        plane_zero7,
        plane_zero8,
        plane_zero9,
        plane_zero10,
        plane_zero11,
    };
    const double step_width[] = {
        h9,
        fabs(h4*plane_p5 + plane_p2)/fabs(h2),
        fabs(h7*plane_p5 + plane_p2)/fabs(h5),
        h9,
        h9,
        h10,
        h11,
        h10,
        h11,
    };
    const sgdlimit_shape shape = {-SGDLIMIT_WINDOW, SGDLIMIT_WINDOW, 8, 1, 9, kink, pole, pole_width, step, step_width};
    const double branch[] = {plane_zero4, plane_zero5};
    double coarse[SGDLIMIT_MAX_EDGES(8, 1, 9)], edges[SGDLIMIT_MAX_BRANCH_EDGES(SGDLIMIT_MAX_EDGES(8, 1, 9), 2)];
    const int panels = sgdlimit_branch_panels(coarse, sgdlimit_panels(&shape, coarse), branch, 2, edges);
    const double line_c15 = label_along + score_along;
    const double line_c18 = gap_along*line_c15;
    const double line_c23 = line_c18*line_c18;
    const double line_c36 = line_c18*score_along;
    const double line_c52 = line_c36*line_c36;
    const double line_c61 = label_along*score_along;
    const double line_c65 = label_along + 3.0*score_along;
    const double line_c68 = gap_along*line_c65;
    const double g14 = label_along*label_along;
    const double line_c3 = g14;
    const double line_c7 = label_along*line_c3;
    const double line_c12 = label_along*line_c7;
    const double line_c43 = -g14 + 3.0*(score_along*score_along);
    const double g15 = 1.0/plane_slope1;
    const double line_rate1 = g15;
    const double g18 = 1.0/plane_slope3;
    const double line_rate4 = 2.0*g18;
    const double line_rate73 = -2.8284271247461903*g18;
    const double line_rate142 = -0.8284271247461901*g18;
    const double g20 = 1.0/plane_slope4;
    const double line_rate5 = 2.0*g20;
    const double line_rate74 = 2.8284271247461903*g20;
    const double line_rate143 = 4.82842712474619*g20;
    const double g79 = p_epsilon*n;
    const double g82 = 2.0*line_c18;
    const double g114 = 6.0*g79*score_along;
    const double g125 = 2.0*score_along;
    const double g129 = 2.0*line_c36;
    const double g132 = 2.0*label_along;
    const double g133 = 3.0*g79;
    const double g136 = 2.0*gap_along;
    const double g137 = 0.25*line_c23;
    const double g146 = 2.0*line_c61;
    double total_J_R = 0, total_J_A = 0, total_J_B = 0, total_J_F = 0, total_J_I = 0, total_J_D = 0, total_J_BD = 0, below, above;
    const int middle = sgdlimit_middle(&shape, edges, panels, &below, &above);
    for (int q = middle, enough; q >= 0; q = sgdlimit_next(q, middle, panels, enough)) {
      double nodes[SGDLIMIT_POINTS], weights[SGDLIMIT_POINTS];
      double of_J_R[SGDLIMIT_POINTS], of_J_A[SGDLIMIT_POINTS], of_J_B[SGDLIMIT_POINTS], of_J_F[SGDLIMIT_POINTS], of_J_I[SGDLIMIT_POINTS], of_J_D[SGDLIMIT_POINTS], of_J_BD[SGDLIMIT_POINTS];
      sgdlimit_branch_nodes(edges[q], edges[q + 1], branch, 2, nodes, weights);
      #pragma omp simd
      for (int k = 0; k < SGDLIMIT_POINTS; k++) {
        const double z_across = nodes[k];
        const double line_centre2 = label_across*z_across + mean_ell;
        const double line_h1 = plane_p1 + z_across*(plane_p3 + plane_p6*z_across);
        const double line_h2 = plane_p2 + plane_p5*z_across;
        const double line_square1 = -4.0*line_h1*plane_p4 + line_h2*line_h2;
        const double line_root1 = sqrt(larger(1e-300, line_square1));
        const double line_side1 = (line_h2 > 0 ? 1.0 : -1.0);
        const double line_half1 = -0.5*line_h2 - 0.5*line_root1*line_side1;
        const double line_centre3 = dm + gap_across*z_across;
        const double g10 = score_across*z_across;
        const double line_centre1 = g10 + m;
        const double line_h3 = g10 + plane_p7;
        const double line_h4 = g10 + plane_p8;
        const double g11 = line_centre2*line_centre2;
        const double line_c1 = g11;
        const double line_c4 = line_c1*line_centre2;
        const double line_c8 = line_c4*line_centre2;
        const double g12 = 2.0*line_centre2;
        const double g13 = g12*label_along;
        const double line_c2 = g13;
        const double line_c5 = label_along*line_c1 + line_c2*line_centre2;
        const double line_c9 = label_along*line_c4 + line_c5*line_centre2;
        const double line_c6 = label_along*line_c2 + line_c3*line_centre2;
        const double line_c10 = label_along*line_c5 + line_c6*line_centre2;
        const double line_c11 = label_along*line_c6 + line_c7*line_centre2;
        const double line_cross1 = larger(-40.0, smaller(40.0, -g15*line_centre1));
        const double line_cross4 = larger(-40.0, smaller(40.0, -g15*line_h3));
        const double line_cross5 = larger(-40.0, smaller(40.0, -g15*line_h4));
        const double g16 = (line_square1 > 0 ? 1.0 : -1.0);
        const double line_cross2 = (g16 > 0 ? larger(-40.0, smaller(40.0, line_half1/plane_slope2)) : 40.0);
        const double line_cross3 = (g16 > 0 ? larger(-40.0, smaller(40.0, line_h1/(((fabs(line_half1) - 1e-300) > 0 ? 1.0 : -1.0) > 0 ? line_half1 : 1e-300))) : 40.0);
        const double line_turned1 = ((line_cross1 - line_cross2) > 0 ? 1.0 : -1.0);
        const double line_low1 = (line_turned1 > 0 ? line_cross2 : line_cross1);
        const double line_high1 = (line_turned1 > 0 ? line_cross1 : line_cross2);
        const double line_turned2 = ((line_cross3 - line_cross4) > 0 ? 1.0 : -1.0);
        const double line_low2 = (line_turned2 > 0 ? line_cross4 : line_cross3);
        const double line_high2 = (line_turned2 > 0 ? line_cross3 : line_cross4);
        const double line_turned5 = ((line_low1 - line_low2) > 0 ? 1.0 : -1.0);
        const double line_low5 = (line_turned5 > 0 ? line_low2 : line_low1);
        const double line_high5 = (line_turned5 > 0 ? line_low1 : line_low2);
        const double line_turned6 = ((line_high1 - line_high2) > 0 ? 1.0 : -1.0);
        const double line_low6 = (line_turned6 > 0 ? line_high2 : line_high1);
        const double line_high6 = (line_turned6 > 0 ? line_high1 : line_high2);
        const double line_turned9 = ((-line_high5 + line_low6) > 0 ? 1.0 : -1.0);
        const double line_low9 = (line_turned9 > 0 ? line_high5 : line_low6);
        const double line_high9 = (line_turned9 > 0 ? line_low6 : line_high5);
        const double g17 = plane_p11*z_across;
        const double line_h5 = g17 + plane_p9;
        const double line_h7 = g17 + plane_p15;
        const double line_cross6 = larger(-40.0, smaller(40.0, -g18*line_h5));
        const double line_cross8 = larger(-40.0, smaller(40.0, -g18*line_h7));
        const double line_turned3 = ((line_cross5 - line_cross6) > 0 ? 1.0 : -1.0);
        const double line_low3 = (line_turned3 > 0 ? line_cross6 : line_cross5);
        const double line_high3 = (line_turned3 > 0 ? line_cross5 : line_cross6);
        const double line_rate10 = (line_turned3 > 0 ? line_rate4 : line_rate1);
        const double line_rate11 = (line_turned3 > 0 ? line_rate1 : line_rate4);
        const double line_rate79 = (line_turned3 > 0 ? line_rate73 : 0.0);
        const double line_rate80 = (line_turned3 > 0 ? 0.0 : line_rate73);
        const double line_rate148 = (line_turned3 > 0 ? line_rate142 : line_rate1);
        const double line_rate149 = (line_turned3 > 0 ? line_rate1 : line_rate142);
        const double g19 = plane_p14*z_across;
        const double line_h6 = g19 + plane_p12;
        const double line_h8 = g19 + plane_p16;
        const double line_cross7 = larger(-40.0, smaller(40.0, -g20*line_h6));
        const double line_cross9 = larger(-40.0, smaller(40.0, -g20*line_h8));
        const double line_turned4 = ((line_cross7 - line_cross8) > 0 ? 1.0 : -1.0);
        const double line_low4 = (line_turned4 > 0 ? line_cross8 : line_cross7);
        const double line_high4 = (line_turned4 > 0 ? line_cross7 : line_cross8);
        const double line_turned7 = ((line_low3 - line_low4) > 0 ? 1.0 : -1.0);
        const double line_low7 = (line_turned7 > 0 ? line_low4 : line_low3);
        const double line_high7 = (line_turned7 > 0 ? line_low3 : line_low4);
        const double line_turned8 = ((line_high3 - line_high4) > 0 ? 1.0 : -1.0);
        const double line_low8 = (line_turned8 > 0 ? line_high4 : line_high3);
        const double line_high8 = (line_turned8 > 0 ? line_high3 : line_high4);
        const double line_turned10 = ((-line_high7 + line_low8) > 0 ? 1.0 : -1.0);
        const double line_low10 = (line_turned10 > 0 ? line_high7 : line_low8);
        const double line_high10 = (line_turned10 > 0 ? line_low8 : line_high7);
        const double line_turned11 = ((line_low5 - line_low7) > 0 ? 1.0 : -1.0);
        const double line_low11 = (line_turned11 > 0 ? line_low7 : line_low5);
        const double line_high11 = (line_turned11 > 0 ? line_low5 : line_low7);
        const double line_turned12 = ((-line_low10 + line_low9) > 0 ? 1.0 : -1.0);
        const double line_low12 = (line_turned12 > 0 ? line_low10 : line_low9);
        const double line_high12 = (line_turned12 > 0 ? line_low9 : line_low10);
        const double line_turned13 = ((-line_high10 + line_high9) > 0 ? 1.0 : -1.0);
        const double line_low13 = (line_turned13 > 0 ? line_high10 : line_high9);
        const double line_high13 = (line_turned13 > 0 ? line_high9 : line_high10);
        const double line_turned14 = ((line_high6 - line_high8) > 0 ? 1.0 : -1.0);
        const double line_low14 = (line_turned14 > 0 ? line_high8 : line_high6);
        const double line_high14 = (line_turned14 > 0 ? line_high6 : line_high8);
        const double line_turned15 = ((-line_high11 + line_low13) > 0 ? 1.0 : -1.0);
        const double line_low15 = (line_turned15 > 0 ? line_high11 : line_low13);
        const double line_high15 = (line_turned15 > 0 ? line_low13 : line_high11);
        const double line_turned16 = ((-line_high12 + line_low14) > 0 ? 1.0 : -1.0);
        const double line_low16 = (line_turned16 > 0 ? line_high12 : line_low14);
        const double line_high16 = (line_turned16 > 0 ? line_low14 : line_high12);
        const double line_turned17 = ((line_low12 - line_low15) > 0 ? 1.0 : -1.0);
        const double line_low17 = (line_turned17 > 0 ? line_low15 : line_low12);
        const double line_high17 = (line_turned17 > 0 ? line_low12 : line_low15);
        const double line_turned18 = ((-line_high15 + line_low16) > 0 ? 1.0 : -1.0);
        const double line_low18 = (line_turned18 > 0 ? line_high15 : line_low16);
        const double line_high18 = (line_turned18 > 0 ? line_low16 : line_high15);
        const double line_turned19 = ((-line_high13 + line_high16) > 0 ? 1.0 : -1.0);
        const double line_low19 = (line_turned19 > 0 ? line_high13 : line_high16);
        const double line_high19 = (line_turned19 > 0 ? line_high16 : line_high13);
        const double line_turned20 = ((-line_cross9 + line_low11) > 0 ? 1.0 : -1.0);
        const double line_low20 = (line_turned20 > 0 ? line_cross9 : line_low11);
        const double line_high20 = (line_turned20 > 0 ? line_low11 : line_cross9);
        const double line_turned21 = ((line_high18 - line_high20) > 0 ? 1.0 : -1.0);
        const double line_low21 = (line_turned21 > 0 ? line_high20 : line_high18);
        const double line_high21 = (line_turned21 > 0 ? line_high18 : line_high20);
        const double line_turned22 = ((line_high17 - line_low21) > 0 ? 1.0 : -1.0);
        const double line_low22 = (line_turned22 > 0 ? line_low21 : line_high17);
        const double line_high22 = (line_turned22 > 0 ? line_high17 : line_low21);
        const double line_turned23 = ((line_low18 - line_low19) > 0 ? 1.0 : -1.0);
        const double line_low23 = (line_turned23 > 0 ? line_low19 : line_low18);
        const double line_high23 = (line_turned23 > 0 ? line_low18 : line_low19);
        const double line_turned24 = ((line_high19 - line_high21) > 0 ? 1.0 : -1.0);
        const double line_low24 = (line_turned24 > 0 ? line_high21 : line_high19);
        const double line_high24 = (line_turned24 > 0 ? line_high19 : line_high21);
        const double line_turned25 = ((line_low17 - line_low22) > 0 ? 1.0 : -1.0);
        const double line_low25 = (line_turned25 > 0 ? line_low22 : line_low17);
        const double line_high25 = (line_turned25 > 0 ? line_low17 : line_low22);
        const double line_turned26 = ((-line_high22 + line_low23) > 0 ? 1.0 : -1.0);
        const double line_low26 = (line_turned26 > 0 ? line_high22 : line_low23);
        const double line_high26 = (line_turned26 > 0 ? line_low23 : line_high22);
        const double line_turned27 = ((line_high23 - line_low24) > 0 ? 1.0 : -1.0);
        const double line_low27 = (line_turned27 > 0 ? line_low24 : line_high23);
        const double line_high27 = (line_turned27 > 0 ? line_high23 : line_low24);
        const double line_turned28 = ((line_high14 - line_high24) > 0 ? 1.0 : -1.0);
        const double line_low28 = (line_turned28 > 0 ? line_high24 : line_high14);
        const double line_high28 = (line_turned28 > 0 ? line_high14 : line_high24);
        const double line_gap1 = fabs(line_low20);
        const double line_away1 = (line_low20 > 0 ? 1.0 : -1.0);
        const double line_gap2 = fabs(line_low25);
        const double line_away2 = (line_low25 > 0 ? 1.0 : -1.0);
        const double line_gap3 = fabs(line_high25);
        const double line_away3 = (line_high25 > 0 ? 1.0 : -1.0);
        const double line_gap4 = fabs(line_low26);
        const double line_away4 = (line_low26 > 0 ? 1.0 : -1.0);
        const double line_gap5 = fabs(line_high26);
        const double line_away5 = (line_high26 > 0 ? 1.0 : -1.0);
        const double line_gap6 = fabs(line_low27);
        const double line_away6 = (line_low27 > 0 ? 1.0 : -1.0);
        const double line_gap7 = fabs(line_high27);
        const double line_away7 = (line_high27 > 0 ? 1.0 : -1.0);
        const double line_gap8 = fabs(line_low28);
        const double line_away8 = (line_low28 > 0 ? 1.0 : -1.0);
        const double line_gap9 = fabs(line_high28);
        const double line_away9 = (line_high28 > 0 ? 1.0 : -1.0);
        const double line_beyond1 = 0.5*sgdlimit_erfc(0.7071067811865476*line_gap1);
        const double line_beyond2 = 0.5*sgdlimit_erfc(0.7071067811865476*line_gap2);
        const double line_beyond3 = 0.5*sgdlimit_erfc(0.7071067811865476*line_gap3);
        const double line_beyond4 = 0.5*sgdlimit_erfc(0.7071067811865476*line_gap4);
        const double line_beyond5 = 0.5*sgdlimit_erfc(0.7071067811865476*line_gap5);
        const double line_beyond6 = 0.5*sgdlimit_erfc(0.7071067811865476*line_gap6);
        const double line_beyond7 = 0.5*sgdlimit_erfc(0.7071067811865476*line_gap7);
        const double line_beyond8 = 0.5*sgdlimit_erfc(0.7071067811865476*line_gap8);
        const double line_beyond9 = 0.5*sgdlimit_erfc(0.7071067811865476*line_gap9);
        const double line_rate12 = (line_turned4 > 0 ? line_rate4 : line_rate5);
        const double line_rate13 = (line_turned4 > 0 ? line_rate5 : line_rate4);
        const double line_rate18 = (line_turned7 > 0 ? line_rate12 : line_rate10);
        const double line_rate19 = (line_turned7 > 0 ? line_rate10 : line_rate12);
        const double line_rate20 = (line_turned8 > 0 ? line_rate13 : line_rate11);
        const double line_rate21 = (line_turned8 > 0 ? line_rate11 : line_rate13);
        const double line_rate24 = (line_turned10 > 0 ? line_rate19 : line_rate20);
        const double line_rate25 = (line_turned10 > 0 ? line_rate20 : line_rate19);
        const double line_rate81 = (line_turned4 > 0 ? line_rate73 : line_rate74);
        const double line_rate82 = (line_turned4 > 0 ? line_rate74 : line_rate73);
        const double line_rate87 = (line_turned7 > 0 ? line_rate81 : line_rate79);
        const double line_rate88 = (line_turned7 > 0 ? line_rate79 : line_rate81);
        const double line_rate89 = (line_turned8 > 0 ? line_rate82 : line_rate80);
        const double line_rate90 = (line_turned8 > 0 ? line_rate80 : line_rate82);
        const double line_rate93 = (line_turned10 > 0 ? line_rate88 : line_rate89);
        const double line_rate94 = (line_turned10 > 0 ? line_rate89 : line_rate88);
        const double line_rate150 = (line_turned4 > 0 ? line_rate142 : line_rate143);
        const double line_rate151 = (line_turned4 > 0 ? line_rate143 : line_rate142);
        const double line_rate156 = (line_turned7 > 0 ? line_rate150 : line_rate148);
        const double line_rate157 = (line_turned7 > 0 ? line_rate148 : line_rate150);
        const double line_rate158 = (line_turned8 > 0 ? line_rate151 : line_rate149);
        const double line_rate159 = (line_turned8 > 0 ? line_rate149 : line_rate151);
        const double line_rate162 = (line_turned10 > 0 ? line_rate157 : line_rate158);
        const double line_rate163 = (line_turned10 > 0 ? line_rate158 : line_rate157);
        const double g21 = 0.5*line_low20;
        const double line_middle1 = g21 - 20.0;
        const double line_side3 = ((line_h1 + line_middle1*(line_h2 + line_middle1*plane_p4)) > 0 ? 1.0 : -1.0);
        const double g22 = line_middle1*score_along;
        const double line_side2 = ((g22 + line_centre1) > 0 ? 1.0 : -1.0);
        const double line_switch1 = line_side2*line_side3;
        const double line_side4 = ((g22 + line_h3) > 0 ? 1.0 : -1.0);
        const double line_side5 = ((g22 + line_h4) > 0 ? 1.0 : -1.0);
        const double line_switch2 = -line_side4*line_side5;
        const double g23 = line_middle1*plane_p10;
        const double line_side6 = ((g23 + line_h5) > 0 ? 1.0 : -1.0);
        const double line_side8 = ((g23 + line_h7) > 0 ? 1.0 : -1.0);
        const double g24 = line_middle1*plane_p13;
        const double line_side7 = ((g24 + line_h6) > 0 ? 1.0 : -1.0);
        const double line_side9 = ((g24 + line_h8) > 0 ? 1.0 : -1.0);
        const double line_switch3 = (line_switch1 > 0 ? -line_side6*line_side7 : -line_side8*line_side9);
        const double line_inside1 = (line_switch2 > 0 ? (line_switch3 > 0 ? 1.0 : 0.0) : 0.0);
        const double g25 = 0.5*line_low25;
        const double line_middle2 = g21 + g25;
        const double line_side11 = ((line_h1 + line_middle2*(line_h2 + line_middle2*plane_p4)) > 0 ? 1.0 : -1.0);
        const double g26 = line_middle2*score_along;
        const double line_side10 = ((g26 + line_centre1) > 0 ? 1.0 : -1.0);
        const double line_switch4 = line_side10*line_side11;
        const double line_side12 = ((g26 + line_h3) > 0 ? 1.0 : -1.0);
        const double line_side13 = ((g26 + line_h4) > 0 ? 1.0 : -1.0);
        const double line_switch5 = -line_side12*line_side13;
        const double g27 = line_middle2*plane_p10;
        const double line_side14 = ((g27 + line_h5) > 0 ? 1.0 : -1.0);
        const double line_side16 = ((g27 + line_h7) > 0 ? 1.0 : -1.0);
        const double g28 = line_middle2*plane_p13;
        const double line_side15 = ((g28 + line_h6) > 0 ? 1.0 : -1.0);
        const double line_side17 = ((g28 + line_h8) > 0 ? 1.0 : -1.0);
        const double line_switch6 = (line_switch4 > 0 ? -line_side14*line_side15 : -line_side16*line_side17);
        const double line_inside2 = (line_switch5 > 0 ? (line_switch6 > 0 ? 1.0 : 0.0) : 0.0);
        const double line_change1 = -line_inside1 + line_inside2;
        const double line_outward1 = line_away1*line_change1;
        const double g29 = 0.5*line_high25;
        const double line_middle3 = g25 + g29;
        const double line_side19 = ((line_h1 + line_middle3*(line_h2 + line_middle3*plane_p4)) > 0 ? 1.0 : -1.0);
        const double g30 = line_middle3*score_along;
        const double line_side18 = ((g30 + line_centre1) > 0 ? 1.0 : -1.0);
        const double line_switch7 = line_side18*line_side19;
        const double line_side20 = ((g30 + line_h3) > 0 ? 1.0 : -1.0);
        const double line_side21 = ((g30 + line_h4) > 0 ? 1.0 : -1.0);
        const double line_switch8 = -line_side20*line_side21;
        const double g31 = line_middle3*plane_p10;
        const double line_side22 = ((g31 + line_h5) > 0 ? 1.0 : -1.0);
        const double line_side24 = ((g31 + line_h7) > 0 ? 1.0 : -1.0);
        const double g32 = line_middle3*plane_p13;
        const double line_side23 = ((g32 + line_h6) > 0 ? 1.0 : -1.0);
        const double line_side25 = ((g32 + line_h8) > 0 ? 1.0 : -1.0);
        const double line_switch9 = (line_switch7 > 0 ? -line_side22*line_side23 : -line_side24*line_side25);
        const double line_inside3 = (line_switch8 > 0 ? (line_switch9 > 0 ? 1.0 : 0.0) : 0.0);
        const double line_change2 = -line_inside2 + line_inside3;
        const double line_outward2 = line_away2*line_change2;
        const double g33 = 0.5*line_low26;
        const double line_middle4 = g29 + g33;
        const double line_side27 = ((line_h1 + line_middle4*(line_h2 + line_middle4*plane_p4)) > 0 ? 1.0 : -1.0);
        const double g34 = line_middle4*score_along;
        const double line_side26 = ((g34 + line_centre1) > 0 ? 1.0 : -1.0);
        const double line_switch10 = line_side26*line_side27;
        const double line_side28 = ((g34 + line_h3) > 0 ? 1.0 : -1.0);
        const double line_side29 = ((g34 + line_h4) > 0 ? 1.0 : -1.0);
        const double line_switch11 = -line_side28*line_side29;
        const double g35 = line_middle4*plane_p10;
        const double line_side30 = ((g35 + line_h5) > 0 ? 1.0 : -1.0);
        const double line_side32 = ((g35 + line_h7) > 0 ? 1.0 : -1.0);
        const double g36 = line_middle4*plane_p13;
        const double line_side31 = ((g36 + line_h6) > 0 ? 1.0 : -1.0);
        const double line_side33 = ((g36 + line_h8) > 0 ? 1.0 : -1.0);
        const double line_switch12 = (line_switch10 > 0 ? -line_side30*line_side31 : -line_side32*line_side33);
        const double line_inside4 = (line_switch11 > 0 ? (line_switch12 > 0 ? 1.0 : 0.0) : 0.0);
        const double line_change3 = -line_inside3 + line_inside4;
        const double line_outward3 = line_away3*line_change3;
        const double g37 = 0.5*line_high26;
        const double line_middle5 = g33 + g37;
        const double line_side35 = ((line_h1 + line_middle5*(line_h2 + line_middle5*plane_p4)) > 0 ? 1.0 : -1.0);
        const double g38 = line_middle5*score_along;
        const double line_side34 = ((g38 + line_centre1) > 0 ? 1.0 : -1.0);
        const double line_switch13 = line_side34*line_side35;
        const double line_side36 = ((g38 + line_h3) > 0 ? 1.0 : -1.0);
        const double line_side37 = ((g38 + line_h4) > 0 ? 1.0 : -1.0);
        const double line_switch14 = -line_side36*line_side37;
        const double g39 = line_middle5*plane_p10;
        const double line_side38 = ((g39 + line_h5) > 0 ? 1.0 : -1.0);
        const double line_side40 = ((g39 + line_h7) > 0 ? 1.0 : -1.0);
        const double g40 = line_middle5*plane_p13;
        const double line_side39 = ((g40 + line_h6) > 0 ? 1.0 : -1.0);
        const double line_side41 = ((g40 + line_h8) > 0 ? 1.0 : -1.0);
        const double line_switch15 = (line_switch13 > 0 ? -line_side38*line_side39 : -line_side40*line_side41);
        const double line_inside5 = (line_switch14 > 0 ? (line_switch15 > 0 ? 1.0 : 0.0) : 0.0);
        const double line_change4 = -line_inside4 + line_inside5;
        const double line_outward4 = line_away4*line_change4;
        const double g41 = 0.5*line_low27;
        const double line_middle6 = g37 + g41;
        const double line_side43 = ((line_h1 + line_middle6*(line_h2 + line_middle6*plane_p4)) > 0 ? 1.0 : -1.0);
        const double g42 = line_middle6*score_along;
        const double line_side42 = ((g42 + line_centre1) > 0 ? 1.0 : -1.0);
        const double line_switch16 = line_side42*line_side43;
        const double line_side44 = ((g42 + line_h3) > 0 ? 1.0 : -1.0);
        const double line_side45 = ((g42 + line_h4) > 0 ? 1.0 : -1.0);
        const double line_switch17 = -line_side44*line_side45;
        const double g43 = line_middle6*plane_p10;
        const double line_side46 = ((g43 + line_h5) > 0 ? 1.0 : -1.0);
        const double line_side48 = ((g43 + line_h7) > 0 ? 1.0 : -1.0);
        const double g44 = line_middle6*plane_p13;
        const double line_side47 = ((g44 + line_h6) > 0 ? 1.0 : -1.0);
        const double line_side49 = ((g44 + line_h8) > 0 ? 1.0 : -1.0);
        const double line_switch18 = (line_switch16 > 0 ? -line_side46*line_side47 : -line_side48*line_side49);
        const double line_inside6 = (line_switch17 > 0 ? (line_switch18 > 0 ? 1.0 : 0.0) : 0.0);
        const double line_change5 = -line_inside5 + line_inside6;
        const double line_outward5 = line_away5*line_change5;
        const double g45 = 0.5*line_high27;
        const double line_middle7 = g41 + g45;
        const double line_side51 = ((line_h1 + line_middle7*(line_h2 + line_middle7*plane_p4)) > 0 ? 1.0 : -1.0);
        const double g46 = line_middle7*score_along;
        const double line_side50 = ((g46 + line_centre1) > 0 ? 1.0 : -1.0);
        const double line_switch19 = line_side50*line_side51;
        const double line_side52 = ((g46 + line_h3) > 0 ? 1.0 : -1.0);
        const double line_side53 = ((g46 + line_h4) > 0 ? 1.0 : -1.0);
        const double line_switch20 = -line_side52*line_side53;
        const double g47 = line_middle7*plane_p10;
        const double line_side54 = ((g47 + line_h5) > 0 ? 1.0 : -1.0);
        const double line_side56 = ((g47 + line_h7) > 0 ? 1.0 : -1.0);
        const double g48 = line_middle7*plane_p13;
        const double line_side55 = ((g48 + line_h6) > 0 ? 1.0 : -1.0);
        const double line_side57 = ((g48 + line_h8) > 0 ? 1.0 : -1.0);
        const double line_switch21 = (line_switch19 > 0 ? -line_side54*line_side55 : -line_side56*line_side57);
        const double line_inside7 = (line_switch20 > 0 ? (line_switch21 > 0 ? 1.0 : 0.0) : 0.0);
        const double line_change6 = -line_inside6 + line_inside7;
        const double line_outward6 = line_away6*line_change6;
        const double g49 = 0.5*line_low28;
        const double line_middle8 = g45 + g49;
        const double line_side59 = ((line_h1 + line_middle8*(line_h2 + line_middle8*plane_p4)) > 0 ? 1.0 : -1.0);
        const double g50 = line_middle8*score_along;
        const double line_side58 = ((g50 + line_centre1) > 0 ? 1.0 : -1.0);
        const double line_switch22 = line_side58*line_side59;
        const double line_side60 = ((g50 + line_h3) > 0 ? 1.0 : -1.0);
        const double line_side61 = ((g50 + line_h4) > 0 ? 1.0 : -1.0);
        const double line_switch23 = -line_side60*line_side61;
        const double g51 = line_middle8*plane_p10;
        const double line_side62 = ((g51 + line_h5) > 0 ? 1.0 : -1.0);
        const double line_side64 = ((g51 + line_h7) > 0 ? 1.0 : -1.0);
        const double g52 = line_middle8*plane_p13;
        const double line_side63 = ((g52 + line_h6) > 0 ? 1.0 : -1.0);
        const double line_side65 = ((g52 + line_h8) > 0 ? 1.0 : -1.0);
        const double line_switch24 = (line_switch22 > 0 ? -line_side62*line_side63 : -line_side64*line_side65);
        const double line_inside8 = (line_switch23 > 0 ? (line_switch24 > 0 ? 1.0 : 0.0) : 0.0);
        const double line_change7 = -line_inside7 + line_inside8;
        const double line_outward7 = line_away7*line_change7;
        const double g53 = 0.5*line_high28;
        const double line_middle9 = g49 + g53;
        const double line_side67 = ((line_h1 + line_middle9*(line_h2 + line_middle9*plane_p4)) > 0 ? 1.0 : -1.0);
        const double line_middle10 = g53 + 20.0;
        const double line_side75 = ((line_h1 + line_middle10*(line_h2 + line_middle10*plane_p4)) > 0 ? 1.0 : -1.0);
        const double g54 = line_middle9*score_along;
        const double line_side66 = ((g54 + line_centre1) > 0 ? 1.0 : -1.0);
        const double line_switch25 = line_side66*line_side67;
        const double line_side68 = ((g54 + line_h3) > 0 ? 1.0 : -1.0);
        const double line_side69 = ((g54 + line_h4) > 0 ? 1.0 : -1.0);
        const double line_switch26 = -line_side68*line_side69;
        const double g55 = line_middle9*plane_p10;
        const double line_side70 = ((g55 + line_h5) > 0 ? 1.0 : -1.0);
        const double line_side72 = ((g55 + line_h7) > 0 ? 1.0 : -1.0);
        const double g56 = line_middle9*plane_p13;
        const double line_side71 = ((g56 + line_h6) > 0 ? 1.0 : -1.0);
        const double line_side73 = ((g56 + line_h8) > 0 ? 1.0 : -1.0);
        const double line_switch27 = (line_switch25 > 0 ? -line_side70*line_side71 : -line_side72*line_side73);
        const double line_inside9 = (line_switch26 > 0 ? (line_switch27 > 0 ? 1.0 : 0.0) : 0.0);
        const double g57 = line_middle10*score_along;
        const double line_side74 = ((g57 + line_centre1) > 0 ? 1.0 : -1.0);
        const double line_switch28 = line_side74*line_side75;
        const double line_side76 = ((g57 + line_h3) > 0 ? 1.0 : -1.0);
        const double line_side77 = ((g57 + line_h4) > 0 ? 1.0 : -1.0);
        const double line_switch29 = -line_side76*line_side77;
        const double g58 = line_middle10*plane_p10;
        const double line_side78 = ((g58 + line_h5) > 0 ? 1.0 : -1.0);
        const double line_side80 = ((g58 + line_h7) > 0 ? 1.0 : -1.0);
        const double g59 = line_middle10*plane_p13;
        const double line_side79 = ((g59 + line_h6) > 0 ? 1.0 : -1.0);
        const double line_side81 = ((g59 + line_h8) > 0 ? 1.0 : -1.0);
        const double line_switch30 = (line_switch28 > 0 ? -line_side78*line_side79 : -line_side80*line_side81);
        const double line_inside10 = (line_switch29 > 0 ? (line_switch30 > 0 ? 1.0 : 0.0) : 0.0);
        const double g60 = -line_inside9;
        const double line_change8 = -g60 - line_inside8;
        const double line_change9 = g60 + line_inside10;
        const double line_outward8 = line_away8*line_change8;
        const double line_outward9 = line_away9*line_change9;
        const double g61 = 0.5 - 0.5*line_away1;
        const double g62 = 0.5 - 0.5*line_away2;
        const double g63 = 0.5 - 0.5*line_away3;
        const double g64 = 0.5 - 0.5*line_away4;
        const double g65 = 0.5 - 0.5*line_away5;
        const double g66 = 0.5 - 0.5*line_away6;
        const double g67 = 0.5 - 0.5*line_away7;
        const double g68 = 0.5 - 0.5*line_away8;
        const double g69 = 0.5 - 0.5*line_away9;
        const double line_central1 = g61*line_change1 + g62*line_change2 + g63*line_change3 + g64*line_change4 + g65*line_change5 + g66*line_change6 + g67*line_change7 + g68*line_change8 + g69*line_change9 + line_inside1;
        const double line_moment1 = line_beyond1*line_outward1 + line_beyond2*line_outward2 + line_beyond3*line_outward3 + line_beyond4*line_outward4 + line_beyond5*line_outward5 + line_beyond6*line_outward6 + line_beyond7*line_outward7 + line_beyond8*line_outward8 + line_beyond9*line_outward9 + line_central1;
        const double g70 = line_away1*line_outward1;
        const double g71 = line_away2*line_outward2;
        const double g72 = line_away3*line_outward3;
        const double g73 = line_away4*line_outward4;
        const double g74 = line_away5*line_outward5;
        const double g75 = line_away6*line_outward6;
        const double g76 = line_away7*line_outward7;
        const double g77 = line_away8*line_outward8;
        const double g78 = line_away9*line_outward9;
        const double line_c13 = g79 + line_centre3;
        const double line_c24 = -g79 + line_centre3;
        const double line_c25 = -g79 + line_centre1 + line_centre2;
        const double line_c26 = line_c24*line_c25;
        const double line_c27 = gap_along*line_c25 + line_c15*line_c24;
        const double line_c28 = line_c26*line_c26;
        const double line_c29 = 2.0*line_c26*line_c27;
        const double line_c37 = -g79 + line_centre1;
        const double line_c38 = line_c26*line_c37;
        const double line_c39 = line_c26*score_along + line_c27*line_c37;
        const double line_c40 = line_c18*line_c37 + line_c27*score_along;
        const double line_c53 = line_c38*line_c38;
        const double line_c62 = line_c37*line_centre2;
        const double g80 = g79 + line_centre1;
        const double line_c14 = g80 + line_centre2;
        const double line_c16 = line_c13*line_c14;
        const double line_c17 = gap_along*line_c14 + line_c13*line_c15;
        const double line_c19 = line_c16*line_c16;
        const double line_c32 = g80;
        const double line_c33 = line_c16*line_c32;
        const double line_c34 = line_c16*score_along + line_c17*line_c32;
        const double line_c35 = line_c17*score_along + line_c18*line_c32;
        const double line_c46 = line_c33*line_c33;
        const double line_c59 = line_c32*line_centre2;
        const double g81 = 2.0*line_c16;
        const double line_c20 = g81*line_c17;
        const double line_c21 = g81*line_c18 + line_c17*line_c17;
        const double line_c22 = g82*line_c17;
        const double line_c30 = g82*line_c26 + line_c27*line_c27;
        const double line_c31 = g82*line_c27;
        const double g83 = (line_switch2 > 0 ? (line_switch3 > 0 ? 0.0 : 1.0) : 1.0);
        const double line_inside11 = (line_switch1 > 0 ? g83 : 0.0);
        const double line_inside21 = (line_switch1 > 0 ? 0.0 : g83);
        const double g84 = (line_switch5 > 0 ? (line_switch6 > 0 ? 0.0 : 1.0) : 1.0);
        const double line_inside12 = (line_switch4 > 0 ? g84 : 0.0);
        const double line_change10 = -line_inside11 + line_inside12;
        const double line_outward10 = line_away1*line_change10;
        const double line_inside22 = (line_switch4 > 0 ? 0.0 : g84);
        const double line_change19 = -line_inside21 + line_inside22;
        const double line_outward19 = line_away1*line_change19;
        const double g85 = (line_switch8 > 0 ? (line_switch9 > 0 ? 0.0 : 1.0) : 1.0);
        const double line_inside13 = (line_switch7 > 0 ? g85 : 0.0);
        const double line_change11 = -line_inside12 + line_inside13;
        const double line_outward11 = line_away2*line_change11;
        const double line_inside23 = (line_switch7 > 0 ? 0.0 : g85);
        const double line_change20 = -line_inside22 + line_inside23;
        const double line_outward20 = line_away2*line_change20;
        const double g86 = (line_switch11 > 0 ? (line_switch12 > 0 ? 0.0 : 1.0) : 1.0);
        const double line_inside14 = (line_switch10 > 0 ? g86 : 0.0);
        const double line_change12 = -line_inside13 + line_inside14;
        const double line_outward12 = line_away3*line_change12;
        const double line_inside24 = (line_switch10 > 0 ? 0.0 : g86);
        const double line_change21 = -line_inside23 + line_inside24;
        const double line_outward21 = line_away3*line_change21;
        const double g87 = (line_switch14 > 0 ? (line_switch15 > 0 ? 0.0 : 1.0) : 1.0);
        const double line_inside15 = (line_switch13 > 0 ? g87 : 0.0);
        const double line_change13 = -line_inside14 + line_inside15;
        const double line_outward13 = line_away4*line_change13;
        const double line_inside25 = (line_switch13 > 0 ? 0.0 : g87);
        const double line_change22 = -line_inside24 + line_inside25;
        const double line_outward22 = line_away4*line_change22;
        const double g88 = (line_switch17 > 0 ? (line_switch18 > 0 ? 0.0 : 1.0) : 1.0);
        const double line_inside16 = (line_switch16 > 0 ? g88 : 0.0);
        const double line_change14 = -line_inside15 + line_inside16;
        const double line_outward14 = line_away5*line_change14;
        const double line_inside26 = (line_switch16 > 0 ? 0.0 : g88);
        const double line_change23 = -line_inside25 + line_inside26;
        const double line_outward23 = line_away5*line_change23;
        const double g89 = (line_switch20 > 0 ? (line_switch21 > 0 ? 0.0 : 1.0) : 1.0);
        const double line_inside17 = (line_switch19 > 0 ? g89 : 0.0);
        const double line_change15 = -line_inside16 + line_inside17;
        const double line_outward15 = line_away6*line_change15;
        const double line_inside27 = (line_switch19 > 0 ? 0.0 : g89);
        const double line_change24 = -line_inside26 + line_inside27;
        const double line_outward24 = line_away6*line_change24;
        const double g90 = (line_switch23 > 0 ? (line_switch24 > 0 ? 0.0 : 1.0) : 1.0);
        const double line_inside18 = (line_switch22 > 0 ? g90 : 0.0);
        const double line_change16 = -line_inside17 + line_inside18;
        const double line_outward16 = line_away7*line_change16;
        const double line_inside28 = (line_switch22 > 0 ? 0.0 : g90);
        const double line_change25 = -line_inside27 + line_inside28;
        const double line_outward25 = line_away7*line_change25;
        const double g91 = (line_switch26 > 0 ? (line_switch27 > 0 ? 0.0 : 1.0) : 1.0);
        const double line_inside19 = (line_switch25 > 0 ? g91 : 0.0);
        const double line_change17 = -line_inside18 + line_inside19;
        const double line_outward17 = line_away8*line_change17;
        const double line_inside29 = (line_switch25 > 0 ? 0.0 : g91);
        const double line_change26 = -line_inside28 + line_inside29;
        const double line_outward26 = line_away8*line_change26;
        const double g92 = (line_switch29 > 0 ? (line_switch30 > 0 ? 0.0 : 1.0) : 1.0);
        const double line_inside20 = (line_switch28 > 0 ? g92 : 0.0);
        const double line_change18 = -line_inside19 + line_inside20;
        const double line_central2 = g61*line_change10 + g62*line_change11 + g63*line_change12 + g64*line_change13 + g65*line_change14 + g66*line_change15 + g67*line_change16 + g68*line_change17 + g69*line_change18 + line_inside11;
        const double line_outward18 = line_away9*line_change18;
        const double line_moment6 = line_beyond1*line_outward10 + line_beyond2*line_outward11 + line_beyond3*line_outward12 + line_beyond4*line_outward13 + line_beyond5*line_outward14 + line_beyond6*line_outward15 + line_beyond7*line_outward16 + line_beyond8*line_outward17 + line_beyond9*line_outward18 + line_central2;
        const double line_inside30 = (line_switch28 > 0 ? 0.0 : g92);
        const double line_change27 = -line_inside29 + line_inside30;
        const double line_central3 = g61*line_change19 + g62*line_change20 + g63*line_change21 + g64*line_change22 + g65*line_change23 + g66*line_change24 + g67*line_change25 + g68*line_change26 + g69*line_change27 + line_inside21;
        const double line_outward27 = line_away9*line_change27;
        const double line_moment11 = line_beyond1*line_outward19 + line_beyond2*line_outward20 + line_beyond3*line_outward21 + line_beyond4*line_outward22 + line_beyond5*line_outward23 + line_beyond6*line_outward24 + line_beyond7*line_outward25 + line_beyond8*line_outward26 + line_beyond9*line_outward27 + line_central3;
        const double g93 = line_away1*line_outward10;
        const double g94 = line_away2*line_outward11;
        const double g95 = line_away3*line_outward12;
        const double g96 = line_away4*line_outward13;
        const double g97 = line_away5*line_outward14;
        const double g98 = line_away6*line_outward15;
        const double g99 = line_away7*line_outward16;
        const double g100 = line_away8*line_outward17;
        const double g101 = line_away9*line_outward18;
        const double g102 = line_away1*line_outward19;
        const double g103 = line_away2*line_outward20;
        const double g104 = line_away3*line_outward21;
        const double g105 = line_away4*line_outward22;
        const double g106 = line_away5*line_outward23;
        const double g107 = line_away6*line_outward24;
        const double g108 = line_away7*line_outward25;
        const double g109 = line_away8*line_outward26;
        const double g110 = line_away9*line_outward27;
        const double g111 = 6.0*line_centre1;
        const double g112 = g111*g79;
        const double g113 = 3.0*(p_epsilon*p_epsilon)*(n*n) - g11 + 3.0*(line_centre1*line_centre1);
        const double line_c41 = g112 + g113;
        const double line_c44 = -g112 + g113;
        const double line_c42 = g111*score_along + g114 - g13;
        const double line_c45 = -g114 - g13 + 6.0*line_centre1*score_along;
        const double g115 = line_c36*line_low20;
        const double line_value1 = line_c33 + line_low20*(line_c34 + line_low20*(g115 + line_c35));
        const double line_value2 = line_c38 + line_low20*(line_c39 + line_low20*(g115 + line_c40));
        const double line_jump1 = line_change10*line_value1 + line_change19*line_value2;
        const double g116 = line_c36*line_low25;
        const double line_value3 = line_c33 + line_low25*(line_c34 + line_low25*(g116 + line_c35));
        const double line_value4 = line_c38 + line_low25*(line_c39 + line_low25*(g116 + line_c40));
        const double line_jump2 = line_change11*line_value3 + line_change20*line_value4;
        const double g117 = line_c36*line_high25;
        const double line_value5 = line_c33 + line_high25*(line_c34 + line_high25*(g117 + line_c35));
        const double line_value6 = line_c38 + line_high25*(line_c39 + line_high25*(g117 + line_c40));
        const double line_jump3 = line_change12*line_value5 + line_change21*line_value6;
        const double g118 = line_c36*line_low26;
        const double line_value7 = line_c33 + line_low26*(line_c34 + line_low26*(g118 + line_c35));
        const double line_value8 = line_c38 + line_low26*(line_c39 + line_low26*(g118 + line_c40));
        const double line_jump4 = line_change13*line_value7 + line_change22*line_value8;
        const double g119 = line_c36*line_high26;
        const double line_value9 = line_c33 + line_high26*(line_c34 + line_high26*(g119 + line_c35));
        const double line_value10 = line_c38 + line_high26*(line_c39 + line_high26*(g119 + line_c40));
        const double line_jump5 = line_change14*line_value9 + line_change23*line_value10;
        const double g120 = line_c36*line_low27;
        const double line_value11 = line_c33 + line_low27*(line_c34 + line_low27*(g120 + line_c35));
        const double line_value12 = line_c38 + line_low27*(line_c39 + line_low27*(g120 + line_c40));
        const double line_jump6 = line_change15*line_value11 + line_change24*line_value12;
        const double g121 = line_c36*line_high27;
        const double line_value13 = line_c33 + line_high27*(line_c34 + line_high27*(g121 + line_c35));
        const double line_value14 = line_c38 + line_high27*(line_c39 + line_high27*(g121 + line_c40));
        const double line_jump7 = line_change16*line_value13 + line_change25*line_value14;
        const double g122 = line_c36*line_low28;
        const double line_value15 = line_c33 + line_low28*(line_c34 + line_low28*(g122 + line_c35));
        const double line_value16 = line_c38 + line_low28*(line_c39 + line_low28*(g122 + line_c40));
        const double line_jump8 = line_change17*line_value15 + line_change26*line_value16;
        const double g123 = line_c36*line_high28;
        const double line_value17 = line_c33 + line_high28*(line_c34 + line_high28*(g123 + line_c35));
        const double line_value18 = line_c38 + line_high28*(line_c39 + line_high28*(g123 + line_c40));
        const double line_jump9 = line_change18*line_value17 + line_change27*line_value18;
        const double g124 = 2.0*line_centre1;
        const double g126 = 1.0/(line_root1*line_side1);
        const double line_rate2 = -g126*(g124 + g125*line_cross2);
        const double line_rate3 = g126*(g124 + g125*line_cross3);
        const double line_rate6 = (line_turned1 > 0 ? line_rate2 : line_rate1);
        const double line_rate7 = (line_turned1 > 0 ? line_rate1 : line_rate2);
        const double line_rate8 = (line_turned2 > 0 ? line_rate1 : line_rate3);
        const double line_rate9 = (line_turned2 > 0 ? line_rate3 : line_rate1);
        const double line_rate14 = (line_turned5 > 0 ? line_rate8 : line_rate6);
        const double line_rate15 = (line_turned5 > 0 ? line_rate6 : line_rate8);
        const double line_rate16 = (line_turned6 > 0 ? line_rate9 : line_rate7);
        const double line_rate17 = (line_turned6 > 0 ? line_rate7 : line_rate9);
        const double line_rate22 = (line_turned9 > 0 ? line_rate15 : line_rate16);
        const double line_rate23 = (line_turned9 > 0 ? line_rate16 : line_rate15);
        const double line_rate26 = (line_turned11 > 0 ? line_rate18 : line_rate14);
        const double line_rate27 = (line_turned11 > 0 ? line_rate14 : line_rate18);
        const double line_rate28 = (line_turned12 > 0 ? line_rate24 : line_rate22);
        const double line_rate29 = (line_turned12 > 0 ? line_rate22 : line_rate24);
        const double line_rate30 = (line_turned13 > 0 ? line_rate25 : line_rate23);
        const double line_rate31 = (line_turned13 > 0 ? line_rate23 : line_rate25);
        const double line_rate32 = (line_turned14 > 0 ? line_rate21 : line_rate17);
        const double line_rate33 = (line_turned14 > 0 ? line_rate17 : line_rate21);
        const double line_rate34 = (line_turned15 > 0 ? line_rate27 : line_rate30);
        const double line_rate35 = (line_turned15 > 0 ? line_rate30 : line_rate27);
        const double line_rate36 = (line_turned16 > 0 ? line_rate29 : line_rate32);
        const double line_rate37 = (line_turned16 > 0 ? line_rate32 : line_rate29);
        const double line_rate38 = (line_turned17 > 0 ? line_rate34 : line_rate28);
        const double line_rate39 = (line_turned17 > 0 ? line_rate28 : line_rate34);
        const double line_rate40 = (line_turned18 > 0 ? line_rate35 : line_rate36);
        const double line_rate41 = (line_turned18 > 0 ? line_rate36 : line_rate35);
        const double line_rate42 = (line_turned19 > 0 ? line_rate31 : line_rate37);
        const double line_rate43 = (line_turned19 > 0 ? line_rate37 : line_rate31);
        const double line_rate44 = (line_turned20 > 0 ? line_rate5 : line_rate26);
        const double line_rate45 = (line_turned20 > 0 ? line_rate26 : line_rate5);
        const double line_rate46 = (line_turned21 > 0 ? line_rate45 : line_rate41);
        const double line_rate47 = (line_turned21 > 0 ? line_rate41 : line_rate45);
        const double line_rate48 = (line_turned22 > 0 ? line_rate46 : line_rate39);
        const double line_rate49 = (line_turned22 > 0 ? line_rate39 : line_rate46);
        const double line_rate50 = (line_turned23 > 0 ? line_rate42 : line_rate40);
        const double line_rate51 = (line_turned23 > 0 ? line_rate40 : line_rate42);
        const double line_rate52 = (line_turned24 > 0 ? line_rate47 : line_rate43);
        const double line_rate53 = (line_turned24 > 0 ? line_rate43 : line_rate47);
        const double line_rate54 = (line_turned25 > 0 ? line_rate48 : line_rate38);
        const double line_rate55 = (line_turned25 > 0 ? line_rate38 : line_rate48);
        const double line_rate56 = (line_turned26 > 0 ? line_rate49 : line_rate50);
        const double line_rate57 = (line_turned26 > 0 ? line_rate50 : line_rate49);
        const double line_rate58 = (line_turned27 > 0 ? line_rate52 : line_rate51);
        const double line_rate59 = (line_turned27 > 0 ? line_rate51 : line_rate52);
        const double line_rate60 = (line_turned28 > 0 ? line_rate53 : line_rate33);
        const double line_rate61 = (line_turned28 > 0 ? line_rate33 : line_rate53);
        const double g127 = 2.0*line_c33;
        const double line_c47 = g127*line_c34;
        const double line_c48 = g127*line_c35 + line_c34*line_c34;
        const double g128 = 2.0*line_c34;
        const double line_c49 = g127*line_c36 + g128*line_c35;
        const double line_c50 = g128*line_c36 + line_c35*line_c35;
        const double line_c51 = g129*line_c35;
        const double line_c56 = g129*line_c38 + 2.0*line_c39*line_c40;
        const double line_c57 = g129*line_c39 + line_c40*line_c40;
        const double line_c58 = g129*line_c40;
        const double g130 = 2.0*line_c38;
        const double line_c54 = g130*line_c39;
        const double line_c55 = g130*line_c40 + line_c39*line_c39;
        const double g131 = line_centre2*score_along;
        const double line_c60 = g131 + label_along*line_c32;
        const double line_c63 = g131 + label_along*line_c37;
        const double line_rate71 = -g126*(-g12 - g132*line_cross2);
        const double line_rate72 = g126*(-g12 - g132*line_cross3);
        const double line_rate75 = (line_turned1 > 0 ? line_rate71 : 0.0);
        const double line_rate76 = (line_turned1 > 0 ? 0.0 : line_rate71);
        const double line_rate77 = (line_turned2 > 0 ? 0.0 : line_rate72);
        const double line_rate78 = (line_turned2 > 0 ? line_rate72 : 0.0);
        const double line_rate83 = (line_turned5 > 0 ? line_rate77 : line_rate75);
        const double line_rate84 = (line_turned5 > 0 ? line_rate75 : line_rate77);
        const double line_rate85 = (line_turned6 > 0 ? line_rate78 : line_rate76);
        const double line_rate86 = (line_turned6 > 0 ? line_rate76 : line_rate78);
        const double line_rate91 = (line_turned9 > 0 ? line_rate84 : line_rate85);
        const double line_rate92 = (line_turned9 > 0 ? line_rate85 : line_rate84);
        const double line_rate95 = (line_turned11 > 0 ? line_rate87 : line_rate83);
        const double line_rate96 = (line_turned11 > 0 ? line_rate83 : line_rate87);
        const double line_rate97 = (line_turned12 > 0 ? line_rate93 : line_rate91);
        const double line_rate98 = (line_turned12 > 0 ? line_rate91 : line_rate93);
        const double line_rate99 = (line_turned13 > 0 ? line_rate94 : line_rate92);
        const double line_rate100 = (line_turned13 > 0 ? line_rate92 : line_rate94);
        const double line_rate101 = (line_turned14 > 0 ? line_rate90 : line_rate86);
        const double line_rate102 = (line_turned14 > 0 ? line_rate86 : line_rate90);
        const double line_rate103 = (line_turned15 > 0 ? line_rate96 : line_rate99);
        const double line_rate104 = (line_turned15 > 0 ? line_rate99 : line_rate96);
        const double line_rate105 = (line_turned16 > 0 ? line_rate98 : line_rate101);
        const double line_rate106 = (line_turned16 > 0 ? line_rate101 : line_rate98);
        const double line_rate107 = (line_turned17 > 0 ? line_rate103 : line_rate97);
        const double line_rate108 = (line_turned17 > 0 ? line_rate97 : line_rate103);
        const double line_rate109 = (line_turned18 > 0 ? line_rate104 : line_rate105);
        const double line_rate110 = (line_turned18 > 0 ? line_rate105 : line_rate104);
        const double line_rate111 = (line_turned19 > 0 ? line_rate100 : line_rate106);
        const double line_rate112 = (line_turned19 > 0 ? line_rate106 : line_rate100);
        const double line_rate113 = (line_turned20 > 0 ? line_rate74 : line_rate95);
        const double line_rate114 = (line_turned20 > 0 ? line_rate95 : line_rate74);
        const double line_rate115 = (line_turned21 > 0 ? line_rate114 : line_rate110);
        const double line_rate116 = (line_turned21 > 0 ? line_rate110 : line_rate114);
        const double line_rate117 = (line_turned22 > 0 ? line_rate115 : line_rate108);
        const double line_rate118 = (line_turned22 > 0 ? line_rate108 : line_rate115);
        const double line_rate119 = (line_turned23 > 0 ? line_rate111 : line_rate109);
        const double line_rate120 = (line_turned23 > 0 ? line_rate109 : line_rate111);
        const double line_rate121 = (line_turned24 > 0 ? line_rate116 : line_rate112);
        const double line_rate122 = (line_turned24 > 0 ? line_rate112 : line_rate116);
        const double line_rate123 = (line_turned25 > 0 ? line_rate117 : line_rate107);
        const double line_rate124 = (line_turned25 > 0 ? line_rate107 : line_rate117);
        const double line_rate125 = (line_turned26 > 0 ? line_rate118 : line_rate119);
        const double line_rate126 = (line_turned26 > 0 ? line_rate119 : line_rate118);
        const double line_rate127 = (line_turned27 > 0 ? line_rate121 : line_rate120);
        const double line_rate128 = (line_turned27 > 0 ? line_rate120 : line_rate121);
        const double line_rate129 = (line_turned28 > 0 ? line_rate122 : line_rate102);
        const double line_rate130 = (line_turned28 > 0 ? line_rate102 : line_rate122);
        const double g134 = 3.0*line_centre1 + line_centre2;
        const double line_c64 = g133 + g134;
        const double line_c66 = line_c13*line_c64;
        const double line_c67 = gap_along*line_c64 + line_c13*line_c65;
        const double line_c69 = -g133 + g134;
        const double line_c70 = line_c24*line_c69;
        const double line_c71 = gap_along*line_c69 + line_c24*line_c65;
        const double g135 = 2.0*line_centre3;
        const double line_rate140 = -g126*(g135 + g136*line_cross2);
        const double line_rate141 = g126*(g135 + g136*line_cross3);
        const double line_rate144 = (line_turned1 > 0 ? line_rate140 : line_rate1);
        const double line_rate145 = (line_turned1 > 0 ? line_rate1 : line_rate140);
        const double line_rate146 = (line_turned2 > 0 ? line_rate1 : line_rate141);
        const double line_rate147 = (line_turned2 > 0 ? line_rate141 : line_rate1);
        const double line_rate152 = (line_turned5 > 0 ? line_rate146 : line_rate144);
        const double line_rate153 = (line_turned5 > 0 ? line_rate144 : line_rate146);
        const double line_rate154 = (line_turned6 > 0 ? line_rate147 : line_rate145);
        const double line_rate155 = (line_turned6 > 0 ? line_rate145 : line_rate147);
        const double line_rate160 = (line_turned9 > 0 ? line_rate153 : line_rate154);
        const double line_rate161 = (line_turned9 > 0 ? line_rate154 : line_rate153);
        const double line_rate164 = (line_turned11 > 0 ? line_rate156 : line_rate152);
        const double line_rate165 = (line_turned11 > 0 ? line_rate152 : line_rate156);
        const double line_rate166 = (line_turned12 > 0 ? line_rate162 : line_rate160);
        const double line_rate167 = (line_turned12 > 0 ? line_rate160 : line_rate162);
        const double line_rate168 = (line_turned13 > 0 ? line_rate163 : line_rate161);
        const double line_rate169 = (line_turned13 > 0 ? line_rate161 : line_rate163);
        const double line_rate170 = (line_turned14 > 0 ? line_rate159 : line_rate155);
        const double line_rate171 = (line_turned14 > 0 ? line_rate155 : line_rate159);
        const double line_rate172 = (line_turned15 > 0 ? line_rate165 : line_rate168);
        const double line_rate173 = (line_turned15 > 0 ? line_rate168 : line_rate165);
        const double line_rate174 = (line_turned16 > 0 ? line_rate167 : line_rate170);
        const double line_rate175 = (line_turned16 > 0 ? line_rate170 : line_rate167);
        const double line_rate176 = (line_turned17 > 0 ? line_rate172 : line_rate166);
        const double line_rate177 = (line_turned17 > 0 ? line_rate166 : line_rate172);
        const double line_rate178 = (line_turned18 > 0 ? line_rate173 : line_rate174);
        const double line_rate179 = (line_turned18 > 0 ? line_rate174 : line_rate173);
        const double line_rate180 = (line_turned19 > 0 ? line_rate169 : line_rate175);
        const double line_rate181 = (line_turned19 > 0 ? line_rate175 : line_rate169);
        const double line_rate182 = (line_turned20 > 0 ? line_rate143 : line_rate164);
        const double line_rate183 = (line_turned20 > 0 ? line_rate164 : line_rate143);
        const double line_rate184 = (line_turned21 > 0 ? line_rate183 : line_rate179);
        const double line_rate185 = (line_turned21 > 0 ? line_rate179 : line_rate183);
        const double line_rate186 = (line_turned22 > 0 ? line_rate184 : line_rate177);
        const double line_rate187 = (line_turned22 > 0 ? line_rate177 : line_rate184);
        const double line_rate188 = (line_turned23 > 0 ? line_rate180 : line_rate178);
        const double line_rate189 = (line_turned23 > 0 ? line_rate178 : line_rate180);
        const double line_rate190 = (line_turned24 > 0 ? line_rate185 : line_rate181);
        const double line_rate191 = (line_turned24 > 0 ? line_rate181 : line_rate185);
        const double line_rate192 = (line_turned25 > 0 ? line_rate186 : line_rate176);
        const double line_rate193 = (line_turned25 > 0 ? line_rate176 : line_rate186);
        const double line_rate194 = (line_turned26 > 0 ? line_rate187 : line_rate188);
        const double line_rate195 = (line_turned26 > 0 ? line_rate188 : line_rate187);
        const double line_rate196 = (line_turned27 > 0 ? line_rate190 : line_rate189);
        const double line_rate197 = (line_turned27 > 0 ? line_rate189 : line_rate190);
        const double line_rate198 = (line_turned28 > 0 ? line_rate191 : line_rate171);
        const double line_rate199 = (line_turned28 > 0 ? line_rate171 : line_rate191);
        const double g138 = line_c33*line_moment6;
        const double g143 = line_c38*line_moment11;
        const double g1 = sgdlimit_exp(-0.5*(line_gap1*line_gap1));
        const double line_density1 = 0.3989422804014327*g1;
        const double line_edge1 = line_density1*line_gap1;
        const double line_beyond10 = line_beyond1 + line_edge1;
        const double line_edge10 = line_edge1*line_gap1;
        const double line_beyond19 = 2.0*line_density1 + line_edge10;
        const double line_edge19 = line_edge10*line_gap1;
        const double line_beyond28 = 3.0*line_beyond10 + line_edge19;
        const double line_rate62 = line_density1*line_rate44;
        const double line_edge28 = line_edge19*line_gap1;
        const double line_beyond37 = 4.0*line_beyond19 + line_edge28;
        const double line_edge37 = line_edge28*line_gap1;
        const double line_beyond46 = 5.0*line_beyond28 + line_edge37;
        const double line_rate131 = line_density1*line_rate113;
        const double line_rate200 = line_density1*line_rate182;
        const double g2 = sgdlimit_exp(-0.5*(line_gap2*line_gap2));
        const double line_density2 = 0.3989422804014327*g2;
        const double line_edge2 = line_density2*line_gap2;
        const double line_beyond11 = line_beyond2 + line_edge2;
        const double line_edge11 = line_edge2*line_gap2;
        const double line_beyond20 = 2.0*line_density2 + line_edge11;
        const double line_edge20 = line_edge11*line_gap2;
        const double line_beyond29 = 3.0*line_beyond11 + line_edge20;
        const double line_rate63 = line_density2*line_rate54;
        const double line_edge29 = line_edge20*line_gap2;
        const double line_beyond38 = 4.0*line_beyond20 + line_edge29;
        const double line_edge38 = line_edge29*line_gap2;
        const double line_beyond47 = 5.0*line_beyond29 + line_edge38;
        const double line_rate132 = line_density2*line_rate123;
        const double line_rate201 = line_density2*line_rate192;
        const double g3 = sgdlimit_exp(-0.5*(line_gap3*line_gap3));
        const double line_density3 = 0.3989422804014327*g3;
        const double line_edge3 = line_density3*line_gap3;
        const double line_beyond12 = line_beyond3 + line_edge3;
        const double line_edge12 = line_edge3*line_gap3;
        const double line_beyond21 = 2.0*line_density3 + line_edge12;
        const double line_edge21 = line_edge12*line_gap3;
        const double line_beyond30 = 3.0*line_beyond12 + line_edge21;
        const double line_rate64 = line_density3*line_rate55;
        const double line_edge30 = line_edge21*line_gap3;
        const double line_beyond39 = 4.0*line_beyond21 + line_edge30;
        const double line_edge39 = line_edge30*line_gap3;
        const double line_beyond48 = 5.0*line_beyond30 + line_edge39;
        const double line_rate133 = line_density3*line_rate124;
        const double line_rate202 = line_density3*line_rate193;
        const double g4 = sgdlimit_exp(-0.5*(line_gap4*line_gap4));
        const double line_density4 = 0.3989422804014327*g4;
        const double line_edge4 = line_density4*line_gap4;
        const double line_beyond13 = line_beyond4 + line_edge4;
        const double line_edge13 = line_edge4*line_gap4;
        const double line_beyond22 = 2.0*line_density4 + line_edge13;
        const double line_edge22 = line_edge13*line_gap4;
        const double line_beyond31 = 3.0*line_beyond13 + line_edge22;
        const double line_rate65 = line_density4*line_rate56;
        const double line_edge31 = line_edge22*line_gap4;
        const double line_beyond40 = 4.0*line_beyond22 + line_edge31;
        const double line_edge40 = line_edge31*line_gap4;
        const double line_beyond49 = 5.0*line_beyond31 + line_edge40;
        const double line_rate134 = line_density4*line_rate125;
        const double line_rate203 = line_density4*line_rate194;
        const double g5 = sgdlimit_exp(-0.5*(line_gap5*line_gap5));
        const double line_density5 = 0.3989422804014327*g5;
        const double line_edge5 = line_density5*line_gap5;
        const double line_beyond14 = line_beyond5 + line_edge5;
        const double line_edge14 = line_edge5*line_gap5;
        const double line_beyond23 = 2.0*line_density5 + line_edge14;
        const double line_edge23 = line_edge14*line_gap5;
        const double line_beyond32 = 3.0*line_beyond14 + line_edge23;
        const double line_rate66 = line_density5*line_rate57;
        const double line_edge32 = line_edge23*line_gap5;
        const double line_beyond41 = 4.0*line_beyond23 + line_edge32;
        const double line_edge41 = line_edge32*line_gap5;
        const double line_beyond50 = 5.0*line_beyond32 + line_edge41;
        const double line_rate135 = line_density5*line_rate126;
        const double line_rate204 = line_density5*line_rate195;
        const double g6 = sgdlimit_exp(-0.5*(line_gap6*line_gap6));
        const double line_density6 = 0.3989422804014327*g6;
        const double line_edge6 = line_density6*line_gap6;
        const double line_beyond15 = line_beyond6 + line_edge6;
        const double line_edge15 = line_edge6*line_gap6;
        const double line_beyond24 = 2.0*line_density6 + line_edge15;
        const double line_edge24 = line_edge15*line_gap6;
        const double line_beyond33 = 3.0*line_beyond15 + line_edge24;
        const double line_rate67 = line_density6*line_rate58;
        const double line_edge33 = line_edge24*line_gap6;
        const double line_beyond42 = 4.0*line_beyond24 + line_edge33;
        const double line_edge42 = line_edge33*line_gap6;
        const double line_beyond51 = 5.0*line_beyond33 + line_edge42;
        const double line_rate136 = line_density6*line_rate127;
        const double line_rate205 = line_density6*line_rate196;
        const double g7 = sgdlimit_exp(-0.5*(line_gap7*line_gap7));
        const double line_density7 = 0.3989422804014327*g7;
        const double line_edge7 = line_density7*line_gap7;
        const double line_beyond16 = line_beyond7 + line_edge7;
        const double line_edge16 = line_edge7*line_gap7;
        const double line_beyond25 = 2.0*line_density7 + line_edge16;
        const double line_edge25 = line_edge16*line_gap7;
        const double line_beyond34 = 3.0*line_beyond16 + line_edge25;
        const double line_rate68 = line_density7*line_rate59;
        const double line_edge34 = line_edge25*line_gap7;
        const double line_beyond43 = 4.0*line_beyond25 + line_edge34;
        const double line_edge43 = line_edge34*line_gap7;
        const double line_beyond52 = 5.0*line_beyond34 + line_edge43;
        const double line_rate137 = line_density7*line_rate128;
        const double line_rate206 = line_density7*line_rate197;
        const double g8 = sgdlimit_exp(-0.5*(line_gap8*line_gap8));
        const double line_density8 = 0.3989422804014327*g8;
        const double line_edge8 = line_density8*line_gap8;
        const double line_beyond17 = line_beyond8 + line_edge8;
        const double line_edge17 = line_edge8*line_gap8;
        const double line_beyond26 = 2.0*line_density8 + line_edge17;
        const double line_edge26 = line_edge17*line_gap8;
        const double line_beyond35 = 3.0*line_beyond17 + line_edge26;
        const double line_rate69 = line_density8*line_rate60;
        const double line_edge35 = line_edge26*line_gap8;
        const double line_beyond44 = 4.0*line_beyond26 + line_edge35;
        const double line_edge44 = line_edge35*line_gap8;
        const double line_beyond53 = 5.0*line_beyond35 + line_edge44;
        const double line_rate138 = line_density8*line_rate129;
        const double line_rate207 = line_density8*line_rate198;
        const double g9 = sgdlimit_exp(-0.5*(line_gap9*line_gap9));
        const double line_density9 = 0.3989422804014327*g9;
        const double line_moment2 = g70*line_density1 + g71*line_density2 + g72*line_density3 + g73*line_density4 + g74*line_density5 + g75*line_density6 + g76*line_density7 + g77*line_density8 + g78*line_density9;
        const double line_edge9 = line_density9*line_gap9;
        const double line_beyond18 = line_beyond9 + line_edge9;
        const double line_moment3 = line_beyond10*line_outward1 + line_beyond11*line_outward2 + line_beyond12*line_outward3 + line_beyond13*line_outward4 + line_beyond14*line_outward5 + line_beyond15*line_outward6 + line_beyond16*line_outward7 + line_beyond17*line_outward8 + line_beyond18*line_outward9 + line_central1;
        const double line_edge18 = line_edge9*line_gap9;
        const double line_beyond27 = 2.0*line_density9 + line_edge18;
        const double line_moment4 = g70*line_beyond19 + g71*line_beyond20 + g72*line_beyond21 + g73*line_beyond22 + g74*line_beyond23 + g75*line_beyond24 + g76*line_beyond25 + g77*line_beyond26 + g78*line_beyond27;
        const double line_edge27 = line_edge18*line_gap9;
        const double line_beyond36 = 3.0*line_beyond18 + line_edge27;
        const double line_moment5 = line_beyond28*line_outward1 + line_beyond29*line_outward2 + line_beyond30*line_outward3 + line_beyond31*line_outward4 + line_beyond32*line_outward5 + line_beyond33*line_outward6 + line_beyond34*line_outward7 + line_beyond35*line_outward8 + line_beyond36*line_outward9 + 3.0*line_central1;
        const double line_moment7 = g100*line_density8 + g101*line_density9 + g93*line_density1 + g94*line_density2 + g95*line_density3 + g96*line_density4 + g97*line_density5 + g98*line_density6 + g99*line_density7;
        const double line_moment8 = line_beyond10*line_outward10 + line_beyond11*line_outward11 + line_beyond12*line_outward12 + line_beyond13*line_outward13 + line_beyond14*line_outward14 + line_beyond15*line_outward15 + line_beyond16*line_outward16 + line_beyond17*line_outward17 + line_beyond18*line_outward18 + line_central2;
        const double line_moment9 = g100*line_beyond26 + g101*line_beyond27 + g93*line_beyond19 + g94*line_beyond20 + g95*line_beyond21 + g96*line_beyond22 + g97*line_beyond23 + g98*line_beyond24 + g99*line_beyond25;
        const double line_moment10 = line_beyond28*line_outward10 + line_beyond29*line_outward11 + line_beyond30*line_outward12 + line_beyond31*line_outward13 + line_beyond32*line_outward14 + line_beyond33*line_outward15 + line_beyond34*line_outward16 + line_beyond35*line_outward17 + line_beyond36*line_outward18 + 3.0*line_central2;
        const double line_moment12 = g102*line_density1 + g103*line_density2 + g104*line_density3 + g105*line_density4 + g106*line_density5 + g107*line_density6 + g108*line_density7 + g109*line_density8 + g110*line_density9;
        const double line_moment13 = line_beyond10*line_outward19 + line_beyond11*line_outward20 + line_beyond12*line_outward21 + line_beyond13*line_outward22 + line_beyond14*line_outward23 + line_beyond15*line_outward24 + line_beyond16*line_outward25 + line_beyond17*line_outward26 + line_beyond18*line_outward27 + line_central3;
        const double line_moment14 = g102*line_beyond19 + g103*line_beyond20 + g104*line_beyond21 + g105*line_beyond22 + g106*line_beyond23 + g107*line_beyond24 + g108*line_beyond25 + g109*line_beyond26 + g110*line_beyond27;
        const double line_moment15 = line_beyond28*line_outward19 + line_beyond29*line_outward20 + line_beyond30*line_outward21 + line_beyond31*line_outward22 + line_beyond32*line_outward23 + line_beyond33*line_outward24 + line_beyond34*line_outward25 + line_beyond35*line_outward26 + line_beyond36*line_outward27 + 3.0*line_central3;
        const double line_rate70 = line_density9*line_rate61;
        const double line_edge36 = line_edge27*line_gap9;
        const double line_beyond45 = 4.0*line_beyond27 + line_edge36;
        const double line_moment16 = g100*line_beyond44 + g101*line_beyond45 + g93*line_beyond37 + g94*line_beyond38 + g95*line_beyond39 + g96*line_beyond40 + g97*line_beyond41 + g98*line_beyond42 + g99*line_beyond43;
        const double line_edge45 = line_edge36*line_gap9;
        const double line_beyond54 = 5.0*line_beyond36 + line_edge45;
        const double line_moment17 = line_beyond46*line_outward10 + line_beyond47*line_outward11 + line_beyond48*line_outward12 + line_beyond49*line_outward13 + line_beyond50*line_outward14 + line_beyond51*line_outward15 + line_beyond52*line_outward16 + line_beyond53*line_outward17 + line_beyond54*line_outward18 + 15.0*line_central2;
        const double line_moment18 = g102*line_beyond37 + g103*line_beyond38 + g104*line_beyond39 + g105*line_beyond40 + g106*line_beyond41 + g107*line_beyond42 + g108*line_beyond43 + g109*line_beyond44 + g110*line_beyond45;
        const double line_moment19 = line_beyond46*line_outward19 + line_beyond47*line_outward20 + line_beyond48*line_outward21 + line_beyond49*line_outward22 + line_beyond50*line_outward23 + line_beyond51*line_outward24 + line_beyond52*line_outward25 + line_beyond53*line_outward26 + line_beyond54*line_outward27 + 15.0*line_central3;
        const double line_rate139 = line_density9*line_rate130;
        const double line_rate208 = line_density9*line_rate199;
        const double g139 = line_c34*line_moment7;
        const double g140 = line_c35*line_moment8;
        const double g141 = line_c36*line_moment14;
        const double g142 = line_c36*line_moment9;
        const double g144 = line_c39*line_moment12;
        const double g145 = line_c40*line_moment13;
        of_J_R[k] = weights[k] * (g137*line_moment10 + g137*line_moment15 + 0.25*line_c10*line_moment3 + 0.25*line_c11*line_moment4 + 0.25*line_c12*line_moment5 + 0.25*line_c19*line_moment6 + 0.25*line_c20*line_moment7 + 0.25*line_c21*line_moment8 + 0.25*line_c22*line_moment9 + 0.25*line_c28*line_moment11 + 0.25*line_c29*line_moment12 + 0.25*line_c30*line_moment13 + 0.25*line_c31*line_moment14 + 0.25*line_c8*line_moment1 + 0.25*line_c9*line_moment2);
        of_J_A[k] = weights[k] * (g138 + g139 + g140 + g141 + g142 + g143 + g144 + g145);
        of_J_B[k] = weights[k] * (line_c41*line_moment6 + line_c42*line_moment7 + line_c43*line_moment13 + line_c43*line_moment8 + line_c44*line_moment11 + line_c45*line_moment12 + line_jump1*line_rate62 + line_jump2*line_rate63 + line_jump3*line_rate64 + line_jump4*line_rate65 + line_jump5*line_rate66 + line_jump6*line_rate67 + line_jump7*line_rate68 + line_jump8*line_rate69 + line_jump9*line_rate70);
        of_J_F[k] = weights[k] * (p_epsilon*g138 + p_epsilon*g139 + p_epsilon*g140 - p_epsilon*g141 + p_epsilon*g142 - p_epsilon*g143 - p_epsilon*g144 - p_epsilon*g145);
        of_J_I[k] = weights[k] * (line_c46*line_moment6 + line_c47*line_moment7 + line_c48*line_moment8 + line_c49*line_moment9 + line_c50*line_moment10 + line_c51*line_moment16 + line_c52*line_moment17 + line_c52*line_moment19 + line_c53*line_moment11 + line_c54*line_moment12 + line_c55*line_moment13 + line_c56*line_moment14 + line_c57*line_moment15 + line_c58*line_moment18);
        of_J_D[k] = weights[k] * (-g146*line_moment13 - g146*line_moment8 - 2.0*line_c59*line_moment6 - 2.0*line_c60*line_moment7 - 2.0*line_c62*line_moment11 - 2.0*line_c63*line_moment12 + line_jump1*line_rate131 + line_jump2*line_rate132 + line_jump3*line_rate133 + line_jump4*line_rate134 + line_jump5*line_rate135 + line_jump6*line_rate136 + line_jump7*line_rate137 + line_jump8*line_rate138 + line_jump9*line_rate139);
        of_J_BD[k] = weights[k] * (line_c66*line_moment6 + line_c67*line_moment7 + line_c68*line_moment13 + line_c68*line_moment8 + line_c70*line_moment11 + line_c71*line_moment12 + line_jump1*line_rate200 + line_jump2*line_rate201 + line_jump3*line_rate202 + line_jump4*line_rate203 + line_jump5*line_rate204 + line_jump6*line_rate205 + line_jump7*line_rate206 + line_jump8*line_rate207 + line_jump9*line_rate208);
      }
      if (out_R) sgdlimit_add(of_J_R, &J_R, &total_J_R);
      if (out_A) sgdlimit_add(of_J_A, &J_A, &total_J_A);
      if (out_B) sgdlimit_add(of_J_B, &J_B, &total_J_B);
      if (out_F) sgdlimit_add(of_J_F, &J_F, &total_J_F);
      if (out_I) sgdlimit_add(of_J_I, &J_I, &total_J_I);
      if (out_D) sgdlimit_add(of_J_D, &J_D, &total_J_D);
      if (out_BD) sgdlimit_add(of_J_BD, &J_BD, &total_J_BD);
      const double longest = SGDLIMIT_LONGEST_PANEL / (edges[q + 1] - edges[q]);
      enough = sgdlimit_is_beyond(q, middle, edges, below, above);
      enough = enough && (!(out_R) || longest * sgdlimit_outermost(of_J_R, q >= middle) <= SGDLIMIT_NEGLIGIBLE * total_J_R);
      enough = enough && (!(out_A) || longest * sgdlimit_outermost(of_J_A, q >= middle) <= SGDLIMIT_NEGLIGIBLE * total_J_A);
      enough = enough && (!(out_B) || longest * sgdlimit_outermost(of_J_B, q >= middle) <= SGDLIMIT_NEGLIGIBLE * total_J_B);
      enough = enough && (!(out_F) || longest * sgdlimit_outermost(of_J_F, q >= middle) <= SGDLIMIT_NEGLIGIBLE * total_J_F);
      enough = enough && (!(out_I) || longest * sgdlimit_outermost(of_J_I, q >= middle) <= SGDLIMIT_NEGLIGIBLE * total_J_I);
      enough = enough && (!(out_D) || longest * sgdlimit_outermost(of_J_D, q >= middle) <= SGDLIMIT_NEGLIGIBLE * total_J_D);
      enough = enough && (!(out_BD) || longest * sgdlimit_outermost(of_J_BD, q >= middle) <= SGDLIMIT_NEGLIGIBLE * total_J_BD);
    }
  }
  const double c1 = m + m_star;
  const double c2 = beta + 1.0;
  const double c3 = Q_perp + Q_star*(c2*c2) + c1*c1;
  const double c4 = Q_star*beta1*c2;
  const double c5 = 2.0*Q_perp + 2.0*c4;
  if (out_R) *out_R = J_R;
  if (out_A) *out_A = J_A;
  if (out_B) *out_B = J_B;
  if (out_D) *out_D = J_D;
  if (out_F) *out_F = J_F;
  if (out_I) *out_I = J_I;
  if (out_BD) *out_BD = J_BD;
  if (out_clean_risk) *out_clean_risk = 0.25*c3*(Q_perp + Q_star*(beta1*beta1)) + 0.25*c5*(Q_perp + c1*dm + c4) + 0.25*dm*(c1*c5 + c3*dm);
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
const char *sgdlimit_score_names(void) { return "n,m_star,Q_star,m,dm,beta,beta1,Q_perp"; }
/* What must be positive for the equations to hold. */
const char *sgdlimit_positive_names(void) { return ""; }

/* Coefficients of one class at given scores (in the order of sgdlimit_score_names), label and parameters. */
void sgdlimit_coefficients(const double *score_values, double y, const double *par, double *out) {
  score w;
  w.n = score_values[0];
  w.m_star = score_values[1];
  w.Q_star = score_values[2];
  w.m = score_values[3];
  w.dm = score_values[4];
  w.beta = score_values[5];
  w.beta1 = score_values[6];
  w.Q_perp = score_values[7];
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
