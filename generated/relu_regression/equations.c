/* The high-dimensional limit of streaming SGD on one model: the coefficients and the right-hand side.
 *   loss       (Max(0, r) - y)**2/2
 *   target     Teacher('Max(0, r_star)')
 *   adversary  none
 *
 * Written by sgdlimit, generator format 24. To write it again:
 *   sgdlimit generate SPEC --out DIRECTORY --parts equations
 * It stands alone: cc -O3 -c this_file.c; link with -lm. The interface is the struct sgdlimit_problem and the
 * functions sgdlimit_*. The mathematics is arXiv 2607.00207, in the notation of docs/theory.md.
 *
 * Contents
 *   The problem: what a caller hands to a kernel, and what it gets back
 *   Elementary functions that loops over many arguments can vectorise
 *   Tail moments of the normal distribution
 *   Tail moments of the bivariate normal distribution
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

/* Phi(x) */
LANEWISE double normal_cdf(double x) {
  const double tail = sgdlimit_normal_tail(fabs(x));
  return x < 0 ? tail : 1.0 - tail;
}

LANEWISE double square(double x) { return x * x; }

/* NaN if one of the two is, which fmax and fmin would swallow. */
LANEWISE double larger(double a, double b) { return ((a > b) | (a != a)) ? a : b; }

/* M_k(h), the integral over z > h of (z - h)^k phi(z) dz for h >= 0 */
LANEWISE double tail_moment0(double h) { return sgdlimit_normal_tail(h); }

LANEWISE double tail_moment1(double h) { return sgdlimit_tail_ratio(h) * sgdlimit_normal_tail(h); }

LANEWISE double tail_moment2(double h) {
  return h > 50.0 ? 0.0 : (1.0 - h * sgdlimit_tail_ratio(h)) * sgdlimit_normal_tail(h);
}

/* ---- Tail moments of the normal distribution ---------------------------------------------------------------------
 * M_k(h) = integral over z > h of (z - h)^k phi(z) dz for h >= 0: what lies beyond a kink. They obey
 * M_{k+1} = k M_{k-1} - h M_k with M_1 + h M_0 = phi(h), of which they are the smallest solution: forward, the recursion
 * loses digits the more the larger h is; backward (J. C. P. Miller) it gains them, the faster the larger h is. Forward up
 * to h = 5 at order 2 and to h = 3 at order 6 at most four digits are lost; backward from there, (sqrt(order) + 21/h)^2 steps
 * leave an error below the rounding. Backward it is the recursion of T_k = M_k/k!, which has no division:
 * T_{k-1} = (k + 1) T_{k+1} + h T_k. */
static inline double sgdlimit_forward_until(int order) { return order > 2 ? 3.0 : 5.0; }

/* M_k(h)/phi(h), which meets an exponential that would overflow alone. */
static inline void sgdlimit_far_tail_moments(double h, int order, double *moments) {
  const int most = order > 1 ? order : 1;
  if (h > 1e9) {   /* the leading term of k!/h^(k+1) (1 - ...) is all that a double sees */
    moments[0] = 1 / h;
    for (int k = 0; k < most; k++) moments[k + 1] = (k + 1) * moments[k] / h;
    return;
  }
  const double root = sqrt(order) + 21 / h;   /* e^-42 is below the rounding */
  double above = 0, here = 1;   /* T_{k+1} and T_k, of any size: scaled in the end */
  int k = (int)(root * root) + 10;
  for (; k > most; k--) {
    const double rest = (k + 1) * above;
    above = here;
    here = h * here + rest;
  }
  moments[k] = here;
  for (; k > 0; k--) {
    const double rest = (k + 1) * above;
    above = here;
    here = h * here + rest;
    moments[k - 1] = here;
  }
  double scale = 1 / (moments[1] + h * moments[0]);
  for (k = 0; k <= most; k++, scale *= k) moments[k] *= scale;
}
static inline void sgdlimit_scaled_tail_moments(double h, int order, double *moments) {
  if (h < sgdlimit_forward_until(order)) {
    const double ratio = sgdlimit_tail_ratio(h);
    moments[0] = 1 / (h + ratio);
    moments[1] = ratio * moments[0];
    for (int k = 1; k < order; k++) moments[k + 1] = k * moments[k - 1] - h * moments[k];
  } else {
    sgdlimit_far_tail_moments(h, order, moments);
  }
}

/* M_k itself. */
static inline void sgdlimit_tail_moments(double h, int order, double *moments) {
  const double density = sgdlimit_normal_density(h);
  if (density > 0)
    sgdlimit_scaled_tail_moments(h, order, moments);
  else
    for (int k = 0; k <= (order > 1 ? order : 1); k++) moments[k] = 1;
  for (int k = 0; k <= (order > 1 ? order : 1); k++) moments[k] *= density;
}

