/* The high-dimensional limit of streaming SGD on one model: streaming SGD in lumps of equal eigenvalues.
 *   loss       Max(q*(r - y), (q - 1)*(r - y))
 *   target     Teacher('r_star + sigma*xi')
 *   adversary  l2 ball of radius epsilon
 *
 * Written by sgdlimit, generator format 24. To write it again:
 *   sgdlimit generate SPEC --out DIRECTORY --parts lumps
 * It stands alone: cc -O3 -c this_file.c; link with -lm. The interface is the struct sgdlimit_problem and the
 * functions sgdlimit_*. The mathematics is arXiv 2607.00207, in the notation of docs/theory.md.
 *
 * Contents
 *   The problem: what a caller hands to a kernel, and what it gets back
 *   Elementary functions that loops over many arguments can vectorise
 *   Learning rates
 *   This model
 *   One sample of this model
 *   Random numbers: eight generators xoshiro256++, normals by Box-Muller
 *   Streaming SGD in the eigenbasis
 *   Streaming SGD in lumps
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
 * loss       Max(q*(r - y), (q - 1)*(r - y))
 * target     Teacher('r_star + sigma*xi')
 * adversary  l2 ball of radius epsilon
 */

enum { PARAMETERS = 4, STATISTICS = 9, JUDGED_STATISTICS = 7 };

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

/* What the mode equations need of one class. */
static void rate_coefficients(const score *w, double y, const double *par, int64_t stride,
                              double *out_A, double *out_B, double *out_F, double *out_I, double *out_BD) {
  (void)y;
  const double n = w->n;
  const double Q_star = w->Q_star;
  const double dm = w->dm;
  const double beta1 = w->beta1;
  const double Q_perp = w->Q_perp;
  const double p_epsilon = par[0 * stride];
  const double p_q = par[2 * stride];
  const double p_sigma = par[3 * stride];
  const double mean = dm;
  const double s = sqrt(larger(1e-300, p_sigma*p_sigma + Q_perp + Q_star*(beta1*beta1)));
  const double gap1 = fabs(2.0*p_q*p_epsilon*n - p_epsilon*n + mean)/s;
  const double away1 = ((-2.0*p_q*p_epsilon*n + p_epsilon*n - mean) > 0 ? 1.0 : -1.0);
  const double place_M0_1 = gap1;
  const double M0_1 = tail_moment0(place_M0_1);
  const double c1 = M0_1*away1;
  const double c2 = -away1;
  const double c3 = p_q - 1.0;
  const double c4 = 2.0*p_q;
  const double c5 = p_q*p_epsilon;
  *out_A = c1 + (c2 > 0 ? p_q : c3);
  *out_B = 0.3989422804014327*sgdlimit_exp(-0.5*square(-c4*p_epsilon*n + p_epsilon*n - mean)/(s*s))/s;
  *out_F = c1*(2.0*c5 - p_epsilon) + (c2 > 0 ? c5 : -c3*p_epsilon);
  *out_I = c1*(c4 - 1.0) + (c2 > 0 ? p_q*p_q : c3*c3);
  *out_BD = 0.0;
}

/* What the rates are made of beside the modes: scalars, of which those of the noise come last. */
static int64_t drift_scalars_count(const sgdlimit_problem *p) { return 2 + 3 * p->classes; }
static int64_t rate_scalars_count(const sgdlimit_problem *p) {
  return drift_scalars_count(p) + 1 * p->classes;
}

