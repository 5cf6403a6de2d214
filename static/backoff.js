// How long to wait before trying again. Pure: chance comes in as an argument, and nobody here keeps the count.

export const RETRY_MS_MIN = 1_000;
export const RETRY_MS_MAX = 30_000;

/**
 * The wait in milliseconds before retry number `attempt` (from 0): anywhere between one second and a ceiling that
 * doubles from two to thirty seconds. The whole width is random, so a restarted server is not met by all pages at once.
 */
export function retryDelay(attempt, random) {
  const ceiling = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** (Math.min(attempt, 10) + 1));
  return RETRY_MS_MIN + random() * (ceiling - RETRY_MS_MIN);
}
