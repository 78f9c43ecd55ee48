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
