/** Confirmation: asks for the name of what is about to be lost, before it is. Used by the commands that give data up. */
import { createInterface } from 'node:readline/promises'
import { Interrupted, UsageError } from './failure-report.ts'

export interface Confirmation {
  /** E.g. `topic delete carts`. */
  readonly command: string
  /** What must be typed. */
  readonly name: string
  /** Without its end, e.g. `Delete topic carts with 5 records`. */
  readonly question: string
  /** What stands when the answer is no. */
  readonly otherwise: string
}

/** Throws Interrupted when the answer is anything else, UsageError where there is no terminal. */
export async function confirm({ command, name, question, otherwise }: Confirmation): Promise<void> {
  if (!process.stdin.isTTY) throw new UsageError(`${command}: found nobody to ask, wanted --yes`)
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  try {
    // Ctrl-D and Ctrl-C reject: no answer is no.
    const answer = await terminal.question(`${question}, for ever? Type its name to say yes: `).catch(() => '')
    if (answer.trim() !== name) throw new Interrupted(otherwise)
  } finally {
    terminal.close()
  }
}