/* ---- Tail moments of the bivariate normal distribution -----------------------------------------------------------
 * E[(x - h1)_+^j (y - h2)_+^k] for standard normal x, y with correlation rho, h1, h2 >= 0, and rho_perp = sqrt(1 - rho^2)
 * given on its own. At rho = -1 it is 0, and Price's theorem gives its derivatives in rho, so that with j >= k, n = j - k,
 *     E = j!/n! * integral over -1 < q < rho of (rho - q)^k F_n(q) dq,
 *     F_0(q) = density of (x, y) at (h1, h2) under correlation q,
 *     F_n(q) = n phi(h2) sqrt(1 - q^2)^(n-1) M_{n-1}((h1 - q h2)/sqrt(1 - q^2)).
 * Nothing is subtracted: the value is relatively accurate in the tails and at rho = 1, rho = -1 and 0. The half with q > 0
 * and the half with q < 0 are integrated in t, |q| = (1 - t^2)/(1 + t^2), by Gauss-Legendre panels that start at the peak,
 * over each of which the integrand falls by at most e^6, more where it is small already, and that are graded towards the
 * singularity at t = 0. */
enum { SGDLIMIT_TAIL_POINTS = 16, SGDLIMIT_TAIL_PANELS = 400 };

typedef struct sgdlimit_tail {
  double h1, h2;   /* of the higher and of the lower power */
  int n, k;
  double sign;     /* of q in this half */
} sgdlimit_tail;

/* -log F_n up to what varies slowly, and the steps of F_n where it does not fall */
static double sgdlimit_tail_fall(const sgdlimit_tail *p, double t) {
  const double apart = p->h1 - p->sign * p->h2, t2 = t * t;
  if (p->n > 0) {
    const double v = apart == 0 ? p->h1 * t : (apart + (p->h1 + p->sign * p->h2) * t2) / (2 * t);
    if (v < 0) return v > -9 ? 3 * v : -27;
    return 0.5 * v * v;
  }
  const double first = apart == 0 ? 0 : apart * (1 + t2) / t;
  return 0.125 * first * first + 0.5 * p->sign * p->h1 * p->h2 * (1 + t2);
}

/* Panels from t = from to t = to; returns their number. */
static int sgdlimit_tail_march(const sgdlimit_tail *p, double from, double to, double least, double (*panels)[2], int count) {
  const double depth = 34 + 8 * (p->k + 1);
  double here = from, height = sgdlimit_tail_fall(p, from);
  while (here != to && count < SGDLIMIT_TAIL_PANELS) {
    double next = to, fall;
    const double small = height - least - 8 * p->k, limit = small > 0 ? 6 + 0.6 * small : 6;
    const int singular = p->h1 != p->sign * p->h2 && height > -27;
    if (singular && next < here / 3) next = here / 3;
    if (singular && here > 0 && next > 3 * here) next = 3 * here;
    for (;;) {
      fall = sgdlimit_tail_fall(p, next);
      if (fabs(fall - height) <= limit) break;
      const double middle = 0.5 * (here + next);
      if (middle == here || middle == next) break;
      next = middle;
    }
    panels[count][0] = here < next ? here : next;
    panels[count++][1] = here < next ? next : here;
    here = next;
    height = fall;
    if (height > least + depth) break;
  }
  return count;
}

/* M_n(v), v of either sign */
static double sgdlimit_tail_moment(int n, double v) {
  const double below = normal_cdf(-v);
  if (n == 0) return below;
  if (v < 0 || (n == 1 && v < 6)) {
    double before = below, here = sgdlimit_normal_density(v) - v * below;
    for (int k = 1; k < n; k++) {
      const double next = k * before - v * here;
      before = here;
      here = next;
    }
    return here;
  }
  if (n == 1) {   /* phi(v) (1 - v times Mills' ratio), by Laplace's continued fraction */
    double tail = v;
    for (int k = 24; k > 1; k--) tail = v + k / tail;
    return sgdlimit_normal_density(v) / (v * tail + 1);
  }
  double moments[16];
  sgdlimit_tail_moments(v, n, moments);
  return moments[n];
}

