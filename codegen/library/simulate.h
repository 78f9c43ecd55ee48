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

/* One iterate's update from its scores at time t, the step's class, and its sample's chances. */
static inline update sgd_update(simulation *s, int64_t iterate, double t, int64_t class, double r_star, double xi,
                                double uniform) {
  const sgdlimit_problem *p = s->problem;
  const double r = s->r[iterate], n = sqrt(s->norm2[iterate]);
  const pull g = pull_of(p, iterate, class, r, n, r_star, xi, uniform);
  if (p->step_kind == SGDLIMIT_ADAGRAD_NORM)
    s->gradient2[iterate] += square_of_gradient(p, g, r, n, square_norm(s->length, s->x));
  const double step = rate_of_iterate(s, iterate, t) / p->dimension;
  return (update){.kept = 1 - step * g.shrinkage, .added = -step * g.dr};
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
