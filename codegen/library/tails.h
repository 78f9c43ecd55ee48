/* ---- Tail moments of the normal distribution ---------------------------------------------------------------------
 * M_k(h) = integral over z > h of (z - h)^k phi(z) dz for h >= 0: what lies beyond a kink. They obey
 * M_{k+1} = k M_{k-1} - h M_k with M_1 + h M_0 = phi(h), of which they are the smallest solution: forward, the recursion
 * loses digits the more the larger h is; backward (J. C. P. Miller) it gains them, the faster the larger h is. From
 * h = 3 on, 24 steps above the wanted order leave an error below 1e-15; below 3, the forward recursion loses at most
 * four digits at order 6. Divided by phi(h) they are moments that meet an exponential which would overflow alone. */
static inline void sgdlimit_scaled_tail_moments(double h, int order, double *moments) {
  if (h < 3) {
    moments[0] = 1.2533141373155003 /* sqrt(pi/2) */ * exp(0.5 * h * h) * erfc(0.7071067811865476 * h);
    moments[1] = 1 - h * moments[0];
    for (int k = 1; k < order; k++) moments[k + 1] = k * moments[k - 1] - h * moments[k];
    return;
  }
  if (h > 1e9) {   /* the leading term of k!/h^(k+1) (1 - ...) is all that a double sees */
    moments[0] = 1 / h;
    for (int k = 0; k < (order > 1 ? order : 1); k++) moments[k + 1] = (k + 1) * moments[k] / h;
    return;
  }
  const double root = sqrt(order) + 21 / h;   /* e^-42 is below the rounding */
  double above = 0, here = 1;   /* of any size: the values below are scaled in the end */
  for (int k = (int)(root * root) + 10; k > 0; k--) {
    const double below = (above + h * here) / k;
    above = here;
    here = below;
    if (k - 1 <= order) moments[k - 1] = here;
    if (k <= order || k == 1) moments[k] = above;
  }
  const double scale = 1 / (above + h * here);
  for (int k = 0; k <= (order > 1 ? order : 1); k++) moments[k] *= scale;
}
