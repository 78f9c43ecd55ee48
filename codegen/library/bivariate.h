/* ---- Tail moments of the bivariate normal distribution -----------------------------------------------------------
 * E[(x - h1)_+^j (y - h2)_+^k] for standard normal x, y with correlation rho, h1, h2 >= 0, and rho_perp = sqrt(1 - rho^2)
 * given on its own. At rho = -1 it is 0, and Price's theorem gives its derivatives in rho, so that with j >= k, n = j - k,
 *     E = j!/n! * integral over -1 < q < rho of (rho - q)^k F_n(q) dq,
 *     F_0(q) = density of (x, y) at (h1, h2) under correlation q,
 *     F_n(q) = n phi(h2) sqrt(1 - q^2)^(n-1) M_{n-1}((h1 - q h2)/sqrt(1 - q^2)).
 * Nothing is subtracted: the value is relatively accurate in the tails and at rho = 1, rho = -1 and 0. The half with q > 0
 * and the half with q < 0 are integrated in t, |q| = (1 - t^2)/(1 + t^2), by Gauss-Legendre panels that start at the peak,
 * over each of which the integrand falls by at most e^6, more where it is small already, and that are graded towards the
 * singularity at t = 0. */
enum { SGDLIMIT_TAIL_POINTS = 16, SGDLIMIT_TAIL_PANELS = 400 };

typedef struct sgdlimit_tail {
  double h1, h2;   /* of the higher and of the lower power */
  int n, k;
  double sign;     /* of q in this half */
} sgdlimit_tail;

/* -log F_n up to what varies slowly, and the steps of F_n where it does not fall */
static double sgdlimit_tail_fall(const sgdlimit_tail *p, double t) {
  const double apart = p->h1 - p->sign * p->h2, t2 = t * t;
  if (p->n > 0) {
    const double v = apart == 0 ? p->h1 * t : (apart + (p->h1 + p->sign * p->h2) * t2) / (2 * t);
    if (v < 0) return v > -9 ? 3 * v : -27;
    return 0.5 * v * v;
  }
  const double first = apart == 0 ? 0 : apart * (1 + t2) / t;
  return 0.125 * first * first + 0.5 * p->sign * p->h1 * p->h2 * (1 + t2);
}

/* Panels from t = from to t = to; returns their number. */
static int sgdlimit_tail_march(const sgdlimit_tail *p, double from, double to, double least, double (*panels)[2], int count) {
  const double depth = 34 + 8 * (p->k + 1);
  double here = from, height = sgdlimit_tail_fall(p, from);
  while (here != to && count < SGDLIMIT_TAIL_PANELS) {
    double next = to, fall;
    const double small = height - least - 8 * p->k, limit = small > 0 ? 6 + 0.6 * small : 6;
    const int singular = p->h1 != p->sign * p->h2 && height > -27;
    if (singular && next < here / 3) next = here / 3;
    if (singular && here > 0 && next > 3 * here) next = 3 * here;
    for (;;) {
      fall = sgdlimit_tail_fall(p, next);
      if (fabs(fall - height) <= limit) break;
      const double middle = 0.5 * (here + next);
      if (middle == here || middle == next) break;
      next = middle;
    }
    panels[count][0] = here < next ? here : next;
    panels[count++][1] = here < next ? next : here;
    here = next;
    height = fall;
    if (height > least + depth) break;
  }
  return count;
}

/* M_n(v), v of either sign */
static double sgdlimit_tail_moment(int n, double v) {
  const double below = normal_cdf(-v);
  if (n == 0) return below;
  if (v < 0 || (n == 1 && v < 6)) {
    double before = below, here = sgdlimit_normal_density(v) - v * below;
    for (int k = 1; k < n; k++) {
      const double next = k * before - v * here;
      before = here;
      here = next;
    }
    return here;
  }
  if (n == 1) {   /* phi(v) (1 - v times Mills' ratio), by Laplace's continued fraction */
    double tail = v;
    for (int k = 24; k > 1; k--) tail = v + k / tail;
    return sgdlimit_normal_density(v) / (v * tail + 1);
  }
  double moments[16];
  sgdlimit_tail_moments(v, n, moments);
  return moments[n];
}

