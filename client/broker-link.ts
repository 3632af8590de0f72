/**
 * BrokerLink: one address of a broker, and a connection to it per purpose. Dials when there is none, and shares one attempt among all who wait.
 * Neighbours: Cluster has one for every address it knows; BrokerConnection is what it opens.
 */
import { formatAddress } from './addresses.ts'
import type { BrokerAddress } from './addresses.ts'
import type { BrokerConnection } from './connection.ts'
import type { Deadline } from './deadline.ts'

/** Long reads have a connection of their own, so that a parked or large fetch never stands before an append. */
export type Purpose = 'requests' | 'fetches'

/** One address may take this long, so that a silent one does not hide the next. */
const dialMsMax = 3_000

export class BrokerLink {
  readonly address: BrokerAddress
  readonly #open: (address: BrokerAddress, timeoutMs: number) => Promise<BrokerConnection>
  readonly #live: Partial<Record<Purpose, BrokerConnection>> = {}
  readonly #dialling: Partial<Record<Purpose, Promise<BrokerConnection>>> = {}
  #broker: number | undefined

  constructor(address: BrokerAddress, open: (address: BrokerAddress, timeoutMs: number) => Promise<BrokerConnection>) {
    this.address = address
    this.#open = open
  }

  /** Id of the broker that said hello here last; undefined = none has. */
  get broker(): number | undefined {
    return this.#broker
  }

  /** The open connection, if there is one now. */
  live(purpose: Purpose): BrokerConnection | undefined {
    const live = this.#live[purpose]
    return live?.isOpen === true ? live : undefined
  }

  get isLive(): boolean {
    return this.live('requests') !== undefined || this.live('fetches') !== undefined
  }

  /** The open connection, or a new one. */
  async connect(purpose: Purpose, deadline: Deadline): Promise<BrokerConnection> {
    const live = this.live(purpose)
    if (live) return live
    const dialling = (this.#dialling[purpose] ??= this.#dial(purpose, Math.min(dialMsMax, deadline.timeoutMs)))
    return deadline.wait(dialling, `broker ${formatAddress(this.address)}`)
  }

  close(): void {
    for (const connection of Object.values(this.#live)) connection.close()
  }

  async #dial(purpose: Purpose, timeoutMs: number): Promise<BrokerConnection> {
    try {
      const connection = await this.#open(this.address, timeoutMs)
      this.#broker = connection.broker.brokerId
      this.#live[purpose] = connection
      return connection
    } finally {
      delete this.#dialling[purpose]
    }
  }
}
