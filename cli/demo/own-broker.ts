/**
 * OwnBroker: a broker for the length of a demo: a child process on free ports. Invariant: when it is disposed the process has ended, also
 * after Ctrl-C. Called by cli/demo.ts, whose temporary directory it serves; starts bin/playhead as a user would.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { PlayheadError } from '../../protocol/errors.ts'
import { packagePath } from './package-path.ts'

const startMsMax = 20_000
const stopMsMax = 12_000
const stderrBytesKept = 8_192

interface Ready {
  readonly event: string
  readonly port: number
  readonly httpPort: number
}

export class OwnBroker {
  readonly port: number
  readonly httpPort: number
  readonly #process: ChildProcess

  private constructor(process: ChildProcess, ready: Ready) {
    this.#process = process
    this.port = ready.port
    this.httpPort = ready.httpPort
  }

  /** Starts it on `dataDirectory` and waits until it serves. Throws `unavailable` with what the broker said when it does not. */
  static async start(dataDirectory: string): Promise<OwnBroker> {
    const child = spawn(
      packagePath('bin', 'playhead'),
      ['serve', '--json', '--data', dataDirectory, '--port', '0', '--http-port', '0'],
      // A group of its own: Ctrl-C reaches the demo alone, which then stops the broker in order.
      { stdio: ['ignore', 'pipe', 'pipe'], detached: true },
    )
    try {
      return new OwnBroker(child, await readyOf(child))
    } catch (error) {
      await end(child)
      throw error
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await end(this.#process)
  }
}

/** The first line a broker prints says where it listens. */
async function readyOf(child: ChildProcess): Promise<Ready> {
  let said = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-stderrBytesKept)
  })
  const waiting = new AbortController()
  const failed = (reason: string): never => {
    throw new PlayheadError(
      'unavailable',
      `demo broker: found ${reason}, wanted it to serve; it said: ${said.trim() || 'nothing'}`,
    )
  }
  const { signal } = waiting
  try {
    return await Promise.race([
      firstLine(child).then((line) => parseReady(line) ?? failed(`first line ${JSON.stringify(line)}`)),
      once(child, 'exit', { signal }).then(([code]) => failed(`an end with exit code ${String(code)}`)),
      once(child, 'error', { signal }).then(([error]) => failed(String(error))),
      once(AbortSignal.timeout(startMsMax), 'abort', { signal }).then(() => failed(`nothing within ${startMsMax} ms`)),
    ])
  } finally {
    waiting.abort()
  }
}

async function firstLine(child: ChildProcess): Promise<string> {
  assertPiped(child.stdout)
  const lines = createInterface({ input: child.stdout })
  const [line] = (await once(lines, 'line')) as [string]
  lines.close()
  child.stdout.resume() // nobody reads it any more, and a full pipe would stop the broker
  return line
}

function assertPiped(stream: ChildProcess['stdout']): asserts stream is NonNullable<ChildProcess['stdout']> {
  if (stream === null) throw new Error('the broker was started without a pipe')
}

function parseReady(line: string): Ready | undefined {
  try {
    const ready = JSON.parse(line) as Ready
    return ready.event === 'ready' ? ready : undefined
  } catch {
    return undefined
  }
}

/** A broker stops in 10 s at the latest; one that does not is killed, its data is thrown away anyhow. */
async function end(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  const kill = setTimeout(() => child.kill('SIGKILL'), stopMsMax)
  await exited
  clearTimeout(kill)
}
