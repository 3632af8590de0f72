/**
 * One broker of a cluster as a process of this machine: started with `playhead serve --cluster`, its reports printed under its name, signalled and
 * stopped. Used by `npm run cluster`.
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
  port: number | undefined
  readonly #child: ChildProcess

  private constructor(id: number, child: ChildProcess) {
    this.id = id
    this.#child = child
    this.ready = this.#readyLine()
  }

  static start({ id, port, httpPort, rack, cluster, directory }: BrokerPlace): BrokerProcess {
    const settings = { cluster, 'broker-id': id, rack, data: directory, port, 'http-port': httpPort }
    const flags = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)])
    const child = spawn(join(root, 'bin', 'playhead'), ['serve', '--json', ...flags], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    createInterface({ input: child.stderr }).on('line', (line) => console.log(`  [broker ${id}] ${line}`))
    return new BrokerProcess(id, child)
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
      this.#child.once('error', (error) => console.log(`  [broker ${this.id}] ${error.message}`))
      this.#child.once('close', (code, signal) => {
        console.log(`broker ${this.id} ended: ${signal ?? `exit code ${code}`}`)
        this.port = undefined
        resolve(undefined)
      })
    })
  }
}
