/* The high-dimensional limit of streaming SGD on one model: the coefficients and the right-hand side.
 *   loss       Max(0, 1 - y*r)**2
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

LANEWISE double tail_moment1(double h) { return sgdlimit_tail_ratio(h) * sgdlimit_normal_tail(h); }

LANEWISE double tail_moment2(double h) {
  return h > 50.0 ? 0.0 : (1.0 - h * sgdlimit_tail_ratio(h)) * sgdlimit_normal_tail(h);
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
 * loss       Max(0, 1 - y*r)**2
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

/* What the mode equations need of one class. */
static void rate_coefficients(const score *w, double y, const double *par, int64_t stride,
                              double *out_A, double *out_B, double *out_F, double *out_I, double *out_BD) {
  const double n = w->n;
  const double m = w->m;
  const double Q = w->Q;
  const double p_epsilon = par[0 * stride];
  const double mean = m;
  const double s = sqrt(larger(1e-300, Q));
  const double gap1 = fabs(p_epsilon*n*(double)((y > 0) - (y < 0)) - mean + 1.0/y)/s;
  const double away1 = ((p_epsilon*n*(double)((y > 0) - (y < 0)) - mean + 1.0/y) > 0 ? 1.0 : -1.0);
  const double place_M0_1 = gap1;
  const double M0_1 = tail_moment0(place_M0_1);
  const double M1_1 = tail_moment1(place_M0_1);
  const double M2_1 = tail_moment2(place_M0_1);
  const double c1 = (double)((y > 0) - (y < 0));
  const double c2 = y*y;
  const double c3 = 2.0*c2;
  const double c4 = M1_1*c3*s;
  const double c5 = away1*c1;
  const double c6 = c1*p_epsilon;
  const double c7 = -y*(-c6*n + mean) + 1.0;
  const double c8 = 2.0*c7*y;
  const double c9 = -M0_1*c3*c5 + (c5 > 0 ? c3 : 0.0);
  const double c10 = 4.0*(s*s)*(y*y*y*y);
  *out_A = -c1*c4 + (c5 > 0 ? -c8 : 0.0);
  *out_B = c9;
  *out_F = (c1*c1)*c4*p_epsilon + (c5 > 0 ? c6*c8 : 0.0);
  *out_I = -M2_1*c10*c5 + (c5 > 0 ? c10 + 4.0*c2*(c7*c7) : 0.0);
  *out_BD = c9;
}

/* R, A, B, D, F, I of one class. */
static void all_coefficients(const score *w, double y, const double *par, int64_t stride,
                             double *out_R, double *out_A, double *out_B, double *out_D, double *out_F, double *out_I) {
  const double n = w->n;
  const double m = w->m;
  const double Q = w->Q;
  const double p_epsilon = par[0 * stride];
  const double mean = m;
  const double s = sqrt(larger(1e-300, Q));
  const double gap1 = fabs(p_epsilon*n*(double)((y > 0) - (y < 0)) - mean + 1.0/y)/s;
  const double away1 = ((p_epsilon*n*(double)((y > 0) - (y < 0)) - mean + 1.0/y) > 0 ? 1.0 : -1.0);
  const double place_M0_1 = gap1;
  const double M0_1 = tail_moment0(place_M0_1);
  const double M1_1 = tail_moment1(place_M0_1);
  const double M2_1 = tail_moment2(place_M0_1);
  const double c1 = s*s;
  const double c2 = y*y;
  const double c3 = c1*c2;
  const double c4 = (double)((y > 0) - (y < 0));
  const double c5 = away1*c4;
  const double c6 = M2_1*c5;
  const double c7 = c4*p_epsilon;
  const double c8 = -y*(-c7*n + mean) + 1.0;
  const double c9 = c8*c8;
  const double c10 = 2.0*c2;
  const double c11 = M1_1*c10*s;
  const double c12 = 2.0*c8*y;
  const double c13 = 4.0*c1*(y*y*y*y);
  *out_R = -c3*c6 + (c5 > 0 ? c3 + c9 : 0.0);
  *out_A = -c11*c4 + (c5 > 0 ? -c12 : 0.0);
  *out_B = -M0_1*c10*c5 + (c5 > 0 ? c10 : 0.0);
  *out_D = 0.0;
  *out_F = c11*(c4*c4)*p_epsilon + (c5 > 0 ? c12*c7 : 0.0);
  *out_I = -c13*c6 + (c5 > 0 ? c13 + 4.0*c2*c9 : 0.0);
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
