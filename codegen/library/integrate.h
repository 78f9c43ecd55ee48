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
