/** The expectedVersion of a query: an integer from 0, none, or any. */
import { PlayheadError } from '../../protocol/errors.ts'

/** Undefined = any; -1 = none. Throws invalidExpectedVersion. */
export function expectedVersionOf(text: string | undefined): number | undefined {
  if (text === undefined || text === 'any') return undefined
  if (text === 'none') return -1
  if (/^\d{1,16}$/.test(text) && Number.isSafeInteger(Number(text))) return Number(text)
  throw new PlayheadError(
    'invalidExpectedVersion',
    `expectedVersion: found ${JSON.stringify(text)}, wanted an integer from 0, none or any`,
  )
}
