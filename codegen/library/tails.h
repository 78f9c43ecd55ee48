/* ---- Tail moments of the normal distribution ---------------------------------------------------------------------
 * M_k(h) = integral over z > h of (z - h)^k phi(z) dz for h >= 0: what lies beyond a kink. They obey
 * M_{k+1} = k M_{k-1} - h M_k with M_1 + h M_0 = phi(h), of which they are the smallest solution: forward, the recursion
 * loses digits the more the larger h is; backward (J. C. P. Miller) it gains them, the faster the larger h is. Forward up
 * to h = 5 at order 2 and to h = 3 at order 6 at most four digits are lost; backward from there, (sqrt(order) + 21/h)^2 steps
 * leave an error below the rounding. Backward it is the recursion of T_k = M_k/k!, which has no division:
 * T_{k-1} = (k + 1) T_{k+1} + h T_k. */
static inline double sgdlimit_forward_until(int order) { return order > 2 ? 3.0 : 5.0; }

/* M_k(h)/phi(h), which meets an exponential that would overflow alone. */
static inline void sgdlimit_far_tail_moments(double h, int order, double *moments) {
  const int most = order > 1 ? order : 1;
  if (h > 1e9) {   /* the leading term of k!/h^(k+1) (1 - ...) is all that a double sees */
    moments[0] = 1 / h;
    for (int k = 0; k < most; k++) moments[k + 1] = (k + 1) * moments[k] / h;
    return;
  }
  const double root = sqrt(order) + 21 / h;   /* e^-42 is below the rounding */
  double above = 0, here = 1;   /* T_{k+1} and T_k, of any size: scaled in the end */
  int k = (int)(root * root) + 10;
  for (; k > most; k--) {
    const double rest = (k + 1) * above;
    above = here;
    here = h * here + rest;
  }
  moments[k] = here;
  for (; k > 0; k--) {
    const double rest = (k + 1) * above;
    above = here;
    here = h * here + rest;
    moments[k - 1] = here;
  }
  double scale = 1 / (moments[1] + h * moments[0]);
  for (k = 0; k <= most; k++, scale *= k) moments[k] *= scale;
}
static inline void sgdlimit_scaled_tail_moments(double h, int order, double *moments) {
  if (h < sgdlimit_forward_until(order)) {
    const double ratio = sgdlimit_tail_ratio(h);
    moments[0] = 1 / (h + ratio);
    moments[1] = ratio * moments[0];
    for (int k = 1; k < order; k++) moments[k + 1] = k * moments[k - 1] - h * moments[k];
  } else {
    sgdlimit_far_tail_moments(h, order, moments);
  }
}
