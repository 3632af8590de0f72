/**
 * Scale: how much work a run gives each side, and how often. Sizes are chosen so that each measurement takes seconds, not so that both sides
 * take equally long: rates are compared, and a fast side needs more records to be measured at all. Read by playhead.ts and each peer.
 */
export interface Scale {
  readonly rounds: number
  readonly isQuick: boolean
  /** Divides the record counts of every workload. */
  readonly divisor: number
}

export const recordsPerSecondEndToEnd = 5_000
/** Measured, after what comes first. */
export const endToEndSeconds = 10
export const warmUpSeconds = 2

const quickDivisor = 8

export function fullScale(rounds = 3): Scale {
  return { rounds, isQuick: false, divisor: 1 }
}

export function quickScale(rounds = 1): Scale {
  return { rounds, isQuick: true, divisor: quickDivisor }
}

/** A full-size count made smaller for this run. A multiple of 1,024, so that it divides evenly among workers. */
export function scaled(count: number, { divisor }: Scale): number {
  return Math.max(1, Math.round(count / divisor / 1024)) * 1024
}
