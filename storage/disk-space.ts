/** What the file system says when there is no room: an expected failure, answered as diskFull; everything else it says is not. */
import { PlayheadError } from '../protocol/errors.ts'

export function isDiskFull(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT')
}

/** `error` as diskFull when the disk or the quota is full, else as it is. */
export function diskFullOr(error: unknown, path: string): unknown {
  if (!isDiskFull(error)) return error
  return new PlayheadError(
    'diskFull',
    `${path}: found no space left, wanted room for more; free some space, appends go on by themselves`,
    {
      file: path,
    },
  )
}
