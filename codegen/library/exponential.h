/* ---- A linear equation over a step -----------------------------------------------------------------------------
 *     de/dt = decay(t) e + drive(t)        dv/dt = 2 decay(t) v + spread(t)        in every mode,
 *
 * with polynomials through the values of decay, drive and spread at up to four nodes: whatever e and v do, a step is as long
 * as these three are smooth. With u = (to - t)/(to - from), which is 1 at the step's start and 0 at its end, and with
 * z = int decay dt over the step,
 *     e(to) = exp(z) e(from) + int_0^1 drive(u) exp(z u + rest(u)) du,      rest(u) = int_0^u decay du - z u
 * and exp(rest) drive is cut after u^3 or u^4. That is right both where |z| is small and where it is large: there u ~ 1/|z|
 * alone counts. Left are the moments of exp(z u): one exponential function for each mode. v has 2 z and 2 rest; its moments
 * follow from those of z. */

enum { NODES = 4 };

typedef struct node {
  double clock;                       /* t, from the start */
  double *decay, *drive, *spread;     /* [N] */
  double total, fastest;              /* sum of the noise; max |decay| */
} node;

typedef struct cubic {
  double c0, c1, c2, c3;
} cubic;

typedef struct moments {
  double g0, g1, g2, g3, g4;
} moments;

/* weights[i] holds the coefficients of (to - from) l_i(u), where l_i is 1 at node i and 0 at the others. */
static void interpolation_weights(int count, const node *nodes, double from, double to, cubic weights[NODES]) {
  const double h = to - from;
  for (int i = 0; i < count; i++) {
    cubic w = {h, 0, 0, 0};
    for (int m = 0; m < count; m++) {
      if (m == i) continue;
      const double root = (to - nodes[m].clock) / h, scale = h / (nodes[m].clock - nodes[i].clock);
      w = (cubic){-root * w.c0 * scale, (w.c0 - root * w.c1) * scale, (w.c1 - root * w.c2) * scale,
                  (w.c2 - root * w.c3) * scale};
    }
    weights[i] = w;
  }
}

static inline double integral(cubic c) { return c.c0 + c.c1 / 2 + c.c2 / 3 + c.c3 / 4; }

static inline cubic through(const cubic w[NODES], double a, double b, double c, double d) {
  return (cubic){w[0].c0 * a + w[1].c0 * b + w[2].c0 * c + w[3].c0 * d,
                 w[0].c1 * a + w[1].c1 * b + w[2].c1 * c + w[3].c1 * d,
                 w[0].c2 * a + w[1].c2 * b + w[2].c2 * c + w[3].c2 * d,
                 w[0].c3 * a + w[1].c3 * b + w[2].c3 * c + w[3].c3 * d};
}

/* g_k = int_0^1 u^k exp(z u) du: below |z| = 1 by a series, from where the lower ones follow by adding what has one sign for
 * z < 0; beyond by their recursion, which loses a few last digits at |z| = 1 and none at larger. Both are computed and
 * one is taken, so that loops over modes have no branch. */
static inline moments moments_of(double z, double exp_z) {
  const double inverse = 1 / z;
  const double f0 = (exp_z - 1) * inverse, f1 = (exp_z - f0) * inverse, f2 = (exp_z - 2 * f1) * inverse;
  const double f3 = (exp_z - 3 * f2) * inverse, f4 = (exp_z - 4 * f3) * inverse;
  double series = 1. / 22 / 355687428096000;
  series = series * z + 1. / 21 / 20922789888000;
  series = series * z + 1. / 20 / 1307674368000;
  series = series * z + 1. / 19 / 87178291200;
  series = series * z + 1. / 18 / 6227020800;
  series = series * z + 1. / 17 / 479001600;
  series = series * z + 1. / 16 / 39916800;
  series = series * z + 1. / 15 / 3628800;
  series = series * z + 1. / 14 / 362880;
  series = series * z + 1. / 13 / 40320;
  series = series * z + 1. / 12 / 5040;
  series = series * z + 1. / 11 / 720;
  series = series * z + 1. / 10 / 120;
  series = series * z + 1. / 9 / 24;
  series = series * z + 1. / 8 / 6;
  series = series * z + 1. / 7 / 2;
  series = series * z + 1. / 6;
  series = series * z + 1. / 5;
  const double s3 = (exp_z - z * series) / 4, s2 = (exp_z - z * s3) / 3, s1 = (exp_z - z * s2) / 2, s0 = exp_z - z * s1;
  const int far = fabs(z) > 1;
  return (moments){far ? f0 : s0, far ? f1 : s1, far ? f2 : s2, far ? f3 : s3, far ? f4 : series};
}