static double sgdlimit_tail_half(const sgdlimit_tail *p, double from, double to, double end, double end_sign) {
  static const double node[SGDLIMIT_TAIL_POINTS / 2] = {
    0.09501250983763744, 0.2816035507792589, 0.45801677765722737, 0.6178762444026438,
    0.755404408355003, 0.8656312023878318, 0.9445750230732326, 0.9894009349916499,
  };
  static const double weight[SGDLIMIT_TAIL_POINTS / 2] = {
    0.1894506104550685, 0.18260341504492358, 0.16915651939500254, 0.14959598881657674,
    0.12462897125553388, 0.09515851168249279, 0.062253523938647894, 0.027152459411754096,
  };
  double panels[SGDLIMIT_TAIL_PANELS][2], total = 0;
  /* the peak: where |q| = min(h1, h2)/max(h1, h2), or the end nearest to it */
  double peak = p->sign < 0 || p->h1 + p->h2 == 0 ? to : sqrt(fabs(p->h1 - p->h2) / (p->h1 + p->h2));
  if (peak < from) peak = from;
  if (peak > to) peak = to;
  double least = sgdlimit_tail_fall(p, peak > 0 ? peak : p->h1 == p->sign * p->h2 ? 0 : to);
  if (least < 0) least = 0;
  int count = sgdlimit_tail_march(p, peak, to, least, panels, 0);
  count = sgdlimit_tail_march(p, peak, from, least, panels, count);
  for (int i = 0; i < count; i++) {
    const double half = 0.5 * (panels[i][1] - panels[i][0]), middle = 0.5 * (panels[i][1] + panels[i][0]);
    double sum = 0;
    for (int l = 0; l < SGDLIMIT_TAIL_POINTS; l++) {
      const double t = middle + half * (l % 2 ? node[l / 2] : -node[l / 2]), t2 = t * t;
      const double root = 2 * t / (1 + t2), apart = p->h1 - p->sign * p->h2;
      double value = 1 / (1 + t2);
      if (p->n == 0) {
        const double first = apart * (1 + t2) / t;
        value *= sgdlimit_exp(-0.125 * first * first - 0.5 * p->sign * p->h1 * p->h2 * (1 + t2));
      } else {
        value *= sgdlimit_tail_moment(p->n - 1, (apart + (p->h1 + p->sign * p->h2) * t2) / (2 * t));
        for (int m = 0; m < p->n; m++) value *= root;
      }
      /* rho - q */
      const double same = 2 * (end - t) * (end + t) / ((1 + t2) * (1 + end * end));
      const double step = end_sign != p->sign ? (1 - t2) / (1 + t2) + (1 - end * end) / (1 + end * end) : -p->sign * same;
      for (int m = 0; m < p->k; m++) value *= step;
      sum += weight[l / 2] * value;
    }
    total += half * sum;
  }
  return total;
}

static double sgdlimit_bivariate_tail(int j, int k, double h1, double h2, double rho, double rho_perp) {
  if (j < k) return sgdlimit_bivariate_tail(k, j, h2, h1, rho, rho_perp);
  if (!(h1 < 40 && h2 < 40)) return h1 == h1 && h2 == h2 ? 0 : h1 + h2;
  const double size = hypot(rho, rho_perp);
  /* without a direction (a score without variance): independent */
  const double end = size > 0 ? rho_perp / (size + fabs(rho)) : 1, end_sign = rho > 0 ? 1 : -1;
  const int n = j - k;
  const sgdlimit_tail negative = {h1, h2, n, k, -1}, positive = {h1, h2, n, k, 1};
  double value = sgdlimit_tail_half(&negative, 0, rho > 0 ? 1 : end, end, end_sign);
  if (rho > 0) value += sgdlimit_tail_half(&positive, end, 1, end, end_sign);
  for (int m = n + 1; m <= j; m++) value *= m;
  /* 1/pi from the density, 2 phi(h2) and n from F_n */
  return n == 0 ? 0.3183098861837907 * value : 2 * n * sgdlimit_normal_density(h2) * value;
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
 * loss       (Max(0, r) - y)**2/2
 * target     Teacher('Max(0, r_star)')
 * adversary  none
 */

/* The law of the score given the class, in the symbols of the theory (section 2). */
typedef struct score { double m_star, Q_star, m, dm, beta, beta1, Q_perp; } score;

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
  (void)n;
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
  w->m_star = m_star;
  w->Q_star = Q_star;
  w->m = m;
  w->dm = dm;
  w->beta = beta;
  w->beta1 = beta1;
  w->Q_perp = Q_perp;
}

