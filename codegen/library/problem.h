/* ---- The problem: what a caller hands to a kernel, and what it gets back ---------------------------------------
 * One struct serves every verb (solve, simulate); a verb reads the fields it needs and leaves the others alone. The
 * struct begins with its size, so that a caller built against another layout is refused instead of misread. Matrices
 * are dense and row-major; [M][N] says that row m holds the N modes of iterate m. Nothing is kept between calls. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SGDLIMIT_ABI 1

enum {
  SGDLIMIT_OK = 0,
  SGDLIMIT_DIVERGED = 1,
  SGDLIMIT_CANCELLED = 2,
  SGDLIMIT_NO_PROGRESS = 3,   /* step size underflow, or more than max_steps */
  SGDLIMIT_BAD_PROBLEM = 4,   /* size or counts */
  SGDLIMIT_OUT_OF_MEMORY = 5,
  SGDLIMIT_NO_STEP = 6        /* a greedy learning rate does not exist */
};

enum { SGDLIMIT_CONSTANT = 0, SGDLIMIT_SCHEDULE = 1 };   /* later kinds are appended */

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
  const double *reference;        /* [N] X° or NULL */
  const double *parameters;       /* [M][P][K] in the order of sgdlimit_parameter_names */
  const double *start_mean;       /* [M][N] x_j at start_time */
  const double *start_variance;   /* [M][N] v_j at start_time (solve only) */
  const double *start_auxiliary;  /* [M][aux] or NULL */
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
  double *statistics;             /* out. solve: [M][T][S]; simulate: [runs][M][T][4 + 3K] summaries */
  double *mean, *variance;        /* out, solve: [M][T][N] or NULL */
  double *final_mean, *final_variance, *final_auxiliary;   /* out, solve: [M][N] state at the last time, or NULL */
} sgdlimit_problem;

typedef struct sgdlimit_outcome {
  int32_t status;                 /* SGDLIMIT_OK, ... */
  int64_t iterate, run;           /* of the first trouble */
  double time;                    /* reached, or of the first trouble */
  int64_t accepted, rejected, evaluations;
} sgdlimit_outcome;