static double sgdlimit_tail_half(const sgdlimit_tail *p, double from, double to, double end, double end_sign) {
  static const double node[SGDLIMIT_TAIL_POINTS / 2] = {
    0.09501250983763744, 0.2816035507792589, 0.45801677765722737, 0.6178762444026438,
    0.755404408355003, 0.8656312023878318, 0.9445750230732326, 0.9894009349916499,
  };
  static const double weight[SGDLIMIT_TAIL_POINTS / 2] = {
    0.1894506104550685, 0.18260341504492358, 0.16915651939500254, 0.14959598881657674,
    0.12462897125553388, 0.09515851168249279, 0.062253523938647894, 0.027152459411754096,
  };
  double panels[SGDLIMIT_TAIL_PANELS][2], total = 0;
  /* the peak: where |q| = min(h1, h2)/max(h1, h2), or the end nearest to it */
  double peak = p->sign < 0 || p->h1 + p->h2 == 0 ? to : sqrt(fabs(p->h1 - p->h2) / (p->h1 + p->h2));
  if (peak < from) peak = from;
  if (peak > to) peak = to;
  double least = sgdlimit_tail_fall(p, peak > 0 ? peak : p->h1 == p->sign * p->h2 ? 0 : to);
  if (least < 0) least = 0;
  int count = sgdlimit_tail_march(p, peak, to, least, panels, 0);
  count = sgdlimit_tail_march(p, peak, from, least, panels, count);
  for (int i = 0; i < count; i++) {
    const double half = 0.5 * (panels[i][1] - panels[i][0]), middle = 0.5 * (panels[i][1] + panels[i][0]);
    double sum = 0;
    for (int l = 0; l < SGDLIMIT_TAIL_POINTS; l++) {
      const double t = middle + half * (l % 2 ? node[l / 2] : -node[l / 2]), t2 = t * t;
      const double root = 2 * t / (1 + t2), apart = p->h1 - p->sign * p->h2;
      double value = 1 / (1 + t2);
      if (p->n == 0) {
        const double first = apart * (1 + t2) / t;
        value *= sgdlimit_exp(-0.125 * first * first - 0.5 * p->sign * p->h1 * p->h2 * (1 + t2));
      } else {
        value *= sgdlimit_tail_moment(p->n - 1, (apart + (p->h1 + p->sign * p->h2) * t2) / (2 * t));
        for (int m = 0; m < p->n; m++) value *= root;
      }
      /* rho - q */
      const double same = 2 * (end - t) * (end + t) / ((1 + t2) * (1 + end * end));
      const double step = end_sign != p->sign ? (1 - t2) / (1 + t2) + (1 - end * end) / (1 + end * end) : -p->sign * same;
      for (int m = 0; m < p->k; m++) value *= step;
      sum += weight[l / 2] * value;
    }
    total += half * sum;
  }
  return total;
}

static double sgdlimit_bivariate_tail(int j, int k, double h1, double h2, double rho, double rho_perp) {
  if (j < k) return sgdlimit_bivariate_tail(k, j, h2, h1, rho, rho_perp);
  if (!(h1 < 40 && h2 < 40)) return h1 == h1 && h2 == h2 ? 0 : h1 + h2;
  const double size = hypot(rho, rho_perp);
  /* without a direction (a score without variance): independent */
  const double end = size > 0 ? rho_perp / (size + fabs(rho)) : 1, end_sign = rho > 0 ? 1 : -1;
  const int n = j - k;
  const sgdlimit_tail negative = {h1, h2, n, k, -1}, positive = {h1, h2, n, k, 1};
  double value = sgdlimit_tail_half(&negative, 0, rho > 0 ? 1 : end, end, end_sign);
  if (rho > 0) value += sgdlimit_tail_half(&positive, end, 1, end, end_sign);
  for (int m = n + 1; m <= j; m++) value *= m;
  /* 1/pi from the density, 2 phi(h2) and n from F_n */
  return n == 0 ? 0.3183098861837907 * value : 2 * n * sgdlimit_normal_density(h2) * value;
}
