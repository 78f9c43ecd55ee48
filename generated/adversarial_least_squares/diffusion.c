/* The high-dimensional limit of streaming SGD on one model: homogenised SGD.
 *   loss       (r - y)**2/2
 *   target     Teacher('r_star + sigma*xi')
 *   adversary  l2 ball of radius epsilon
 *
 * Written by sgdlimit, generator format 24. To write it again:
 *   sgdlimit generate SPEC --out DIRECTORY --parts diffusion
 * It stands alone: cc -O3 -c this_file.c; link with -lm. The interface is the struct sgdlimit_problem and the
 * functions sgdlimit_*. The mathematics is arXiv 2607.00207, in the notation of docs/theory.md.
 *
 * Contents
 *   The problem: what a caller hands to a kernel, and what it gets back
 *   Elementary functions that loops over many arguments can vectorise
 *   Learning rates
 *   This model
 *   Random numbers: eight generators xoshiro256++, normals by Box-Muller
 *   Streaming SGD in the eigenbasis
 *   Homogenised SGD
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

/* -log(erfc(x)) for 1/2 <= x < 5.93, up to an error that makes one of less than 1e-16 in 1 - erfc(x): 20 coefficients, least
 * squares in units of 1/erfc at 80 digits. Beyond, where erfc is below half a digit, what it is at 5.93. */
LANEWISE double sgdlimit_erfc_exponent(double x) {
  const double h = x > 5.93 ? 5.93 : x, u = h * h;
  double a = u * 2.396326327003667e-13 + 1.8032562599653722e-10;
  double b = u * -9.69646777423947e-12 - 2.030842012600915e-09;
  a = a * u + 1.527299271021768e-08;
  b = b * u - 7.864584659295978e-08;
  a = a * u + 2.611294306973625e-07;
  b = b * u - 3.527683238894276e-07;
  a = a * u - 1.6374150707673145e-06;
  b = b * u + 1.2737514761307754e-05;
  a = a * u - 4.419953722245e-05;
  b = b * u + 8.1891461674689e-05;
  a = a * u + 9.47325888578872e-06;
  b = b * u - 0.0005780073636080113;
  a = a * u + 0.0016892703475774723;
  b = b * u - 0.0002061831865354163;
  a = a * u - 0.01912940431991657;
  b = b * u + 0.10277281309628844;
  a = a * u + 0.6366197440883569;
  b = b * u + 1.1283791688597773;
  return (a * h + b) * h;
}

LANEWISE double sgdlimit_erf(double x) {
  const double t = x * x;
  double a = t * 1.4725865480556744e-06 - 1.4845849259707869e-05;
  a = a * t + 1.2053335124353741e-04;
  a = a * t - 8.548297753674966e-04;
  a = a * t + 5.22397737302147e-03;
  a = a * t - 2.6866170632887928e-02;
  a = a * t + 1.1283791670925353e-01;
  a = a * t - 3.7612638903183476e-01;
  a = a * t + 1.1283791670955126;
  return fabs(x) < 0.5 ? x * a : copysign(1.0 - sgdlimit_exp(-sgdlimit_erfc_exponent(fabs(x))), x);
}

LANEWISE double square(double x) { return x * x; }

/* NaN if one of the two is, which fmax and fmin would swallow. */
LANEWISE double larger(double a, double b) { return ((a > b) | (a != a)) ? a : b; }

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
 * loss       (r - y)**2/2
 * target     Teacher('r_star + sigma*xi')
 * adversary  l2 ball of radius epsilon
 */

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
  const double p_sigma = par[2 * stride];
  const double mean = dm;
  const double s = sqrt(larger(1e-300, p_sigma*p_sigma + Q_perp + Q_star*(beta1*beta1)));
  const double c1 = 1.0/s;
  const double c2 = p_epsilon*sgdlimit_erf(0.7071067811865476*c1*mean);
  const double c3 = c2*n;
  const double c4 = mean*mean;
  const double c5 = s*s;
  const double c6 = sgdlimit_exp(-0.5*c4/c5);
  const double c7 = 0.7978845608028654*c6*p_epsilon;
  const double c8 = p_epsilon*p_epsilon;
  *out_A = c3 + mean;
  *out_B = c1*c7*n + 1.0;
  *out_F = c2*mean + c7*s + c8*n;
  *out_I = 2.0*c3*mean + c4 + c5 + 1.5957691216057308*c6*p_epsilon*n*s + c8*(n*n);
  *out_BD = 0.0;
}

/* What the rates are made of beside the modes: scalars, of which those of the noise come last. */
static int64_t drift_scalars_count(const sgdlimit_problem *p) { return 2 + 3 * p->classes; }
static int64_t rate_scalars_count(const sgdlimit_problem *p) {
  return drift_scalars_count(p) + 1 * p->classes;
}

static void rate_scalars(const sgdlimit_problem *p, const double *k, int64_t iterate, const double *x, const double *e,
                         const double *v, double *scalars) {
  const double p_tau = p->parameters[(iterate * 3 + 1) * p->classes];
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
    const double *par = p->parameters + iterate * 3 * p->classes + i;
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

/* A mode is a coordinate here. */
static int can_be_simulated(const sgdlimit_problem *p) {
  return has_counts_and_times(p) && p->dimension == (double)p->modes;
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
#ifndef SGDLIMIT_FLOAT32   /* in double precision alone */

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
  rate_scalars(p, s->constants, iterate, X, e, none, s->scalars);
  rates(p, s->scalars, 0, N, offset, slope, noise);
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
  rate_scalars(p, s->constants, iterate, middle, e, spread, s->scalars);
  rates(p, s->scalars, 0, N, offset, slope, noise);
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
