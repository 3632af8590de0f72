/**
 * Stream names in order. The order of streams everywhere is that of their UTF-8 bytes, which differs from JavaScript's order of strings where
 * surrogates meet U+E000 … U+FFFF.
 * Neighbours: StreamIndex lists names, sidecar.ts sorts them.
 */
import type { Clock } from '../platform/clock.ts'

/** Names sorted or merged between two yields. */
const namesPerTurn = 8192

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

/**
 * The names in order, sorted without holding the event loop: runs first, then rounds of merging. `units`: in JavaScript's order, which is
 * faster and keeps neighbours together all the same.
 */
export async function sortNames(names: readonly string[], order: 'bytes' | 'units', clock: Clock): Promise<string[]> {
  const compare = order === 'bytes' && names.some((name) => surrogateOrAbove.test(name)) ? compareNames : compareUnits
  let runs: string[][] = []
  for (let at = 0; at < names.length; at += namesPerTurn) {
    const run = names.slice(at, at + namesPerTurn)
    // Without a comparator the engine compares strings by itself.
    runs.push(compare === compareUnits ? run.toSorted() : run.toSorted(compare))
    if (names.length > namesPerTurn) await clock.yield()
  }
  while (runs.length > 1) {
    const merged: string[][] = []
    for (let at = 0; at < runs.length; at += 2) {
      const [a, b] = [runs[at]!, runs[at + 1]]
      merged.push(b === undefined ? a : await mergeNames(a, b, compare, clock))
    }
    runs = merged
  }
  return runs[0] ?? []
}

/** Where the order of units is not that of bytes. */
const surrogateOrAbove = /[\ud800-\uffff]/

function compareUnits(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

type Compare = (a: string, b: string) => number

async function mergeNames(
  a: readonly string[],
  b: readonly string[],
  compare: Compare,
  clock: Clock,
): Promise<string[]> {
  const merged: string[] = []
  let [i, j] = [0, 0]
  while (i < a.length || j < b.length) {
    const takeFirst = j >= b.length || (i < a.length && compare(a[i]!, b[j]!) <= 0)
    merged.push(takeFirst ? a[i++]! : b[j++]!)
    if (merged.length % namesPerTurn === 0) await clock.yield()
  }
  return merged
}
