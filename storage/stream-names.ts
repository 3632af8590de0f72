/**
 * Stream names in order. The order of streams everywhere is that of their UTF-8 bytes, which differs from JavaScript's order of strings where
 * surrogates meet U+E000 … U+FFFF.
 * Neighbours: StreamIndex lists names; key-sort.ts sorts keys, which are bytes.
 */

/** Negative, 0 or positive, as the UTF-8 bytes of `a` and `b` compare. */
export function compareNames(a: string, b: string): number {
  if (a === b) return 0
  const length = Math.min(a.length, b.length)
  for (let at = 0; at < length; at++) {
    const difference = weight(a.charCodeAt(at)) - weight(b.charCodeAt(at))
    if (difference !== 0) return difference
  }
  return a.length - b.length
}

/** Surrogates stand for code points past U+FFFF, so they sort after every other unit. */
function weight(unit: number): number {
  return unit < 0xd800 ? unit : unit < 0xe000 ? unit + 0x2000 : unit - 0x800
}

/** The first `limit` names in order that begin with `prefix` and come after `after`. One pass, and no more than 4 x limit names held. */
export function firstNames(
  names: Iterable<string>,
  prefix: string,
  after: string | undefined,
  limit: number,
): string[] {
  let found: string[] = []
  let bound: string | undefined
  for (const name of names) {
    if (!name.startsWith(prefix)) continue
    if (after !== undefined && compareNames(name, after) <= 0) continue
    if (bound !== undefined && compareNames(name, bound) >= 0) continue
    found.push(name)
    if (found.length < limit * 4) continue
    found = found.toSorted(compareNames).slice(0, limit)
    bound = found.at(-1)
  }
  return found.toSorted(compareNames).slice(0, limit)
}
