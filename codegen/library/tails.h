/* ---- Tail moments of the normal distribution ---------------------------------------------------------------------
 * M_k(h) = integral over z > h of (z - h)^k phi(z) dz for h >= 0: what lies beyond a kink. They obey
 * M_{k+1} = k M_{k-1} - h M_k with M_1 + h M_0 = phi(h), of which they are the smallest solution: forward, the recursion
 * loses digits the more the larger h is; backward (J. C. P. Miller) it gains them, the faster the larger h is. From
 * h = 3 on, 24 steps above the wanted order leave an error below 1e-15; below 3, the forward recursion loses at most
 * four digits at order 6. */
static void sgdlimit_tail_moments(double h, int order, double *moments) {
  const double density = 0.3989422804014327 * exp(-0.5 * h * h);   /* 1/sqrt(2 pi) */
  if (!(density > 0)) {
    for (int k = 0; k <= (order > 1 ? order : 1); k++) moments[k] = 0;
    return;
  }
  if (h < 3) {
    moments[0] = 0.5 * erfc(0.7071067811865476 * h);
    moments[1] = density - h * moments[0];
    for (int k = 1; k < order; k++) moments[k + 1] = k * moments[k - 1] - h * moments[k];
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
  const double scale = density / (above + h * here);
  for (int k = 0; k <= (order > 1 ? order : 1); k++) moments[k] *= scale;
}
