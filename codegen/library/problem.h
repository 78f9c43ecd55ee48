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

