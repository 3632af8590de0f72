/** Runs bin/playhead as users do, and says how it ended. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

export const playheadCommand = join(import.meta.dirname, '..', '..', 'bin', 'playhead')

export interface Ended {
  readonly stdout: string
  readonly stderr: string
  readonly code: number | null
}

export interface RunOptions {
  /** Added to the environment, which has no PLAYHEAD_ variables otherwise. */
  readonly environment?: Readonly<Record<string, string>>
  /** Called once it runs; `signal` sends one to the process. */
  readonly onStart?: (signal: (name: NodeJS.Signals) => void) => void
  /** Called with all of stdout so far, whenever there is more. */
  readonly onStdout?: (stdout: string, signal: (name: NodeJS.Signals) => void) => void
}

export async function runPlayhead(
  args: readonly string[],
  { environment = {}, onStart, onStdout }: RunOptions = {},
): Promise<Ended> {
  const child = spawn(playheadCommand, args, {
    env: { ...cleanEnvironment(), ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  onStart?.((name) => child.kill(name))
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
    onStdout?.(stdout, (name) => child.kill(name))
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  const [code] = (await once(child, 'close')) as [number | null]
  return { stdout, stderr, code }
}

export function cleanEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('PLAYHEAD_')))
}