/* What the mode equations need of one class. */
static void rate_coefficients(const score *w, double y, const double *par, int64_t stride,
                              double *out_A, double *out_B, double *out_F, double *out_I, double *out_BD) {
  (void)y;
  (void)par;
  (void)stride;
  const double m_star = w->m_star;
  const double Q_star = w->Q_star;
  const double m = w->m;
  const double dm = w->dm;
  const double beta = w->beta;
  const double beta1 = w->beta1;
  const double Q_perp = w->Q_perp;
  const double side_1 = (m_star > 0 ? 1.0 : -1.0);
  const double side_2 = (m > 0 ? 1.0 : -1.0);
  const double spread_1 = sqrt(larger(1e-300, Q_star));
  const double gap_1 = fabs(m_star)/spread_1;
  const double regression_1 = Q_star*beta/(spread_1*spread_1);
  const double given_1 = m - m_star*regression_1;
  const double spread_2 = sqrt(larger(1e-300, Q_perp + Q_star*(beta*beta)));
  const double gap_2 = fabs(m)/spread_2;
  const double residual_2 = Q_perp*Q_star/(spread_2*spread_2);
  const double rho_1 = Q_star*beta*side_1*side_2/(spread_1*spread_2);
  const double rho_perp_1 = sqrt(Q_perp)*sqrt(Q_star)/(spread_1*spread_2);
  const double wedge_1 = -beta1*m_star + dm;
  const double spread_3 = sqrt(larger(1e-300, Q_perp));
  const double gap_3 = fabs(wedge_1)/spread_3;
  const double side_3 = (wedge_1 > 0 ? 1.0 : -1.0);
  const double pull_1 = m_star/(spread_1*spread_1);
  const double slope_1 = larger(0.5, beta);
  const double regression_3 = (Q_perp + Q_star*beta*beta1)/(spread_2*spread_2);
  const double given_3 = dm - m*regression_3;
  const double given_4 = -Q_star*beta*m/(spread_2*spread_2) + m_star;
  const double side_4 = (given_4 > 0 ? 1.0 : -1.0);
  const double spread_4 = sqrt(larger(1e-300, residual_2));
  const double gap_4 = fabs(given_4)/spread_4;
  const double place_M0_1 = gap_1;
  const double M0_1 = tail_moment0(place_M0_1);
  const double M1_1 = tail_moment1(place_M0_1);
  const double M2_1 = tail_moment2(place_M0_1);
  const double place_M0_2 = gap_2;
  const double M0_2 = tail_moment0(place_M0_2);
  const double M1_2 = tail_moment1(place_M0_2);
  const double M2_2 = tail_moment2(place_M0_2);
  const double place_M1_3 = gap_4;
  const double M1_3 = tail_moment1(place_M1_3);
  double tails_M2_4[9];
  sgdlimit_tail_moments(gap_3, 8, tails_M2_4);
  const double M2_4 = tails_M2_4[2];
  const double M3_4 = tails_M2_4[3];
  const double M4_4 = tails_M2_4[4];
  const double M5_4 = tails_M2_4[5];
  const double M6_4 = tails_M2_4[6];
  const double M7_4 = tails_M2_4[7];
  const double M8_4 = tails_M2_4[8];
  const double c1 = 1.0/spread_1;
  const double c2 = fabs(wedge_1);
  const double c3 = ((0.03 - larger((c1 + fabs(pull_1))*(2.0*c2 + 12.0*spread_3), 0.06*fabs(beta1))) > 0 ? 1.0 : -1.0);
  const double c4 = side_2 + 1.0;
  const double c5 = 0.5*c4;
  const double c6 = c5*dm;
  const double c7 = side_2*(-M0_2*given_3 + M1_2*regression_3*side_2*spread_2);
  const double c8 = 1.0/(slope_1*slope_1);
  const double c9 = wedge_1*wedge_1;
  const double c10 = M2_4*(spread_3*spread_3);
  const double c11 = 1.0/(slope_1*slope_1*slope_1);
  const double c12 = M3_4*(spread_3*spread_3*spread_3);
  const double c13 = c2*c9;
  const double c14 = 0.3333333333333333*(side_3 > 0 ? 3.0*Q_perp*c2 + c12 + c13 : c12);
  const double c15 = c11*c14;
  const double c16 = pull_1*pull_1;
  const double c17 = spread_1*spread_1;
  const double c18 = 1.0/c17;
  const double c19 = 1.0/(slope_1*slope_1*slope_1*slope_1);
  const double c20 = wedge_1*wedge_1*wedge_1*wedge_1;
  const double c21 = Q_perp*Q_perp;
  const double c22 = M4_4*(spread_3*spread_3*spread_3*spread_3);
  const double c23 = (side_3 > 0 ? 6.0*Q_perp*c9 + c20 + 3.0*c21 - c22 : c22);
  const double c24 = c19*c23;
  const double c25 = pull_1*pull_1*pull_1;
  const double c26 = 1.0/pow(slope_1, 5.0);
  const double c27 = M5_4*pow(spread_3, 5.0);
  const double c28 = c2*c20;
  const double c29 = (side_3 > 0 ? 10.0*Q_perp*c13 + 15.0*c2*c21 + c27 + c28 : c27);
  const double c30 = c26*c29;
  const double c31 = pull_1*pull_1*pull_1*pull_1;
  const double c32 = 1.0/(spread_1*spread_1*spread_1*spread_1);
  const double c33 = 1.0/pow(slope_1, 6.0);
  const double c34 = pow(wedge_1, 6.0);
  const double c35 = Q_perp*Q_perp*Q_perp;
  const double c36 = M6_4*pow(spread_3, 6.0);
  const double c37 = (side_3 > 0 ? 15.0*Q_perp*c20 + 45.0*c21*c9 + c34 + 15.0*c35 - c36 : c36);
  const double c38 = c33*c37;
  const double c39 = pow(pull_1, 5.0);
  const double c40 = 0.017857142857142856*c32;
  const double c41 = c18*c25;
  const double c42 = 1.0/pow(slope_1, 7.0);
  const double c43 = M7_4*pow(spread_3, 7.0);
  const double c44 = (side_3 > 0 ? 21.0*Q_perp*c28 + 105.0*c13*c21 + c2*c34 + 105.0*c2*c35 + c43 : c43);
  const double c45 = c42*c44;
  const double c46 = 0.3989422804014327*c1*sgdlimit_exp(-0.5*c18*(m_star*m_star));
  const double c47 = side_1*side_2;
  const double c48 = c47 + side_1;
  const double c49 = 0.5*c48;
  const double c50 = M1_1*side_1*spread_1;
  const double c51 = M1_2*spread_2;
  const double c52 = -M0_2*side_2 + (side_2 > 0 ? 1.0 : 0.0) + 0.3989422804014327*(-M1_3*spread_4 - 0.5*given_4*(side_4 + 1.0))*sgdlimit_exp(-0.5*(gap_2*gap_2))/spread_2;
  const double c53 = 0.5*Q_perp;
  const double c54 = 0.5*Q_star;
  const double c55 = c4*((beta1*beta1)*c54 + c53 + 0.5*(dm*dm));
  const double c56 = M2_2*(spread_2*spread_2);
  const double c57 = side_2*(M0_2*(-(given_3*given_3) - residual_2) + 2.0*c51*given_3*regression_3*side_2 - c56*(regression_3*regression_3));
  const double c58 = c18*pull_1;
  const double c59 = c32*pull_1;
  const double c60 = M8_4*pow(spread_3, 8.0);
  const double c61 = (side_3 > 0 ? 105.0*(Q_perp*Q_perp*Q_perp*Q_perp) + 28.0*Q_perp*c34 + 210.0*c20*c21 + 420.0*c35*c9 - c60 + pow(wedge_1, 8.0) : c60);
  *out_A = (c3 > 0 ? c46*(c15*pull_1 + c24*(-0.125*c16 + 0.125*c18) + c30*(-0.1*c18*pull_1 + 0.03333333333333333*c25) + c38*(0.041666666666666664*c16*c18 - 0.006944444444444444*c31 - 0.020833333333333332*c32) + c45*(0.0011904761904761906*c39 + c40*pull_1 - 0.011904761904761904*c41) - 0.5*c8*(side_3 > 0 ? Q_perp - c10 + c9 : c10)) + c6 + c7 : -c49*c50 + side_2*spread_1*sgdlimit_bivariate_tail(1, 0, gap_1, gap_2, rho_1, rho_perp_1) + (side_1 > 0 ? c6 : c5*m) + (side_1 > 0 ? c7 : c51));
  *out_B = c52;
  *out_F = 0.0;
  *out_I = larger(0.0, (c3 > 0 ? c46*(0.16666666666666666*c11*c23*pull_1 - c14*c8 - c15 + c19*c29*(-0.05*c16 + 0.05*c18) + 0.25*c24*pull_1 + c26*c37*(0.011111111111111112*c25 - 0.03333333333333333*c58) + c30*(-0.1*c16 + 0.1*c18) + c33*c44*(0.011904761904761904*c16*c18 - 0.001984126984126984*c31 - 0.005952380952380952*c32) + c38*(0.027777777777777776*c25 - 0.08333333333333333*c58) + c42*c61*(0.00029761904761904765*c39 - 0.002976190476190476*c41 + 0.004464285714285714*c59) + c45*(0.03571428571428571*c16*c18 - 0.005952380952380952*c31 - c40) + c61*(0.0010416666666666667*c39 - 0.010416666666666666*c41 + 0.015625*c59)/pow(slope_1, 8.0)) + c55 + c57 : c47*(c17*sgdlimit_bivariate_tail(2, 0, gap_1, gap_2, rho_1, rho_perp_1) - 2.0*c47*spread_1*spread_2*sgdlimit_bivariate_tail(1, 1, gap_1, gap_2, rho_1, rho_perp_1)) + c48*(M2_1*c17*(regression_1 - 0.5) - c50*given_1) + (side_1 > 0 ? c55 : c4*((beta*beta)*c54 + c53 + 0.5*(m*m))) + (side_1 > 0 ? c57 : -c56*side_2)));
  *out_BD = M0_1*c49 + 0.5*M0_2*(c47 + side_2) - c47*sgdlimit_bivariate_tail(0, 0, gap_1, gap_2, rho_1, rho_perp_1) + c52 + (side_1 > 0 ? (side_2 > 0 ? -1.0 : 0.0) : 0.0);
}

