// Retry delays: exponential backoff with full jitter. Pure: the caller counts attempts and supplies the randomness.

export const RETRY_MS_MIN = 1_000;
export const RETRY_MS_MAX = 30_000;

/**
 * Return the wait in milliseconds before retry number `attempt` (from 0): between one second and a ceiling that
 * doubles from two to thirty seconds. The full width is random, so that clients do not reconnect all at once after a
 * server restart.
 * @param {number} attempt
 * @param {() => number} random a number from 0 to 1
 */
export function retryDelay(attempt, random) {
  const ceiling = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** (Math.min(attempt, 10) + 1));
  return RETRY_MS_MIN + random() * (ceiling - RETRY_MS_MIN);
}
