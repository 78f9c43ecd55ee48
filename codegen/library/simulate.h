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

enum { COORDINATE_STEPS_PER_LOOK = 1 << 20 };   /* between looks at the cancel flag: about a millisecond */

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

LANEWISE const real *of_chunk(constant_row row, int64_t begin) { return row.numbers + row.stride * begin; }

LANEWISE reals updated(update u, reals X, reals x) { return X + (u.own * X + u.sample * x); }

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

/* Sums of one iterate over a chunk. */
typedef struct products {
  reals norm2[VECTORS], r[VECTORS];
} products;

/* Moves LANES_PER_VECTOR coordinates of an iterate by the sample before, and multiplies them with the new one. */
LANEWISE void advance(update u, real *X, reals before, reals x, int v, products *sums) {
  const reals moved = updated(u, load(X), before);
  store(X, moved);
  sums->norm2[v] += moved * moved;
  sums->r[v] += moved * x;
}

/* The step's one pass over the coordinates, for a sample of a class; returns r*. The first iterate moves while a chunk is
 * drawn, the others follow on that chunk, one after the other, so that a sum has a register. Every other pass goes
 * backwards, chunk by chunk: it begins with what the one before has left in the caches. */
static double sweep(simulation *s, int64_t class) {
  const int64_t length = s->length, M = s->problem->iterates;
  real kept[CHUNK];
  const update u = s->updates[0];
  generator g = s->coordinates;   /* a copy can stay in registers */
  double *totals = s->totals, r_star[LANES] = {0};
  for (int64_t i = 0; i < M * 2 * LANES; i++) totals[i] = 0;

  for (int64_t chunks = (length + CHUNK - 1) / CHUNK, chunk = 0; chunk < chunks; chunk++) {
    const int64_t begin = (s->backwards ? chunks - 1 - chunk : chunk) * CHUNK;
    const int64_t end = begin + CHUNK < length ? begin + CHUNK : length;
    reals star[VECTORS] = {{0}}, radius2[DRAWS * VECTORS];
    words angles[DRAWS * VECTORS];
    products sums = {{{0}}, {{0}}};
    draw_polar(&g, (int)((end - begin) / BLOCK), radius2, angles);
    const real *root = of_chunk(s->roots[class], begin), *mean = of_chunk(s->means[class], begin);
    const real *teacher = of_chunk(s->teacher, begin);
    real *x = s->x + begin, *X = s->iterates + begin;
    for (int64_t block = 0, i = 0; block < end - begin; block += BLOCK)
      for (int v = 0; v < VECTORS; v++, i++) {
        const int64_t j = block + v * LANES_PER_VECTOR, k = j + LANES;
        reals z_j, z_k;
        turn(radius2[i], angles[i], &z_j, &z_k);
        const reals before_j = load(x + j), before_k = load(x + k);
        const reals x_j = load(mean + j) + load(root + j) * z_j;
        const reals x_k = load(mean + k) + load(root + k) * z_k;
        store(x + j, x_j);
        store(x + k, x_k);
        star[v] += load(teacher + j) * x_j;
        star[v] += load(teacher + k) * x_k;
        advance(u, X + j, before_j, x_j, v, &sums);
        advance(u, X + k, before_k, x_k, v, &sums);
        if (M > 1) {
          store(kept + j, before_j);
          store(kept + k, before_k);
        }
      }
    add_lanes(r_star, star);
    add_lanes(totals, sums.norm2);
    add_lanes(totals + LANES, sums.r);

    for (int64_t m = 1; m < M; m++) {
      const update own = s->updates[m];
      real *X_m = X + m * length;
      products of_m = {{{0}}, {{0}}};
      for (int64_t block = 0; block < end - begin; block += LANES)
        for (int v = 0; v < VECTORS; v++) {
          const int64_t j = block + v * LANES_PER_VECTOR;
          advance(own, X_m + j, load(kept + j), load(x + j), v, &of_m);
        }
      add_lanes(totals + 2 * m * LANES, of_m.norm2);
      add_lanes(totals + (2 * m + 1) * LANES, of_m.r);
    }
  }

  s->coordinates = g;
  s->backwards = !s->backwards;
  for (int64_t m = 0; m < M; m++) {
    s->norm2[m] = sum_of_lanes(totals + 2 * m * LANES);
    s->r[m] = sum_of_lanes(totals + (2 * m + 1) * LANES);
  }
  return sum_of_lanes(r_star);
}

/* The class, the label noise and the label's chance of the next BLOCK steps. */
static void refill_chances(simulation *s) {
  for (int v = 0; v < VECTORS; v++) {
    reals z[2];
    draw_normals(&s->chances, v, &z[0], &z[1]);
    for (int i = 0; i < 2; i++)
      for (int lane = 0; lane < LANES_PER_VECTOR; lane++) s->xi[i * LANES + v * LANES_PER_VECTOR + lane] = z[i][lane];
    double *uniforms[2] = {s->class_uniform, s->label_uniform};
    for (int i = 0; i < 2; i++)
      for (int first = v * GENERATORS_PER_VECTOR; first < BLOCK; first += GENERATORS) {
        const doubles drawn = draw_uniforms(&s->chances, v);
        memcpy(uniforms[i] + first, &drawn, sizeof drawn);
      }
  }
}

/* Counts instead of searching: a branch on a random number is mispredicted half of the time. */
static int64_t drawn_class(const simulation *s, double uniform) {
  int64_t class = 0;
  for (int64_t i = 0; i + 1 < s->problem->classes; i++) class += uniform >= s->cumulated[i];
  return class;
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
  return (update){.own = (real)(-step * g.shrinkage), .sample = (real)(-step * g.dr)};
}

/* Between sweeps, so that an iterate can be looked at; the next sweep then finds nothing to apply. */
static void apply_update(simulation *s, int64_t iterate) {
  const update u = s->updates[iterate];
  real *X = s->iterates + iterate * s->length;
  for (int64_t j = 0; j < s->length; j += LANES_PER_VECTOR) store(X + j, updated(u, load(X + j), load(s->x + j)));
  s->updates[iterate] = (update){0, 0};
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
  s->backwards = 0;
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
      const double r_star = sweep(s, class);
      for (int64_t m = 0; m < M; m++) {
        if (has_diverged(s, m, s->norm2[m])) {
          outcome->iterate = m;
          return SGDLIMIT_DIVERGED;
        }
        s->updates[m] = sgd_update(s, m, t, class, r_star, s->xi[chance], s->label_uniform[chance]);
        if (isnan(s->updates[m].own) && depends_on_state(p)) {
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

/* Runs first_run .. first_run + runs - 1, each a function of (seed, run, precision) alone, for `times` in units of d steps.
 * Summaries that trouble left undone are NaN; the later runs are then not begun. */
int32_t sgdlimit_simulate(const sgdlimit_problem *p, sgdlimit_outcome *outcome) {
  *outcome = (sgdlimit_outcome){.status = SGDLIMIT_BAD_PROBLEM};
  if (!can_be_simulated(p)) return outcome->status;
  simulation s;
  void *memory = set_up(&s, p, depends_on_state(p));
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