/* R, A, B, D, F, I of one class. */
static void all_coefficients(const score *w, double y, const double *par, int64_t stride,
                             double *out_R, double *out_A, double *out_B, double *out_D, double *out_F, double *out_I) {
  (void)y;
  (void)par;
  (void)stride;
  const double m_star = w->m_star;
  const double Q_star = w->Q_star;
  const double m = w->m;
  const double dm = w->dm;
  const double beta = w->beta;
  const double beta1 = w->beta1;
  const double Q_perp = w->Q_perp;
  const double side_1 = (m_star > 0 ? 1.0 : -1.0);
  const double side_2 = (m > 0 ? 1.0 : -1.0);
  const double spread_1 = sqrt(larger(1e-300, Q_star));
  const double gap_1 = fabs(m_star)/spread_1;
  const double regression_1 = Q_star*beta/(spread_1*spread_1);
  const double given_1 = m - m_star*regression_1;
  const double spread_2 = sqrt(larger(1e-300, Q_perp + Q_star*(beta*beta)));
  const double gap_2 = fabs(m)/spread_2;
  const double residual_2 = Q_perp*Q_star/(spread_2*spread_2);
  const double regression_2 = Q_star*beta/(spread_2*spread_2);
  const double given_2 = -m*regression_2 + m_star;
  const double rho_1 = Q_star*beta*side_1*side_2/(spread_1*spread_2);
  const double rho_perp_1 = sqrt(Q_perp)*sqrt(Q_star)/(spread_1*spread_2);
  const double wedge_1 = -beta1*m_star + dm;
  const double spread_3 = sqrt(larger(1e-300, Q_perp));
  const double gap_3 = fabs(wedge_1)/spread_3;
  const double side_3 = (wedge_1 > 0 ? 1.0 : -1.0);
  const double pull_1 = m_star/(spread_1*spread_1);
  const double slope_1 = larger(0.5, beta);
  const double regression_3 = (Q_perp + Q_star*beta*beta1)/(spread_2*spread_2);
  const double given_3 = dm - m*regression_3;
  const double given_4 = -Q_star*beta*m/(spread_2*spread_2) + m_star;
  const double side_4 = (given_4 > 0 ? 1.0 : -1.0);
  const double spread_4 = sqrt(larger(1e-300, residual_2));
  const double gap_4 = fabs(given_4)/spread_4;
  const double place_M0_1 = gap_1;
  const double M0_1 = tail_moment0(place_M0_1);
  const double M1_1 = tail_moment1(place_M0_1);
  const double M2_1 = tail_moment2(place_M0_1);
  const double place_M0_2 = gap_2;
  const double M0_2 = tail_moment0(place_M0_2);
  const double M1_2 = tail_moment1(place_M0_2);
  const double M2_2 = tail_moment2(place_M0_2);
  const double place_M1_3 = gap_4;
  const double M1_3 = tail_moment1(place_M1_3);
  double tails_M2_4[9];
  sgdlimit_tail_moments(gap_3, 8, tails_M2_4);
  const double M2_4 = tails_M2_4[2];
  const double M3_4 = tails_M2_4[3];
  const double M4_4 = tails_M2_4[4];
  const double M5_4 = tails_M2_4[5];
  const double M6_4 = tails_M2_4[6];
  const double M7_4 = tails_M2_4[7];
  const double M8_4 = tails_M2_4[8];
  const double c1 = 1.0/spread_1;
  const double c2 = fabs(wedge_1);
  const double c3 = ((0.03 - larger((c1 + fabs(pull_1))*(2.0*c2 + 12.0*spread_3), 0.06*fabs(beta1))) > 0 ? 1.0 : -1.0);
  const double c4 = side_2 + 1.0;
  const double c5 = 0.25*Q_perp;
  const double c6 = dm*dm;
  const double c7 = beta1*beta1;
  const double c8 = 0.25*Q_star;
  const double c9 = M1_2*spread_2;
  const double c10 = c9*side_2;
  const double c11 = c10*given_3*regression_3;
  const double c12 = spread_2*spread_2;
  const double c13 = M2_2*c12;
  const double c14 = c13*(regression_3*regression_3);
  const double c15 = given_3*given_3;
  const double c16 = M3_4*(spread_3*spread_3*spread_3);
  const double c17 = wedge_1*wedge_1;
  const double c18 = c17*c2;
  const double c19 = 3.0*Q_perp*c2 + c16 + c18;
  const double c20 = 1.0/(slope_1*slope_1*slope_1);
  const double c21 = 0.16666666666666666*c20;
  const double c22 = (side_3 > 0 ? c19 : c16);
  const double c23 = 0.16666666666666666*c22;
  const double c24 = 1.0/(slope_1*slope_1);
  const double c25 = 1.0/(slope_1*slope_1*slope_1*slope_1);
  const double c26 = M4_4*(spread_3*spread_3*spread_3*spread_3);
  const double c27 = wedge_1*wedge_1*wedge_1*wedge_1;
  const double c28 = Q_perp*Q_perp;
  const double c29 = 6.0*Q_perp*c17 - c26 + c27 + 3.0*c28;
  const double c30 = 0.125*pull_1;
  const double c31 = (side_3 > 0 ? c29 : c26);
  const double c32 = c25*c31;
  const double c33 = c31*pull_1;
  const double c34 = pull_1*pull_1;
  const double c35 = spread_1*spread_1;
  const double c36 = 1.0/c35;
  const double c37 = 0.05*c34 - 0.05*c36;
  const double c38 = -c37;
  const double c39 = 1.0/pow(slope_1, 5.0);
  const double c40 = M5_4*pow(spread_3, 5.0);
  const double c41 = c2*c27;
  const double c42 = 10.0*Q_perp*c18 + 15.0*c2*c28 + c40 + c41;
  const double c43 = (side_3 > 0 ? c42 : c40);
  const double c44 = c39*c43;
  const double c45 = c25*c43;
  const double c46 = M6_4*pow(spread_3, 6.0);
  const double c47 = pow(wedge_1, 6.0);
  const double c48 = Q_perp*Q_perp*Q_perp;
  const double c49 = 15.0*Q_perp*c27 + 45.0*c17*c28 - c46 + c47 + 15.0*c48;
  const double c50 = 1.0/pow(slope_1, 6.0);
  const double c51 = pull_1*pull_1*pull_1;
  const double c52 = c36*pull_1;
  const double c53 = c50*(0.013888888888888888*c51 - 0.041666666666666664*c52);
  const double c54 = (side_3 > 0 ? c49 : c46);
  const double c55 = c39*c54;
  const double c56 = pull_1*pull_1*pull_1*pull_1;
  const double c57 = 1.0/(spread_1*spread_1*spread_1*spread_1);
  const double c58 = -0.017857142857142856*c34*c36 + 0.002976190476190476*c56 + 0.008928571428571428*c57;
  const double c59 = 1.0/pow(slope_1, 7.0);
  const double c60 = M7_4*pow(spread_3, 7.0);
  const double c61 = 21.0*Q_perp*c41 + 105.0*c18*c28 + c2*c47 + 105.0*c2*c48 + c60;
  const double c62 = (side_3 > 0 ? c61 : c60);
  const double c63 = c59*c62;
  const double c64 = c50*c62;
  const double c65 = M8_4*pow(spread_3, 8.0);
  const double c66 = 105.0*(Q_perp*Q_perp*Q_perp*Q_perp) + 28.0*Q_perp*c47 + 420.0*c17*c48 + 210.0*c27*c28 - c65 + pow(wedge_1, 8.0);
  const double c67 = 1.0/pow(slope_1, 8.0);
  const double c68 = pow(pull_1, 5.0);
  const double c69 = c57*pull_1;
  const double c70 = c36*c51;
  const double c71 = c67*(0.0005208333333333333*c68 + 0.0078125*c69 - 0.005208333333333333*c70);
  const double c72 = (side_3 > 0 ? c66 : c65);
  const double c73 = c59*c72;
  const double c74 = 0.5*(m_star*m_star);
  const double c75 = 0.3989422804014327*c1*sgdlimit_exp(-c36*c74);
  const double c76 = spread_1*spread_2*sgdlimit_bivariate_tail(1, 1, gap_1, gap_2, rho_1, rho_perp_1);
  const double c77 = c13*side_2;
  const double c78 = 0.5*Q_perp;
  const double c79 = 0.5*Q_star;
  const double c80 = 0.5*c6 + c7*c79 + c78;
  const double c81 = m*m;
  const double c82 = beta*beta;
  const double c83 = M1_1*side_1*spread_1;
  const double c84 = c83*given_1;
  const double c85 = regression_1 - 0.5;
  const double c86 = M2_1*c35*c85 - c84;
  const double c87 = M2_1*c35;
  const double c88 = 0.5*c87;
  const double c89 = 0.5*c4;
  const double c90 = c89*dm;
  const double c91 = side_2*(-M0_2*given_3 + M1_2*regression_3*side_2*spread_2);
  const double c92 = M2_4*(spread_3*spread_3);
  const double c93 = 0.3333333333333333*c22;
  const double c94 = c20*c93;
  const double c95 = c50*c54;
  const double c96 = 0.017857142857142856*c57;
  const double c97 = side_1*side_2;
  const double c98 = c97 + side_1;
  const double c99 = 0.5*c98;
  const double c100 = c4*c80;
  const double c101 = side_2*(M0_2*(-c15 - residual_2) + 2.0*c11 - c14);
  *out_R = (c3 > 0 ? c4*(c5 + 0.25*c6 + c7*c8) + c75*(-c20*c23 + 0.08333333333333333*c20*c33 + c21*(side_3 > 0 ? c16 : c19) - c23*c24 + c25*c30*(side_3 > 0 ? c26 : c29) + c30*c32 + c37*c39*(side_3 > 0 ? c40 : c42) + c38*c44 + c45*(-0.025*c34 + 0.025*c36) + c53*c54 + c53*(side_3 > 0 ? c46 : c49) + c55*(0.005555555555555556*c51 - 0.016666666666666666*c52) + c58*c59*(side_3 > 0 ? c60 : c61) - c58*c63 + c64*(0.005952380952380952*c34*c36 - 0.000992063492063492*c56 - 0.002976190476190476*c57) + c71*c72 + c71*(side_3 > 0 ? c65 : c66) + c73*(0.00014880952380952382*c68 + 0.002232142857142857*c69 - 0.001488095238095238*c70)) + side_2*(M0_2*(-0.5*c15 - 0.5*residual_2) + c11 - 0.5*c14) : -c76 + (side_1 > 0 ? side_2*(M2_2*c12*(regression_2 - 0.5) - c10*given_2) : -0.5*c77) + (side_1 > 0 ? (side_2 > 0 ? c80 : c74 + c79) : c4*(c5 + c8*c82 + 0.25*c81)) + (side_1 > 0 ? (side_2 > 0 ? c86 : -c88) : (side_2 > 0 ? c84 - c85*c87 : c88)));
  *out_A = (c3 > 0 ? c75*(-0.5*c24*(side_3 > 0 ? Q_perp + c17 - c92 : c92) + c32*(-0.125*c34 + 0.125*c36) + c44*(-0.1*c36*pull_1 + 0.03333333333333333*c51) + c63*(0.0011904761904761906*c68 - 0.011904761904761904*c70 + c96*pull_1) + c94*pull_1 + c95*(0.041666666666666664*c34*c36 - 0.006944444444444444*c56 - 0.020833333333333332*c57)) + c90 + c91 : -c83*c99 + side_2*spread_1*sgdlimit_bivariate_tail(1, 0, gap_1, gap_2, rho_1, rho_perp_1) + (side_1 > 0 ? c90 : c89*m) + (side_1 > 0 ? c91 : c9));
  *out_B = -M0_2*side_2 + (side_2 > 0 ? 1.0 : 0.0) + 0.3989422804014327*(-M1_3*spread_4 - 0.5*given_4*(side_4 + 1.0))*sgdlimit_exp(-0.5*(gap_2*gap_2))/spread_2;
  *out_D = M0_1*c99 + 0.5*M0_2*(c97 + side_2) - c97*sgdlimit_bivariate_tail(0, 0, gap_1, gap_2, rho_1, rho_perp_1) + (side_1 > 0 ? (side_2 > 0 ? -1.0 : 0.0) : 0.0);
  *out_F = 0.0;
  *out_I = larger(0.0, (c3 > 0 ? c100 + c101 + c75*(c21*c33 - c24*c93 + 0.25*c32*pull_1 + c38*c45 + c44*(-0.1*c34 + 0.1*c36) + c55*(0.011111111111111112*c51 - 0.03333333333333333*c52) + c63*(0.03571428571428571*c34*c36 - 0.005952380952380952*c56 - c96) + c64*(0.011904761904761904*c34*c36 - 0.001984126984126984*c56 - 0.005952380952380952*c57) + c67*c72*(0.0010416666666666667*c68 + 0.015625*c69 - 0.010416666666666666*c70) + c73*(0.00029761904761904765*c68 + 0.004464285714285714*c69 - 0.002976190476190476*c70) - c94 + c95*(0.027777777777777776*c51 - 0.08333333333333333*c52)) : c86*c98 + c97*(c35*sgdlimit_bivariate_tail(2, 0, gap_1, gap_2, rho_1, rho_perp_1) - 2.0*c76*c97) + (side_1 > 0 ? c100 : c4*(c78 + c79*c82 + 0.5*c81)) + (side_1 > 0 ? c101 : -c77)));
}

