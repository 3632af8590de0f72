/** ServedBroker: `playhead serve` as a process of its own, on a data directory that outlives it. */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { cleanEnvironment, playheadCommand, runPlayhead } from '../cli/run-playhead.ts'
import type { Ended, RunOptions } from '../cli/run-playhead.ts'

export class ServedBroker {
  readonly port: number
  readonly httpPort: number
  readonly dataDirectory: string
  /** With the exit code; null = by a signal. */
  readonly ended: Promise<number | null>
  readonly #process: ChildProcess
  readonly #errors: () => string

  private constructor(
    process: ChildProcess,
    ended: Promise<number | null>,
    errors: () => string,
    ready: { port: number; httpPort: number; dataDir: string },
  ) {
    this.#process = process
    this.ended = ended
    this.#errors = errors
    this.port = ready.port
    this.httpPort = ready.httpPort
    this.dataDirectory = ready.dataDir
  }

  static async start(directory: string, flags: readonly string[] = []): Promise<ServedBroker> {
    const args = ['serve', '--json', '--data', directory, '--port', '0', '--http-port', '0', ...flags]
    const child = spawn(playheadCommand, args, { env: cleanEnvironment(), stdio: ['ignore', 'pipe', 'pipe'] })
    let errors = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text))
    const ended = once(child, 'exit').then(([code]) => code as number | null)
    const line = await Promise.race([
      once(createInterface({ input: child.stdout }), 'line').then(([text]) => text as string),
      ended.then((code) => {
        throw new Error(`serve ended with ${code}: ${errors}`)
      }),
    ])
    const ready = JSON.parse(line) as { event: string; port: number; httpPort: number; dataDir: string }
    return new ServedBroker(child, ended, () => errors, ready)
  }

  get server(): string {
    return `127.0.0.1:${this.port}`
  }

  get pid(): number {
    return this.#process.pid ?? 0
  }

  get isRunning(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null
  }

  /** What it has logged so far. */
  get errors(): string {
    return this.#errors()
  }

  /** Runs a command against this broker. */
  run(args: readonly string[], options?: RunOptions): Promise<Ended> {
    return runPlayhead([...args, '--server', this.server], options)
  }

  /** As `run`, for a command that must succeed: its stdout. */
  async ok(...args: string[]): Promise<string> {
    const { stdout, stderr, code } = await this.run(args)
    if (code !== 0) throw new Error(`playhead ${args.join(' ')} ended with ${code}: ${stderr}`)
    return stdout
  }

  /** kill -9. */
  async kill(): Promise<void> {
    this.#process.kill('SIGKILL')
    await this.ended
  }

  /** SIGTERM; resolves with the exit code. */
  async stop(): Promise<number | null> {
    this.#process.kill('SIGTERM')
    return this.ended
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.isRunning) await this.kill()
  }
}
