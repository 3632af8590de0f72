/** SecuredCluster: brokers as processes of their own with TLS and the secret of their cluster, and a real etcd; for tests. */
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { BrokerConnection } from '../../client/connection.ts'
import type { Credentials } from '../../client/credentials.ts'
import { systemClock } from '../../platform/clock.ts'
import { nodeTransport } from '../../platform/node-transport.ts'
import { makeAuthority, makeCertificate } from '../certificates.ts'
import type { Pair } from '../certificates.ts'
import { ServedBroker } from '../e2e/served-broker.ts'
import { EtcdServer } from '../replication/etcd-server.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'

/** Short, so that a broker that is gone is missed soon. */
const sessionMs = 2_000

export class SecuredCluster implements AsyncDisposable {
  readonly directory: string
  readonly authority: Pair
  readonly brokers = new Map<number, ServedBroker>()
  readonly #etcd: EtcdServer
  readonly #certificate: Pair
  readonly #security: readonly string[]
  readonly #tearDown: AsyncDisposableStack

  private constructor(
    directory: string,
    etcd: EtcdServer,
    [authority, certificate]: readonly [Pair, Pair],
    security: readonly string[],
    tearDown: AsyncDisposableStack,
  ) {
    this.directory = directory
    this.#etcd = etcd
    this.authority = authority
    this.#certificate = certificate
    this.#security = security
    this.#tearDown = tearDown
  }

  static async start(ids: readonly number[], security: readonly string[]): Promise<SecuredCluster> {
    await using setUp = new AsyncDisposableStack()
    const { path } = setUp.use(await TemporaryDirectory.make())
    const etcd = setUp.use(await EtcdServer.start())
    const authority = await makeAuthority(path, 'authority')
    const certificate = await makeCertificate(path, authority, { name: 'broker' })
    await writeFile(join(path, 'cluster.secret'), `${'s3cret'.repeat(8)}\n`)
    const cluster = new SecuredCluster(path, etcd, [authority, certificate], security, setUp.move())
    await Promise.all(ids.map((id) => cluster.serve(id)))
    return cluster
  }

  flags(id: number, secretFile = join(this.directory, 'cluster.secret'), authority = this.authority): string[] {
    const cluster = ['--cluster', `etcd://${this.#etcd.member}`, '--broker-id', String(id)]
    const times = ['--cluster-session-ms', String(sessionMs), '--replica-lag-ms-max', '1500']
    const { certificate, key } = this.#certificate
    const tls = ['--tls-certificate-file', certificate, '--tls-key-file', key]
    const others = ['--cluster-broker-authority-file', authority.certificate]
    const secret = secretFile === '' ? [] : ['--cluster-secret-file', secretFile]
    return [...cluster, ...times, ...tls, ...others, ...secret, ...this.#security]
  }

  async serve(id: number, more: readonly string[] = []): Promise<ServedBroker> {
    const broker = await ServedBroker.start(join(this.directory, `broker-${id}`), [...this.flags(id), ...more])
    this.brokers.set(id, broker)
    return broker
  }

  /** Of somebody who is no broker; without credentials as nobody. */
  connection(id: number, credentials?: Credentials): Promise<BrokerConnection> {
    return BrokerConnection.open({
      transport: nodeTransport,
      clock: systemClock,
      address: { host: '127.0.0.1', port: this.brokers.get(id)!.port },
      clientName: 'test',
      tls: { authority: readFileSync(this.authority.certificate) },
      timeoutMs: 5_000,
      ...(credentials !== undefined && { credentials }),
    })
  }

  /** What a broker that is not let in says. */
  async refusal(flags: readonly string[]): Promise<string> {
    try {
      await using broker = await ServedBroker.start(join(this.directory, 'refused'), flags)
      return `served at ${broker.server}`
    } catch (error) {
      return String(error)
    }
  }

  get servers(): string {
    return `playheads://${[...this.brokers.values()].map(({ server }) => server).join(',')}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const broker of this.brokers.values()) await broker[Symbol.asyncDispose]()
    await this.#tearDown.disposeAsync()
  }
}
