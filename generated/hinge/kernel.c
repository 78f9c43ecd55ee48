/* The high-dimensional limit of streaming SGD on one model, its statistics, and the SGD itself.
 *   loss       Max(0, 1 - y*r)
 *   target     Labels()
 *   adversary  l2 ball of radius epsilon
 *
 * Written by sgdlimit, generator format 7. To write it again: sgdlimit generate SPEC --out DIRECTORY
 * It stands alone: cc -O3 -c this_file.c; link with -lm. The interface is the struct sgdlimit_problem and the
 * functions at the end of the file. The mathematics is arXiv 2607.00207, in the notation of docs/theory.md. */

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

#define SGDLIMIT_ABI 2

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
 * 28 coefficients of (h + 5/4) times it in t = (h - 4)/(h + 4), odd and even ones apart: half as long a chain. */
LANEWISE double sgdlimit_tail_ratio(double h) {
  const double t = 1.0 - 8.0 / (h + 4.0), u = t * t;
  double a = u * 3.3986875277553945e-09 - 6.327518385011884e-09;
  double b = u * -2.438494756035184e-08 + 2.4858395797692447e-07;
  a = a * u - 1.9688976310016765e-07;
  b = b * u - 1.2902027069958226e-06;
  a = a * u + 2.0209935849944703e-06;
  b = b * u + 4.574926478633692e-06;
  a = a * u - 1.1822653010919231e-05;
  b = b * u - 1.1802610085700332e-05;
  a = a * u + 5.2828287712269654e-05;
  b = b * u + 1.703580735174054e-05;
  a = a * u - 1.9808500152392218e-04;
  b = b * u + 3.896573195562015e-05;
  a = a * u + 6.412080936475851e-04;
  b = b * u - 4.6413092640038754e-04;
  a = a * u - 1.759719978476808e-03;
  b = b * u + 2.4915720236999652e-03;
  a = a * u + 3.6817230605858857e-03;
  b = b * u - 1.0095793629049069e-02;
  a = a * u - 2.7683667926589176e-03;
  b = b * u + 3.2360231946971525e-02;
  a = a * u - 2.5396637049825744e-02;
  b = b * u - 6.750053481076351e-02;
  a = a * u + 1.824812571327506e-01;
  b = b * u - 1.4259871052439452e-01;
  a = a * u - 1.554020567759819e-01;
  b = b * u + 1.1844375085697232;
  return (a * t + b) / (h + 1.25);
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

LANEWISE double larger(double a, double b) { return a > b ? a : b; }

/* M_k(h), the integral over z > h of (z - h)^k phi(z) dz for h >= 0 */
LANEWISE double tail_moment0(double h) { return sgdlimit_normal_tail(h); }

LANEWISE double tail_moment1(double h) { return sgdlimit_tail_ratio(h) * sgdlimit_normal_tail(h); }

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
 * loss       Max(0, 1 - y*r)
 * target     Labels()
 * adversary  l2 ball of radius epsilon
 */

enum { PARAMETERS = 2, STATISTICS = 11, JUDGED_STATISTICS = 9 };
/* How well the rates know x - X*, in units of X*. */
static const double RESOLUTION = 0.0;

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
  const double c1 = (double)((y > 0) - (y < 0));
  const double c2 = away1*c1;
  const double c3 = M0_1*c2;
  const double c4 = c1*p_epsilon;
  const double c5 = 0.3989422804014327*c1*y*sgdlimit_exp(-0.5*square(c4*n - mean + 1.0/y)/(s*s))/s;
  const double c6 = y*y;
  *out_A = c3*y + (c2 > 0 ? -y : 0.0);
  *out_B = c5;
  *out_F = -M0_1*away1*(c1*c1)*p_epsilon*y + (c2 > 0 ? c4*y : 0.0);
  *out_I = -c3*c6 + (c2 > 0 ? c6 : 0.0);
  *out_BD = c5;
}

