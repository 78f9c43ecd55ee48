/* The right-hand side of adversarial least squares as a person writes it (docs/theory.md, sections 3 and 6): one model, two
 * passes over the modes. Peer of the emitted one, with its signature; problem.h stands in front of it when it is compiled. */

int32_t by_hand(const sgdlimit_problem *p, int64_t iterate, double t, const double *x, const double *v, double *dx,
                double *dv, double *work);
int32_t by_hand(const sgdlimit_problem *p, int64_t iterate, double t, const double *x, const double *v, double *dx,
                double *dv, double *work) {
  const int64_t N = p->modes, K = p->classes;
  const double gamma = p->step_arguments[iterate * p->step_arguments_count];
  const double *par = p->parameters + iterate * 3 * K;   /* epsilon, tau, sigma, each [K] */
  double *noise = work, norm2 = 0, F = 0;
  (void)t;
  for (int64_t j = 0; j < N; j++) dx[j] = dv[j] = noise[j] = 0;
  #pragma omp simd reduction(+ : norm2)
  for (int64_t j = 0; j < N; j++) norm2 += x[j] * x[j] + v[j];
  const double n = sqrt(norm2);
  for (int64_t i = 0; i < K; i++) {
    const double *lam = p->eigenvalues + i * N, *mu = p->means + i * N;
    const double epsilon = par[i], sigma = par[2 * K + i], kappa = epsilon * n, a = 0.7978845608028654;
    double mean = 0, variance = 0;
    #pragma omp simd reduction(+ : mean, variance)
    for (int64_t j = 0; j < N; j++) {
      const double e = x[j] - p->teacher[j];
      mean += mu[j] * e;
      variance += lam[j] * (e * e + v[j]);
    }
    const double s2 = variance + sigma * sigma, s = sqrt(s2);
    const double density = a * exp(-mean * mean / (2 * s2)), side = erf(mean / (s * 1.4142135623730951));
    const double size = s * density + mean * side;   /* E|u| */
    const double A = mean + kappa * side, B = 1 + kappa * density / s;
    const double I = s2 + mean * mean + kappa * (2 * size + kappa), weight = p->probabilities[i];
    F += weight * epsilon * (size + kappa);
    const double pA = weight * A, pB = weight * B, pI = weight * I;
    #pragma omp simd
    for (int64_t j = 0; j < N; j++) {
      dx[j] += mu[j] * pA;
      dv[j] += lam[j] * pB;
      noise[j] += lam[j] * pI;
    }
  }
  const double pull = n > 0 ? F / n + par[K] : par[K];
  #pragma omp simd
  for (int64_t j = 0; j < N; j++) {
    const double H = dv[j] + pull;
    dx[j] = -gamma * (dx[j] + dv[j] * (x[j] - p->teacher[j]) + pull * x[j]);
    dv[j] = -2 * gamma * H * v[j] + gamma * gamma * p->weights[j] * noise[j];
  }
  return SGDLIMIT_OK;
}

typedef int32_t right_hand_side(const sgdlimit_problem *, int64_t, double, const double *, const double *, double *,
                                double *, double *);

/* Calls one of them again and again: what a call from Python costs is shared. */
void repeat(right_hand_side *rhs, int64_t times, const sgdlimit_problem *p, const double *x, const double *v, double *dx,
            double *dv, double *work);
void repeat(right_hand_side *rhs, int64_t times, const sgdlimit_problem *p, const double *x, const double *v, double *dx,
            double *dv, double *work) {
  for (int64_t k = 0; k < times; k++) rhs(p, 0, 0, x, v, dx, dv, work);
}
