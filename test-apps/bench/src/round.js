/** A ratio for people: two decimals up to 10, one up to 100. */
export function round(ratio) {
  return ratio.toFixed(ratio < 9.995 ? 2 : ratio < 99.95 ? 1 : 0);
}
