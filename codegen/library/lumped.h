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
