/**
 * How a command ends: 0 done, 1 an expected failure or a bug, 2 wrong usage. A failure is one line on stderr,
 * `error: wrong-expected-version: carts/customer-17850: expected 3, found 4`; a bug shows its stack.
 */
import { isPlayheadError } from '../protocol/errors.ts'

export const exitDone = 0
export const exitFailed = 1
export const exitUsage = 2
/** What shells say of a process that Ctrl-C ended. */
export const exitInterrupted = 130

/** The command was called wrongly: the message names the flag, what was found and what was wanted. */
export class UsageError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'UsageError'
  }
}

/** The user ended the command before it was done. `message` says what stands. */
export class Interrupted extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'Interrupted'
  }
}

/** Whoever read our stdout has gone: `playhead read … | head`. */
export class OutputClosed extends Error {
  constructor() {
    super('stdout is closed')
    this.name = 'OutputClosed'
  }
}

/** The text for stderr, '' for none, and the exit code. */
export function failureReport(error: unknown): { readonly text: string; readonly exitCode: number } {
  if (error instanceof OutputClosed) return { text: '', exitCode: exitDone }
  if (error instanceof Interrupted) return { text: `${error.message}\n`, exitCode: exitInterrupted }
  if (error instanceof UsageError) return { text: `error: invalid-argument: ${error.message}\n`, exitCode: exitUsage }
  if (isPlayheadError(error)) {
    return { text: `error: ${kebabCase(error.code)}: ${error.message}\n`, exitCode: exitFailed }
  }
  if (error instanceof Error && 'code' in error && error.code === 'EIO') {
    const message = `found ${error.message}, wanted a disk that works; look into the system's log for what is wrong with it`
    return { text: `error: ${kebabCase('storageFailed')}: ${message}\n`, exitCode: exitFailed }
  }
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return { text: `error: internal: ${stack}\nThis is a bug in playhead; please report it.\n`, exitCode: exitFailed }
}

/** `wrongExpectedVersion` → `wrong-expected-version`. */
export function kebabCase(code: string): string {
  return code.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}