static void rate_scalars(const sgdlimit_problem *p, const double *k, int64_t iterate, const double *x, const double *e,
                         const double *v, double *scalars) {
  const double p_tau = p->parameters[(iterate * 4 + 1) * p->classes];
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
    const double *par = p->parameters + iterate * 4 * p->classes + i;
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

/* ---- One sample of this model ------------------------------------------------------------------------------------
 * d f_adv/dr and d f_adv/dn there, its label, and the ridge. */
static inline void gradient(double r, double n, double y, const double *par, int64_t stride, double *dr, double *dn) {
  const double p_epsilon = par[0 * stride];
  const double p_q = par[2 * stride];
  const double sigma0 = ((2.0*p_q*p_epsilon*n - p_epsilon*n + r - y) > 0 ? 1.0 : -1.0);
  const double c1 = p_q - 1.0;
  *dr = (sigma0 > 0 ? p_q : c1);
  *dn = (sigma0 > 0 ? p_q*p_epsilon : -c1*p_epsilon);
}

static inline double target(double y, double r_star, double xi, double uniform, const double *par, int64_t stride) {
  (void)y;
  (void)uniform;
  const double p_sigma = par[3 * stride];
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
  BLOCK = 2 * LANES,   /* normals of one draw of all lanes */
  DRAWS = 16           /* of all lanes, at most, that are made in one go */
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

/* Uniform on (0, 1], from a word for the radius. */
LANEWISE reals radius_chance(words a) { return 2.0 - from_one_to_two(a); }

/* Uniform on [-1/2, 1/2), from a word for the angle: half a turn, so that the cosine is a short polynomial. */
LANEWISE reals half_turns(words b) { return from_one_to_two(b) - 1.5; }

/* The other half of the turn: a random sign of the radius, the lowest bit of the angle's word. */
LANEWISE reals with_sign(reals radius, words b) { return (reals)((words)radius | (b << 63)); }

/* u = 2^e m, m in [1/sqrt 2, sqrt 2), s = (m - 1)/(m + 1) */
typedef struct split {
  reals e, s;
} split;

LANEWISE split split_of(reals u) {
  const uint64_t one = UINT64_C(0x3ff0000000000000), root_half = UINT64_C(0x3fe6a09e667f3bcd);
  const uint64_t fraction = UINT64_C(0x000fffffffffffff), two_to_52 = UINT64_C(0x4330000000000000);
  const bits scaled = (bits)u + (one - root_half);   /* its exponent field is e + 1023, its fraction that of m */
  const reals m = (reals)((scaled & fraction) + root_half);
  return (split){(reals)((scaled >> 52) | two_to_52) - (4503599627370496.0 + 1023.0), (m - 1.0) / (m + 1.0)};
}

/* -2 log(u) for u in (0, 1], never negative: log(u) = e log 2 + s A(s^2), A(t) = 2 atanh(sqrt t)/sqrt t, relatively
 * accurate at u = 1 too, where e = 0. A: mpmath.chebyfit at 40 digits, 6 coefficients on 0 <= t <= 17 - 12 sqrt 2, times
 * -2. Relative error 2.8e-14. */
LANEWISE reals minus_two_log_of(split u) {
  const reals t = u.s * u.s;
  reals a = t * -0.3921619127950611 - 0.4434849982015498;
  a = a * t - 0.5714433229175145;
  a = a * t - 0.7999998978366476;
  a = a * t - 1.3333333335915852;
  a = a * t - 3.9999999999998943;
  return u.e * -1.3862943611198906 + u.s * a;
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

#else

/* The same in single precision, where a word of 64 bits serves two lanes. Of the radius's 32 bits none is lost where it
 * counts: u is small in the tail, and a float holds it to 24 digits there; the largest radius is sqrt(66 log 2) = 6.8. The
 * angle's word gives 31 bits and the sign. */
typedef int32_t integers __attribute__((vector_size(VECTOR_BYTES)));

LANEWISE reals radius_chance(words a) { return __builtin_convertvector((bits)a, reals) * 0x1p-32f + 0x1p-33f; }

LANEWISE reals half_turns(words b) {
  return __builtin_convertvector((integers)b >> 1, reals) * 0x1p-31f + 0x1p-32f;
}

LANEWISE reals with_sign(reals radius, words b) { return (reals)((bits)radius | ((bits)b << 31)); }

typedef struct split {
  reals e, s;
} split;

LANEWISE split split_of(reals u) {
  const uint32_t one = 0x3f800000, root_half = 0x3f3504f3, fraction = 0x007fffff, two_to_23 = 0x4b000000;
  const bits scaled = (bits)u + (one - root_half);
  const reals m = (reals)((scaled & fraction) + root_half);
  return (split){(reals)((scaled >> 23) | two_to_23) - (8388608.0f + 127.0f), (m - 1.0f) / (m + 1.0f)};
}

/* A: 3 coefficients, 4.8e-7 absolute, 1.2e-7 of the value. */
LANEWISE reals minus_two_log_of(split u) {
  const reals t = u.s * u.s;
  const reals a = (t * -0.8258981836f - 1.333045335f) * t - 4.000000472f;
  return u.e * -1.3862943611f + u.s * a;
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

#endif

LANEWISE reals minus_two_log(reals u) { return minus_two_log_of(split_of(u)); }

/* Two independent standard normals, from the square of their radius and the word for their angle. */
LANEWISE void turn(reals radius2, words b, reals *first, reals *second) {
  const reals radius = with_sign(square_root(radius2), b), w = half_turns(b);
  *first = radius * cosine_of_half_turns(w);
  *second = radius * sine_of_half_turns(w);
}

/* Two for each lane of vector v. */
LANEWISE void draw_normals(generator *g, int v, reals *first, reals *second) {
  const words a = draw_words(g, v), b = draw_words(g, v);
  turn(minus_two_log(radius_chance(a)), b, first, second);
}

/* ---- Streaming SGD in the eigenbasis ---------------------------------------------------------------------------
 * X <- X - (gamma/d) [d_r f x + (d_n f/n + tau) X], a fresh x each step, for M iterates that share the data stream.
 * A step is one sweep over the coordinates: it applies the update of the step before, whose x is still in its buffer,
 * draws the new x and accumulates ||X||^2, r = <x, X> and r* = <x, X*>. Nothing else costs O(d): a class is two
 * pointers to rows, and the update of a step is two numbers an iterate. Rows are padded with zeros to whole blocks.
 *
 * Rows are `real`: samples, iterates and the sweep are in single precision with -DSGDLIMIT_FLOAT32. Sums over coordinates
 * are in double all the same, but for the terms of one lane in a chunk; so is what is done with them.
 *
 * The loss enters through `gradient`, `target` and `ridge` alone; parameter p of a class is par[p * stride]. */

static inline void gradient(double r, double n, double y, const double *par, int64_t stride, double *dr, double *dn);
static inline double target(double label, double r_star, double xi, double uniform, const double *par, int64_t stride);
static inline double ridge(const double *par, int64_t stride);

/* X <- X + (own X + sample x), to be applied by the next sweep. The change is rounded first and added then: a factor
 * 1 + own would lose, in single precision, what is below 6e-8 of it, the same at every step. */
typedef struct update {
  real own, sample;
} update;

/* Coordinates that are drawn in one go; a lane adds their products up in `real`, 32 of them, before they go to the sum in
 * double. */
enum { CHUNK = DRAWS * BLOCK };

/* Numbers that do not change: [length], or, where all are 0, [CHUNK] that serve each chunk. Classes share rows that are
 * equal. In large dimension a step takes as long as it takes to read what it needs. */
typedef struct constant_row {
  const real *numbers;
  int64_t stride;             /* from a coordinate to the next: 1, or 0 between chunks of zeros */
} constant_row;

typedef struct simulation {
  const sgdlimit_problem *problem;
  int64_t length;             /* of a row: N rounded up to whole blocks */
  constant_row *roots, *means;   /* [K] square roots of the eigenvalues; means */
  constant_row teacher;
  real *room;                 /* [2K + 1][length] for what these hold */
  real *zeros;                /* [CHUNK] */
  real *x;                    /* [length] the last sample */
  real *iterates;             /* [M][length] */
  double *totals;             /* [M][2][LANES] of a sweep: ||X||^2 and <x, X> */
  double *norm2, *r;          /* [M] */
  double *gradient2;          /* [M] sum of ||g||^2/d^2 over the steps so far, g the whole stochastic gradient */
  double *at_iterate;         /* [8][N] e, v = 0, offset, slope, noise, work [2], x */
  double *predicted;          /* [2][N] mean and variance of the iterate half a step on, in a diffusion */
  double *constants, *scalars;   /* what rates are made of */
  double *norm2_bound;        /* [M] beyond it the iterate has diverged */
  update *updates;            /* [M] */
  double *cumulated;          /* [K] cumulated probabilities of the classes */
  generator coordinates, chances;
  int backwards;              /* the next sweep's direction */
  double class_uniform[BLOCK], xi[BLOCK], label_uniform[BLOCK];   /* of the BLOCK steps from the last refill on */
} simulation;

LANEWISE reals load(const real *from) {
  reals v;
  memcpy(&v, from, sizeof v);
  return v;
}

LANEWISE void store(real *to, reals v) { memcpy(to, &v, sizeof v); }

/* Counts instead of searching: a branch on a random number is mispredicted half of the time. */
static int64_t drawn_class(const simulation *s, double uniform) {
  int64_t class = 0;
  for (int64_t i = 0; i + 1 < s->problem->classes; i++) class += uniform >= s->cumulated[i];
  return class;
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
  if (sums_over_rates(p)) {
    for (int64_t j = 0; j < N; j++) {
      x[j] = X[j];
      e[j] = x[j] - p->teacher[j];
    }
    rate_scalars(p, s->constants, iterate, x, e, v, s->scalars);
    rates(p, s->scalars, 0, N, offset, slope, noise);
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

static int are_zeros(int64_t count, const double *of) {
  int zeros = 1;
  for (int64_t j = 0; j < count; j++) zeros &= of[j] == 0;
  return zeros;
}

/* The first class whose row in [K][N] is that of `class`. */
static int64_t first_alike(int64_t class, int64_t N, const double *rows) {
  int64_t first = 0;
  while (memcmp(rows + first * N, rows + class * N, (size_t)N * sizeof *rows) != 0) first++;
  return first;
}

/* A copy in `room`, if the numbers are not all zeros. */
static constant_row constant_row_of(const simulation *s, const double *numbers, real *room) {
  if (are_zeros(s->problem->modes, numbers)) return (constant_row){s->zeros, 0};
  copy_padded(room, numbers, s->problem->modes, s->length);
  return (constant_row){room, 1};
}

static constant_row roots_of(const simulation *s, const double *eigenvalues, real *room) {
  for (int64_t j = 0; j < s->length; j++) room[j] = j < s->problem->modes ? (real)sqrt(eigenvalues[j]) : 0;
  return (constant_row){room, 1};
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

/* Cuts all arrays of a simulation out of one allocation, which the caller frees; NULL when there is no memory. */
static void *lay_out(simulation *s, int with_rates) {
  const sgdlimit_problem *p = s->problem;
  const int64_t M = p->iterates, K = p->classes, N = p->modes, L = s->length;
  const int64_t rows = 2 * K + M + 2, N_rows = with_rates ? 10 : 0;
  const int64_t others = M * (2 * LANES + 6) + 5 * K + constants_count(p) + rate_scalars_count(p);
  const double bytes_wanted = 8.0 * ((double)rows * (double)L + CHUNK + (double)N_rows * (double)N + (double)others);
  if (bytes_wanted > (double)(PTRDIFF_MAX / 2)) return NULL;
  const size_t row_bytes = (size_t)(rows * L + CHUNK) * sizeof(real), other_bytes = (size_t)(others + N_rows * N) * sizeof(double);
  void *memory = aligned_alloc(64, (row_bytes + other_bytes + 63) / 64 * 64);
  if (!memory) return NULL;
  real *row = memory;   /* whole blocks long, so at whole cache lines */
  s->zeros = row, row += CHUNK;
  s->room = row, row += (2 * K + 1) * L;
  s->x = row, row += L;
  s->iterates = row;
  double *next = (double *)((char *)memory + row_bytes);
  s->totals = next, next += M * 2 * LANES;
  s->updates = (update *)next, next += M * 2;
  s->roots = (constant_row *)next, next += K * 2;
  s->means = (constant_row *)next, next += K * 2;
  s->norm2 = next, next += M;
  s->r = next, next += M;
  s->norm2_bound = next, next += M;
  s->gradient2 = next, next += M;
  s->cumulated = next, next += K;
  s->constants = next, next += constants_count(p);
  s->scalars = next, next += rate_scalars_count(p);
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
  memset(s->zeros, 0, CHUNK * sizeof *s->zeros);
  for (int64_t class = 0; class < K; class++) {
    const int64_t as_root = first_alike(class, N, p->eigenvalues), as_mean = first_alike(class, N, p->means);
    real *room = s->room + 2 * class * s->length;
    s->roots[class] = as_root < class ? s->roots[as_root] : roots_of(s, p->eigenvalues + class * N, room);
    s->means[class] = as_mean < class ? s->means[as_mean] : constant_row_of(s, p->means + class * N, room + s->length);
    s->cumulated[class] = p->probabilities[class] + (class > 0 ? s->cumulated[class - 1] : 0);
  }
  s->teacher = constant_row_of(s, p->teacher, s->room + 2 * K * s->length);
  if (with_rates) {
    for (int64_t j = 0; j < N; j++) s->at_iterate[N + j] = 0;
    constants(p, s->constants);
  }
  const int64_t values = p->runs * p->iterates * p->times_count * S;
  for (int64_t i = 0; i < values; i++) p->statistics[i] = NAN;
  return memory;
}

/* ---- Streaming SGD in lumps ------------------------------------------------------------------------------------
 * The same law at a cost that does not grow with the dimension. A mode here is a coordinate, or a lump: `D` coordinates
 * with one eigenvalue a class in which means, teacher and reference are 0. D is weight times dimension. Of the iterate's
 * part w in a lump its norm alone matters, and x_j is that norm: fresh samples are isotropic in it. With g the sample's
 * component along w and chi2, of D - 1 degrees of freedom, the squared length of the rest,
 *     ||w|| <- sqrt((kept ||w|| + added root g)^2 + added^2 root^2 chi2),
 * where kept and added depend on g, by the score, but not on chi2 (docs/theory.md, section 8). To `rates`, x is a state of
 * as many modes. Eight runs advance together, one a lane, each with a stream of its own: its words are a function of
 * (seed, run), whoever is in the other lanes. As in a sweep over coordinates, a step first applies the one before. */
#ifndef SGDLIMIT_FLOAT32   /* in double precision alone */

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

#endif

/* ---- The interface ----------------------------------------------------------------------------------------------- */

int32_t sgdlimit_abi(void) { return SGDLIMIT_ABI; }
const char *sgdlimit_parameter_names(void) { return "epsilon,tau,q,sigma"; }
const char *sgdlimit_schedule_names(void) { return ""; }
/* Of learning rates that depend on the state, those that this kernel has. */
const char *sgdlimit_descent_names(void) { return "polyak,line_search"; }
const char *sgdlimit_statistic_names(void) { return "adversarial_risk,clean_risk,norm2,overlap,cosine,distance2,optimum_distance2,learning_rate,effective_ridge"; }
const char *sgdlimit_coefficient_names(void) { return "R,A,B,D,F,I"; }
const char *sgdlimit_score_names(void) { return "n,Q_star,dm,beta1,Q_perp"; }
/* What must be positive for the equations to hold. */
const char *sgdlimit_positive_names(void) { return "q,1 - q"; }
