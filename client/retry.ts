/**
 * Retry: which failures of a request are worth another attempt, and when. A request that reads is repeated after any failure that may
 * pass. A request that changes something is repeated only when the failure says that nothing was changed: appends are not sent
 * through here at all, their lane repeats them under their producer sequence (append-lane.ts).
 */
import { isPlayheadError, PlayheadError } from '../protocol/errors.ts'
import type { ErrorCode } from '../protocol/errors.ts'
import type { Random } from '../platform/random.ts'
import type { Deadline } from './deadline.ts'

/** `reads`: may be sent any number of times. `changes`: sent again only if it surely had no effect. */
export type RetryPolicy = 'reads' | 'changes'

const firstPauseMs = 20
const pauseMsMax = 1_000

/** Answers of a broker that leave open whether the request took effect. */
const indefinite: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['unavailable', 'timedOut', 'internal', 'storageFailed'])

/** True if a failed request may have taken effect: the connection broke, no answer came, or the broker itself does not know. */
export function isIndefinite(error: unknown): boolean {
  if (!isPlayheadError(error)) return false
  const { outcome } = error.details
  // As notLeader of a broker that led when it took the request in.
  return indefinite.has(error.code) ? outcome !== 'notApplied' : outcome === 'unknown'
}

/** Decided by who looked into the log for an attempt before. */
const decidedCodes: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'wrongExpectedVersion',
  'outOfOrderSequence',
  'invalidProducerEpoch',
  'idReused',
])

/** A failure as it is to be told of a batch that an attempt before may have written: one that did not look for it says nothing of that. */
export function inDoubt(reason: unknown): unknown {
  if (!isPlayheadError(reason) || decidedCodes.has(reason.code) || isIndefinite(reason)) return reason
  const message = `${reason.message}; whether an attempt before was written is unknown`
  return new PlayheadError(reason.code, message, { ...reason.details, outcome: 'unknown' }, reason.conflicts)
}

export function isWorthRetrying(error: unknown, policy: RetryPolicy): boolean {
  if (!isPlayheadError(error) || !error.retriable) return false
  return policy === 'reads' || !isIndefinite(error)
}

/** The pause before attempt `failures` + 1, ms: doubling from 20 ms to 1 s, with full jitter so that clients do not return in step. */
export function pauseMs(failures: number, random: Random): number {
  const cap = Math.min(pauseMsMax, firstPauseMs * 2 ** Math.min(failures - 1, 16))
  return (cap * (1 + random.integer52() / 2 ** 52)) / 2
}

/** Runs `attempt` until it succeeds, fails for good, or the deadline passes; then rejects with the last failure. */
export async function withRetry<T>(
  deadline: Deadline,
  policy: RetryPolicy,
  random: Random,
  attempt: () => Promise<T>,
): Promise<T> {
  for (let failures = 1; ; failures++) {
    try {
      return await attempt()
    } catch (error) {
      if (!isWorthRetrying(error, policy)) throw error
      const pause = pauseMs(failures, random)
      if (pause >= deadline.remainingMs) throw error
      await deadline.sleep(pause)
    }
  }
}
