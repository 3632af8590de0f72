/** The error of everything that finds a stored index to be wrong: whoever owns it wipes it and has it rebuilt. Neighbours: StoredPostings, head-block.ts. */
import { PlayheadError } from '../protocol/errors.ts'

export function damagedIndex(what: string, found: string): PlayheadError {
  return new PlayheadError(
    'damagedData',
    `stream index of ${what}: ${found}; the cache must be wiped, it is rebuilt from the log`,
  )
}