/* What the rates are made of beside the modes: scalars, of which those of the noise come last. */
static int64_t drift_scalars_count(const sgdlimit_problem *p) { return 2 + 3 * p->classes; }
static int64_t rate_scalars_count(const sgdlimit_problem *p) {
  return drift_scalars_count(p) + 1 * p->classes;
}

static void rate_scalars(const sgdlimit_problem *p, const double *k, int64_t iterate, const double *x, const double *e,
                         const double *v, double *scalars) {
  const double p_tau = p->parameters[(iterate * 1 + 0) * p->classes];
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
    const double *par = p->parameters + iterate * 1 * p->classes + i;
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
const char *sgdlimit_parameter_names(void) { return "tau"; }
const char *sgdlimit_schedule_names(void) { return ""; }
/* Of learning rates that depend on the state, those that this kernel has. */
const char *sgdlimit_descent_names(void) { return "polyak,line_search"; }
const char *sgdlimit_statistic_names(void) { return "adversarial_risk,clean_risk,norm2,overlap,cosine,distance2,optimum_distance2,learning_rate,effective_ridge"; }
const char *sgdlimit_coefficient_names(void) { return "R,A,B,D,F,I"; }
const char *sgdlimit_score_names(void) { return "m_star,Q_star,m,dm,beta,beta1,Q_perp"; }
/* What must be positive for the equations to hold. */
const char *sgdlimit_positive_names(void) { return ""; }

/* Coefficients of one class at given scores (in the order of sgdlimit_score_names), label and parameters. */
void sgdlimit_coefficients(const double *score_values, double y, const double *par, double *out) {
  score w;
  w.m_star = score_values[0];
  w.Q_star = score_values[1];
  w.m = score_values[2];
  w.dm = score_values[3];
  w.beta = score_values[4];
  w.beta1 = score_values[5];
  w.Q_perp = score_values[6];
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