/* What the statistics need of one class. */
static void statistic_coefficients(const score *w, double y, const double *par, int64_t stride,
                                   double *out_R, double *out_B, double *out_F, double *out_clean_risk, double *out_clean_error, double *out_robust_error) {
  const double n = w->n;
  const double m = w->m;
  const double Q = w->Q;
  const double p_epsilon = par[0 * stride];
  const double mean = m;
  const double s = sqrt(larger(1e-300, Q));
  const double s_score = sqrt(larger(1e-300, Q*square((double)((y > 0) - (y < 0)))));
  const double gap1 = fabs(p_epsilon*n*(double)((y > 0) - (y < 0)) - mean + 1.0/y)/s;
  const double away1 = ((p_epsilon*n*(double)((y > 0) - (y < 0)) - mean + 1.0/y) > 0 ? 1.0 : -1.0);
  const double gap2 = fabs(mean - 1.0/y)/s;
  const double away2 = ((-mean + 1.0/y) > 0 ? 1.0 : -1.0);
  const double place_M0_1 = gap1;
  const double M0_1 = tail_moment0(place_M0_1);
  const double M1_1 = tail_moment1(place_M0_1);
  const double place_M1_2 = gap2;
  const double M1_2 = tail_moment1(place_M1_2);
  const double c1 = (double)((y > 0) - (y < 0));
  const double c2 = c1*y;
  const double c3 = c2*s;
  const double c4 = away1*c1;
  const double c5 = p_epsilon*n;
  const double c6 = c1*c5 - mean;
  const double c7 = 1.0/s_score;
  const double c8 = c1*m;
  *out_R = M1_1*c3 + (c4 > 0 ? c6*y + 1.0 : 0.0);
  *out_B = 0.3989422804014327*c2*sgdlimit_exp(-0.5*square(c6 + 1.0/y)/(s*s))/s;
  *out_F = -M0_1*away1*(c1*c1)*p_epsilon*y + (c4 > 0 ? c2*p_epsilon : 0.0);
  *out_clean_risk = M1_2*c3 + (away2*c1 > 0 ? -mean*y + 1.0 : 0.0);
  *out_clean_error = normal_cdf(-c7*c8);
  *out_robust_error = normal_cdf(c7*(c5 - c8));
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
  const double c1 = (double)((y > 0) - (y < 0));
  const double c2 = c1*y;
  const double c3 = away1*c1;
  const double c4 = c1*p_epsilon;
  const double c5 = c4*n - mean;
  const double c6 = M0_1*c3;
  const double c7 = y*y;
  *out_R = M1_1*c2*s + (c3 > 0 ? c5*y + 1.0 : 0.0);
  *out_A = c6*y + (c3 > 0 ? -y : 0.0);
  *out_B = 0.3989422804014327*c2*sgdlimit_exp(-0.5*square(c5 + 1.0/y)/(s*s))/s;
  *out_D = 0.0;
  *out_F = -M0_1*away1*(c1*c1)*p_epsilon*y + (c3 > 0 ? c4*y : 0.0);
  *out_I = -c6*c7 + (c3 > 0 ? c7 : 0.0);
}