/* Of exp(2 z u), from the two halves of the step. */
static inline moments doubled(moments g, double exp_z) {
  return (moments){(g.g0 + exp_z * g.g0) / 2, (g.g1 + exp_z * (g.g0 + g.g1)) / 4,
                   (g.g2 + exp_z * (g.g0 + 2 * g.g1 + g.g2)) / 8,
                   (g.g3 + exp_z * (g.g0 + 3 * (g.g1 + g.g2) + g.g3)) / 16,
                   (g.g4 + exp_z * (g.g0 + 4 * (g.g1 + g.g3) + 6 * g.g2 + g.g4)) / 32};
}

/* int_0^1 f(u) (1 + x1 u + x2 u^2 + ...) exp(z u) du, the terms in u^4 times `fourth`. */
static inline double driven(cubic f, double x1, double x2, double x3, double x4, moments g, double fourth) {
  return f.c0 * g.g0 + (f.c1 + f.c0 * x1) * g.g1 + (f.c2 + f.c1 * x1 + f.c0 * x2) * g.g2 +
         (f.c3 + f.c2 * x1 + f.c1 * x2 + f.c0 * x3) * g.g3 +
         fourth * (f.c3 * x1 + f.c2 * x2 + f.c1 * x3 + f.c0 * x4) * g.g4;
}

/* The state (e, v) at `to` from that at `from`, with terms in u^4 or without. A polynomial may dip below 0 where a spread
 * never does: 0 is then nearer. */
static void propagate(int64_t modes, int count, const node *nodes, int with_fourth, double from, double to, const double *e,
                      const double *v, double *restrict e_out, double *restrict v_out) {
  const double *decay[NODES], *drive[NODES], *spread[NODES], fourth = with_fourth;
  cubic w[NODES] = {{0}};
  interpolation_weights(count, nodes, from, to, w);
  for (int i = 0; i < NODES; i++) {
    const node *at = nodes + (i < count ? i : 0);   /* of weight 0 beyond */
    decay[i] = at->decay, drive[i] = at->drive, spread[i] = at->spread;
  }
#pragma omp simd
  for (int64_t j = 0; j < modes; j++) {
    const cubic l = through(w, decay[0][j], decay[1][j], decay[2][j], decay[3][j]);
    const cubic p = through(w, drive[0][j], drive[1][j], drive[2][j], drive[3][j]);
    const cubic m = through(w, spread[0][j], spread[1][j], spread[2][j], spread[3][j]);
    const double z = integral(l), kept = sgdlimit_exp(z);
    /* exp(rest) = 1 + x1 u + x2 u^2 + ..., and its square with y */
    const double d1 = l.c0 - z, d2 = l.c1 / 2, d3 = l.c2 / 3, d4 = l.c3 / 4, half2 = d1 * d1 / 2;
    const double x1 = d1, x2 = d2 + half2, x3 = d3 + d1 * (d2 + half2 / 3);
    const double x4 = d4 + d1 * d3 + d2 * (d2 / 2 + half2) + half2 * half2 / 6;
    const double y1 = 2 * x1, y2 = 2 * x2 + x1 * x1, y3 = 2 * (x3 + x1 * x2), y4 = 2 * (x4 + x1 * x3) + x2 * x2;
    const moments g = moments_of(z, kept), twice = doubled(g, kept);
    const double variance = kept * kept * v[j] + driven(m, y1, y2, y3, y4, twice, fourth);
    e_out[j] = kept * e[j] + driven(p, x1, x2, x3, x4, g, fourth);
    v_out[j] = variance < 0 ? 0 : variance;   /* what is not a number stays so */
  }
}
