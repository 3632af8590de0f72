/** Moment: a time as users give it, in every place where the client takes one. */
import { PlayheadError } from '../protocol/errors.ts'
import { parseTime } from '../protocol/time.ts'

/** A Date, ms since the epoch, or text: ISO-8601 (UTC where no zone is given), a date, or epoch digits in s or ms. */
export type Moment = Date | number | string

/** Ms since the epoch. Throws invalidArgument. */
export function timeOf(moment: Moment): number {
  if (typeof moment === 'string') return parseTime(moment)
  const ms = Number(moment)
  if (Number.isSafeInteger(ms) && Math.abs(ms) <= 8.64e15) return ms
  throw new PlayheadError(
    'invalidArgument',
    `time: found ${String(moment)}, wanted a valid Date, ms since the epoch, or ISO-8601 text`,
  )
}
