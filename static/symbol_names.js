// Choosing a symbol by its name: which one is shown first, and which ones a typed text finds. Pure functions of names.

/**
 * Return the symbol to show first: the first wish that is listed, else the default, else the first one listed.
 * @param {string[]} listed
 * @param {string} fallback
 * @param {(string | null)[]} wishes such as the address's symbol and the stored one
 */
export function firstSymbol(listed, fallback, ...wishes) {
  return [...wishes, fallback].find((wish) => wish !== null && listed.includes(wish)) ?? listed[0] ?? "";
}

/**
 * Return the names that contain the typed text, whatever its separators: an exact match first, then those that begin
 * with it.
 * @param {string[]} names
 * @param {string} typed
 */
export function matching(names, typed) {
  const wanted = typed.toUpperCase().replaceAll(/[\s/_:-]/g, "");
  /** @param {string} name */
  const rank = (name) => {
    if (name === wanted) return 0;
    return name.startsWith(wanted) ? 1 : 2;
  };
  return names.filter((name) => name.includes(wanted)).sort((left, right) => rank(left) - rank(right));
}
