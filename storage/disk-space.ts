/**
 * What the file system refuses for want of something that comes back: room, descriptors, memory. Expected failures, answered as diskFull or
 * overloaded; everything else it says is not.
 */
import { PlayheadError } from '../protocol/errors.ts'

const noRoom = new Set(['ENOSPC', 'EDQUOT'])
const noDescriptors = new Set(['EMFILE', 'ENFILE', 'ENOMEM'])

export function isDiskFull(error: unknown): boolean {
  return noRoom.has(systemCode(error))
}

/** `error` as the refusal it is: diskFull when disk or quota are full, overloaded when descriptors or memory ran out; else as it is. */
export function refusalOf(error: unknown, path: string): unknown {
  if (isDiskFull(error)) {
    return new PlayheadError(
      'diskFull',
      `${path}: found no space left, wanted room for more; free some space, appends go on by themselves`,
      { file: path },
    )
  }
  const code = systemCode(error)
  if (!noDescriptors.has(code)) return error
  return new PlayheadError(
    'overloaded',
    `${path}: found ${code}, wanted a file descriptor and memory for it; try again, or raise the limit of open files (ulimit -n)`,
    { file: path, code },
  )
}

function systemCode(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : ''
}
