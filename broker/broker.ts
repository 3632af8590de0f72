/**
 * Broker: the composition root. Its parts are set up in order (parts.ts) and taken down in reverse. Invariants: it serves only once its logs
 * are recovered; a graceful stop answers what is in flight, wakes what is parked, seals and unlocks; a failure that puts durability in
 * doubt ends it at once. Called by main.ts, by tests and by tools that want a broker in their process.
 */
import { brokerSettings, resolveConfig } from './config.ts'
import type { BrokerConfig, BrokerSettingName } from './config.ts'
import { openParts } from './parts.ts'
import type { BrokerFoundation, BrokerParts } from './parts.ts'

export class Broker {
  /** Of the native protocol. */
  readonly port: number
  readonly httpPort: number
  readonly dataDirectory: string
  readonly #parts: BrokerParts
  #stopped: Promise<void> | undefined

  private constructor(parts: BrokerParts) {
    this.#parts = parts
    this.port = parts.listener.port
    this.httpPort = parts.http.port
    this.dataDirectory = parts.services.identity.dataDirectory
  }

  /**
   * Recovers the data directory and serves it. Settings that are not given have their defaults: ports 7420 and 7421, not free ones.
   * Throws invalidConfiguration, dataDirectoryInUse, dataDirectoryNotWritable, unsupportedFormat, damagedData, portInUse.
   */
  static async start(settings: Partial<BrokerConfig> = {}, foundation: BrokerFoundation = {}): Promise<Broker> {
    const config = resolveConfig({ flags: settings })
    await using setUp = new AsyncDisposableStack()
    const parts = await openParts(config, foundation, setUp)
    return new Broker({ ...parts, tearDown: setUp.move() })
  }

  /** Stops accepting, answers what is in flight, seals what is open. Every call resolves once that is done. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop()
    return this.#stopped
  }

  /**
   * Takes over what of `wanted` a running broker can: answers the settings that are other ones now, and those that wait for a restart. Looks at
   * the TLS files, too.
   */
  async reload(wanted: BrokerConfig): Promise<{ changed: string[]; waiting: string[] }> {
    const { services, tls, clusterTls } = this.#parts
    await Promise.all([tls?.reload(), clusterTls.reload()])
    const changed: string[] = []
    const waiting: string[] = []
    for (const [name, setting] of Object.entries(brokerSettings)) {
      const key = name as BrokerSettingName
      if (wanted[key] === services.config[key]) continue
      if (!('reloadable' in setting)) waiting.push(name)
      else {
        Object.assign(services.config, { [key]: wanted[key] })
        changed.push(name)
      }
    }
    return { changed, waiting }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  async #stop(): Promise<void> {
    const { listener, http, services, cluster, tearDown } = this.#parts
    const { clock, config } = services
    const overdue = clock.after(config.stopWaitMsMax, () => http.destroyConnections())
    await cluster?.leave(config.stopWaitMsMax / 2)
    await Promise.all([listener.stop(config.stopWaitMsMax), http.stop()])
    overdue.cancel()
    await tearDown.disposeAsync()
  }
}
