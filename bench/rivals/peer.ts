/**
 * Peer: the one shape each system we are measured against has: how it is fetched, started, and what work it can be given. One file per peer
 * implements it; comparison.ts drives it and knows nothing of any of them.
 */
import type { Figure, Metric } from './figure.ts'
import type { OurWork } from './our-work.ts'
import type { RunningServer } from './running-server.ts'
import type { Scale } from './scale.ts'

/** `default`: as its makers ship it. `durable`: it syncs before it answers, as ours always does. */
export type Durability = 'default' | 'durable'

/** A started peer. `directory` is its own temporary one: tools may put input files there. */
export interface StartedPeer extends AsyncDisposable {
  readonly port: number
  readonly directory: string
}

/** One line of the comparison: a piece of our work beside the same work done by a peer's tool. */
export interface Workload {
  /** The tool and its settings, as people know them. */
  readonly tool: string
  readonly ours: OurWork
  readonly metrics: readonly Metric[]
  /** Servers on which this is measured. */
  readonly on: readonly Durability[]
  /** Does the work once. Throws when the tool fails or when not every record is accounted for. */
  measure(peer: StartedPeer, scale: Scale): Promise<Figure>
}

export interface Peer {
  readonly name: string
  readonly title: string
  /** What an acknowledgement means with each setting; no `durable` = it has no such setting. */
  readonly durability: { readonly default: string; readonly durable?: string }
  /** Settings of server and tools that differ from what is shipped, or bear on the figures. */
  readonly settings: readonly string[]
  readonly workloads: readonly Workload[]
  /** Fetches what is missing into the cache. Throws `unavailable` naming the command to run. Answers the versions. */
  install(): Promise<string>
  /** A fresh server with its data below `directory`, ready for work. */
  start(directory: string, durability: Durability): Promise<StartedPeer>
  /** Once after all workloads of a round: throws when the server does not hold what was written. */
  check?(peer: StartedPeer, scale: Scale, durability: Durability): Promise<void>
}

/** A peer that is one process. */
export class SingleProcessPeer implements StartedPeer {
  readonly port: number
  readonly directory: string
  readonly #server: RunningServer

  constructor(port: number, directory: string, server: RunningServer) {
    this.port = port
    this.directory = directory
    this.#server = server
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.stop()
  }
}
