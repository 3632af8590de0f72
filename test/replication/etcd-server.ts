/**
 * A real etcd for tests: one member on free ports of the loopback, its data in a temporary directory, ended and started again at will.
 * `etcd` comes from PATH, or with root as a Debian package; where neither is possible the test fails naming the command to run.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { sleep, systemClock } from '../../platform/clock.ts'
import { needPrograms, childEnvironment } from '../../bench/rivals/tool.ts'
import { EtcdMetadataStore } from '../../replication/etcd-metadata-store.ts'
import type { EtcdOptions } from '../../replication/etcd-metadata-store.ts'
import type { Pair } from '../certificates.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'

const program = 'etcd'
const startMsMax = 30_000

export interface EtcdCertificates {
  readonly own: Pair
  /** File with the authority of clients. */
  readonly clientAuthority: string
}

export interface EtcdPlace {
  readonly isTls?: boolean
  /** TLS with a certificate of an authority, and no client without one of another. */
  readonly certificates?: EtcdCertificates
  /** Kept when it ends; a temporary one if there is none. */
  readonly directory?: string
  /** For clients, and for members; free ones if there are none. */
  readonly ports?: readonly [number, number]
}

/** One that nobody listens on, now. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

function flagsOf({ own, clientAuthority }: EtcdCertificates): string[] {
  const pair = [`--cert-file=${own.certificate}`, `--key-file=${own.key}`]
  return [...pair, '--client-cert-auth', `--trusted-ca-file=${clientAuthority}`]
}

export class EtcdServer {
  readonly port: number
  readonly directory: string
  readonly #temporary: TemporaryDirectory | undefined
  readonly #arguments: readonly string[]
  #child: ChildProcess | undefined
  #said = ''

  private constructor(
    directory: string,
    [port, peerPort]: readonly [number, number],
    tls: readonly string[],
    temporary?: TemporaryDirectory,
  ) {
    this.#temporary = temporary
    this.port = port
    this.directory = directory
    const client = `${tls.length > 0 ? 'https' : 'http'}://127.0.0.1:${port}`
    const peer = `http://127.0.0.1:${peerPort}`
    // Elections within 100 ms instead of a second: the shortest lease follows from it.
    const fast = ['--heartbeat-interval=10', '--election-timeout=100']
    this.#arguments = [
      `--data-dir=${this.directory}`,
      `--listen-client-urls=${client}`,
      `--advertise-client-urls=${client}`,
      `--listen-peer-urls=${peer}`,
      `--initial-advertise-peer-urls=${peer}`,
      `--initial-cluster=default=${peer}`,
      ...fast,
      ...tls,
    ]
  }

  /** With TLS the certificate is etcd's own; it is in `certificateFile`. */
  static async start({ isTls = false, certificates, directory, ports }: EtcdPlace = {}): Promise<EtcdServer> {
    await needPrograms([program], ['etcd-server'])
    const temporary = directory === undefined ? await TemporaryDirectory.make() : undefined
    const at = directory ?? join(temporary!.path, 'etcd')
    const tls = certificates === undefined ? (isTls ? ['--auto-tls'] : []) : flagsOf(certificates)
    const server = new EtcdServer(at, ports ?? [await freePort(), await freePort()], tls, temporary)
    await server.start()
    return server
  }

  get certificateFile(): string {
    return join(this.directory, 'fixtures', 'client', 'cert.pem')
  }

  get member(): string {
    return `127.0.0.1:${this.port}`
  }

  connect(options: Partial<EtcdOptions> = {}): Promise<EtcdMetadataStore> {
    return EtcdMetadataStore.open({ members: [this.member], prefix: '/playhead', clock: systemClock, ...options })
  }

  async start(): Promise<void> {
    const child = spawn(program, this.#arguments, { stdio: ['ignore', 'pipe', 'pipe'], env: childEnvironment() })
    this.#child = child
    // Not left behind when the test process ends without having cleaned up.
    const kill = () => child.kill('SIGKILL')
    process.once('exit', kill)
    child.once('exit', () => process.off('exit', kill))
    const ready = Promise.withResolvers<void>()
    for (const output of [child.stdout, child.stderr]) {
      output.setEncoding('utf8').on('data', (text: string) => {
        this.#said = (this.#said + text).slice(-10_000)
        if (/ready to serve client requests|serving (insecure )?client requests|serving client traffic/.test(text))
          ready.resolve()
      })
    }
    child.once('exit', (code) =>
      ready.reject(new Error(`etcd: found exit code ${code}, wanted it to start: ${this.#said}`)),
    )
    const tooLong = systemClock.after(startMsMax, () => ready.reject(new Error(`etcd: not ready: ${this.#said}`)))
    await ready.promise.finally(() => tooLong.cancel())
  }

  async kill(): Promise<void> {
    const child = this.#child
    this.#child = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }

  pause(): void {
    this.#child?.kill('SIGSTOP')
  }

  resume(): void {
    this.#child?.kill('SIGCONT')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
    await this.#temporary?.[Symbol.asyncDispose]()
  }
}

export const waitMs = (ms: number): Promise<void> => sleep(systemClock, ms)
