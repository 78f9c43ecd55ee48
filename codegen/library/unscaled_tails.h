/* M_k itself. */
static inline void sgdlimit_tail_moments(double h, int order, double *moments) {
  const double density = sgdlimit_normal_density(h);
  if (density > 0)
    sgdlimit_scaled_tail_moments(h, order, moments);
  else
    for (int k = 0; k <= (order > 1 ? order : 1); k++) moments[k] = 1;
  for (int k = 0; k <= (order > 1 ? order : 1); k++) moments[k] *= density;
}
