/**
 * One broker of a cluster as a process of this machine: started with `playhead serve --cluster`, its reports printed under its name, signalled and
 * stopped. Used by `npm run cluster` and test/nemesis.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

export interface BrokerPlace {
  readonly id: number
  readonly port: number
  readonly httpPort: number
  readonly rack: string
  readonly cluster: string
  readonly directory: string
  readonly flags?: Readonly<Record<string, string | number>>
  /** Added to that of this process. */
  readonly environment?: Readonly<Record<string, string>>
  /** What its command begins with, to run somewhere else than here. */
  readonly within?: readonly string[]
  /** Takes what it reports, line by line; this process prints it by default. */
  readonly say?: (line: string) => void
}

interface Ready {
  readonly port: number
  readonly httpPort: number
}

const root = join(import.meta.dirname, '..', '..')
/** A stop takes ten seconds at most; then it is ended. */
const stopMsMax = 15_000

export class BrokerProcess {
  readonly id: number
  /** Undefined when it ended before. */
  readonly ready: Promise<Ready | undefined>
  readonly ended: Promise<void>
  port: number | undefined
  readonly #child: ChildProcess
  readonly #say: (line: string) => void

  private constructor(id: number, child: ChildProcess, say: (line: string) => void) {
    this.id = id
    this.#child = child
    this.#say = say
    this.ready = this.#readyLine()
    this.ended = new Promise((resolve) => {
      child.once('error', () => resolve())
      child.once('close', () => resolve())
    })
  }

  static start({ id, say = (line) => console.log(line), ...place }: BrokerPlace): BrokerProcess {
    const { port, httpPort, rack, cluster, directory, flags: more = {}, environment = {}, within = [] } = place
    const settings = { cluster, 'broker-id': id, rack, data: directory, port, 'http-port': httpPort, ...more }
    const flags = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)])
    const [command = '', ...args] = [...within, join(root, 'bin', 'playhead'), 'serve', '--json', ...flags]
    const env = { ...process.env, ...environment }
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env })
    createInterface({ input: child.stderr }).on('line', (line) => say(`  [broker ${id}] ${line}`))
    return new BrokerProcess(id, child, say)
  }

  get processId(): number | undefined {
    return this.#child.pid
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  signal(signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): void {
    if (this.isRunning) this.#child.kill(signal)
  }

  async stop(): Promise<void> {
    if (!this.isRunning) return
    const ended = once(this.#child, 'exit')
    this.#child.kill('SIGCONT')
    this.#child.kill('SIGTERM')
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), stopMsMax)
    await ended
    clearTimeout(timer)
  }

  #readyLine(): Promise<Ready | undefined> {
    return new Promise((resolve) => {
      const lines = createInterface({ input: this.#child.stdout! })
      lines.once('line', (line) => {
        const ready = JSON.parse(line) as Ready
        this.port = ready.port
        resolve(ready)
      })
      this.#child.once('error', (error) => this.#say(`  [broker ${this.id}] ${error.message}`))
      this.#child.once('close', (code, signal) => {
        this.#say(`broker ${this.id} ended: ${signal ?? `exit code ${code}`}`)
        this.port = undefined
        resolve(undefined)
      })
    })
  }
}