/* dx_j/dt = gamma (offset_j + slope_j (x_j - x_star_j)),  dv_j/dt = 2 gamma slope_j v_j + gamma^2 noise_j */
static void rates(const sgdlimit_problem *p, const double *k, int64_t iterate, const double *x, const double *e,
                  const double *v, double *offset, double *slope, double *noise) {
  const double *x_star = p->teacher;
  const double *omega = p->weights;
  const double p_tau = p->parameters[(iterate * 2 + 1) * p->classes];
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
    const double *par = p->parameters + iterate * 2 * p->classes + i;
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

/* d f_adv/dr and d f_adv/dn at one sample. */
static inline void gradient(double r, double n, double y, const double *par, int64_t stride, double *dr, double *dn) {
  const double p_epsilon = par[0 * stride];
  const double sigma1 = ((-y*(-p_epsilon*n*(double)((y > 0) - (y < 0)) + r) + 1.0) > 0 ? 1.0 : -1.0);
  *dr = (sigma1 > 0 ? -y : 0.0);
  *dn = (sigma1 > 0 ? p_epsilon*y*(double)((y > 0) - (y < 0)) : 0.0);
}

/* The label of one sample. */
static inline double target(double y, double r_star, double xi, double uniform, const double *par, int64_t stride) {
  (void)r_star;
  (void)xi;
  (void)uniform;
  (void)par;
  (void)stride;
  return y;
}

static inline double ridge(const double *par, int64_t stride) {
  const double p_tau = par[1 * stride];
  return p_tau;
}

/* ---- The mode equations, solved --------------------------------------------------------------------------------
 *     dx_j/dt = gamma (offset_j + slope_j (x_j - X*_j))        dv_j/dt = 2 gamma slope_j v_j + gamma^2 noise_j
 *
 * by the explicit Runge-Kutta pair of Dormand and Prince, order 5(4), with dense output, so that output times do not
 * force steps. Three choices are this problem's own.
 *   State: e = x - X* is carried, not x, so that a noiseless decay loses nothing to x's last digits near X*.
 *   Clock: s = sqrt(t - start_time) is the variable. Leaving X = 0, n grows like sqrt(t), and all is smooth in s:
 *     ordinary steps do what steps in t would have to be graded over sixteen decades for.
 *   Errors: relative, without an absolute tolerance, so that a risk that falls by fifteen orders of magnitude stays
 *     right to rtol. Errors of single modes are not judged: what follows from the modes are sums over them.
 * An explicit method takes steps no longer than the fastest mode's time. Where that is hopeless, PATIENCE steps in a row of
 * which more than max_steps would be needed to the end, it says so at once.
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
  int64_t length;          /* of a state y = (e, v, a): 2N + 1, a the integral of sum_j noise_j that AdaGrad-norm needs */
  double *rows;            /* [ROWS][length] the stages' slopes dy/ds, then the state at the step's start */
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

/* out = sum of weights[i] row i. In chunks, so that the sum stays in the first cache while the rows stream by. Rows of
 * weight 0 are passed over: a stage that is still to come may hold anything. */
static void combine(const integration *g, const double weights[ROWS], double *restrict out) {
  enum { CHUNK = 256 };
  const int64_t length = g->length;
  for (int64_t begin = 0; begin < length; begin += CHUNK) {
    const int64_t end = length - begin < CHUNK ? length : begin + CHUNK;
    for (int64_t j = begin; j < end; j++) out[j] = weights[0] * g->rows[j];
    for (int i = 1; i < ROWS; i++) {
      if (weights[i] == 0) continue;
      const double weight = weights[i], *row = g->rows + i * length;
      for (int64_t j = begin; j < end; j++) out[j] += weight * row[j];
    }
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

/* dy/ds at the state y. */
static void differentiate(integration *g, double s, const double *y, double *out) {
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
}

/* Leaves the step's end in `trial`; returns its error in units of what it may be, NaN if the step left the finite. */
static double attempt(integration *g, double s, double h, double *norm2) {
  const sgdlimit_problem *p = g->problem;
  double weights[ROWS];
  g->missing = 0;
  for (int stage = 1; stage < STAGES; stage++) {
    for (int i = 0; i < STAGES; i++) weights[i] = i < stage ? h * stage_weights[stage][i] : 0;
    weights[STATE] = 1;
    combine(g, weights, g->trial);
    differentiate(g, s + stage_positions[stage] * h, g->trial, g->rows + stage * g->length);
  }
  for (int i = 0; i < STAGES; i++) weights[i] = h * error_weights[i];
  weights[STATE] = 0;
  combine(g, weights, g->work);

  *norm2 = judge(g, g->trial, g->trial_scale, g->unresolved);
  if (!isfinite(*norm2)) return NAN;
  double worst = 0;
  for (int64_t w = 0; w <= p->classes; w++) {
    const weighted_sums error = weigh(p->modes, weighting(g, w), g->work, g->work + p->modes);
    const double scale = fmax(g->scale[w], g->trial_scale[w]);
    /* Of sum W (e^2 + v), to first order: a square errs twice as much as its root. */
    const double relative = 2 * sqrt(error.square / (scale + g->unresolved[w])) + error.absolute / scale;
    if (!(relative < INFINITY)) return NAN;   /* fmax would swallow it */
    worst = fmax(worst, relative);
  }
  if (p->step_kind == SGDLIMIT_ADAGRAD_NORM) {
    const double b = p->step_arguments[g->iterate * p->step_arguments_count + 1], accumulated = g->trial[2 * p->modes];
    worst = fmax(worst, fabs(g->work[2 * p->modes]) / (b * b + accumulated));
  }
  return worst / (0.5 * p->rtol);   /* steps add up: to 4 rtol, measured, as a risk falls by fifteen orders */
}

/* The state at the fraction theta of an attempted step of length h, to order 4, into `work`. In a mode that decays much
 * faster than the step the polynomial may dip below v = 0, where the truth never is: 0 is then nearer to it. */
static void interpolate(const integration *g, double h, double theta) {
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
  double fastest = 0;
  for (int64_t j = 0; j < p->modes; j++) fastest = fmax(fastest, fabs(g->slope[j]));
  fastest *= fabs(gamma);
  const double horizon = p->times[p->times_count - 1] - p->start_time;
  return sqrt(p->rtol * (fastest * horizon > 1 ? 1 / fastest : horizon));
}

/* One iterate from start to end, its state left in the state's row; on trouble its status. */
static int32_t integrate(integration *g) {
  const sgdlimit_problem *p = g->problem;
  sgdlimit_outcome *outcome = g->outcome;
  const int64_t N = p->modes, T = p->times_count;
  const size_t state_size = (size_t)g->length * sizeof(double);
  double *state = g->rows + STATE * g->length;
  const double *last_slope = g->rows + (STAGES - 1) * g->length;

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

  const double finish = clock_of_output(p, T - 1);
  const int64_t attempts_before = outcome->accepted + outcome->rejected;
  double s = 0, h = first_step(g, gamma), last_error = 1, growth = 10;
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
    hopeless = (finish - s) * (finish + s) > (double)left * h * (s + end) ? hopeless + 1 : 0;
    if (hopeless > PATIENCE) return g->missing ? SGDLIMIT_NO_STEP : SGDLIMIT_NO_PROGRESS;

    const double error = attempt(g, s, h, &norm2);
    const double kept = !(error <= 1) ? fmax(0.1, 0.95 * pow(error, -0.2))   /* 0.1 when the error is not a number */
                        : has_negative(N, g->trial + N) ? 0.5 : 1;
    if (kept < 1) {
      outcome->rejected++;
      h *= kept;
      growth = 1;
      continue;
    }
    for (; output < T && clock_of_output(p, output) <= end; output++) {
      const double theta = (clock_of_output(p, output) - s) / h;
      if (theta < 1) interpolate(g, h, theta);
      const int32_t status = record(g, output, theta < 1 ? g->work : g->trial);
      if (status != SGDLIMIT_OK) return status;
    }

    outcome->accepted++;
    s = end;
    outcome->time = p->start_time + s * s;
    if (norm2 > norm2_bound) return SGDLIMIT_DIVERGED;
    memcpy(state, g->trial, state_size);
    memcpy(g->rows, last_slope, state_size);
    memcpy(g->scale, g->trial_scale, (size_t)(1 + p->classes) * sizeof(double));
    /* Step control with memory (PI): a plain one rejects every fifth step where stability limits the step. */
    h *= fmin(growth, fmax(0.2, 0.95 * pow(error, -0.17) * pow(last_error, 0.04)));
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

  const int64_t per_mode = 2 * ROWS + 2 + 2 + 8, others = constants_count(p) + 4 * (1 + K) + STATISTICS + ROWS + 2;
  double *memory = N < (PTRDIFF_MAX / (int64_t)sizeof(double) - others) / per_mode
                       ? malloc((size_t)(per_mode * N + others) * sizeof(double))
                       : NULL;
  if (!memory) return outcome->status = SGDLIMIT_OUT_OF_MEMORY;
  sgdlimit_problem problem = *p;
  integration g = {.problem = &problem, .outcome = outcome, .length = 2 * N + 1};
  double *next = memory;
  g.rows = next, next += ROWS * g.length;
  g.trial = next, next += g.length;
  g.work = next, next += g.length;
  g.descent_work = next, next += 2 * N;
  g.x = next, next += N;
  g.offset = next, next += N;
  g.slope = next, next += N;
  g.noise = next, next += N;
  g.ones = next, next += N;
  g.teacher2 = next, next += 1 + K;
  g.scale = next, next += 1 + K;
  g.trial_scale = next, next += 1 + K;
  g.unresolved = next, next += 1 + K;
  g.bound = next, next += STATISTICS;
  double *nowhere = next;
  next += N;
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

/* ---- Random numbers: xoshiro256++ in eight lanes, normals by Box-Muller ----------------------------------------
 * There are always eight logical lanes, held in as many vectors as the target needs for them: one of AVX-512, two of
 * AVX2, four of SSE2 or NEON. A stream is therefore the same on every target, up to the last bits that contraction
 * to fused multiply-adds may change. Vectors of the target's own width, and functions that are always inlined, since
 * wider vectors spill and vectors passed in a call are slow and warned of. Nothing below branches on a number.
 *
 * Generator: D. Blackman, S. Vigna, "Scrambled linear pseudorandom number generators", ACM TOMS 47 (2021). */
#if defined(__AVX512F__)
#define LANES_PER_VECTOR 8
#elif defined(__AVX2__)
#define LANES_PER_VECTOR 4
#else
#define LANES_PER_VECTOR 2
#endif

enum { LANES = 8, VECTORS = LANES / LANES_PER_VECTOR, BLOCK = 2 * LANES /* normals of one draw of all lanes */ };

typedef double reals __attribute__((vector_size(8 * LANES_PER_VECTOR)));
typedef uint64_t words __attribute__((vector_size(8 * LANES_PER_VECTOR)));

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
 * a one-to-one function of (run, purpose). The 32 words of the eight states then follow as in splitmix64. */
static void seed_generator(generator *g, uint64_t seed, uint64_t run, uint64_t purpose) {
  const uint64_t golden = UINT64_C(0x9e3779b97f4a7c15);
  const uint64_t key = mix(mix(seed + golden) + run * PURPOSES + purpose);
  uint64_t state[4][LANES];
  for (uint64_t i = 0; i < 4; i++)
    for (uint64_t lane = 0; lane < LANES; lane++) state[i][lane] = mix(key + (1 + i * LANES + lane) * golden);
  memcpy(g->state, state, sizeof state);
}

LANEWISE words rotate_left(words word, int count) { return (word << count) | (word >> (64 - count)); }

/* The next 64 bits of each lane of vector v. */
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
LANEWISE reals from_one_to_two(words word) { return (reals)((word >> 12) | UINT64_C(0x3ff0000000000000)); }

/* Uniform on [0, 1). */
LANEWISE reals draw_uniforms(generator *g, int v) { return from_one_to_two(draw_words(g, v)) - 1.0; }

/* -2 log(u) for u in (0, 1], never negative. With u = 2^e m, m in [1/sqrt 2, sqrt 2) and s = (m - 1)/(m + 1),
 * log(u) = e log 2 + s A(s^2), A(t) = 2 atanh(sqrt t)/sqrt t: relatively accurate at u = 1 too, where e = 0.
 * A: mpmath.chebyfit at 40 digits, 6 coefficients on 0 <= t <= 17 - 12 sqrt 2, times -2. Relative error 2.8e-14. */
LANEWISE reals minus_two_log(reals u) {
  const uint64_t one = UINT64_C(0x3ff0000000000000), root_half = UINT64_C(0x3fe6a09e667f3bcd);
  const uint64_t fraction = UINT64_C(0x000fffffffffffff), two_to_52 = UINT64_C(0x4330000000000000);
  const words scaled = (words)u + (one - root_half);   /* its exponent field is e + 1023, its fraction that of m */
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


/* ---- Streaming SGD in the eigenbasis ---------------------------------------------------------------------------
 * X <- X - (gamma/d) [d_r f x + (d_n f/n + tau) X], a fresh x each step, for M iterates that share the data stream.
 * A step is one sweep over the coordinates: it applies the update of the step before, whose x is still in its buffer,
 * draws the new x and accumulates ||X||^2, r = <x, X> and r* = <x, X*>. Nothing else costs O(d): a class is two
 * pointers to rows, and the update of a step is two numbers an iterate. Rows are padded with zeros to whole blocks.
 *
 * The loss enters through these alone; parameter p of a class is par[p * stride]. */
static inline void gradient(double r, double n, double y, const double *par, int64_t stride, double *dr, double *dn);
static inline double target(double label, double r_star, double xi, double uniform, const double *par, int64_t stride);
static inline double ridge(const double *par, int64_t stride);

enum { COORDINATE_STEPS_PER_LOOK = 1 << 20 };   /* between looks at the cancel flag: about a millisecond */

/* X <- kept X + added x, to be applied by the next sweep. */
typedef struct update {
  double kept, added;
} update;

typedef struct simulation {
  const sgdlimit_problem *problem;
  int64_t length;             /* of a row: N rounded up to whole blocks */
  double *roots, *means;      /* [K][length] square roots of the eigenvalues; means */
  double *teacher;            /* [length] */
  double *reference;          /* [length], NULL when the problem has none */
  double *x;                  /* [length] the last sample */
  double *iterates;           /* [M][length] */
  reals *sums;                /* [M][2][VECTORS] of a sweep: ||X||^2 and <x, X> */
  double *norm2, *r;          /* [M] */
  double *gradient2;          /* [M] sum of ||g||^2/d^2 over the steps so far, g the whole stochastic gradient */
  double *at_iterate;         /* [7][N] e, v = 0, offset, slope, noise, work */
  double *predicted;          /* [2][N] mean and variance of the iterate half a step on, in a diffusion */
  double *constants;
  double *norm2_bound;        /* [M] beyond it the iterate has diverged */
  update *updates;            /* [M] */
  double *cumulated;          /* [K] cumulated probabilities of the classes */
  generator coordinates, chances;
  double class_uniform[BLOCK], xi[BLOCK], label_uniform[BLOCK];   /* of the BLOCK steps from the last refill on */
} simulation;

LANEWISE reals load(const double *from) {
  reals v;
  memcpy(&v, from, sizeof v);
  return v;
}

LANEWISE void store(double *to, reals v) { memcpy(to, &v, sizeof v); }

LANEWISE reals updated(update u, reals X, reals x) { return u.kept * X + u.added * x; }

/* In one order whatever the vectors' width. */
LANEWISE double sum_of_lanes(const reals v[VECTORS]) {
  double a[LANES];
  memcpy(a, v, sizeof a);
  return ((a[0] + a[4]) + (a[1] + a[5])) + ((a[2] + a[6]) + (a[3] + a[7]));
}

/* The step's one pass over the coordinates, for a class given by its two rows; returns r*. Inlined once with M = 1,
 * where the loop over iterates disappears and `sums` lives in registers, and once with M as it comes. */
LANEWISE double sweep(simulation *s, int64_t M, reals *sums, const double *root, const double *mean) {
  const int64_t length = s->length;
  const double *teacher = s->teacher;
  const update *updates = s->updates, only = s->updates[0];
  double *x = s->x, *iterates = s->iterates;
  generator g = s->coordinates;   /* a copy can stay in registers */
  reals r_star[VECTORS] = {{0}};
  for (int64_t i = 0; i < M * 2 * VECTORS; i++) sums[i] = (reals){0};

  for (int64_t block = 0; block < length; block += BLOCK)
    for (int v = 0; v < VECTORS; v++) {
      const int64_t j = block + v * LANES_PER_VECTOR, k = j + LANES;
      reals z_j, z_k;
      draw_normals(&g, v, &z_j, &z_k);
      const reals old_j = load(x + j), old_k = load(x + k);
      const reals x_j = load(mean + j) + load(root + j) * z_j;
      const reals x_k = load(mean + k) + load(root + k) * z_k;
      store(x + j, x_j);
      store(x + k, x_k);
      r_star[v] += load(teacher + j) * x_j;
      r_star[v] += load(teacher + k) * x_k;
      for (int64_t m = 0; m < M; m++) {
        double *X = iterates + m * length;
        const update u = M == 1 ? only : updates[m];
        const reals X_j = updated(u, load(X + j), old_j), X_k = updated(u, load(X + k), old_k);
        store(X + j, X_j);
        store(X + k, X_k);
        reals *sum = sums + m * 2 * VECTORS;
        sum[v] += X_j * X_j;
        sum[v] += X_k * X_k;
        sum[VECTORS + v] += X_j * x_j;
        sum[VECTORS + v] += X_k * x_k;
      }
    }

  s->coordinates = g;
  for (int64_t m = 0; m < M; m++) {
    s->norm2[m] = sum_of_lanes(sums + m * 2 * VECTORS);
    s->r[m] = sum_of_lanes(sums + m * 2 * VECTORS + VECTORS);
  }
  return sum_of_lanes(r_star);
}

/* The class, the label noise and the label's chance of the next BLOCK steps. */
static void refill_chances(simulation *s) {
  for (int v = 0; v < VECTORS; v++) {
    const int j = v * LANES_PER_VECTOR, k = j + LANES;
    reals z_j, z_k;
    draw_normals(&s->chances, v, &z_j, &z_k);
    store(s->xi + j, z_j);
    store(s->xi + k, z_k);
    store(s->class_uniform + j, draw_uniforms(&s->chances, v));
    store(s->class_uniform + k, draw_uniforms(&s->chances, v));
    store(s->label_uniform + j, draw_uniforms(&s->chances, v));
    store(s->label_uniform + k, draw_uniforms(&s->chances, v));
  }
}

/* Counts instead of searching: a branch on a random number is mispredicted half of the time. */
static int64_t drawn_class(const simulation *s, double uniform) {
  int64_t class = 0;
  for (int64_t i = 0; i + 1 < s->problem->classes; i++) class += uniform >= s->cumulated[i];
  return class;
}

static double square_norm(int64_t length, const double *x) {
  reals sum[VECTORS] = {{0}};
  for (int64_t block = 0; block < length; block += LANES)
    for (int v = 0; v < VECTORS; v++) {
      const reals x_j = load(x + block + v * LANES_PER_VECTOR);
      sum[v] += x_j * x_j;
    }
  return sum_of_lanes(sum);
}

/* The learning rate at time t. Where it depends on the state, that is the iterate's own: its score law is exact, so x = X
 * and v = 0. */
static double rate_of_iterate(const simulation *s, int64_t iterate, double t) {
  const sgdlimit_problem *p = s->problem;
  if (!depends_on_state(p)) return learning_rate(p, NULL, iterate, t, NULL);
  const int64_t N = p->modes;
  const double *x = s->iterates + iterate * s->length;
  double *e = s->at_iterate, *v = e + N, *offset = v + N, *slope = offset + N, *noise = slope + N;
  const point at = {x, e, v, offset, slope, noise, s->gradient2[iterate], noise + N};
  if (p->step_kind != SGDLIMIT_ADAGRAD_NORM) {
    for (int64_t j = 0; j < N; j++) e[j] = x[j] - p->teacher[j];
    rates(p, s->constants, iterate, x, e, v, offset, slope, noise);
  }
  return learning_rate(p, s->constants, iterate, t, &at);
}

/* One iterate's update from its scores at time t, the step's class, and its sample's chances. */
static inline update sgd_update(simulation *s, int64_t iterate, double t, int64_t class, double r_star, double xi,
                                double uniform) {
  const sgdlimit_problem *p = s->problem;
  const int64_t K = p->classes;
  const double *par = PARAMETERS > 0 ? p->parameters + iterate * PARAMETERS * K + class : NULL;
  const double r = s->r[iterate], n = sqrt(s->norm2[iterate]), d = p->dimension;
  const double y = target(p->labels[class], r_star, xi, uniform, par, K);
  double dr, dn;
  gradient(r, n, y, par, K, &dr, &dn);
  const double shrinkage = (n > 0 ? dn / n : 0) + ridge(par, K);
  if (p->step_kind == SGDLIMIT_ADAGRAD_NORM) {   /* g = dr x + shrinkage X */
    const double cross = dr * shrinkage * r, own = shrinkage * n;
    s->gradient2[iterate] += (dr * dr * square_norm(s->length, s->x) + 2 * cross + own * own) / (d * d);
  }
  const double step = rate_of_iterate(s, iterate, t) / d;
  return (update){.kept = 1 - step * shrinkage, .added = -step * dr};
}

/* Between sweeps, so that an iterate can be looked at; the next sweep then finds nothing to apply. */
static void apply_update(simulation *s, int64_t iterate) {
  const update u = s->updates[iterate];
  double *X = s->iterates + iterate * s->length;
  for (int64_t j = 0; j < s->length; j += LANES_PER_VECTOR) store(X + j, updated(u, load(X + j), load(s->x + j)));
  s->updates[iterate] = (update){.kept = 1, .added = 0};
}

/* norm2, overlap, distance2, reference_distance2, learning_rate; m, c, Q of each class. */
static void summarise(const simulation *s, int64_t iterate, double t, double *summary) {
  const double *X = s->iterates + iterate * s->length;
  reals norm2[VECTORS] = {{0}}, overlap[VECTORS] = {{0}}, distance2[VECTORS] = {{0}}, reference2[VECTORS] = {{0}};
  for (int64_t block = 0; block < s->length; block += LANES)
    for (int v = 0; v < VECTORS; v++) {
      const int64_t j = block + v * LANES_PER_VECTOR;
      const reals X_j = load(X + j), teacher_j = load(s->teacher + j);
      norm2[v] += X_j * X_j;
      overlap[v] += X_j * teacher_j;
      distance2[v] += (X_j - teacher_j) * (X_j - teacher_j);
      if (s->reference) reference2[v] += (X_j - load(s->reference + j)) * (X_j - load(s->reference + j));
    }
  summary[0] = sum_of_lanes(norm2);
  summary[1] = sum_of_lanes(overlap);
  summary[2] = sum_of_lanes(distance2);
  summary[3] = s->reference ? sum_of_lanes(reference2) : NAN;
  summary[4] = rate_of_iterate(s, iterate, t);
  for (int64_t class = 0; class < s->problem->classes; class++) {
    const double *root = s->roots + class * s->length, *mean = s->means + class * s->length;
    reals m[VECTORS] = {{0}}, c[VECTORS] = {{0}}, Q[VECTORS] = {{0}};
    for (int64_t block = 0; block < s->length; block += LANES)
      for (int v = 0; v < VECTORS; v++) {
        const int64_t j = block + v * LANES_PER_VECTOR;
        const reals X_j = load(X + j), root_j = load(root + j);
        m[v] += load(mean + j) * X_j;
        c[v] += (root_j * X_j) * (root_j * load(s->teacher + j));
        Q[v] += (root_j * X_j) * (root_j * X_j);
      }
    double *of_class = summary + SGDLIMIT_SUMMARY + SGDLIMIT_CLASS_SUMMARY * class;
    of_class[0] = sum_of_lanes(m);
    of_class[1] = sum_of_lanes(c);
    of_class[2] = sum_of_lanes(Q);
  }
}

static int64_t steps_until(const sgdlimit_problem *p, double time) { return (int64_t)floor(time * p->dimension + 0.5); }

/* Whatever is not finite in a step shows in the norm after it. */
static int has_diverged(const simulation *s, int64_t iterate, double norm2) {
  return !isfinite(norm2) || norm2 > s->norm2_bound[iterate];
}

static void copy_padded(double *to, const double *from, int64_t count, int64_t length) {
  for (int64_t j = 0; j < length; j++) to[j] = j < count ? from[j] : 0;
}

static void begin_at_start(simulation *s, int64_t iterate) {
  const sgdlimit_problem *p = s->problem;
  const int64_t N = p->modes;
  const double *start = p->start_mean + iterate * N;
  copy_padded(s->iterates + iterate * s->length, start, N, s->length);
  s->gradient2[iterate] = p->start_auxiliary ? p->start_auxiliary[iterate] : 0;
  s->updates[iterate] = (update){.kept = 1, .added = 0};
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
      const double *root = s->roots + class * s->length, *mean = s->means + class * s->length;
      reals sums[2 * VECTORS];
      const double r_star = M == 1 ? sweep(s, 1, sums, root, mean) : sweep(s, M, s->sums, root, mean);
      for (int64_t m = 0; m < M; m++) {
        if (has_diverged(s, m, s->norm2[m])) {
          outcome->iterate = m;
          return SGDLIMIT_DIVERGED;
        }
        s->updates[m] = sgd_update(s, m, t, class, r_star, s->xi[chance], s->label_uniform[chance]);
        if (isnan(s->updates[m].kept) && depends_on_state(p)) {
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

static int can_be_simulated(const sgdlimit_problem *p) {
  if (p->size != sizeof *p) return 0;
  if (p->iterates < 1 || p->classes < 1 || p->modes < 1 || p->times_count < 1 || p->runs < 0 || p->first_run < 0)
    return 0;
  if (p->dimension != (double)p->modes) return 0;   /* a mode is a coordinate here */
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
static double *lay_out(simulation *s, int with_rates) {
  const sgdlimit_problem *p = s->problem;
  const int64_t M = p->iterates, K = p->classes, N = p->modes, L = s->length;
  const int64_t rows = 2 * K + M + 3 + (with_rates ? 9 : 0), others = constants_count(p) + K;
  const double doubles = (double)L * (double)rows + (double)(2 * LANES + 6) * (double)M + (double)others;
  if (doubles > (double)(PTRDIFF_MAX / 2 / (int64_t)sizeof(double))) return NULL;
  const size_t bytes = ((size_t)(L * rows + (2 * LANES + 6) * M + others) * sizeof(double) + 63) / 64 * 64;
  double *memory = aligned_alloc(64, bytes);   /* rows and sums at whole cache lines: they are whole blocks long */
  if (!memory) return NULL;
  double *next = memory;
  s->roots = next, next += K * L;
  s->means = next, next += K * L;
  s->teacher = next, next += L;
  s->x = next, next += L;
  s->reference = next, next += L;
  s->iterates = next, next += M * L;
  s->sums = (reals *)next, next += M * 2 * LANES;
  s->updates = (update *)next, next += M * 2;
  s->norm2 = next, next += M;
  s->r = next, next += M;
  s->norm2_bound = next, next += M;
  s->gradient2 = next, next += M;
  s->cumulated = next, next += K;
  s->constants = next, next += constants_count(p);
  s->at_iterate = next, next += with_rates ? 7 * N : 0;
  s->predicted = next;
  return memory;
}

/* All that runs share, and summaries that are NaN until they are known; NULL when there is no memory. */
static double *set_up(simulation *s, const sgdlimit_problem *p, int with_rates) {
  const int64_t K = p->classes, N = p->modes, S = SGDLIMIT_SUMMARY + SGDLIMIT_CLASS_SUMMARY * K;
  *s = (simulation){.problem = p, .length = (N + BLOCK - 1) / BLOCK * BLOCK};
  double *memory = lay_out(s, with_rates);
  if (!memory) return NULL;
  for (int64_t class = 0; class < K; class++) {
    double *root = s->roots + class * s->length;
    copy_padded(root, p->eigenvalues + class * N, N, s->length);
    for (int64_t j = 0; j < N; j++) root[j] = sqrt(root[j]);
    copy_padded(s->means + class * s->length, p->means + class * N, N, s->length);
    s->cumulated[class] = p->probabilities[class] + (class > 0 ? s->cumulated[class - 1] : 0);
  }
  copy_padded(s->teacher, p->teacher, N, s->length);
  if (p->reference) copy_padded(s->reference, p->reference, N, s->length);
  else s->reference = NULL;
  if (with_rates) {
    for (int64_t j = 0; j < N; j++) s->at_iterate[N + j] = 0;
    constants(p, s->constants);
  }
  const int64_t values = p->runs * p->iterates * p->times_count * S;
  for (int64_t i = 0; i < values; i++) p->statistics[i] = NAN;
  return memory;
}

/* Runs first_run .. first_run + runs - 1, each a function of (seed, run) alone, for `times` in units of d steps.
 * Summaries that trouble left undone are NaN; the later runs are then not begun. */
int32_t sgdlimit_simulate(const sgdlimit_problem *p, sgdlimit_outcome *outcome) {
  *outcome = (sgdlimit_outcome){.status = SGDLIMIT_BAD_PROBLEM};
  if (!can_be_simulated(p)) return outcome->status;
  simulation s;
  double *memory = set_up(&s, p, depends_on_state(p));
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
  double *memory = set_up(&s, p, 1);
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
