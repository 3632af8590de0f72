/**
 * BrokerProcess: `playhead serve` as a process of its own that may end at any time, also before it is ready, traced or not. One thread for its
 * files, so that its calls come one after the other and can be counted. Neighbours: supervisor.ts starts the next one.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { cleanEnvironment, playheadCommand } from '../cli/run-playhead.ts'
import { setTimeout as sleep } from 'node:timers/promises'
import { isHeld, straceCommand } from './system-calls.ts'
import type { Injection } from './system-calls.ts'

export interface Trace {
  /** Where strace writes. */
  readonly output: string
  readonly injection?: Injection
}

export interface ProcessEnd {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface BrokerOptions {
  readonly directory: string
  readonly port: number
  readonly flags?: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
}

const pollMs = 5
/** What a broker has to say while one of its calls is held, it says in this time. */
const sayingMs = 20

export class BrokerProcess {
  readonly isTraced: boolean
  /** True once it serves; false if it ended before. */
  readonly ready: Promise<boolean>
  readonly ended: Promise<ProcessEnd>
  /** What it has logged so far. */
  errors = ''
  readonly #child: ChildProcess

  constructor({ directory, port, flags = [], environment = {} }: BrokerOptions, trace?: Trace) {
    const serve = [playheadCommand, 'serve', '--json', '--data', directory, '--port', `${port}`, '--http-port', '0']
    const strace = trace === undefined ? [] : straceCommand(trace.output, trace.injection)
    const [command = '', ...args] = [...strace, ...serve, ...flags]
    const env = { ...cleanEnvironment(), UV_THREADPOOL_SIZE: '1', UV_USE_IO_URING: '0', ...environment }
    const child = spawn(command, args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
    this.#child = child
    this.isTraced = trace !== undefined
    child.stderr.setEncoding('utf8').on('data', (text: string) => (this.errors += text))
    this.ended = once(child, 'exit').then(([code, signal]) => ({ code, signal }))
    const injection = trace?.injection
    if (injection !== undefined && injection.action !== 'error=EIO') void this.#killWhenHeld(trace!.output, injection)
    const line = once(createInterface({ input: child.stdout }), 'line').then(() => true)
    this.ready = Promise.race([line, this.ended.then(() => false)])
  }

  async #killWhenHeld(output: string, injection: Injection): Promise<void> {
    const child = this.#child
    while (child.exitCode === null && child.signalCode === null) {
      if (await isHeld(output, injection)) {
        await sleep(sayingMs)
        child.kill('SIGKILL')
        return
      }
      await sleep(pollMs)
    }
  }

  get id(): number {
    return this.#child.pid ?? -1
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name)
  }
}
