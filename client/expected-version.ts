/** ExpectedVersion: what an append demands of its stream, as users say it and as it travels. */
import type { Expectation } from '../protocol/append.ts'
import { PlayheadError } from '../protocol/errors.ts'

/**
 * - a number: the version of the last event that must be there, 0 …
 * - `none`: the stream must have no event yet
 * - `any`: no demand
 */
export type ExpectedVersion = number | 'none' | 'any'

const noEventYet = -1

/** Nothing for `any`. Throws invalidExpectedVersion for anything that is not a version. */
export function expectationOf(topic: string, stream: string, expected: ExpectedVersion | undefined): Expectation[] {
  if (expected === undefined || expected === 'any') return []
  if (expected === 'none') return [{ stream, version: noEventYet }]
  if (Number.isSafeInteger(expected) && expected >= 0) return [{ stream, version: expected }]
  throw new PlayheadError(
    'invalidExpectedVersion',
    `${topic}/${stream}: found expected version ${String(expected)}, wanted an integer ≥ 0, "none" or "any"`,
  )
}
