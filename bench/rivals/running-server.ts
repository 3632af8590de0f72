/**
 * RunningServer: a server process in a process group of its own, with its output in a log file. Invariant: only groups started here are ever
 * signalled, and all of them have ended when stop() resolves or this process is interrupted. Used by playhead.ts and every peer.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { PlayheadError } from '../../protocol/errors.ts'
import { childEnvironment } from './tool.ts'

const startMsMax = 90_000
const stopMsMax = 15_000
const pollMs = 50
const logCharactersKept = 2_000

export interface ServerCommand {
  readonly name: string
  readonly command: readonly string[]
  readonly logFile: string
  /** Added to the environment. */
  readonly environment?: Readonly<Record<string, string>>
  /** It serves as soon as this port takes connections. */
  readonly port: number
}

const running = new Set<RunningServer>()

export class RunningServer {
  readonly #child: ChildProcess
  readonly #exited: Promise<void>
  #hasExited = false

  private constructor(child: ChildProcess) {
    this.#child = child
    this.#exited = new Promise((resolve) => {
      const ended = (): void => {
        this.#hasExited = true
        running.delete(this)
        resolve()
      }
      child.once('exit', ended)
      child.once('error', ended)
    })
    running.add(this)
  }

  /** Throws `unavailable` with the end of its log when it ends or does not listen within 90 s. */
  static async start({ name, command, logFile, environment, port }: ServerCommand): Promise<RunningServer> {
    const log = openSync(logFile, 'a')
    const [file = '', ...args] = command
    const child = spawn(file, args, {
      stdio: ['ignore', log, log],
      detached: true,
      env: childEnvironment(environment),
    })
    closeSync(log)
    const server = new RunningServer(child)
    const giveUpMs = performance.now() + startMsMax
    while (!(await accepts(port))) {
      if (!server.#hasExited && performance.now() < giveUpMs) {
        await sleep(pollMs)
        continue
      }
      const ended = server.#hasExited
      await server.stop()
      const said = await readFile(logFile, 'utf8')
      const found = ended ? 'that it ended at once' : `nothing on port ${port} after ${startMsMax / 1000} s`
      throw new PlayheadError(
        'unavailable',
        `${name}: found ${found}, wanted a server; it said: ${said.slice(-logCharactersKept).trim()}`,
      )
    }
    return server
  }

  /** SIGTERM to its group, SIGKILL to what is left after 15 s. */
  async stop(): Promise<void> {
    this.signal('SIGTERM')
    await Promise.race([this.#exited, sleep(stopMsMax, undefined, { ref: false })])
    this.signal('SIGKILL')
    await this.#exited
  }

  /** To the whole group; what has ended already is left alone. */
  signal(name: NodeJS.Signals): void {
    const { pid } = this.#child
    if (pid === undefined) return
    try {
      process.kill(-pid, name)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
  }
}

/** What an interrupted run does last. */
export function killRunningServers(): void {
  for (const server of running) server.signal('SIGKILL')
}

/** A port on 127.0.0.1 that nothing listens on now; PLAYHEAD_BENCH_PORT is where the search begins. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < 1_000; tries++) {
    const port = nextPort++
    if (await canListen(port)) return port
  }
  throw new PlayheadError('unavailable', `port: found none free below ${nextPort}, wanted one; set PLAYHEAD_BENCH_PORT`)
}

let nextPort = Number(process.env['PLAYHEAD_BENCH_PORT'] ?? 18_500)

function canListen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
  })
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
