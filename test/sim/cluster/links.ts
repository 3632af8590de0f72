/**
 * Links: who cannot reach whom in a simulated cluster: brokers, clients and etcd, each direction by itself, and which ways are slow. A client is one
 * party with all others. Neighbours: fleet.ts owns it, cluster-nemesis.ts cuts and slows; Network and the ways to etcd ask.
 */
import type { Network } from '../network.ts'
import type { SimulatedMetadataStore } from '../../replication/simulated-metadata-store.ts'

/** `broker-2`, `clients`, `etcd`. */
export type Party = string

interface Linked {
  readonly broker: number
  /** Its way to etcd, while it runs. */
  readonly wire: SimulatedMetadataStore | undefined
}

export function partyOf(broker: number): Party {
  return `broker-${broker}`
}

export class Links {
  readonly #members: readonly Linked[]
  /** "<from> <to>", as often as it was cut. */
  readonly #cuts = new Map<string, number>()
  readonly #slow = new Map<string, number>()

  constructor(network: Network, members: readonly Linked[]) {
    this.#members = members
    network.blocks = (from, to) => this.#cuts.has(`${partyOfProcess(from)} ${partyOfProcess(to)}`)
    network.slowness = (from, to) => this.#slow.get(`${partyOfProcess(from)} ${partyOfProcess(to)}`) ?? 1
  }

  get parties(): Party[] {
    return [...this.#members.map(({ broker }) => partyOf(broker)), 'clients', 'etcd']
  }

  /** Answers how to mend it. */
  cut(from: Party, to: Party): () => void {
    const key = `${from} ${to}`
    this.#cuts.set(key, (this.#cuts.get(key) ?? 0) + 1)
    this.apply()
    return () => {
      const left = (this.#cuts.get(key) ?? 0) - 1
      if (left > 0) this.#cuts.set(key, left)
      else this.#cuts.delete(key)
      this.apply()
    }
  }

  slow(from: Party, to: Party, times: number): () => void {
    this.#slow.set(`${from} ${to}`, times)
    return () => void this.#slow.delete(`${from} ${to}`)
  }

  heal(): void {
    this.#cuts.clear()
    this.#slow.clear()
    this.apply()
  }

  /** The ways to etcd are told; a broker that starts has a new one. */
  apply(): void {
    for (const { broker, wire } of this.#members) {
      if (wire === undefined) continue
      wire.faults.isCut = this.#cuts.has(`${partyOf(broker)} etcd`)
      wire.faults.isDeaf = this.#cuts.has(`etcd ${partyOf(broker)}`)
    }
  }
}

function partyOfProcess(name: string): Party {
  return /^broker-\d+/.exec(name)?.[0] ?? 'clients'
}
