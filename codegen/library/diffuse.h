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
