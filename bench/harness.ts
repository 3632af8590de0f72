/**
 * bench(): one hot function measured in a loop. Small counts run under the tests, so that a benchmark cannot rot; full counts print one JSON
 * line each: median of five rounds, operations a second, and a hash of the result, so that a change that computes something else is seen.
 */
export interface Bench {
  readonly name: string
  readonly smoke: number
  readonly full: number
  /** Does the work `count` times and answers a number that depends on all of it. */
  readonly run: (count: number) => number
}

export interface BenchResult {
  readonly name: string
  readonly count: number
  readonly perSecond: number
  readonly hash: string
}

const rounds = 5

export function bench(name: string, counts: { smoke: number; full: number }, run: (count: number) => number): Bench {
  return { name, ...counts, run }
}

/** Runs a benchmark once for warmth and then five times. */
export function measure({ name, run }: Bench, count: number): BenchResult {
  let hash = run(count)
  const perSecond: number[] = []
  for (let round = 0; round < rounds; round++) {
    const startedMs = performance.now()
    hash = run(count)
    perSecond.push((count / (performance.now() - startedMs)) * 1000)
  }
  perSecond.sort((a, b) => a - b)
  return { name, count, perSecond: Math.round(perSecond[rounds >> 1] ?? 0), hash: (hash >>> 0).toString(16) }
}
